//! Inputs: what a `call` gives is taken as the command line takes it, and what reaches nothing is refused.

use serde_json::{Value, json};

use crate::binary::Project;

const INNER: &str = r#"
atoll = 1
[inputs]
spec = { type = "file", required = true }
tests = { type = "dir" }
wait = { type = "duration", default = "1s" }
n = { type = "int", default = 1 }
data = { type = "json" }
notes = { type = "file", default = "notes.md" }
[steps.a]
set = { text = "{{ inputs.spec.text }}", files = "{{ inputs.tests.files | map(attribute='path') | list }}", wait = "{{ inputs.wait }}", n = "{{ inputs.n + 1 }}", data = "{{ inputs.data }}", notes = "{{ inputs.notes.name }}" }
[outputs]
all = "steps.a.output"
"#;

fn project(with: &str) -> Project {
    let outer = format!(
        "atoll = 1\n[steps.path]\nset = {{ of = \"docs/spec.md\" }}\n[steps.c]\ncall = {{ pipeline = \"inner\", with = {{ {with} }} }}\n\
         [outputs]\nall = \"steps.c.output.all\"\n"
    );
    let project = Project::new().file("pipelines/inner.toml", INNER).file("pipelines/outer.toml", &outer);
    project.file("docs/spec.md", "# It\n").file("cases/one.yaml", "id: one\n").file("notes.md", "n\n")
}

#[test]
fn a_call_reads_files_and_converts_values_as_the_command_line_does() {
    let with = "spec = \"steps.path.output.of\", tests = \"'cases'\", wait = \"'2m'\", n = \"'41'\", data = \"'plain'\"";
    let report = project(with).run(&["run", "outer", "--format", "json"]).exits(0).json();
    assert_eq!(
        report["outputs"]["all"],
        json!({"text": "# It\n", "files": ["one.yaml"], "wait": 120.0, "n": 42, "data": "plain", "notes": "notes.md"})
    );
}

#[test]
fn what_a_call_cannot_use_is_a_failure_with_the_input_and_the_reason() {
    for (with, message) in [
        ("spec = \"'nowhere.md'\"", "an input of `inner`: cannot read `nowhere.md` for `spec`: "),
        ("spec = \"steps.path.output.of\", n = \"steps.path.output.of\"", "`n` must be a whole number"),
        ("spec = \"[1]\"", "`spec` of `inner` must be a path"),
    ] {
        project(with).run(&["run", "outer"]).exits(1).stderr_has(message);
    }
}

#[test]
fn text_for_a_json_input_is_json() {
    let text = "atoll = 1\n[inputs]\nj = { type = \"json\" }\n[steps.a]\nset = { k = \"{{ inputs.j }}\" }\n[outputs]\nj = \"steps.a.output.k\"\n";
    let project = Project::new().file("pipelines/p.toml", text);
    let broken = project.run(&["run", "p", "--j", "[1, 2"]).exits(3);
    broken.stderr_has("`j` must be JSON").stderr_has("EOF while parsing a list");
    let report = project.run(&["run", "p", "--j", "{\"a\": [1]}", "--format", "json"]).exits(0).json();
    assert_eq!(report["outputs"]["j"], json!({"a": [1]}));
}

#[test]
fn an_input_that_is_nested_too_deeply_is_told_the_limit() {
    let text = "atoll = 1\n[inputs]\nj = { type = \"json\" }\nl = { type = \"list\", default = [] }\n[steps.a]\n\
        set = { j = \"{{ inputs.j }}\", l = \"{{ inputs.l }}\" }\n";
    let project = Project::new().file("pipelines/p.toml", text);
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for (input, levels) in [("--j", 65), ("--j", 200), ("--l", 65)] {
        let ran = project.run(&["run", "p", input, &nested(levels)]).exits(3);
        ran.stderr_has("E0603").stderr_has("nested more than 64 levels deep");
    }
    project.run(&["run", "p", "--j", &nested(64), "--l", &nested(64)]).exits(0);
}

