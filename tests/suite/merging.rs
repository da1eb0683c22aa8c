//! How files are laid over each other, as authors see it: layers, blocks, defaults, named tables, settings.

use serde_json::json;

use crate::binary::Project;

/// A pipeline that calls another one, with a loop whose exits have codes.
const LOOPS: &str = r#"
atoll = 1
[inputs]
n     = { type = "int", default = 1 }
whom  = { type = "string", default = "Ada" }
[steps.rounds.loop]
max    = 5
state  = { n = "inputs.n" }
next   = { n = "state.n + 1" }
result = "{ 'n': state.n }"
[steps.rounds.loop.rules.jump]
when = "state.n == 3"
set  = { n = "40" }
[steps.rounds.loop.exits]
far  = { when = "state.n > 30", code = 6 }
near = "state.n == 10"
[steps.rounds.steps.one]
set = { x = "{{ state.n }}" }
[steps.greet]
call = { pipeline = "greet", inherit = true }
[outputs]
status = "steps.rounds.output.status"
text   = "steps.greet.output.text"
[exits]
near = "outputs.status == 'near'"
"#;

const GREET: &str = r#"
atoll = 1
[inputs]
whom = { type = "string", default = "nobody" }
n    = { type = "string", default = "many" }
[steps.greet]
set = { text = "hello {{ inputs.whom }}, {{ inputs.n }} times" }
[outputs]
text = "steps.greet.output.text"
"#;

fn project() -> Project {
    Project::new().file("pipelines/loops.toml", LOOPS).file("pipelines/greet.toml", GREET)
}

#[test]
fn the_exit_of_a_loop_gives_the_code_of_a_run_unless_the_pipeline_has_an_exit_of_the_name() {
    let project = project();
    let report = project.run(&["run", "loops", "--format", "json"]).exits(6).json();
    assert_eq!((&report["status"], &report["outputs"]["status"]), (&json!("far"), &json!("far")));
    project.run(&["run", "loops", "--set", "exits.far=outputs.status == 'far'"]).exits(0).stderr_has("far");
    project.run(&["run", "loops", "--set", "exits.far=false"]).exits(3).stderr_has("no exit `far`");
    project.run(&["run", "loops", "--n", "9"]).exits(0).stderr_has("near");
}

#[test]
fn exits_and_rules_are_changed_one_by_one() {
    let over = "extends = \"loops\"\n[steps.rounds.loop]\nrules.jump = false\nexits.far = \"state.n > 4\"\nexits.soon = { when = \"state.n == 3\", code = 7, before = \"far\" }\n";
    let project = project().file("pipelines/over.toml", over);
    project.run(&["run", "over"]).exits(7).stderr_has("soon");
    project.run(&["run", "over", "--set", "steps.rounds.loop.exits.soon=false"]).exits(6).stderr_has("far");
    project
        .run(&["run", "over", "--set", "steps.rounds.loop.exits.sooon.code=1"])
        .exits(3)
        .stderr_has("did you mean `soon`?");
    let shown = project.run(&["plan", "over", "--format", "json"]).exits(0).json();
    assert_eq!(shown["pipeline"], "over", "a name is not inherited");
}

#[test]
fn inputs_that_both_have_are_passed_on() {
    let project = project();
    project.run(&["run", "loops", "--whom", "Grace"]).exits(6).stdout_has("hello Grace, many times");
    project.run(&["plan", "loops"]).exits(0).stdout_has("inherits  whom");
    let named = "extends = \"loops\"\nsteps.greet.call.inherit = [\"n\"]\n";
    let project = project.file("pipelines/named.toml", named);
    project
        .run(&["check", "named"])
        .exits(3)
        .stdout_has("`n` of `greet` has another type than the input here");
}

#[test]
fn a_setting_reaches_a_called_pipeline() {
    let project = project();
    let set = |text: &str| project.run(&["run", "loops", "--set", text]);
    set("greet:inputs.n.default=7").exits(6).stdout_has("hello Ada, 7 times");
    set("greet:steps.greet.set.text=bye: {{ inputs.whom }}").exits(6).stdout_has("bye: Ada");
    set("gret:inputs.n.default=7").exits(3).stderr_has("no pipeline `gret` takes part").stderr_has("`greet`");
    set("greet:steps.great.set.text=x").exits(3).stderr_has("there is no step `great`");
    set("steps.rounds.loop.state.m=3").exits(3).stderr_has("there is no state `m`");
    set("greet:steps.greet.set.txt=x").exits(3).stderr_has("there is no value `txt`");
    project.run(&["resume", "last"]);
    project.run(&["show", "last"]).exits(0).stdout_has("bye: Ada");
}

