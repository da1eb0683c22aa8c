//! Third-party programs, as installed by `tests/setup`.
#![expect(clippy::disallowed_methods, reason = "tests start processes and read their environment")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Reports that a test is skipped because `what` is missing; fails if it is required.
pub fn skip(what: &str, test: &str, why: &str) {
    let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == what), "{what} is required: {why}");
    println!("skipped: {test}: {why}");
}

/// The Python of `target/peers`; `None` after a note if it is missing.
pub fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/python");
    if !python.exists() {
        skip("peers", test, "target/peers is missing: tests/setup/peers.sh creates it");
        return None;
    }
    Some(python)
}

/// Whether the terminal programs are installed; prints a note if not.
pub fn has_terminal_programs(test: &str) -> bool {
    let missing =
        ["whiptail", "nano", "fzf"].into_iter().find(|name| !Path::new("/usr/bin").join(name).exists());
    if let Some(name) = missing {
        skip("terminal", test, &format!("{name} is missing: tests/setup/terminal.sh installs it"));
    }
    missing.is_none()
}

/// A Python server script; killed when dropped.
pub struct Peer {
    /// Port of the server.
    pub port: String,
    /// Lines of its output.
    pub says: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Peer {
    /// Starts `script`, a file next to this one, and waits until it has printed its port. `None` if Python
    /// or its packages are missing.
    pub async fn start(script: &str, test: &str) -> Option<Self> {
        Self::start_with(script, &[], test).await
    }

    /// Starts `script` with arguments.
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
        let port = says.next_line().await.unwrap().expect("it prints its port");
        Some(Self { port, says, _child: child })
    }

    /// The next `n` lines of its output, sorted.
    pub async fn lines(&mut self, n: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..n {
            lines.push(self.says.next_line().await.unwrap().expect("it still prints lines"));
        }
        lines.sort();
        lines
    }
}
