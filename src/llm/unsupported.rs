//! Options of a request that its model does not support.

use serde_json::json;

use super::{ModelRequest, emulated_tools};
use crate::llm::registry::Model;
use crate::verb::{Cause, Failure};

/// Unsupported options that are not essential and are omitted. The caller must report them.
pub fn left_out(request: &ModelRequest, model: &Model) -> Vec<&'static str> {
    let can = model.features;
    chosen([
        ("temperature", request.temperature.is_some() && !can.temperature),
        ("effort", request.effort.is_some() && !can.effort),
        ("seed", request.seed.is_some() && !can.seed),
        ("cache mark", request.cache_prompt && !can.cache_marks),
    ])
}

/// The failure of a request with essential options that the model does not support.
pub(super) fn refusal(request: &ModelRequest, model: &Model) -> Option<Failure> {
    let pictures = request.messages.iter().any(|message| !message.images.is_empty());
    let can = model.features;
    let lacks = chosen([
        ("images", pictures && !can.images),
        ("stop", !request.stop.is_empty() && !can.stop),
        ("tools", !request.tools.is_empty() && !can.tools && !emulated_tools::is_needed(request, model)),
    ]);
    if lacks.is_empty() {
        return None;
    }
    let name = model.full_name();
    let failure = Failure::permanent(format!("{name} does not support {}", lacks.join(" and ")));
    // Tool calls can be emulated with a schema.
    let or = if lacks[0] == "tools" { ", or json_schema = true if it supports schemas" } else { "" };
    let hint = format!(
        "use another model; if this one supports it, set in atoll.toml: [models.\"{name}\"] features = {{ {} = true }}{or}",
        lacks[0]
    );
    Some(failure.hint(hint).cause(Cause::Lacking).detail(json!({ "lacks": lacks })))
}

fn chosen<const N: usize>(wishes: [(&'static str, bool); N]) -> Vec<&'static str> {
    wishes.into_iter().filter_map(|(name, chosen)| chosen.then_some(name)).collect()
}
