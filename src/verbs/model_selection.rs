//! Shared by verbs that call models: model names, unknown prices, and when to fall back to another model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::llm::Models;
use crate::llm::registry::Model;
use crate::value::Value;
use crate::verb::{Cause, Class, Failure, Remark};

/// One name or several.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ModelNames {
    One(String),
    Many(Vec<String>),
}

impl ModelNames {
    pub(super) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// How a model without a known price is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnknownCost {
    /// Fail before any model is called.
    #[default]
    Refuse,
    /// Count calls and tokens, but no dollars.
    Count,
}

/// Refuses a model without a known price.
pub(super) fn priced(name: &str, model: &Model) -> Result<(), Failure> {
    if model.price.is_some() {
        return Ok(());
    }
    Err(Failure::permanent(format!("the price of `{name}` is unknown")).hint(format!(
        "add [models.\"{}\"] with price = {{ input = …, output = … }} (dollars per million tokens) to atoll.toml, or \
         set unknown_cost = \"count\" on the step",
        model.full_name()
    )))
}

/// The models that `with` names, a line each: the model behind the name, its provider and address.
pub(super) fn served(models: &Models, with: &Value) -> String {
    let names: Vec<&str> = match &with["model"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let meant = names.into_iter().flat_map(|name| models.registry().resolve_alias(name));
    let line = |name: String| match models.find(&name) {
        Ok(model) => {
            let provider = &model.provider;
            format!("{name} {:?} {} {} {}\n", provider.kind, provider.name, provider.base_url, model.id)
        }
        Err(_) => format!("{name}\n"),
    };
    meant.map(|name| line(name.to_owned())).collect()
}

pub(super) fn remarks(models: &Models, with: &Value) -> Vec<Remark> {
    let named: Vec<(Option<usize>, &str)> = match &with["model"] {
        Value::String(name) => vec![(None, name)],
        Value::Array(names) => {
            let names = names.iter().enumerate();
            names.filter_map(|(item, name)| Some((Some(item), name.as_str()?))).collect()
        }
        _ => Vec::new(),
    };
    let refuses = with.get("unknown_cost").is_none_or(|word| *word == "refuse");
    let written = named.into_iter().filter(|(_, name)| !name.contains("{{") && !name.contains("{%"));
    let meant = written.flat_map(|(item, name)| {
        models.registry().resolve_alias(name).into_iter().map(move |name| (item, name))
    });
    let remark = |(item, name): (Option<usize>, &str)| {
        let found = models.find(name);
        let failure = match found {
            Ok(model) if refuses => priced(name, &model).err()?,
            Ok(_) => return None,
            Err(failure) => failure,
        };
        let help = failure.hint.unwrap_or_default();
        Some(Remark { key: "model", item, message: failure.message, help })
    };
    meant.filter_map(remark).collect()
}

/// Whether another model may succeed: this one is down, cannot be paid for, asks to wait for more than a
/// minute, lacks image input or tools, or has no recorded answer.
pub(super) fn can_switch(failure: &Failure) -> bool {
    const MINUTE: u64 = 60_000;
    match failure.class {
        Class::Transient | Class::Auth => true,
        Class::RateLimited => failure.retry_after_ms.is_some_and(|wait| wait > MINUTE),
        _ => matches!(failure.cause, Some(Cause::NotRecorded | Cause::Lacking)),
    }
}
