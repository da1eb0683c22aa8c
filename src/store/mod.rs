//! Storage for journals, summaries of runs, reusable outputs and blobs: the trait and its two
//! implementations. This module does not know what a fact means beyond its columns, or how a run works.
//! Start with [`Store`]. Runs use [`Sqlite`]; [`Memory`] is the same in memory, and tests compare the two.

mod claim;
mod digests;
mod error;
mod memory;
mod signal;
mod sqlite;
mod ticket;

pub use claim::{Claim, Owner};
pub use error::StoreError;
pub use memory::Memory;
pub use signal::{Settled, Signal};
pub use sqlite::{Durability, Sqlite};
pub use ticket::{Promise, Ticket};

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::meter::Meter;
use crate::value::{Digest, Value};
use crate::verb::Blobs;

/// One fact of a journal. Its number is given by [`Store::append`]: 1, 2, 3… within the run, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// Time of the fact.
    pub at: Millis,
    /// Kind of fact.
    pub kind: String,
    /// Step instance.
    pub address: Address,
    /// Number of the attempt; 0 if it is not about an attempt.
    pub attempt: u32,
    /// JSON text of the fact.
    pub body: String,
}

/// Summary of a run, available without reading its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Id of the run.
    pub run: RunId,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Digest of its plan. The blob with this digest is kept with the run.
    pub plan: Digest,
    /// Status keyword.
    pub status: String,
    /// Exit code, once it has ended.
    pub code: Option<i32>,
    /// Time of creation.
    pub started_at: Millis,
    /// Time of its end.
    pub finished_at: Option<Millis>,
    /// Total spending.
    pub spent: Meter,
    /// Score, if its pipeline has one.
    pub score: Option<f64>,
    /// Outputs, once it has ended.
    pub outputs: Option<Value>,
}

/// Changes for one transaction.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Facts, in order.
    pub rows: Vec<FactRow>,
    /// New summary of the run.
    pub head: Option<RunSummary>,
    /// Whether this batch creates the run with its first `head`. [`StoreError::Exists`] if the run already
    /// exists, which is then unchanged.
    pub begins: bool,
    /// Results of signals, by their numbers. A signal that already has a result is unchanged.
    pub settled: Vec<(u64, Settled)>,
}

/// Result of [`Store::sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Number of removed blobs.
    pub blobs: u64,
    /// Total size of removed blobs, in bytes.
    pub bytes: u64,
}

/// A journal store. Calls other than [`Store::cache`] may block for the disk.
pub trait Store: Blobs {
    /// Queues `batch` to be written in one transaction; the ticket resolves when it is on disk, to the
    /// number of the run's last fact. Batches of one run are written in the order of the calls, after the
    /// blobs put before them. If one fails, all later batches of that run fail, too, until the run is
    /// claimed again.
    fn append(&self, run: &RunId, batch: Append) -> Ticket;

    /// Creates a run without facts, and waits for the disk.
    fn create(&self, head: &RunSummary) -> Result<(), StoreError> {
        let batch = Append { head: Some(head.clone()), begins: true, ..Append::default() };
        self.append(&head.run, batch).blocking_wait().map(drop)
    }

    /// Calls `each` for the facts with numbers above `after`, in order, until it returns false. Facts that
    /// are not on disk yet are not included. `each` may call the store.
    fn scan(
        &self,
        run: &RunId,
        after: u64,
        each: &mut dyn FnMut(u64, FactRow) -> bool,
    ) -> Result<(), StoreError>;

    /// The summary of `run`; `None` if it does not exist.
    fn head(&self, run: &RunId) -> Result<Option<RunSummary>, StoreError>;

    /// At most `limit` summaries, newest first, of all pipelines or of one.
    fn heads(&self, limit: usize, pipeline: Option<&str>) -> Result<Vec<RunSummary>, StoreError>;

    /// The run whose id begins with `prefix`; [`StoreError::UnknownRun`] or [`StoreError::Ambiguous`]
    /// unless there is exactly one.
    fn find(&self, prefix: &str) -> Result<RunId, StoreError>;

    /// The reusable output under `key`.
    fn cached(&self, key: &Digest) -> Result<Option<Value>, StoreError>;

    /// Saves `value` for reuse by other runs. It is on disk no later than the next appended fact.
    fn cache(&self, key: &Digest, value: &Value) -> Result<(), StoreError>;

    /// Adds a signal for the process that executes the run, waits for the disk, and returns its number.
    /// [`StoreError::UnknownRun`] if the run does not exist.
    fn signal(&self, signal: &Signal) -> Result<u64, StoreError>;

    /// Pending signals to `run` with numbers above `after`, in order.
    fn signals(&self, run: &RunId, after: u64) -> Result<Vec<Signal>, StoreError>;

    /// Result of the signal with this number; `None` while it is pending.
    fn settlement(&self, signal: u64) -> Result<Option<Settled>, StoreError>;

    /// The process that currently executes `run`, also another one.
    fn owner(&self, run: &RunId) -> Result<Option<Owner>, StoreError>;

    /// Acquires the right to write to `run`, across processes, until the claim is dropped.
    /// [`StoreError::Held`] if it is already claimed. The claim of a dead process is free at once.
    fn claim(&self, run: &RunId, owner: Owner) -> Result<Claim, StoreError>;

    /// Deletes `run` with its facts in one transaction. An error while it is claimed. Its blobs are kept
    /// until [`Store::sweep`].
    fn remove(&self, run: &RunId) -> Result<(), StoreError>;

    /// Removes blobs that were last put before `before` and are not referenced by a fact, a summary, a
    /// reusable output or another kept blob.
    fn sweep(&self, before: Millis) -> Result<GcReport, StoreError>;
}
