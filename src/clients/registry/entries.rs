//! The tables `[providers.NAME]` and `[models."NAME"]` as they are written, and what they mean together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{
    DEFAULT_OUTPUT, Features, Kind, Model, Price, Provider, Registry, RegistryError, trimmed,
    unknown_provider,
};

const KEYS: &str = "[providers.NAME] takes kind, base_url, base_url_env, key_env, free, max_tokens_field, features; \
                    [models.\"NAME\"] takes provider, id, context, max_output, default_output, features, price";

/// A file's tables, every key optional so that one file can extend another.
#[derive(Default, Deserialize)]
pub(super) struct Layer {
    #[serde(default)]
    pub(super) providers: BTreeMap<String, ProviderEntry>,
    #[serde(default)]
    pub(super) models: BTreeMap<String, ModelEntry>,
}

pub(super) fn layer(name: &str, text: &str) -> Result<Layer, RegistryError> {
    toml::from_str(text).map_err(|e| RegistryError {
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
    kind: Kind,
    base_url: String,
    key_env: String,
    base_url_env: Vec<String>,
    free: bool,
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

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeaturesEntry {
    temperature: Option<bool>,
    json_schema: Option<bool>,
    json_any: Option<bool>,
    effort: Option<bool>,
    seed: Option<bool>,
}

impl FeaturesEntry {
    fn over(&self, base: Features) -> Features {
        Features {
            temperature: self.temperature.unwrap_or(base.temperature),
            json_schema: self.json_schema.unwrap_or(base.json_schema),
            json_any: self.json_any.unwrap_or(base.json_any),
            effort: self.effort.unwrap_or(base.effort),
            seed: self.seed.unwrap_or(base.seed),
        }
    }
}

const PLAIN: Features =
    Features { temperature: true, json_schema: false, json_any: false, effort: false, seed: false };

impl Layer {
    pub(super) fn close(self) -> Result<Registry, RegistryError> {
        let mut providers = BTreeMap::new();
        for (name, entry) in self.providers {
            providers.insert(name.clone(), Arc::new(provider(name, entry)?));
        }
        let mut models = BTreeMap::new();
        for (name, entry) in self.models {
            let model = Arc::new(model(&name, entry, &providers)?);
            models.insert(name, model);
        }
        Ok(Registry { providers: Arc::new(providers), models: Arc::new(models) })
    }
}

fn provider(name: String, entry: ProviderEntry) -> Result<Provider, RegistryError> {
    let missing = |key: &str| RegistryError {
        message: format!("[providers.{name}] has no `{key}`"),
        hint: Some("a provider needs kind = \"openai\" or \"anthropic\", and base_url".to_owned()),
    };
    let kind = entry.kind.ok_or_else(|| missing("kind"))?;
    let base_url = entry.base_url.ok_or_else(|| missing("base_url"))?;
    Ok(Provider {
        kind,
        base_url: trimmed(&base_url),
        key_env: entry.key_env.filter(|name| !name.is_empty()),
        base_url_env: entry.base_url_env.unwrap_or_default(),
        free: entry.free.unwrap_or(false),
        max_tokens_field: entry.max_tokens_field.unwrap_or_else(|| "max_tokens".to_owned()),
        features: entry.features.unwrap_or_default().over(PLAIN),
        name,
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
                    message: format!("[models.\"{name}\"] has no `provider`"),
                    hint: Some("add provider = \"…\", or name the model \"provider/name\"".to_owned()),
                });
            }
        },
    };
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
