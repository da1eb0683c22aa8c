//! Token usage as reported by providers, under their various names.

use super::TokenUsage;
use crate::value::Value;

/// Reported usage. Numbers in a stream are running totals, so the largest of each counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All input tokens; 0 if not reported.
    pub read: u64,
    /// All output tokens, including thoughts; 0 if not reported.
    pub written: u64,
    /// The part of `read` that came from the cache.
    pub cache_read: u64,
    /// The part of `read` that was written to the cache.
    pub cache_write: u64,
    /// Input and output tokens together, if only that was reported.
    pub total: u64,
}

impl Figures {
    /// Adds newer numbers.
    pub fn take(&mut self, newer: Self) {
        self.read = self.read.max(newer.read);
        self.written = self.written.max(newer.written);
        self.cache_read = self.cache_read.max(newer.cache_read);
        self.cache_write = self.cache_write.max(newer.cache_write);
        self.total = self.total.max(newer.total);
    }

    /// The usage. Numbers that were not reported are taken from `estimate`. For an interrupted answer, so
    /// is the output if the estimate is higher, because the count is incomplete.
    pub fn usage(mut self, mut estimate: TokenUsage, broke_off: bool) -> TokenUsage {
        if self.total > 0 && (self.read == 0 || self.written == 0) {
            // One or both are missing: they share the rest of the total.
            if self.written > 0 {
                self.read = self.read.max(self.total.saturating_sub(self.written));
            } else {
                let read = if self.read == 0 { estimate.tokens_in.min(self.total) } else { self.read };
                estimate.tokens_in = read;
                estimate.tokens_out = self.total.saturating_sub(read).max(estimate.tokens_out);
            }
        }
        let written =
            if self.written == 0 || broke_off { self.written.max(estimate.tokens_out) } else { self.written };
        let read = if self.read == 0 { estimate.tokens_in } else { self.read };
        TokenUsage {
            tokens_in: read,
            tokens_out: written,
            cache_read: self.cache_read.min(read),
            cache_write: self.cache_write.min(read - self.cache_read.min(read)),
            estimated: self.read == 0 || written != self.written,
        }
    }

    /// Usage of OpenAI, in both of its interfaces, and of compatible servers.
    pub(super) fn openai(usage: &Value) -> Self {
        let cache_read = first(
            usage,
            &[
                "/prompt_tokens_details/cached_tokens",
                "/input_tokens_details/cached_tokens",
                "/prompt_cache_hit_tokens",
                "/cache_read_input_tokens",
                "/cached_tokens",
            ],
        );
        let cache_write = first(
            usage,
            &[
                "/prompt_tokens_details/cache_write_tokens",
                "/input_tokens_details/cache_write_tokens",
                "/cache_creation_input_tokens",
            ],
        );
        let mut read = first(usage, &["/prompt_tokens", "/input_tokens"]);
        if cache_read > read {
            // Cached tokens are not part of this number.
            read = read.saturating_add(cache_read).saturating_add(cache_write);
        }
        let said = first(usage, &["/completion_tokens", "/output_tokens"]);
        let thought = first(
            usage,
            &["/completion_tokens_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens"],
        );
        // Some count thoughts separately, which only the total shows.
        let said = if thought > said { said.saturating_add(thought) } else { said };
        let total = first(usage, &["/total_tokens"]);
        let written = said.max(total.saturating_sub(read));
        let written = if read == 0 { said } else { written };
        Self { read, written, cache_read, cache_write, total: unsplit(total, read, written) }
    }

    /// Usage of llama.cpp, if it reports no other.
    pub(super) fn timings(timings: &Value) -> Self {
        let cache_read = first(timings, &["/cache_n"]);
        let read = first(timings, &["/prompt_n"]).saturating_add(cache_read);
        Self { read, written: first(timings, &["/predicted_n"]), cache_read, ..Self::default() }
    }

    /// Usage of Anthropic. Tokens read from or written to the cache are not part of `input_tokens`.
    pub(super) fn anthropic(usage: &Value) -> Self {
        let cache_read = first(usage, &["/cache_read_input_tokens"]);
        let cache_write = first(usage, &["/cache_creation_input_tokens"]);
        let plain = first(usage, &["/input_tokens"]);
        let read = plain.saturating_add(cache_read).saturating_add(cache_write);
        Self { read, written: first(usage, &["/output_tokens"]), cache_read, cache_write, total: 0 }
    }

    /// Usage of Gemini. Thoughts are counted separately and paid like the answer.
    pub(super) fn gemini(usage: &Value) -> Self {
        let tools = first(usage, &["/toolUsePromptTokenCount"]);
        let read = first(usage, &["/promptTokenCount"]).saturating_add(tools);
        let said = first(usage, &["/candidatesTokenCount", "/responseTokenCount"]);
        let written = said.saturating_add(first(usage, &["/thoughtsTokenCount"]));
        let total = first(usage, &["/totalTokenCount"]);
        let written = if read == 0 { written } else { written.max(total.saturating_sub(read)) };
        let cache_read = first(usage, &["/cachedContentTokenCount"]);
        Self { read, written, cache_read, cache_write: 0, total: unsplit(total, read, written) }
    }

