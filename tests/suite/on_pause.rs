//! Steps with `on_pause` run whenever the run pauses, on what there is so far, and again at their time.

use std::io::{BufReader, Read as _};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::{Project, Ran};
use crate::fifo::{Fifo, Group, was_killed, write_line};

/// Four rounds of which those in `inputs.ask` ask; the best so far is delivered, then reported.
const ROUNDS: &str = r#"
atoll = 1

[inputs]
ask = { type = "list", required = true }

[steps.rounds.loop]
max = 4
result = "{ 'best': state.best, 'last': steps.work.output.n }"

[steps.rounds.loop.state]
best = "0"

[steps.rounds.loop.next]
best = "steps.work.output.n"

[steps.rounds.steps.q]
when = "loop.index in inputs.ask"
ask = { question = "go on?", choices = ["yes", "no"] }

[steps.rounds.steps.work]
tolerates = ["q"]
set = { n = "{{ loop.index * 10 }}", asked = "{{ steps.q.ok }}" }

[steps.report]
on_pause = true
write = { path = "report.txt", text = "{{ steps.deliver.output.path }} has {{ steps.rounds.output.best }}" }

[steps.deliver]
on_pause = true
when = "steps.rounds.output.best > 10"
write = { path = "out.txt", text = "{{ steps.rounds.output | tojson }}" }

[steps.late]
needs = ["deliver"]
set = { x = 1 }

[outputs]
best = "steps.rounds.output.best"
status = "steps.rounds.output.status"
late = "steps.late.output.x"
"#;

fn rounds() -> Project {
    Project::new().file("p.toml", ROUNDS)
}

/// The facts about steps that ran because of a pause.
fn ran(project: &Project) -> Vec<Value> {
    let log = project.run(&["log", "last", "--format", "json"]).exits(0).json_lines();
    log.into_iter().filter(|fact| fact.to_string().contains("\"paused_step\"")).collect()
}

#[test]
fn a_pause_for_a_question_delivers_what_there_is_so_far() {
    let project = rounds();
    let paused = project.run(&["run", "p.toml", "--ask", "[3]", "--format", "json"]).exits(7);
    let shown = paused.json();
    assert_eq!(shown["outputs"], json!({"best": 20, "status": "running"}), "what cannot be told is left out");
    assert_eq!(
        shown["on_pause"],
        json!([{"step": "deliver", "error": null}, {"step": "report", "error": null}]),
        "a step that reads another one runs after it"
    );
    let steps = shown["steps"].as_array().unwrap().iter();
    assert!(steps.clone().all(|step| step["address"] != "deliver"), "that is not the outcome of the step");
    let out: Value = serde_json::from_str(&project.read("out.txt")).unwrap();
    assert_eq!(out, json!({"best": 20, "last": 20, "status": "running", "rounds": 2}));
    assert_eq!(project.read("report.txt"), "out.txt has 20");
    paused.stderr_has("best so far: 20").stderr_has("status so far: running");
    project
        .run(&["show", "last"])
        .exits(0)
        .stdout_has("outputs so far:\nbest: 20\nstatus: running\n")
        .stdout_has("`deliver` ran because of the pause");
    project
        .run(&["answer", "last", "rounds#3/q", "yes"])
        .exits(0)
        .stdout_is("best: 40\nstatus: exhausted\nlate: 1\n");
    let out: Value = serde_json::from_str(&project.read("out.txt")).unwrap();
    assert_eq!(out, json!({"best": 40, "last": 40, "status": "exhausted", "rounds": 4}));
    assert_eq!(project.read("report.txt"), "out.txt has 40");
    assert_eq!(ran(&project).len(), 2);
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!(shown["on_pause"], Value::Null);
}

