//! What is known about models and their providers: dialect, address, limits, features, prices.
//! It must never know a request, a key's value or the network. The facts stand in `models.toml`, embedded here and
//! extended by the tables `[providers.NAME]` and `[models."NAME"]` of the user's `atoll.toml`.
//! Start with [`Registry::find`].

mod entries;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clients::llm::{Shape, Usage};
use crate::diag::nearest;
use crate::meter::Meter;

/// Models and providers by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    providers: Arc<BTreeMap<String, Arc<Provider>>>,
    models: Arc<BTreeMap<String, Arc<Model>>>,
}

/// Which wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Chat completions, as OpenAI and most servers speak them.
    Openai,
    /// Anthropic messages.
    Anthropic,
}

/// Where models are served.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name, the part before the slash.
    pub name: String,
    /// Its wire format.
    pub kind: Kind,
    /// Where its API begins, without a slash at the end.
    pub base_url: String,
    /// The environment variable that holds its key; `None` where it needs none.
    pub key_env: Option<String>,
    /// Environment variables that move `base_url`, the first that is set wins.
    pub base_url_env: Vec<String>,
    /// Whether its models cost nothing unless an entry says otherwise: still counted, at zero dollars.
    pub free: bool,
    /// The field that limits the answer, where the dialect has several.
    pub max_tokens_field: String,
    /// What its models can do unless an entry says otherwise.
    pub features: Features,
}

/// What a model can do.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, written as such in the registry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Takes a temperature.
    pub temperature: bool,
    /// Holds itself to a JSON Schema of an object.
    pub json_schema: bool,
    /// Holds itself to a JSON Schema of anything.
    pub json_any: bool,
    /// Takes an effort.
    pub effort: bool,
    /// Takes a seed.
    pub seed: bool,
}

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Read.
    pub input: f64,
    /// Written.
    pub output: f64,
    /// Read from the prompt cache; like `input` where absent.
    pub cache_read: Option<f64>,
    /// Written to the prompt cache; like `input` where absent.
    pub cache_write: Option<f64>,
}

/// A model as it is asked.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name at the provider.
    pub id: String,
    /// Who serves it.
    pub provider: Arc<Provider>,
    /// Tokens it can read and write together, where known.
    pub context: Option<u64>,
    /// Most tokens it can write in one answer, where known.
    pub max_output: Option<u64>,
    /// Tokens it is allowed to write when the request names no limit.
    pub default_output: u64,
    /// What it can do.
    pub features: Features,
    /// What it costs; `None` where nobody knows.
    pub price: Option<Price>,
}

/// Why a registry cannot be used, or has no such model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

const EMBEDDED: &str = include_str!("models.toml");
const DEFAULT_OUTPUT: u64 = 8192;

impl Registry {
    /// The embedded facts alone.
    pub fn embedded() -> Result<Self, RegistryError> {
        Self::extended("models.toml", "")
    }

    /// The embedded facts, extended by the text of a TOML file called `name`; of that file only the tables
    /// `providers` and `models` are read. A key given there replaces the embedded one, all others stay.
    pub fn extended(name: &str, text: &str) -> Result<Self, RegistryError> {
        let mut facts = entries::layer("models.toml", EMBEDDED)?;
        let more = entries::layer(name, text)?;
        for (name, entry) in more.providers {
            facts.providers.entry(name).or_default().take(entry);
        }
        for (name, entry) in more.models {
            facts.models.entry(name).or_default().take(entry);
        }
        facts.close()
    }

    /// The same registry with providers moved to where `env` says: `ATOLL_NAME_BASE_URL`, then the names that the
    /// provider's own SDK reads (`OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`).
    #[must_use]
    pub fn moved(&self, env: impl Fn(&str) -> Option<String>) -> Self {
        let providers: BTreeMap<_, _> = self
            .providers
            .iter()
            .map(|(name, provider)| {
                let own = format!("ATOLL_{}_BASE_URL", name.to_uppercase().replace('-', "_"));
                let url = env(&own).or_else(|| provider.base_url_env.iter().find_map(|name| env(name)));
                let moved = match url {
                    Some(url) => Arc::new(Provider { base_url: trimmed(&url), ..(**provider).clone() }),
                    None => provider.clone(),
                };
                (name.clone(), moved)
            })
            .collect();
        let at_home = |model: &Model| {
            let provider = providers.get(&model.provider.name).unwrap_or(&model.provider).clone();
            Arc::new(Model { provider, ..model.clone() })
        };
        let models = self.models.iter().map(|(name, model)| (name.clone(), at_home(model))).collect();
        Self { providers: Arc::new(providers), models: Arc::new(models) }
    }

