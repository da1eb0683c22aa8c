//! Values that may come from secrets, for verbs that send values to something or start it.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::verb::{Context, Failure, Refusal, no_secret_name, pointer};
use crate::verbs::null_characters::with_null;

/// A text, or a secret by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrSecret {
    /// The text.
    Text(String),
    /// The value of a secret.
    Secret(SecretName),
}

/// A secret by name: an environment variable of Atoll, or a key that `atoll configure` stored.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// Name of the secret, never its value.
    pub secret: String,
    /// Text before the value, e.g. `Bearer ` with the space.
    #[serde(default)]
    pub prefix: String,
}

impl SecretName {
    /// The reason why the secret can never be given to `receiver`, and the key that causes it.
    pub fn unusable(&self, receiver: &str) -> Option<(&'static str, Failure)> {
        Some(("secret", no_secret_name(&self.secret, receiver)?))
    }
}

impl TextOrSecret {
    /// The reason why it can never be given to `receiver`, at `at` of the input.
    pub fn unusable(&self, at: &str, receiver: &str) -> Option<Refusal> {
        match self {
            Self::Text(_) => None,
            Self::Secret(secret) => {
                let (key, failure) = secret.unusable(receiver)?;
                Some(Refusal::of(pointer(at, key), failure))
            }
        }
    }

    /// The same for an environment variable, whose value is text without a null character.
    pub fn unusable_variable(&self, at: &str, receiver: &str) -> Option<Refusal> {
        let (key, text) = match self {
            Self::Text(text) => (at.to_owned(), text),
            Self::Secret(secret) => (pointer(at, "prefix"), &secret.prefix),
        };
        self.unusable(at, receiver).or_else(|| with_null(&key, text, receiver))
    }

    /// Whether it is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// The text, if it is not a secret.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Secret(_) => None,
        }
    }

    /// The text to give to `receiver`, which errors name.
    pub fn reveal(&self, receiver: &str, cx: &Context) -> Result<String, Failure> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Secret(SecretName { secret, prefix }) => {
                Ok(format!("{prefix}{}", cx.secret(secret, receiver)?.expose_secret()))
            }
        }
    }
}
