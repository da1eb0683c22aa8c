use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use indexmap::IndexMap;

use crate::value::Digest;

/// The inside of a held service, as far as scenarios need it. Nothing is ever run outside of it.
pub trait Shell: Send + Sync {
    /// Runs a command line with `sh -c` and waits for its end. A command that does not end in time is killed with all
    /// its children and is no error: [`Ran::timed_out`] says so, with what it had written by then.
    fn exec(&self, command: Command) -> Execution<'_>;
    /// How much the service has logged so far, in bytes.
    fn log_mark(&self) -> u64;
    /// What the service has logged since `mark`, as far as it is still known.
    fn log_since(&self, mark: u64) -> String;
}

/// A command that is being run.
pub type Execution<'a> = Pin<Box<dyn Future<Output = Result<Ran, ShellError>> + Send + 'a>>;

/// What is run inside a service.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// The command line.
    pub line: String,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// Environment variables on top of what the service has.
    pub env: IndexMap<String, String>,
    /// Files written first: absolute path and content.
    pub files: IndexMap<String, String>,
    /// After how long it is killed.
    pub timeout: Duration,
}

/// What a command left behind.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Its exit code; none where it was killed.
    pub exit_code: Option<i64>,
    /// Its standard output, whole or shortened by the service.
    pub stdout: Vec<u8>,
    /// Its standard error, whole or shortened by the service.
    pub stderr: Vec<u8>,
    /// Whether it was killed for being late.
    pub timed_out: bool,
}

/// Why a command could not be run at all.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShellError(pub String);

/// Where evidence is kept.
pub trait Evidences: Send + Sync {
    /// Keeps the bytes and gives the digest they are found by.
    fn keep(&self, bytes: &[u8]) -> Result<Digest, String>;
}
