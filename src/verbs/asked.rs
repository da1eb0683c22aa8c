//! What steps that ask models have in common: how models are named, what an unknown price means, when another is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clients::registry::Model;
use crate::verb::{Class, Failure};

/// One name or several.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    pub(super) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// What to do about an unknown price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UnknownCost {
    /// Fail before anything is asked.
    #[default]
    Refuse,
    /// Count calls and tokens, and no dollars.
    Count,
}

/// Refuses a model whose price nobody knows.
pub(super) fn priced(name: &str, model: &Model) -> Result<(), Failure> {
    if model.price.is_some() {
        return Ok(());
    }
    Err(Failure::permanent(format!("nobody knows what `{name}` costs")).hint(format!(
        "add [models.\"{}\"] with price = {{ input = …, output = … }} (dollars per million tokens) to atoll.toml, or \
         set unknown_cost = \"count\" on the step",
        model.full_name()
    )))
}

/// Whether another model could do better: this one is down, or cannot be paid, or asks for more than a minute of
/// patience, or lacks a sense or tools, or has no recorded answer.
pub(super) fn can_switch(failure: &Failure) -> bool {
    const MINUTE: u64 = 60_000;
    match failure.class {
        Class::Transient | Class::Auth => true,
        Class::RateLimited => failure.retry_after_ms.is_some_and(|wait| wait > MINUTE),
        _ => failure.detail["miss"] == true || failure.detail["lacks"].is_array(),
    }
}
