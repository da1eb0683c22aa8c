//! Checks before a run for steps that run an external agent.

use super::super::model_selection::priced;
use super::external_agent::full_name;
use crate::coding_agents::CodingAgents;
use crate::llm::Models;
use crate::value::Value;
use crate::verb::Remark;

/// Reports an unknown program, a misspelt model, and a model without a price if the step needs one. A program
/// may know models that the registry does not, so a new name is not an error.
pub(super) fn of_program(models: &Models, coders: &CodingAgents, with: &Value) -> Vec<Remark> {
    let literal = |key: &str| with[key].as_str().filter(|text| !text.contains("{{") && !text.contains("{%"));
    let Some(cli) = literal("cli") else { return Vec::new() };
    let remark = |key, message, help: Option<String>| {
        vec![Remark { key, item: None, message, help: help.unwrap_or_default() }]
    };
    let coder = match coders.find(cli) {
        Ok(coder) => coder,
        Err(error) => return remark("cli", error.message, error.hint),
    };
    let needs_price = !coder.tells_cost() && with.get("unknown_cost").is_none_or(|word| *word == "refuse");
    let Some(name) = literal("model") else {
        let message = format!("the cost of the agent `{cli}` is unknown, because `model` is not set");
        let help = "set `model` to one with a price in the registry, or set unknown_cost = \"count\"";
        let is_missing = needs_price && with.get("model").is_none();
        return if is_missing { remark("cli", message, Some(help.to_owned())) } else { Vec::new() };
    };
    let full = full_name(&coder, name);
    let model = match models.registry().find(&full) {
        Ok(model) => model,
        Err(error) => return remark("model", error.message, error.hint),
    };
    if let Some(near) = misspelt(models, &full) {
        return remark("model", format!("unknown model `{name}`"), Some(format!("did you mean `{near}`?")));
    }
    match priced(&full, &model) {
        Err(failure) if needs_price => remark("model", failure.message, failure.hint),
        _ => Vec::new(),
    }
}

/// The model of the same provider that was probably meant. A name with another number or other words is a
/// different model.
fn misspelt<'m>(models: &'m Models, full: &str) -> Option<&'m str> {
    let registry = models.registry();
    let (provider, id) = full.split_once('/')?;
    if registry.models().any(|(_, model)| model.provider.name == provider && model.id == id) {
        return None;
    }
    let near = registry.nearest(id, Some(provider))?;
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let words = |name: &str| name.split(['-', '.']).count();
    (digits(near) == digits(id) && words(near) == words(id)).then_some(near)
}
