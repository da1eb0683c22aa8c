//! When a request is sent, and the consequences for a step.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::llm::Models;
use crate::llm::registry::Model;
use crate::value::Value;
use crate::verb::{Failure, Remark};

/// When a request is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AskMode {
    /// Sent at once.
    #[default]
    Realtime,
    /// Sent in a batch, processed when the provider has capacity.
    Batch,
}

/// The lane of steps that wait for a batch: they block no other step. Its size is also the maximum size of a
/// batch.
pub(super) const LANE: (&str, usize) = ("batch", 10_000);

/// The lane of a step with this input, if it is not the default one.
pub(super) fn lane(with: &Value) -> Option<&'static str> {
    (with["mode"] == "batch").then_some(LANE.0)
}

/// Reports a literal model that does not support batches.
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

/// The first of `models`, with its batch settings and prices. Falling back to another model would lose the
/// request that is already in the first one's batch.
pub(super) fn in_batch(mut models: Vec<(String, Arc<Model>)>) -> Result<Vec<(String, Arc<Model>)>, Failure> {
    models.truncate(1);
    for (_, model) in &mut models {
        *model = Arc::new(model.in_batch()?);
    }
    Ok(models)
}
