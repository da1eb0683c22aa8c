//! Bad input, missing credentials, a provider that is down, a full disk: each gives a clear message, and no
//! results are lost.
#![expect(clippy::disallowed_methods, reason = "tests write files, mount a small disk and look at databases")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::binary::{Project, Ran};

const SPEC: &str = include_str!("../../examples/word-count/spec.md");
const CASE: &str = include_str!("../../examples/word-count/scenarios/counting.yaml");

const PREFLIGHT: &str = include_str!("../../pipelines/preflight.toml");

/// A project with the specification and scenarios of the word counter, and short pauses between attempts.
fn words() -> Project {
    let hasty = PREFLIGHT.replace("2s..30s", "1ms..2ms");
    assert_ne!(hasty, PREFLIGHT);
    let project = Project::new().file("pipelines/preflight.toml", &hasty);
    project.file("spec.md", SPEC).file("scenarios/counting.yaml", CASE)
}

fn factory(project: &Project, more: &[&str]) -> Ran {
    let base = ["run", "factory", "--spec", "spec.md", "--scenarios", "scenarios"];
    project.run(&[&base, more].concat())
}

/// Checks that no model was called.
#[track_caller]
fn nothing_asked(ran: &Ran) {
    assert!(!ran.stderr.contains("asking "), "{}", ran.stderr);
}

#[test]
fn a_specification_that_cannot_be_read_begins_no_run() {
    let project = words().file("empty.md", "");
    std::fs::write(project.path("bytes.md"), [0xff, 0xfe, 0x00]).unwrap();
    for (spec, complaint) in [
        ("nowhere.md", "cannot read `nowhere.md` for `spec`: No such file"),
        ("empty.md", "the file `empty.md` for `spec` is empty"),
        ("bytes.md", "cannot read `bytes.md` for `spec`: it is not UTF-8 text"),
        ("scenarios", "cannot read `scenarios` for `spec`"),
    ] {
        let ran = project.run(&["run", "factory", "--spec", spec, "--scenarios", "scenarios"]).exits(3);
        nothing_asked(&ran.stderr_has(complaint).stderr_has("give a file with `--spec`").stdout_is(""));
    }
    factory(&project, &["--threshold", "200"]).exits(3).stderr_has("threshold");
    let both = project.run(&["run", "factory", "--spec", "nowhere.md", "--scenarios", "none"]).exits(3);
    both.stderr_has("nowhere.md").stderr_has("none").stderr_has("2 errors");
    assert!(!project.path(".atoll/atoll.db").exists(), "a run that cannot start leaves no files");
}

#[test]
fn a_broken_scenario_is_pointed_at_and_nothing_is_spent() {
    let project = words()
        .file("scenarios/broken.yaml", "id: broken\nsteps:\n  - request: [\n")
        .env("ANTHROPIC_API_KEY", "none-is-used")
        .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    let ran =
        factory(&project, &[]).exits(1).stderr_has("scenarios/broken.yaml:3:14").stderr_has("fix the files");
    nothing_asked(&ran);
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!((&shown["status"], &shown["code"]), (&json!("failed"), &json!(1)));
    assert_eq!(shown["spent"], json!({}));
}

#[test]
fn inputs_that_do_not_go_together_are_refused_wherever_they_come_from() {
    let inner = "atoll = 1\n[inputs]\na = { type = 'string' }\n[refuse.none]\nwhen = 'inputs.a is none'\nmessage = 'give an a'\n\
        [refuse.b]\nwhen = 'inputs.a == \"b\"'\nmessage = 'an a is no {{ inputs.a }}'\n[steps.s]\nset = { a = '{{ inputs.a }}' }\n";
    let outer = "atoll = 1\n[steps.inner]\ncall = { pipeline = 'inner', with = { a = '\"b\"' } }\n";
    let project = Project::new().file("pipelines/inner.toml", inner).file("pipelines/outer.toml", outer);
    project.run(&["run", "inner"]).exits(3).stderr_has("error[E0610]: give an a").stdout_is("");
    project.run(&["plan", "inner", "--a", "b"]).exits(3).stderr_has("an a is no b");
    assert!(!project.path(".atoll/atoll.db").exists(), "a run that cannot start leaves no files");
    project.run(&["run", "inner", "--a", "c"]).exits(0);
    project.run(&["run", "outer"]).exits(1).stderr_has("`inner`: an a is no b");
}

