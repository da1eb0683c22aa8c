//! Registry of models and providers: wire format, address, limits, features, prices. This module does not
//! know requests, values of keys or the network. The data is in `models.toml`, which is embedded and
//! extended by the tables `[providers.NAME]`, `[models."NAME"]` and `[aliases]` of the user's `models.toml`
//! and the project's `atoll.toml`. Start with [`Registry::find`].

mod batching;
mod bound;
mod entries;
mod project;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diag::nearest;
use crate::llm::{ResponseSchema, TokenUsage};
use crate::meter::Meter;
use crate::visible::without_userinfo;

pub use batching::Batching;
pub use project::requests;

/// Models and providers by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    providers: Arc<BTreeMap<String, Arc<Provider>>>,
    models: Arc<BTreeMap<String, Arc<Model>>>,
    aliases: Arc<BTreeMap<String, Vec<String>>>,
    /// Changes by the project.
    changed: Arc<Vec<String>>,
}

/// Wire format of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Chat completions of OpenAI and most servers.
    Openai,
    /// OpenAI's Responses.
    OpenaiResponses,
    /// Anthropic messages.
    Anthropic,
    /// Gemini's `generateContent`.
    Gemini,
    /// Ollama's own chat.
    Ollama,
}

/// How a model is made to follow a schema. The answer is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaMode {
    /// The provider enforces the schema.
    Native,
    /// The model must call a tool whose input is the answer.
    Tool,
    /// The schema is part of the prompt.
    Words,
}

/// A provider of models.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Name, the part before the slash.
    pub name: String,
    /// Wire format.
    pub kind: ProviderKind,
    /// Base address of its API, without a trailing slash.
    pub base_url: String,
    /// Environment variable with its key; `None` if it needs none.
    pub key_env: Option<String>,
    /// Command that prints its key if the variable is not set: program and arguments.
    pub key_command: Vec<String>,
    /// Whether its address is from the project.
    pub(in crate::llm) address_of_project: bool,
    /// Whether its key name is from the project.
    pub(in crate::llm) key_of_project: bool,
    /// Why its key is not sent, if the project decides about that and the user has not allowed it.
    pub withheld: Option<Withheld>,
    /// Environment variables that override `base_url`; the first that is set takes precedence.
    pub base_url_env: Vec<String>,
    /// Default price of its models; zero if they are free, which is still counted.
    pub price: Option<Price>,
    /// Provider whose model entries also apply here: the same models in another wire format.
    pub like: Option<String>,
    /// Most concurrent calls.
    pub concurrency: usize,
    /// Longest silence before a call fails.
    pub idle: Duration,
    /// Batch settings; `None` if it does not support batches.
    pub batch: Option<Batching>,
    /// Field for the token limit, if the wire format has several; empty if there is none.
    pub max_tokens_field: String,
    /// Default features of its models.
    pub features: Features,
}

impl Provider {
    /// Base address without user name and password, for display.
    pub fn shown_url(&self) -> String {
        without_userinfo(&self.base_url).into_owned()
    }
}

/// A key that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Key and target.
    pub message: String,
    /// How to allow it.
    pub hint: String,
}

/// Features of a model.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, written as such in the registry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Supports a temperature.
    pub temperature: bool,
    /// Supports a JSON Schema for objects.
    pub json_schema: bool,
    /// Supports a JSON Schema for any value.
    pub json_any: bool,
    /// Supports tools.
    pub tools: bool,
    /// Supports an effort.
    pub effort: bool,
    /// Supports a seed.
    pub seed: bool,
    /// Supports stop texts.
    pub stop: bool,
    /// Supports images.
    pub images: bool,
    /// Supports marks for its prompt cache.
    pub cache_marks: bool,
    /// Supports strict JSON Schemas.
    pub strict: bool,
    /// Supports requests for usage at the end of a stream.
    pub stream_options: bool,
}

/// Price in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input.
    #[serde(deserialize_with = "project::dollars")]
    pub input: f64,
    /// Output.
    #[serde(deserialize_with = "project::dollars")]
    pub output: f64,
    /// Input from the prompt cache; by default like `input`.
    #[serde(default, deserialize_with = "project::maybe_dollars")]
    pub cache_read: Option<f64>,
    /// Input that is written to the prompt cache; by default like `input`.
    #[serde(default, deserialize_with = "project::maybe_dollars")]
    pub cache_write: Option<f64>,
    /// Factor for calls in batches, such as 0.5; absent if there are no batches.
    #[serde(default, deserialize_with = "project::maybe_share")]
    pub batch: Option<f64>,
}

