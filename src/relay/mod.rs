//! The agent: this same program, started inside a sandbox or beside a container, that forwards connections to the
//! service there, runs commands there, and ends everything when whoever started it is gone.
//! It must never know pipelines, runs or which runtime started it.
//! Start with [`RelayRequest`], then `serve` for the inside and `call` for the outside.

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

/// The word on the command line that makes this program an agent: `atoll relay ORDERS`.
pub const WORD: &str = "relay";

/// What stands for orders that come with the first connection, see [`begin`]: every user of the machine can read a command line, and
/// the environments in orders may hold secrets.
pub const CALLED: &str = "+";

/// The environment in which it is started; what it starts itself does not have it. Its allocator would otherwise take 1 GiB
/// of writable addresses at its first allocation. They count as data, of which an agent limits its own processes: it could
/// then start no thread. So it takes few, and makes them writable only as it needs them.
pub const ENVIRONMENT: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_ARENA_RESERVE", "32MiB")];

/// The environment variable that marks the processes of one command, so that all of them can be found and ended.
pub const MARK: &str = "ATOLL_EXEC";

/// A program and where it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RelayProgram {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: IndexMap<String, String>,
    /// Its working directory.
    pub cwd: PathBuf,
}

/// A way out of the sandbox: whoever connects to `at` speaks to the socket `to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// An address of the sandbox's own loopback.
    pub at: SocketAddr,
    /// A Unix socket, as it is seen inside.
    pub to: PathBuf,
}

/// What an agent is told at its start, as JSON: with the first connection, or on its command line where there is no environment in
/// it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    /// Where to listen; nothing where the listening socket is its standard input.
    pub listen: Option<PathBuf>,
    /// The user to become before anything else.
    pub user: Option<u32>,
    /// What each process may use: of memory, of processes of its user, and in one file.
    pub limits: Limits,
    /// Whether it gives up what a sandboxed program does not need: capabilities, and the reach of its local sockets.
    pub confined: bool,
    /// Ways out, open before anything runs.
    pub doors: Vec<Tunnel>,
    /// What to run from the start; the agent ends with it and with its exit code.
    pub main: Option<RelayProgram>,
    /// Environment and working directory of commands that name none.
    pub session: RelayProgram,
}

/// A command to run to its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment on top of what the place has.
    pub env: IndexMap<String, String>,
    /// Working directory; that of the place where none is named.
    pub cwd: Option<PathBuf>,
    /// Files written first: absolute path and content.
    pub files: IndexMap<String, String>,
    /// What it reads.
    #[serde(skip)]
    pub stdin: Vec<u8>,
    /// After how long it is killed with all its children.
    pub timeout: Duration,
}

impl ExecSpec {
    /// A command line for `sh -c`.
    pub fn shell(line: impl Into<String>, timeout: Duration) -> Self {
        Self { argv: vec!["sh".into(), "-c".into(), line.into()], timeout, ..Self::default() }
    }
}

/// What a command left behind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecReport {
    /// Its exit code, 128 + signal where a signal ended it; none where it was killed for being late.
    pub exit_code: Option<i64>,
    /// Standard output: its beginning and its end.
    #[serde(skip)]
    pub stdout: Vec<u8>,
    /// Standard error: its beginning and its end.
    #[serde(skip)]
    pub stderr: Vec<u8>,
    /// Whether it was killed for being late.
    pub timed_out: bool,
    /// Whether output was left out.
    pub truncated: bool,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

/// What is asked of an agent, one request per connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum RelayRequest {
    /// Stay as long as this connection stays.
    Keepalive,
    /// Forward this connection to a port. Answered with one byte, see [`Probe`].
    Connect(u16),
    /// Run a command.
    Exec(Box<ExecSpec>),
    /// Run a program in a terminal until it ends or the connection is closed.
    Terminal(Box<TerminalSpec>),
    /// End all processes with this mark. Answered with one byte when they are gone.
    Kill(String),
}