#[test]
fn an_unknown_model_is_named() {
    let project = words();
    let ran = factory(&project, &["--judge-model", "claude-hiaku-4-5", "--model", "nobody/any"]).exits(3);
    nothing_asked(
        &ran.stderr_has("unknown model `claude-hiaku-4-5`")
            .stderr_has("claude-haiku-4-5")
            .stderr_has("unknown provider `nobody`")
            .stderr_has("[providers.nobody] of atoll.toml")
            .stderr_has("E0609"),
    );
    assert!(!project.path(".atoll/atoll.db").exists(), "a run that cannot start leaves no files");
}

#[test]
fn a_missing_key_is_named_and_the_run_goes_on_once_it_is_there() {
    let project = words();
    factory(&project, &[])
        .exits(7)
        .stderr_has("ANTHROPIC_API_KEY is not set")
        .stderr_has("export ANTHROPIC_API_KEY=…")
        .stderr_has("continues it");
    project.run(&["resume", "last"]).exits(7).stderr_has("ANTHROPIC_API_KEY is not set");
    // With a key, the next failure is a provider that is down.
    let project = project.env("ANTHROPIC_API_KEY", "sk-none").env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    let ran =
        project.run(&["resume", "last"]).exits(7).stderr_has("cannot reach anthropic at http://127.0.0.1:9");
    assert!(!ran.stderr.contains("cases  begins"), "finished steps are not repeated: {}", ran.stderr);
    assert!(!ran.stderr.contains("sk-none"), "{}", ran.stderr);
}

#[test]
fn a_provider_that_is_down_is_tried_again_and_then_pauses_the_run() {
    let project = words().env("ANTHROPIC_API_KEY", "k").env("ANTHROPIC_BASE_URL", "http://127.0.0.1:9");
    let ran =
        factory(&project, &[]).exits(7).stderr_has("Connection refused").stderr_has("attempt 3").stderr_has(
            "check that the server is running there, or set another address in ATOLL_ANTHROPIC_BASE_URL",
        );
    assert_eq!(ran.stderr.matches("asking anthropic").count(), 3, "{}", ran.stderr);
    // Another run can reuse finished results.
    project
        .run(&["resume", "last", "--replan"])
        .exits(7)
        .stderr_has("reuses recorded results of")
        .stderr_has("Connection refused");
}

#[test]
fn a_changed_pipeline_or_input_is_shown_and_refused() {
    let project = words().file("prompts/preflight/clarity.md", "Judge {{ inputs.spec.text }}\n");
    factory(&project, &[]).exits(7);
    project.write("prompts/preflight/clarity.md", "Judge well {{ inputs.spec.text }}\n");
    let drift = project.run(&["resume", "last"]).exits(3);
    drift.stderr_has("prompts/preflight/clarity.md").stderr_has("+1 Judge well").stderr_has("--replan");
    project.write("prompts/preflight/clarity.md", "Judge {{ inputs.spec.text }}\n");
    project.write("spec.md", "# Something else\n");
    project.run(&["resume", "last"]).exits(3).stderr_has("spec.md (input `spec`)").stderr_has("--replan");
    project.write("spec.md", SPEC);
    project.write("scenarios/more.yaml", CASE);
    project.run(&["resume", "last"]).exits(3).stderr_has("scenarios (input `scenarios`)");
    std::fs::remove_file(project.path("scenarios/more.yaml")).unwrap();
    project.run(&["resume", "last"]).exits(7).stderr_has("ANTHROPIC_API_KEY");
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let project = words();
    factory(&project, &[]).exits(7);
    let path = project.path(".atoll/atoll.db");
    let version = |number: i64| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", number).unwrap();
    };
    version(99);
    let before = std::fs::read(&path).unwrap();
    for arguments in [&["resume", "last"][..], &["runs"], &["show", "last"], &["gc"]] {
        let ran = project
            .run(arguments)
            .exits(1)
            .stderr_has("journal version 99, but this version of atoll supports only up to 2");
        ran.stderr_has("use a newer version of atoll, or another data directory");
    }
    factory(&project, &[]).exits(1).stderr_has("journal version 99");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    version(2);
    project.run(&["resume", "last"]).exits(7);
}

