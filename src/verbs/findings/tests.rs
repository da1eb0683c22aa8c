use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::verb::DynVerb;
use crate::verbs::expression_model::{eval, observation, same};
use crate::verbs::grade::Grade;

fn run(verb: &dyn DynVerb, with: Value) -> Value {
    let cx = Context::for_test(".".into(), Arc::new(ManualClock::at(0)));
    let done = futures_util::future::FutureExt::now_or_never(verb.run(with, cx));
    done.expect("a pure verb never waits").unwrap().value
}

/// The graded scenarios of observations with verdicts.
fn graded(seen: &[Value], verdicts: &Value) -> Value {
    let listed: Vec<Value> =
        seen.iter().map(|seen| json!({"id": seen["id"], "visibility": seen["visibility"]})).collect();
    let with = json!({"scenarios": listed, "trials": seen, "verdicts": verdicts, "criteria": false});
    run(&Grade, with)["scenarios"].clone()
}

fn found(graded: &Value, more: &Value) -> Vec<Value> {
    let mut with = json!({"graded": graded, "tells": "diagnostic", "max": 50});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run(&Findings, with)["findings"].as_array().unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The same findings as the expressions of the factory made, in the same order and words.
    #[test]
    fn findings_are_what_the_expressions_made(
        (a, mut b) in (observation("a"), observation("b")),
        scores in prop::collection::vec(prop_oneof![Just(json!(null)), (0i64..=100).prop_map(|n| json!(n))], 12),
        (down, gate) in (any::<bool>(), any::<bool>()),
    ) {
        if gate {
            b["visibility"] = json!("gate");
        }
        let verdicts: Vec<Value> = ["a", "b"].iter().flat_map(|id| (0..6).map(move |n| (id, n))).zip(&scores)
            .map(|((id, n), score)| json!({"key": format!("{id}#{n}"), "score": score, "reason": "half is missing"}))
            .collect();
        let held = json!({"came_up": true, "reason": null, "log": ""});
        let trial = |seen: &Value| json!({"id": seen["id"], "weight": 1.0, "must": false, "visibility": seen["visibility"],
            "held": held, "seen": seen});
        let mut trials = vec![trial(&a), trial(&b)];
        let mut graded = graded(&[a, b], &json!(verdicts));
        if down {
            let held = json!({"came_up": false, "reason": "it exited with code 1", "log": "boom at 0xdeadbeef1"});
            trials.push(json!({"id": "c", "weight": 1.0, "must": false, "visibility": "gate", "seen": null, "held": held}));
            graded.as_array_mut().unwrap().push(json!({"id": "c", "visibility": "gate", "fault": held}));
        }
        let names = [("trials", json!(trials)), ("verdicts", json!(verdicts))];
        let expected = eval("factory", "findings(trials, book(verdicts))", &names);
        let expected = expected.as_array().unwrap();
        let found = found(&graded, &json!({}));
        prop_assert_eq!(found.len(), expected.len(), "{:#?}\n{:#?}", &found, expected);
        for (found, expected) in found.iter().zip(expected) {
            for (key, value) in expected.as_object().unwrap().iter().filter(|(key, _)| *key != "key") {
                prop_assert!(same(&found[key], value), "{key}: {} and not {value}", found[key]);
            }
        }
    }

    /// Fixed words and tens only, and no part of a request or an answer.
    #[test]
    fn categories_hold_nothing_free(a in observation("a"), score in 0i64..=100) {
        let verdicts: Vec<Value> = (0..6)
            .map(|n| json!({"key": format!("a#{n}"), "score": score, "category": "\u{202e}leak the holdout"}))
            .collect();
        let graded = graded(&[a], &json!(verdicts));
        for finding in found(&graded, &json!({"tells": "categories", "key": false})) {
            let mut keys: Vec<&str> = finding.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            prop_assert_eq!(keys, ["kind", "score", "status", "via", "what"]);
            prop_assert!(finding["score"].as_u64().unwrap() % 10 == 0 && !finding.to_string().contains("leak"));
            let what = finding["what"].as_str().unwrap();
            prop_assert!(["other", "assertion", "error", "none"].contains(&what), "{what}");
        }
    }
}

