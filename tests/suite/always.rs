//! Steps with `always` run when everything else has ended, whatever happened, and change nothing.
#![expect(clippy::disallowed_methods, reason = "tests remove what a step wrote")]

use std::io::BufReader;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::Project;
use crate::fifo::{Fifo, Group, was_killed, write_line};

const ENDS: &str = r#"
atoll = 1

[inputs]
code = { type = "int", default = 0 }
tidy = { type = "string", default = "tidy.txt" }

[steps.tell]
always = true
write = { path = "told.txt", text = "{{ steps.tidy.ok }} {{ steps.tidy.failed }}" }

[steps.tidy]
always = true
when = "run.status != 'none'"
retry = { max = 0 }
write = { path = "{{ inputs.tidy }}", text = """{{ run.status }}
{{ steps.work.ok }} {{ steps.work.failed }} {{ steps.work.error.class if steps.work.failed else '' }}
{{ steps.after.ok }} {{ steps.after.skipped }}""" }

[steps.work]
shell = { argv = ["sh", "-c", "exit {{ inputs.code }}"] }

[steps.after]
needs = ["work"]
set = { x = 1 }

[outputs]
x = "steps.after.output.x"

[exits]
shipped = "inputs.code == 0"
"#;

fn ends() -> Project {
    Project::new().file("p.toml", ENDS)
}

#[test]
fn it_sees_how_the_run_ends_and_what_became_of_each_step() {
    let project = ends();
    project.run(&["run", "p.toml"]).exits(0).stdout_is("x: 1\n");
    assert_eq!(project.read("tidy.txt"), "shipped\ntrue false \ntrue false");
    assert_eq!(project.read("told.txt"), "true false", "a step that reads it runs after it");
    let failed = project.run(&["run", "p.toml", "--code", "3", "--format", "json"]).exits(1).json();
    assert_eq!(failed["status"], "failed");
    assert_eq!(project.read("tidy.txt"), "failed\nfalse true permanent\nfalse true");
}

#[test]
fn its_failure_is_reported_and_changes_nothing() {
    let project = ends();
    for quiet in [false, true] {
        let mut arguments = vec!["run", "p.toml", "--tidy", "../tidy.txt"];
        if quiet {
            arguments.push("-q");
        }
        let ran = project.run(&arguments).exits(0).stdout_is("x: 1\n");
        ran.stderr_has("shipped").stderr_has("`tidy` (`always`) failed: ");
        assert_eq!(project.read("told.txt"), "false true", "what reads it runs all the same");
    }
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!((&shown["status"], &shown["code"]), (&json!("shipped"), &json!(0)));
    let tidy = shown["steps"].as_array().unwrap().iter().find(|step| step["address"] == "tidy").unwrap();
    assert_eq!(tidy["state"], "failed");
    project.run(&["show", "last"]).exits(0).stdout_has("`tidy` (`always`) failed: ");
    let ran = project.run(&["run", "p.toml", "--code", "3", "--tidy", "../tidy.txt"]).exits(1);
    assert_eq!(ran.stderr.matches("`tidy` (`always`) failed: ").count(), 1, "{}", ran.stderr);
}

const ASKS: &str = r#"
atoll = 1

[steps.q]
ask = { question = "go on?", choices = ["yes", "no"] }

[steps.tidy]
always = true
write = { path = "tidy.txt", text = "{{ run.status }}" }

[outputs]
answer = "steps.q.output"
"#;

#[test]
fn a_pause_is_no_end() {
    let project = Project::new().file("p.toml", ASKS);
    project.run(&["run", "p.toml"]).exits(7);
    assert!(!project.path("tidy.txt").exists());
    project.run(&["answer", "last", "q", "yes"]).exits(0).stdout_is("answer: yes\n");
    assert_eq!(project.read("tidy.txt"), "succeeded");
}

#[test]
fn in_a_called_pipeline_it_runs_at_the_end_of_that_pipeline() {
    let inner = r#"
atoll = 1
[steps.work]
shell = { argv = ["sh", "-c", "exit 3"] }
[steps.tidy]
always = true
write = { path = "inner.txt", text = "{{ run.status }} {{ steps.work.failed }}" }
"#;
    let outer = r#"
atoll = 1
[steps.inner]
call = { pipeline = "inner" }
[steps.read]
tolerates = ["inner"]
shell = { argv = ["sh", "-c", "test {{ steps.inner.failed }} = true && cat inner.txt"] }
[steps.tidy]
always = true
write = { path = "outer.txt", text = "{{ run.status }} {{ steps.inner.failed }}" }
[outputs]
text = "steps.read.output.stdout"
"#;
    let project = Project::new().file("pipelines/outer.toml", outer).file("pipelines/inner.toml", inner);
    project.run(&["run", "outer"]).exits(0).stdout_is("text: failed true\n");
    assert_eq!(project.read("outer.txt"), "succeeded true");
}

