//! Maximum usage of a call to a model, before it is sent.

use super::{Model, ProviderKind, count};
use crate::meter::Meter;

/// Most tokens of an unlimited answer, because longer answers are not read to their end.
const LONGEST: u64 = 64 << 20;

impl Model {
    /// Token limit of the answer: `asked`, or the default, and at most the maximum output of the model.
    pub fn limit(&self, asked: Option<u64>) -> u64 {
        let asked = asked.unwrap_or(self.default_output);
        self.max_output.map_or(asked, |most| asked.min(most))
    }

    /// Whether a call includes a token limit.
    pub fn sends_limit(&self) -> bool {
        let names_it = matches!(self.provider.kind, ProviderKind::Openai | ProviderKind::OpenaiResponses);
        !names_it || !self.provider.max_tokens_field.is_empty()
    }

    /// Most tokens of an answer. If no limit is sent, this is the maximum output of the model, whatever was
    /// `asked` for.
    pub fn most_output(&self, asked: Option<u64>) -> u64 {
        if self.sends_limit() {
            return self.limit(asked);
        }
        self.max_output.or(self.context).unwrap_or(LONGEST)
    }

    /// Maximum usage of a call; `read` is the size of the request in bytes, if known.
    pub fn bound(&self, read: Option<u64>, max_tokens: Option<u64>) -> Option<Meter> {
        Some(self.bound_of(self.bound_read(read)?, max_tokens))
    }

    /// Most tokens of a request of `bytes`, because a token has at least one byte; the whole context if the
    /// size is unknown. `None` if the context size is unknown, too.
    pub fn bound_read(&self, bytes: Option<u64>) -> Option<u64> {
        /// Tokens that a provider adds to a request, for example around messages and schemas.
        const ADDED: u64 = 1_000;
        bytes.map(|bytes| bytes + ADDED).or(self.context)
    }

    /// Maximum usage of a call with `read` input tokens.
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
