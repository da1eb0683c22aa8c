//! Very long work: turns that commit and yield to others, pure loops that can be stopped, and loops whose
//! rounds stay cheap.

use std::io::{BufReader, Read};
use std::process::ChildStdout;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::binary::Project;
use crate::fifo::{Fifo, Group};

/// A loop that would take minutes.
const LONG: &str = "init = { x = \"0\" }, next = { x = \"range(2000) | sum + state.x\" }, max = 1000000";

fn begin(project: &Project, arguments: &[&str]) -> (Group, BufReader<ChildStdout>) {
    let mut group = Group::start(project.command(arguments));
    let events = BufReader::new(group.child.stdout.take().expect("its standard output"));
    (group, events)
}

#[test]
fn a_pure_loop_keeps_to_its_timeout() {
    let step = |max: &str| format!("atoll = 1\n[steps.long]\ntimeout = \"200ms\"\ncompute = {{ {max} }}\n");
    let endless = "init = { x = \"0\" }, next = { x = \"range(100000) | map('string') | list | length\" }, max = 1000000";
    for text in [LONG, endless] {
        let project = Project::new().file("pipelines/long.toml", &step(text));
        project.run(&["run", "long", "--format", "json"]).exits(1).stdout_has("took longer than 200 ms");
    }
    // A short computation is not limited by a thread.
    let short = step("init = { x = \"0\" }, next = { x = \"state.x + 1\" }, max = 10");
    Project::new().file("pipelines/long.toml", &short).run(&["run", "long"]).exits(0);
}

#[test]
fn a_pure_loop_holds_nobody_up_and_is_stopped_with_the_run() {
    let project = Project::new().file(
        "pipelines/beside.toml",
        &format!(
            "atoll = 1\n[steps.first]\nidempotent = true\nshell = {{ argv = [\"echo\", \"one\"] }}\n\
             [steps.second]\nneeds = [\"first\"]\nidempotent = true\nshell = {{ argv = [\"echo\", \"two\"] }}\n\
             [steps.long]\ncompute = {{ {LONG} }}\n[outputs]\nx = \"steps.long.output.x\"\n"
        ),
    );
    let (mut group, mut events) = begin(&project, &["run", "beside", "--events", "-"]);
    let second = |line: &String| line.contains("\"second\"") && line.contains("\"fact\":\"succeeded\"");
    while !Group::read_until(&mut events, "\"fact\":\"succeeded\"").iter().any(second) {}
    group.signal(Signal::SIGTERM);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the rest of its events");
    assert!(rest.contains("\"fact\":\"paused\"") && !rest.contains("\"long\""), "{rest}");
    assert_eq!(group.wait().code(), Some(8));
}

#[test]
fn many_local_units_reach_the_disk_while_there_are_more_and_hear_signals() {
    let project = Project::new().file(
        "pipelines/units.toml",
        "atoll = 1\n[inputs]\nn = { type = \"int\", default = 60000 }\n[steps.all.each]\nover = \"range(inputs.n)\"\n\
         result = \"steps.two.output.x\"\n[steps.all.steps.one]\nset = { x = \"{{ item + 1 }}\" }\n\
         [steps.all.steps.two]\ncompute = { init = { x = \"steps.one.output.x\" }, next = { x = \"state.x + n\" }, max = 20 }\n\
         [outputs]\nn = \"steps.all.output | length\"\nsum = \"steps.all.output | sum\"\n",
    );
    let run = ["run", "units", "--events", "-", "--durability", "normal"];
    for (signal, code) in [(Signal::SIGTERM, Some(8)), (Signal::SIGKILL, None)] {
        let (mut group, mut events) = begin(&project, &run);
        Group::read_until(&mut events, "\"fact\":\"item_closed\"");
        group.signal(signal);
        let mut rest = String::new();
        events.read_to_string(&mut rest).expect("the rest of its events");
        assert!(!rest.contains("all[50000]"), "it ends long before its last item");
        assert_eq!(group.wait().code(), code);
        let log = project.run(&["log", "last", "--format", "json"]);
        assert!(log.stdout.contains("item_closed"), "streamed facts are on disk");
    }
    let small = ["run", "units", "--n", "3000", "--format", "json"];
    let outputs = &project.run(&small).exits(0).json()["outputs"];
    assert_eq!(outputs["n"], 3_000);
    // For each unit: its number from 1, plus the sum of 0 to 19.
    assert_eq!(outputs["sum"], 3_000 * 3_001 / 2 + 3_000 * 190);
}

