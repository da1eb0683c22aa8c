use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::verb::DynVerb;
use crate::verbs::expression_model::{eval, observation, same};

fn grade(with: Value) -> Result<Value, Failure> {
    let cx = Context::for_test(".".into(), Arc::new(ManualClock::at(0)));
    let done = futures_util::future::FutureExt::now_or_never(DynVerb::run(&Grade, with, cx));
    done.expect("a pure verb never waits").map(|out| out.value)
}

/// A scenario, as `scenario_load` gives it.
fn listed(id: &str, must: bool) -> Value {
    json!({"id": id, "description": "about it", "file": "a.yaml", "weight": 2.0, "must": must, "tier": 1,
        "tags": ["x"], "visibility": "dev", "readiness": "http", "group": format!("fresh/{id}"), "steps": []})
}

/// A trial in the format of earlier validations.
fn trial(id: &str, must: bool, outcome: &Value) -> Value {
    let scenario = json!({"description": "about it", "file": "a.yaml", "weight": 2.0, "must": must, "tier": 1,
        "tags": ["x"]});
    let mut trial = json!({"id": id, "scenario": scenario, "seen": null, "fault": null, "trouble": null,
        "not_run": null});
    trial.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
    trial
}

/// The open questions of an observation, by their keys alone.
fn with_open(mut seen: Value, criteria: bool) -> Value {
    let id = seen["id"].as_str().unwrap().to_owned();
    let mut keys: Vec<String> = Vec::new();
    if seen["setup_ok"] == json!(true) {
        let steps = seen["steps"].as_array().unwrap().iter().filter(|step| step["decided"] == "open");
        keys.extend(steps.map(|step| format!("{id}#{}", step["index"])));
        if criteria && !seen["satisfaction_criteria"].as_str().unwrap().trim().is_empty() {
            keys.push(format!("{id}#all"));
        }
    }
    let question = |key: &String| json!({"key": key, "asks": [{"key": key}]});
    seen["open"] = keys.iter().map(question).collect();
    seen
}

fn outcome(id: &'static str) -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => observation(id).prop_map(|seen| json!({ "seen": with_open(seen, true) })),
        1 => Just(json!({"fault": {"reason": "it exited with code 1", "log": "boom"}})),
        1 => Just(json!({"trouble": "no network"})),
        1 => Just(json!({"not_run": "an earlier tier failed"})),
    ]
}

fn verdicts() -> impl Strategy<Value = Vec<Value>> {
    let keys = ["a", "b"]
        .into_iter()
        .flat_map(|id| (0..4).map(move |n| format!("{id}#{n}")).chain([format!("{id}#all")]));
    let keys: Vec<String> = keys.collect();
    let score =
        prop_oneof![Just(json!(null)), (0i64..=100).prop_map(|score| json!(score)), Just(json!(66.5))];
    prop::collection::vec((prop::sample::select(keys), score), 0..9).prop_map(|verdicts| {
        let verdict = |(key, score): (String, Value)| {
            json!({"key": key, "score": score, "reason": "so it is", "failures": ["half"], "category": "missing",
                "scores": [score], "spread": 0})
        };
        verdicts.into_iter().map(verdict).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Scores, reasons and sums equal those of the expressions that the verb replaced.
    #[test]
    fn scores_are_what_the_expressions_computed(
        (a, b) in (outcome("a"), outcome("b")),
        verdicts in verdicts(),
        (passing, must) in (prop::sample::select(vec![json!(null), json!(100), json!(60)]), any::<bool>()),
    ) {
        let trials = json!([trial("a", must, &a), trial("b", false, &b)]);
        let names = [
            ("trials", trials), ("verdicts", json!(verdicts)), ("passing", passing.clone()), ("why", json!("nobody asked")),
        ];
        let marks = "trials | map('mark', { 'book': book(verdicts), 'why': why, 'passing': passing, 'judge': 'step' }) | list";
        let expected = eval("validate", marks, &names);
        let sums = "{ 'score': satisfaction(marks), 'most': marks | weighted('most'), \
            'unjudged': marks | sum(attribute='unjudged'), \
            'missed': marks | selectattr('must') | map(attribute='passed') | select('eq', false) | list | length, \
            'failures': marks | map('failures_of') | flatten | unique | sort, \
            'failed': marks | selectattr('passed', 'eq', false) | map(attribute='id') | list, \
            'unrun': marks | rejectattr('trouble', 'none') | list | length, \
            'not_run': marks | rejectattr('not_run', 'none') | list | length }";
        let sums = eval("validate", sums, &[("marks", expected.clone())]);
        let merged = |id: &str, outcome: &Value| {
            let mut trial = json!({ "id": id });
            trial.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
            trial
        };
        let mut bar = json!({"judged": 80, "otherwise": 100});
        if !passing.is_null() {
            bar = passing;
        }
        let out = grade(json!({
            "scenarios": [listed("a", must), listed("b", false)], "trials": [[merged("a", &a)], merged("b", &b)],
            "verdicts": verdicts, "passing": bar, "unanswered": "nobody asked",
        })).unwrap();
        for (found, expected) in out["scenarios"].as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
            compare(found, expected)?;
        }
        for (key, expected) in sums.as_object().unwrap() {
            prop_assert!(same(&out[key], expected), "{key}: {} and not {expected}", out[key]);
        }
        check_sums(&out, &verdicts)?;
    }
}

/// Each field of the expressions exists, with the same value.
fn compare(found: &Value, expected: &Value) -> Result<(), TestCaseError> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, value) in expected {
                let Some(own) = found.get(key) else {
                    return Err(TestCaseError::fail(format!("`{key}` is missing")));
                };
                compare(own, value).map_err(|e| TestCaseError::fail(format!("{key}: {e}")))?;
            }
            Ok(())
        }
        (Value::Array(found), Value::Array(expected)) => {
            prop_assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).try_for_each(|(found, expected)| compare(found, expected))
        }
        _ => {
            prop_assert!(same(found, expected), "{found} and not {expected}");
            Ok(())
        }
    }
}

