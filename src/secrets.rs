//! Secrets from the environment, the key file or a command, and their removal from output and stored data.
//! This module does not know who uses a secret, and never returns one as a plain `Value`.
//! Start with [`EnvSecrets::new`].
#![expect(clippy::disallowed_methods, reason = "the one door to secrets in the environment")]

mod command;
pub mod file;
mod redact;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use secrecy::ExposeSecret;

use crate::value::{Value, replace_texts};
use crate::verb::{SecretText, Secrets};
use redact::Redactor;

/// Secrets from environment variables, otherwise from the key file, otherwise from a command.
#[derive(Default)]
pub struct EnvSecrets {
    known: RwLock<KnownSecrets>,
    commands: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct KnownSecrets {
    values: BTreeMap<String, SecretText>,
    /// Finds every known value; created on first use.
    redactor: OnceLock<Arc<Redactor>>,
    /// Errors of commands, by the name of the secret.
    trouble: BTreeMap<String, String>,
}

/// The environment variable `name`; empty counts as unset.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl EnvSecrets {
    /// Reads the variables `names` now, so that their values are masked from the first line on. Others are
    /// read on first use.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let read = |name: N| environment(name.as_ref()).map(|value| (name.as_ref().to_owned(), value));
        Self::from_values(names.into_iter().filter_map(read))
    }

    /// Secrets with given values.
    pub fn from_values(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name, SecretText::from(value))).collect();
        let known = KnownSecrets { values, ..KnownSecrets::default() };
        Self { known: RwLock::new(known), commands: BTreeMap::new() }
    }

    /// The secrets, with `keys` for names that are not in the environment, and `commands` for names that
    /// are in neither. A command is run on first use of its secret, and only once if it succeeds.
    #[must_use]
    pub fn or(self, keys: file::Keys, commands: BTreeMap<String, Vec<String>>) -> Self {
        let mut known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (name, key) in keys {
            if environment(&name).is_none() {
                known.values.entry(name).or_insert(key);
            }
        }
        known.redactor = OnceLock::new();
        Self { known: RwLock::new(known), commands }
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, KnownSecrets> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn redactor(&self) -> Arc<Redactor> {
        let known = self.known();
        let values = || known.values.values().map(ExposeSecret::expose_secret);
        known.redactor.get_or_init(|| Arc::new(Redactor::new(values()))).clone()
    }

    fn learn(&self, name: &str, value: &SecretText) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.values.insert(name.to_owned(), value.clone());
        known.redactor = OnceLock::new();
    }

    fn told(&self, name: &str) -> Option<SecretText> {
        let told = command::run(self.commands.get(name)?);
        told.map_err(|why| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.trouble.insert(name.to_owned(), why);
        })
        .ok()
    }
}

impl Secrets for EnvSecrets {
    fn get(&self, name: &str) -> Option<SecretText> {
        if let Some(value) = self.known().values.get(name) {
            return Some(value.clone());
        }
        let value = environment(name).map(SecretText::from).or_else(|| self.told(name))?;
        self.learn(name, &value);
        Some(value)
    }

    fn trouble(&self, name: &str) -> Option<String> {
        self.known().trouble.get(name).cloned()
    }

    fn redact(&self, text: &str) -> String {
        self.redactor().redact(text).unwrap_or_else(|| text.to_owned())
    }

    fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.redactor().redact_bytes(bytes).unwrap_or_else(|| bytes.to_vec())
    }

    fn redact_head(&self, text: &str) -> String {
        self.redactor().redact_head(text).unwrap_or_else(|| text.to_owned())
    }

    fn cut(&self, text: &str, at: usize) -> usize {
        self.redactor().cut(text, at)
    }

    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        self.redactor().places(text)
    }

    fn places_on_screen(&self, text: &str, wraps: &[usize]) -> Vec<(usize, usize)> {
        self.redactor().on_screen(text, wraps)
    }

    fn redact_value(&self, value: &mut Value) {
        let redactor = self.redactor();
        if !redactor.is_empty() {
            replace_texts(value, redactor.numbers(), &|text| redactor.redact(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-live+key/with?marks";

    fn secrets() -> EnvSecrets {
        EnvSecrets::from_values([("KEY".to_owned(), KEY.to_owned()), ("SHORT".to_owned(), "ab".to_owned())])
    }

    #[test]
    fn plain_encoded_and_embedded_forms_are_removed() {
        let secrets = secrets();
        // printf 'sk-live+key/with?marks' | base64 ; also after `x:` and `me:`
        for form in [
            KEY,
            "sk-live%2Bkey%2Fwith%3Fmarks",
            "sk-live%2bkey%2fwith%3fmarks",
            "c2stbGl2ZStrZXkvd2l0aD9tYXJrcw==",
            "eDpzay1saXZlK2tleS93aXRoP21hcmtz",
            "bWU6c2stbGl2ZStrZXkvd2l0aD9tYXJrcw==",
        ] {
            let shown = secrets.redact(&format!("Authorization: {form}, end"));
            assert!(shown.contains("***") && shown.ends_with(", end"), "{form} → {shown}");
            assert!(
                !shown.contains("live") && !shown.contains("saXZl") && !shown.contains("bGl2Z"),
                "{shown}"
            );
        }
        assert_eq!(secrets.redact("about ab"), "about ab", "too short to be removed");
    }

    #[test]
    fn a_key_of_several_lines_is_removed_from_json_and_line_by_line() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEA/w==\n-----END PRIVATE KEY-----\n";
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), key.to_owned())]);
        let inside = serde_json::json!({ "key": key, "kind": "pem" }).to_string();
        assert_eq!(secrets.redact(&inside), r#"{"key":"***","kind":"pem"}"#);
        let told = format!("db | {}", key.trim_end().replace('\n', "\ndb | "));
        let shown = secrets.redact(&told);
        assert_eq!(shown.matches("db | ***\n").count(), 2, "{shown}");
        assert!(shown.contains("END PRIVATE KEY"), "{shown}");

        let secrets = EnvSecrets::from_values([("KEY".to_owned(), "pass\"word\\1".to_owned())]);
        assert_eq!(secrets.redact(r#"{"a":"pass\"word\\1"}"#), r#"{"a":"***"}"#);
    }

    #[test]
    fn a_secret_is_known_by_name_only() {
        let secrets = secrets();
        assert_eq!(secrets.get("KEY").unwrap().expose_secret(), KEY);
        assert!(!format!("{:?}", secrets.get("KEY")).contains("live"));
        assert!(secrets.get("ATOLL_TEST_NO_SUCH_VARIABLE").is_none());
    }
}