#[test]
fn each_pause_of_a_run_delivers_again() {
    let project = rounds();
    project.run(&["run", "p.toml", "--ask", "[3, 4]"]).exits(7);
    project.run(&["answer", "last", "rounds#3/q", "yes"]).exits(7).stderr_has("best so far: 30");
    assert_eq!(project.read("report.txt"), "out.txt has 30");
    project.run(&["resume", "last"]).exits(7);
    assert_eq!(ran(&project).len(), 6, "two steps in each of three pauses");
    project.run(&["answer", "last", "rounds#4/q", "yes"]).exits(0);
    assert_eq!(project.read("report.txt"), "out.txt has 40");
}

#[test]
fn without_a_closed_round_or_if_the_condition_fails_nothing_runs() {
    let project = rounds();
    let paused = project.run(&["run", "p.toml", "--ask", "[1]", "--format", "json"]).exits(7).json();
    assert_eq!((&paused["outputs"], &paused["on_pause"]), (&json!({}), &Value::Null));
    assert!(ran(&project).is_empty() && !project.path("out.txt").exists());
    let project = rounds();
    let paused = project.run(&["run", "p.toml", "--ask", "[2]", "--format", "json"]).exits(7).json();
    assert_eq!(paused["outputs"]["best"], 10);
    assert!(ran(&project).is_empty(), "the condition of `deliver` does not hold, and `report` reads it");
}

#[test]
fn a_failure_at_a_pause_is_reported_and_changes_nothing_else() {
    let text = ROUNDS.replace("path = \"out.txt\"", "path = \"{{ '../out.txt' }}\"");
    let project = Project::new().file("p.toml", &text);
    let paused = project.run(&["run", "p.toml", "--ask", "[3]", "-q"]).exits(7);
    paused.stderr_has("`deliver` failed at the pause: ").stderr_has("best so far: 20");
    let facts = ran(&project);
    assert_eq!(facts.len(), 1, "what reads it does not run: {facts:?}");
    assert!(facts[0].to_string().contains("\"failure\""));
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!((&shown["status"], &shown["code"]), (&json!("waiting"), &json!(7)));
    assert!(shown["on_pause"][0]["error"]["message"].is_string(), "{shown}");
}

/// Rounds that say when they work and wait to be let go, and a delivery that does so as well if it is `slow`.
const HELD: &str = r#"
atoll = 1

[inputs]
up = { type = "string", required = true }
go = { type = "string", required = true }
slow = { type = "bool", default = false }

[steps.rounds.loop]
max = 3
result = "{ 'best': state.best }"
state = { best = "''" }
next = { best = "steps.work.output.stdout | trim" }

[steps.rounds.steps.work]
idempotent = true
shell = { argv = ["sh", "-c", 'echo "$3" > "$1"; cat "$2"', "sh", "{{ inputs.up }}", "{{ inputs.go }}", "work"] }

[steps.deliver]
on_pause = true
idempotent = true

[steps.deliver.shell]
argv = ["sh", "-c", 'if [ "$3" = true ]; then echo deliver > "$1"; cat "$2"; fi; echo "$4" > out.txt', "sh",
    "{{ inputs.up }}", "{{ inputs.go }}", "{{ inputs.slow }}", "{{ steps.rounds.output.best }}"]

[outputs]
best = "steps.rounds.output.best"
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

    fn run(&self, more: &[&str]) -> Working {
        let up = self.up.path().display().to_string();
        let own = ["run", "p.toml", "--events", "-", "--up", &up, "--go", &self.go];
        self.start(&[&own, more].concat())
    }

    fn start(&self, arguments: &[&str]) -> Working {
        let mut group = Group::start(self.project.command(arguments));
        let events = BufReader::new(group.child.stdout.take().unwrap());
        Working { group, events }
    }

    fn is_up(&mut self, word: &str) {
        assert_eq!(self.up.line(), word);
    }

    fn let_go(&self, text: &str) {
        write_line(self.go.as_ref(), text);
    }

    fn out(&self) -> String {
        self.project.read("out.txt")
    }
}

struct Working {
    group: Group,
    events: BufReader<std::process::ChildStdout>,
}

