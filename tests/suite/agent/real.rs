//! The real agents of the vendors, as installed by `tests/setup/agents.sh`, in a sandbox against a server
//! with the published format of the vendor. Without them these tests are reported as skipped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use atoll::llm::registry::Registry;
use atoll::llm::{CassetteMode, Models};
use atoll::runtime::service::RuntimeKind;
use atoll::secrets::EnvSecrets;
use atoll::system_clock::SystemClock;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, Uri};
use serde_json::{Value, json};

use super::{Step, number};
use crate::llm::calls::act;
use crate::llm::server::{Act, KEY, anthropic};
use crate::llm::wire;
use crate::scenario::peers::skip;
use crate::services::house;

/// A vendor: model calls are answered in order, anything else is not found.
#[derive(Clone)]
struct Vendor {
    base: String,
    script: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Vendor {
    async fn start(script: Vec<String>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().rev().collect()));
        let vendor = Self { base, script, seen: Arc::default() };
        let app = Router::new().fallback(serve).with_state(vendor.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        vendor
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(State(vendor): State<Vendor>, uri: Uri, body: Bytes) -> Response<Body> {
    let asks =
        ["/messages", "/responses", ":streamGenerateContent"].iter().any(|end| uri.path().ends_with(end));
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let plain = |status: u16| Response::builder().status(status).body(Body::empty()).unwrap();
    if !asks || body.is_null() {
        return plain(404);
    }
    vendor.seen.lock().unwrap().push(body);
    let Some(text) = vendor.script.lock().unwrap().pop() else { return plain(400) };
    Response::builder().header("content-type", "text/event-stream").body(Body::from(text)).unwrap()
}

fn stream(act: Act) -> String {
    match act {
        Act::Stream(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Path of the program; `None` after a note if it or a sandbox is missing.
async fn installed(name: &str, test: &str) -> Option<PathBuf> {
    house(RuntimeKind::Process, test).await?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/agents/node_modules/.bin").join(name);
    if !program.exists() {
        skip("agents", test, "target/agents is missing: tests/setup/agents.sh makes it");
        return None;
    }
    Some(program)
}

fn models() -> Models {
    let keys = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"];
    let secrets = EnvSecrets::from_values(keys.map(|name| (name.to_owned(), KEY.to_owned())));
    let cassette = atoll::llm::Cassette::open(&CassetteMode::Off).unwrap();
    Models::new(Registry::embedded().unwrap(), Arc::new(secrets), cassette)
}

/// Runs the real program, and returns its output with the step.
async fn work(agents: String, with: Value, schema: bool) -> (Value, Step, atoll::meter::Meter) {
    struct Keys(EnvSecrets);
    impl atoll::verb::Secrets for Keys {
        fn get(&self, name: &str) -> Option<atoll::verb::SecretText> {
            self.0.get(name)
        }
        fn redact(&self, text: &str) -> String {
            self.0.redact(text)
        }
    }
    let mut step = Step::at(Arc::new(SystemClock));
    if schema {
        step = step.wants(number());
    }
    let keys = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"];
    step.cx.secrets =
        Arc::new(Keys(EnvSecrets::from_values(keys.map(|name| (name.to_owned(), KEY.to_owned())))));
    step.agents = agents;
    let output =
        step.run(&models(), with).await.unwrap_or_else(|failure| panic!("{failure}: {}", failure.detail));
    step.leaves_nothing();
    (output.value, step, output.spent.plain())
}

#[tokio::test]
async fn claude_code_works_and_is_paid() {
    let Some(program) = installed("claude", "claude_code_works_and_is_paid").await else { return };
    let write = ("toolu_1", "Write", "{\"file_path\": \"/atoll/work/hello.txt\", \"content\": \"hi\\n\"}");
    let vendor = Vendor::start(vec![
        stream(act("anthropic", "", &[write])),
        stream(act("anthropic", "", &[("toolu_2", "StructuredOutput", "{\"n\": 3}")])),
        anthropic("done", "end_turn"),
    ])
    .await;
    let argv = "\"-p\", \"--output-format\", \"stream-json\", \"--verbose\", \"--permission-mode\", \"bypassPermissions\", \"--no-session-persistence\"";
    let agents = format!(
        "[agents.claude]\nargv = [\"{}\", {argv}]\nenv = {{ ANTHROPIC_BASE_URL = \"{}\", CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC = \"1\" }}\n",
        program.display(),
        vendor.base
    );
    let with =
        json!({"cli": "claude", "model": "claude-haiku-4-5", "prompt": "write hello.txt", "wall": "60s"});
    let (output, step, spent) = work(agents, with, true).await;
    let report = &output["agent"];
    assert_eq!((&output["n"], &report["ended_by"]), (&json!(3), &json!("done")));
    assert_eq!(report["changes"], json!([{"path": "hello.txt", "op": "added"}]));
    assert_eq!(step.text(report, "hello.txt"), "hi\n");
    assert!(vendor.seen()[0]["messages"].to_string().contains("write hello.txt"));
    // Each answer read 1,000 tokens, 700 of them from the cache, and wrote 100.
    assert!(spent.get("usd") > 0.0 && spent.get("tokens_out") > 199.0, "{spent:?}");
    assert_eq!((spent.get("tokens_in") % 1_000.0).to_bits(), 0.0_f64.to_bits(), "{spent:?}");
    assert!(!step.transcript(&report["transcript"]).concat().contains(KEY));
}

#[tokio::test]
async fn codex_works_and_is_paid() {
    let Some(program) = installed("codex", "codex_works_and_is_paid").await else { return };
    let run = ("call_1", "exec_command", "{\"cmd\": \"echo hi > hello.txt\"}");
    let message = |text: &str| {
        let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
        json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
    };
    let last = wire::responses_event(
        &json!({"type": "response.created", "response": wire::response(&json!({"status": "in_progress"}))}),
    ) + &wire::responses_event(
        &json!({"type": "response.output_item.done", "output_index": 0, "item": message("{\"n\": 3}")}),
    ) + &wire::responses_event(
        &json!({"type": "response.completed", "response": wire::response(&json!({"status": "completed",
            "output": [message("{\"n\": 3}")], "usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400},
                "output_tokens": 100, "output_tokens_details": {"reasoning_tokens": 60}, "total_tokens": 1100}}))}),
    );
    let vendor = Vendor::start(vec![stream(act("openai_responses", "", &[run])), last]).await;
    let argv = "\"exec\", \"--json\", \"--ephemeral\", \"--skip-git-repo-check\", \"--dangerously-bypass-approvals-and-sandbox\"";
    let agents = format!(
        "[agents.codex]\nargv = [\"{}\", {argv}, \"-c\", 'openai_base_url=\"{}/v1\"', \"-\"]\n",
        program.display(),
        vendor.base
    );
    let with = json!({"cli": "codex", "model": "gpt-5.1", "prompt": "write hello.txt", "wall": "60s"});
    let (output, step, spent) = work(agents, with, true).await;
    assert_eq!(output["n"], 3);
    assert_eq!(step.text(&output["agent"], "hello.txt"), "hi\n");
    assert!(vendor.seen()[0]["text"].to_string().contains("json_schema"), "the schema is enforced");
    // 1,200 at 1.25 $, 800 cached at 0.125 $, 200 written at 10 $ a million
    let expected = [
        ("calls", 1.0),
        ("tokens_in", 2000.0),
        ("tokens_out", 200.0),
        ("tokens_cached", 800.0),
        ("usd", 0.0036),
    ];
    assert_eq!(
        spent,
        expected.iter().fold(atoll::meter::Meter::new(), |meter, (unit, sum)| meter.with(unit, *sum))
    );
}

#[tokio::test]
async fn gemini_cli_works_and_is_paid() {
    let Some(program) = installed("gemini", "gemini_cli_works_and_is_paid").await else { return };
    let write = ("", "write_file", "{\"file_path\": \"hello.txt\", \"content\": \"hi\\n\"}");
    let vendor =
        Vendor::start(vec![stream(act("gemini", "", &[write])), wire::gemini("All done.", "STOP")]).await;
    let agents = format!(
        "[agents.gemini]\nargv = [\"{}\", \"--output-format\", \"stream-json\", \"--yolo\", \"--skip-trust\"]\nenv = {{ GOOGLE_GEMINI_BASE_URL = \"{}\" }}\n",
        program.display(),
        vendor.base
    );
    let with =
        json!({"cli": "gemini", "model": "gemini-2.5-flash", "prompt": "write hello.txt", "wall": "60s"});
    let (output, step, spent) = work(agents, with, false).await;
    assert_eq!((&output["text"], &output["ended_by"]), (&json!("All done."), &json!("done")));
    assert_eq!(step.text(&output, "hello.txt"), "hi\n");
    assert!(spent.get("usd") > 0.0 && spent.get("tokens_in") >= 2_000.0, "{spent:?}");
}
