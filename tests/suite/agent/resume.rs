//! An interrupted agent continues: no recorded answer is requested again.

use std::io::BufReader;
use std::process::Stdio;

use atoll::llm::CassetteMode;
use atoll::runtime::service::RuntimeKind;
use atoll::verb::Class;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::loops::{script, with};
use super::{Step, number};
use crate::binary::Project;
use crate::fifo::{Group, processes_with, was_killed};
use crate::llm::server::{Act, Server, openai};
use crate::services::house;

fn write(path: &str) -> Vec<Act> {
    script([("write", json!({"path": path, "content": path}))])
}

fn down() -> Act {
    Act::Plain(503, vec![], String::new())
}

#[tokio::test]
async fn an_attempt_goes_on_where_the_last_one_was() {
    let acts =
        [write("a"), write("b"), vec![down()], write("c"), script([("finish", json!({"n": 3}))])].concat();
    let server = Server::start(acts).await;
    let models = server.models(&CassetteMode::Off);
    let mut step = Step::new().wants(number());
    let input = with("work", json!({"turns": 4}));
    let failure = step.run(&models, input.clone()).await.unwrap_err();
    assert_eq!((failure.class, failure.spent.get("calls").to_bits()), (Class::Transient, 2.0_f64.to_bits()));
    let saved = step.saved();
    assert_eq!((saved.len(), &saved[1]["attempt"], &saved[1]["spent"]["calls"]), (2, &json!(1), &json!(2)));

    step.cx.cursor = saved.last().cloned();
    step.cx.attempt = 2;
    let output = step.run(&models, input.clone()).await.unwrap();
    let report = &output.value["agent"];
    assert_eq!((server.seen().len(), &report["turns"]), (5, &json!(4)));
    assert_eq!(output.spent.get("calls").to_bits(), 2.0_f64.to_bits(), "the first attempt has its own cost");
    assert_eq!(report["spent"]["calls"], json!(4));
    let paths: Vec<_> = report["changes"].as_array().unwrap().iter().map(|c| c["path"].clone()).collect();
    assert_eq!(paths, ["a", "b", "c"]);
    // The second attempt sends exactly what the first one was about to send.
    assert_eq!(server.body(2)["messages"], server.body(3)["messages"]);
    assert_eq!(step.saved().last().unwrap()["before"]["calls"], json!(2));

    // Another input starts again, and so does one whose conversation is lost.
    for (prompt, cursor) in
        [("something else", saved[1].clone()), ("work", json!({"key": "?"})), ("work", Value::Null)]
    {
        let server = Server::start(script([("finish", json!({"n": 1}))])).await;
        step.cx.cursor = Some(cursor);
        let output =
            step.run(&server.models(&CassetteMode::Off), with(prompt, json!({"turns": 4}))).await.unwrap();
        assert_eq!(output.value["agent"]["turns"], json!(1));
    }
}

const PIPELINE: &str = r#"
atoll = 1
name = "work"
summary = "has an agent work"

[steps.work.agent]
model  = "gpt-4.1-mini"
prompt = "work"
tools  = ["write"]

[outputs]
turns = "steps.work.output.turns"
files = "steps.work.output.files | map(attribute='path') | list"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_repeats_no_more_than_the_call_in_flight() {
    const KILLS: usize = 3;
    // Answers, and calls that are in flight when the process is killed.
    let acts = [write("a"), vec![Act::Mute], write("b"), write("c"), vec![Act::Mute, Act::Mute], write("d")]
        .concat();
    let server = Server::start(acts.into_iter().chain([Act::Stream(openai("done", "stop"))])).await;
    let project = Project::new()
        .file("pipelines/work.toml", PIPELINE)
        .env("OPENAI_API_KEY", "sk-test-0123456789")
        .env("OPENAI_BASE_URL", &server.base);
    for (kill, calls) in [2, 5, 6].into_iter().enumerate() {
        let words: &[&str] =
            if kill == 0 { &["run", "work", "--quiet"] } else { &["resume", "last", "--quiet"] };
        let mut command = project.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut group = Group::start(command);
        while server.seen().len() < calls {
            assert!(group.child.try_wait().unwrap().is_none(), "it ended before call {calls}");
            tokio::task::yield_now().await;
        }
        group.signal(Signal::SIGKILL);
        assert!(was_killed(group.wait()));
        group.wait_for_all();
    }
    let ran = tokio::task::spawn_blocking(move || {
        let ran = project.run(&["resume", "last", "--format", "json"]).exits(0).json();
        let left = project.path(".atoll/process/live");
        let left: Vec<_> =
            std::fs::read_dir(left).into_iter().flatten().flatten().map(|e| e.path()).collect();
        (ran, left)
    });
    let (ran, left) = ran.await.unwrap();
    assert_eq!(ran["outputs"], json!({"turns": 5, "files": ["a", "b", "c", "d"]}));
    assert_eq!(server.seen().len(), 5 + KILLS, "each kill repeats the call that was in flight, and no other");
    // Every answer is booked once, and a call that was in flight at a kill counts with the cost of the
    // repeated call.
    let spent = &ran["spent"];
    assert_eq!(
        (&spent["calls"], &spent["lost"], &spent["estimated"]),
        (&json!(5 + KILLS), &Value::Null, &json!(KILLS)),
        "{spent}"
    );
    assert_eq!(spent["tokens_in"], json!(1000 * (5 + KILLS)));
    assert!(left.is_empty(), "{left:?}");
}

