//! External coding agents, here as scripts with the published output formats: finished, hanging, endless,
//! crashed, and with leftover children.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll::llm::{CassetteMode, Models};
use atoll::runtime::service::RuntimeKind;
use atoll::system_clock::SystemClock;
use atoll::verb::{Class, Failure, Output};
use serde_json::{Value, json};

use super::{Step, number};
use crate::fifo::processes_with;
use crate::llm::server::Server;
use crate::scenario::QuickClock;
use crate::services::house;

/// Beginning of every script: functions for the first line, an answer and the end.
const HEAD: &str = r#"#!/bin/sh
init() { echo '{"type":"system","subtype":"init","session_id":"s"}'; }
answer() { echo "{\"type\":\"assistant\",\"message\":{\"id\":\"m$1\",\"usage\":{\"input_tokens\":1000,\"output_tokens\":100}}}"; }
result() { echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"all done\",\"num_turns\":2,\"total_cost_usd\":0.25,\"structured_output\":$1,\"usage\":{\"input_tokens\":2000,\"output_tokens\":200}}"; }
"#;

/// A script of the tests that is visible in a sandbox.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn new(body: &str) -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), body)
    }

    fn below(place: &Path, body: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("agent-").tempdir_in(place).unwrap();
        // A sandbox has another user.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("claude");
        std::fs::write(&path, format!("{HEAD}{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn agents(&self) -> String {
        format!("[agents.claude]\nargv = ['{}/claude', '-p']\nsecrets = []\n", self.dir.path().display())
    }
}

async fn models() -> Models {
    Server::start([]).await.models(&CassetteMode::Off)
}

/// Runs a script on this machine without a sandbox.
async fn work(mut step: Step, body: &str, more: Value) -> (Result<Output<Value>, Failure>, Step) {
    let script = Script::new(body);
    step.agents = script.agents();
    step.allow_host = true;
    let mut with = json!({"cli": "claude", "prompt": "do it", "sandbox": false});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let ended = step.run(&models().await, with).await;
    step.leaves_nothing();
    (ended, step)
}

fn quick() -> Step {
    Step::at(Arc::new(QuickClock::default()))
}

fn real() -> Step {
    Step::at(Arc::new(SystemClock))
}

/// A number that no other process has on its command line.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}.{}", 80_000 + NEXT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

#[tokio::test]
async fn a_program_works_and_hands_in_its_result() {
    let body = "init; cat > got.txt; answer 1; echo \"$@\" > told.txt; env > env.txt; result '{\"n\":3}'";
    let step = quick().wants(number());
    let tree = step.tree(&[("a", "1")]);
    let more =
        json!({"tree": tree, "system": "be kind", "model": "sonnet", "turns": 9, "ignore": ["env.txt"]});
    let (ended, step) = work(step, body, more).await;
    let output = ended.unwrap();
    let report = &output.value["agent"];
    assert_eq!(
        (&output.value["n"], &report["ended_by"], &report["turns"]),
        (&json!(3), &json!("done"), &json!(2))
    );
    assert_eq!((&report["text"], &report["model"]), (&json!("all done"), &json!("claude")));
    assert_eq!(step.text(report, "got.txt"), "do it");
    assert!(step.text(report, "told.txt").contains(
        "-p --model sonnet --append-system-prompt be kind --max-turns 9 --max-budget-usd 5 --json-schema {"
    ));
    let spent = [("calls", 2.0), ("tokens_in", 2000.0), ("tokens_out", 200.0), ("usd", 0.25)];
    assert_eq!(
        output.spent.plain(),
        spent.iter().fold(atoll::meter::Meter::new(), |meter, (unit, sum)| meter.with(unit, *sum))
    );
    assert_eq!(step.transcript(&report["transcript"]).len(), 3);
}

#[tokio::test]
async fn a_program_gets_nothing_of_the_environment_but_what_it_is_given() {
    let (ended, step) =
        work(quick(), "init; env | cut -d= -f1 | sort | tr '\\n' ' ' > env.txt; result null", json!({}))
            .await;
    let names = step.text(&ended.unwrap().value, "env.txt");
    let known = [
        "ATOLL_EXEC",
        "CI",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    assert!(names.split_whitespace().all(|name| known.contains(&name)), "{names}");
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_its_children() {
    for (more, word) in [(json!({"idle": "700ms"}), "idle"), (json!({"wall": "2s"}), "wall")] {
        let (one, two) = (unique(), unique());
        let body = format!("init; answer 1; answer 1; answer 2; setsid sleep {one} & sleep {two}");
        let (ended, _) = work(Step::at(Arc::new(SystemClock)), &body, more).await;
        let failure = ended.unwrap_err();
        assert_eq!((failure.class, &failure.detail["ended_by"]), (Class::Timeout, &json!(word)), "{failure}");
        assert_eq!(
            (failure.spent.get("calls").to_bits(), failure.spent.get("tokens_in").to_bits()),
            (2.0_f64.to_bits(), 2000.0_f64.to_bits())
        );
        assert_eq!([processes_with(&one), processes_with(&two)], [[""; 0]; 2]);
    }
}

#[tokio::test]
async fn one_that_goes_on_for_ever_is_ended_by_what_it_tells() {
    let body = "init; n=0; while :; do n=$((n + 1)); answer $n; done";
    let (ended, _) = work(quick(), body, json!({"turns": 5})).await;
    let failure = ended.unwrap_err();
    assert_eq!((failure.class, &failure.detail["ended_by"]), (Class::Budget, &json!("turns")), "{failure}");
    let (ended, _) = work(quick(), body, json!({"tokens": 5_000})).await;
    assert_eq!(ended.unwrap_err().detail["ended_by"], "tokens");
    let (ended, _) = work(quick(), body, json!({"model": "claude-opus-4-6", "usd": 0.05})).await;
    assert_eq!(ended.unwrap_err().detail["ended_by"], "usd", "by the registry's price");
}

#[tokio::test]
async fn a_result_counts_whatever_the_program_does_afterwards() {
    let late = unique();
    for (clock, body, said) in [
        (
            quick(),
            format!("init; answer 1; result '{{\"n\":3}}'; setsid sleep {late} & sleep {late}"),
            "did not exit: stopping it",
        ),
        (real(), "init; answer 1; result '{\"n\":3}'; exit 7".to_owned(), "ended with exit code 7"),
        (quick(), format!("init; result '{{\"n\":3}}'; exec >&-; sleep {late}"), ""),
    ] {
        let (ended, step) = work(clock.wants(number()), &body, json!({})).await;
        let output = ended.unwrap();
        assert_eq!(
            (&output.value["n"], output.spent.get("usd").to_bits()),
            (&json!(3), 0.25_f64.to_bits()),
            "{body}"
        );
        assert!(step.said().contains(said), "{}", step.said());
        assert_eq!(processes_with(&late), [""; 0]);
    }
}

#[tokio::test]
async fn failures_get_their_class_and_are_paid() {
    let failing = |text: &str| {
        format!(
            "init; answer 1; echo '{{\"type\":\"result\",\"is_error\":true,\"result\":\"{text}\",\"total_cost_usd\":0.5,\"num_turns\":1}}'; exit 1"
        )
    };
    for (body, class, words) in [
        (failing("Invalid API key · Please run /login"), Class::Auth, "Invalid API key"),
        (failing("rate limit reached"), Class::RateLimited, "rate limit"),
        (failing("something broke"), Class::Transient, "something broke"),
        (
            "init; answer 1; echo 'it is a pity' >&2; exit 3".to_owned(),
            Class::Transient,
            "exit code 3 without reporting a result: it is a pity",
        ),
        ("echo 'unknown option -q' >&2; exit 2".to_owned(), Class::Permanent, "unknown option -q"),
        ("init; answer 1; kill -9 $$".to_owned(), Class::Transient, "exit code 137"),
        ("init; result '{\"n\":\"x\"}'".to_owned(), Class::Rejected, "does not fit"),
        ("init; result null".to_owned(), Class::Rejected, "its final message is not JSON"),
    ] {
        let (ended, _) = work(quick().wants(number()), &body, json!({"model": "claude-haiku-4-5"})).await;
        let failure = ended.unwrap_err();
        assert_eq!(failure.class, class, "{body}: {failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(failure.spent.is_empty(), class == Class::Permanent, "{body}: {:?}", failure.spent);
    }
    let limited = "init; answer 1; echo '{\"type\":\"result\",\"subtype\":\"error_max_turns\",\"is_error\":true,\"num_turns\":4,\"total_cost_usd\":0.1}'; exit 1";
    let (ended, _) = work(quick().wants(number()), limited, json!({})).await;
    assert_eq!(ended.unwrap_err().detail["ended_by"], "turns");
    let (ended, _) = work(quick(), &format!("echo 1 > made; {limited}"), json!({})).await;
    assert_eq!(
        ended.unwrap().value["ended_by"],
        "turns",
        "without a result to bring, the files are what is wanted"
    );
}

#[tokio::test]
async fn a_flood_is_borne_and_a_result_may_be_a_file() {
    let body = "init; head -c 40000000 /dev/zero | tr '\\0' x; echo; yes '{\"type\":\"x\"}' | head -n 200000; echo '{\"n\": 5}' > r.json; result null";
    let (ended, step) = work(quick().wants(number()), body, json!({"result": "r.json"})).await;
    let output = ended.unwrap();
    assert_eq!(output.value["n"], 5);
    let transcript = step.transcript(&output.value["agent"]["transcript"]).join("\n");
    assert!(transcript.len() < 10 << 20 && transcript.contains("bytes left out"));
}

#[tokio::test]
async fn a_program_that_leaves_the_old_file_has_no_result() {
    for (body, written) in
        [("init; result null", false), ("init; echo '{\"n\": 5}' > r.json; result null", true)]
    {
        let step = quick().wants(number());
        let tree = step.tree(&[("r.json", "{\"n\": 4}")]);
        let (ended, _) = work(step, body, json!({"result": "r.json", "tree": tree})).await;
        match ended {
            Ok(output) => assert!(written && output.value["n"] == 5, "{:?}", output.value),
            Err(failure) => {
                assert!(!written && failure.message.contains("was not written in this attempt"), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn a_stop_from_outside_ends_it() {
    let late = unique();
    let step = Step::at(Arc::new(SystemClock));
    let (cancel, watched, saved) = (step.cx.cancel.clone(), late.clone(), step.saved.clone());
    let stop = async move {
        while saved.lock().unwrap().is_empty() || processes_with(&watched).is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let body = format!("init; answer 1; sleep {late}");
    let ((ended, step), ()) = tokio::join!(work(step, &body, json!({})), stop);
    let failure = ended.unwrap_err();
    assert_eq!((failure.class, failure.spent.get("calls").to_bits()), (Class::Cancelled, 1.0_f64.to_bits()));
    let saved = step.saved();
    let spent = &saved[0]["spent"];
    assert_eq!(
        (&saved[0]["attempt"], &spent["calls"], &spent["tokens_in"], &spent["tokens_out"]),
        (&json!(1), &json!(1), &json!(1000), &json!(100)),
        "also after a crash"
    );
    assert_eq!(processes_with(&late), [""; 0]);
}

#[tokio::test]
async fn in_a_sandbox_it_sees_its_own_files_and_no_others() {
    const TEST: &str = "in_a_sandbox_it_sees_its_own_files_and_no_others";
    if house(RuntimeKind::Process, TEST).await.is_none() {
        return;
    }
    let below_tmp = tempfile::tempdir_in("/tmp").unwrap();
    for place in [Path::new(env!("CARGO_TARGET_TMPDIR")), below_tmp.path()] {
        let script = Script::below(
            place,
            "init; pwd > where; echo $HOME >> where; ls -a $HOME > home; cat /etc/shadow 2> no; ls /root > around 2>&1; echo more >> a; result null",
        );
        let mut step = quick();
        step.agents = script.agents() + "home = { '.conf/x.json' = '{}' }\n";
        let with = json!({"cli": "claude", "prompt": "do it", "tree": step.tree(&[("a", "1\n")])});
        let output = step.run(&models().await, with).await.unwrap().value;
        assert_eq!(step.text(&output, "where"), "/atoll/work\n/atoll/aside/home\n");
        assert!(step.text(&output, "home").contains(".conf"));
        assert!(!step.text(&output, "no").is_empty(), "secrets of the machine are not readable");
        assert!(step.text(&output, "around").contains("/root"), "{}", step.text(&output, "around"));
        assert_eq!(step.text(&output, "a"), "1\nmore\n");
        step.leaves_nothing();
    }
}

#[tokio::test]
async fn what_cannot_be_is_said_before_it_is_started() {
    let with = |more: Value| {
        let mut with = json!({"cli": "claude", "prompt": "do it", "sandbox": false});
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let mut step = quick();
    let server = Server::start([]).await;
    let models = server.models(&CassetteMode::Off);
    let failure = step.run(&models, with(json!({}))).await.unwrap_err();
    assert!(failure.message.contains("may not run without a sandbox"), "{failure}");
    step.allow_host = true;
    step.agents = "[agents.claude]\nargv = ['no-such-agent']\n[agents.codex]\nsecrets = ['NO_SUCH_KEY']\nargv = ['sh']\n".to_owned();
    let failure = step.run(&models, with(json!({}))).await.unwrap_err();
    assert!(failure.message.contains("`no-such-agent` is not on PATH"), "{failure}");
    let failure = step.run(&models, with(json!({"cli": "codex"}))).await.unwrap_err();
    assert!(failure.message.contains("the cost of the agent `codex` is unknown"), "{failure}");
    let failure = step
        .run(&models, with(json!({"cli": "codex", "model": "gpt-5.1", "sandbox": true})))
        .await
        .unwrap_err();
    assert_eq!(failure.class, Class::Auth, "{failure}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tape.jsonl"), "").unwrap();
    let replaying = server.models(&CassetteMode::Replay(dir.path().join("tape.jsonl")));
    let failure = step.run(&replaying, with(json!({}))).await.unwrap_err();
    assert!(failure.message.contains("is not recorded in the cassette"), "{failure}");
    step.leaves_nothing();
}
