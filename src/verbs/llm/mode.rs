//! When a model is asked, and what that means for a step.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clients::registry::Model;
use crate::value::Value;
use crate::verb::Failure;

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

/// The first of `models`, as it is asked and paid in batches. Whoever turned to another one could not come back to what
/// the first was asked.
pub(super) fn in_batch(mut models: Vec<(String, Arc<Model>)>) -> Result<Vec<(String, Arc<Model>)>, Failure> {
    models.truncate(1);
    for (_, model) in &mut models {
        *model = Arc::new(model.in_batch()?);
    }
    Ok(models)
}