/// A program that reports the cost of one answer and then waits forever; after a restart it finishes at once.
const SLEEPER: &str = r#"#!/bin/sh
if [ -e "$0.again" ]; then
    echo '{"type":"result","is_error":false,"result":"done","num_turns":1,"total_cost_usd":0.25,"usage":{"input_tokens":500,"output_tokens":50}}'
    exit
fi
: > "$0.again"
echo '{"type":"assistant","message":{"id":"m1","usage":{"input_tokens":1000,"output_tokens":100}}}'
setsid sleep SPAN &
sleep SPAN
"#;

const EMPLOYER: &str = r#"
atoll = 1
name = "employ"
summary = "has a program work"

[steps.work.agent]
cli     = "claude"
model   = "claude-haiku-4-5"
prompt  = "work"
sandbox = SANDBOX

[outputs]
text = "steps.work.output.text"
"#;

/// A project with a program that waits forever, a number that identifies its processes, and its directory.
fn employer(sandbox: bool) -> (Project, String, tempfile::TempDir) {
    use std::os::unix::fs::PermissionsExt;
    let span = format!("{}.{}", 91_000 + u32::from(sandbox), std::process::id());
    let place = tempfile::Builder::new().prefix("agent-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = place.path().join("claude");
    std::fs::write(&script, SLEEPER.replace("SPAN", &span)).unwrap();
    for path in [place.path(), &script] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let project = Project::new()
        .file("pipelines/employ.toml", &EMPLOYER.replace("SANDBOX", &sandbox.to_string()))
        .file(
            "home/.config/atoll/models.toml",
            &format!("[agents.claude]\nargv = ['{}']\nsecrets = []\n", script.display()),
        );
    (project, span, place)
}

/// Runs it until its children exist, and kills it.
fn kill_at_work(project: &Project, span: &str) {
    let mut command = project.command(&["run", "employ", "--quiet", "--allow-host", "--events", "-"]);
    command.stderr(Stdio::null());
    let mut group = Group::start(command);
    let mut events = BufReader::new(group.child.stdout.take().unwrap());
    Group::read_until(&mut events, "cursor_saved");
    while processes_with(&format!("sleep {span}")).len() < 2 {
        assert!(group.child.try_wait().unwrap().is_none(), "it ended before its children existed");
        std::thread::yield_now();
    }
    // Only this process: its children are in other groups.
    nix::sys::signal::kill(group.pid(), Signal::SIGKILL).unwrap();
    assert!(was_killed(group.wait()));
    group.wait_for_all();
    // The system ends them with the first process of the sandbox, a moment after the kill; leftover
    // processes would make this time out.
    while !processes_with(&format!("sleep {span}")).is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_run_leaves_nothing_of_its_program_and_knows_what_it_cost() {
    let (project, span, _place) = employer(false);
    kill_at_work(&project, &span);
    let ran = project.run(&["resume", "last", "--allow-host", "--format", "json"]).exits(0).json();
    assert_eq!((&ran["outputs"]["text"], &ran["spent"]["calls"]), (&json!("done"), &json!(2)), "{ran}");
    // 1,000 read at 1 $ and 100 written at 5 $ a million, and what the second one said.
    assert_eq!((&ran["spent"]["tokens_in"], &ran["spent"]["usd"]), (&json!(1500), &json!(0.2515)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_leaves_nothing_in_its_sandbox() {
    if house(RuntimeKind::Process, "a_killed_run_leaves_nothing_in_its_sandbox").await.is_none() {
        return;
    }
    let (project, span, _place) = employer(true);
    // A directory that is writable in the sandbox.
    let place = project.read("home/.config/atoll/models.toml");
    let script = place.split('\'').nth(1).unwrap();
    let text = std::fs::read_to_string(script).unwrap().replace("$0.again", "/tmp/again");
    std::fs::write(script, text).unwrap();
    tokio::task::spawn_blocking(move || kill_at_work(&project, &span)).await.unwrap();
}
