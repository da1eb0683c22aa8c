use std::path::PathBuf;

use crate::id::RunId;

use super::Owner;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else works on the run.
    #[error("run {run} is held by {owner}\n  wait for it, or end that process")]
    Held {
        /// The run.
        run: RunId,
        /// Who.
        owner: Owner,
    },
    /// There is no such run.
    #[error("there is no run {0}\n  `atoll runs` lists them")]
    UnknownRun(String),
    /// There is such a run already.
    #[error("there already is a run {0}")]
    Exists(RunId),
    /// More than one run begins so.
    #[error("more than one run begins with {prefix:?}: {}\n  write more of the id", among(.matches))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Some runs that begin so.
        matches: Vec<RunId>,
    },
    /// Another process has written to a run that this one was writing to.
    #[error(
        "run {0} was written to by another process meanwhile\n  `atoll resume` continues from what is there"
    )]
    Overtaken(RunId),
    /// The journal was written by a newer Atoll.
    #[error(
        "{} has journal version {found}, this atoll reads up to {supported}\n  use the newer atoll, or another state directory",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is understood.
        supported: i64,
    },
    /// The file is a database of some other program.
    #[error("{} is no journal of atoll\n  choose another state directory", .0.display())]
    Foreign(PathBuf),
    /// A setting that durability depends on did not take.
    #[error("{}: the database has {pragma} = {found}, not {wanted}\n  the file system may not support it", path.display())]
    Setting {
        /// The database.
        path: PathBuf,
        /// Name of the setting.
        pragma: &'static str,
        /// What was asked for.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The file is empty.
    #[error("{} is empty: a journal never is, so it was cut short or replaced\n  restore a copy, or move it away to begin anew", .0.display())]
    Empty(PathBuf),
    /// The file was removed, replaced or truncated while it was open.
    #[error("{} was deleted, replaced or truncated while it was in use: nothing more can be recorded\n  what was recorded in it is lost unless the directory can be restored", .0.display())]
    Gone(PathBuf),
    /// No space left.
    #[error("{}: the disk is full\n  free some space; what was recorded is kept, `atoll resume` continues", .0.display())]
    Full(PathBuf),
    /// May not be written.
    #[error("{} cannot be written: {message}\n  check the permissions of the file and its directory", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is damaged.
    #[error("{} is damaged or no database: {message}\n  move it away, or restore a copy", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// Somebody locks the database for longer than we wait.
    #[error("{} stays locked by another program\n  end that program and try again", .0.display())]
    Locked(PathBuf),
    /// Anything else.
    #[error("{}: {message}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What happened.
        message: String,
    },
    /// The store was closed, or its writer has died.
    #[error("the store is closed")]
    Closed,
}

fn among(runs: &[RunId]) -> String {
    runs.iter().map(RunId::as_str).collect::<Vec<_>>().join(", ")
}
