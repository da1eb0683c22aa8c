//! No text of the scenarios reaches a model that writes the program or reasons about it. Every free text of
//! the scenarios has a marker, which must not occur in these requests of a whole run.
#![expect(clippy::disallowed_methods, reason = "the test runs a model server")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};

use crate::binary::{Project, Ran};

const SPEC: &str =
    "# Greeter\n\nAn HTTP service on port 8080. `GET /hello` answers 200 with the text `hello`.\n";

const SCENARIO: &str = r"
id: canary-id-7f3a
description: CANARY-DESCRIPTION greets whoever asks
satisfaction_criteria: CANARY-CRITERIA
# CANARY-COMMENT
setup:
  - description: CANARY-SETUP warms up
    request: { method: GET, path: /warm }
steps:
  - description: CANARY-STEP asks politely
    request: { method: GET, path: /hello }
    expect: CANARY-EXPECT the answer is a friendly hello
  - description: CANARY-SECOND asks for something that is not there
    request: { method: GET, path: /hello }
    assert: { status: 418 }
";

const MARKS: [&str; 8] = [
    "canary-id-7f3a",
    "CANARY-DESCRIPTION",
    "CANARY-CRITERIA",
    "CANARY-COMMENT",
    "CANARY-SETUP",
    "CANARY-STEP",
    "CANARY-EXPECT",
    "CANARY-SECOND",
];

const PROGRAM: &str = r#"
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked for " + self.path, flush=True)
        if "/end-" in self.path:
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello VERSION")
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"#;

type Seen = Arc<Mutex<Vec<Value>>>;

/// Answers drafts with a program that is new each time, judges with a medium score, and requests for causes
/// with a diagnosis.
async fn answer(State(seen): State<Seen>, body: Bytes) -> String {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.push(request.clone());
    let text = match kind(&request) {
        "judge" if !request.to_string().contains("as a whole number") => json!({
            "parts": [], "score": 60, "reason": "not friendly enough", "failures": [], "category": "wrong_value"
        })
        .to_string(),
        "judge" => json!({"parts": [{"expected": "a greeting", "found": "hello", "holds": false}], "reason": "it says hello, but not in a friendly way", "score": 60}).to_string(),
        "wonder" => json!({
            "hypotheses": [{"claim": "main.py is unfriendly", "evidence": "the answers"}],
            "root_cause": "tone", "approach": "be friendly"
        })
        .to_string(),
        _ => {
            let program = PROGRAM.replace("VERSION", &seen.len().to_string());
            format!(
                "=== FILE: main.py ===\n{program}\n=== END FILE ===\n=== FILE: Dockerfile ===\nFROM python:3.12-slim\n\
                 WORKDIR /app\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n=== END FILE ===\n"
            )
        }
    };
    let chunk = |delta: Value, stop: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": stop});
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let usage = json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    format!(
        "{}{}data: {usage}\n\ndata: [DONE]\n\n",
        chunk(json!({"role": "assistant", "content": text}), Value::Null),
        chunk(json!({}), json!("stop"))
    )
}

fn kind(request: &Value) -> &'static str {
    let system = request["messages"][0]["content"].as_str().unwrap_or_default();
    match system {
        text if text.starts_with("You judge software") => "judge",
        text if text.starts_with("You find out why") => "wonder",
        _ => "draft",
    }
}

async fn serve(seen: Seen) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/chat/completions", post(answer)).with_state(seen);
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

/// Whether the sandbox is available. The test fails if it is required and missing.
fn sandbox(test: &str) -> bool {
    let there = std::process::Command::new("bwrap").arg("--version").output().is_ok();
    let required = std::env::var("ATOLL_REQUIRE").is_ok_and(|names| names.contains("process"));
    assert!(there || !required, "bubblewrap is required and missing");
    if !there {
        println!("skipped: {test}: bubblewrap is not installed");
    }
    there
}

