//! Values that may come from secrets, for every verb that talks to something or starts it.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::verb::{Context, Failure, Refusal, no_secret_name, pointer};
use crate::verbs::null::with_null;

/// A text, or a secret by name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TextOrSecret {
    /// The text.
    Text(String),
    /// The value of a secret.
    Secret(SecretName),
}

/// A secret by name: an environment variable of this program, or a key that `atoll configure` keeps.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretName {
    /// The name, never the value.
    pub secret: String,
    /// What stands before the value, e.g. `Bearer ` with the space.
    #[serde(default)]
    pub prefix: String,
}

impl SecretName {
    /// Why no attempt could give it to `receiver`, and the key that says so.
    pub fn unusable(&self, receiver: &str) -> Option<(&'static str, Failure)> {
        Some(("secret", no_secret_name(&self.secret, receiver)?))
    }
}

impl TextOrSecret {
    /// Why no attempt could give it to `receiver`, at the place `at` of its input.
    pub fn unusable(&self, at: &str, receiver: &str) -> Option<Refusal> {
        match self {
            Self::Text(_) => None,
            Self::Secret(secret) => {
                let (key, failure) = secret.unusable(receiver)?;
                Some(Refusal::of(pointer(at, key), failure))
            }
        }
    }

    /// The same for the variable of an environment, whose value is text without a null character.
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

    /// The text, where it is no secret.
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
