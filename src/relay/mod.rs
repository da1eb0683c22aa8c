//! The agent: this program, started in a sandbox or next to a container. It forwards connections to the
//! service, runs commands, and ends everything when its client is gone. This module does not know
//! pipelines, runs or the runtime that started the agent. Start with [`RelayRequest`], then `serve` (the
//! agent) and `call` (the client).

mod call;
mod capture;
mod confined;
mod piped;
mod processes;
mod run;
mod serve;
mod terminal;
mod tunnels;
mod wire;

pub use call::{Keepalive, Probe, begin, connect, exec, keepalive, kill, probe};
pub(crate) use call::{report, submit};
pub use capture::{BoundedOutput, Elided};
pub(crate) use confined::scopes_local_sockets;
pub use run::{OtherProcesses, run_here, unique_mark};
pub use serve::relay_main;
pub(crate) use terminal::Ends;
pub use terminal::{TerminalHandle, TerminalInput, TerminalOutput, TerminalSpec, terminal};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use super::confine::Limits;

/// Subcommand that starts this program as an agent: `atoll relay ORDERS`.
pub const WORD: &str = "relay";

/// Argument for orders that are sent over the first connection, see [`begin`]: every user of the machine
/// can read a command line, and the environments in orders may contain secrets.
pub const CALLED: &str = "+";

/// Environment of the agent, which its programs do not inherit. Otherwise its allocator would reserve 1 GiB
/// of writable addresses at the first allocation. They count as data, whose size the agent limits for its
/// processes, so it could not start threads. With these variables it reserves little, and makes it writable
/// only as needed.
pub const ENVIRONMENT: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_ARENA_RESERVE", "32MiB")];

/// Environment variable that marks the processes of one command, so that all of them can be found and ended.
pub const MARK: &str = "ATOLL_EXEC";

/// A program with its environment and working directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RelayProgram {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Complete environment.
    pub env: IndexMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// A tunnel out of the sandbox: connections to `at` are forwarded to the socket `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Address on the loopback interface of the sandbox.
    pub at: SocketAddr,
    /// Path of a Unix socket in the sandbox.
    pub to: PathBuf,
}

/// Orders for an agent at its start, as JSON: over the first connection, or on its command line if they
/// contain no environment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    /// Path to listen on; `None` if the listening socket is its standard input.
    pub listen: Option<PathBuf>,
    /// User to switch to first.
    pub user: Option<u32>,
    /// Limits for each process: memory, processes of its user, and file size.
    pub limits: Limits,
    /// Whether it drops capabilities and limits its local sockets to the sandbox.
    pub confined: bool,
    /// Tunnels, open before any program runs.
    pub doors: Vec<Tunnel>,
    /// Main program; the agent ends with it and with its exit code.
    pub main: Option<RelayProgram>,
    /// Default environment and working directory of commands.
    pub session: RelayProgram,
}

/// A command to run to its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment variables in addition to the default ones.
    pub env: IndexMap<String, String>,
    /// Working directory; `None` for the default one.
    pub cwd: Option<PathBuf>,
    /// Files to write first: absolute path and content.
    pub files: IndexMap<String, String>,
    /// Standard input.
    #[serde(skip)]
    pub stdin: Vec<u8>,
    /// Time limit, after which it is killed with all its children.
    pub timeout: Duration,
}

impl ExecSpec {
    /// A command line for `sh -c`.
    pub fn shell(line: impl Into<String>, timeout: Duration) -> Self {
        Self { argv: vec!["sh".into(), "-c".into(), line.into()], timeout, ..Self::default() }
    }
}

/// Result of a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecReport {
    /// Exit code, or 128 + signal if a signal ended it; `None` if it was killed at its time limit.
    pub exit_code: Option<i64>,
    /// Standard output: its beginning and its end.
    #[serde(skip)]
    pub stdout: Vec<u8>,
    /// Standard error: its beginning and its end.
    #[serde(skip)]
    pub stderr: Vec<u8>,
    /// Whether it was killed at its time limit.
    pub timed_out: bool,
    /// Whether output is missing.
    pub truncated: bool,
    /// Duration in milliseconds.
    pub duration_ms: u64,
}

/// Request to an agent; one per connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum RelayRequest {
    /// Keep running while this connection is open.
    Keepalive,
    /// Forward this connection to a port. Answered with one byte, see [`Probe`].
    Connect(u16),
    /// Run a command.
    Exec(Box<ExecSpec>),
    /// Run a program in a terminal until it ends or the connection is closed.
    Terminal(Box<TerminalSpec>),
    /// End all processes with this mark. Answered with one byte when they have ended.
    Kill(String),
}