/// A run of the factory with these scenarios, in which no draft is good enough, and all its requests.
async fn grown(scenarios: &[(&str, &str)]) -> (Ran, Vec<Value>) {
    let seen = Seen::default();
    let base = serve(seen.clone()).await;
    let project = Project::new().file("spec.md", SPEC).env("ATOLL_LOCAL_BASE_URL", &base);
    let project = scenarios
        .iter()
        .fold(project, |project, (name, text)| project.file(&format!("scenarios/{name}.yaml"), text));
    let goal = ["run", "factory", "--spec", "spec.md", "--scenarios", "scenarios", "--format", "json"];
    let models =
        ["--model", "local/m", "--judge-model", "local/m", "--answers", "blocks", "--skip-preflight"];
    let bounds = ["--runtime", "process", "--max-iterations", "5", "--stall-limit", "4"];
    let arguments = [goal.as_slice(), &models, &bounds].concat();
    let ran = tokio::task::spawn_blocking(move || project.run(&arguments).exits(4)).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (ran, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mark_of_the_scenarios_reaches_whoever_writes() {
    if !sandbox("no_mark_of_the_scenarios_reaches_whoever_writes") {
        return;
    }
    let (ran, seen) = grown(&[("greet", SCENARIO)]).await;
    let outputs = &ran.json()["outputs"];
    assert_eq!((&outputs["score"], &outputs["sealed"]), (&json!(30.0), &Value::Null), "{outputs}");
    let count = |wanted: &str| seen.iter().filter(|request| kind(request) == wanted).count();
    let kinds: Vec<&str> = seen.iter().map(kind).collect();
    assert!(count("draft") >= 4 && count("wonder") >= 1 && count("judge") >= 1, "{kinds:?}");
    for request in &seen {
        let text = request.to_string();
        let found: Vec<&str> = MARKS.into_iter().filter(|mark| text.contains(mark)).collect();
        match kind(request) {
            "judge" => assert!(found.contains(&"CANARY-EXPECT"), "the judge must know the expected result"),
            kind => assert!(found.is_empty(), "{kind} sees {found:?}: {text}"),
        }
    }
    let later = seen.iter().filter(|request| kind(request) == "draft").nth(1).unwrap().to_string();
    assert!(later.contains("/hello") && later.contains("418"), "findings reach the next draft: {later}");
}

const SEALED: &str = "
id: behind-seals
visibility: sealed
weight: 50
must: true
steps:
  - description: It answers
    request: { method: GET, path: /sealed-4b1d }
    assert: { status: 200 }
  - description: It is friendly
    request: { method: GET, path: /sealed-4b1d }
    expect: a friendly word
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_is_tried_once_after_the_end() {
    if !sandbox("what_is_sealed_is_tried_once_after_the_end") {
        return;
    }
    let gate =
        SCENARIO.replace("canary-id-7f3a", "gate").replace("/hello", "/gate-9c2e") + "visibility: gate\n";
    let (ran, seen) = grown(&[("greet", SCENARIO), ("gate", &gate), ("sealed", SEALED)]).await;
    let outputs = &ran.json()["outputs"];
    assert_eq!((&outputs["score"], &outputs["lowest"]), (&json!(30.0), &json!(30.0)), "{outputs}");
    let told = json!({"status": "unsatisfied", "score": 80.0, "lowest": 80.0, "scenarios": [{"id": "behind-seals", "score": 80.0}]});
    assert_eq!(outputs["sealed"], told);

    let sees = |request: &Value, path: &str| request.to_string().contains(path);
    let (last, before) = seen.split_last().unwrap();
    assert!(kind(last) == "judge" && sees(last, "/sealed-4b1d"), "{last}");
    assert!(!before.iter().any(|request| sees(request, "/sealed-4b1d")), "no earlier request has it");
    let judged = before.iter().filter(|request| kind(request) == "judge" && sees(request, "/gate-9c2e"));
    assert!(judged.count() > 0, "gates are judged");
    let told = before.iter().filter(|request| kind(request) != "judge" && sees(request, "/gate-9c2e"));
    assert_eq!(told.count(), 0, "and no writer learns of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_program_that_ends_only_what_dev_scenarios_did_is_told() {
    if !sandbox("of_a_program_that_ends_only_what_dev_scenarios_did_is_told") {
        return;
    }
    let ending = |id: &str, path: &str| {
        format!(
            "id: {id}\nsteps:\n  - {{ request: {{ method: GET, path: /end-{path} }}, assert: {{ status: 200 }} }}\n"
        )
    };
    let (dev, gate) = (ending("mine", "dev-3c8e"), ending("theirs", "gate-1f6b") + "visibility: gate\n");
    let (_, seen) = grown(&[("greet", SCENARIO), ("mine", &dev), ("theirs", &gate)]).await;
    let writers = || seen.iter().filter(|request| kind(request) != "judge").map(Value::to_string);
    assert!(writers().any(|request| request.contains("/end-dev-3c8e")), "`dev` findings are disclosed");
    assert!(writers().any(|request| request.contains("the program ended with exit code 3")));
    for request in writers() {
        assert!(!request.contains("gate-1f6b"), "gate findings are hidden: {request}");
        assert!(!request.contains("It did not come up"), "the program did start: {request}");
    }
}
