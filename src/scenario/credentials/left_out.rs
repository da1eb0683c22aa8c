//! Removes literal credentials from stored scenarios, and restores them before a scenario is run.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use percent_encoding::percent_decode_str;

use crate::scenario::language::{Scenario, ScenarioStep};
use crate::scenario::values::credentials::{CredentialPart, MASK};
use crate::scenario::values::variables::placeholders;
use crate::value::Value;

/// Shorter credentials are words that descriptions may contain for other reasons.
const SHORTEST: usize = 6;

/// Removes the literal credentials from `scenario`, including those in variables. Returns whether there
/// were any.
pub fn leave_out(scenario: &mut Scenario) -> bool {
    let names = variables(scenario);
    let shown = values(scenario);
    let mut any = false;
    each(scenario, &names, &mut |part| {
        if let Some(hidden) = part.hidden() {
            part.put(hidden.into());
            any = true;
        }
    });
    if any {
        each_description(scenario, &shown);
    }
    any
}

/// Masks the credentials `values` in descriptions, into which those of rows are filled.
fn each_description(scenario: &mut Scenario, values: &[String]) {
    let Scenario { description, setup, steps, teardown, .. } = scenario;
    let steps = setup.iter_mut().chain(steps).chain(teardown).map(|step| &mut step.description);
    for text in std::iter::once(description).chain(steps) {
        for value in values
            .iter()
            .filter(|value| value.len() >= SHORTEST && text.contains(value.as_str()))
            .collect::<Vec<_>>()
        {
            *text = text.replace(value.as_str(), MASK);
        }
    }
}

/// Restores the credentials of `written` in `scenario`, from which they were removed. Returns whether the
/// two match.
pub fn restore(scenario: &mut Scenario, written: &Scenario) -> bool {
    let mut written = written.clone();
    let names = variables(&mut written);
    let mut parts = Vec::new();
    each(&mut written, &names, &mut |part| {
        let literal = part.value();
        parts.push((part.hidden().map_or_else(|| literal.clone(), Value::from), literal));
    });
    let mut parts = parts.into_iter();
    let mut fits = true;
    each(scenario, &names, &mut |part| match parts.next() {
        Some((hidden, literal)) if part.value() == hidden => part.put(literal),
        _ => fits = false,
    });
    fits && parts.next().is_none()
}

/// The literal credentials of `scenario` and the secrets in them, which must not be shown anywhere.
pub fn values(scenario: &Scenario) -> Vec<String> {
    let mut scenario = scenario.clone();
    let names = variables(&mut scenario);
    let mut values = Vec::new();
    each(&mut scenario, &names, &mut |part| {
        if part.hidden().is_some() {
            values.extend(part.values());
        }
    });
    // A message may repeat a value of a URL without its escapes.
    let decoded = |value: &String| {
        let plain = percent_decode_str(value).decode_utf8_lossy().into_owned();
        let form = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
        [plain, form]
    };
    let decoded: Vec<String> = values.iter().filter(|value| value.contains('%')).flat_map(decoded).collect();
    values.extend(decoded);
    values
}

/// The variables of `scenario` that are used as credentials.
fn variables(scenario: &mut Scenario) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    each(scenario, &BTreeSet::new(), &mut |part| {
        let text = part.text();
        for span in part.spans(&text) {
            let credential = &text[span];
            // For a user name and a password, only the password.
            let secret = part.secret_in(credential);
            names.extend(placeholders(secret).into_iter().map(|(_, _, name)| name.to_owned()));
        }
    });
    names
}

/// Callback for every part of a scenario that may hold a credential.
type VisitCredential<'a> = &'a mut dyn FnMut(CredentialPart<'_>);

/// Visits all parts of `scenario` that may hold credentials, including the variables `names`, always in the
/// same order.
fn each(scenario: &mut Scenario, names: &BTreeSet<String>, see: VisitCredential<'_>) {
    let Scenario { variables, setup, steps, teardown, .. } = scenario;
    each_variable(variables, names, see);
    for step in setup.iter_mut().chain(steps).chain(teardown) {
        let ScenarioStep { action, variables, .. } = step;
        each_variable(variables, names, see);
        action.step_mut().each_credential(see);
    }
}

fn each_variable(
    variables: &mut IndexMap<String, Value>,
    names: &BTreeSet<String>,
    see: VisitCredential<'_>,
) {
    for (_, value) in variables.iter_mut().filter(|(name, _)| names.contains(*name)) {
        if value.is_string() || value.is_number() {
            see(CredentialPart::whole(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scenario() -> Scenario {
        let member = json!({ "ws": { "url": "/feed", "headers": { "proxy-authorization": "Basic dXNlcjpwYXNzd29yZA==" } } });
        let actions = json!([
            { "request": { "method": "GET", "path": "/a?page=1&api_key=literal-4", "headers": { "Authorization": "Bearer literal-1", "Accept": "x" },
                "query": { "token": ["literal-5", "{token}"], "secret": 123_456_789, "page": "two" }, "cookies": { "session": "literal-6" } } },
            { "request": { "method": "GET", "path": "/a", "headers": { "authorization": "{scheme} literal-7", "Cookie": "s=literal-8; {token}={token}" } } },
            { "request": { "method": "GET", "path": "/a", "headers": { "authorization": "Bearer {token}" } } },
            { "ws": { "url": "ws://me:literal-2@h/feed" } },
            { "ws": { "url": "ws://{user}:{password}@h/feed" } },
            { "grpc": { "service": "a.B", "method": "C", "headers": { "x-api-key": "literal-3" } } },
            { "parallel": { "members": [member] } },
        ]);
        let steps: Vec<_> =
            actions.as_array().unwrap().iter().map(|action| json!({ "action": action })).collect();
        let variables =
            json!({ "token": "literal-9", "user": "someone", "other": "kept-10", "password": 987_654_321 });
        serde_json::from_value(json!({ "id": "a", "steps": steps, "variables": variables })).unwrap()
    }

    #[test]
    fn credentials_in_a_file_are_left_out_and_come_back() {
        let written = scenario();
        let mut kept = written.clone();
        assert!(leave_out(&mut kept));
        let text = serde_json::to_string(&kept).unwrap();
        for left in ["literal", "dXNlcj", "123456789", "987654321"] {
            assert!(!text.contains(left), "{left}: {text}");
        }
        for whole in [
            "Bearer ***",
            "Basic ***",
            "ws://***@h/feed",
            "Bearer {token}",
            "ws://{user}:{password}@h",
            "/a?page=1&api_key=***",
            "two",
            "s=***; {token}={token}",
            "someone",
            "kept-10",
        ] {
            assert!(text.contains(whole), "{whole}: {text}");
        }
        assert!(!leave_out(&mut kept.clone()), "a second time there is nothing");
        assert!(restore(&mut kept, &written));
        assert_eq!(kept, written);
        let values = values(&written);
        let mut known: Vec<String> = (1..=9).map(|n| format!("literal-{n}")).collect();
        known.extend(["me:literal-2", "user:password", "password", "123456789"].map(str::to_owned));
        for value in known {
            assert!(values.contains(&value), "{value}: {values:?}");
        }
    }

    #[test]
    fn credentials_do_not_come_back_into_another_scenario() {
        let written = scenario();
        let mut kept = written.clone();
        leave_out(&mut kept);
        let mut other = written.clone();
        other.steps.remove(0);
        assert!(!restore(&mut kept.clone(), &other));
        other = written.clone();
        other.variables.shift_remove("token");
        assert!(!restore(&mut kept, &other));
    }
}
