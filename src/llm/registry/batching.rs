//! Batch settings of providers, and prices of models in batches.

use std::time::Duration;

use serde::Deserialize;

use super::entries::span;
use super::{Model, Price, ProviderKind, RegistryError};

/// Batch settings of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Wait for one more request while a batch is collected.
    pub gather: Duration,
    /// First and longest pause between two polls.
    pub poll: (Duration, Duration),
    /// Most requests of one batch.
    pub requests: usize,
    /// Most bytes of the requests of one batch.
    pub bytes: usize,
}

/// `batch` of `[providers.NAME]`: a boolean or settings.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum BatchEntry {
    Plain(bool),
    Said(BatchingEntry),
}

/// Written batch settings.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchingEntry {
    gather: Option<String>,
    poll: Option<(String, String)>,
    requests: Option<usize>,
    bytes: Option<usize>,
}

impl Batching {
    /// Limits of the vendors of `kind`. Their byte limits are higher (200 MB, 256 MB; Gemini 20 MB in
    /// total), but collected requests are kept in memory.
    fn of(kind: ProviderKind) -> Self {
        let (requests, bytes) = match kind {
            ProviderKind::Openai | ProviderKind::OpenaiResponses => (50_000, 64 << 20),
            ProviderKind::Anthropic => (100_000, 64 << 20),
            ProviderKind::Gemini | ProviderKind::Ollama => (5_000, 18_000_000),
        };
        let poll = (Duration::from_secs(5), Duration::from_secs(60));
        Self { gather: Duration::from_millis(500), poll, requests, bytes }
    }
}

impl BatchEntry {
    /// The settings for the provider `name` with the wire format `kind`.
    pub(super) fn close(self, name: &str, kind: ProviderKind) -> Result<Option<Batching>, RegistryError> {
        let said = match self {
            Self::Plain(false) => return Ok(None),
            _ if kind == ProviderKind::Ollama => {
                return Err(RegistryError {
                    message: format!("[providers.{name}]: ollama does not support batches"),
                    hint: Some("remove `batch`".to_owned()),
                });
            }
            Self::Plain(true) => BatchingEntry::default(),
            Self::Said(said) => said,
        };
        let usual = Batching::of(kind);
        let read = |text: &str| span(name, "batch", text);
        Ok(Some(Batching {
            gather: said.gather.as_deref().map_or(Ok(usual.gather), read)?,
            poll: said.poll.map_or(Ok(usual.poll), |(from, to)| Ok((read(&from)?, read(&to)?)))?,
            requests: said.requests.unwrap_or(usual.requests).max(1),
            bytes: said.bytes.unwrap_or(usual.bytes),
        }))
    }
}

impl Model {
    /// The model with the prices of batches. Errors: its provider does not support batches, or its batch
    /// price is unknown although other prices are known.
    pub fn in_batch(&self) -> Result<Self, RegistryError> {
        let name = self.full_name();
        let refused = |message: String, hint: &str| RegistryError { message, hint: Some(hint.to_owned()) };
        if self.provider.batch.is_none() {
            return Err(refused(
                format!("`{name}` cannot be used in batches: {} does not support them", self.provider.name),
                "remove `mode = \"batch\"`; Anthropic, Gemini and OpenAI support batches",
            ));
        }
        let price = match self.price {
            None => None,
            Some(price) => Some(price.in_batch().ok_or_else(|| {
                refused(
                    format!("the batch price of `{name}` is unknown"),
                    "remove `mode = \"batch\"`, or add `batch = 0.5` to its price in atoll.toml",
                )
            })?),
        };
        Ok(Self { price, ..self.clone() })
    }
}

impl Price {
    /// Price of a call in a batch; `None` if there are no batches.
    pub fn in_batch(&self) -> Option<Self> {
        let share = self.batch?;
        Some(Self {
            input: self.input * share,
            output: self.output * share,
            cache_read: self.cache_read.map(|price| price * share),
            cache_write: self.cache_write.map(|price| price * share),
            batch: None,
        })
    }
}
