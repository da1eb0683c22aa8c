//! Where journals, heads of runs, reusable outputs and blobs are kept: the port and its two implementations.
//! A store never knows what a fact means beyond its columns, nor how a run works.
//! Start with [`Store`]; [`Sqlite`] is what runs use, [`Memory`] is the same in memory and holds the port to its word.

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
    /// When it happened.
    pub at: Millis,
    /// What kind of fact it is.
    pub kind: String,
    /// The step instance it is about.
    pub address: Address,
    /// The attempt it is about, 0 where it is about none.
    pub attempt: u32,
    /// JSON text of the fact.
    pub body: String,
}

/// What is known of a run without reading its journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Digest of its plan; a blob under this digest is kept as long as the run.
    pub plan: Digest,
    /// A word for where it stands.
    pub status: String,
    /// Exit code, once it has ended.
    pub code: Option<i32>,
    /// When it was created.
    pub started_at: Millis,
    /// When it ended.
    pub finished_at: Option<Millis>,
    /// What it has spent.
    pub spent: Meter,
    /// Its score, where its pipeline has one.
    pub score: Option<f64>,
    /// Its outputs, once it has ended.
    pub outputs: Option<Value>,
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Facts, in order.
    pub rows: Vec<FactRow>,
    /// Takes the place of the run's head.
    pub head: Option<RunSummary>,
    /// Whether the run begins with this batch: `head` is its first. [`StoreError::Exists`] where there is a run of
    /// that name, which is left as it is.
    pub begins: bool,
    /// What signals came to, by their numbers. One that was settled before stays as it is.
    pub settled: Vec<(u64, Settled)>,
}

/// What [`Store::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A journal store. Calls other than [`Store::cache`] may block for as long as the disk takes.
pub trait Store: Blobs {
    /// Queues `batch` to be written in one transaction; the ticket resolves when it is on disk, to the number of the
    /// run's last fact. Batches of one run are written in the order of the calls, after the blobs put before them.
    /// When one fails, all later batches of that run fail too, until the run is claimed anew.
    fn append(&self, run: &RunId, batch: Append) -> Ticket;

    /// Begins a run without any fact yet, and waits for the disk.
    fn create(&self, head: &RunSummary) -> Result<(), StoreError> {
        let batch = Append { head: Some(head.clone()), begins: true, ..Append::default() };
        self.append(&head.run, batch).blocking_wait().map(drop)
    }

    /// Hands over the facts numbered above `after`, in order, until `each` returns false. Facts that are not on disk
    /// yet are not seen. `each` may call the store.
    fn scan(
        &self,
        run: &RunId,
        after: u64,
        each: &mut dyn FnMut(u64, FactRow) -> bool,
    ) -> Result<(), StoreError>;

    /// The head of `run`, `None` where there is no such run.
    fn head(&self, run: &RunId) -> Result<Option<RunSummary>, StoreError>;

    /// At most `limit` heads, newest first, of all pipelines or of one.
    fn heads(&self, limit: usize, pipeline: Option<&str>) -> Result<Vec<RunSummary>, StoreError>;

    /// The run whose name begins with `prefix`; [`StoreError::UnknownRun`] or [`StoreError::Ambiguous`] where it is
    /// not exactly one.
    fn find(&self, prefix: &str) -> Result<RunId, StoreError>;

    /// The output that was kept for reuse under `key`.
    fn cached(&self, key: &Digest) -> Result<Option<Value>, StoreError>;

    /// Keeps `value` for reuse by other runs; on disk no later than the next fact that is appended.
    fn cache(&self, key: &Digest, value: &Value) -> Result<(), StoreError>;

    /// Leaves a signal for the process that carries its run out, and waits for the disk; its number.
    /// [`StoreError::UnknownRun`] if there is no such run.
    fn signal(&self, signal: &Signal) -> Result<u64, StoreError>;

    /// Signals to `run` that are not settled, with numbers above `after`, in order.
    fn signals(&self, run: &RunId, after: u64) -> Result<Vec<Signal>, StoreError>;

    /// What the signal with this number came to, `None` while it waits.
    fn settlement(&self, signal: u64) -> Result<Option<Settled>, StoreError>;

    /// Who carries `run` out at the moment, also in other processes.
    fn owner(&self, run: &RunId) -> Result<Option<Owner>, StoreError>;

    /// Takes the right to write to `run` until the claim is dropped, also against other processes;
    /// [`StoreError::Held`] where somebody has it. The claim of a process that died is free at once.
    fn claim(&self, run: &RunId, owner: Owner) -> Result<Claim, StoreError>;

    /// Forgets `run` with its facts in one transaction; refuses while it is claimed. Its blobs stay until
    /// [`Store::sweep`].
    fn remove(&self, run: &RunId) -> Result<(), StoreError>;

    /// Removes blobs that were last put before `before` and whose digest is found neither in a fact, head or reusable
    /// output that is still kept, nor in another blob that stays.
    fn sweep(&self, before: Millis) -> Result<GcReport, StoreError>;
}