    /// Usage of Ollama. Input tokens are missing if all were still in memory.
    pub(super) fn ollama(last: &Value) -> Self {
        let (read, written) = (first(last, &["/prompt_eval_count"]), first(last, &["/eval_count"]));
        Self { read, written, ..Self::default() }
    }
}

/// The total, if it exceeds the sum of the other numbers.
fn unsplit(total: u64, read: u64, written: u64) -> u64 {
    if read == 0 || written == 0 { total } else { 0 }
}

/// The first number above zero at `places`, which may be text.
fn first(usage: &Value, places: &[&str]) -> u64 {
    places.iter().filter_map(|place| number(usage.pointer(place)?)).find(|figure| *figure > 0).unwrap_or(0)
}

/// Most plausible tokens of one answer. Larger numbers are ignored and estimated.
const MAX_PLAUSIBLE: u64 = 1_000_000_000;

fn number(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => whole(text.trim().parse().ok()?),
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        _ => None,
    };
    number.filter(|number| *number <= MAX_PLAUSIBLE)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be between 0 and 2^53"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..9e15).contains(&number).then_some(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(read: u64, written: u64, cache_read: u64, cache_write: u64) -> Figures {
        Figures { read, written, cache_read, cache_write, total: 0 }
    }

    #[test]
    fn figures_have_many_names() {
        for (usage, counted) in [
            (json!({"prompt_tokens": 10, "completion_tokens": 5}), figures(10, 5, 0, 0)),
            (json!({"prompt_tokens": "10", "completion_tokens": "5"}), figures(10, 5, 0, 0)),
            (json!({"input_tokens": 10.0, "output_tokens": 5}), figures(10, 5, 0, 0)),
            (
                json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015, "completion_tokens_details": {"reasoning_tokens": 1000}}),
                figures(10, 1005, 0, 0),
            ),
            (
                json!({"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 1000}}),
                figures(10, 1005, 0, 0),
            ),
            (
                json!({"prompt_tokens": 10, "completion_tokens": 1005, "total_tokens": 1015, "completion_tokens_details": {"reasoning_tokens": 1000}}),
                figures(10, 1005, 0, 0),
            ),
            (
                json!({"prompt_tokens": 1000, "completion_tokens": 5, "prompt_cache_hit_tokens": 900}),
                figures(1000, 5, 900, 0),
            ),
            (
                json!({"prompt_tokens": 1000, "completion_tokens": 5, "cached_tokens": 900}),
                figures(1000, 5, 900, 0),
            ),
            (
                json!({"prompt_tokens": 3, "completion_tokens": 5, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 90}),
                figures(993, 5, 900, 90),
            ),
            (json!({"prompt_tokens": null, "total_tokens": 15}), Figures { total: 15, ..Figures::default() }),
            (
                json!({"prompt_tokens": 1_000_000_000_000_000_000_u64, "completion_tokens": 5}),
                figures(0, 5, 0, 0),
            ),
            (json!({"prompt_tokens": 10, "completion_tokens": 1e15}), figures(10, 0, 0, 0)),
        ] {
            assert_eq!(Figures::openai(&usage), counted, "{usage}");
        }
        let gemini = json!({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 1015});
        assert_eq!(Figures::gemini(&gemini), figures(10, 1005, 0, 0));
        let anthropic = json!({"input_tokens": 3, "cache_creation_input_tokens": 12, "cache_read_input_tokens": 40, "output_tokens": "9"});
        assert_eq!(Figures::anthropic(&anthropic), figures(55, 9, 40, 12));
        assert_eq!(
            Figures::timings(&json!({"prompt_n": 4, "cache_n": 6, "predicted_n": 5})),
            figures(10, 5, 6, 0)
        );
    }

    #[test]
    fn what_is_not_counted_is_estimated() {
        let estimate =
            TokenUsage { tokens_in: 100, tokens_out: 50, estimated: true, ..TokenUsage::default() };
        let usage = |figures: Figures, broke_off| {
            let usage = figures.usage(estimate, broke_off);
            (usage.tokens_in, usage.tokens_out, usage.estimated)
        };
        assert_eq!(usage(figures(10, 5, 0, 0), false), (10, 5, false));
        assert_eq!(usage(figures(10, 0, 0, 0), false), (10, 50, true));
        assert_eq!(usage(figures(0, 5, 0, 0), false), (100, 5, true));
        assert_eq!(usage(figures(10, 1, 0, 0), true), (10, 50, true), "an interrupted answer");
        assert_eq!(usage(figures(10, 60, 0, 0), true), (10, 60, false));
        let total = |read, written| Figures { total: 1_015, ..figures(read, written, 0, 0) };
        assert_eq!(usage(total(0, 0), false), (100, 915, true));
        assert_eq!(usage(total(0, 5), false), (1_010, 5, false));
        assert_eq!(usage(Figures { total: 15, ..figures(0, 0, 0, 0) }, false), (15, 50, true), "never less");
    }
}
