//! Waiting is per step: a question, an outage or a limit delays only the steps that depend on it. Commands
//! reach a run that another process executes.

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::Project;
use crate::fifo::{Fifo, Group, write_line};

fn project(text: &str) -> Project {
    Project::new().file("p.toml", &format!("atoll = 1\n{text}"))
}

fn states(project: &Project) -> Vec<(String, String)> {
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    let steps = shown["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            (step["address"].as_str().unwrap().to_owned(), step["state"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[track_caller]
fn is(project: &Project, address: &str, state: &str) {
    let states = states(project);
    let found = states.iter().find(|(at, _)| at == address).map(|(_, state)| state.as_str());
    assert_eq!(found, Some(state), "{address} of {states:?}");
}

#[test]
fn a_question_waits_and_everything_else_is_done() {
    let project = project(
        r#"
[steps.q]
ask = { question = "first?", choices = ["yes", "no"] }
[steps.a]
shell = { argv = ["true"] }
[steps.b]
needs = ["a"]
shell = { argv = ["true"] }
[steps.after_q]
needs = ["q"]
shell = { argv = ["true"] }
[steps.items.each]
over = "range(6)"
parallel = 1
[steps.items.steps.one]
shell = { argv = ["true"] }
[steps.twice.loop]
max = 2
[steps.twice.steps.same]
shell = { argv = ["true"] }
[outputs]
answer = "steps.q.output"
"#,
    );
    project
        .run(&["run", "p.toml"])
        .exits(7)
        .stderr_has("`q` asks: first?")
        .stderr_has("q VALUE` answers: yes, no");
    for done in ["a", "b", "items", "twice"] {
        is(&project, done, "done");
    }
    is(&project, "q", "asking");
    project.run(&["runs"]).exits(0).stdout_has("waiting");
    project.run(&["answer", "last", "q", "2"]).exits(0).stdout_is("answer: no\n");
    is(&project, "after_q", "done");
}

const APPROVALS: &str = r#"
[steps.all.each]
over = "['x', 'y', 'z']"
result = "steps.publish.output.stdout | trim"
[steps.all.steps.approve]
ask = { question = "publish {{ item }}?", choices = ["yes", "no"] }
[steps.all.steps.publish]
needs = ["approve"]
shell = { argv = ["echo", "{{ item }} {{ steps.approve.output }}"] }
[outputs]
all = "steps.all.output"
"#;

#[test]
fn all_questions_are_told_at_once_and_answered_one_by_one() {
    let project = project(APPROVALS);
    let ran = project.run(&["run", "p.toml", "--format", "json"]).exits(7).json();
    let reasons = ran["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 3);
    assert_eq!(reasons[2]["address"], "all[2]/approve");
    assert_eq!(reasons[2]["pause"], "waiting");
    let shown = project.run(&["show", "last"]).exits(0);
    for item in ["x", "y", "z"] {
        assert!(shown.stdout.contains(&format!("asks: publish {item}?")), "{}", shown.stdout);
    }
    project.run(&["answer", "last", "all[1]/approve", "yes", "--note", "checked"]).exits(7);
    is(&project, "all[0]/approve", "asking");
    let log = project.run(&["log", "last"]).exits(0);
    assert!(
        log.stdout.contains("all[1]/publish (1)  succeeded") && log.stdout.contains("\"note\":\"checked\"")
    );
    project.run(&["answer", "last", "all[0]/approve", "no"]).exits(7);
    let done = project.run(&["answer", "last", "all[2]/approve", "yes"]).exits(0);
    done.stdout_is("all: [\"x no\",\"y yes\",\"z yes\"]\n");
}

#[test]
fn what_an_answer_lets_begin_is_done_before_the_run_waits_again() {
    let project = project(
        r#"
[steps.q1]
ask = { question = "one?", choices = ["yes", "no"] }
[steps.after]
needs = ["q1"]
shell = { argv = ["sh", "-c", "echo ran >> after.log"] }
[steps.q2]
ask = { question = "two?", choices = ["yes", "no"] }
"#,
    );
    project.run(&["run", "p.toml"]).exits(7);
    project.run(&["answer", "last", "q1", "yes"]).exits(7).stderr_has("`q2` asks: two?");
    assert_eq!(project.read("after.log"), "ran\n");
    project.run(&["answer", "last", "q1", "no"]).exits(2).stderr_has("was answered").stderr_has("\"yes\"");
    project.run(&["answer", "last", "q3", "no"]).exits(2).stderr_has("did you mean `q2`?");
}

#[test]
fn an_outage_waits_beside_running_work() {
    let text = "[providers.down]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nfree = true\n";
    let project = project(
        r#"
[steps.call]
retry = { max = 0 }
llm = { model = "down/m", prompt = "x" }
[steps.a]
shell = { argv = ["true"] }
[steps.b]
needs = ["a"]
shell = { argv = ["true"] }
[steps.q]
ask = { question = "go?" }
[outputs]
b = "steps.b.ok"
"#,
    )
    .file("atoll.toml", text);
    let ran = project.run(&["run", "p.toml", "--format", "json"]).exits(7).json();
    assert_eq!(ran["status"], "outage");
    let pauses: Vec<&Value> =
        ran["reasons"].as_array().unwrap().iter().map(|reason| &reason["pause"]).collect();
    assert_eq!(pauses, ["outage", "waiting"]);
    is(&project, "b", "done");
    let call = ran["steps"].as_array().unwrap().iter().find(|step| step["address"] == "call").unwrap();
    assert_eq!(call["waits"], "outage");
    project.run(&["runs"]).exits(0).stdout_has("outage");
    project.run(&["show", "last"]).exits(0).stdout_has("waits: outage");
}

#[test]
fn deadlines_hold_without_a_terminal() {
    let asks = |rest: &str| {
        project(&format!(
            "[steps.q]\nask = {{ question = \"go?\", {rest} }}\n[outputs]\nq = \"steps.q.output if steps.q.ok else steps.q.error.class\"\n"
        ))
    };
    asks("deadline = \"1s\", at_deadline = \"late\"").run(&["run", "p.toml"]).exits(0).stdout_is("q: late\n");
    asks("deadline = \"1s\", at_deadline = \"late\", default = \"no\"")
        .run(&["run", "p.toml"])
        .exits(0)
        .stdout_is("q: no\n");
    let failed = asks("deadline = \"1s\"").run(&["run", "p.toml"]);
    failed.stderr_has("no answer within 1 s");
    let far = asks("deadline = \"3d\", at_deadline = \"late\"");
    far.run(&["run", "p.toml"]).exits(7);
    let shown = far.run(&["show", "last", "q"]).exits(0);
    shown.stdout_has("without an answer by").stdout_has("the answer is `late`");
    let wrong = |rest: &str, why: &str| {
        asks(rest).run(&["run", "p.toml"]).stderr_has(why);
    };
    wrong("choices = [\"yes\"], default = \"no\"", "`default`: `no` is not one of the choices: yes");
    wrong("choices = \"{{ [] }}\"", "`choices` is empty");
    asks("at_deadline = \"late\"")
        .run(&["check", "p.toml"])
        .exits(3)
        .stdout_has("`deadline` is missing: `at_deadline` needs it");
    asks("type = \"number\"")
        .run(&["check", "p.toml"])
        .exits(3)
        .stdout_has("`type` of an `ask` cannot be `number`");
}

#[test]
fn free_text_stays_text_and_json_is_asked_for() {
    let project = project(
        r#"
[steps.name]
ask = { question = "name?" }
[steps.data]
ask = { question = "data?", type = "json", show = { rows = [1, 2] } }
[outputs]
name = "steps.name.output ~ '!'"
data = "steps.data.output.a + 1"
"#,
    );
    project.run(&["run", "p.toml"]).exits(7);
    project.run(&["answer", "last", "name", "007"]).exits(7);
    project.run(&["answer", "last", "data", "{"]).exits(2).stderr_has("not JSON");
    project.run(&["show", "last", "data"]).exits(0).stdout_has("\"rows\"").stdout_has("digest");
    project.run(&["answer", "last", "data", "{\"a\": 1}"]).exits(0).stdout_is("name: 007!\ndata: 2\n");
}

/// A question, concurrent with a step that waits to be released.
const OPEN: &str = r#"
[inputs]
up = { type = "string", required = true }
go = { type = "string", required = true }
[steps.q]
ask = { question = "sure?", choices = ["yes", "no"] }
[steps.then]
needs = ["q"]
shell = { argv = ["sh", "-c", 'echo then > "$1"', "sh", "{{ inputs.up }}"] }
[steps.wait]
idempotent = true
shell = { argv = ["sh", "-c", 'echo up > "$1"; cat "$2"', "sh", "{{ inputs.up }}", "{{ inputs.go }}"] }
[outputs]
q = "steps.q.output"
"#;

struct Open {
    project: Project,
    up: Fifo,
    group: Group,
    events: BufReader<ChildStdout>,
}

impl Open {
    fn begin() -> Self {
        let project = project(OPEN);
        let mut up = Fifo::new(project.path("up"));
        nix::unistd::mkfifo(&project.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (at, go) = (up.path().display().to_string(), project.path("go").display().to_string());
        let mut command =
            project.command(&["run", "p.toml", "--up", &at, "--go", &go, "-q", "--events", "-"]);
        command.stderr(Stdio::null());
        let mut group = Group::start(command);
        let events = BufReader::new(group.child.stdout.take().unwrap());
        assert_eq!(up.line(), "up");
        Self { project, up, group, events }
    }

    fn until(&mut self, text: &str) {
        Group::read_until(&mut self.events, text);
    }

    fn end(mut self) -> (Project, i32) {
        self.events.read_to_string(&mut String::new()).unwrap();
        let code = self.group.wait().code().unwrap();
        (self.project, code)
    }
}

#[test]
fn a_run_is_answered_from_another_terminal_while_it_works() {
    let mut open = Open::begin();
    open.project.run(&["runs"]).exits(0).stdout_has("running");
    open.project
        .run(&["show", "last"])
        .exits(0)
        .stdout_has("`q` asks: sure?")
        .stdout_has("q VALUE` answers: yes, no");
    let project = &open.project;
    project.run(&["answer", "last", "q", "perhaps"]).exits(2).stderr_has("not one of the choices");
    project
        .run(&["answer", "last", "q", "yes", "--for", "abc"])
        .exits(2)
        .stderr_has("the question has changed since abc");
    project.run(&["answer", "last", "q", "yes"]).exits(0).stderr_has("answered");
    assert_eq!(open.up.line(), "then", "steps that need the answer continue immediately");
    open.project.run(&["answer", "last", "q", "no"]).exits(2).stderr_has("was answered");
    write_line(&open.project.path("go"), "x");
    let (project, code) = open.end();
    assert_eq!(code, 0);
    assert_eq!(project.run(&["show", "last", "--format", "json"]).json()["outputs"], json!({"q": "yes"}));
}

#[test]
fn a_run_is_paused_limited_and_killed_from_another_terminal() {
    let mut open = Open::begin();
    open.project
        .run(&["limit", "last", "usd=3", "calls=7"])
        .exits(0)
        .stderr_has("limits set: usd=3, calls=7");
    open.until("\"fact\":\"limited\"");
    open.project.run(&["pause", "last"]).exits(0).stderr_has("running steps are finished first");
    open.until("\"fact\":\"paused\"");
    open.project.run(&["kill", "last"]).exits(0).stderr_has("running steps are stopped");
    let (project, code) = open.end();
    assert_eq!(code, 8);
    project
        .run(&["pause", "last"])
        .exits(2)
        .stderr_has("no process is executing run")
        .stderr_has("it is cancelled");
    project.run(&["limit", "last", "usd=4"]).exits(0).stderr_has("queued");
    project.run(&["answer", "last", "q", "yes", "--only"]).exits(0).stderr_has("queued");
}

#[test]
fn a_killed_run_is_interrupted_everywhere() {
    let open = Open::begin();
    open.group.signal(Signal::SIGKILL);
    let Open { project, group, .. } = open;
    group.wait_for_all();
    project.run(&["runs"]).exits(0).stdout_has("interrupted");
    assert_eq!(project.run(&["runs", "--format", "json"]).json()["runs"][0]["status"], "interrupted");
    project.run(&["show", "last"]).exits(0).stdout_has("interrupted").stdout_has("continues it");
    assert_eq!(project.run(&["show", "last", "--format", "json"]).json()["status"], "interrupted");
}

#[test]
fn replan_keeps_the_answers_of_people() {
    let project = project(
        r#"
[steps.a]
shell = { argv = ["sh", "-c", "echo a >> a.log; echo A"] }
[steps.q]
ask = { question = "really?", choices = ["yes", "no"] }
[steps.other]
ask = { question = "other?" }
[steps.bad]
needs = ["q", "a", "other"]
shell = { argv = ["false"] }
[outputs]
q = "steps.q.output"
other = "steps.other.output"
"#,
    );
    project.run(&["run", "p.toml"]).exits(7);
    project.run(&["answer", "last", "q", "yes"]).exits(7);
    project.run(&["answer", "last", "other", "this"]).exits(1);
    let text = project.read("p.toml").replace("\"false\"", "\"true\"");
    project.write("p.toml", &text);
    let ran = project.run(&["resume", "last", "--replan"]).exits(0).stdout_is("q: yes\nother: this\n");
    ran.stderr_has("(3 available)");
    assert_eq!(project.read("a.log"), "a\n");
    project.write("p.toml", &text.replace("really?", "really, really?"));
    project.run(&["resume", "last", "--replan"]).exits(7).stderr_has("really, really?");
    is(&project, "other", "done");
}

#[test]
fn replan_finds_the_answers_of_items_in_another_order() {
    let text = |items: &str, command: &str| {
        format!(
            "[steps.all.each]\nover = \"{items}\"\n[steps.all.steps.q]\n\
             ask = {{ question = \"publish {{{{ item }}}}?\" }}\n\
             [steps.same.each]\nover = \"{items}\"\n[steps.same.steps.q]\nask = {{ question = \"go on?\" }}\n\
             [steps.end]\nneeds = [\"all\", \"same\"]\nshell = {{ argv = [\"{command}\"] }}\n\
             [outputs]\nall = \"steps.all.output\"\n"
        )
    };
    let project = project(&text("['x', 'y']", "false"));
    project.run(&["run", "p.toml"]).exits(7);
    for (at, answer) in [("all[0]/q", "X"), ("all[1]/q", "Y"), ("same[0]/q", "1")] {
        project.run(&["answer", "last", at, answer]).exits(7);
    }
    project.run(&["answer", "last", "same[1]/q", "2"]).exits(1);
    project.write("p.toml", &format!("atoll = 1\n{}", text("['n', 'y', 'x']", "true")));
    project.run(&["resume", "last", "--replan"]).exits(7).stderr_has("publish n?");
    project.run(&["answer", "last", "all[0]/q", "N"]).exits(7).stderr_has("same[2]/q");
    project.run(&["answer", "last", "same[2]/q", "3"]).exits(0).stdout_has("all: [\"N\",\"Y\",\"X\"]");
}

/// A run with waiting steps, killed after each of its facts in turn.
#[test]
fn a_run_that_waits_survives_a_kill_after_any_fact() {
    let text = r#"
[steps.q]
ask = { question = "first?" }
[steps.a]
idempotent = true
shell = { argv = ["echo", "a"] }
[steps.all.each]
over = "['x', 'y']"
result = "steps.ok.output ~ steps.make.output.stdout | trim"
[steps.all.steps.make]
idempotent = true
shell = { argv = ["echo", "{{ item }}"] }
[steps.all.steps.ok]
needs = ["make"]
ask = { question = "{{ item }}?" }
[steps.end]
idempotent = true
needs = ["all", "q"]
shell = { argv = ["echo", "end"] }
[outputs]
all = "steps.all.output"
end = "steps.end.output.stdout | trim"
"#;
    let questions = ["q", "all[0]/ok", "all[1]/ok"];
    let whole = project(text);
    whole.run(&["run", "p.toml"]).exits(7);
    let facts = whole.run(&["log", "last"]).exits(0).stdout.lines().count();
    for kill_after in 1..facts {
        let project = project(text);
        let mut command = project.command(&["run", "p.toml", "-q", "--events", "-"]);
        command.stderr(Stdio::null());
        let mut group = Group::start(command);
        let mut events = BufReader::new(group.child.stdout.take().unwrap());
        for _ in 0..kill_after {
            events.read_line(&mut String::new()).unwrap();
        }
        group.signal(Signal::SIGKILL);
        group.wait_for_all();
        project.run(&["resume", "last", "-q"]).exits(7);
        for (n, question) in questions.into_iter().enumerate() {
            let exit = if n + 1 == questions.len() { 0 } else { 7 };
            project.run(&["answer", "last", question, "yes"]).exits(exit);
        }
        let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
        assert_eq!(
            shown["outputs"],
            json!({"all": ["yesx", "yesy"], "end": "end"}),
            "killed after {kill_after}"
        );
        let log = project.run(&["log", "last"]).exits(0).stdout;
        for question in questions {
            let answers = log.lines().filter(|line| line.contains(&format!("  {question}  answered")));
            assert_eq!(answers.count(), 1, "killed after {kill_after}: {log}");
        }
    }
}
