//! Checks with the official clients of the vendors, from `target/peers`: they can read the answers of the
//! test server, and accept everything in the requests of Atoll. Without them these tests are reported as
//! skipped.
#![expect(clippy::disallowed_methods, reason = "tests start the vendors' clients")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::batch::{Attempt, with};
use super::bureau::{Bureau, Lot};
use super::server::{Act, Server, anthropic, openai};
use super::wire::{anthropic_tool, gemini, ollama, openai_tool, responses};
use super::{Step, verdict};
use crate::scenario::peers::{python, skip};

/// The output lines of the script with `arguments` and the standard input `input`; `None` if the clients
/// are missing.
fn witness(test: &str, arguments: &[&str], input: &str) -> Option<Vec<String>> {
    let python = python(test)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/llm/witness.py");
    let mut command = Command::new(python);
    // Proxies of the machine do not apply to a server on loopback.
    command.arg(script).args(arguments).env("NO_PROXY", "*").env("no_proxy", "*");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // If it ends early, it reads nothing.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("ModuleNotFoundError") {
        skip("peers", test, "the vendors' clients are missing: tests/setup/peers.sh installs them");
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The errors in each of these requests.
fn judged(test: &str, requests: &[(&str, Value)]) -> Option<Vec<String>> {
    let lines: Vec<String> = requests.iter().map(|request| json!(request).to_string()).collect();
    witness(test, &["judge"], &lines.join("\n"))
}

#[tokio::test]
async fn the_vendors_clients_understand_the_test_server() {
    const TEST: &str = "the_vendors_clients_understand_the_test_server";
    let score = "{\"score\": 3}";
    let told = [
        ("openai", Act::Stream(openai("Grüße, Welt", "stop")), "Grüße, Welt", "stop", 400),
        ("openai", Act::Stream(openai("Grüße", "length")), "Grüße", "length", 400),
        ("openai", Act::Stream(openai_tool("verdict", score)), score, "tool_calls", 400),
        ("openai_responses", Act::Stream(responses("Grüße, Welt", "")), "Grüße, Welt", "completed", 400),
        (
            "openai_responses",
            Act::Stream(responses("Grüße", "max_output_tokens")),
            "Grüße",
            "max_output_tokens",
            400,
        ),
        ("anthropic", Act::Stream(anthropic("Grüße, Welt", "end_turn")), "Grüße, Welt", "end_turn", 700),
        ("anthropic", Act::Stream(anthropic_tool("verdict", score)), score, "tool_use", 700),
        ("gemini", Act::Stream(gemini("Grüße, Welt", "STOP")), "Grüße, Welt", "STOP", 400),
        ("gemini", Act::Stream(gemini("Grüße", "MAX_TOKENS")), "Grüße", "MAX_TOKENS", 400),
        ("ollama", Act::Lines(ollama("Grüße, Welt", "stop")), "Grüße, Welt", "stop", 0),
    ];
    // The messages of one vendor are parsed twice: complete, and event by event.
    let twice = |kind: &str| if kind == "anthropic" { 2 } else { 1 };
    let script = told.iter().flat_map(|(kind, act, ..)| std::iter::repeat_n(act.clone(), twice(kind)));
    let server = Server::start(script).await;
    let base = server.base.clone();
    let kinds: Vec<&str> = told.iter().map(|(kind, ..)| *kind).collect();
    let asking = move || witness(TEST, &[&["hear", base.as_str()], kinds.as_slice()].concat(), "");
    let Some(lines) = tokio::task::spawn_blocking(asking).await.unwrap() else { return };
    assert_eq!(lines.len(), told.len());
    for ((kind, _, text, stop, cached), line) in told.iter().zip(lines) {
        let heard: Value = serde_json::from_str(&line).unwrap();
        let expected = json!({"text": text, "stop": stop, "in": 1000, "out": 100, "cached": cached});
        assert_eq!(heard, expected, "{kind}");
    }
}

/// A model, the answer of its server, and the wire format.
fn everybody() -> [(&'static str, Act, &'static str); 7] {
    let text = "{\"score\": 3}";
    [
        ("gpt-4.1-mini", Act::Stream(openai(text, "stop")), "openai"),
        ("tooled", Act::Stream(openai_tool("verdict", text)), "openai"),
        ("openai-responses/gpt-5", Act::Stream(responses(text, "")), "openai_responses"),
        ("claude-opus-4-6", Act::Stream(anthropic(text, "end_turn")), "anthropic"),
        ("claude-sonnet-4", Act::Stream(anthropic_tool("verdict", text)), "anthropic"),
        ("gemini-2.5-flash", Act::Stream(gemini(text, "STOP")), "gemini"),
        ("ollama/eye", Act::Lines(ollama(text, "stop")), "ollama"),
    ]
}

const MORE: &str = r#"
[models."ollama/eye"]
context = 8192
features = { images = true, effort = true }
[models.tooled]
provider = "openai"
id = "gpt-4o"
features = { json_schema = false }
price = { input = 1, output = 1 }
"#;

#[tokio::test]
async fn the_vendors_know_everything_that_is_asked() {
    const TEST: &str = "the_vendors_know_everything_that_is_asked";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.png"), [0x89, b'P', b'N', b'G', 13, 10, 26, 10]).unwrap();
    let mut requests = Vec::new();
    for (model, act, kind) in everybody() {
        let server = Server::start([act]).await;
        let mut step = Step::with_schema(verdict());
        step.cx.workspace.project = dir.path().to_owned();
        let mut with = json!({"model": model, "system": "be kind", "temperature": 0.5, "max_tokens": 64, "seed": 7,
            "effort": "high", "cache_prompt": true, "messages": [{"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"}, {"role": "user", "content": "c", "images": ["a.png"]}]});
        if kind != "openai_responses" {
            with["stop"] = json!(["END"]);
        }
        let output = step.run(&server.models_with(MORE), with).await.unwrap();
        assert_eq!(output.value, json!({"score": 3}), "{model}");
        requests.push((kind, server.body(0)));
    }
    let sound = requests.len();
    // Invalid requests, to make sure that the checks find errors.
    for slip in 0..sound {
        let (kind, mut body) = requests[slip].clone();
        body["max_tokns"] = json!(5);
        requests.push((kind, body));
    }
    let (_, mut chat) = requests[0].clone();
    chat["messages"][0]["role"] = json!("owner");
    requests.push(("openai", chat));
    let Some(verdicts) = judged(TEST, &requests) else { return };
    assert_eq!(verdicts.len(), requests.len());
    for (i, ((kind, body), verdict)) in requests.iter().zip(&verdicts).enumerate() {
        assert_eq!(verdict.is_empty(), i < sound, "{kind}: {verdict}\n{body}");
    }
}

#[tokio::test]
async fn the_vendors_clients_make_and_read_batches_on_the_test_server() {
    const TEST: &str = "the_vendors_clients_make_and_read_batches_on_the_test_server";
    let bureau = Bureau::ruled(|text| match text {
        "wrong" => Lot::Error(400, "too odd"),
        "late" => Lot::Expired,
        text => Lot::Answer(text.to_uppercase(), "stop"),
    });
    let base = bureau.await.base;
    let asking = move || witness(TEST, &["batch", &base, "openai", "anthropic", "gemini"], "");
    let Some(lines) = tokio::task::spawn_blocking(asking).await.unwrap() else { return };
    let read: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results = |late: Value| json!({"good": "GOOD", "wrong": "too odd", "late": late});
    assert_eq!(
        read,
        [
            json!({"listed": ["mark"], "state": "completed", "counts": [1, 2], "results": results(json!("batch_expired"))}),
            json!({"listed": ["3"], "state": "ended", "counts": [3], "results": results(json!("expired"))}),
            json!({"listed": ["mark"], "state": "JOB_STATE_SUCCEEDED", "counts": [3], "results": results(Value::Null)}),
        ]
    );
}

#[tokio::test]
async fn the_vendors_know_everything_in_our_batches() {
    const TEST: &str = "the_vendors_know_everything_in_our_batches";
    let mut made = Vec::new();
    for (model, kind) in [
        ("gpt-4.1-mini", "openai_batch"),
        ("openai-responses/gpt-5", "openai_batch"),
        ("claude-haiku-4-5", "anthropic_batch"),
        ("gemini-2.5-flash", "gemini_batch"),
    ] {
        let bureau = Bureau::ruled(|_| Lot::Answer("{\"score\": 3}".to_owned(), "stop")).await;
        let mut attempt = Attempt::new(0);
        attempt.step.cx.schema = Step::with_schema(verdict()).cx.schema;
        let mut asked = with(model, "judge");
        asked["system"] = json!("be kind");
        asked["temperature"] = json!(0.5);
        let models = bureau.models(1, &atoll::llm::CassetteMode::Off);
        attempt.step.run(&models, asked).await.unwrap();
        let batch = bureau.batches()[0].clone();
        made.push((kind, batch.body.clone()));
        if model == "gpt-4.1-mini" {
            made.push(("openai_line", batch.entries[0].1.clone()));
        }
    }
    let sound = made.len();
    for slip in 0..sound {
        let (kind, mut body) = made[slip].clone();
        let place = match kind {
            "openai_line" => "/body",
            "anthropic_batch" => "/requests/0/params",
            "gemini_batch" => "/batch/inputConfig/requests/requests/0/request",
            _ => "",
        };
        body.pointer_mut(place).unwrap()["stream_it"] = json!(true);
        made.push((kind, body));
    }
    let Some(verdicts) = judged(TEST, &made) else { return };
    assert_eq!(verdicts.len(), made.len());
    for (i, ((kind, body), verdict)) in made.iter().zip(&verdicts).enumerate() {
        assert_eq!(verdict.is_empty(), i < sound, "{kind}: {verdict}\n{body}");
    }
}

#[tokio::test]
async fn the_vendors_know_tools_and_what_they_bring() {
    const TEST: &str = "the_vendors_know_tools_and_what_they_bring";
    let mut requests = Vec::new();
    for (kind, model) in super::tools::MODELS {
        let (_, first, second) = super::tools::conversation(kind, model).await;
        requests.extend([(kind, first), (kind, second)]);
    }
    let sound = requests.len();
    let slips = [
        ("openai", 1, "/messages/3/tool_call_id"),
        ("openai_responses", 3, "/input/2/name"),
        ("anthropic", 5, "/messages/2/content/0/tool_use_id"),
        ("ollama", 8, "/tools/0/function/name"),
    ];
    for (kind, i, place) in slips {
        let mut body = requests[i].1.clone();
        *body.pointer_mut(place).unwrap() = json!(["no text"]);
        requests.push((kind, body));
    }
    let Some(verdicts) = judged(TEST, &requests) else { return };
    assert_eq!(verdicts.len(), requests.len());
    for (i, ((kind, body), verdict)) in requests.iter().zip(&verdicts).enumerate() {
        assert_eq!(verdict.is_empty(), i < sound, "{kind}: {verdict}\n{body}");
    }
}

#[tokio::test]
async fn the_vendors_clients_understand_calls_of_the_test_server() {
    const TEST: &str = "the_vendors_clients_understand_calls_of_the_test_server";
    let call = [("id_1", "read", "{\"path\": \"a\"}")];
    let kinds = ["openai", "openai_responses", "anthropic", "gemini", "ollama"];
    let twice = |kind: &str| if kind == "anthropic" { 2 } else { 1 };
    let acts =
        kinds.iter().flat_map(|kind| std::iter::repeat_n(super::calls::act(kind, "", &call), twice(kind)));
    let server = Server::start(acts).await;
    let base = server.base.clone();
    let asking = move || witness(TEST, &[&["calls", base.as_str()], kinds.as_slice()].concat(), "");
    let Some(lines) = tokio::task::spawn_blocking(asking).await.unwrap() else { return };
    assert_eq!(lines.len(), kinds.len());
    for (kind, line) in kinds.iter().zip(lines) {
        let heard: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(heard, json!([{"name": "read", "input": {"path": "a"}}]), "{kind}");
    }
}
