//! Ctrl-C, termination, and two processes on one run.

use std::io::{BufReader, Read};
use std::process::{ChildStdout, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::{Project, Ran};
use crate::fifo::{Fifo, Group, first_to_end, processes_with, was_killed, write_line};

/// One step that reports that it is running and waits to be released, and one after it.
const HELD: &str = r#"
atoll = 1
name = "held"
summary = "waits until somebody lets it go"

[inputs]
up = { type = "string", required = true }
go = { type = "string", required = true }

[steps.wait]
idempotent = true
shell = { argv = ["sh", "-c", 'echo up > "$1"; cat "$2"', "sh", "{{ inputs.up }}", "{{ inputs.go }}"] }

[steps.after]
set = { text = "{{ steps.wait.output.stdout | trim }}" }

[outputs]
text = "steps.after.output.text"
"#;

/// A run of [`HELD`] that can be started, stopped and released.
struct Held {
    project: Project,
    up: Fifo,
    go: String,
}

/// The running binary, with its event stream.
struct Working {
    group: Group,
    events: BufReader<ChildStdout>,
}

impl Held {
    fn new() -> Self {
        Self::of(HELD)
    }

    fn of(pipeline: &str) -> Self {
        let project = Project::new().file("pipelines/held.toml", pipeline);
        let up = Fifo::new(project.path("up"));
        let go = project.path("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        Self { project, up, go: go.display().to_string() }
    }

    fn run(&self) -> Working {
        let up = self.up.path().display().to_string();
        self.start(&["run", "held", "--up", &up, "--go", &self.go, "--events", "-"])
    }

    fn resume(&self) -> Working {
        self.start(&["resume", "last", "--events", "-"])
    }

    fn start(&self, arguments: &[&str]) -> Working {
        let mut group = Group::start(self.project.command(arguments));
        let events = BufReader::new(group.child.stdout.take().expect("its standard output"));
        Working { group, events }
    }

    /// Waits until the step is running.
    fn is_up(&mut self) {
        assert_eq!(self.up.line(), "up");
    }

    /// Lets the running step end with `text`.
    fn let_go(&self, text: &str) {
        write_line(self.go.as_ref(), text);
    }

    fn show(&self) -> Value {
        self.project.run(&["show", "last", "--format", "json"]).json()
    }
}

impl Working {
    /// Waits until an event has `text`.
    fn until(&mut self, text: &str) {
        Group::read_until(&mut self.events, text);
    }

    /// Waits for its end.
    fn end(self) -> Ran {
        let Self { group, mut events } = self;
        let mut rest = String::new();
        events.read_to_string(&mut rest).expect("the rest of its events");
        let mut stderr = String::new();
        let Group { mut child, .. } = group;
        child.stderr.take().expect("standard error").read_to_string(&mut stderr).expect("text");
        let status = child.wait().expect("a status");
        Ran::of(
            &["…"],
            &std::process::Output { status, stdout: rest.into_bytes(), stderr: stderr.into_bytes() },
        )
    }
}

fn states(shown: &Value) -> Vec<(&str, &str)> {
    let steps = shown["steps"].as_array().expect("steps").iter();
    steps.map(|step| (step["address"].as_str().unwrap(), step["state"].as_str().unwrap())).collect()
}

fn one_signal_lets_the_step_finish(signal: Signal) {
    let mut held = Held::new();
    let mut working = held.run();
    held.is_up();
    working.group.signal(signal);
    working.until("\"fact\":\"paused\"");
    held.let_go("first");
    working
        .end()
        .exits(8)
        .stdout_has("\"fact\":\"succeeded\"")
        .stderr_has("finishing running steps for up to 30.0 s; press Ctrl-C again to stop now")
        .stderr_has("cancelled")
        .stderr_has("continues it");
    let shown = held.show();
    assert_eq!((&shown["status"], &shown["code"]), (&json!("cancelled"), &json!(8)));
    assert_eq!(states(&shown), [("wait", "done")], "no new step is started");
    held.project.run(&["resume", "last"]).exits(0).stdout_is("text: first\n");
    assert_eq!(held.up.rest(), [""; 0], "a step that has its output is not run again");
}

#[test]
fn ctrl_c_takes_no_new_work_and_lets_the_step_finish() {
    one_signal_lets_the_step_finish(Signal::SIGINT);
}

#[test]
fn termination_is_like_ctrl_c() {
    one_signal_lets_the_step_finish(Signal::SIGTERM);
}

#[test]
fn the_end_of_the_terminal_is_like_ctrl_c() {
    one_signal_lets_the_step_finish(Signal::SIGHUP);
}

fn two_signals_kill_the_step(first: Signal, second: Signal) {
    let mut held = Held::new();
    let mut working = held.run();
    held.is_up();
    working.group.signal(first);
    working.until("\"fact\":\"paused\"");
    working.group.signal(second);
    working
        .end()
        .exits(8)
        .stdout_has("\"fact\":\"interrupted\"")
        .stderr_has("stopping now")
        .stderr_has("cancelled");
    assert_eq!(processes_with(&held.go), [""; 0], "the step is gone before the run ends");
    assert_eq!(held.show()["status"], "cancelled");
    let resumed = held.resume();
    held.is_up();
    held.let_go("second");
    resumed.end().exits(0);
    assert_eq!(held.show()["outputs"], json!({"text": "second"}));
    assert_eq!(held.up.rest(), [""; 0]);
}

#[test]
fn ctrl_c_twice_kills_the_step() {
    two_signals_kill_the_step(Signal::SIGINT, Signal::SIGINT);
}

#[test]
fn termination_twice_kills_the_step() {
    two_signals_kill_the_step(Signal::SIGTERM, Signal::SIGINT);
}

#[test]
fn a_second_process_is_told_who_has_the_run() {
    let mut held = Held::new();
    let first = held.run();
    held.is_up();
    let pid = first.group.pid();
    let refused = held.project.run(&["resume", "last"]).exits(9).stdout_is("");
    let holder = format!("held by process {pid} on ");
    let refused = refused.stderr_has(&holder).stderr_has("wait for it, or end that process");
    assert!(!refused.stderr.contains("panicked"));
    held.project.run(&["runs"]).exits(0).stdout_has("running");
    held.let_go("mine");
    first.end().exits(0);
    held.project.run(&["resume", "last"]).exits(0).stdout_is("text: mine\n");
    assert_eq!(held.up.rest(), [""; 0], "the refused process started nothing");
}

#[test]
fn of_two_resumes_at_once_exactly_one_goes_on_and_a_dead_one_is_replaced() {
    let mut held = Held::new();
    let first = held.run();
    held.is_up();
    first.group.signal(Signal::SIGKILL);
    first.group.wait_for_all();
    for round in 0..200 {
        let groups = [(); 2].map(|()| {
            let mut command = held.project.command(&["resume", "last", "--quiet"]);
            command.stdout(Stdio::null());
            Group::start(command)
        });
        let pids = [groups[0].pid(), groups[1].pid()];
        let (loser, ends, mut lost) = first_to_end(groups.into());
        let winner = pids[1 - loser];
        let mut stderr = String::new();
        lost.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(lost.wait().code(), Some(9), "round {round}: {stderr}");
        assert!(stderr.contains(&format!("held by process {winner} on ")), "round {round}: {stderr}");
        held.is_up();
        nix::sys::signal::killpg(winner, Signal::SIGKILL).expect("the winner is running");
        let (_, mut won) = ends.recv().expect("its end");
        assert!(was_killed(won.wait()), "round {round}");
        won.wait_for_all();
        lost.wait_for_all();
    }
    let last = held.resume();
    held.is_up();
    held.let_go("at last");
    last.end().exits(0);
    assert_eq!(held.up.rest(), [""; 0], "each time, one of two continued");
    assert_eq!(held.show()["outputs"], json!({"text": "at last"}));
}

#[test]
fn a_question_without_a_terminal_waits_for_its_answer() {
    let project = Project::new().file(
        "pipelines/asks.toml",
        r#"
atoll = 1
name = "asks"
summary = "asks two things"

[steps.before]
set = { n = 1 }

[steps.sure]
needs = ["before"]
ask = { question = "sure?", choices = ["yes", "no"], default = "no" }

[steps.name]
needs = ["sure"]
ask = { question = "which name?" }

[outputs]
sure = "steps.sure.output"
name = "steps.name.output"
"#,
    );
    // `sure` takes its default, `name` has none.
    let ran = project.run(&["run", "asks", "--format", "json"]).exits(7).json();
    assert_eq!((&ran["status"], &ran["code"]), (&json!("waiting"), &json!(7)));
    project.run(&["resume", "last"]).exits(7).stderr_has("`name` asks: which name?");
    project.run(&["answer", "last", "sure", "yes"]).exits(2).stderr_has("this question was answered at");
    project.run(&["answer", "last", "name", "Ada"]).exits(0).stdout_is("sure: no\nname: Ada\n");
    let log = project.run(&["log", "last"]).exits(0);
    assert_eq!(log.stdout.matches("answered").count(), 2, "{}", log.stdout);
}

/// A step that must not run twice, interrupted by a kill.
fn cut_off() -> Held {
    let mut held = Held::of(&HELD.replace("idempotent = true\n", ""));
    let working = held.run();
    held.is_up();
    working.group.signal(Signal::SIGKILL);
    working.group.wait_for_all();
    for _ in 0..2 {
        held.project
            .run(&["resume", "last"])
            .exits(7)
            .stderr_has("`wait` was interrupted and may already have had an effect. Run it again?")
            .stderr_has("wait VALUE` answers");
    }
    assert_eq!(held.show()["status"], "waiting");
    assert_eq!(held.up.rest(), [""; 0], "no step runs again without an answer");
    held
}

#[test]
fn a_step_that_may_have_taken_effect_is_run_again_when_somebody_says_so() {
    let mut held = cut_off();
    held.project.run(&["answer", "last", "wait", "perhaps"]).exits(2).stderr_has("retry, fail");
    let answered = held.start(&["answer", "last", "wait", "retry", "--events", "-"]);
    held.is_up();
    held.let_go("again");
    answered.end().exits(0);
    assert_eq!(held.show()["outputs"], json!({"text": "again"}));
}

#[test]
fn a_step_that_may_have_taken_effect_fails_when_somebody_says_so() {
    let mut held = cut_off();
    held.project.run(&["answer", "last", "wait", "fail"]).exits(1).stderr_has("must not run again");
    assert_eq!(held.up.rest(), [""; 0]);
}
