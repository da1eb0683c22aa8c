//! Commands with `--target`: they run in a sandbox, on a copy of a directory of the user.
#![expect(clippy::disallowed_methods, reason = "a test makes a Python environment")]

use super::{PAGES, served};
use crate::binary::{Project, Ran};
use crate::recorded::there;

/// Runs commands between requests.
const MIXED: &str = "id: mixed
steps:
  - description: The command sees the directory
    exec: { command: ./greet.sh Ada }
    assert: { exit_code: 0, stdout: { contains: hello Ada from /work } }
    capture: [{ name: page, jsonpath: $.page }]
  - description: What it printed is part of a request
    request: { method: GET, path: '/{page}' }
    assert: { status: 200, body: { contains: Widget } }
  - description: The steps of a scenario share its copy
    exec: { command: echo changed > note.txt }
    assert: { exit_code: 0 }
  - exec: { command: cat note.txt; ls -a }
    assert: { stdout: { contains: changed, not_contains: .git } }
  - description: The sandbox has no network
    exec: { command: 'python3 -c \"import socket; socket.create_connection((\\\"127.0.0.1\\\", {port}), 5)\"' }
    assert: { exit_code: 1, stderr: { contains: refused } }
";

const ALONE: &str = "id: alone
steps:
  - description: Another scenario has its own copy
    exec: { command: cat note.txt }
    assert: { stdout: { equals: original } }
";

const PLAIN: &str = "id: plain
steps:
  - request: { method: GET, path: / }
    assert: { status: 200 }
";

fn project() -> (Project, super::Site) {
    served(
        &[
            PAGES.as_slice(),
            &[
                ("cases/mixed.yaml", MIXED),
                ("cases/alone.yaml", ALONE),
                ("cases/plain.yaml", PLAIN),
                (
                    "tools/greet.sh",
                    "#!/bin/sh\necho '{\"said\": \"hello '$1' from '$(pwd)'\", \"page\": \"items.json\"}'\n",
                ),
                ("tools/note.txt", "original"),
                ("tools/.git/config", "private"),
            ],
        ]
        .concat(),
    )
}

