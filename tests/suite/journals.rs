//! Journals of older formats: `tests/journals/v1.sql` holds the database of the last version that wrote format 1.
#![expect(clippy::disallowed_methods, reason = "tests make a database of an older version")]

use serde_json::json;

use crate::binary::Project;

const WAITING: &str = r#"
atoll = 1
[steps.hello]
shell = { argv = ["echo", "hello"] }
[steps.sure]
needs = ["hello"]
ask = { question = "sure?", choices = ["yes", "no"] }
[outputs]
sure = "steps.sure.output"
"#;

const WAITS: &str = "01m8n43ymr3va7m2h4xe5kcfbh";
const KILLED: &str = "01m8n43yqb5cjcdmn0kmvhszjc";
const FINISHED: &str = "01m8n43yjbpc1895g0vbav043z";

fn old() -> Project {
    let project = Project::new().file("waiting.toml", WAITING);
    std::fs::create_dir_all(project.path(".atoll")).unwrap();
    let db = rusqlite::Connection::open(project.path(".atoll/atoll.db")).unwrap();
    db.execute_batch(include_str!("../journals/v1.sql")).unwrap();
    project.run(&["trust", ".atoll", "--yes"]).exits(0);
    project
}

#[test]
fn runs_of_format_1_are_listed_shown_and_exported() {
    let project = old();
    project.write("now.toml", "atoll = 1\n[steps.a]\nset = { n = 1 }\n");
    for newer in 0..2 {
        let runs = project.run(&["runs", "--format", "json"]).exits(0).json();
        assert_eq!(runs["runs"].as_array().unwrap().len(), 3 + newer);
        project.run(&["show", FINISHED]).exits(0).stdout_has("2 of 2 items").stdout_has("room a");
        let shown = project.run(&["show", WAITS, "--format", "json"]).exits(0).json();
        assert_eq!((&shown["status"], &shown["code"]), (&json!("waiting"), &json!(7)));
        let log = project.run(&["log", WAITS, "--format", "json"]).exits(0);
        assert_eq!(log.stdout.lines().count(), 5);
        project.run(&["cost", KILLED]).exits(0);
        // The second time a process of this version has written to the database.
        project.run(&["run", "now.toml", "-q"]).exits(0);
    }
}

#[test]
fn runs_of_format_1_are_not_continued_and_the_reason_is_said() {
    let project = old();
    let before = project.run(&["log", WAITS]).stdout;
    for run in [WAITS, KILLED, FINISHED] {
        project
            .run(&["resume", run])
            .exits(2)
            .stderr_has("has a journal of format 1, and this version of atoll continues only format 2")
            .stderr_has(&format!("show it with `atoll show {run}`"));
    }
    project.run(&["answer", WAITS, "sure", "yes"]).exits(2).stderr_has("journal of format 1");
    assert_eq!(project.run(&["log", WAITS]).stdout, before);
    project.run(&["resume", WAITS, "--replan"]).exits(7).stderr_has("(1 available)");
    let log = project.run(&["log", "last"]).exits(0);
    assert!(log.stdout.contains("\"cached\":true"), "{}", log.stdout);
    project.run(&["answer", "last", "sure", "yes"]).exits(0).stdout_is("sure: yes\n");
}
