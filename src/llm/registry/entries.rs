//! The tables `[providers.NAME]` and `[models."NAME"]` of settings, and how they are merged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::batching::BatchEntry;
use super::{
    DEFAULT_OUTPUT, Features, Model, Price, Provider, ProviderKind, Registry, RegistryError, trimmed,
    unknown_provider,
};
use crate::verb::is_secret_name;
use crate::visible::without_userinfo;

const KEYS: &str = "the keys of [providers.NAME] are kind, base_url, base_url_env, key_env, key_command, free, price, like, \
                    concurrency, idle, batch, max_tokens_field, features; \
                    the keys of [models.\"NAME\"] are provider, id, context, max_output, default_output, features, price; \
                    [aliases] has entries NAME = \"model\" or a list";
/// Default number of concurrent calls, and default longest silence.
const CONCURRENCY: usize = 128;
const IDLE: Duration = Duration::from_secs(300);

/// The tables of a file. All keys are optional, so that one file can extend another.
#[derive(Default, Deserialize)]
pub(super) struct RegistryFile {
    #[serde(default)]
    pub(super) providers: BTreeMap<String, ProviderEntry>,
    #[serde(default)]
    pub(super) models: BTreeMap<String, ModelEntry>,
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, OneOrMany>,
    /// For each provider, whether its address and its key name are from the project.
    #[serde(skip)]
    of_project: BTreeMap<String, (bool, bool)>,
    /// Changes by the project.
    #[serde(skip)]
    changed: Vec<String>,
}

/// One name or several.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

pub(super) fn layer(name: &str, text: &str) -> Result<RegistryFile, RegistryError> {
    crate::value::parse_toml(text).map_err(|e| RegistryError {
        message: format!("{name}: {}", e.to_string().trim_end()),
        hint: Some(KEYS.to_owned()),
    })
}

macro_rules! entry {
    ($name:ident { $($field:ident: $kind:ty,)+ }) => {
        #[derive(Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name { $($field: Option<$kind>,)+ }

        impl $name {
            pub(super) fn take(&mut self, other: Self) {
                $(if other.$field.is_some() { self.$field = other.$field; })+
            }
        }
    };
}

entry!(ProviderEntry {
    kind: ProviderKind,
    base_url: String,
    key_env: String,
    key_command: Vec<String>,
    base_url_env: Vec<String>,
    free: bool,
    price: Price,
    like: String,
    concurrency: usize,
    idle: String,
    batch: BatchEntry,
    max_tokens_field: String,
    features: FeaturesEntry,
});

entry!(ModelEntry {
    provider: String,
    id: String,
    context: u64,
    max_output: u64,
    default_output: u64,
    features: FeaturesEntry,
    price: Price,
});

macro_rules! features {
    ($($field:ident: $plain:literal,)+) => {
        #[derive(Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct FeaturesEntry { $($field: Option<bool>,)+ }

        impl FeaturesEntry {
            fn over(&self, base: Features) -> Features {
                Features { $($field: self.$field.unwrap_or(base.$field),)+ }
            }
        }

        impl Features {
            /// Default features of a provider.
            const PLAIN: Self = Self { $($field: $plain,)+ };

            /// Features that both have.
            pub(super) fn both(self, other: Self) -> Self {
                Self { $($field: self.$field && other.$field,)+ }
            }

            /// Names of the features, without those that all models have.
            pub fn names(self) -> Vec<&'static str> {
                const PLAIN: [&str; 2] = ["strict", "stream_options"];
                let all = [$((stringify!($field), self.$field),)+];
                let can = all.into_iter().filter(|(name, can)| *can && !PLAIN.contains(name));
                can.map(|(name, _)| name).collect()
            }
        }
    };
}

features! {
    temperature: true,
    json_schema: false,
    json_any: false,
    tools: false,
    effort: false,
    seed: false,
    stop: true,
    images: false,
    cache_marks: false,
    strict: true,
    stream_options: true,
}

impl RegistryFile {
    /// Merges `more` key by key.
    pub(super) fn take(&mut self, more: Self) {
        for (name, entry) in more.providers {
            self.providers.entry(name).or_default().take(entry);
        }
        for (name, entry) in more.models {
            self.models.entry(name).or_default().take(entry);
        }
        self.aliases.extend(more.aliases);
    }

