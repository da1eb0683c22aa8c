//! Placeholders without a value: a step that has one is not carried out, because what it says is not what would be sent.

use super::{Action, Scenario, Step, Variables};
use crate::value::Value;

/// Parts of a step with patterns in them, where braces have a meaning of their own.
const PATTERNS: [&str; 2] = ["events", "receive"];

/// All names that may get a value while `scenario` runs.
pub fn declared(scenario: &Scenario) -> impl Iterator<Item = String> {
    let steps = scenario.setup.iter().chain(&scenario.steps).chain(&scenario.teardown);
    let by_step = steps.flat_map(|step| {
        step.variables.keys().chain(step.capture.iter().map(|capture| &capture.name)).cloned()
    });
    scenario.variables.keys().cloned().chain(by_step)
}

/// Why `step` cannot be carried out, if a placeholder in it has no value.
pub fn refusal(step: &Step, variables: &Variables) -> Option<String> {
    missing(&step.action, variables).map(|name| {
        format!("`{{{name}}}` has no value: nothing was captured under this name, and nothing was sent")
    })
}

fn missing(action: &Action, variables: &Variables) -> Option<String> {
    match action {
        Action::Parallel(parallel) => parallel.members.iter().find_map(|member| missing(member, variables)),
        action => {
            let is_free = matches!(action, Action::Exec(_) | Action::Tui(_));
            within(&serde_json::to_value(action).unwrap_or_default(), variables, is_free)
        }
    }
}

fn within(value: &Value, variables: &Variables, is_free: bool) -> Option<String> {
    match value {
        Value::Object(table) => table.iter().find_map(|(key, value)| {
            let is_free = is_free || PATTERNS.contains(&key.as_str());
            variables.missing(key, is_free).or_else(|| within(value, variables, is_free))
        }),
        Value::Array(items) => items.iter().find_map(|item| within(item, variables, is_free)),
        value => variables.missing_in(value, is_free),
    }
}