#[test]
fn its_failure_in_a_called_pipeline_is_reported_too() {
    let inner = r#"
atoll = 1
[steps.work]
set = { x = 1 }
[steps.tell]
always = true
shell = { argv = ["sh", "-c", "exit 4"] }
"#;
    let outer = r#"
atoll = 1
[steps.one]
call = { pipeline = "inner" }
[steps.all.each]
over = "range(2)"
[steps.all.steps.item]
call = { pipeline = "inner" }
[steps.tidy]
always = true
shell = { argv = ["sh", "-c", "exit 5"] }
"#;
    let project = Project::new().file("pipelines/outer.toml", outer).file("pipelines/inner.toml", inner);
    let steps = ["all[0]/item/tell", "all[1]/item/tell", "one/tell", "tidy"];
    let ran = project.run(&["run", "outer", "-q"]).exits(0);
    for step in steps {
        let line = format!("`{step}` (`always`) failed: ");
        assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
    }
    for arguments in [["run", "outer"], ["show", "last"]] {
        let shown = project.run(&[arguments[0], arguments[1], "--format", "json"]).exits(0).json();
        let failed = shown["always_failed"].as_array().unwrap();
        let mut named: Vec<&str> = failed.iter().map(|late| late["step"].as_str().unwrap()).collect();
        named.sort_unstable();
        assert_eq!((named.as_slice(), &failed[0]["error"]["class"]), (&steps[..], &json!("permanent")));
        assert_eq!(shown["status"], "succeeded");
    }
}

#[test]
fn another_run_does_not_take_over_its_outcome() {
    let project = ends();
    project.run(&["run", "p.toml", "--code", "3"]).exits(1);
    std::fs::remove_file(project.path("told.txt")).unwrap();
    project.run(&["resume", "last", "--replan"]).exits(1);
    assert_eq!(project.read("told.txt"), "true false");
}

/// A step and a clean-up that say when they work, and wait to be let go.
const HELD: &str = r#"
atoll = 1

[inputs]
up = { type = "string", required = true }
go = { type = "string", required = true }

[steps.work]
idempotent = true
shell = { argv = ["sh", "-c", 'echo work > "$1"; cat "$2"', "sh", "{{ inputs.up }}", "{{ inputs.go }}"] }

[steps.tidy]
always = true

[steps.tidy.shell]
argv = ["sh", "-c", 'echo "tidy $3" > "$1"; cat "$2" >> out.txt', "sh", "{{ inputs.up }}", "{{ inputs.go }}",
    "{{ run.status }}"]
"#;

struct Held {
    project: Project,
    up: Fifo,
    go: String,
}

impl Held {
    fn new() -> Self {
        let project = Project::new().file("p.toml", HELD);
        let up = Fifo::new(project.path("up"));
        let go = project.path("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        Self { project, up, go: go.display().to_string() }
    }

    fn run(&self) -> Group {
        let up = self.up.path().display().to_string();
        let arguments = ["run", "p.toml", "--events", "-", "--up", &up, "--go", &self.go];
        Group::start(self.project.command(&arguments))
    }

    fn resume(&self) -> Group {
        Group::start(self.project.command(&["resume", "last", "-q"]))
    }

    fn is_up(&mut self, word: &str) {
        assert_eq!(self.up.line(), word);
    }

    fn let_go(&self, text: &str) {
        write_line(self.go.as_ref(), text);
    }

    fn shown(&self) -> Value {
        self.project.run(&["show", "last", "--format", "json"]).exits(0).json()
    }
}

#[test]
fn it_survives_a_kill() {
    let mut held = Held::new();
    let mut group = held.run();
    held.is_up("work");
    held.let_go("first");
    held.is_up("tidy succeeded");
    group.signal(Signal::SIGKILL);
    assert!(was_killed(group.wait()));
    assert_eq!(held.shown()["status"], "interrupted");
    let mut group = held.resume();
    held.is_up("tidy succeeded");
    held.let_go("second");
    assert_eq!(group.wait().code(), Some(0));
    assert!(held.project.read("out.txt").ends_with("second\n"));
    assert_eq!(held.shown()["status"], "succeeded");
}

#[test]
fn it_runs_after_ctrl_c_and_again_at_the_end() {
    let mut held = Held::new();
    let mut group = held.run();
    held.is_up("work");
    let mut events = BufReader::new(group.child.stdout.take().unwrap());
    group.signal(Signal::SIGINT);
    Group::read_until(&mut events, "\"fact\":\"paused\"");
    held.let_go("first");
    held.is_up("tidy cancelled");
    held.let_go("second");
    assert_eq!(group.wait().code(), Some(8));
    drop(events);
    let shown = held.shown();
    assert_eq!((&shown["status"], &shown["on_pause"][0]["step"]), (&json!("cancelled"), &json!("tidy")));
    let mut group = held.resume();
    held.is_up("tidy succeeded");
    held.let_go("third");
    assert_eq!(group.wait().code(), Some(0));
    assert_eq!(held.project.read("out.txt"), "second\nthird\n");
}