    /// Merges the file of a project, and records security-relevant changes.
    pub(super) fn take_of_project(&mut self, more: Self) {
        for (name, entry) in &more.providers {
            let says = (entry.base_url.is_some(), entry.key_env.is_some());
            self.of_project.insert(name.clone(), says);
            if !self.providers.contains_key(name) {
                continue;
            }
            if let Some(url) = &entry.base_url {
                self.changed.push(format!("address of {name} ({})", without_userinfo(url)));
            }
            if entry.price.is_some() || entry.free.is_some() {
                self.changed.push(format!("price of all models of {name}"));
            }
        }
        let is_known = |name: &str| {
            let of_provider =
                name.split_once('/').is_some_and(|(provider, _)| self.providers.contains_key(provider));
            of_provider || self.models.contains_key(name) || self.aliases.contains_key(name)
        };
        let mut changed = Vec::new();
        for (name, entry) in more.models.iter().filter(|(name, _)| is_known(name)) {
            match (&entry.provider, &entry.id) {
                (Some(provider), _) => changed.push(format!("provider of {name} ({provider})")),
                (None, Some(id)) => changed.push(format!("meaning of {name} ({id})")),
                (None, None) => {}
            }
            changed.extend(entry.price.is_some().then(|| format!("price of {name}")));
        }
        let aliases = more.aliases.keys().filter(|name| is_known(name));
        changed.extend(aliases.map(|name| format!("meaning of {name}")));
        self.changed.extend(changed);
        self.take(more);
    }

    pub(super) fn close(self) -> Result<Registry, RegistryError> {
        let mut providers = BTreeMap::new();
        for (name, entry) in self.providers {
            let (address_of_project, key_of_project) =
                self.of_project.get(&name).copied().unwrap_or_default();
            let read = Provider { address_of_project, key_of_project, ..provider(name.clone(), entry)? };
            providers.insert(name, Arc::new(read));
        }
        let mut models = BTreeMap::new();
        for (name, entry) in self.models {
            let model = Arc::new(model(&name, entry, &providers)?);
            models.insert(name, model);
        }
        let aliases = self.aliases.into_iter().map(|(name, meant)| match meant {
            OneOrMany::One(meant) => (name, vec![meant]),
            OneOrMany::Many(meant) => (name, meant),
        });
        let aliases: BTreeMap<String, Vec<String>> = aliases.collect();
        let registry = Registry {
            providers: Arc::new(providers),
            models: Arc::new(models),
            aliases: Arc::default(),
            changed: Arc::new(self.changed),
        };
        aliases.iter().try_for_each(|(name, meant)| sound(name, meant, &aliases, &registry))?;
        Ok(Registry { aliases: Arc::new(aliases), ..registry })
    }
}

/// Checks aliases: their targets are models, not aliases, and they do not hide models.
fn sound(
    name: &str,
    meant: &[String],
    aliases: &BTreeMap<String, Vec<String>>,
    registry: &Registry,
) -> Result<(), RegistryError> {
    let wrong = |message: String, hint: &str| Err(RegistryError { message, hint: Some(hint.to_owned()) });
    if registry.models.contains_key(name) || name.contains('/') {
        return wrong(format!("the alias `{name}` is the name of a model"), "give it another name");
    }
    if meant.is_empty() {
        return wrong(format!("the alias `{name}` is empty"), "list at least one model");
    }
    for model in meant {
        if aliases.contains_key(model) {
            return wrong(format!("the alias `{name}` refers to the alias `{model}`"), "use a model");
        }
        registry.find(model).map_err(|error| RegistryError {
            message: format!("the alias `{name}` refers to an {}", error.message),
            ..error
        })?;
    }
    Ok(())
}