/// A model.
#[derive(Clone, Debug)]
pub struct Model {
    /// Name at the provider.
    pub id: String,
    /// Provider.
    pub provider: Arc<Provider>,
    /// Context size in tokens, if known.
    pub context: Option<u64>,
    /// Maximum output in tokens, if known.
    pub max_output: Option<u64>,
    /// Default token limit of an answer.
    pub default_output: u64,
    /// Features.
    pub features: Features,
    /// Price; `None` if unknown.
    pub price: Option<Price>,
}

/// Error of a registry: invalid, or an unknown model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    /// Message.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

const EMBEDDED: &str = include_str!("models.toml");
const DEFAULT_OUTPUT: u64 = 8192;

impl Registry {
    /// The embedded registry.
    pub fn embedded() -> Result<Self, RegistryError> {
        Self::extended("models.toml", "")
    }

    /// The embedded registry, extended by the text of a TOML file `name`. Only the tables `providers` and
    /// `models` are read; keys there replace embedded ones.
    pub fn extended(name: &str, text: &str) -> Result<Self, RegistryError> {
        Self::layered([(name, text)])
    }

    /// The embedded registry, extended by files `(name, text)`; later files take precedence.
    pub fn layered<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RegistryError> {
        Self::of_project(files, None)
    }

    /// The registry extended by the file of a project, whose addresses and keys are not those of the user.
    pub fn of_project<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        project: Option<(&'a str, &'a str)>,
    ) -> Result<Self, RegistryError> {
        let mut facts = entries::layer("models.toml", EMBEDDED)?;
        for (name, text) in files {
            facts.take(entries::layer(name, text)?);
        }
        if let Some((name, text)) = project {
            facts.take_of_project(entries::layer(name, text)?);
        }
        facts.close()
    }

    /// The registry with base addresses from the environment: `ATOLL_NAME_BASE_URL`, then the variables of
    /// the provider's SDK (`OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`).
    #[must_use]
    pub fn with_base_urls(&self, env: impl Fn(&str) -> Option<String>) -> Self {
        self.with_providers(|provider| {
            let own = format!("ATOLL_{}_BASE_URL", provider.name.to_uppercase().replace('-', "_"));
            let url = env(&own).or_else(|| provider.base_url_env.iter().find_map(|name| env(name)))?;
            Some(Provider { base_url: trimmed(&url), address_of_project: false, ..provider.clone() })
        })
    }

    /// The registry with providers replaced by `change`.
    fn with_providers(&self, change: impl Fn(&Provider) -> Option<Provider>) -> Self {
        let providers: BTreeMap<_, _> = self
            .providers
            .iter()
            .map(|(name, provider)| {
                (name.clone(), change(provider).map_or_else(|| provider.clone(), Arc::new))
            })
            .collect();
        let at_home = |model: &Model| {
            let provider = providers.get(&model.provider.name).unwrap_or(&model.provider).clone();
            Arc::new(Model { provider, ..model.clone() })
        };
        let models = self.models.iter().map(|(name, model)| (name.clone(), at_home(model))).collect();
        Self { providers: Arc::new(providers), models: Arc::new(models), ..self.clone() }
    }

    /// The models of an alias in the order in which to try them, or `name` itself.
    pub fn resolve_alias<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match self.aliases.get(name) {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => vec![name],
        }
    }

    /// The model `name`: a name of the registry, an alias (its first model), or `provider/name` for any
    /// model of a known provider.
    pub fn find(&self, name: &str) -> Result<Arc<Model>, RegistryError> {
        if let Some(model) = self.models.get(name) {
            return Ok(model.clone());
        }
        if let Some(first) = self.aliases.get(name).and_then(|names| names.first()) {
            return self.find(first);
        }
        let Some((provider, id)) = name.split_once('/') else {
            return Err(self.unknown(name));
        };
        let Some(provider) = self.providers.get(provider) else {
            return Err(unknown_provider(name, provider, self.providers.keys()));
        };
        if let Some(listed) = self.listed(id, &provider.name) {
            return Ok(listed.clone());
        }
        let like = provider.like.as_deref().and_then(|other| self.listed(id, other));
        Ok(Arc::new(like.map_or_else(|| Model::unlisted(id, provider), |model| model.at(provider))))
    }

    fn listed(&self, id: &str, provider: &str) -> Option<&Arc<Model>> {
        self.models.values().find(|model| model.id == id && model.provider.name == provider)
    }

    /// The name nearest to `name` among the models of `provider`, or among all.
    pub fn nearest(&self, name: &str, provider: Option<&str>) -> Option<&str> {
        let known = self
            .models
            .iter()
            .filter(|(_, model)| provider.is_none_or(|provider| model.provider.name == provider))
            .map(|(name, _)| name.as_str());
        let aliases = self.aliases.keys().filter(|_| provider.is_none()).map(String::as_str);
        nearest(name, known.chain(aliases))
    }

    /// All aliases with their models.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.aliases.iter().map(|(name, meant)| (name.as_str(), meant.as_slice()))
    }

    /// All models of the registry, by name.
    pub fn models(&self) -> impl Iterator<Item = (&str, &Arc<Model>)> {
        self.models.iter().map(|(name, model)| (name.as_str(), model))
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }

    /// Environment variables with keys, each once.
    pub fn key_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.providers.values().filter_map(|p| p.key_env.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Commands that print keys, by the environment variable that they replace.
    pub fn key_commands(&self) -> BTreeMap<String, Vec<String>> {
        let with = |p: &Arc<Provider>| Some((p.key_env.clone()?, p.key_command.clone()));
        self.providers.values().filter(|p| !p.key_command.is_empty()).filter_map(with).collect()
    }

    /// The provider `name`.
    pub fn provider(&self, name: &str) -> Result<&Arc<Provider>, RegistryError> {
        self.providers.get(name).ok_or_else(|| {
            let near = nearest(name, self.providers.keys().map(String::as_str));
            let known = self.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            RegistryError {
                message: format!("unknown provider `{name}`"),
                hint: Some(
                    near.map_or(format!("known providers: {known}"), |near| {
                        format!("did you mean `{near}`?")
                    }),
                ),
            }
        })
    }

    fn unknown(&self, name: &str) -> RegistryError {
        let near = self.nearest(name, None).map(|near| format!("did you mean `{near}`? "));
        RegistryError {
            message: format!("unknown model `{name}`"),
            hint: Some(format!(
                "{}write a model outside the registry as `provider/name` (providers: {}), or define it in \
                 [models.\"{name}\"] of atoll.toml",
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
            "{near}known providers: {known}; define another one in [providers.{provider}] of atoll.toml"
        )),
    }
}

impl Model {
    pub(in crate::llm) fn unlisted(id: &str, provider: &Arc<Provider>) -> Self {
        Self {
            id: id.to_owned(),
            provider: provider.clone(),
            context: None,
            max_output: None,
            default_output: DEFAULT_OUTPUT,
            features: provider.features,
            price: provider.price,
        }
    }

    /// The model at another provider, which may support less.
    fn at(&self, provider: &Arc<Provider>) -> Self {
        let features = self.features.both(provider.features);
        Self { provider: provider.clone(), features, ..self.clone() }
    }

    /// `provider/name`, the same for all names of the model.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider.name, self.id)
    }

    /// How the model is made to follow `shape`.
    pub fn means(&self, shape: &ResponseSchema) -> SchemaMode {
        let object = shape.schema["type"] == "object";
        let said = self.provider.kind != ProviderKind::Anthropic || crate::llm::can_say(&shape.schema);
        if said && self.features.json_schema && (object || self.features.json_any) {
            SchemaMode::Native
        } else if object
            && self.features.tools
            && matches!(self.provider.kind, ProviderKind::Openai | ProviderKind::Anthropic)
        {
            SchemaMode::Tool
        } else {
            SchemaMode::Words
        }
    }

    /// The meter for `usage`: `calls`, `tokens_in` (all input), `tokens_cached` (input from the cache),
    /// `tokens_out`, and `usd` if the price is known.
    pub fn meter(&self, usage: &TokenUsage) -> Meter {
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
    /// Free of charge.
    pub const FREE: Self = Self { input: 0.0, output: 0.0, cache_read: None, cache_write: None, batch: None };

    /// Whether everything is free.
    pub fn is_free(&self) -> bool {
        let cached = [self.cache_read, self.cache_write];
        self.input <= 0.0 && self.output <= 0.0 && cached.iter().flatten().all(|price| *price <= 0.0)
    }

    /// Cost of `usage` in US dollars.
    pub fn of(&self, usage: &TokenUsage) -> f64 {
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
