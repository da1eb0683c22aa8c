use proptest::prelude::*;

use super::*;
use crate::verbs::expression_model::{eval, observation, same};

fn made(seen: &Value, ask: QuestionScope, criteria: bool) -> Value {
    let seen: Observation = serde_json::from_value(seen.clone()).unwrap();
    serde_json::to_value(questions(&seen, ask, criteria)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Equal to the questions of the earlier expressions, including the mark: a recorded verdict is found
    /// again.
    #[test]
    fn questions_are_what_the_expressions_made(seen in observation("a")) {
        for (ask, word) in [(QuestionScope::Step, "step"), (QuestionScope::Scenario, "scenario")] {
            let trial = json!({"id": "a", "seen": seen});
            let names = [("trial", trial), ("judge", json!(word))];
            let expected = eval("validate", "questions(trial, judge) | list", &names);
            let expected = eval("judge", "questions | map('marked') | list", &[("questions", expected)]);
            let found = made(&seen, ask, true);
            prop_assert!(same(&found, &expected), "{found:#}\n{expected:#}");
        }
        prop_assert_eq!(made(&seen, QuestionScope::None, true), json!([]));
    }
}

fn step(index: usize, decided: &str) -> Value {
    json!({
        "index": index, "line": 1, "description": format!("step {index}"), "expect": "", "kind": "request", "sent": null,
        "observed": null, "captures": [], "assertions": [], "decided": decided, "error": null, "attempts": 1,
        "duration_ms": 1, "log": "",
    })
}

fn seen(steps: &[Value]) -> Value {
    json!({
        "id": "a", "description": "about", "weight": 1.0, "tier": 1, "satisfaction_criteria": "all is well",
        "named": [{"name": "id", "value": "7"}], "setup_ok": true, "broken": null, "setup": [], "steps": steps,
        "duration_ms": 1,
    })
}

#[test]
fn criteria_that_are_no_question_are_said_with_the_others() {
    let steps = [step(0, "open"), step(1, "held")];
    let asked = made(&seen(&steps), QuestionScope::Step, false);
    let keys: Vec<&str> =
        asked.as_array().unwrap().iter().map(|question| question["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a#0"]);
    assert_eq!(asked[0]["criteria"], "all is well");
    assert_eq!(asked[0]["asks"][0]["named"], json!([{"name": "id", "value": "7"}]));
    assert_ne!(
        asked[0]["mark"],
        made(&seen(&steps), QuestionScope::Step, true)[0]["mark"],
        "the mark covers everything shown"
    );
    // A step without an expectation gets no invented one.
    assert_eq!(asked[0]["asks"][0]["expect"], "");
    assert_eq!(made(&seen(&[step(0, "held")]), QuestionScope::Scenario, false), json!([]));
}

#[test]
fn six_earlier_steps_are_shown_with_a_question() {
    let steps: Vec<Value> = (0..9).map(|at| step(at, if at == 8 { "open" } else { "held" })).collect();
    let asked = made(&seen(&steps), QuestionScope::Step, true);
    let shown: Vec<&str> = asked[0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["description"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["step 2", "step 3", "step 4", "step 5", "step 6", "step 7", "step 8"]);
    assert_eq!(asked[0]["asks"][0]["step"], 7);
}
