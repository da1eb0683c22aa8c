//! Placeholders without a value: a step that has one is not carried out, because what it says is not what would be sent.

use std::collections::HashMap;

use serde::Serialize;

use super::capture::length;
use super::variables::placeholders;
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

/// Most bytes that the values of the placeholders of one step come to.
const MOST: usize = 64 << 20;

/// Why `step` cannot be carried out: a placeholder in it has no value, or it is too large with all values.
pub fn refusal(step: &Step, variables: &Variables) -> Option<String> {
    let missing = missing(&step.action, variables)
        .map(|name| format!("{}, and nothing was sent", variables.unset(&name, "")));
    missing.or_else(|| too_large(step, variables))
}

/// Why there is no room for the values of all placeholders in `written`, a step or its variables.
pub fn too_large(written: &impl Serialize, variables: &Variables) -> Option<String> {
    let written = serde_json::to_value(written).unwrap_or_default();
    let most = MOST >> 20;
    (growth(&written, variables, &mut HashMap::new()) > MOST)
        .then(|| format!("the values of its placeholders come to more than {most} MiB, so nothing was sent"))
}

/// The bytes of the values that take the places of the placeholders in `written`.
fn growth<'v>(written: &'v Value, variables: &Variables, known: &mut HashMap<&'v str, usize>) -> usize {
    let mut of_text = |text: &'v str| {
        let lengths = placeholders(text).into_iter().map(|(_, _, name)| {
            // What is made up is short.
            *known.entry(name).or_insert_with(|| variables.get(name).map_or(0, length))
        });
        lengths.fold(0, usize::saturating_add)
    };
    match written {
        Value::String(text) => of_text(text),
        Value::Array(items) => {
            items.iter().map(|item| growth(item, variables, known)).fold(0, usize::saturating_add)
        }
        Value::Object(table) => {
            let keys = table.keys().map(|key| of_text(key)).fold(0, usize::saturating_add);
            let values = table.values().map(|value| growth(value, variables, known));
            values.fold(keys, usize::saturating_add)
        }
        _ => 0,
    }
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
        assert!(why.starts_with("the values of its placeholders come to more than 64 MiB"), "{why}");
        assert!(refusal(&body(300_000), &variables).is_some());
    }
}
