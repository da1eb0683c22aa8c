//! Runs of the real binary with batches: killed at the worst moments, stopped, replayed. The test server
//! ends batches on command and counts them.

use std::io::{BufReader, Read};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::{Project, Ran};
use crate::fifo::Group;
use crate::llm::bureau::{Bureau, Lot, Making, terms};
use crate::llm::server::KEY;

const ITEMS: usize = 5;

/// A pipeline with many concurrent requests to `model`, and another step.
fn many(model: &str, mode: &str) -> String {
    format!(
        r#"
atoll = 1
name = "many"
summary = "asks many things at once"

[steps.all.each]
over = "range({ITEMS})"
result = "steps.one.output.text"

[steps.all.steps.one.llm]
model = "{model}"
prompt = "item {{{{ item }}}}"
mode = "{mode}"

[steps.beside]
idempotent = true
shell = {{ argv = ["echo", "done"] }}

[outputs]
texts = "steps.all.output"
beside = "steps.beside.output.stdout | trim"
"#
    )
}

const MODELS: [&str; 3] = ["gpt-4.1-mini", "claude-haiku-4-5", "gemini-2.5-flash"];

fn project(base: &str, model: &str) -> Project {
    let mut project =
        Project::new().file("pipelines/many.toml", &many(model, "batch")).file("atoll.toml", &terms(ITEMS));
    for name in ["OPENAI", "ANTHROPIC", "GOOGLE_GEMINI"] {
        project = project.env(&format!("{name}_BASE_URL"), base);
    }
    for name in ["OPENAI", "ANTHROPIC", "GEMINI"] {
        project = project.env(&format!("{name}_API_KEY"), KEY);
    }
    project
}

fn texts() -> Value {
    (0..ITEMS).map(|item| format!("to: item {item}")).collect()
}

/// Starts the binary in a separate process group, without reading its output.
fn start(project: &Project, arguments: &[&str]) -> Group {
    let mut command = project.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Group::start(command)
}

/// Runs the binary while the server continues to answer.
async fn run(project: Project, arguments: &[&str]) -> (Project, Ran) {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let running = move || {
        let ran = project.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        (project, ran)
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

async fn kill(group: Group) {
    group.signal(Signal::SIGKILL);
    tokio::task::spawn_blocking(move || group.wait_for_all()).await.unwrap();
}

/// Resumes to the end. All answers must be there, paid once and at half the price, with one batch.
async fn goes_on(project: Project, bureau: &Bureau, usd: f64) -> Project {
    let (project, ran) = run(project, &["resume", "last", "--format", "json"]).await;
    let shown = ran.exits(0).json();
    assert_eq!(shown["outputs"], json!({"texts": texts(), "beside": "done"}));
    let spent = shown["spent"]["usd"].as_f64().unwrap();
    assert!((spent - usd).abs() < 1e-9, "{spent}");
    assert_eq!(shown["spent"]["calls"], ITEMS);
    assert_eq!(bureau.counts().made, 1);
    project
}

/// Cost of the five answers in a batch.
fn price(model: &str) -> f64 {
    match model {
        "gpt-4.1-mini" => 5.0 * 0.000_22,
        "claude-haiku-4-5" => 5.0 * 0.000_46,
        _ => 5.0 * 0.000_221,
    }
}

#[tokio::test]
async fn a_kill_before_the_batch_is_noted_makes_no_second_one() {
    for model in MODELS {
        let bureau = Bureau::start().await.making([Making::Mute]);
        let project = project(&bureau.base, model);
        let group = start(&project, &["run", "many", "--quiet"]);
        bureau.until(|counts| counts.made == 1).await;
        kill(group).await;
        goes_on(project, &bureau, price(model)).await;
        let listed = bureau.calls().iter().any(|call| call.starts_with("GET") && call.ends_with("/batches"));
        assert!(listed, "{:?}", bureau.calls());
    }
}

#[tokio::test]
async fn a_kill_while_the_batch_goes_on_leads_back_to_it() {
    for model in MODELS {
        let bureau = Bureau::start().await.hold();
        let project = project(&bureau.base, model);
        for round in 0..3 {
            let arguments: &[&str] =
                if round == 0 { &["run", "many", "--quiet"] } else { &["resume", "last", "--quiet"] };
            let group = start(&project, arguments);
            let before = bureau.counts().looks;
            bureau.until(|counts| counts.looks > before).await;
            kill(group).await;
        }
        bureau.let_go();
        let project = goes_on(project, &bureau, price(model)).await;
        let (_, log) = run(project, &["log", "last"]).await;
        let id = &bureau.batches()[0].id;
        log.exits(0).stdout_has("cursor_saved").stdout_has(id);
    }
}

#[tokio::test]
async fn a_kill_while_results_come_in_loses_nothing_and_counts_nothing_twice() {
    for model in MODELS {
        let bureau = Bureau::start().await;
        let project = project(&bureau.base, model);
        let group = start(&project, &["run", "many", "--quiet"]);
        bureau.until(|counts| counts.fetched > 0 || (model.starts_with("gemini") && counts.looks > 0)).await;
        kill(group).await;
        goes_on(project, &bureau, price(model)).await;
    }
}

#[tokio::test]
async fn ctrl_c_leaves_the_batch_alone_and_other_steps_do_not_wait_for_it() {
    let bureau = Bureau::start().await.hold();
    let project = project(&bureau.base, "gpt-4.1-mini");
    let mut group = Group::start(project.command(&["run", "many", "--events", "-"]));
    let mut events = BufReader::new(group.child.stdout.take().unwrap());
    let beside = tokio::task::spawn_blocking(move || {
        let lines =
            Group::read_until(&mut events, "\"address\":\"beside\",\"attempt\":1,\"fact\":\"succeeded\"");
        (events, lines)
    });
    let (mut events, _) = beside.await.unwrap();
    bureau.until(|counts| counts.looks > 1).await;
    group.signal(Signal::SIGINT);
    let ended = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        events.read_to_string(&mut rest).unwrap();
        (group.wait(), rest)
    });
    let (status, rest) = ended.await.unwrap();
    assert_eq!(status.code(), Some(8), "one signal is enough");
    assert_eq!(
        rest.matches("batch_1 continues at the provider: `atoll resume` fetches its answers").count(),
        1,
        "{rest}"
    );
    bureau.let_go();
    goes_on(project, &bureau, price("gpt-4.1-mini")).await;
}

