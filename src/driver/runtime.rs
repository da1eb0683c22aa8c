use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::sync::mpsc;

use super::Event;
use crate::clock::Clock;
use crate::engine::{Mismatch, Payload, Question, RunStatus};
use crate::id::{Address, RunId};
use crate::meter::{Meter, Unit};
use crate::plan::{InputDoor, Plan};
use crate::store::{Owner, Store, StoreError};
use crate::value::{Digest, Seal, Value};
use crate::verb::{BlobError, Catalog, Grants, Secrets};

/// Everything that runs need.
#[derive(Clone)]
pub struct Runtime {
    /// Verbs and resources.
    pub catalog: Catalog,
    /// Storage of journals and content.
    pub store: Arc<dyn Store>,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// The process that works on the runs.
    pub owner: Owner,
    /// Key of the user, without which no recorded output is reused.
    pub seal: Seal,
    /// Secrets by name.
    pub secrets: Arc<dyn Secrets>,
    /// Permissions that the user gave.
    pub grants: Arc<Grants>,
    /// Reads the files and directories that inputs of called pipelines refer to.
    pub inputs: Arc<dyn InputDoor + Send + Sync>,
    /// Directory that relative paths of authors and users start from.
    pub project: PathBuf,
    /// Directory for temporary files of attempts.
    pub scratch: PathBuf,
    /// Directory with a subdirectory for each run, for files that are kept with it.
    pub files: PathBuf,
    /// Maximum number of parallel attempts, by lane.
    pub lanes: IndexMap<String, usize>,
    /// Spending limits that override those of the pipeline, by unit.
    pub caps: IndexMap<Unit, f64>,
    /// Time that running steps may take to finish when the run is stopped.
    pub grace: Duration,
}

impl Runtime {
    /// The default grace period.
    pub const GRACE: Duration = Duration::from_secs(30);
}

/// A run to be executed.
pub struct RunRequest {
    /// Id of the run.
    pub run: RunId,
    /// Plan of the run.
    pub plan: Arc<Plan>,
    /// Start of the run.
    pub begin: RunStart,
}

/// The start of a run: a new run is a resume from an empty journal.
pub enum RunStart {
    /// A new run.
    Fresh {
        /// Checked inputs.
        inputs: Value,
        /// Seed of random choices.
        seed: u64,
    },
    /// A new run that reuses recorded results of interchangeable attempts.
    Replan {
        /// Checked inputs.
        inputs: Value,
        /// Seed of random choices.
        seed: u64,
        /// Recorded results.
        taken: ReusableOutputs,
    },
    /// A run that continues from its journal.
    Resume,
}

/// The recorded results of another run.
#[derive(Clone, Debug, Default)]
pub struct ReusableOutputs {
    /// Outputs by content key, in the order in which they were made.
    pub outputs: HashMap<Digest, VecDeque<Payload>>,
    /// Answers, by the digest of the question.
    pub answers: HashMap<Digest, Answer>,
    /// For steps whose questions differ by item: the digest of the original question, by the digest of the
    /// question without its item number. The order of the items may have changed.
    pub moved: HashMap<Digest, Digest>,
}

/// Commands to a run.
#[derive(Clone, Debug)]
pub enum RunCommand {
    /// Start no new work, wait for running steps, keep the run resumable.
    Cancel,
    /// The same, but cancel running steps as well.
    Kill,
    /// An answer to a question.
    Answer {
        /// Address of the step that asked.
        address: Address,
        /// Answer to the question.
        answer: Value,
        /// Person who answered.
        by: String,
        /// Remark with the answer.
        note: Option<String>,
    },
    /// New spending limits.
    Limit {
        /// Limits by unit.
        caps: IndexMap<Unit, f64>,
        /// Person who set them.
        by: String,
    },
}

/// A future answer; `None` if there was none.
pub type AnswerFuture = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// An answer, and the person who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Answer to the question.
    pub answer: Value,
    /// Person, as recorded in the journal.
    pub by: String,
    /// Remark with the answer.
    pub note: Option<String>,
}

/// A way to ask a person.
pub trait Asker: Send + Sync + 'static {
    /// Asks the question of the step at `address`.
    fn ask(&self, address: &Address, question: &Question) -> AnswerFuture;
}

/// A listener for events.
pub type EventSink = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// The connections of a run to its caller.
pub struct RunHandles {
    /// Receives every event in order. Facts are on disk by then; those of one turn come together.
    pub events: EventSink,
    /// Whether progress messages are wanted too.
    pub notes: bool,
    /// Receives commands to the run.
    pub commands: mpsc::Receiver<RunCommand>,
    /// Asks questions; `None` if there is no one to ask.
    pub ask: Option<Arc<dyn Asker>>,
}

/// The result of working on a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Status of the run.
    pub status: RunStatus,
    /// Total spending.
    pub spent: Meter,
    /// Outputs of the run; at a pause, those that are known.
    pub outputs: Arc<Value>,
}

/// The reason why work on a run failed.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The store failed, or another process works on the run.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content could not be stored or found.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The journal does not fit the plan.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A line of the journal cannot be read.
    #[error("line {seq} of the journal cannot be read: {message}")]
    Journal {
        /// Number of the line.
        seq: u64,
        /// Reason of the error.
        message: String,
    },
    /// The journal has a format that this version does not continue.
    #[error(
        "run {run} has a journal of format {found}, and this version of atoll continues only format {}",
        crate::engine::FORMAT
    )]
    Format {
        /// Id of the run.
        run: RunId,
        /// Format of its journal.
        found: u32,
    },
    /// Nothing is in progress or waiting, and the run has not ended: a bug in Atoll.
    #[error("the run is stuck at `{0}`: this is a bug in Atoll, please report it")]
    Stuck(String),
}
