//! Why a command ends before it has done its work.

use std::fmt::Display;
use std::io;

use crate::cli::exit::ExitStatus;
use crate::driver::DriveError;
use crate::engine::FORMAT;
use crate::store::StoreError;
use crate::verb::BlobError;

/// What ends a command early: the exit code, and what to tell people where it has not been told yet.
#[derive(Debug)]
pub struct CommandError {
    /// With which code the process ends.
    pub exit: ExitStatus,
    /// What happened; `None` where it stands on the screen already.
    pub message: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
}

/// What a command comes to.
pub type CommandResult = Result<ExitStatus, CommandError>;

impl CommandError {
    /// The command line is wrong.
    pub fn usage(message: impl Display) -> Self {
        Self { exit: ExitStatus::USAGE, message: Some(message.to_string()), hint: None }
    }

    /// What the user wrote in a file is wrong.
    pub fn wrong(message: impl Display) -> Self {
        Self { exit: ExitStatus::WRONG, message: Some(message.to_string()), hint: None }
    }

    /// The machine did not do what it was asked.
    pub fn failed(message: impl Display) -> Self {
        Self { exit: ExitStatus::FAILED, message: Some(message.to_string()), hint: None }
    }

    /// Everything has been said.
    pub fn told(exit: ExitStatus) -> Self {
        Self { exit, message: None, hint: None }
    }

    /// Says what to do next.
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
                .hint("the pipeline was changed in a way that this journal cannot follow: begin a new run"),
            DriveError::Format { ref run, found } => Self::usage(&error).hint(if found < FORMAT {
                format!(
                    "it was begun by an older version: `atoll show {run}` shows it, `atoll resume {run} --replan` begins a new run that reuses its results"
                )
            } else {
                "it was begun by a newer version: use that one".to_owned()
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
