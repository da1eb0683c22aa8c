//! Values that may come from secrets, for every verb that talks to something or starts it.

use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::verb::{Context, Failure};

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

impl TextOrSecret {
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