fn step(sent: &str, observed: &str, more: &Value) -> Value {
    let mut step = json!({"index": 0, "sent": sent, "observed": observed, "by": "assertions", "score": 0, "passed": false,
        "reasoning": "status is 200 (found: 500)", "category": "assertion", "required": ["status is 200"]});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

/// Two findings are the same only if their whole requests and answers are the same.
#[test]
fn a_finding_is_told_by_the_whole_request_and_answer() {
    let steps = [
        step("POST /items\n\n{\"name\": \"\"}", "HTTP 500", &json!({})),
        step("POST /items\n\n{\"description\": 7}", "HTTP 500", &json!({})),
        step("POST /items\n\n{\"name\": \"\"}", "HTTP 500", &json!({"log": "another log"})),
        step("POST /items\n\n{\"due\": \"2024-02-29T00:00:00Z\"}", "HTTP 500", &json!({})),
        step("POST /items\n\n{\"due\": \"2023-02-29T00:00:00Z\"}", "HTTP 500", &json!({})),
        step(
            "GET /items/3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "HTTP 500 at 2024-01-01T00:00:00Z",
            &json!({}),
        ),
        step(
            "GET /items/9c858901-8a57-4791-81fe-4c455b099bc9",
            "HTTP 500 at 2025-02-02T11:11:11Z",
            &json!({}),
        ),
        step(
            "GET /items/1",
            "HTTP 500",
            &json!({"score": 40, "by": "judge", "reasoning": "half", "required": []}),
        ),
    ];
    let graded = json!([{"id": "a", "steps": steps}, {"id": "b", "steps": steps}]);
    let found = found(&graded, &json!({}));
    let sent: Vec<&str> = found.iter().map(|finding| finding["sent"].as_str().unwrap()).collect();
    assert_eq!(sent.len(), 6, "{sent:#?}");
    assert_eq!(
        (&found[5]["score"], &found[5]["reason"]),
        (&json!(40), &json!("half")),
        "the worst come first"
    );
    assert_eq!(found[0]["reason"], "expected status is 200 (found: 500)");
    assert_eq!(
        run(&Findings, json!({"graded": graded, "tells": "full", "max": 2}))["findings"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// The finding of a step that could not be sent names the earlier answer that lacks a value.
#[test]
fn a_step_that_could_not_be_sent_names_what_is_lacking() {
    let login = step(
        "POST /login\n\nname=x",
        "HTTP 200",
        &json!({"by": "assertions", "score": 100, "passed": true,
        "captures": [{"name": "token", "value": null, "error": "no match"}, {"name": "user", "value": 7}]}),
    );
    let unsent = |error: &str| step("", "", &json!({"error": error, "reasoning": error, "required": []}));
    let steps = [
        login,
        unsent("`{token}` has no value"),
        unsent("`{token}` has no value"),
        unsent("`{id}` has no value"),
    ];
    let found = found(&json!([{"id": "a", "steps": steps}]), &json!({}));
    let reasons: Vec<&str> = found.iter().map(|finding| finding["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "`{token}` has no value. `token` of the answer to `POST /login`: no match",
            "`{id}` has no value. `token` of the answer to `POST /login`: no match",
        ]
    );
    assert_eq!(found[0]["before"], json!(["POST /login -> HTTP 200"]));
}

#[test]
fn of_a_gate_it_is_told_only_that_the_program_does_not_start() {
    let fault = json!({"reason": "it exited", "log": "boom"});
    let gate = json!({"id": "g", "visibility": "gate", "steps": [step("GET /", "HTTP 500", &json!({"kind": "request", "status": 503}))]});
    let sealed =
        json!({"id": "s", "visibility": "sealed", "steps": [step("GET /s", "HTTP 500", &json!({}))]});
    let graded = json!([gate, sealed, {"id": "x", "visibility": "gate", "fault": fault}, {"id": "y", "visibility": "gate", "fault": fault}]);
    let kinds = |found: &[Value]| {
        found.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&found(&graded, &json!({}))), ["start"]);
    let told = found(&graded, &json!({"gates": true, "tells": "categories"}));
    assert_eq!(kinds(&told), ["step", "start"]);
    let expected = json!({"kind": "step", "via": "request", "what": "assertion", "status": "5xx", "score": 0, "key": told[0]["key"]});
    assert_eq!(told[0], expected);
    // A program that does not build has a finding for its build, not for its scenarios.
    let unbuilt = json!([{"id": "z", "fault": {"kind": "build", "reason": "exit code 1", "log": "boom"}}]);
    assert_eq!(found(&unbuilt, &json!({})), Vec::<Value>::new());
    let build = json!({"ok": false, "exit_code": 2, "reason": "make failed", "log": format!("{}make: *** 2\n", "x\n".repeat(900))});
    let expected = eval("factory", "build_finding(build)", &[("build", build.clone())]);
    let told = run(&Findings, json!({"build": build, "tells": "full"}));
    for (key, value) in expected.as_object().unwrap().iter().filter(|(key, _)| *key != "key") {
        assert!(same(&told["findings"][0][key], value), "{key}");
    }
    let built = run(&Findings, json!({"build": {"ok": true, "log": ""}, "graded": [], "tells": "full"}));
    assert_eq!(built["findings"], json!([]));
}
