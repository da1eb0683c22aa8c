//! Recorded outputs for later runs. A project may contain another person's database: an output is used only
//! if its authentication code was made with this user's key.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::engine::Attempt;
use crate::store::{Store, StoreError};
use crate::value::{Digest, Seal, Value, canonical};
use crate::verb::{Secrets, is_secret_name};

/// Recorded outputs, by key.
#[derive(Clone)]
pub(super) struct OutputCache {
    pub(super) store: Arc<dyn Store>,
    pub(super) seal: Seal,
}

/// The result of a lookup.
pub(super) enum CachedOutput {
    Nothing,
    /// Recorded by another user, or modified.
    Foreign,
    Output(Value),
}

/// The message for [`CachedOutput::Foreign`].
pub(super) const FOREIGN_OUTPUT: &str =
    "the recorded output is not used: another user or another machine recorded it (see ATOLL_CACHE_KEY)";

impl OutputCache {
    /// The key of an attempt, from its content key `key` and everything else that influences the result: the
    /// values of the secrets that it names, and `depends_on` of its verb.
    pub(super) fn key(
        &self,
        attempt: &Attempt,
        key: Digest,
        secrets: &dyn Secrets,
        depends_on: Option<String>,
    ) -> Digest {
        let mut names = Vec::new();
        secret_names(&attempt.with, &mut names);
        if names.is_empty() && depends_on.is_none() {
            return key;
        }
        names.sort_unstable();
        names.dedup();
        let values = names.iter().map(|name| (name, secrets.get(name)));
        let values: Vec<Digest> = values
            .map(|(name, value)| {
                let value = value.as_ref().map_or(b"".as_slice(), |value| value.expose_secret().as_bytes());
                self.seal.code([name.as_bytes(), value])
            })
            .collect();
        let text = key.to_string();
        let texts: Vec<String> =
            depends_on.into_iter().chain(values.iter().map(ToString::to_string)).collect();
        self.seal.code(std::iter::once(text.as_bytes()).chain(texts.iter().map(String::as_bytes)))
    }

    /// Looks up a recorded output.
    pub(super) fn find(&self, key: &Digest) -> Result<CachedOutput, StoreError> {
        let Some(mut entry) = self.store.cached(key)? else { return Ok(CachedOutput::Nothing) };
        let output = entry["output"].take();
        let is_own = entry["code"].as_str() == Some(self.code(key, &output).as_str());
        Ok(if is_own { CachedOutput::Output(output) } else { CachedOutput::Foreign })
    }

    /// Records an output.
    pub(super) fn put(&self, key: &Digest, output: &Value) {
        let entry = json!({ "code": self.code(key, output), "output": output });
        // If it cannot be written, a later run cannot reuse it, nothing else.
        self.store.cache(key, &entry).ok();
    }

    fn code(&self, key: &Digest, output: &Value) -> String {
        self.seal.code([key.to_string().as_bytes(), canonical(output).as_bytes()]).to_string()
    }
}

/// The names of secrets in `with`.
fn secret_names<'a>(with: &'a Value, names: &mut Vec<&'a str>) {
    match with {
        Value::Object(table) => {
            names.extend(table.get("secret").and_then(Value::as_str).filter(|name| is_secret_name(name)));
            table.values().for_each(|value| secret_names(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| secret_names(item, names)),
        _ => {}
    }
}
