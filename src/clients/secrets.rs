//! Secrets from the environment, the file of keys or a command, and their removal from whatever is shown or kept.
//! It must never know who uses a secret, and never hand one out as a plain `Value`.
//! Start with [`EnvSecrets::new`].
#![expect(clippy::disallowed_methods, reason = "the one door to secrets in the environment")]

mod command;
pub mod file;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use regex::Regex;
use secrecy::ExposeSecret;

use crate::verb::{SecretText, Secrets};

/// Shorter values are not redacted: removing `test` or `1234` everywhere would make every text unreadable.
const SHORTEST: usize = 6;

/// Lines of values of several lines that are shorter are not redacted by themselves.
const LONG: usize = 16;

/// Secrets that stand in environment variables, else in the file of keys, else are printed by a command.
#[derive(Default)]
pub struct EnvSecrets {
    known: RwLock<Known>,
    commands: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
struct Known {
    values: BTreeMap<String, SecretText>,
    /// Every known value in every form, the longest first.
    forms: Option<Regex>,
    /// What went wrong with a command, by the name of its secret.
    trouble: BTreeMap<String, String>,
}

/// The environment variable `name`; empty counts as unset.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl EnvSecrets {
    /// Reads the variables called `names` now, so that their values are redacted from the first line on. Others are
    /// read when they are first asked for.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let read = |name: N| environment(name.as_ref()).map(|value| (name.as_ref().to_owned(), value));
        Self::from_values(names.into_iter().filter_map(read))
    }

    /// Secrets with given values.
    pub fn from_values(values: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name, SecretText::from(value))).collect();
        let forms = forms(&values);
        let known = Known { values, forms, ..Known::default() };
        Self { known: RwLock::new(known), commands: BTreeMap::new() }
    }

    /// The same, with `keys` for names that the environment lacks, and `commands` for names that both lack. A command
    /// is run when its secret is first asked for, and once where it succeeds.
    #[must_use]
    pub fn or(self, keys: file::Keys, commands: BTreeMap<String, Vec<String>>) -> Self {
        let mut known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (name, key) in keys {
            if environment(&name).is_none() {
                known.values.entry(name).or_insert(key);
            }
        }
        known.forms = forms(&known.values);
        Self { known: RwLock::new(known), commands }
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, name: &str, value: &SecretText) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.values.insert(name.to_owned(), value.clone());
        known.forms = forms(&known.values);
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
        match &self.known().forms {
            Some(forms) => forms.replace_all(text, "***").into_owned(),
            None => text.to_owned(),
        }
    }
}

fn forms(values: &BTreeMap<String, SecretText>) -> Option<Regex> {
    let mut forms: Vec<String> = values
        .values()
        .map(ExposeSecret::expose_secret)
        .filter(|value| value.len() >= SHORTEST)
        .flat_map(|value| {
            let mut forms = vec![value.to_owned(), percent(value, false), percent(value, true), json(value)];
            forms.extend((0..3).flat_map(|shift| base64_inside(value.as_bytes(), shift)));
            forms.extend(pieces(value));
            forms
        })
        .filter(|form| form.len() >= SHORTEST)
        .collect();
    forms.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    let any = forms.iter().map(|form| regex::escape(form)).collect::<Vec<_>>().join("|");
    // A pattern of escaped literals is always valid; the size limit is what could fail, for megabytes of secrets.
    if any.is_empty() { None } else { Regex::new(&any).ok() }
}

/// The form inside a JSON text.
fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The long lines of a value of several lines, as logs tell them one by one; lines such as `-----BEGIN` are no secret.
fn pieces(value: &str) -> impl Iterator<Item = String> {
    let lines = value.lines().map(str::trim).filter(|_| value.trim().contains('\n'));
    lines.filter(|line| line.len() >= LONG && !line.starts_with("---")).map(str::to_owned)
}

/// The URL-encoded form, with small or capital hexadecimal letters.
fn percent(text: &str, small: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else if small {
            let _ = write!(out, "%{byte:02x}");
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The letters that `bytes` become inside a longer base64 text in which they begin `shift` bytes after a multiple of
/// three, in the standard and in the URL-safe alphabet; letters that their neighbours have a part in are left out.
fn base64_inside(bytes: &[u8], shift: usize) -> [String; 2] {
    let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
    let bit = |i: usize| padded[i / 8] >> (7 - i % 8) & 1;
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    let letters = |alphabet: &[u8; 64]| {
        (first..last)
            .map(|letter| (0..6).fold(0, |sum, i| sum << 1 | bit(letter * 6 + i)))
            .map(|index| char::from(alphabet[usize::from(index)]))
            .collect()
    };
    [
        letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        letters(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    ]
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
        // printf 'sk-live+key/with?marks' | base64 ; the same behind `x:` and `me:`
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