fn executable(project: &Project) {
    use std::os::unix::fs::PermissionsExt as _;
    let script = project.path("tools/greet.sh");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn run(project: &Project, url: &str, more: &[&str]) -> Ran {
    let own = ["validate", "--scenarios", "cases", "--no-judge", "--format", "json", "--target", url];
    project.run(&[own.as_slice(), more].concat())
}

#[test]
fn commands_run_on_a_copy_of_the_directory() {
    if !there("process", "commands_run_on_a_copy_of_the_directory") {
        return;
    }
    let (project, site) = project();
    executable(&project);
    let port = format!("port={}", site.url.rsplit(':').next().unwrap());
    let report = run(&project, &site.url, &["--service-dir", "tools", "--variable", &port]).exits(0).json();
    assert_eq!(report["totals"]["scenarios"]["passed"], 3, "{report:#}");
    assert_eq!(project.read("tools/note.txt"), "original", "the directory itself is not changed");
}

const VENV: &str = "id: venv
steps:
  - description: Python of the environment runs, under both names
    exec: { command: '.venv/bin/python -c \"import sys, shout; print(sys.prefix, shout.loud(sys.argv[1]))\" abc' }
    assert: { exit_code: 0, stdout: { equals: \"/work/.venv ABC\\n\" } }
  - exec: { command: '.venv/bin/python3 -c \"import sys; print(sys.prefix != sys.base_prefix)\"' }
    assert: { stdout: 'True' }
  - description: Links are what they were, and lead to what is there in the sandbox
    exec: { command: 'readlink secret gone circle .venv/bin/python3 beside; cat inside; cat secret; cat gone; ls circle/note.txt' }
    assert:
      stdout: { contains: [/usr/bin/python3, nowhere/at/all, original, circle/note.txt], not_contains: open-sesame }
      stderr: { contains: [secret, gone] }
  - description: Links that lead into the directory by a way outside are copies, like those that stay inside
    exec: { command: 'cat absolute around chain; cat linked/deep.txt; find absolute around chain linked -type l; test -e beside' }
    assert: { exit_code: 1, stdout: { equals: originaloriginaloriginaldeep } }
";

#[test]
fn a_directory_with_a_python_environment_is_copied_with_its_links() {
    use std::os::unix::fs::symlink;
    let test = "a_directory_with_a_python_environment";
    let python = std::path::Path::new("/usr/bin/python3");
    if !there("process", test) || !python.exists() {
        return;
    }
    let (project, site) = project();
    project.write("cases/venv.yaml", VENV);
    project.write("secret.txt", "open-sesame");
    let venv = project.path("tools/.venv");
    let mut make = std::process::Command::new(python);
    let made = make.args(["-m", "venv", "--symlinks", "--without-pip"]).arg(&venv).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let lib = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().file_name();
    let module = format!("tools/.venv/lib/{}/site-packages/shout.py", lib.to_str().unwrap());
    project.write(&module, "def loud(text):\n    return text.upper()\n");
    symlink(project.path("secret.txt"), project.path("tools/secret")).unwrap();
    symlink("nowhere/at/all", project.path("tools/gone")).unwrap();
    symlink(".", project.path("tools/circle")).unwrap();
    symlink("note.txt", project.path("tools/inside")).unwrap();
    project.write("tools/dir/deep.txt", "deep");
    project.write("tools-beside/note.txt", "open-sesame");
    symlink(project.path("tools/note.txt"), project.path("tools/absolute")).unwrap();
    symlink("../../tools/note.txt", project.path("tools/dir/around")).unwrap();
    symlink("dir/around", project.path("tools/around")).unwrap();
    symlink(project.path("tools/absolute"), project.path("tools/chain")).unwrap();
    symlink(project.path("tools/dir"), project.path("tools/linked")).unwrap();
    symlink(project.path("tools-beside/note.txt"), project.path("tools/beside")).unwrap();
    let report = run(&project, &site.url, &["--service-dir", "tools", "--only", "venv"]).exits(0).json();
    assert_eq!(report["totals"]["steps"]["passed"], 4, "{report:#}");
    // Files that cannot be copied are refused, and the message names them.
    nix::unistd::mkfifo(&project.path("tools/pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    run(&project, &site.url, &["--service-dir", "tools", "--only", "venv"])
        .exits(1)
        .stderr_has("pipe: it is neither a file nor a directory");
}

const LIKE: &str = "id: like
steps:
  - description: Directories without files are there, also through a link
    exec: { command: 'echo x > data/in/x; cat link/in/x; ls -d only' }
    assert: { exit_code: 0, stdout: { equals: \"only\\n\" }, stderr: { contains: link/in/x } }
  - description: Permissions and times are those of the directory
    exec: { command: 'stat -c \"%a %Y %n\" key old.txt plain.sh tight only; find . -newer key -name old.txt' }
    assert:
      stdout: { equals: \"600 1000000000 key\\n640 981173106 old.txt\\n644 1000000000 plain.sh\\n700 1000000000 tight\\n500 1000000000 only\\n\" }
  - description: Links to what is left out lead nowhere
    exec: { command: 'cat gitlink gitdir/config far; readlink gitlink gitdir' }
    assert: { stdout: { equals: \".git/config\\n.git\\n\" } }
";

#[test]
fn a_copy_is_like_the_directory() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};
    if !there("process", "a_copy_is_like_the_directory") {
        return;
    }
    let (project, site) = project();
    project.write("cases/like.yaml", LIKE);
    for dir in ["data/in", "only", "tight"] {
        std::fs::create_dir_all(project.path(format!("tools/{dir}"))).unwrap();
    }
    for file in ["key", "old.txt", "plain.sh"] {
        project.write(&format!("tools/{file}"), "#!/bin/sh\n");
    }
    symlink("data", project.path("tools/link")).unwrap();
    symlink(".git/config", project.path("tools/gitlink")).unwrap();
    symlink(".git", project.path("tools/gitdir")).unwrap();
    symlink(project.path("tools/.git/config"), project.path("tools/far")).unwrap();
    for (path, mode, written) in [
        ("key", 0o600, 1_000_000_000),
        ("old.txt", 0o640, 981_173_106),
        ("plain.sh", 0o644, 1_000_000_000),
        ("tight", 0o700, 1_000_000_000),
        ("only", 0o500, 1_000_000_000),
    ] {
        let path = project.path(format!("tools/{path}"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
        std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    let report = run(&project, &site.url, &["--service-dir", "tools", "--only", "like"]).exits(0).json();
    assert_eq!(report["totals"]["steps"]["passed"], 3, "{report:#}");
}

#[test]
fn links_that_multiply_are_refused_early() {
    use std::os::unix::fs::symlink;
    if !there("process", "links_that_multiply_are_refused_early") {
        return;
    }
    let (project, site) = project();
    for level in 0..25 {
        let dir = format!("tools/d{level}");
        std::fs::create_dir_all(project.path(&dir)).unwrap();
        for name in ["a", "b"] {
            symlink(format!("../d{}", level + 1), project.path(format!("{dir}/{name}"))).unwrap();
        }
    }
    project.write("tools/d25/file", "x");
    run(&project, &site.url, &["--service-dir", "tools", "--only", "alone"])
        .exits(1)
        .stderr_has("more than 1000 links point to the same directory");
}

#[test]
fn the_directory_is_for_a_target_and_must_be_there() {
    let (project, site) = project();
    let code = ["validate", "--scenarios", "cases", "--code", "tools", "--service-dir", "tools"];
    project.run(&code).exits(3).stderr_has("`service_dir` is for `target`");
    run(&project, &site.url, &["--service-dir", "nothing"]).exits(3);
    // Scenarios without commands need neither a sandbox nor a directory.
    let report = run(&project, &site.url, &["--only", "plain"]).exits(0).json();
    assert_eq!(report["totals"]["scenarios"]["total"], 1, "{report}");
}

/// Programs that the base image has and this machine lacks. None of the programs in this test is installed
/// on usual machines.
#[test]
fn a_missing_interpreter_of_the_machine_is_no_score() {
    if !there("process", "a_missing_interpreter_of_the_machine_is_no_score") {
        return;
    }
    let command = |line: &str| {
        format!("id: a\nsteps:\n  - exec: {{ command: '{line}' }}\n    assert: {{ exit_code: 0 }}\n")
    };
    let run = |base: &str, build: &str, line: &str| {
        let dockerfile = format!("FROM {base}\nWORKDIR /app\nCOPY . .\n{build}\n");
        let project = Project::new()
            .file("p/Dockerfile", &dockerfile)
            .file("p/script", "#!/usr/bin/env -S mix run\n")
            .file("cases/a.yaml", &command(line));
        project.run(&[
            "validate",
            "--scenarios",
            "cases",
            "--code",
            "p",
            "--runtime",
            "process",
            "--no-judge",
            "--format",
            "json",
        ])
    };
    let plain = "CMD [\"true\"]";
    for (build, line) in [
        (plain, "mix test"),
        (plain, "cp script /tmp/x && chmod +x script; ./script"),
        ("RUN mix deps.get\nCMD [\"true\"]", "true"),
        ("RUN chmod +x script && ./script\nCMD [\"true\"]", "true"),
    ] {
        let ran = run("elixir:1.17", build, line).exits(1);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        let why = "the base image `elixir:1.17` has the program `mix`, and this machine does not";
        assert!(told.contains(why), "{line}: {told}");
    }
    let tui = Project::new().file("p/Dockerfile", "FROM example.org/base\nCMD [\"true\"]\n").file(
        "cases/a.yaml",
        "id: a\nsteps:\n  - tui: { command: 'mix test' }\n    assert: { screen: { contains: x } }\n",
    );
    let words = ["validate", "--scenarios", "cases", "--code", "p", "--runtime", "process", "--no-judge"];
    let ran = tui.run(&words).exits(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("`example.org/base` has the program `mix`"), "{told}");
    // If the image does not have the program either, the failure counts as one of the program under test.
    run("debian:12", plain, "mix test").exits(4);
    run("elixir:1.17", plain, "mixx test").exits(4);
}
