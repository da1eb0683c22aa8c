use std::sync::{Arc, OnceLock};

use super::cassette::{Cassette, Found, Kept};
use super::exchange::{self, Line};
use crate::clients::llm::{Answer, Request};
use crate::clients::registry::{Model, Registry, RegistryError};
use crate::meter::Meter;
use crate::value::{Digest, Value};
use crate::verb::{Class, Failure, SecretText, Secrets};

/// Everything there is to ask models: what is known about them, keys, a cassette, one connection pool. Cheap to clone.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    registry: Registry,
    secrets: Arc<dyn Secrets>,
    cassette: Cassette,
    client: OnceLock<reqwest::Client>,
}

/// What belongs to one call and not to the request.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Which step, attempt and sample asks, e.g. `judge[3]@1.0`: tells equal requests apart on a cassette.
    pub at: &'a str,
    /// The same for every attempt of one step instance; a digest of the request is added to it.
    pub idempotency_key: &'a str,
    /// Hears the answer while it comes in. A replayed answer comes in one piece.
    pub on_chunk: &'a (dyn Fn(&str) + Send + Sync),
}

impl Models {
    /// Models of `registry`, with keys from `secrets`; `cassette` keeps or gives the answers.
    pub fn new(registry: Registry, secrets: Arc<dyn Secrets>, cassette: Cassette) -> Self {
        Self(Arc::new(Inner { registry, secrets, cassette, client: OnceLock::new() }))
    }

    /// What is known about models.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The model called `name`. Errors: `permanent`, with the nearest known name.
    pub fn find(&self, name: &str) -> Result<Arc<Model>, Failure> {
        self.0.registry.find(name).map_err(Failure::from)
    }

    /// Asks `request` once. The answer may be truncated or a refusal: look at its `stop`.
    ///
    /// Errors are classed: `rate_limited` (with the time to wait where the provider names it), `auth` (no key, wrong
    /// key, exhausted account), `transient` (unreachable, 5xx, cut off, no JSON), `permanent` (unknown model, request
    /// too long, no answer on the cassette), `refused` (the provider's filter). What a failed call cost all the same
    /// is in its `spent`. Dropping the future closes the connection.
    pub async fn ask(&self, request: &Request, asking: Asking<'_>) -> Result<(Answer, Meter), Failure> {
        let model = self.find(&request.model)?;
        // Before anything is awaited: equal requests take their answers in the order in which they are asked.
        let kept = Kept::new(request, &model, |text| self.0.secrets.redact(text));
        let slot = match self.0.cassette.find(&kept, asking.at)? {
            Found::Answer(answer) => {
                (asking.on_chunk)(&answer.text);
                let spent = model.meter(&answer.usage);
                return Ok((answer, spent));
            }
            Found::Ask(slot) => slot,
        };
        let answer = self.exchange(request, &model, &kept.key, asking).await.map_err(|f| self.redacted(f))?;
        self.0.cassette.keep(slot, &kept, asking.at, &answer, |text| self.0.secrets.redact(text))?;
        let spent = model.meter(&answer.usage);
        Ok((answer, spent))
    }

    async fn exchange(
        &self,
        request: &Request,
        model: &Model,
        key: &Digest,
        asking: Asking<'_>,
    ) -> Result<Answer, Failure> {
        let secret = self.key(model)?;
        let idempotency_key = format!("{}-{}", asking.idempotency_key, key.short());
        let line = Line {
            client: self.client()?,
            registry: &self.0.registry,
            model,
            key: secret.as_ref(),
            idempotency_key: &idempotency_key,
            on_chunk: asking.on_chunk,
        };
        exchange::ask(request, &line).await
    }

    fn client(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let client = exchange::client()?;
        Ok(self.0.client.get_or_init(|| client))
    }

    fn key(&self, model: &Model) -> Result<Option<SecretText>, Failure> {
        let Some(name) = &model.provider.key_env else { return Ok(None) };
        let provider = &model.provider.name;
        self.0.secrets.get(name).map(Some).ok_or_else(|| {
            Failure::new(Class::Auth, format!("no key for {provider}: {name} is not set")).hint(format!(
                "export {name}=…, or name a model of another provider (`local/…` needs no key)"
            ))
        })
    }

    fn redacted(&self, mut failure: Failure) -> Failure {
        let redact = |text: &str| self.0.secrets.redact(text);
        let Failure { message, hint, .. } = &mut failure;
        for text in [message].into_iter().chain(hint) {
            *text = redact(text);
        }
        redact_value(&mut failure.detail, &redact);
        failure
    }
}

fn redact_value(value: &mut Value, redact: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, redact)),
        Value::Object(table) => table.values_mut().for_each(|item| redact_value(item, redact)),
        _ => {}
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let failure = Self::permanent(error.message);
        Self { hint: error.hint, ..failure }
    }
}
