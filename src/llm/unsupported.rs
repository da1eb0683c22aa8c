//! What a request asks for that its model cannot be given.

use serde_json::json;

use super::{ModelRequest, emulated_tools};
use crate::llm::registry::Model;
use crate::verb::{Cause, Failure};

/// Wishes that are left out because an answer is of use without them: whoever asks is to say so.
pub fn left_out(request: &ModelRequest, model: &Model) -> Vec<&'static str> {
    let can = model.features;
    chosen([
        ("temperature", request.temperature.is_some() && !can.temperature),
        ("effort", request.effort.is_some() && !can.effort),
        ("seed", request.seed.is_some() && !can.seed),
        ("cache mark", request.cache_prompt && !can.cache_marks),
    ])
}

/// The failure of a request that makes no sense without what the model cannot be given.
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
    let failure = Failure::permanent(format!("{name} takes no {}", lacks.join(" and no ")));
    // Calls can be held to a schema as well.
    let or = if lacks[0] == "tools" {
        ", or json_schema = true where its answers can be held to a schema"
    } else {
        ""
    };
    let hint = format!(
        "name another model; if it does, say so in atoll.toml: [models.\"{name}\"] features = {{ {} = true }}{or}",
        lacks[0]
    );
    Some(failure.hint(hint).cause(Cause::Lacking).detail(json!({ "lacks": lacks })))
}

fn chosen<const N: usize>(wishes: [(&'static str, bool); N]) -> Vec<&'static str> {
    wishes.into_iter().filter_map(|(name, chosen)| chosen.then_some(name)).collect()
}
