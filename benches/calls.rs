//! A thousand questions to a model, 64 at a time, each answer checked against a schema and on disk: the real binary
//! beside the least program that does the same, against a server on loopback. `cargo bench --bench calls` prints the
//! table of `docs/figures.md`.
#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement measures time, starts processes and prints"
)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

const CALLS: usize = 1000;
const IN_FLIGHT: usize = 64;
const RUNS: usize = 5;

fn main() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--serve", latency] => serve(Duration::from_millis(latency.parse().unwrap())),
        ["--floor", dir, base] => floor(Path::new(dir), base),
        ["--measure", dir, program, rest @ ..] => measure(dir, program, rest),
        _ => compare(),
    }
}

/// A child: the server. Says its port, then answers for ever.
fn serve(latency: Duration) {
    runtime().block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let answer = json!({
            "id": "c", "object": "chat.completion", "model": "clerk", "created": 1,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{\"score\": 7, \"why\": \"it is fine\"}"}}],
            "usage": {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52},
        })
        .to_string();
        let app = Router::new()
            .route(
                "/v1/chat/completions",
                post(move |_body: Bytes| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = answer.clone();
                    async move {
                        if !latency.is_zero() {
                            tokio::time::sleep(latency).await;
                        }
                        ([("content-type", "application/json")], answer).into_response()
                    }
                }),
            )
            .route("/count", get(move || async move { count.load(Ordering::Relaxed).to_string() }));
        axum::serve(listener, app).await.unwrap();
    });
}

fn schema() -> Value {
    json!({"type": "object", "required": ["score", "why"], "additionalProperties": false,
        "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 10}, "why": {"type": "string"}}})
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A child: the least that asks, checks and commits: one row a call, what comes in together in one transaction.
fn floor(dir: &Path, base: &str) {
    let mut db = rusqlite::Connection::open(dir.join("floor.db")).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("create table answer(n integer primary key, body text)").unwrap();
    let schema = jsonschema::validator_for(&schema()).unwrap();
    runtime().block_on(async {
        let client = reqwest::Client::new();
        let url = format!("{base}/chat/completions");
        let calls = futures_util::stream::iter(0..CALLS).map(|n| {
            let body =
                json!({"model": "clerk", "messages": [{"role": "user", "content": format!("thing {n}")}]});
            let asked = client.post(&url).json(&body).send();
            async move { (n, asked.await.unwrap().json::<Value>().await.unwrap()) }
        });
        let mut answers = calls.buffer_unordered(IN_FLIGHT).ready_chunks(IN_FLIGHT);
        while let Some(chunk) = answers.next().await {
            let tx = db.transaction().unwrap();
            for (n, answer) in chunk {
                let n = i64::try_from(n).unwrap();
                let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
                let value: Value = serde_json::from_str(text).unwrap();
                assert!(schema.is_valid(&value));
                tx.execute("insert into answer values(?, ?)", rusqlite::params![n, text]).unwrap();
            }
            tx.commit().unwrap();
        }
    });
}

/// A child: runs a program, and says its seconds, CPU seconds and peak MiB.
fn measure(dir: &str, program: &str, args: &[&str]) {
    let started = Instant::now();
    let out = Command::new(program).args(args).current_dir(dir).output().unwrap();
    let wall = started.elapsed();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let cpu = usage.user_time() + usage.system_time();
    println!(
        "{} {} {}",
        wall.as_secs_f64(),
        cpu.num_microseconds() as f64 / 1e6,
        usage.max_rss() as f64 / 1024.0
    );
}

#[derive(Clone, Copy)]
struct Measured {
    wall: f64,
    cpu: f64,
    peak: f64,
}

fn measured(dir: &Path, program: &Path, args: &[&str]) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--measure").arg(dir).arg(program).args(args);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let mut words = text.split_whitespace().map(|word| word.parse::<f64>().unwrap());
    let mut next = || words.next().unwrap();
    Measured { wall: next(), cpu: next(), peak: next() }
}

struct Stub {
    child: Child,
    base: String,
}

impl Stub {
    fn start(latency: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve", &latency.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, base: format!("http://127.0.0.1:{}/v1", port.trim()) }
    }

    fn count(&self) -> u64 {
        let url = self.base.replace("/v1", "/count");
        runtime().block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap().parse().unwrap() })
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn temp() -> tempfile::TempDir {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

/// One run of the binary in a new project; looks at what is stored, too.
fn atoll(base: &str) -> Measured {
    let dir = temp();
    let pipeline = format!(
        "atoll = 1\nname = \"ask\"\n[steps.ask.each]\nover = \"range({CALLS})\"\nparallel = {IN_FLIGHT}\n\
         [steps.ask.steps.say]\noutput = {{ type = \"object\", required = [\"score\", \"why\"], additionalProperties = false, \
         properties = {{ score = {{ type = \"integer\", minimum = 0, maximum = 10 }}, why = {{ type = \"string\" }} }} }}\n\
         llm = {{ model = \"stub/clerk\", prompt = \"thing {{{{ item }}}}\", max_tokens = 100 }}\n"
    );
    let project = format!(
        "[providers.stub]\nkind = \"openai\"\nbase_url = \"{base}\"\nprice = {{ input = 1, output = 1 }}\nfeatures = {{ json_schema = true }}\n\
         [lanes]\nllm = {IN_FLIGHT}\n"
    );
    std::fs::create_dir(dir.path().join("pipelines")).unwrap();
    std::fs::write(dir.path().join("pipelines/ask.toml"), pipeline).unwrap();
    std::fs::write(dir.path().join("atoll.toml"), project).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_atoll"));
    let measured = measured(dir.path(), program, &["run", "ask", "--quiet"]);
    let mut cost = Command::new(program);
    let out = cost.args(["cost", "last", "--format", "json"]).current_dir(dir.path()).output().unwrap();
    let cost: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(cost["spent"]["calls"], json!(CALLS), "every call is on record");
    measured
}

fn compare() {
    println!(
        "| {CALLS} calls, {IN_FLIGHT} in flight | wall | CPU | peak | times the floor |\n|---|---|---|---|---|"
    );
    for latency in [0, 100] {
        let stub = Stub::start(latency);
        let me = std::env::current_exe().unwrap();
        let mut floors = Vec::new();
        let mut ours = Vec::new();
        for _ in 0..RUNS {
            let dir = temp();
            let place = dir.path().to_str().unwrap();
            floors.push(measured(dir.path(), &me, &["--floor", place, &stub.base]));
            ours.push(atoll(&stub.base));
        }
        assert_eq!(stub.count(), 2 * (RUNS * CALLS) as u64, "every call was made once");
        let best = |all: &[Measured]| all.iter().copied().min_by(|a, b| a.wall.total_cmp(&b.wall)).unwrap();
        let (floor, ours) = (best(&floors), best(&ours));
        let row = |name: &str, m: Measured| {
            println!(
                "| {name}, {latency} ms | {:.3} s | {:.2} s | {:.0} MiB | {:.2} × |",
                m.wall,
                m.cpu,
                m.peak,
                m.wall / floor.wall
            );
        };
        row("bare program", floor);
        row("atoll", ours);
    }
}