#[tokio::test]
async fn a_recorded_batch_is_replayed_without_any_server() {
    let bureau = Bureau::start().await;
    let project = project(&bureau.base, "claude-haiku-4-5");
    let (project, ran) = run(project, &["run", "many", "--record", "tape.jsonl", "--format", "json"]).await;
    assert_eq!(ran.exits(0).json()["outputs"]["texts"], texts());
    let calls = bureau.counts().calls;
    let project = project.env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    for mode in ["batch", "realtime"] {
        project.write("pipelines/many.toml", &many("claude-haiku-4-5", mode));
        let shown =
            project.run(&["run", "many", "--replay", "tape.jsonl", "--format", "json"]).exits(0).json();
        assert_eq!(shown["outputs"]["texts"], texts());
        let dear = if mode == "batch" { 1.0 } else { 2.0 };
        let spent = shown["spent"]["usd"].as_f64().unwrap();
        assert!((spent - dear * price("claude-haiku-4-5")).abs() < 1e-9, "{mode}: {spent}");
    }
    assert_eq!((bureau.counts().calls, bureau.counts().made), (calls, 1));
}

#[tokio::test]
async fn an_answer_that_a_check_rejects_is_asked_for_anew() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let bureau = Bureau::ruled(move |_| {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        Lot::Answer(if first { "bad" } else { "good" }.to_owned(), "stop")
    });
    let bureau = bureau.await;
    let text = r#"
atoll = 1
name = "once"
summary = "asks once more"
steps.one = { check = ["output.text == 'good'"], retry = { on = ["rejected"], backoff = "1ms..2ms" }, llm = { model = "gpt-4.1-mini", prompt = "hi", mode = "batch" } }
outputs.text = "steps.one.output.text"
"#;
    let project = project(&bureau.base, "gpt-4.1-mini").file("pipelines/once.toml", text);
    project.write("atoll.toml", &terms(1));
    let (_, ran) = run(project, &["run", "once", "--format", "json"]).await;
    let shown = ran.exits(0).json();
    assert_eq!((&shown["outputs"]["text"], &shown["spent"]["calls"]), (&json!("good"), &json!(2)));
    assert_eq!(bureau.counts().made, 2);
}

#[tokio::test]
async fn the_example_of_the_page_on_models_runs() {
    let page = include_str!("../../docs/models.md");
    let example = page.split("```toml\natoll = 1").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let bureau = Bureau::ruled(|text| Lot::Answer(json!({ "topic": text }).to_string(), "stop")).await;
    let project = project(&bureau.base, "gpt-5-mini");
    project.write("pipelines/topics.toml", &format!("atoll = 1{example}"));
    project.write("atoll.toml", &terms(2));
    let (_, ran) =
        run(project, &["run", "topics", "--texts", "[\"tea\", \"rain\"]", "--format", "json"]).await;
    let topics = ran.exits(0).json()["outputs"]["topics"].clone();
    assert_eq!(topics, json!([{"topic": "What is this about? tea"}, {"topic": "What is this about? rain"}]));
    assert_eq!(bureau.counts().made, 1);
}

#[tokio::test]
async fn more_than_the_usual_number_of_items_is_one_batch() {
    const MANY: usize = 300;
    let bureau = Bureau::start().await;
    let text = many("gpt-4.1-mini", "batch").replace("range(5)", &format!("range({MANY})"));
    let project = project(&bureau.base, "gpt-4.1-mini").file("pipelines/many.toml", &text);
    project.write("atoll.toml", &terms(MANY));
    let (_, ran) = run(project, &["run", "many", "--format", "json"]).await;
    let shown = ran.exits(0).json();
    assert_eq!(shown["outputs"]["texts"].as_array().unwrap().len(), MANY);
    let batches = bureau.batches();
    assert_eq!((batches.len(), batches[0].entries.len()), (1, MANY));
}