impl Working {
    fn until(&mut self, text: &str) {
        Group::read_until(&mut self.events, text);
    }

    fn end(self) -> Ran {
        let Self { group, mut events } = self;
        let mut rest = String::new();
        events.read_to_string(&mut rest).unwrap();
        let mut stderr = String::new();
        let Group { mut child, .. } = group;
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = child.wait().unwrap();
        Ran::of(
            &["…"],
            &std::process::Output { status, stdout: rest.into_bytes(), stderr: stderr.into_bytes() },
        )
    }
}

#[test]
fn ctrl_c_delivers_what_there_is_so_far() {
    let mut held = Held::new();
    let mut working = held.run(&[]);
    held.is_up("work");
    held.let_go("first");
    held.is_up("work");
    working.group.signal(Signal::SIGINT);
    working.until("\"fact\":\"paused\"");
    held.let_go("second");
    working.end().exits(8).stdout_has("\"fact\":\"paused_step\"").stderr_has("best so far: first");
    assert_eq!(held.out(), "first\n", "the second round was not closed");
    let working = held.start(&["resume", "last", "--events", "-"]);
    held.is_up("work");
    held.let_go("third");
    working.end().exits(0);
    assert_eq!(held.out(), "third\n");
}

#[test]
fn what_ran_out_of_grace_is_no_obstacle() {
    let mut held = Held::new();
    let working = held.run(&["--grace", "10ms"]);
    held.is_up("work");
    held.let_go("first");
    held.is_up("work");
    working.group.signal(Signal::SIGTERM);
    working.end().exits(8).stderr_has("`deliver` ran because of the pause");
    assert_eq!(held.out(), "first\n");
}

#[test]
fn a_second_ctrl_c_skips_it() {
    let mut held = Held::new();
    let mut working = held.run(&["--slow=true"]);
    held.is_up("work");
    held.let_go("first");
    held.is_up("work");
    working.group.signal(Signal::SIGINT);
    working.until("\"fact\":\"paused\"");
    held.let_go("second");
    held.is_up("deliver");
    working.group.signal(Signal::SIGINT);
    working.end().exits(8);
    assert!(ran(&held.project).is_empty() && !held.project.path("out.txt").exists());
}

#[test]
fn a_run_whose_time_is_over_delivers() {
    let mut held = Held::new();
    let mut working = held.run(&[]);
    held.is_up("work");
    held.let_go("first");
    held.is_up("work");
    held.project.run(&["limit", "last", "wall=0.01"]).exits(0);
    working.until("\"fact\":\"paused\"");
    held.let_go("second");
    working.end().exits(5).stderr_has("best so far: first");
    assert_eq!(held.out(), "first\n");
    let working = held.start(&["resume", "last", "--limit", "wall=1h", "--events", "-"]);
    held.is_up("work");
    held.let_go("third");
    working.end().exits(0);
    assert_eq!(held.out(), "third\n");
}

#[test]
fn a_kill_while_it_delivers_loses_nothing() {
    let mut held = Held::new();
    let mut working = held.run(&["--slow=true"]);
    held.is_up("work");
    held.let_go("first");
    held.is_up("work");
    working.group.signal(Signal::SIGINT);
    working.until("\"fact\":\"paused\"");
    held.let_go("second");
    held.is_up("deliver");
    working.group.signal(Signal::SIGKILL);
    assert!(was_killed(working.group.wait()));
    assert!(ran(&held.project).is_empty());
    let shown = held.project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!((&shown["status"], &shown["outputs"]), (&json!("cancelled"), &json!({"best": "first"})));
    let working = held.start(&["resume", "last", "--events", "-"]);
    held.is_up("work");
    held.let_go("third");
    held.is_up("deliver");
    held.let_go("now");
    working.end().exits(0);
    assert_eq!(held.out(), "third\n");
}

/// A round that asks beside two items, of which the second asks as well.
const PARTLY: &str = r#"
atoll = 1

