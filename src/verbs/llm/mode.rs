//! When a model is asked, and what that means for a step.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::llm::Models;
use crate::llm::registry::Model;
use crate::value::Value;
use crate::verb::{Failure, Remark};

/// When a model is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// At once.
    #[default]
    Realtime,
    /// With others, when the provider has time.
    Batch,
}

/// The lane of those who wait for a batch: they hold nobody up, and no batch has more requests than there may wait.
pub(super) const LANE: (&str, usize) = ("batch", 10_000);

/// The lane of a step whose input is written like this, where it is not the usual one.
pub(super) fn lane(with: &Value) -> Option<&'static str> {
    (with["mode"] == "batch").then_some(LANE.0)
}

/// Complains about a model that is written as it is, and cannot be asked in a batch.
pub(super) fn remark(models: &Models, with: &Value) -> Option<Remark> {
    let (name, item) = match &with["model"] {
        Value::Array(names) => (names.first()?.as_str()?, Some(0)),
        name => (name.as_str()?, None),
    };
    if with["mode"] != "batch" || name.contains("{{") || name.contains("{%") {
        return None;
    }
    let model = models.find(models.registry().resolve_alias(name).into_iter().next()?).ok()?;
    let error = model.in_batch().err()?;
    Some(Remark { key: "model", item, message: error.message, help: error.hint.unwrap_or_default() })
}

/// The first of `models`, as it is asked and paid in batches. Whoever turned to another one could not come back to what
/// the first was asked.
pub(super) fn in_batch(mut models: Vec<(String, Arc<Model>)>) -> Result<Vec<(String, Arc<Model>)>, Failure> {
    models.truncate(1);
    for (_, model) in &mut models {
        *model = Arc::new(model.in_batch()?);
    }
    Ok(models)
}