#[test]
fn a_setting_that_reaches_nothing_is_refused_with_the_nearest_name() {
    let text = "atoll = 1\n[inputs]\nmodel = { type = \"string\", default = \"m\" }\n[steps.generate]\nset = { k = \"{{ inputs.model }}\" }\n";
    let project = Project::new().file("pipelines/p.toml", text);
    for (set, near) in [
        ("steps.genrate.timeout=5m", "did you mean `generate`?"),
        ("inputs.modle.default=x", "did you mean `model`?"),
    ] {
        let ran = project.run(&["run", "p", "--set", set]).exits(3);
        ran.stderr_has("`--set` reaches nothing").stderr_has(near);
    }
    project.run(&["run", "p", "--set", "steps.generate.timeout=5m"]).exits(0);
}

#[test]
fn a_model_that_cannot_be_asked_is_seen_before_the_run() {
    let text = r#"
atoll = 1
[steps.known.llm]
model = "claude-haiku-4-5"
prompt = "x"
[steps.misspelt.llm]
model = ["claude-haiku-4-5", "claud-haiku-4-5"]
prompt = "x"
[steps.unpriced.llm]
model = "openrouter/some/model"
prompt = "x"
[steps.counted.llm]
model = "openrouter/another/model"
unknown_cost = "count"
prompt = "x"
[steps.worker.agent]
model = "nowhere/m"
prompt = "x"
"#;
    let project = Project::new().file("pipelines/p.toml", text);
    let said = |project: &Project| -> Vec<(u64, String)> {
        let found = project.run(&["check", "p", "--format", "json"]).exits(0).json();
        let found = found["diagnostics"].as_array().cloned().unwrap_or_default();
        let about =
            |one: &Value| (one["line"].as_u64().unwrap(), one["message"].as_str().unwrap().to_owned());
        found.iter().filter(|one| one["code"] == "W0403").map(about).collect()
    };
    let expected = |lines: &[(u64, &str)]| -> Vec<(u64, String)> {
        lines.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    };
    let (misspelt, provider) = (
        (7, "unknown model `claud-haiku-4-5`"),
        (17, "unknown provider `nowhere` in the model name `nowhere/m`"),
    );
    let unpriced = (10, "the price of `openrouter/some/model` is unknown");
    assert_eq!(said(&project), expected(&[misspelt, unpriced, provider]));
    let project =
        project.file("atoll.toml", "[models.\"openrouter/some/model\"]\nprice = { input = 1, output = 2 }\n");
    assert_eq!(said(&project), expected(&[misspelt, provider]), "the project's price counts");
}

#[test]
fn check_looks_at_models_that_are_defaults_and_models_of_programs() {
    let text = r#"atoll = 1
[inputs]
wrong = { type = "model", default = "nosuch/model" }
right = { type = "model", default = "claude-haiku-4-5" }
free = { type = "model", default = "openrouter/some/model" }
[steps.a]
llm = { model = "{{ inputs.wrong }}", prompt = "x" }
[steps.b]
llm = { model = "{{ inputs.free }}", prompt = "x" }
[steps.c]
llm = { model = ["{{ inputs.right }}"], prompt = "x" }
[steps.d]
agent = { cli = "claud", prompt = "x" }
[steps.e]
agent = { cli = "claude", model = "claude-hiaku-4-5", prompt = "x" }
[steps.f]
agent = { cli = "claude", model = "nosuch/model", prompt = "x" }
[steps.g]
agent = { cli = "claude", model = "haiku", prompt = "x" }
[steps.h]
agent = { cli = "codex", prompt = "x" }
"#;
    let project = Project::new().file("pipelines/p.toml", text);
    let found = project.run(&["check", "p", "--format", "json"]).exits(0).json();
    let found = found["diagnostics"].as_array().cloned().unwrap_or_default();
    let said: Vec<(u64, &str)> = found
        .iter()
        .filter(|one| one["code"] == "W0403")
        .map(|one| (one["line"].as_u64().unwrap(), one["message"].as_str().unwrap()))
        .collect();
    let unpriced = said.iter().find(|(line, _)| *line == 9).expect("the default has no price");
    assert!(unpriced.1.starts_with("the price of `openrouter/some/model` is unknown"), "{said:?}");
    let lines: Vec<u64> = said.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 9, 13, 15, 17, 21], "{said:?}");
    assert_eq!(said[0].1, "unknown provider `nosuch` in the model name `nosuch/model`");
    assert_eq!(said[3].1, "unknown model `claude-hiaku-4-5`");
}
