//! The reasons why a command ends early.

use std::fmt::Display;
use std::io;

use crate::cli::exit::ExitStatus;
use crate::driver::DriveError;
use crate::engine::FORMAT;
use crate::store::StoreError;
use crate::verb::BlobError;

/// The early end of a command: the exit code, and a message unless it was already printed.
#[derive(Debug)]
pub struct CommandError {
    /// Exit code of the process.
    pub exit: ExitStatus,
    /// Message; `None` if it was already printed.
    pub message: Option<String>,
    /// Advice what to do next.
    pub hint: Option<String>,
}

/// The result of a command.
pub type CommandResult = Result<ExitStatus, CommandError>;

impl CommandError {
    /// The command line is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: ExitStatus::USAGE, message: Some(message.to_string()), hint: None }
    }

    /// A file of the user is wrong.
    pub fn wrong(message: impl Display) -> Self {
        Self { exit: ExitStatus::WRONG, message: Some(message.to_string()), hint: None }
    }

    /// This machine failed (disk, network).
    pub fn failed(message: impl Display) -> Self {
        Self { exit: ExitStatus::FAILED, message: Some(message.to_string()), hint: None }
    }

    /// Everything was already printed.
    pub fn told(exit: ExitStatus) -> Self {
        Self { exit, message: None, hint: None }
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownRun(_) | StoreError::Ambiguous { .. } => Self::usage(error),
            StoreError::Held { .. } => Self { exit: ExitStatus::HELD, ..Self::failed(error) },
            _ => Self::failed(error),
        }
    }
}

impl From<BlobError> for CommandError {
    fn from(error: BlobError) -> Self {
        Self::failed(error)
    }
}

impl From<DriveError> for CommandError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Mismatch(_) => Self::wrong(&error)
                .hint("the pipeline was changed in a way that does not fit this journal: start a new run"),
            DriveError::Format { ref run, found } => Self::usage(&error).hint(if found < FORMAT {
                format!(
                    "it was started by an older version: show it with `atoll show {run}`, or reuse its results in a new run with `atoll resume {run} --replan`"
                )
            } else {
                "it was started by a newer version: use that version".to_owned()
            }),
            DriveError::Store(error) => error.into(),
            DriveError::Blob(_) | DriveError::Journal { .. } => Self::failed(&error),
            DriveError::Stuck(_) => Self { exit: ExitStatus::BUG, ..Self::failed(&error) },
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}