/// Properties of every result, whatever the input.
fn check_sums(out: &Value, verdicts: &[Value]) -> Result<(), TestCaseError> {
    let within =
        |value: &Value| value.is_null() || value.as_f64().is_some_and(|value| (0.0..=100.0).contains(&value));
    prop_assert!(within(&out["score"]) && within(&out["lowest"]) && within(&out["most"]), "{out}");
    let undecided = out["undecided"].as_array().unwrap().len() as u64;
    let whole = ["unrun", "not_run"].map(|key| out[key].as_u64().unwrap()).iter().sum::<u64>();
    prop_assert_eq!(undecided, out["unjudged"].as_u64().unwrap() + whole);
    let done = out["done"] == json!(true);
    prop_assert!(!done || undecided == 0, "the goal is not reached while something is undecided");
    for key in ["failed", "lost"] {
        let failed = out[key].as_array().unwrap();
        prop_assert!(
            failed.iter().all(|id| out["failed"].as_array().unwrap().contains(id)),
            "a lost scenario is also a failed one"
        );
    }
    // The open questions are those without a scored verdict; the last verdict of a key counts.
    for question in out["open"].as_array().unwrap() {
        let last = verdicts.iter().rev().find(|verdict| verdict["key"] == question["key"]);
        prop_assert!(last.is_none_or(|verdict| verdict["score"].is_null()), "{question}");
    }
    Ok(())
}

fn seen(id: &str, decided: &[&str]) -> Value {
    let step = |(index, decided): (usize, &&str)| {
        json!({
            "index": index, "line": 1, "description": "", "expect": "it works", "kind": "request", "weight": 1.0,
            "sent": {"text": format!("GET /{index}"), "method": null, "url": null, "headers": null, "body": null,
                "command": null, "stdin": null},
            "observed": null, "captures": [], "decided": decided, "error": null, "attempts": 1, "duration_ms": 1, "log": "",
            "assertions": if *decided == "failed" { json!([{"assert": "status is 200", "ok": false, "expected": 200,
                "actual": 500, "path": null, "reason": null}]) } else { json!([]) },
        })
    };
    let steps: Vec<Value> = decided.iter().enumerate().map(step).collect();
    let seen = json!({
        "id": id, "description": "", "weight": 1.0, "tier": 1, "satisfaction_criteria": "", "setup_ok": true,
        "broken": null, "setup": [], "steps": steps, "duration_ms": 1,
    });
    with_open(seen, true)
}

/// Items of an `each` over held groups, as the engine returns them.
#[test]
fn trials_are_read_as_an_each_over_groups_gives_them() {
    let mut scenarios = vec![listed("a", false), listed("b", false), listed("c", false), listed("d", false)];
    for at in [0, 1] {
        scenarios[at]["group"] = json!("shared/dev/http");
    }
    let up = json!({"came_up": true, "reason": null, "log": "", "ok": true});
    let inner = json!([
        {"index": 0, "key": "a", "ok": true, "output": seen("a", &["held"])},
        {"index": 1, "key": "b", "ok": false, "error": {"message": "no browser"}},
    ]);
    let down = json!({"held": {"came_up": false, "reason": "it exited", "log": "boom"}, "result": null});
    let items = json!([
        {"index": 0, "key": "shared/dev/http", "ok": true, "output": {"held": up, "result": inner}},
        {"index": 1, "key": "fresh/c", "ok": true, "output": down},
        {"index": 2, "key": "fresh/d", "ok": false, "error": {"message": "no space left"}},
    ]);
    let out = grade(json!({"scenarios": scenarios, "trials": items})).unwrap();
    let scenarios = out["scenarios"].as_array().unwrap();
    assert_eq!(scenarios[0]["score"], json!(100.0));
    assert_eq!((&scenarios[1]["trouble"], &scenarios[1]["score"]), (&json!("no browser"), &json!(null)));
    assert_eq!(scenarios[2]["fault"], json!({"kind": "start", "reason": "it exited", "log": "boom"}));
    assert_eq!(scenarios[2]["score"], json!(0.0));
    assert_eq!(scenarios[3]["trouble"], json!("no space left"));
    assert_eq!((&out["score"], &out["lowest"], &out["unrun"]), (&json!(50.0), &json!(0.0), &json!(2)));
    assert_eq!(
        out["undecided"],
        json!([{"key": "b", "reason": "no browser"}, {"key": "d", "reason": "no space left"}])
    );
    assert_eq!(out["trouble"], json!(["no browser", "no space left"]));
    assert_eq!(out["done"], json!(false));
}

