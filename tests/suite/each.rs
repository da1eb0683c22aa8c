//! `each`: what failed items do to their step and their run, and what other steps see of them.

use serde_json::{Value, json};

use crate::binary::Project;

/// A pipeline over 1, 2 and 3 in which item 2 fails, with `options` of the `each` and `more` behind it.
fn pipeline(options: &str, more: &str) -> Project {
    let text = format!(
        r#"
atoll = 1
[steps.all.each]
over = "[1, 2, 3]"
parallel = 1
result = "steps.one.output.stdout | trim | int"
{options}
[steps.all.steps.one]
idempotent = true
shell = {{ argv = ["sh", "-c", "[ {{{{ item }}}} != 2 ] && echo {{{{ item }}}}0"] }}
{more}
"#
    );
    Project::new().file("pipelines/p.toml", &text)
}

const READ: &str = r#"
[steps.read]
tolerates = ["all"]
set = { failed = "{{ steps.all.failed }}", items = "{{ steps.all.items }}" }
[outputs]
failed = "steps.read.output.failed"
items = "steps.read.output.items"
"#;

const SUM: &str = "[steps.sum]\nset = { total = \"{{ steps.all.output | sum }}\" }\n[outputs]\ntotal = \"steps.sum.output.total\"";

fn step<'a>(report: &'a Value, address: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["address"] == address).unwrap()
}

#[test]
fn by_default_every_item_runs_and_then_the_step_fails_with_the_first_cause() {
    let project = pipeline("key = \"'n' ~ item\"", SUM);
    let ran = project.run(&["run", "p"]).exits(1);
    let ran = ran.stderr_has("1 of 3 items failed; item 1 (`n2`): `all[1]/one` failed: ");
    ran.stderr_has("failed · 2 of 3 items");
    let report = project.run(&["run", "p", "--format", "json"]).exits(1).json();
    assert_eq!(report["items"], json!({"done": 2, "failed": 1, "total": 3}));
    assert_eq!(step(&report, "all")["control"]["closed"], 3, "items after the failed one have run");
    assert_eq!(step(&report, "sum")["state"], "skipped");
}

#[test]
fn kept_failures_leave_the_other_results_and_make_the_run_incomplete() {
    let project = pipeline("on_error = \"keep\"", SUM);
    let report = project.run(&["run", "p", "--format", "json"]).exits(4).json();
    assert_eq!((&report["status"], &report["code"]), (&json!("incomplete"), &json!(4)));
    assert_eq!(report["outputs"], json!({"total": 40}));
    assert_eq!(report["items"], json!({"done": 2, "failed": 1, "total": 3}));
    assert_eq!(step(&report, "all")["output_items"], 2);
    project.run(&["run", "p"]).exits(4).stderr_has("incomplete · 2 of 3 items");
    project.run(&["show", "last", "all"]).exits(0).stdout_has("30");
}

#[test]
fn an_exit_or_the_step_itself_may_say_that_kept_failures_are_no_matter() {
    let exit = format!("{SUM}\n[exits]\ngood = \"outputs.total == 40\"");
    let report =
        pipeline("on_error = \"keep\"", &exit).run(&["run", "p", "--format", "json"]).exits(0).json();
    assert_eq!(report["status"], "good");
    let silent = format!("[steps.all]\nfails = \"none\"\n{SUM}");
    let report =
        pipeline("on_error = \"keep\"", &silent).run(&["run", "p", "--format", "json"]).exits(0).json();
    assert_eq!(report["status"], "succeeded");
    let silent = silent.replace("steps.sum.output.total", "steps.sum.output.total if steps.sum.ok else none");
    let report = pipeline("", &silent).run(&["run", "p", "--format", "json"]).exits(0).json();
    assert_eq!((&report["status"], &report["outputs"]), (&json!("succeeded"), &json!({"total": null})));
}

#[test]
fn kept_failures_in_loops_and_called_pipelines_count() {
    let inner = r#"
atoll = 1
[steps.rounds.loop]
max = 2
[steps.rounds.steps.some.each]
over = "[1, 2]"
on_error = "keep"
[steps.rounds.steps.some.steps.one]
when = "item == loop.index"
fail = { message = "no" }
"#;
    let outer = "atoll = 1\n[steps.c]\ncall = { pipeline = \"inner\" }\n";
    let project = Project::new().file("pipelines/inner.toml", inner).file("pipelines/outer.toml", outer);
    let report = project.run(&["run", "outer", "--format", "json"]).exits(4).json();
    assert_eq!(report["status"], "incomplete");
    assert_eq!(report["items"], json!({"done": 2, "failed": 2, "total": 4}));
    let quiet = "extends = \"outer\"\n[steps.c]\nfails = \"none\"\n";
    project.file("pipelines/quiet.toml", quiet).run(&["run", "quiet"]).exits(0);
}

#[test]
fn stop_begins_no_further_item_and_says_how_many_are_left() {
    let project = pipeline("on_error = \"stop\"", READ);
    let report = project.run(&["run", "p", "--format", "json"]).exits(0).json();
    let items = &report["outputs"]["items"];
    assert_eq!(
        items[0],
        json!({"index": 0, "key": null, "ok": true, "skipped": false, "output": 10, "error": null})
    );
    assert_eq!((&items[1]["ok"], &items[1]["skipped"]), (&json!(false), &json!(false)));
    assert_eq!(
        items[2],
        json!({"index": 2, "key": null, "ok": false, "skipped": true, "output": null, "error": null})
    );
    assert_eq!(report["outputs"]["failed"][0]["index"], 1);
    assert_eq!(report["outputs"]["failed"].as_array().unwrap().len(), 1);
    project.run(&["show", "last"]).exits(0).stdout_has("1 of 3 items failed, 1 not begun; item 1: ");
}

