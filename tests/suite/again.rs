//! Resuming with changed pipelines and raised caps, and recorded and replayed answers, with the real binary.

use crate::binary::Project;

const PIPELINE: &str = r#"
atoll = 1
name = "two"

[steps.first]
shell = { argv = ["sh", "-c", "echo first >> effects; echo one"] }

[steps.second]
shell = { argv = ["sh", "-c", "echo second >> effects; echo 'WORD {{ steps.first.output.stdout | trim }}'"] }

[steps.question]
needs = ["second"]
ask = { question = "go on?" }

[outputs]
text = "steps.second.output.stdout"
"#;

#[test]
fn a_changed_pipeline_is_refused_and_a_replan_takes_over_what_is_the_same() {
    let project = Project::new().file("two.toml", &PIPELINE.replace("WORD", "old"));
    project.run(&["run", "two.toml", "--no-input"]).exits(7);
    assert_eq!(project.read("effects"), "first\nsecond\n");
    project.write("two.toml", &PIPELINE.replace("WORD", "new"));
    project.run(&["resume", "last", "--no-input"]).exits(3).stderr_has("two.toml").stderr_has("--replan");
    project.run(&["resume", "last", "--no-input", "--replan"]).exits(7).stderr_has("reuses recorded results");
    assert_eq!(project.read("effects"), "first\nsecond\nsecond\n", "the result of the first step was reused");
    project.run(&["answer", "last", "question", "yes"]).exits(0).stdout_has("new one");
}

#[test]
fn a_replan_reads_files_again() {
    const READING: &str = "atoll = 1\n[steps.notes]\nread = { path = \"notes.txt\" }\n[steps.question]\n\
        needs = [\"notes\"]\nask = { question = \"go on?\" }\n[outputs]\ntext = \"steps.notes.output.value\"\n";
    let project = Project::new().file("reading.toml", READING).file("notes.txt", "old");
    project.run(&["run", "reading.toml", "--no-input"]).exits(7);
    project.write("notes.txt", "new");
    project.run(&["resume", "last", "--no-input", "--replan"]).exits(7);
    project.run(&["answer", "last", "question", "yes"]).exits(0).stdout_has("text: new");
}

#[test]
fn a_replan_packs_directories_and_writes_files_again() {
    const PACKING: &str = "atoll = 1\n[steps.code]\npack = { dir = \"code\" }\n[steps.note]\n\
        write = { path = \"note.txt\", text = \"written\" }\n[steps.question]\nneeds = [\"code\", \"note\"]\n\
        ask = { question = \"go on?\" }\n[outputs]\nfiles = \"steps.code.output.files | map(attribute='path') | join(' ')\"\n";
    let project = Project::new().file("packing.toml", PACKING).file("code/a.txt", "a");
    project.run(&["run", "packing.toml", "--no-input"]).exits(7);
    project.write("code/b.txt", "b");
    project.write("note.txt", "changed since");
    project.run(&["resume", "last", "--no-input", "--replan"]).exits(7);
    project.run(&["answer", "last", "question", "yes"]).exits(0).stdout_has("files: a.txt b.txt");
    assert_eq!(project.read("note.txt"), "written");
}

#[test]
fn a_cap_stops_what_costs_something_and_a_raised_one_lets_it_go_on() {
    let asking =
        "\n[limits]\ncalls = 0\n\n[steps.paid]\nllm = { model = \"local/any\", prompt = \"hello\" }\n";
    let limited = PIPELINE.replace("needs = [\"second\"]", "needs = [\"second\", \"paid\"]") + asking;
    let project = Project::new().file("two.toml", &limited).env("ATOLL_LOCAL_BASE_URL", "http://127.0.0.1:9");
    project.run(&["run", "two.toml", "--no-input"]).exits(5).stderr_has("--limit calls=N");
    assert_eq!(project.read("effects"), "first\nsecond\n", "steps without cost continue");
    let raised = project.run(&["resume", "last", "--no-input", "--limit", "calls=10"]).exits(7);
    raised.stderr_has("asking local/any").stderr_has("cannot reach local");
    project.run(&["runs", "--format", "json"]).exits(0).stdout_has("outage");
}
