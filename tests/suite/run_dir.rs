//! `run.dir`: a directory of the run for files that are not products.

use std::path::PathBuf;

use crate::binary::Project;

const KEEPS: &str = r#"
atoll = 1
[inputs]
code = { type = "int", default = 0 }
[steps.inner]
call = { pipeline = "inner" }
[steps.log]
needs = ["inner"]
shell = { argv = ["sh", "-c", "echo first > \"$1/log.txt\"", "sh", "{{ run.dir }}"] }
[steps.note]
needs = ["log"]
write = { path = "{{ run.dir }}/deep/note.txt", text = "second\n" }
[steps.read]
needs = ["note"]
idempotent = true
shell = { argv = ["sh", "-c", "cd \"$D\" && cat inner.txt log.txt deep/note.txt && test ! -e stop"], env = { D = "{{ run.dir }}" } }
[steps.end]
needs = ["read"]
shell = { argv = ["sh", "-c", "exit {{ inputs.code }}"] }
[outputs]
text = "steps.read.output.stdout"
dir = "run.dir"
"#;

const INNER: &str =
    "atoll = 1\n[steps.a]\nwrite = { path = \"{{ run.dir }}/inner.txt\", text = \"zeroth\\n\" }\n";

fn project() -> Project {
    Project::new().file("pipelines/p.toml", KEEPS).file("pipelines/inner.toml", INNER)
}

#[test]
fn files_of_a_run_are_shared_by_its_steps_kept_and_removed_with_it() {
    let project = project();
    let run = |code: &str, exit: i32| {
        let report = project.run(&["run", "p", "--code", code, "--format", "json"]).exits(exit).json();
        (report["outputs"].clone(), report["run"].as_str().unwrap().to_owned())
    };
    let (outputs, id) = run("0", 0);
    assert_eq!(outputs["text"], "zeroth\nfirst\nsecond\n");
    let dir = PathBuf::from(outputs["dir"].as_str().unwrap());
    assert!(dir.ends_with(&id) && dir.join("deep/note.txt").is_file(), "{}", dir.display());
    let (other, _) = run("1", 1);
    let other = PathBuf::from(other["dir"].as_str().unwrap());
    assert_ne!(dir, other, "each run has its own");
    assert!(other.join("log.txt").is_file(), "a failed run keeps its files too");
    project.run(&["gc", "--keep", "1", "--dry-run"]).exits(0);
    assert!(dir.exists());
    project.run(&["gc", "--keep", "1"]).exits(0);
    assert!(!dir.exists() && other.exists(), "the files go with their run");
}

#[test]
fn a_run_that_does_not_ask_for_it_has_no_directory() {
    let text = "atoll = 1\n[steps.a]\nshell = { argv = [\"true\"] }\n[outputs]\nid = \"run.id\"\n";
    let project = Project::new().file("pipelines/p.toml", text);
    project.run(&["run", "p"]).exits(0);
    assert!(!project.path(".atoll/files").exists());
}

#[test]
fn a_step_writes_into_no_other_place_of_atoll() {
    for path in ["{{ run.dir }}/../../x", ".atoll/x", "{{ run.dir }}/.git/config"] {
        let text = format!("atoll = 1\n[steps.a]\nwrite = {{ path = \"{path}\", text = \"x\" }}\n");
        let project = Project::new().file("pipelines/p.toml", &text);
        project.run(&["run", "p"]).exits(1).stderr_has("steps may not write into");
    }
}
