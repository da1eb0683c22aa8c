//! An upper bound for the cost of an agent's work, known before it starts.

use crate::llm::Models;
use crate::llm::registry::Model;
use crate::meter::Meter;
use crate::value::Value;

/// The cost of an attempt of `turns` turns, at most: `usd` dollars if every model of the list has a price.
/// Units without a bound are missing.
/// are missing.
pub(super) fn of(models: &Models, with: &Value, (turns, usd): (u64, f64)) -> Meter {
    let named = match &with["model"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap_or_default()).collect(),
        _ => vec![""],
    };
    let meant = named.iter().flat_map(|name| models.registry().resolve_alias(name));
    let found: Option<Vec<Model>> =
        meant.map(|name| models.find(name).ok().map(|model| models.fitted(&model))).collect();
    // An empty answer is requested a second time.
    let calls = count(turns) * 2.0;
    let mut most = Meter::new().with("calls", calls);
    let Some(found) = found else {
        // By default only models with a price are used.
        return if with["unknown_cost"] == "count" { most } else { most.with("usd", usd) };
    };
    if found.iter().all(|model| model.price.is_some()) {
        let free = found.iter().all(|model| model.price.is_some_and(|price| price.is_free()));
        most.add("usd", if free { 0.0 } else { usd });
    }
    let max_tokens = with["max_tokens"].as_u64();
    let written = found.iter().map(|model| model.most_output(max_tokens)).max().unwrap_or(0);
    let read: Option<Vec<u64>> = found.iter().map(|model| model.context).collect();
    let read = read.and_then(|read| read.into_iter().max());
    for (unit, once) in [("tokens_in", read), ("tokens_out", Some(written))] {
        let Some(once) = once.map(count) else { continue };
        // `tokens` ends the work when the limit is exceeded, which takes one more call.
        let capped = with["tokens"].as_u64().map_or(f64::INFINITY, |tokens| count(tokens) + 2.0 * once);
        most.add(unit, (calls * once).min(capped));
    }
    most
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}