#[test]
fn a_file_extends_the_one_that_it_hides_and_a_run_keeps_both() {
    let text = "extends = \"preflight\"\n[inputs]\nwhom = { type = \"string\", default = \"x\" }\n[steps.ask]\nask = { question = \"sure, {{ inputs.whom }}?\" }\n";
    let only = "extends = \"builtin/preflight\"\nname = \"mine\"\n[steps]\nclarity = false\nverdict = false\n[steps.a]\nset = { x = 1 }\n";
    let project = Project::new().file("pipelines/preflight.toml", text).file("spec.md", "# S\n\nA thing.\n");
    project.run(&["check", "preflight"]).exits(0);
    project.run(&["plan", "preflight"]).exits(0).stdout_has("clarity").stdout_has("ask");
    project.run(&["which", "preflight"]).exits(0).stdout_has("overrides <atoll>/pipelines/preflight.toml");
    let project = project
        .file("pipelines/other.toml", "extends = \"builtin/preflght\"\n")
        .file("pipelines/mine.toml", only);
    project.run(&["check", "other"]).exits(3).stdout_has("did you mean `builtin/preflight`?");
    project.run(&["check", "mine"]).exits(3).stdout_has("<atoll>/pipelines/preflight.toml");
    let ejected = project.run(&["eject", "preflight", "--into", "copy"]).exits(0).stdout;
    assert!(ejected.contains("copy/pipelines/preflight.toml") && !ejected.contains("builtin"), "{ejected}");
}

#[test]
fn a_stored_run_keeps_every_layer_under_its_own_path() {
    let hides = "extends = \"greet\"\n[steps.wait]\nask = { question = \"go on?\", choices = [\"yes\", \"no\"] }\n[outputs]\ngo = \"steps.wait.output\"\n";
    let user = "extends = \"greet\"\n[steps.greet]\nset = { more = \"of the user\" }\n[outputs]\nmore = \"steps.greet.output.more\"\n";
    let project =
        Project::new().file("pipelines/greet.toml", hides).file("user/atoll/pipelines/greet.toml", user);
    let home = project.path("user").display().to_string();
    let project = project.env("XDG_CONFIG_HOME", &home);
    project.run(&["check", "greet"]).exits(3).stdout_has("there is no other `greet`");
    project.write("user/atoll/pipelines/greet.toml", &user.replace("extends = \"greet\"", "atoll = 1"));
    project.run(&["run", "greet", "--no-input"]).exits(7);
    project
        .run(&["answer", "last", "wait", "yes"])
        .exits(0)
        .stdout_has("more: of the user")
        .stdout_has("go: yes");
}

