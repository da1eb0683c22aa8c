use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{BlobRef, Value};
use crate::verb::{Failure, Secrets};

/// The inside of a held service, as far as scenarios need it. Nothing is ever run outside of it.
pub trait Shell: Send + Sync {
    /// Runs a command line with `sh -c` and waits for its end. A command that does not end in time is killed with all
    /// its children and is no error: [`CommandResult::timed_out`] says so, with what it had written by then.
    fn exec(&self, command: ServiceCommand) -> CommandExecution<'_>;
    /// Starts a program in a terminal. When the terminal is dropped, the program ends with all that it started.
    fn terminal(&self, program: TerminalProgram) -> TerminalOpening<'_>;
    /// The failure that the end of a command really was, if what runs the service is at fault and not the service.
    fn lacked(&self) -> Option<Failure> {
        None
    }
    /// Hides what `secrets` knows in all that is shown of the service later.
    fn hide(&self, _secrets: &Arc<dyn Secrets>) {}
    /// Where in `text` something is that has to be hidden, as ranges of bytes.
    fn hidden_in(&self, _text: &str) -> Vec<(usize, usize)> {
        Vec::new()
    }
    /// Whether the service is what answers at the URL `target`.
    fn serves(&self, _target: &str) -> bool {
        true
    }

    /// The same for the rows of a screen, where parts may have to be hidden too. The line breaks at `wraps` are no breaks for the
    /// program.
    fn hidden_on_screen(&self, text: &str, _wraps: &[usize]) -> Vec<(usize, usize)> {
        self.hidden_in(text)
    }
    /// How much the service has logged so far, in bytes.
    fn log_mark(&self) -> u64;
    /// What the service has logged since `mark`, as far as it is still known.
    fn log_since(&self, mark: u64) -> String;
    /// How the service ended, e.g. `ended with exit code 1`; `None` while it runs.
    fn ending(&self) -> Option<String> {
        None
    }
    /// Waits until the service has ended.
    fn ends(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    /// Waits until the service logs more; for ever where it does not.
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
    /// Types bytes. A program that has ended takes no notice.
    fn send(&mut self, bytes: Vec<u8>);
    /// Gives it another size.
    fn resize(&mut self, size: TerminalSize);
    /// What comes next; nothing is lost where the future is dropped. After the end there is nothing but the end.
    fn next(&mut self) -> BoxFuture<'_, TerminalEvent>;
    /// Ends the program and waits until it is gone with all that it started.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Output of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// Bytes to show.
    Bytes(Vec<u8>),
    /// The program has ended with this exit code, 128 + signal where a signal ended it; none where nobody can tell.
    Ended(Option<i64>),
}

/// A program for a terminal.
#[derive(Clone, Debug, Default)]
pub struct TerminalProgram {
    /// The command line, for `sh -c`.
    pub line: String,
    /// Environment variables on top of what the service has.
    pub env: IndexMap<String, String>,
    /// The size of the terminal.
    pub size: TerminalSize,
}

/// How large a terminal is.
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
    /// Environment variables on top of what the service has.
    pub env: IndexMap<String, String>,
    /// Files written first: absolute path and content.
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
    /// True if the command was killed because its time was over.
    pub timed_out: bool,
}

/// Reason why a command could not be started.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShellError(pub String);

/// Store of evidence.
pub trait Evidences: Send + Sync {
    /// Keeps the bytes, or what may be kept of them, and says where they are found.
    fn keep(&self, bytes: &[u8]) -> Result<BlobRef, String>;
}

/// Source of browser pages.
pub trait Browsers: Send + Sync {
    /// Opens a page that shares nothing with the pages of other calls. It reaches no host but those in `hosts`, `HOST` or
    /// `HOST:PORT`, or any where there is no list. What happens in it goes to `ear`; dialogs are accepted and downloads
    /// refused on the way.
    fn open(
        &self,
        hosts: Option<Vec<String>>,
        ear: EventListener,
    ) -> BoxFuture<'_, Result<Box<dyn BrowserTab>, String>>;
}

/// Hears the events of a page, in the words of the DevTools protocol, and `Browser.gone` at the end.
pub type EventListener = Arc<dyn Fn(&str, &Value) + Send + Sync>;

/// A page that is driven in the words of the DevTools protocol. Dropped, it is closed.
pub trait BrowserTab: Send + Sync {
    /// Id of the page, which is also the id of its main frame.
    fn id(&self) -> &str;
    /// Calls a method. Nothing bounds how long it takes.
    fn call<'a>(&'a self, method: &'a str, parameters: Value) -> BoxFuture<'a, Result<Value, String>>;
    /// The ids of all pages of its context.
    fn pages(&self) -> BoxFuture<'_, Result<Vec<String>, String>>;
    /// Another page of its context.
    fn attach<'a>(
        &'a self,
        id: &'a str,
        ear: EventListener,
    ) -> BoxFuture<'a, Result<Box<dyn BrowserTab>, String>>;
}
