//! Steps without an output: what takes their place, and what their readers accept.

use serde_json::{Value, json};

use crate::binary::Project;

/// The report of a run of `text`, which ends with `code`.
fn report(text: &str, code: i32) -> Value {
    let project = Project::new().file("pipelines/p.toml", &format!("atoll = 1\n{text}"));
    project.run(&["run", "p", "--format", "json"]).exits(code).json()
}

fn state<'a>(report: &'a Value, address: &str) -> &'a str {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["address"] == address).unwrap()["state"].as_str().unwrap()
}

/// A step whose output is rejected.
const REJECTED: &str = "[steps.a]\nretry = { max = 0 }\ncheck = [\"output.x > 3\"]\nset = { x = 1 }\n";
/// A step that fails for another reason.
const BROKEN: &str = "[steps.a]\nshell = { argv = [\"false\"] }\n";

#[test]
fn a_value_takes_the_place_of_a_skipped_step_everywhere() {
    let project = Project::new()
        .file(
            "pipelines/p.toml",
            r#"
atoll = 1
[inputs.on]
type = "bool"
default = false
[steps.off]
when = "inputs.on"
set = { list = [1, 2], name = "off" }
[steps.reads]
when = "(steps.off.output.list ?? []) | length == 0"
set = { text = "prompts/p.md", list = "{{ steps.off.output.list ?? [7] }}" }
[steps.all]
each = { over = "steps.off.output.list ?? [1, 2, 3]", result = "steps.one.output.x" }
[steps.all.steps.one]
set = { x = "{{ item ~ (steps.off.output.name ?? '!') }}" }
[steps.l.loop]
max = 2
state = { best = "none", seen = "steps.off.output.list ?? []" }
let = { more = "(state.best.n ?? 0) + 1" }
next = { best = "{ 'n': let.more }" }
[steps.l.steps.x]
set = { y = 1 }
[outputs]
reads = "steps.reads.output ?? none"
all = "steps.all.output"
best = "steps.l.output.best.n ?? none"
name = "steps.off.output.name ?? 'nothing'"
"#,
        )
        .file("prompts/p.md", "{% include \"prompts/inner.md\" %}")
        .file(
            "prompts/inner.md",
            "{% if steps.off.ok %}on{% else %}{{ steps.off.output.name ?? 'it is' }} off{% endif %}",
        );
    let outputs = project.run(&["run", "p", "--format", "json"]).exits(0).json()["outputs"].clone();
    let wanted = json!({
        "reads": {"text": "it is off", "list": [7]},
        "all": ["1!", "2!", "3!"],
        "best": 2,
        "name": "nothing",
    });
    assert_eq!(outputs, wanted);
    let outputs = project.run(&["run", "p", "--on", "--format", "json"]).exits(0).json()["outputs"].clone();
    assert_eq!(outputs["all"], json!(["1off", "2off"]));
    assert_eq!(outputs["name"], "off");
}

#[test]
fn an_unusable_answer_is_an_observation_and_any_other_failure_is_not() {
    let reader = "[steps.b]\nset = { x = \"{{ steps.a.output.x ?? 'nothing' }}\" }\n[outputs]\nb = \"steps.b.output.x ?? none\"\n";
    assert_eq!(report(&format!("{REJECTED}{reader}"), 0)["outputs"], json!({"b": "nothing"}));
    let broken = report(&format!("{BROKEN}{}", reader.replace("output.x ?? 'n", "output.stdout ?? 'n")), 1);
    assert_eq!(state(&broken, "b"), "skipped");
}

#[test]
fn the_status_of_a_step_may_be_read_without_more_words() {
    let reader = "[steps.b]\nset = { x = \"{{ 'fine' if steps.a.ok else steps.a.error.class }}\" }\n[outputs]\nb = \"steps.b.output.x ?? none\"\n";
    assert_eq!(report(&format!("{REJECTED}{reader}"), 0)["outputs"], json!({"b": "rejected"}));
    assert_eq!(state(&report(&format!("{BROKEN}{reader}"), 1), "b"), "skipped");
}

#[test]
fn outputs_that_accept_an_unusable_answer_handle_it() {
    let text = format!("{REJECTED}[outputs]\nx = \"steps.a.output.x ?? 0\"\n");
    assert_eq!(report(&text, 0)["outputs"], json!({"x": 0}));
    let text = format!("{REJECTED}[outputs]\nx = \"steps.a.output.x\"\n");
    report(&text, 1);
}

#[test]
fn a_draft_that_cannot_be_used_is_a_round_without_one() {
    let round = |draft: &str| {
        format!(
            r#"
[steps.l.loop]
max = 2
counts = []
state = {{ drafts = "[]", trouble = "none" }}
next = {{ drafts = "state.drafts + [d.n for d in steps.all.output if d.n is not none]", trouble = "steps.all.output[0].trouble" }}
[steps.l.steps.all]
each = {{ over = "[1]", result = "{{ 'n': steps.measure.output.n ?? none, 'trouble': steps.draft.error.message ?? none }}" }}
[steps.l.steps.all.steps.draft]
retry = {{ max = 0 }}
{draft}
[steps.l.steps.all.steps.measure]
set = {{ n = "{{{{ steps.draft.output.n | int }}}}" }}
[outputs]
drafts = "steps.l.output.drafts ?? none"
trouble = "steps.l.output.trouble ?? none"
"#
        )
    };
    let checked = round("check = [\"output.n == loop.index - 1\"]\nset = { n = 1 }");
    let ran = report(&checked, 0)["outputs"].clone();
    assert_eq!(ran, json!({"drafts": [1], "trouble": null}));
    let never = round("check = [\"output.n == 7\"]\nset = { n = 1 }");
    let ran = report(&never, 0)["outputs"].clone();
    assert_eq!(ran["drafts"], json!([]));
    assert!(ran["trouble"].as_str().unwrap().contains("output.n == 7"), "{ran}");
    let down = round("shell = { argv = [\"false\"] }").replace("output.n | int", "output.stdout | length");
    report(&down, 1);
}

#[test]
fn a_failed_call_is_never_taken_for_an_answer() {
    let inner = format!("atoll = 1\n{REJECTED}[outputs]\nx = \"steps.a.output.x\"\n");
    let outer = "atoll = 1\n[steps.c]\ncall = { pipeline = \"inner\" }\n[steps.b]\nset = { x = \"{{ steps.c.output.x ?? 0 }}\" }\n[outputs]\nx = \"steps.c.output.x ?? 0\"\n";
    let project = Project::new().file("pipelines/inner.toml", &inner).file("pipelines/p.toml", outer);
    let report = project.run(&["run", "p", "--format", "json"]).exits(1).json();
    assert_eq!(state(&report, "b"), "skipped");
}
