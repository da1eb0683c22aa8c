//! Programs that nobody here wrote, as `tests/setup` installs them.
#![expect(clippy::disallowed_methods, reason = "tests start processes and read their environment")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Says by name that a test is skipped because `what` is missing; a failure where it is required.
pub fn skip(what: &str, test: &str, why: &str) {
    let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == what), "{what} is required: {why}");
    println!("skipped: {test}: {why}");
}

/// The Python of `target/peers`, after saying so where it is missing.
pub fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    if !python.exists() {
        skip("peers", test, "target/peers is missing: tests/setup/peers.sh makes it");
        return None;
    }
    Some(python)
}

/// Whether the programs for a terminal are there, after saying so where they are not.
pub fn has_terminal_programs(test: &str) -> bool {
    let missing =
        ["whiptail", "nano", "fzf"].into_iter().find(|name| !Path::new("/usr/bin").join(name).exists());
    if let Some(name) = missing {
        skip("terminal", test, &format!("{name} is missing: tests/setup/terminal.sh installs it"));
    }
    missing.is_none()
}

/// A Python script that serves on a port of its own; killed when dropped.
pub struct Peer {
    /// Its port.
    pub port: String,
    /// What it says, line by line.
    pub says: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Peer {
    /// Starts `script`, a file beside this one, and waits until it has said where it listens. Nothing where Python or
    /// its packages are missing.
    pub async fn start(script: &str, test: &str) -> Option<Self> {
        Self::start_with(script, &[], test).await
    }

    /// The same, with arguments.
    pub async fn start_with(script: &str, arguments: &[&str], test: &str) -> Option<Self> {
        let python = python(test)?;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scenario").join(script);
        let mut child = Command::new(python)
            .arg("-u")
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = says.next_line().await.unwrap().expect("it says where it listens");
        Some(Self { port, says, _child: child })
    }

    /// The next `n` lines that it says, sorted.
    pub async fn lines(&mut self, n: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..n {
            lines.push(self.says.next_line().await.unwrap().expect("it still speaks"));
        }
        lines.sort();
        lines
    }
}
