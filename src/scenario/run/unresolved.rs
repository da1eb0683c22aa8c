//! Placeholders without a value: a step that has one is not run, because it would not send what it says.

use crate::scenario::language::{Scenario, ScenarioStep};
use crate::scenario::steps::Action;
use crate::scenario::values::Variables;
use crate::scenario::values::size::too_large;
use crate::value::Value;

/// Parts of a step with patterns, in which braces have another meaning.
const PATTERNS: [&str; 2] = ["events", "receive"];

/// All names that may get a value while `scenario` runs.
pub fn declared(scenario: &Scenario) -> impl Iterator<Item = String> {
    let steps = scenario.setup.iter().chain(&scenario.steps).chain(&scenario.teardown);
    let by_step = steps.flat_map(|step| {
        step.variables.keys().chain(step.capture.iter().map(|capture| &capture.name)).cloned()
    });
    scenario.variables.keys().cloned().chain(by_step)
}

/// Why `step` cannot be run: a placeholder in it has no value, or it is too large with all values.
pub fn refusal(step: &ScenarioStep, variables: &Variables) -> Option<String> {
    let missing = missing(&step.action, variables)
        .map(|name| format!("{}, so nothing was sent", variables.unset(&name, "")));
    missing.or_else(|| too_large(step, variables))
}

fn missing(action: &Action, variables: &Variables) -> Option<String> {
    action.leaves().iter().find_map(|action| {
        within(&serde_json::to_value(action).unwrap_or_default(), variables, action.step_type().runs_commands)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_placeholders_come_to_is_bounded_before_anything_is_made_of_them() {
        let body = |count: usize| {
            let text = format!(
                "id: x\nsteps:\n- request: {{ method: POST, path: /, body: '{}' }}\n  assert: {{ status: 200 }}\n",
                "{x}".repeat(count)
            );
            let (scenarios, ..) = crate::scenario::load(vec![("x.yaml".to_owned(), text)]);
            scenarios[0].steps[0].clone()
        };
        let mut variables = Variables::default();
        variables.set("x", Value::String("x".repeat(4 << 20)));
        assert_eq!(refusal(&body(16), &variables), None);
        let why = refusal(&body(17), &variables).unwrap();
        assert!(why.starts_with("the values of its placeholders have more than 64 MiB"), "{why}");
        assert!(refusal(&body(300_000), &variables).is_some());
    }
}