#[test]
fn a_prompt_extends_the_one_that_it_hides() {
    let child = "{% extends \"builtin/prompts/preflight/system.md\" %}\n";
    let project =
        Project::new().file("prompts/preflight/system.md", child).file("spec.md", "# S\n\nA thing.\n");
    let plain = Project::new().file("spec.md", "# S\n\nA thing.\n");
    let plan = |project: &Project, pipeline: &str| {
        let plan = project.run(&["plan", pipeline, "--spec", "spec.md"]).exits(0).stdout;
        // A text without tags is shown as it is; one that extends another is named.
        let lines = plan.lines().filter(|line| !line.starts_with("    │ ") && !line.contains("system.md"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(plan(&project, "preflight"), plan(&plain, "preflight"));
    let judge = "{% extends \"prompts/judge/system.md\" %}\n{% block role %}You are a strict judge.\n{{ super() }}{% endblock %}\n";
    let project = project.file("prompts/judge/system.md", judge);
    let shown = project.run(&["plan", "judge", "--questions", "[]"]).exits(0).stdout;
    assert!(
        shown.contains("You are a strict judge.") && shown.contains("You judge software by what it was seen"),
        "{shown}"
    );
    project.write("prompts/judge/system.md", &judge.replace("role", "rule"));
    project
        .run(&["check", "judge"])
        .exits(3)
        .stdout_has("prompts/judge/system.md:2:10")
        .stdout_has("did you mean `role`?");
}

#[test]
fn defaults_apply_to_the_steps_of_one_file_and_plan_says_where_they_are_from() {
    let text = r#"
atoll = 1
[defaults.shell]
timeout = "7s"
shell.env = { A = "1", B = "2" }
forbid = ["secret"]
[defaults.loud]
shell.env = { B = "3" }
set.x = "never"
forbid = ["gate"]
[labels]
secret.help = "s"
gate.help = "g"
own.help = "o"
[steps.a]
class = "loud"
forbid = ["own"]
shell = { argv = ["sh", "-c", "echo $A$B$C"], env = { C = "4" } }
[steps.b]
shell = { argv = ["sh", "-c", "echo $A$B"] }
[steps.c]
set = { y = "{{ steps.b.output.stdout | trim }}" }
[steps.d]
call = { pipeline = "plain" }
[outputs]
a = "steps.a.output.stdout | trim"
b = "steps.c.output"
d = "steps.d.output.d"
"#;
    let plain = "atoll = 1\n[steps.s]\nshell = { argv = [\"sh\", \"-c\", \"echo x$A\"] }\n[outputs]\nd = \"steps.s.output.stdout | trim\"\n";
    let project = Project::new().file("pipelines/defaults.toml", text).file("pipelines/plain.toml", plain);
    let report = project.run(&["run", "defaults", "--format", "json"]).exits(0).json();
    assert_eq!(report["outputs"], json!({"a": "134", "b": {"y": "12"}, "d": "x"}));
    let plan = project.run(&["plan", "defaults", "--format", "json"]).exits(0).json();
    let steps = plan["steps"].as_array().unwrap();
    let a = steps.iter().find(|step| step["step"] == "a").unwrap();
    assert_eq!(a["forbids"], json!(["secret", "gate", "own"]));
    let given = a["defaults"].as_array().unwrap();
    let from = |key: &str| {
        given.iter().find(|given| given["key"] == key).map(|given| (&given["table"], &given["line"]))
    };
    assert_eq!(from("timeout"), Some((&json!("defaults.shell"), &json!(4))));
    assert_eq!(from("shell.env.A"), Some((&json!("defaults.shell"), &json!(5))));
    assert_eq!(from("shell.env.B"), Some((&json!("defaults.loud"), &json!(8))));
    let text = project.run(&["plan", "defaults"]).exits(0).stdout;
    assert!(text.contains("from defaults.shell (pipelines/defaults.toml:4)"), "{text}");
}

#[test]
fn an_overlay_may_name_another_verb() {
    let base = "atoll = 1\nlabels.gate.help = \"g\"\n[steps.a]\nforbid = [\"gate\"]\noutput = { type = \"object\", required = [\"x\"], properties = { x = {} } }\nset = { x = 1 }\n[outputs]\na = \"steps.a.output\"\n";
    let over = "extends = \"base\"\n[steps.a.shell]\nargv = [\"echo\", \"hi\"]\n";
    let project = Project::new().file("pipelines/base.toml", base).file("pipelines/over.toml", over);
    project
        .run(&["check", "over"])
        .exits(0)
        .stdout_has("N0401")
        .stdout_has("`shell` replaces the verb `set`");
    project.run(&["plan", "over"]).exits(0).stdout_has("replaces `set`; it still forbids gate");
    let ran = project.run(&["run", "over"]).exits(0).stdout_has("\"stdout\":\"hi");
    assert!(!ran.stderr.contains("N0401"), "{}", ran.stderr);
}

#[test]
fn files_are_formatted_without_a_change_of_what_they_say() {
    let text = "atoll=1 # version\n\n\n[steps.a]\nset={x=1,long='0123456789012345678901234567890123456789',more=\"0123456789012345678901234567890123456789\"}\nwhen  = 'true' # why\n";
    let made = "atoll = 1  # version\n\n[steps.a]\nset.x    = 1\nset.long = '0123456789012345678901234567890123456789'\nset.more = \"0123456789012345678901234567890123456789\"\nwhen     = 'true'  # why\n";
    let project = Project::new().file("pipelines/a.toml", text).file("pipelines/b/bad.toml", "a = \n");
    project.run(&["fmt", "--check", "pipelines/a.toml"]).exits(4).stdout_is("pipelines/a.toml\n");
    assert_eq!(project.read("pipelines/a.toml"), text);
    project.run(&["fmt"]).exits(3).stderr_has("pipelines/b/bad.toml: TOML parse error");
    assert_eq!(project.read("pipelines/a.toml"), made);
    project.run(&["fmt", "pipelines/a.toml", "--check"]).exits(0).stdout_is("");
    project.run(&["fmt", "pipelines/none.toml"]).exits(1).stderr_has("No such file");
}