#[test]
fn what_is_under_way_has_its_grace_and_no_longer() {
    let text = "atoll = 1\n[inputs.up]\ntype = \"string\"\nrequired = true\n[steps.wait]\nidempotent = true\n\
                shell = { argv = [\"sh\", \"-c\", 'echo up > \"$1\"; exec sleep 600', \"sh\", \"{{ inputs.up }}\"] }\n";
    let project = Project::new().file("pipelines/wait.toml", text);
    let mut up = Fifo::new(project.path("up"));
    let path = up.path().display().to_string();
    let (mut group, mut events) =
        begin(&project, &["run", "wait", "--up", &path, "--grace", "300ms", "--events", "-"]);
    assert_eq!(up.line(), "up");
    group.signal(Signal::SIGTERM);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the rest of its events");
    assert!(rest.contains("\"fact\":\"interrupted\""), "{rest}");
    assert_eq!(group.wait().code(), Some(8));
    project.run(&["run", "wait", "--up", "x", "--grace", "soon"]).exits(2).stderr_has("not a duration");
}

/// Size in bytes of the journal of a loop with `n` rounds that appends to a list.
fn journal_of(n: usize) -> (usize, Value) {
    let project = Project::new().file(
        "pipelines/grow.toml",
        "atoll = 1\ninputs.n = { type = \"int\", default = 1 }\n[steps.l.loop]\nmax = \"inputs.n\"\n\
         result = \"{ 'n': state.n, 'seen': state.seen | length, 'last': state.seen | last, 'was': loop.history | map(attribute='state.seen') | map('length') | sum }\"\n\
         [steps.l.loop.state]\nn = 0\nseen = \"[]\"\nsame = \"{ 'a': [1, 2, 3] }\"\n\
         [steps.l.loop.next]\nn = \"state.n + 1\"\nseen = \"state.seen + [steps.one.output.text ~ state.n]\"\nsame = \"state.same\"\n\
         [steps.l.steps.one]\nset = { text = \"some words that are long enough to be seen\" }\n[outputs]\nl = \"steps.l.output\"\n",
    );
    let run = project.run(&["run", "grow", "--n", &n.to_string(), "--format", "json"]).exits(0);
    let log = project.run(&["log", "last", "--format", "json"]).exits(0).stdout.len();
    (log, run.json()["outputs"]["l"].clone())
}

#[test]
fn a_round_records_what_it_changed_and_history_knows_every_state() {
    let (small, _) = journal_of(50);
    let (large, output) = journal_of(500);
    assert!(large < small * 11, "{small} bytes for 50 rounds, {large} for 500");
    assert_eq!(output["n"], 500);
    assert_eq!(output["seen"], 500);
    assert_eq!(output["last"], "some words that are long enough to be seen499");
    assert_eq!(output["was"], 500 * 501 / 2);
}

/// An expression with a numeric value that takes seconds.
fn slow() -> String {
    format!("([{}] | sum)", vec!["(range(100000) | map('string') | list | length)"; 100].join(", "))
}

/// A pipeline with an expression that takes minutes.
const HEAD: &str = "atoll = 1\n[inputs.n]\ntype = \"int\"\ndefault = 100000\n\
                    [functions.long]\nargs = [\"x\"]\nvalue = \"range(100000) | map('string') | map('length') | sum\"\n";
const FOREVER: &str = "(range(inputs.n) | map('long') | sum)";

/// A text that takes minutes.
const ENDLESS: &str = "{% for n in range(100000) %}{% if (range(100000) | map('string') | list | length) < 0 %}x{% endif %}{% endfor %}";