fn provider(name: String, entry: ProviderEntry) -> Result<Provider, RegistryError> {
    let own_variable = || format!("{}_API_KEY", name.to_uppercase().replace('-', "_"));
    let missing = |key: &str| {
        RegistryError {
        message: format!("`{key}` is missing in [providers.{name}]"),
        hint: Some(
            "set base_url, and kind = \"openai\", \"openai_responses\", \"anthropic\", \"gemini\" or \"ollama\""
                .to_owned(),
        ),
    }
    };
    let idle = entry.idle.as_deref().map_or(Ok(IDLE), |text| span(&name, "idle", text))?;
    let kind = entry.kind.ok_or_else(|| missing("kind"))?;
    let batch = entry.batch.map_or(Ok(None), |batch| batch.close(&name, kind))?;
    let base_url = entry.base_url.ok_or_else(|| missing("base_url"))?;
    if let Some(key) = entry.key_env.as_deref().filter(|key| !key.is_empty() && !is_secret_name(key)) {
        // It may be the key itself, so only its length is shown.
        return Err(RegistryError {
            message: format!(
                "[providers.{name}]: `key_env` is not the name of an environment variable ({} characters)",
                key.chars().count()
            ),
            hint: Some("set the variable with the key, for example key_env = \"MY_KEY\"".to_owned()),
        });
    }
    if base_url
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .is_some_and(|host| host.contains('@'))
    {
        return Err(RegistryError {
            message: format!(
                "[providers.{name}]: `base_url` contains a user name or password, which would be shown"
            ),
            hint: Some("set the variable with the key in `key_env`".to_owned()),
        });
    }
    Ok(Provider {
        kind,
        base_url: trimmed(&base_url),
        key_env: entry.key_env.filter(|name| !name.is_empty()).or_else(|| {
            entry.key_command.as_ref().filter(|command| !command.is_empty()).map(|_| own_variable())
        }),
        key_command: entry.key_command.unwrap_or_default(),
        address_of_project: false,
        key_of_project: false,
        withheld: None,
        base_url_env: entry.base_url_env.unwrap_or_default(),
        price: entry.price.or(entry.free.unwrap_or(false).then_some(Price::FREE)),
        like: entry.like,
        concurrency: match entry.concurrency {
            Some(0) => return Err(zero(&name, "concurrency")),
            other => other.unwrap_or(CONCURRENCY),
        },
        idle,
        batch,
        max_tokens_field: entry.max_tokens_field.unwrap_or_else(|| "max_tokens".to_owned()),
        features: entry.features.unwrap_or_default().over(Features::PLAIN),
        name,
    })
}

fn zero(name: &str, key: &str) -> RegistryError {
    RegistryError {
        message: format!("[providers.{name}]: `{key}` is 0"),
        hint: Some("use a whole number from 1, or remove it".to_owned()),
    }
}

/// Parses the duration `text` of the key `key` of the provider `name`. Zero is an error.
pub(super) fn span(name: &str, key: &str, text: &str) -> Result<Duration, RegistryError> {
    crate::duration::parse(text).ok().filter(|span| !span.is_zero()).ok_or_else(|| RegistryError {
        message: format!("[providers.{name}]: `{key}` is not a duration: {text}"),
        hint: Some("write it as `90s` or `5m`".to_owned()),
    })
}

fn model(
    name: &str,
    entry: ModelEntry,
    providers: &BTreeMap<String, Arc<Provider>>,
) -> Result<Model, RegistryError> {
    let (home, id) = match (entry.provider, entry.id) {
        (Some(home), id) => (home, id.unwrap_or_else(|| name.to_owned())),
        (None, id) => match name.split_once('/') {
            Some((home, rest)) => (home.to_owned(), id.unwrap_or_else(|| rest.to_owned())),
            None => {
                return Err(RegistryError {
                    message: format!("`provider` is missing in [models.\"{name}\"]"),
                    hint: Some("add provider = \"…\", or use the name \"provider/name\"".to_owned()),
                });
            }
        },
    };
    let counts = [
        ("context", entry.context),
        ("max_output", entry.max_output),
        ("default_output", entry.default_output),
    ];
    if let Some((key, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
        return Err(RegistryError {
            message: format!("[models.\"{name}\"]: `{key}` is 0"),
            hint: Some("use a number of tokens, or remove it".to_owned()),
        });
    }
    let provider = providers.get(&home).ok_or_else(|| unknown_provider(name, &home, providers.keys()))?;
    let base = Model::unlisted(&id, provider);
    let default_output = entry.default_output.unwrap_or(DEFAULT_OUTPUT);
    Ok(Model {
        context: entry.context,
        max_output: entry.max_output,
        default_output: entry.max_output.map_or(default_output, |most| default_output.min(most)),
        features: entry.features.unwrap_or_default().over(base.features),
        price: entry.price.or(base.price),
        ..base
    })
}
