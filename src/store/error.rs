use std::path::PathBuf;

use crate::id::RunId;

use super::Owner;

/// Error of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process works on the run.
    #[error("run {run} is held by {owner}\n  wait for it, or end that process")]
    Held {
        /// Id of the run.
        run: RunId,
        /// The process.
        owner: Owner,
    },
    /// The run does not exist.
    #[error("unknown run {0}\n  list the runs with `atoll runs`")]
    UnknownRun(String),
    /// The run already exists.
    #[error("run {0} already exists")]
    Exists(RunId),
    /// Several runs have this prefix.
    #[error("several runs begin with {prefix:?}: {}\n  write more of the id", among(.matches))]
    Ambiguous {
        /// Requested prefix.
        prefix: String,
        /// Some runs with this prefix.
        matches: Vec<RunId>,
    },
    /// Another process has written to the run of this process.
    #[error("another process has written to run {0} meanwhile\n  continue it with `atoll resume`")]
    Overtaken(RunId),
    /// The journal was written by a newer Atoll.
    #[error(
        "{} has journal version {found}, but this version of atoll supports only up to {supported}\n  use a newer version of atoll, or another data directory",
        path.display()
    )]
    Newer {
        /// Path of the database.
        path: PathBuf,
        /// Version of the database.
        found: i64,
        /// Newest supported version.
        supported: i64,
    },
    /// The file is a database of another program.
    #[error("{} is not a journal of atoll\n  choose another data directory", .0.display())]
    Foreign(PathBuf),
    /// A setting that durability depends on could not be changed.
    #[error("{}: the database has {pragma} = {found}, not {wanted}\n  the file system may not support it", path.display())]
    Setting {
        /// Path of the database.
        path: PathBuf,
        /// Name of the setting.
        pragma: &'static str,
        /// Requested value.
        wanted: String,
        /// Actual value.
        found: String,
    },
    /// The file is empty.
    #[error("{} is empty, but a journal never is: it was truncated or replaced\n  restore a copy, or move it away to start a new journal", .0.display())]
    Empty(PathBuf),
    /// The file was removed, replaced or truncated while it was open.
    #[error("{} was deleted, replaced or truncated while it was in use: nothing more can be recorded\n  its records are lost unless the directory can be restored", .0.display())]
    Gone(PathBuf),
    /// No space left.
    #[error("{}: the disk is full\n  free some space, then run `atoll resume`; recorded results are kept", .0.display())]
    Full(PathBuf),
    /// The file is not writable.
    #[error("{} cannot be written: {message}\n  check the permissions of the file and its directory", path.display())]
    ReadOnly {
        /// Path of the database.
        path: PathBuf,
        /// Message of the system.
        message: String,
    },
    /// The file is damaged.
    #[error("{} is damaged or not a database: {message}\n  move it away, or restore a copy", path.display())]
    Corrupt {
        /// Path of the database.
        path: PathBuf,
        /// Message of the database.
        message: String,
    },
    /// Another program keeps the database locked.
    #[error("{} stays locked by another program\n  end that program and try again", .0.display())]
    Locked(PathBuf),
    /// Anything else.
    #[error("{}: {message}", path.display())]
    Failed {
        /// Path of the database.
        path: PathBuf,
        /// Error message.
        message: String,
    },
    /// The store was closed, or its writer has failed.
    #[error("the store is closed")]
    Closed,
}

fn among(runs: &[RunId]) -> String {
    runs.iter().map(RunId::as_str).collect::<Vec<_>>().join(", ")
}