    /// The model called `name`: a name of the registry, or `provider/name` for any model of a known provider.
    pub fn find(&self, name: &str) -> Result<Arc<Model>, RegistryError> {
        if let Some(model) = self.models.get(name) {
            return Ok(model.clone());
        }
        let Some((provider, id)) = name.split_once('/') else {
            return Err(self.unknown(name));
        };
        let Some(provider) = self.providers.get(provider) else {
            return Err(unknown_provider(name, provider, self.providers.keys()));
        };
        let listed = |model: &&Arc<Model>| model.id == id && model.provider.name == provider.name;
        Ok(self
            .models
            .values()
            .find(listed)
            .cloned()
            .unwrap_or_else(|| Arc::new(Model::unlisted(id, provider))))
    }

    /// The name nearest to `name` among the models of `provider`, or among all.
    pub fn nearest(&self, name: &str, provider: Option<&str>) -> Option<&str> {
        let known = self
            .models
            .iter()
            .filter(|(_, model)| provider.is_none_or(|provider| model.provider.name == provider))
            .map(|(name, _)| name.as_str());
        nearest(name, known)
    }

    /// All models of the registry, by name.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Arc<Model>)> {
        self.models.iter().map(|(name, model)| (name.as_str(), model))
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// The environment variables that hold keys, each once.
    pub fn key_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.providers.values().filter_map(|p| p.key_env.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn unknown(&self, name: &str) -> RegistryError {
        let near = self.nearest(name, None).map(|near| format!("did you mean `{near}`? "));
        RegistryError {
            message: format!("unknown model `{name}`"),
            hint: Some(format!(
                "{}a model outside the registry is written `provider/name` (providers: {}), or described under \
                 [models.\"{name}\"] in atoll.toml",
                near.unwrap_or_default(),
                self.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            )),
        }
    }
}

fn unknown_provider<'a>(
    name: &str,
    provider: &str,
    known: impl Iterator<Item = &'a String> + Clone,
) -> RegistryError {
    let near = nearest(provider, known.clone().map(String::as_str));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let known = known.map(String::as_str).collect::<Vec<_>>().join(", ");
    RegistryError {
        message: format!("unknown provider `{provider}` in the model name `{name}`"),
        hint: Some(format!(
            "{near}known are {known}; another one is described under [providers.{provider}] in atoll.toml"
        )),
    }
}

impl Model {
    fn unlisted(id: &str, provider: &Arc<Provider>) -> Self {
        Self {
            id: id.to_owned(),
            provider: provider.clone(),
            context: None,
            max_output: None,
            default_output: DEFAULT_OUTPUT,
            features: provider.features,
            price: provider.free.then_some(Price::FREE),
        }
    }

    /// `provider/name`: the same for every way to write the model.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider.name, self.id)
    }

    /// Most tokens to answer with: `asked`, else the default, and never more than the model can write.
    pub fn limit(&self, asked: Option<u64>) -> u64 {
        let asked = asked.unwrap_or(self.default_output);
        self.max_output.map_or(asked, |most| asked.min(most))
    }

    /// Whether the provider holds the model to `shape`; where not, the prompt has to ask for it.
    pub fn enforces(&self, shape: &Shape) -> bool {
        let object = shape.schema["type"] == "object";
        let said = self.provider.kind == Kind::Openai || crate::clients::llm::can_say(&shape.schema);
        said && self.features.json_schema && (object || self.features.json_any)
    }

    /// What a call that used `usage` counts for: `calls`, `tokens_in` (all that was read), `tokens_cached` (the part
    /// of it from the cache), `tokens_out`, and `usd` where the price is known.
    pub fn meter(&self, usage: &Usage) -> Meter {
        let mut meter = Meter::new().with("calls", 1.0);
        meter.add("tokens_in", count(usage.tokens_in));
        meter.add("tokens_out", count(usage.tokens_out));
        if usage.cache_read > 0 {
            meter.add("tokens_cached", count(usage.cache_read));
        }
        if let Some(price) = &self.price {
            meter.add("usd", price.of(usage));
        }
        meter
    }
}

impl Price {
    /// Nothing.
    pub const FREE: Self = Self { input: 0.0, output: 0.0, cache_read: None, cache_write: None };

    /// Dollars for `usage`.
    pub fn of(&self, usage: &Usage) -> f64 {
        let plain = usage.tokens_in.saturating_sub(usage.cache_read + usage.cache_write);
        let cache_read = self.cache_read.unwrap_or(self.input);
        let cache_write = self.cache_write.unwrap_or(self.input);
        (count(plain) * self.input
            + count(usage.cache_read) * cache_read
            + count(usage.cache_write) * cache_write
            + count(usage.tokens_out) * self.output)
            / 1e6
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}

fn trimmed(url: &str) -> String {
    url.trim().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
