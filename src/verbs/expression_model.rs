//! Expressions of earlier pipelines that verbs replaced, and generated observations to compare the two.

#![expect(clippy::disallowed_methods, reason = "tests read a file of the project")]

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use crate::expr::{Data, Expr, Functions, Scope};
use crate::value::Value;

/// The value of `expr`, evaluated with the functions of the pipeline `of`.
pub(super) fn eval(of: &str, expr: &str, names: &[(&str, Value)]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grading/functions.toml");
    let file: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let entries = file[of].as_table().unwrap().iter().map(|(name, function)| {
        let args = function["args"].as_array().unwrap();
        let args = args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
        (name.clone(), args, function["value"].as_str().unwrap().to_owned())
    });
    let functions =
        Functions::build(entries.collect::<Vec<_>>()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let scope = names.iter().fold(Scope::new(), |s, (name, value)| s.with(name, Data::from_value(value)));
    let expr = Expr::parse(expr, &functions).unwrap_or_else(|faults| panic!("{expr}: {faults:#?}"));
    expr.eval(&scope).unwrap_or_else(|error| panic!("{error:#?}")).to_value()
}

/// Equal, where numbers are compared by their value.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap_or_default() - b.as_f64().unwrap_or(f64::NAN)).abs() < 1e-9
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// A text of several lines, or none.
fn text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "GET /items",
        "\n",
        " ",
        "HTTP 404",
        "{\"id\": 7}",
        "127.0.0.1:54321",
        "2024-02-29T10:00:00Z",
        "é…",
        "x: y",
    ]);
    prop::collection::vec(words, 0..8).prop_map(|words| words.concat())
}

/// The output of a step.
fn step() -> impl Strategy<Value = Value> {
    let decided = prop::sample::select(vec!["held", "failed", "open"]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), 0usize..4);
    (decided, flags, text(), text(), prop::sample::select(vec![0.5, 1.0, 3.0])).prop_map(
        |(decided, (broke, sent, named, captures), observed, log, weight)| {
            let error = (broke && decided == "failed").then_some("the connection was closed");
            let captures: Vec<Value> = (0..captures)
                .map(|n| json!({"name": format!("v{n}"), "value": n, "error": if n == 2 { Some("no match") } else { None }}))
                .collect();
            let mut step = json!({
                "index": 0, "line": 3, "description": "does it", "expect": "it is done", "kind": "request",
                "weight": weight, "sent": {"text": format!("POST /items\n\n{log}"), "method": "POST", "url": null,
                    "headers": null, "body": null, "command": null, "stdin": null},
                "observed": if broke && !sent { Value::Null } else { answer(&observed) },
                "captures": captures, "assertions": assertions(decided, error.is_some()), "decided": decided,
                "error": error, "attempts": 1, "duration_ms": 5, "log": log,
            });
            if named {
                step["named"] = json!([{"name": "id", "value": "7"}]);
            }
            step
        },
    )
}

fn answer(text: &str) -> Value {
    json!({
        "text": text, "status": 200, "headers": {}, "url": null, "body": text, "exit_code": null, "stdout": null,
        "stderr": null, "timed_out": false, "length": text.len(), "digest": "d", "cut": false, "lossy": false,
    })
}

fn assertions(decided: &str, broke: bool) -> Value {
    let one = |ok: bool, reason: Option<&str>| {
        json!({"assert": "status is 200", "ok": ok, "expected": 200, "actual": {"status": 500, "x": null},
            "path": null, "reason": reason})
    };
    match decided {
        "failed" if !broke => json!([one(true, None), one(false, Some("it is a text")), one(false, None)]),
        "held" => json!([one(true, None)]),
        _ => json!([]),
    }
}

/// The steps of a list, numbered. Some follow the end of the program.
fn steps(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((step(), 0u8..8), range).prop_map(|steps| {
        let numbered = steps.into_iter().enumerate().map(|(at, (mut step, ended))| {
            step["index"] = json!(at);
            if step["decided"] == "failed" && ended < 2 {
                step["ended"] = json!(if ended == 0 { "before" } else { "during" });
            }
            step
        });
        numbered.collect()
    })
}

/// A generated observation of the scenario `id`.
pub(super) fn observation(id: &'static str) -> impl Strategy<Value = Value> {
    let criteria = prop::sample::select(vec!["", " ", "all is well"]);
    (steps(0..9), steps(1..7), criteria, any::<bool>(), any::<bool>()).prop_map(
        move |(setup, steps, criteria, setup_ok, named)| {
            let setup_ok = setup_ok || setup.is_empty();
            let broken = (!setup_ok).then(|| {
                json!({"step": setup.len() - 1, "description": "logs in", "reason": "status is 200 (found: 500)",
                    "sent": "POST /login", "observed": "HTTP 500", "log": "trace"})
            });
            let mut seen = json!({
                "id": id, "description": "about it", "weight": 1.0, "tier": 1, "tags": [], "must": false,
                "visibility": "dev", "file": "a.yaml", "satisfaction_criteria": criteria, "setup_ok": setup_ok,
                "broken": broken, "setup": setup, "steps": steps, "teardown": [], "skipped": [], "duration_ms": 12,
            });
            if named {
                seen["named"] = json!([{"name": "base", "value": "x"}]);
            }
            seen
        },
    )
}
