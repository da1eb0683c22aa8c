//! What is known about models and their providers: dialect, address, limits, features, prices.
//! It must never know a request, a key's value or the network. The facts stand in `models.toml`, embedded here and
//! extended by the tables `[providers.NAME]`, `[models."NAME"]` and `[aliases]` of the user's `models.toml` and the
//! project's `atoll.toml`.
//! Start with [`Registry::find`].

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
    /// What the project changes of what is known without it.
    changed: Arc<Vec<String>>,
}

/// Which wire format a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Chat completions, as OpenAI and most servers speak them.
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

/// How a model comes to an answer that fits a schema. Whatever the way, the answer is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaMode {
    /// The provider holds it to the schema.
    Native,
    /// It fills in the arguments of a tool that it has to call.
    Tool,
    /// It is asked to in words.
    Words,
}

/// Where models are served.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name, the part before the slash.
    pub name: String,
    /// Its wire format.
    pub kind: ProviderKind,
    /// Where its API begins, without a slash at the end.
    pub base_url: String,
    /// The environment variable that holds its key; `None` where it needs none.
    pub key_env: Option<String>,
    /// A command that prints its key, for where the environment has none: the program and its arguments.
    pub key_command: Vec<String>,
    /// Whether the project says where it is.
    pub(in crate::llm) address_of_project: bool,
    /// Whether the project says which key it gets.
    pub(in crate::llm) key_of_project: bool,
    /// Why its key is not sent, where the project decides to whom and the user has not allowed it.
    pub withheld: Option<Withheld>,
    /// Environment variables that move `base_url`, the first that is set wins.
    pub base_url_env: Vec<String>,
    /// What its models cost unless an entry says otherwise; zero dollars where they are free, which is still counted.
    pub price: Option<Price>,
    /// The provider whose entries of models of the same name hold here too: the same models in another wire format.
    pub like: Option<String>,
    /// Most calls of it that are under way at the same time.
    pub concurrency: usize,
    /// How long it may say nothing before a call is given up.
    pub idle: Duration,
    /// How it takes batches; `None` where it takes none.
    pub batch: Option<Batching>,
    /// The field that limits the answer, where the dialect has several; empty where there is none.
    pub max_tokens_field: String,
    /// What its models can do unless an entry says otherwise.
    pub features: Features,
}

impl Provider {
    /// Where its API begins, without a user name and password.
    pub fn shown_url(&self) -> String {
        without_userinfo(&self.base_url).into_owned()
    }
}

/// A key that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// What would be sent where.
    pub message: String,
    /// How to allow it.
    pub hint: String,
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
    /// Calls tools.
    pub tools: bool,
    /// Takes an effort.
    pub effort: bool,
    /// Takes a seed.
    pub seed: bool,
    /// Takes texts at which to stop.
    pub stop: bool,
    /// Sees pictures.
    pub images: bool,
    /// Takes marks for its prompt cache.
    pub cache_marks: bool,
    /// Takes a JSON Schema as one that is kept to in every letter, where it can be.
    pub strict: bool,
    /// Takes the wish for figures at the end of a stream.
    pub stream_options: bool,
}

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Read.
    #[serde(deserialize_with = "project::dollars")]
    pub input: f64,
    /// Written.
    #[serde(deserialize_with = "project::dollars")]
    pub output: f64,
    /// Read from the prompt cache; like `input` where absent.
    #[serde(default, deserialize_with = "project::maybe_dollars")]
    pub cache_read: Option<f64>,
    /// Written to the prompt cache; like `input` where absent.
    #[serde(default, deserialize_with = "project::maybe_dollars")]
    pub cache_write: Option<f64>,
    /// The share of all this that a call in a batch costs, e.g. 0.5; absent where there are no batches.
    #[serde(default, deserialize_with = "project::maybe_share")]
    pub batch: Option<f64>,
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
        Self::layered([(name, text)])
    }

    /// The embedded facts, extended by several files `(name, text)`, of which later ones win.
    pub fn layered<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RegistryError> {
        Self::of_project(files, None)
    }

    /// The same with the file of a project on top, whose word about addresses and keys is not the user's.
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

    /// The same registry with providers moved to where `env` says: `ATOLL_NAME_BASE_URL`, then the names that the
    /// provider's own SDK reads (`OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`).
    #[must_use]
    pub fn with_base_urls(&self, env: impl Fn(&str) -> Option<String>) -> Self {
        self.with_providers(|provider| {
            let own = format!("ATOLL_{}_BASE_URL", provider.name.to_uppercase().replace('-', "_"));
            let url = env(&own).or_else(|| provider.base_url_env.iter().find_map(|name| env(name)))?;
            Some(Provider { base_url: trimmed(&url), address_of_project: false, ..provider.clone() })
        })
    }

    /// The same registry with those providers that `change` gives in the place of others.
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

    /// The names that `name` stands for: those of an alias, in the order in which they are to be tried, else itself.
    pub fn resolve_alias<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match self.aliases.get(name) {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => vec![name],
        }
    }

    /// The model called `name`: a name of the registry, an alias (the first model of it), or `provider/name` for any
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

    /// All aliases with the names they stand for.
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

    /// The environment variables that hold keys, each once.
    pub fn key_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.providers.values().filter_map(|p| p.key_env.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The commands that print keys, by the name of the environment variable that they stand in for.
    pub fn key_commands(&self) -> BTreeMap<String, Vec<String>> {
        let with = |p: &Arc<Provider>| Some((p.key_env.clone()?, p.key_command.clone()));
        self.providers.values().filter(|p| !p.key_command.is_empty()).filter_map(with).collect()
    }

    /// The provider called `name`.
    pub fn provider(&self, name: &str) -> Result<&Arc<Provider>, RegistryError> {
        self.providers.get(name).ok_or_else(|| {
            let near = nearest(name, self.providers.keys().map(String::as_str));
            let known = self.providers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            RegistryError {
                message: format!("unknown provider `{name}`"),
                hint: Some(
                    near.map_or(format!("known are {known}"), |near| format!("did you mean `{near}`?")),
                ),
            }
        })
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

    /// The same model behind another provider, which may be able to say less.
    fn at(&self, provider: &Arc<Provider>) -> Self {
        let features = self.features.both(provider.features);
        Self { provider: provider.clone(), features, ..self.clone() }
    }

    /// `provider/name`: the same for every way to write the model.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider.name, self.id)
    }

    /// How the model is brought to an answer that fits `shape`.
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

    /// What a call that used `usage` counts for: `calls`, `tokens_in` (all that was read), `tokens_cached` (the part
    /// of it from the cache), `tokens_out`, and `usd` where the price is known.
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
    /// Nothing.
    pub const FREE: Self = Self { input: 0.0, output: 0.0, cache_read: None, cache_write: None, batch: None };

    /// Whether nothing costs anything.
    pub fn is_free(&self) -> bool {
        let cached = [self.cache_read, self.cache_write];
        self.input <= 0.0 && self.output <= 0.0 && cached.iter().flatten().all(|price| *price <= 0.0)
    }

    /// Dollars for `usage`.
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