#[test]
fn whatever_a_step_evaluates_keeps_to_its_timeout() {
    let slow = slow();
    let limit = "atoll = 1\n[steps.long]\ntimeout = \"50ms\"\n";
    let inner = "[steps.long.steps.one]\nset = { x = 1 }\n";
    let cases = [
        ("with", format!("{limit}set = {{ x = \"{ENDLESS}\" }}\n")),
        ("with", format!("{limit}set = {{ x = \"{{{{ {slow} }}}}\" }}\n")),
        ("when", format!("{limit}when = \"{slow} > 0\"\nset = {{ x = 1 }}\n")),
        (
            "with",
            format!("{limit}idempotent = true\nshell = {{ argv = [\"echo\", \"{{{{ {slow} }}}}\"] }}\n"),
        ),
        ("over", format!("{limit}each = {{ over = \"[{slow}]\" }}\n{inner}")),
        ("result", format!("{limit}each = {{ over = \"[1]\", result = \"{slow}\" }}\n{inner}")),
        ("state", format!("{limit}loop = {{ max = 2, state = {{ x = \"{slow}\" }} }}\n{inner}")),
        (
            "next",
            format!(
                "{limit}loop = {{ max = 2, state = {{ x = \"1\" }}, next = {{ x = \"{slow}\" }} }}\n{inner}"
            ),
        ),
        ("check", format!("{limit}check = [\"{slow} > 0\"]\nset = {{ x = 1 }}\n")),
        (
            "result",
            format!("{limit}loop = {{ max = 2, state = {{ x = \"1\" }}, result = \"{slow}\" }}\n{inner}"),
        ),
        (
            "retry.when",
            format!(
                "{limit}retry = {{ max = 2, on = [\"permanent\"], when = \"{slow} > 0\" }}\nfail = {{ message = \"no\" }}\n"
            ),
        ),
        ("refuse", format!("{limit}call = {{ pipeline = \"slow-to-refuse\" }}\n")),
    ];
    for (what, text) in cases {
        let project = Project::new()
            .file("pipelines/long.toml", &text)
            .file("pipelines/slow-to-refuse.toml", &format!("atoll = 1\n[refuse.slow]\nwhen = \"{slow} < 0\"\nmessage = \"no\"\n[steps.one]\nset = {{ x = 1 }}\n"));
        let ran = project.run(&["run", "long", "--format", "json"]).exits(1);
        ran.stdout_has(&format!("evaluating `{what}` took longer than 50 ms"));
    }
    // An expression that is slow but within the limit has a value.
    let text = format!(
        "atoll = 1\n[steps.long]\nset = {{ x = \"{{{{ {slow} }}}}\" }}\n[outputs]\nx = \"{slow} - steps.long.output.x\"\n"
    );
    let project = Project::new().file("pipelines/long.toml", &text);
    assert_eq!(project.run(&["run", "long", "--format", "json"]).exits(0).json()["outputs"]["x"], 0);
}

#[test]
fn a_template_holds_no_other_step_up_and_is_stopped_with_the_run() {
    let project = Project::new().file(
        "pipelines/beside.toml",
        &format!(
            "atoll = 1\n[steps.first]\nidempotent = true\nshell = {{ argv = [\"echo\", \"one\"] }}\n\
             [steps.second]\nneeds = [\"first\"]\nidempotent = true\nshell = {{ argv = [\"echo\", \"two\"] }}\n\
             [steps.long]\nset = {{ x = \"{ENDLESS}\" }}\n[outputs]\nx = \"steps.long.output.x\"\n"
        ),
    );
    let (mut group, mut events) = begin(&project, &["run", "beside", "--events", "-"]);
    let second = |line: &String| line.contains("\"second\"") && line.contains("\"fact\":\"succeeded\"");
    while !Group::read_until(&mut events, "\"fact\":\"succeeded\"").iter().any(second) {}
    group.signal(Signal::SIGTERM);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the rest of its events");
    assert!(rest.contains("\"fact\":\"paused\"") && !rest.contains("\"long\""), "{rest}");
    assert_eq!(group.wait().code(), Some(8));
}