#[test]
fn too_many_failures_stop_the_rest_under_finish_and_keep() {
    for word in ["finish", "keep"] {
        let text = format!(
            "atoll = 1\n[steps.all.each]\nover = \"range(9)\"\nparallel = 1\non_error = \"{word}\"\nmax_failures = 1\n\
             [steps.all.steps.one]\nfail = {{ message = \"no {{{{ item }}}}\" }}\n"
        );
        let project = Project::new().file("pipelines/p.toml", &text);
        let ran = project.run(&["run", "p"]).exits(1);
        ran.stderr_has(
            "2 of 9 items failed, more than the 1 that `max_failures` allows, 7 not begun; item 0: ",
        );
    }
    pipeline("on_error = \"stop\"\nmax_failures = 2", "").run(&["check", "p"]).exits(3).stdout_has("E0411");
}

#[test]
fn failed_is_never_empty_where_the_step_failed() {
    let text = format!(
        "atoll = 1\n[inputs]\nn = {{ type = \"json\", default = 5 }}\n[steps.all.each]\nover = \"inputs.n\"\n\
         [steps.all.steps.one]\nset = {{ x = 1 }}\n{READ}"
    );
    let project = Project::new().file("pipelines/p.toml", &text);
    let report = project.run(&["run", "p", "--format", "json"]).exits(0).json();
    let failed = report["outputs"]["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["index"]), (1, &Value::Null));
    assert!(failed[0]["error"]["message"].as_str().unwrap().contains("not a list"), "{failed:?}");
    assert_eq!(report["outputs"]["items"], json!([]));
}

#[test]
fn two_items_with_one_key_are_named_before_any_begins() {
    for (over, key, message) in [
        ("inputs.list", "item.n", "items 0 and 2 have the same key `a`"),
        ("inputs.list", "item.gone", "item 0: key `item.gone`"),
        ("inputs.list", "item.none", "item 0 has no key: `item.none` is none"),
    ] {
        let text = format!(
            "atoll = 1\n[inputs]\nlist = {{ type = \"json\", default = [{{ n = \"a\" }}, {{ n = \"b\" }}, {{ n = \"a\" }}] }}\n\
             [steps.all.each]\nover = \"{over} | map('with')\"\nkey = \"{key}\"\n[steps.all.steps.one]\nset = {{ x = 1 }}\n\
             [functions]\nwith = {{ args = [\"it\"], value = \"it | merge({{ 'none': none }})\" }}\n"
        );
        let project = Project::new().file("pipelines/p.toml", &text);
        let ran = project.run(&["run", "p"]).exits(1).stderr_has(message);
        assert!(!ran.stderr.contains("all[0]/one"), "{}", ran.stderr);
    }
}

#[test]
fn a_result_that_the_item_has_not_fails_that_item() {
    let text = "atoll = 1\n[steps.all.each]\nover = \"[1, 2]\"\nresult = \"steps.one.output.x\"\n\
                [steps.all.steps.one]\nwhen = \"item == 1\"\nset = { x = 1 }\n";
    let project = Project::new().file("pipelines/p.toml", text);
    project.run(&["run", "p"]).exits(1).stderr_has("1 of 2 items failed; item 1: ");
}

#[test]
fn items_are_the_same_after_a_resume() {
    let more = format!(
        "{READ}[steps.go]\nneeds = [\"read\"]\nask = {{ question = \"more?\" }}\n\
                        [steps.again]\nneeds = [\"go\"]\ntolerates = [\"all\"]\nset = {{ failed = \"{{{{ steps.all.failed }}}}\" }}\n"
    );
    let project = pipeline(
        "key = \"item\"",
        &more.replace("[outputs]", "[outputs]\nagain = \"steps.again.output.failed\""),
    );
    project.run(&["run", "p", "--no-input"]).exits(7);
    project.run(&["answer", "last", "go", "yes"]).exits(0);
    let outputs = project.run(&["show", "last", "--format", "json"]).exits(0).json()["outputs"].clone();
    assert_eq!(outputs["again"], outputs["failed"]);
    assert_eq!(outputs["failed"][0]["key"], 2);
}

#[test]
fn an_output_that_cannot_be_had_names_what_failed_first() {
    let text = "atoll = 1\n[steps.a]\nshell = { argv = [\"false\"] }\n[steps.b]\nset = { x = \"{{ steps.a.output.stdout }}\" }\n\
                [steps.rest]\ntolerates = [\"a\"]\nset = { y = 1 }\n[outputs]\nx = \"steps.b.output.x\"\n";
    let project = Project::new().file("pipelines/p.toml", text);
    let report = project.run(&["run", "p", "--format", "json"]).exits(1).json();
    let message = report["outputs"]["error"].as_str().unwrap();
    assert!(
        message.starts_with("`a` failed: the command ended with exit code 1; so output `x`"),
        "{message}"
    );
}