[steps.rounds.loop]
max = 2
result = "{ 'done': [], 'ok': [] }"
so_far = "{ 'done': steps.all.items | map(attribute='output') | list, 'ok': steps.all.items | map(attribute='ok') | list }"

[steps.rounds.steps.all.each]
over = "[1, 2, 3]"
result = "steps.n.output.n"

[steps.rounds.steps.all.steps.q]
when = "item > 1"
ask = { question = "go on?", choices = ["yes", "no"] }

[steps.rounds.steps.all.steps.n]
needs = ["gate"]
set = { n = "{{ item * 10 }}" }

[steps.rounds.steps.all.steps.gate]
tolerates = ["q"]
when = "item < 3 or steps.q.ok"
set = { open = true }

[outputs]
done = "steps.rounds.output.done"
ok = "steps.rounds.output.ok"
"#;

#[test]
fn an_open_round_has_what_its_steps_have_left_so_far() {
    let project = Project::new().file("p.toml", PARTLY);
    let paused = project.run(&["run", "p.toml", "--format", "json"]).exits(7).json();
    assert_eq!(
        paused["outputs"],
        json!({"done": [10, null, null], "ok": [true, false, false]}),
        "items that ask have no result yet"
    );
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!(shown["outputs"], paused["outputs"], "the journal says the same");
}

/// Three items of which the second asks and the third has failed.
const ITEMS: &str = r#"
atoll = 1

[steps.all.each]
over = "range(3)"
on_error = "keep"
result = "item * 10"

[steps.all.steps.q]
when = "item == 1"
ask = { question = "go on?" }

[steps.all.steps.no]
when = "item == 2"
fail = { message = "no" }

[steps.report]
on_pause = true
write = { path = "report.txt", text = "{{ steps.all.items | map(attribute='ok') | list | tojson }} {{ steps.all.failed | map(attribute='index') | list | tojson }}" }

[steps.whole]
on_pause = true
write = { path = "whole.txt", text = "{{ steps.all.output | tojson }}" }
"#;

#[test]
fn the_items_of_an_open_each_are_there_at_a_pause() {
    let project = Project::new().file("p.toml", ITEMS);
    project.run(&["check", "p.toml"]).exits(0).stderr_has("no mistakes found");
    let paused = project.run(&["run", "p.toml", "--no-input", "--format", "json"]).exits(7).json();
    assert_eq!(paused["on_pause"], json!([{"step": "report", "error": null}]), "its output is not there");
    assert_eq!(project.read("report.txt"), "[true,false,false] [2]");
    project.run(&["answer", "last", "all[1]/q", "yes"]).exits(4);
    assert_eq!(project.read("report.txt"), "[true,true,false] [2]");
    assert_eq!(project.read("whole.txt"), "[0,10]");
}

/// What is left so far of a pipeline that is called is its outputs so far.
#[test]
fn the_outputs_so_far_of_a_called_pipeline_are_seen() {
    let outer = r#"
atoll = 1

[steps.inner]
call = { pipeline = "inner", with = { ask = "[3]" } }

[steps.deliver]
on_pause = true
write = { path = "outer.txt", text = "best: {{ steps.inner.output.best }}" }

[outputs]
best = "steps.inner.output.best"
"#;
    let project = Project::new().file("p.toml", outer).file("pipelines/inner.toml", ROUNDS);
    let paused = project.run(&["run", "p.toml", "--format", "json"]).exits(7).json();
    assert_eq!(paused["outputs"], json!({"best": 20}), "{paused}");
    assert_eq!(project.read("outer.txt"), "best: 20");
    assert!(!project.path("out.txt").exists(), "steps of a called pipeline do not run because of a pause");
    project.run(&["answer", "last", "inner/rounds#3/q", "yes"]).exits(0).stdout_is("best: 40\n");
    assert_eq!(project.read("outer.txt"), "best: 40");
}