/// A small separate disk, which is removed on drop.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it at `path`. Returns `None` and prints the reason if this machine does not allow mounts.
    fn new(path: PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let words = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let ran = Command::new("mount").args(words).arg(&path).output();
        match ran {
            Ok(output) if output.status.success() => return Some(Self(path)),
            Ok(output) => println!("skipped: mount: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => println!("skipped: mount: {error}"),
        }
        None
    }

    fn change(&self, options: &str) {
        let ran = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(ran.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_full_disk_loses_nothing_that_is_on_record() {
    let project = Project::new().file(
        "pipelines/big.toml",
        r#"
atoll = 1
name = "big"
summary = "writes more than a small disk holds"

[steps.many.each]
over = "range(6)"
parallel = 1

[steps.many.steps.one]
idempotent = true
shell = { argv = ["sh", "-c", 'echo "$1" >> effects; head -c 600000 /dev/zero | tr "\0" "$1"', "sh", "{{ index }}"] }

[outputs]
sizes = "steps.many.output | map(attribute='stdout') | map('length')"
"#,
    );
    let Some(disk) = Disk::new(project.path("small"), "size=2m") else { return };
    let there = ["--data-dir", "small"];
    let ran = project.run(&[&["run", "big"], &there[..]].concat()).exits(1);
    ran.stderr_has("the disk is full").stderr_has("free some space, then run `atoll resume`");
    let before = lines(&project.path("effects")).len();
    assert!((1..6).contains(&before), "{before}");
    disk.change("size=64m");
    project.run(&[&["resume", "last"], &there[..]].concat()).exits(0).stdout_has("600000");
    let effects = lines(&project.path("effects"));
    let again = effects.len() - 6;
    println!("{before} effects before the disk was full, {again} of them repeated");
    assert!(again <= 1, "only the step in progress is repeated: {effects:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let project = words();
    let Some(disk) = Disk::new(project.path("there"), "size=4m") else { return };
    factory(&project, &["--data-dir", "there"]).exits(7);
    disk.change("ro");
    let ran = factory(&project, &["--data-dir", "there"]).exits(1);
    nothing_asked(&ran.stderr_has("there/atoll.db cannot be written: Read-only file system"));
    factory(&project, &["--data-dir", "there/new"])
        .exits(1)
        .stderr_has("cannot be created")
        .stderr_has("--data-dir DIR");
    project.run(&["resume", "last", "--data-dir", "there"]).exits(1).stderr_has("check the permissions");
    // Commands that only show runs need no write access.
    project.run(&["runs", "--data-dir", "there"]).exits(0).stdout_has("factory");
    project.run(&["show", "last", "--data-dir", "there"]).exits(0).stdout_has("ANTHROPIC_API_KEY");
    project.run(&["log", "last", "--data-dir", "there"]).exits(0).stdout_has("run_started");
    project.run(&["gc", "--dry-run", "--data-dir", "there"]).exits(0);
    project.run(&["gc", "--data-dir", "there"]).exits(1).stderr_has("Read-only file system");
    disk.change("rw");
    project.run(&["resume", "last", "--data-dir", "there"]).exits(7).stderr_has("ANTHROPIC_API_KEY");
}
