//! What the file of a project may change about providers, and what needs the consent of the user.

use serde::de::{Deserialize, Deserializer, Error};

use super::{Provider, Registry, Withheld};
use crate::value::Value;

impl Registry {
    /// The registry without keys that would be sent because of a project: address and key of a provider
    /// must be from the user or from Atoll itself, or `allowed` must allow the key. `file` is the file of
    /// the project.
    #[must_use]
    pub fn withheld(&self, file: &str, allowed: &dyn Fn(&str) -> bool) -> Self {
        self.with_providers(|provider| {
            let key = provider.key_env.as_deref().filter(|key| !allowed(key))?;
            let whose = match (provider.address_of_project, provider.key_of_project) {
                (false, false) => return None,
                (true, _) => format!("the address is from {file}"),
                (false, true) => format!("{file} names the key"),
            };
            let name = &provider.name;
            let withheld = Withheld {
                message: format!(
                    "the key `{key}` would be sent to {} ({name}), and you have not allowed that: {whose}",
                    provider.shown_url()
                ),
                hint: format!(
                    "allow it with `--allow-secret {key}`, or permanently with `atoll trust {file}`, or define \
                     [providers.{name}] in ~/.config/atoll/models.toml"
                ),
            };
            Some(Provider { withheld: Some(withheld), ..provider.clone() })
        })
    }

    /// Changes by the project to known models and providers, such as `price of gpt-5`.
    pub fn changed_by_project(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(String::as_str)
    }
}

/// Requests of a project's settings for providers, one line each: which key would be sent where.
pub fn requests(text: &str) -> Vec<String> {
    let settings: Value = crate::value::parse_toml(text).unwrap_or_default();
    let providers = settings["providers"].as_object().into_iter().flatten();
    let embedded = Registry::embedded().ok();
    let line = |(name, entry): (&String, &Value)| {
        let known = embedded.as_ref().and_then(|registry| registry.provider(name).ok());
        let (url, key) = (entry["base_url"].as_str(), entry["key_env"].as_str());
        if url.is_none() && key.is_none() {
            return None;
        }
        let url = url
            .or_else(|| known.map(|known| known.base_url.as_str()))
            .unwrap_or("an address of your own settings");
        let key =
            key.or_else(|| known.and_then(|known| known.key_env.as_deref())).filter(|key| !key.is_empty());
        Some(match key {
            Some(key) => format!("the key `{key}` is sent to {url} (providers.{name})"),
            None => {
                format!("prompts are sent to {url}, with your key for it if you have one (providers.{name})")
            }
        })
    };
    providers.filter_map(line).collect()
}

/// Highest price, one dollar per token; higher ones are mistakes.
const DEAREST: f64 = 1e6;

/// Reads a price, which must not be negative or infinite.
pub(super) fn dollars<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let price = f64::deserialize(from)?;
    if (0.0..=DEAREST).contains(&price) {
        Ok(price)
    } else {
        Err(D::Error::custom(format!(
            "a price is from 0 to {DEAREST} dollars per million tokens, not {price}"
        )))
    }
}

pub(super) fn maybe_dollars<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Dollars(#[serde(deserialize_with = "dollars")] f64);
    Ok(Option::<Dollars>::deserialize(from)?.map(|dollars| dollars.0))
}

pub(super) fn maybe_share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(from)? {
        Some(share) if !(0.0..=1.0).contains(&share) => {
            Err(D::Error::custom(format!("`batch` is a factor from 0 to 1, not {share}")))
        }
        share => Ok(share),
    }
}