#[test]
fn a_cap_must_be_quick_to_evaluate() {
    let cap = format!("usd = \"{}\"", slow());
    let step = "llm = { model = \"local/none\", prompt = \"x\" }\n";
    let inner = "[steps.long.steps.one]\nllm = { model = \"local/none\", prompt = \"x\" }\n";
    let cases = [
        format!("atoll = 1\n[limits]\n{cap}\n[steps.long]\n{step}"),
        format!("atoll = 1\n[steps.long]\nbudget = {{ {cap} }}\n{step}"),
        format!(
            "atoll = 1\n[steps.long.loop]\nmax = \"2\"\nbudget = {{ {cap} }}\nstate = {{ x = \"1\" }}\n{inner}"
        ),
    ];
    for text in cases {
        let project = Project::new().file("pipelines/long.toml", &text);
        let ran = project.run(&["run", "long", "--format", "json"]).exits(1);
        ran.stdout_has("takes too long to evaluate").stdout_has("the cap on usd");
    }
}

#[test]
fn outputs_that_take_long_end_with_the_run() {
    let project = Project::new().file(
        "pipelines/late.toml",
        &format!("{HEAD}[steps.one]\nset = {{ x = 1 }}\n[outputs]\nx = \"{FOREVER}\"\n"),
    );
    let (mut group, mut events) = begin(&project, &["run", "late", "--events", "-"]);
    Group::read_until(&mut events, "\"fact\":\"succeeded\"");
    group.signal(Signal::SIGTERM);
    let mut rest = String::new();
    events.read_to_string(&mut rest).expect("the rest of its events");
    assert!(rest.contains("\"fact\":\"paused\""), "{rest}");
    assert_eq!(group.wait().code(), Some(8));
}

#[test]
fn a_failure_is_tried_again_where_that_takes_long_to_tell() {
    let text = format!(
        "atoll = 1\n[steps.long]\nretry = {{ max = 1, on = [\"permanent\"], when = \"{} > 0\" }}\nfail = {{ message = \"no\" }}\n",
        slow()
    );
    let project = Project::new().file("pipelines/long.toml", &text);
    project.run(&["run", "long", "-q"]).exits(1);
    let log = project.run(&["log", "last", "--format", "json"]).exits(0).stdout;
    assert_eq!(log.matches("\"started\"").count(), 2, "{log}");
}

#[test]
fn what_runs_last_sees_the_status_of_outputs_that_take_long() {
    let slow = slow();
    let project = Project::new().file(
        "pipelines/late.toml",
        &format!(
            "atoll = 1\n[steps.one]\nset = {{ x = 1 }}\n[steps.last]\nalways = true\nidempotent = true\n\
             write = {{ path = \"status\", text = \"{{{{ run.status }}}}\" }}\n[outputs]\nx = \"{slow}\"\n"
        ),
    );
    project.run(&["run", "late", "-q"]).exits(0);
    assert_eq!(project.read("status"), "succeeded");
}

#[test]
fn the_timeout_of_a_call_bounds_what_its_last_steps_see() {
    let inner = format!(
        "{HEAD}[steps.one]\nset = {{ x = 1 }}\n[steps.last]\nalways = true\nset = {{ s = \"{{{{ run.status }}}}\" }}\n\
         [outputs]\nx = \"{FOREVER}\"\n"
    );
    let outer = "atoll = 1\n[steps.sub]\ntimeout = \"200ms\"\ncall = { pipeline = \"inner\" }\n";
    let project = Project::new().file("pipelines/inner.toml", &inner).file("pipelines/outer.toml", outer);
    project.run(&["run", "outer", "--format", "json"]).exits(1).stdout_has("took longer than 200 ms");
}

#[test]
fn cheap_rounds_keep_to_the_timeout_as_well() {
    let project = Project::new().file(
        "p.toml",
        "atoll = 1\n[steps.c]\ntimeout = \"10ms\"\ncompute = { init = { n = \"0\" }, next = { n = \"state.n + 1\" }, max = 1000000 }\n",
    );
    project.run(&["run", "p.toml"]).exits(1).stderr_has("timeout");
}
