//! A project in a temporary directory, and the real binary run in it.
#![expect(clippy::disallowed_methods, reason = "tests write files and start the binary")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The images that the set-up of the tests makes, in place of official ones: no test needs a registry.
pub const IMAGES: &str = "python:3.12-slim=atoll/python:3,busybox:latest=atoll/busybox:latest";

/// A project: files, and the environment that the binary gets.
pub struct Project {
    place: tempfile::TempDir,
    environment: Vec<(String, String)>,
    below: PathBuf,
}

/// What came of running the binary.
pub struct Ran {
    arguments: String,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    code: Option<i32>,
}

impl Project {
    /// An empty project.
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        Self { place, environment: Vec::new(), below: PathBuf::new() }
    }

    /// The same project with a file.
    pub fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// The same project with an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same project, with the binary run in a directory of it.
    pub fn standing_in(mut self, below: &str) -> Self {
        self.below = PathBuf::from(below);
        std::fs::create_dir_all(self.path(below)).expect("a directory");
        self
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// The text of a file.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).expect(path)
    }

    /// A path in the project.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.place.path().join(path)
    }

    /// The binary with `arguments`, about to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(arguments).current_dir(self.path(&self.below)).env_clear();
        command.env("HOME", self.path("home")).env("PATH", "/usr/bin:/bin").env("CI", "true");
        command.env("ATOLL_DOCKER_IMAGES", IMAGES);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the binary starts");
        Ran::of(arguments, &output)
    }
}

impl Ran {
    /// What `output` of the binary with `arguments` says.
    pub fn of(arguments: &[&str], output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            arguments: arguments.join(" "),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
        }
    }

    fn story(&self) -> String {
        format!("atoll {}\n--- stdout\n{}\n--- stderr\n{}", self.arguments, self.stdout, self.stderr)
    }

    /// It ended with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.story());
        self
    }

    /// Standard output is `text`.
    #[track_caller]
    pub fn stdout_is(self, text: &str) -> Self {
        assert_eq!(self.stdout, text, "{}", self.story());
        self
    }

    /// Standard output has `text`.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no {text:?} on stdout\n{}", self.story());
        self
    }

    /// Standard error has `text`.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} on stderr\n{}", self.story());
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}\n{}", self.story()))
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", self.story()))
        };
        self.stdout.lines().map(parse).collect()
    }
}
