//! The command line as users meet it: the real binary in a temporary project.
#![expect(clippy::disallowed_methods, reason = "tests open a terminal and write files")]

use serde_json::json;

use crate::binary::Project;

const HELLO: &str = r#"
atoll = 1
name = "hello"
summary = "says hello"

[inputs.whom]
type = "string"
required = true
help = "who is greeted"

[inputs.max_n]
type = "int"
default = 3
min = 1
help = "how many squares"

[steps.greet]
set = { text = "hello {{ inputs.whom }}" }

[steps.many.each]
over = "range(inputs.max_n)"

[steps.many.steps.one]
set = { square = "{{ item * item }}", after = "{{ steps.greet.output.text }}" }

[outputs]
text = "steps.greet.output.text"
count = "steps.many.output | length"

[exits]
too_few = { when = "outputs.count < 2", code = 4 }
"#;

const ASKING: &str = r#"
atoll = 1
name = "asking"
summary = "asks"

[steps.go]
ask = { question = "shall we?", choices = ["yes", "no"] }

[outputs]
answer = "steps.go.output"
"#;

fn hello() -> Project {
    Project::new().file("pipelines/hello.toml", HELLO)
}

#[test]
fn a_run_prints_results_on_stdout_and_progress_on_stderr() {
    let project = hello();
    project
        .run(&["run", "hello", "--whom", "Ada", "--max-n", "4"])
        .exits(0)
        .stdout_is("text: hello Ada\ncount: 4\n")
        .stderr_has("✓ greet")
        .stderr_has("4 of 4 items")
        .stderr_has("exit 0");
    let quiet = project.run(&["run", "hello", "--whom=Ada", "--quiet"]).exits(0);
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
    assert!(!quiet.stderr.contains('\u{1b}') && !quiet.stdout.contains('\u{1b}'));
    project.run(&["run", "hello", "--whom=Ada", "--color=always"]).exits(0).stdout_has("\u{1b}[1mtext");
}

#[test]
fn a_run_as_json_has_the_documented_keys_and_can_be_shown_again() {
    let project = hello();
    let ran = project.run(&["run", "hello", "--whom", "Ada", "--max_n", "1", "--format", "json"]).exits(4);
    let run = ran.json();
    let keys: Vec<&str> = run.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "version",
            "run",
            "pipeline",
            "status",
            "code",
            "started_at",
            "finished_at",
            "outputs",
            "spent",
            "steps"
        ]
    );
    assert_eq!((&run["version"], &run["status"], &run["code"]), (&json!(1), &json!("too_few"), &json!(4)));
    assert_eq!(run["outputs"], json!({"text": "hello Ada", "count": 1}));
    let states: Vec<_> =
        run["steps"].as_array().unwrap().iter().map(|s| (&s["address"], &s["state"])).collect();
    assert_eq!(states, [(&json!("greet"), &json!("done")), (&json!("many"), &json!("done"))]);

    let id = run["run"].as_str().unwrap();
    assert_eq!(project.run(&["show", &id[..12], "--format", "json"]).exits(0).json(), run);
    project.run(&["show", "last"]).exits(0).stdout_has("too_few (exit 4)").stdout_has("✓ greet");
    project.run(&["show", "last", "greet"]).exits(0).stdout_has("succeeded").stdout_has("text: hello Ada");
    let many = project.run(&["show", "last", "many", "--format", "json"]).exits(0).json();
    assert_eq!(many["output"], json!([{"square": 0, "after": "hello Ada"}]));
    project.run(&["show", "last", "gret"]).exits(2).stderr_has("did you mean `greet`?");
    project.run(&["show", "nope"]).exits(2).stderr_has("unknown run nope");

    let runs = project.run(&["runs", "--format", "json"]).exits(0).json();
    assert_eq!((&runs["runs"][0]["run"], &runs["runs"][0]["status"]), (&run["run"], &json!("too_few")));
    project.run(&["runs"]).exits(0).stdout_has(id);
    project
        .run(&["log", "last", "--address", "many"])
        .exits(0)
        .stdout_has("many[0]")
        .stdout_has("item_closed");
    project.run(&["resume", id, "--format", "json"]).exits(4);
}

