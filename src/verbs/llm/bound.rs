//! An upper bound for the cost of a call, known before it is made.

use std::sync::Arc;

use serde::Deserialize;

use crate::llm::Models;
use crate::schema::Schema;
use crate::value::Value;
use crate::verb::CostBound;

use super::EditProtocol;
use super::reply::CONTINUATIONS;

/// The bytes counted for a picture: no provider turns one into more tokens.
const PICTURE: u64 = 6_000;

/// The bytes of the instruction to answer in JSON, and the tokens of the one to continue.
const IN_WORDS: u64 = 500;
const CONTINUED: u64 = 300;

/// The possible cost of an attempt: at first one call per sample to the most expensive model of the list; at
/// most those calls to each model, with all continuations. Unknown input counts as the whole context. `None`
/// if there is no bound.
pub(super) fn of(models: &Models, with: &Value, schema: Option<&Schema>) -> Option<CostBound> {
    let named: Vec<&str> = match &with["model"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let samples = with.get("samples").map_or(Some(1), Value::as_u64)?;
    let samples = f64::from(u32::try_from(samples).unwrap_or(u32::MAX));
    let max_tokens = with["max_tokens"].as_u64();
    // For a model without schema support, the schema is part of the prompt as well.
    let of_edits = with.get("edits").filter(|edits| !edits.is_null()).map(protocol);
    let edits = of_edits.and_then(|protocol| protocol.schema().ok().flatten());
    let schema = edits.as_deref().or(schema.filter(|_| of_edits.is_none()));
    let shape = schema.map_or(0, |schema| 2 * schema.canonical().len() as u64 + IN_WORDS);
    let read = read(with).map(|bytes| bytes + shape);
    let ends = match with["format"].as_str() {
        Some("text") => true,
        None => schema.is_none() && of_edits.is_none(),
        Some(_) => false,
    } && max_tokens.is_some();
    let in_batch = with["mode"] == "batch";
    let meant = named
        .iter()
        .flat_map(|name| models.registry().resolve_alias(name))
        .filter_map(|name| models.find(name).ok());
    // In a batch only the first model is called.
    let meant = meant.take(if in_batch { 1 } else { usize::MAX });
    let (mut bound, mut priced) = (CostBound::default(), true);
    // An unknown model costs nothing: the step fails with a message about it.
    for model in meant {
        let model = if in_batch { model.in_batch().map(Arc::new).unwrap_or(model) } else { model };
        let model = models.fitted(&model);
        let role = with["role"].as_str().unwrap_or_default();
        let first = model.bound(read, max_tokens)?.times(samples).paid(model.full_name(), role);
        // One more call if the answer is empty.
        let mut most = first.plain().times(2.0);
        for again in 1..=if ends { 0 } else { CONTINUATIONS as u64 } {
            let written = again * (model.most_output(max_tokens) + CONTINUED);
            most.absorb(&model.bound_of(model.bound_read(read)? + written, max_tokens).times(samples));
        }
        bound.most.absorb(&most);
        priced &= model.price.is_some();
        let dearer = first
            .get("usd")
            .total_cmp(&bound.first.get("usd"))
            .then(first.get("tokens").total_cmp(&bound.first.get("tokens")));
        if dearer.is_gt() {
            bound.first = first;
        }
    }
    if !priced {
        // If the cost of one is unknown, so is the sum.
        bound.most = bound.most.without("usd");
    }
    Some(bound)
}

/// The format of an answer; the longest request if it is not known yet.
fn protocol(edits: &Value) -> EditProtocol {
    edits.get("as").and_then(|word| EditProtocol::deserialize(word).ok()).unwrap_or_default()
}

/// The length of the input in bytes, if known.
fn read(with: &Value) -> Option<u64> {
    let length = |text: &Value| text.as_str().map(|text| text.len() as u64);
    let pictures = |holder: &Value| holder["images"].as_array().map_or(0, |list| list.len() as u64 * PICTURE);
    let asked = match (&with["prompt"], &with["messages"]) {
        (Value::String(prompt), _) => prompt.len() as u64,
        (_, Value::Array(turns)) => {
            turns.iter().map(|turn| Some(length(&turn["content"])? + pictures(turn))).sum::<Option<u64>>()?
        }
        _ => return None,
    };
    let system = with.get("system").filter(|system| !system.is_null()).map_or(Some(0), length)?;
    Some(asked + system + pictures(with))
}
