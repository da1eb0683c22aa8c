use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{BlobRef, Value};
use crate::verb::{Failure, Secrets};

/// Access to the inside of a held service. Commands of scenarios run only there.
pub trait Shell: Send + Sync {
    /// Runs a command line with `sh -c` and waits until it ends. A command that does not end in time is
    /// killed with all its children. That is not an error: [`CommandResult::timed_out`] is set, and the
    /// output up to then is returned.
    fn exec(&self, command: ServiceCommand) -> CommandExecution<'_>;
    /// Starts a program in a terminal. When the terminal is dropped, the program and all its children end.
    fn terminal(&self, program: TerminalProgram) -> TerminalOpening<'_>;
    /// The real failure behind the end of a command, if the runtime is at fault and not the service.
    fn lacked(&self) -> Option<Failure> {
        None
    }
    /// Masks the values of `secrets` in everything that is shown of the service from now on.
    fn hide(&self, _secrets: &Arc<dyn Secrets>) {}
    /// Byte ranges in `text` that must be hidden.
    fn hidden_in(&self, _text: &str) -> Vec<(usize, usize)> {
        Vec::new()
    }
    /// Whether the URL `target` belongs to this service.
    fn serves(&self, _target: &str) -> bool {
        true
    }

    /// Like [`Shell::hidden_in`] for the rows of a screen, on which parts of a secret are hidden, too. The
    /// line breaks at `wraps` are line wraps of the terminal.
    fn hidden_on_screen(&self, text: &str, _wraps: &[usize]) -> Vec<(usize, usize)> {
        self.hidden_in(text)
    }
    /// Bytes that the service has logged until now.
    fn log_mark(&self) -> u64;
    /// The log since `mark`, or the part of it that is still available.
    fn log_since(&self, mark: u64) -> String;
    /// How the service ended, such as `ended with exit code 1`; `None` while it runs.
    fn ending(&self) -> Option<String> {
        None
    }
    /// Waits until the service has ended.
    fn ends(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    /// Waits until the service logs more, which may never happen.
    fn log_grows(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// A command that is being run.
pub type CommandExecution<'a> = BoxFuture<'a, Result<CommandResult, ShellError>>;

/// A terminal that is being opened.
pub type TerminalOpening<'a> = BoxFuture<'a, Result<Box<dyn ServiceTerminal>, ShellError>>;

/// A program in a terminal.
pub trait ServiceTerminal: Send {
    /// Types bytes. Does nothing if the program has ended.
    fn send(&mut self, bytes: Vec<u8>);
    /// Changes the size.
    fn resize(&mut self, size: TerminalSize);
    /// The next event. Nothing is lost if the future is dropped. After the end, every call returns the end.
    fn next(&mut self) -> BoxFuture<'_, TerminalEvent>;
    /// Ends the program and all its children, and waits for that.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Output of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// Bytes to show.
    Bytes(Vec<u8>),
    /// The program has ended with this exit code, or 128 + signal if a signal ended it; `None` if the code
    /// is unknown.
    Ended(Option<i64>),
}

/// A program for a terminal.
#[derive(Clone, Debug, Default)]
pub struct TerminalProgram {
    /// The command line, for `sh -c`.
    pub line: String,
    /// Environment variables in addition to those of the service.
    pub env: IndexMap<String, String>,
    /// The size of the terminal.
    pub size: TerminalSize,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Characters in a row.
    pub columns: NonZeroU16,
    /// Rows.
    pub rows: NonZeroU16,
}

impl Default for TerminalSize {
    fn default() -> Self {
        Self { columns: vt100::Parser::DEFAULT_COLS, rows: vt100::Parser::DEFAULT_ROWS }
    }
}

/// Command to run inside a service.
#[derive(Clone, Debug, Default)]
pub struct ServiceCommand {
    /// The command line.
    pub line: String,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Environment variables in addition to those of the service.
    pub env: IndexMap<String, String>,
    /// Files to write first: absolute path and content.
    pub files: IndexMap<String, String>,
    /// Time limit, after which the command is killed.
    pub timeout: Duration,
}

/// Result of a command.
#[derive(Clone, Debug, Default)]
pub struct CommandResult {
    /// Exit code; `None` if the command was killed.
    pub exit_code: Option<i64>,
    /// Standard output, possibly shortened by the service.
    pub stdout: Vec<u8>,
    /// Standard error, possibly shortened by the service.
    pub stderr: Vec<u8>,
    /// True if the command was killed because of its time limit.
    pub timed_out: bool,
}

/// Reason why a command could not be started.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShellError(pub String);

/// Store of evidence.
pub trait Evidences: Send + Sync {
    /// Stores the bytes, without what must not be stored, and returns a reference.
    fn keep(&self, bytes: &[u8]) -> Result<BlobRef, String>;
}

/// Source of browser pages.
pub trait Browsers: Send + Sync {
    /// Opens a page that shares nothing with the pages of other calls. It can reach only the `hosts`
    /// (`HOST` or `HOST:PORT`), or all if there is no list. `ear` receives the events of the page; dialogs
    /// are accepted and downloads refused.
    fn open(
        &self,
        hosts: Option<Vec<String>>,
        ear: EventListener,
    ) -> BoxFuture<'_, Result<Box<dyn BrowserTab>, String>>;
}

/// Receives the events of a page, as in the DevTools protocol, and `Browser.gone` at the end.
pub type EventListener = Arc<dyn Fn(&str, &Value) + Send + Sync>;

/// A page that is controlled with the DevTools protocol. Dropping it closes the page.
pub trait BrowserTab: Send + Sync {
    /// Id of the page, which is also the id of its main frame.
    fn id(&self) -> &str;
    /// Calls a method. The caller sets a time limit.
    fn call<'a>(&'a self, method: &'a str, parameters: Value) -> BoxFuture<'a, Result<Value, String>>;
    /// Ids of all pages of its context.
    fn pages(&self) -> BoxFuture<'_, Result<Vec<String>, String>>;
    /// Another page of its context.
    fn attach<'a>(
        &'a self,
        id: &'a str,
        ear: EventListener,
    ) -> BoxFuture<'a, Result<Box<dyn BrowserTab>, String>>;
}
