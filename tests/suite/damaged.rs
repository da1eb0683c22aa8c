//! Missing, truncated or invalid data, and inputs that are not files: clear errors, never success.
#![expect(clippy::disallowed_methods, reason = "tests damage files")]

use std::fs;
use std::path::Path;

use crate::binary::Project;
use crate::fifo::{Fifo, write_line};

const PLAIN: &str = "atoll = 1\n[inputs]\ntext = { type = \"file\" }\n[steps.a]\nset = { n = 1 }\n[outputs]\nn = \"steps.a.output.n\"\n";

#[test]
fn an_empty_database_and_a_data_directory_that_is_none_are_errors() {
    let project = Project::new().file("p.toml", PLAIN).file(".atoll/atoll.db", "");
    for arguments in [&["runs"][..], &["show", "last"], &["run", "p.toml"], &["resume", "last"], &["gc"]] {
        let named = [arguments, &["--data-dir", ".atoll"]].concat();
        project.run(&named).exits(1).stderr_has("is empty").stderr_has("move it away");
    }
    assert_eq!(fs::metadata(project.path(".atoll/atoll.db")).unwrap().len(), 0);
    let project = Project::new().file("p.toml", PLAIN).file("data", "a file");
    for arguments in [&["runs", "--data-dir", "data"][..], &["show", "last", "--data-dir", "data"]] {
        project.run(arguments).exits(1).stderr_has("data");
    }
    let project = Project::new();
    project.run(&["runs", "--data-dir", "nowhere"]).exits(0).stderr_has("the directory does not exist");
}

#[test]
fn data_that_is_deleted_or_truncated_under_a_run_ends_it() {
    let deleted: fn(&Path) = |data| fs::remove_dir_all(data).unwrap();
    let truncated: fn(&Path) = |data| {
        fs::OpenOptions::new().write(true).truncate(true).open(data.join("atoll.db")).map(drop).unwrap();
    };
    for damage in [deleted, truncated] {
        ends_when_its_data_is(damage);
    }
}

fn ends_when_its_data_is(damaged: impl Fn(&Path)) {
    let text = "atoll = 1\n[inputs]\nup = { type = \"string\" }\ngo = { type = \"string\" }\n[steps.wait]\nidempotent = true\n\
                shell = { argv = [\"sh\", \"-c\", 'echo up > \"$1\"; cat \"$2\"', \"sh\", \"{{ inputs.up }}\", \"{{ inputs.go }}\"] }\n";
    let project = Project::new().file("p.toml", text);
    let mut up = Fifo::new(project.path("up"));
    nix::unistd::mkfifo(&project.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (at, go) = (up.path().display().to_string(), project.path("go").display().to_string());
    let child = project.command(&["run", "p.toml", "--up", &at, "--go", &go]).spawn().unwrap();
    assert_eq!(up.line(), "up");
    damaged(&project.path(".atoll"));
    write_line(go.as_ref(), "x");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("was deleted, replaced or truncated while it was in use"), "{stderr}");
    assert!(!stderr.contains("succeeded ·"), "{stderr}");
}

#[test]
fn events_that_cannot_be_written_are_no_success() {
    let project = Project::new().file("p.toml", PLAIN);
    let ran = project.run(&["run", "p.toml", "--events", "/dev/full"]).exits(1);
    ran.stderr_has("not all events could be written to /dev/full: No space left on device");
    project.run(&["runs"]).exits(0).stdout_has("succeeded");
    nix::unistd::mkfifo(&project.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.run(&["run", "p.toml", "--events", "pipe"]).exits(2).stderr_has("no process reads this pipe");
    project.run(&["run", "p.toml", "--events", "nowhere/x"]).exits(2).stderr_has("No such file");
}

#[test]
fn pipes_and_endless_files_are_no_inputs() {
    let project = Project::new().file("p.toml", PLAIN).file("dir/x", "");
    for name in ["pipe", "pipe.toml", "spec.md"] {
        nix::unistd::mkfifo(&project.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    for path in ["pipe", "/dev/zero", "/dev/urandom"] {
        project.run(&["run", "p.toml", "--text", path]).exits(3).stderr_has("not a regular file");
    }
    project.run(&["run", "p.toml", "--text", "dir"]).exits(3).stderr_has("not a regular file");
    project.run(&["run", "pipe.toml"]).exits(3).stderr_has("not a regular file");
    project.run(&["lint", "--spec", "spec.md"]).exits(3).stderr_has("not a regular file");
    project.run(&["run", "p.toml", "--replay", "/dev/zero"]).exits(2).stderr_has("not a regular file");
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let project = Project::new().file("pipelines/p.toml", PLAIN);
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["help", "run"],
        &["run", "--help"],
        &["check", "p", "--format", "json"],
        &["plan", "p"],
        &["run", "p", "--format", "json"],
        &["runs"],
        &["verbs"],
        &["models"],
        &["graph", "p"],
        &["which", "pipelines/p.toml"],
        &["show", "last"],
        &["log", "last"],
        &["completions", "bash"],
    ] {
        let output = project.command(arguments).stdout(full()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("cannot write to standard output: No space left"), "{arguments:?}: {stderr}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = project.command(arguments).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.contains("rror:")),
            (Some(0), false),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_path_in_place_of_a_name_says_what_to_type() {
    let project = Project::new().file("pipelines/p.toml", PLAIN).file("ff.toml", PLAIN).file("dir/x", "");
    for (typed, told) in [
        ("./ff", "the path of a pipeline ends in `.toml`: `./ff.toml`"),
        ("dir/p", "name the pipeline without a path: `p`"),
        ("p.toml", "name the pipeline without a path: `p`"),
        ("./factry", "did you mean `factory`? A pipeline is named without a path"),
        (
            "./dir",
            "give the name of a pipeline, such as `factory`, or the path of a file that ends in `.toml`",
        ),
    ] {
        project.run(&["run", typed]).exits(3).stderr_has(&format!("no pipeline `{typed}`")).stderr_has(told);
    }
}