#[test]
fn inputs_are_options_with_help_and_near_words() {
    let project = hello();
    project
        .run(&["run", "hello", "--help"])
        .exits(0)
        .stdout_has("--whom <TEXT>")
        .stdout_has("who is greeted [required]")
        .stdout_has("how many squares [from 1] [default: 3]");
    project.run(&["run", "hello", "--whon", "x"]).exits(2).stderr_has("--whom");
    project.run(&["run", "hello"]).exits(3).stderr_has("needs the input `whom`");
    project.run(&["run", "hello", "--whom", "x", "--max-n", "0"]).exits(3).stderr_has("max_n");
    project.run(&["run", "--whom", "x"]).exits(2).stderr_has("after its name");
    project.run(&["run", "helo", "--whom", "x"]).exits(3).stderr_has("no pipeline `helo`");
    project.run(&["run", "hello", "--input", "whom=Eve"]).exits(0).stdout_has("hello Eve");
    project.run(&["runn"]).exits(2).stderr_has("run");
    assert!(!project.run(&["runs"]).exits(0).stdout.contains("helo"), "what cannot begin leaves no run");
}

#[test]
fn events_are_lines_of_json() {
    let project = hello();
    let lines = project.run(&["run", "hello", "--whom", "Ada", "--events", "-"]).exits(0).json_lines();
    assert_eq!((&lines[0]["fact"], &lines[0]["seq"]), (&json!("run_started"), &json!(1)));
    assert_eq!(lines.last().unwrap()["fact"], "finished");
    let seqs: Vec<u64> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    project.run(&["run", "hello", "--whom", "Ada", "--events", "e.jsonl", "--format", "json"]).exits(0);
    assert_eq!(project.read("e.jsonl").lines().count(), lines.len());
    project.run(&["run", "hello", "--whom", "A", "--events", "-", "--format", "json"]).exits(2);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let project = hello();
    let mut child = project.command(&["run", "hello", "--whom", "Ada", "--events", "-"]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = crate::binary::Ran::of(&["run"], &child.wait_with_output().unwrap()).exits(0);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn plan_and_check_write_nothing() {
    let project = hello().file("prompts/x.md", "Dear {{ inputs.whom }}");
    project
        .run(&["plan", "hello", "--whom", "Ada"])
        .exits(0)
        .stdout_has("greet  set")
        .stdout_has("│ hello Ada")
        .stdout_has("one  set")
        .stdout_has("square  reads item")
        .stdout_has("after  reads steps.greet.output.text");
    let plan = project.run(&["plan", "hello", "--format", "json"]).exits(0).json();
    assert_eq!(plan["steps"][1]["step"], "many");
    assert_eq!(plan["steps"][1]["after"], json!(["greet"]));
    project.run(&["check", "hello"]).exits(0).stdout_is("").stderr_has("no mistakes found");
    project.write("pipelines/bad.toml", "atoll = 1\nname = \"bad\"\n[steps.a]\nsett = { x = 1 }\n");
    project.run(&["check", "bad"]).exits(3).stdout_has("bad.toml:4:1");
    let found = project.run(&["check", "bad", "--format", "json"]).exits(3).json();
    assert_eq!((&found["version"], &found["diagnostics"][0]["line"]), (&json!(1), &json!(4)));
    let set = ["check", "hello", "--set", "steps.greet.sett=1"];
    project.run(&set).exits(3);
    project.run(&["graph", "hello"]).exits(0).stdout_has("flowchart TD");
    assert!(!project.path(".atoll").exists());
}

#[test]
fn a_changed_pipeline_is_not_resumed_unawares() {
    let project = Project::new().file("pipelines/asking.toml", ASKING);
    project.run(&["run", "asking"]).exits(7).stderr_has("waiting").stderr_has("go VALUE` answers");
    project.write("pipelines/asking.toml", &ASKING.replace("asks", "asks again"));
    project.run(&["resume", "last"]).exits(3).stderr_has("pipelines/asking.toml").stderr_has("--replan");
    project.write("pipelines/asking.toml", ASKING);
    project.run(&["resume", "last"]).exits(7);
    project.run(&["answer", "last", "og", "yes"]).exits(2).stderr_has("did you mean `go`?");
    project.run(&["answer", "last", "go", "perhaps"]).exits(2).stderr_has("yes, no");
    project.run(&["answer", "last", "go", "yes"]).exits(0).stdout_is("answer: yes\n");
    project.run(&["show", "last"]).exits(0).stdout_has("succeeded").stdout_has("answer: yes");
}

#[test]
fn texts_come_from_the_nearest_layer_and_can_be_ejected() {
    let project = Project::new().file("atoll.toml", "[lanes]\nllm = 2\n").standing_in("deep/er");
    project.run(&["which", "preflight"]).exits(0).stdout_is("<atoll>/pipelines/preflight.toml (embedded)\n");
    let written = project.run(&["eject", "preflight"]).exits(0);
    assert!(
        written.stdout.lines().any(|line| line.ends_with("pipelines/preflight.toml")),
        "{}",
        written.stdout
    );
    assert!(project.path("pipelines/preflight.toml").exists(), "the project is where atoll.toml is");
    project.run(&["which", "preflight"]).exits(0).stdout_is(
        "pipelines/preflight.toml (project)\n  overrides <atoll>/pipelines/preflight.toml (embedded)\n",
    );
    project.run(&["eject", "preflight"]).exits(0).stdout_is("");
    project.write(
        "pipelines/preflight.toml",
        "atoll = 1\nname = \"preflight\"\nsummary = \"mine\"\n[steps.a]\nset = {}\n",
    );
    project.run(&["eject", "preflight", "--into", "there"]).exits(0);
    project.run(&["which", "preflite"]).exits(2).stderr_has("did you mean");
    // What is there to be extended is suggested for that alone.
    let none = project.run(&["check", "functions/trial"]).exits(3).stdout_has("there is no pipeline");
    assert!(!none.stdout.contains("did you mean"), "{}", none.stdout);
    project.write("deep/er/sharing.toml", "atoll = 1\nextends = \"functions/trial\"\n");
    project.run(&["check", "sharing.toml"]).exits(3).stdout_has("did you mean `functions/trials`?");
    project.run(&["check", "preflite"]).exits(3).stdout_has("did you mean `preflight`?");
    project.write("atoll.toml", "[lane]\nllm = 2\n");
    project.run(&["check", "preflight"]).exits(3).stderr_has("did you mean `lanes`?");
}

#[test]
fn everything_can_be_explained() {
    let project = Project::new();
    project.run(&["--help"]).exits(0).stdout_has("Exit codes:").stdout_has(" 7  waits for an answer");
    project.run(&["--version"]).exits(0).stdout_has(env!("CARGO_PKG_VERSION"));
    project.run(&["verbs"]).exits(0).stdout_has("set ").stdout_has("loop ");
    project.run(&["explain", "e0001"]).exits(0).stdout_has("E0001");
    project.run(&["explain", "verb", "set"]).exits(0).stdout_has("[steps.");
    project.run(&["explain", "verb", "sett"]).exits(2).stderr_has("did you mean `set`?");
    project
        .run(&["explain", "filter", "mean"])
        .exits(0)
        .stdout_has("mean(attribute=none)")
        .stdout_has("returns");
    let all = project.run(&["explain", "filters"]).exits(0);
    all.stdout_has("  round(digits=0)  Rounded").stdout_has("divisibleby, endingwith");
    project.write("p.toml", "atoll = 1\n[steps.a]\nset = { x = \"{{ 1 | zzzzzz }} {{ 'a' | upper }}\" }\n");
    let unknown = project.run(&["check", "p.toml"]).exits(3).stdout_has("`atoll explain filters` lists");
    assert!(!unknown.stdout.contains("did you mean"), "{}", unknown.stdout);
    project.run(&["completions", "bash"]).exits(0).stdout_has("_atoll");
    let verbs = project.run(&["verbs", "--format", "json"]).exits(0).json();
    assert_eq!(verbs["verbs"][0]["name"], "set");
}

#[test]
fn runs_are_kept_where_the_user_says() {
    let project = hello().env("ATOLL_DATA", "kept");
    project.run(&["run", "hello", "--whom", "Ada", "-q"]).exits(0);
    assert!(project.path("kept/atoll.db").exists() && !project.path(".atoll").exists());
    assert_eq!(project.read("kept/.gitignore"), "*\n");
    project.run(&["show", "last"]).exits(0).stdout_has("hello Ada");
    project.run(&["show", "last", "--data-dir", "elsewhere"]).exits(2).stderr_has("no runs in");
    assert!(!project.path("elsewhere").exists(), "looking makes nothing");
    project.write("file", "");
    project.run(&["run", "hello", "--whom", "Ada", "--data-dir", "file/x"]).exits(1).stderr_has("--data-dir");
}

#[test]
fn old_runs_are_removed_on_request_only() {
    let project = hello();
    for whom in ["Ada", "Eve", "Mia"] {
        project.run(&["run", "hello", "--whom", whom, "-q"]).exits(0);
    }
    let count = || project.run(&["runs", "--format", "json"]).json()["runs"].as_array().unwrap().len();
    project.run(&["gc"]).exits(0).stdout_has("0 runs");
    let dry = project.run(&["gc", "--keep", "1", "--dry-run", "--format", "json"]).exits(0).json();
    assert_eq!((dry["removed"].as_array().unwrap().len(), count()), (2, 3));
    project.run(&["gc", "--keep", "1"]).exits(0).stdout_has("2 runs");
    assert_eq!(count(), 1);
    project.run(&["show", "last"]).exits(0).stdout_has("hello Mia");
}

#[test]
fn a_pipeline_that_cannot_be_read_is_named() {
    let project = hello().file("pipelines/directory.toml/x", "").file("prompts/p.md", "");
    std::fs::write(project.path("pipelines/bytes.toml"), [0xff, 0xfe]).unwrap();
    for (name, why) in [("directory", "directory"), ("bytes", "UTF-8")] {
        let ran = project.run(&["check", name]).exits(3);
        assert!(ran.stdout.contains("E0003") && ran.stdout.contains(why), "{}{}", ran.stdout, ran.stderr);
    }
}

/// A project that is not trusted may have links and pipes where texts are copied to and read from.
#[test]
fn ejecting_follows_no_link_and_pipes_block_nothing() {
    let project = Project::new();
    let outside = tempfile::tempdir().unwrap();
    let link = |target: &std::path::Path, at: &str| {
        std::os::unix::fs::symlink(target, project.path(at)).unwrap();
    };
    project.write("pipelines/preflight.toml", "mine");
    std::fs::remove_file(project.path("pipelines/preflight.toml")).unwrap();
    link(&outside.path().join("new.toml"), "pipelines/preflight.toml");
    project
        .run(&["eject", "preflight", "--into", "."])
        .exits(2)
        .stderr_has("differ: pipelines/preflight.toml");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    std::fs::create_dir(project.path("into")).unwrap();
    link(outside.path(), "into/pipelines");
    project.run(&["eject", "preflight", "--into", "into", "--force"]).exits(1).stderr_has("symbolic link");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    for name in ["tape.jsonl", "pipelines/pipe.toml"] {
        let made = std::process::Command::new("mkfifo").arg(project.path(name)).status().unwrap();
        assert!(made.success());
    }
    project.run(&["cassette", "list", "tape.jsonl"]).exits(3).stderr_has("not a regular file");
}

/// What authors of pipelines write is shown as it is: it steers no terminal and begins no line.
#[test]
fn texts_of_pipelines_are_shown_in_one_line_without_what_is_hidden() {
    let pipeline = r#"
atoll = 1
summary = "S\u001b[31m\u202e\u009b\n::error::forged"
inputs.x = { type = "string", default = "d\u001b[31m\u202e\n::error::forged", help = "h\u009b\uFFFF\n::error::forged" }
[steps.l.loop]
max = 2
result = "1"
[steps.l.loop.exits]
st = "loop.index == 2"
[steps.l.steps.s]
set = { a = "{{ inputs.x }}" }
[exits]
ex = "true"
"#;
    let project = Project::new().file("p.toml", pipeline);
    let calls: [&[&str]; 8] = [
        &["plan", "p.toml"],
        &["run", "p.toml", "--help"],
        &["run", "p.toml", "--color=always"],
        &["show", "last"],
        &["show", "last", "l"],
        &["runs"],
        &["run", "no\u{1b}[31m\u{202e}\n::error::forged.toml"],
        &["check", "no\u{202e}\n::error::forged.toml"],
    ];
    for call in calls {
        let ran = project.run(call);
        for line in ran.stdout.lines().chain(ran.stderr.lines()) {
            assert!(!line.trim_start().starts_with("::"), "{call:?}: {line:?}");
            let styles = ["0", "1", "2", "4", "32", "33", "94"].map(|code| format!("\u{1b}[{code}m"));
            let plain = styles.iter().fold(line.to_owned(), |plain, style| plain.replace(style, ""));
            let hidden = |c: char| c.is_control() && c != '\t' || matches!(c, '\u{202e}' | '\u{ffff}');
            assert!(!plain.contains(hidden), "{call:?}: {line:?}");
        }
    }
}