/// If a run pauses, finished scenarios count and the others are `not_run`.
#[test]
fn of_a_run_that_pauses_what_is_there_counts() {
    let mut scenarios = vec![listed("a", false), listed("b", false), listed("c", false)];
    for scenario in &mut scenarios {
        scenario["group"] = json!("shared/dev/http");
    }
    let inner = json!([
        {"key": "a", "ok": true, "output": seen("a", &["failed"])},
        {"key": "b", "ok": false, "skipped": true},
    ]);
    let held = json!({"came_up": true});
    let items = json!([{"key": "shared/dev/http", "ok": false, "skipped": true, "output": {"held": held, "result": inner}}]);
    let missing = json!({"not_run": "the run ended before it was finished"});
    let out = grade(json!({"scenarios": scenarios, "trials": items, "missing": missing})).unwrap();
    assert_eq!((&out["score"], &out["not_run"], &out["failed"]), (&json!(0.0), &json!(2), &json!(["a"])));
    assert_eq!(out["scenarios"][2]["not_run"], "the run ended before it was finished");
}

#[test]
fn an_each_over_scenarios_and_a_program_that_does_not_build_are_read() {
    let scenarios = [listed("a", true), listed("b", false)];
    let items = json!([{"key": "a", "ok": true, "output": seen("a", &["held", "open"])}, {"key": "b", "skipped": true}]);
    let build =
        json!({"ok": false, "reason": "exit code 2", "log": format!("{}the end", "x\n".repeat(4000))});
    let verdicts = json!([{"key": "a#1", "score": 180}]);
    let out = grade(json!({"scenarios": scenarios, "trials": items, "build": build, "verdicts": verdicts}))
        .unwrap();
    assert_eq!(out["scenarios"][0]["steps"][1]["score"], json!(100), "no score is above 100");
    let fault = &out["scenarios"][1]["fault"];
    assert_eq!(
        (&fault["kind"], &fault["reason"]),
        (&json!("build"), &json!("it does not build: exit code 2"))
    );
    assert!(
        fault["log"].as_str().unwrap().ends_with("the end") && fault["log"].as_str().unwrap().len() < 4100
    );
    assert_eq!((&out["score"], &out["judged"], &out["open"]), (&json!(50.0), &json!(true), &json!([])));
    assert_eq!(out["lost"], json!(["b"]));
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_left_out() {
    let scenarios = json!([listed("a", false)]);
    for (more, word) in [
        (
            json!({"trials": [{"key": "x", "ok": false, "error": {"message": ""}}]}),
            "`x` in `trials` is not one of",
        ),
        (json!({"trials": [{"id": "x", "trouble": ""}]}), "`x` in `trials` is not one of"),
        (json!({"trials": [7]}), "is not an object"),
        (json!({"trials": [{"id": "a", "seen": {"steps": 1}}]}), "not an output of `scenario`"),
        (json!({"passing": 101}), "`passing` is 101"),
        (json!({"passing": {"judged": -1, "otherwise": 100}}), "`passing` is -1"),
        (json!({"missing": {}}), "exactly one key"),
        (json!({"missing": {"not_run": "", "trouble": ""}}), "exactly one key"),
    ] {
        let mut with = json!({ "scenarios": scenarios });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let failure = grade(with).unwrap_err();
        assert!(failure.message.contains(word) && failure.hint.is_some(), "{failure:?}");
    }
}

#[test]
fn the_goal_needs_everything() {
    let grade = |steps: &[&str], threshold: Value, floor: u8| {
        let trials =
            json!([{"id": "a", "seen": seen("a", &["held"])}, {"id": "b", "seen": seen("b", steps)}]);
        let scenarios = [listed("a", false), listed("b", true)];
        grade(json!({"scenarios": scenarios, "trials": trials, "threshold": threshold, "floor": floor, "passing": 50}))
            .unwrap()
    };
    for (steps, threshold, floor, done) in [
        (&["held", "failed"][..], json!(75), 50, true),
        (&["held", "failed"], json!(76), 50, false),
        (&["held", "failed"], json!(75), 51, false),
        (&["held", "failed", "failed"], json!(60), 0, false),
        (&["held", "open"], json!(75), 0, false),
        (&["held", "failed"], json!({"judged": 90, "otherwise": 70}), 0, true),
        (&["held", "open"], json!({"judged": 90, "otherwise": 70}), 0, false),
    ] {
        let out = grade(steps, threshold.clone(), floor);
        assert_eq!(out["done"], json!(done), "{steps:?} {threshold} {floor}: {out:#}");
    }
    assert_eq!(grade(&["held", "open"], json!({"judged": 90, "otherwise": 70}), 0)["threshold"], json!(90.0));
}
