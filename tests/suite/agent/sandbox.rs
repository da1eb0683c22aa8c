//! Commands of an agent, in a real sandbox.

use std::sync::Arc;

use atoll::llm::CassetteMode;
use atoll::runtime::service::RuntimeKind;
use atoll::system_clock::SystemClock;
use serde_json::{Value, json};

use super::Step;
use super::loops::script;
use crate::binary::Project;
use crate::fifo::processes_with;
use crate::llm::server::{Act, Server, openai};
use crate::services::house;

fn run(line: &str) -> (&'static str, Value) {
    ("run", json!({ "command": line }))
}

/// The results of these tool calls, and the step with its output.
async fn brought(calls: Vec<(&str, Value)>, more: Value) -> (Vec<String>, Step, Value) {
    let count = calls.len();
    let server = Server::start(script(calls).into_iter().chain([Act::Stream(openai("done", "stop"))])).await;
    let step = Step::at(Arc::new(SystemClock));
    let mut with = json!({"model": "gpt-4.1-mini", "prompt": "work", "tree": step.tree(&[("a.txt", "one\n"), ("bin/run.sh", "#!/bin/sh\necho ran\n")])});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    let body = server.body(count);
    let messages = body["messages"].as_array().unwrap().clone();
    let told = messages.iter().filter(|message| message["role"] == "tool");
    let told = told.map(|message| message["content"].as_str().unwrap().to_owned()).collect();
    step.leaves_nothing();
    (told, step, output.value)
}

#[tokio::test]
async fn commands_work_on_the_files_and_reach_nothing_else() {
    if house(RuntimeKind::Process, "commands_work_on_the_files_and_reach_nothing_else").await.is_none() {
        return;
    }
    let calls = vec![
        run("pwd; cat a.txt; ./bin/run.sh"),
        ("write", json!({"path": "deep/b.txt", "content": "two\n"})),
        // A command can change files of a tool, and the reverse.
        run("echo more >> deep/b.txt && echo made > deep/c.txt && rm a.txt"),
        ("edit", json!({"path": "deep/c.txt", "find": "made", "replace": "mended"})),
        run("cat /etc/shadow; ls /root /home; ls /; env"),
        run("python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 3)'"),
        run("echo x > /usr/x; echo x > /etc/passwd.new; exit 3"),
        run("ln -s /etc/hostname out; ln -s ../../.. up; mkfifo pipe"),
        ("read", json!({"path": "out"})),
        ("write", json!({"path": "up/escaped", "content": "x"})),
        ("read", json!({"path": "pipe"})),
    ];
    let (told, step, output) = brought(calls, json!({})).await;
    assert_eq!(told[0], "standard output:\n/atoll/work\none\nran\nexit code 0");
    assert_eq!(told[2], "exit code 0");
    assert_eq!(told[3], "changed deep/c.txt");
    assert!(!told[4].contains("root:$") && !told[4].contains("ATOLL_EXEC=\n"), "{}", told[4]);
    assert!(told[4].contains("No such file") || told[4].contains("Permission denied"), "{}", told[4]);
    assert!(told[5].contains("Network is unreachable") && told[5].ends_with("exit code 1"), "{}", told[5]);
    assert!(told[6].contains("Read-only file system") && told[6].ends_with("exit code 3"), "{}", told[6]);
    assert!(told[8].contains("it leads out of the directory"), "{}", told[8]);
    assert!(told[9].starts_with("up/escaped: "), "{}", told[9]);
    assert!(told[10].contains("it is not a regular file"), "{}", told[10]);
    let changes: Vec<_> = output["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["path"].as_str().unwrap(), c["op"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, [("a.txt", "deleted"), ("deep/b.txt", "added"), ("deep/c.txt", "added")]);
    assert_eq!(output["left_out"], json!(["out", "pipe", "up"]));
    assert_eq!(step.text(&output, "deep/b.txt") + &step.text(&output, "deep/c.txt"), "two\nmore\nmended\n");
}

#[tokio::test]
async fn commands_have_an_end_and_their_output_bounds() {
    if house(RuntimeKind::Process, "commands_have_an_end_and_their_output_bounds").await.is_none() {
        return;
    }
    let calls = vec![
        run("echo begun; setsid sleep 86421 & sleep 86422"),
        ("run", json!({"command": "sleep 86423", "timeout": 0.2})),
        run("yes long | head -c 3000000; echo the end"),
        ("run", json!({"command": "true", "timeout": -1})),
    ];
    let (told, ..) = brought(calls, json!({"command_timeout": "300ms"})).await;
    assert_eq!(told[0], "standard output:\nbegun\nended after 0.3 s: it took too long");
    assert_eq!(told[1], "ended after 0.2 s: it took too long");
    assert!(
        told[2].len() < 20_000
            && told[2].contains("bytes left out")
            && told[2].contains("the end\nexit code 0")
    );
    assert_eq!(told[3], "`timeout` is no number of seconds");
    for late in ["sleep 86421", "sleep 86422", "sleep 86423"] {
        assert_eq!(processes_with(late), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_ignored_is_not_brought_back() {
    if house(RuntimeKind::Process, "what_is_ignored_is_not_brought_back").await.is_none() {
        return;
    }
    let calls =
        vec![run("mkdir -p target/deep node_modules/x && touch target/deep/a node_modules/x/b c.o d.c")];
    let more = json!({"ignore": ["target", "node_modules/**", "*.o"]});
    let (_, _, output) = brought(calls, more).await;
    assert_eq!(output["changes"], json!([{"path": "d.c", "op": "added"}]));
}

const PIPELINE: &str = r#"
atoll = 1
name = "work"
summary = "has an agent work"

[steps.work.agent]
model  = "gpt-4.1-mini"
prompt = "work"

[outputs]
text = "steps.work.output.text"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_commands_are_refused_unless_they_are_allowed() {
    let acts =
        script([run("pwd > where; echo $HOME")]).into_iter().chain([Act::Stream(openai("done", "stop"))]);
    let server = Server::start(acts).await;
    let base = server.base.clone();
    let binary = move || {
        let project = Project::new()
            .file("pipelines/work.toml", PIPELINE)
            .env("OPENAI_API_KEY", "sk-test-0123456789")
            .env("OPENAI_BASE_URL", &base)
            .env("PATH", "/nowhere");
        project
            .run(&["run", "work"])
            .exits(1)
            .stderr_has("bubblewrap (`bwrap`) is not installed")
            .stderr_has("--allow-host");
        project.run(&["run", "work", "--allow-host", "--format", "json"]).exits(0).json()
    };
    let ran = tokio::task::spawn_blocking(binary).await.unwrap();
    assert_eq!(ran["outputs"]["text"], "done");
    assert!(server.body(1).to_string().contains("exit code 0"), "{}", server.body(1));
}
