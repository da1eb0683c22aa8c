//! The most that a call to a model may use up, before it is sent.

use super::{Model, ProviderKind, count};
use crate::meter::Meter;

/// Tokens that an answer can have if nothing limits it: an answer with more bytes is not read to its end.
const LONGEST: u64 = 64 << 20;

impl Model {
    /// Most tokens to answer with: `asked`, else the default, and never more than the model can write.
    pub fn limit(&self, asked: Option<u64>) -> u64 {
        let asked = asked.unwrap_or(self.default_output);
        self.max_output.map_or(asked, |most| asked.min(most))
    }

    /// Whether a call tells the provider how many tokens its answer may have.
    pub fn sends_limit(&self) -> bool {
        let names_it = matches!(self.provider.kind, ProviderKind::Openai | ProviderKind::OpenaiResponses);
        !names_it || !self.provider.max_tokens_field.is_empty()
    }

    /// Most tokens that an answer can have. If no limit is sent, that is what the model can write at all, whatever was
    /// `asked` for.
    pub fn most_output(&self, asked: Option<u64>) -> u64 {
        if self.sends_limit() {
            return self.limit(asked);
        }
        self.max_output.or(self.context).unwrap_or(LONGEST)
    }

    /// The most that a call may use up: `read` is the length in bytes of everything it sends, where that is known.
    pub fn bound(&self, read: Option<u64>, max_tokens: Option<u64>) -> Option<Meter> {
        Some(self.bound_of(self.bound_read(read)?, max_tokens))
    }

    /// The most tokens that a request of `bytes` comes to, the whole context where that is not known: a token has at least
    /// one byte. `None` if the model's context is unknown.
    pub fn bound_read(&self, bytes: Option<u64>) -> Option<u64> {
        /// What a provider adds to a request: frames of messages, its words around a schema.
        const ADDED: u64 = 1_000;
        bytes.map(|bytes| bytes + ADDED).or(self.context)
    }

    /// The most that a call may use up that sends `read` tokens.
    pub fn bound_of(&self, read: u64, max_tokens: Option<u64>) -> Meter {
        let (read, written) = (read.min(self.context.unwrap_or(u64::MAX)), self.most_output(max_tokens));
        let mut meter = Meter::new().with("calls", 1.0);
        meter.add("tokens_in", count(read));
        meter.add("tokens_out", count(written));
        if let Some(price) = &self.price {
            let cached = price.cache_write.unwrap_or(0.0).max(price.cache_read.unwrap_or(0.0));
            let dearest = price.input.max(cached);
            meter.add("usd", (count(read) * dearest + count(written) * price.output) / 1e6);
        }
        meter
    }
}
