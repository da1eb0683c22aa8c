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
use crate::engine::{Mismatch, Payload, Question, Standing};
use crate::id::{Address, RunId};
use crate::meter::{Meter, Unit};
use crate::plan::{InputDoor, Plan};
use crate::store::{Owner, Store, StoreError};
use crate::value::{Digest, Seal, Value};
use crate::verb::{BlobError, Catalog, Grants, Secrets};

/// What runs are carried out with.
#[derive(Clone)]
pub struct House {
    /// Verbs and resources.
    pub catalog: Catalog,
    /// Where journals and content lie.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who carries runs out here.
    pub owner: Owner,
    /// The user's key, without which no output on record is used.
    pub seal: Seal,
    /// Secrets by name.
    pub secrets: Arc<dyn Secrets>,
    /// What the user allows steps.
    pub grants: Arc<Grants>,
    /// The files and directories that inputs of called pipelines name.
    pub inputs: Arc<dyn InputDoor + Send + Sync>,
    /// Where relative paths of authors and users start from.
    pub project: PathBuf,
    /// Where attempts may keep temporary files.
    pub scratch: PathBuf,
    /// Where each run has a directory for files that are kept with it.
    pub files: PathBuf,
    /// How many attempts may be under way at once, by lane.
    pub lanes: IndexMap<String, usize>,
    /// Caps on spending that take the place of the pipeline's own, by unit.
    pub caps: IndexMap<Unit, f64>,
    /// How long what is under way may go on when the run is to stop.
    pub grace: Duration,
}

impl House {
    /// The grace that is given where nobody says otherwise.
    pub const GRACE: Duration = Duration::from_secs(30);
}

/// A run to be carried out.
pub struct Job {
    /// Its id.
    pub run: RunId,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// How it begins.
    pub begin: Begin,
}

/// How a run begins: both are a resume, one of an empty journal.
pub enum Begin {
    /// From nothing.
    Fresh {
        /// The checked inputs.
        inputs: Value,
        /// What seeded choices are drawn from.
        seed: u64,
    },
    /// From nothing, but what is on record for interchangeable attempts is taken over instead of done again.
    Over {
        /// The checked inputs.
        inputs: Value,
        /// What seeded choices are drawn from.
        seed: u64,
        /// The outcomes on record.
        taken: Taken,
    },
    /// From its journal.
    Resume,
}

/// What another run has on record.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Outputs, by content key, in the order in which they were made.
    pub outputs: HashMap<Digest, VecDeque<Payload>>,
    /// Answers, by the digest of the question.
    pub answers: HashMap<Digest, Answered>,
    /// For steps whose questions differ from item to item: by the digest of a question without the number of its item, that of the
    /// question as it was put. The list of items may have another order now.
    pub moved: HashMap<Digest, Digest>,
}

/// The only way back in.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take no new work, let what is under way end, keep the run resumable.
    Cancel,
    /// The same, but stop what is under way as well.
    Kill,
    /// The answer to a question.
    Answer {
        /// The step that asked.
        address: Address,
        /// The answer.
        answer: Value,
        /// By whom.
        by: String,
        /// A remark of who answered.
        note: Option<String>,
    },
    /// Caps on spending, in place of the earlier ones.
    Limit {
        /// The caps, by unit.
        caps: IndexMap<Unit, f64>,
        /// By whom.
        by: String,
    },
}

/// A future answer; `None` where nobody gave one.
pub type Answering = Pin<Box<dyn Future<Output = Option<Answered>> + Send>>;

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What was answered.
    pub answer: Value,
    /// By whom, as the journal keeps it.
    pub by: String,
    /// A remark.
    pub note: Option<String>,
}

/// Somebody who can be asked.
pub trait Asker: Send + Sync + 'static {
    /// Puts the question that the step at `address` asks.
    fn ask(&self, address: &Address, question: &Question) -> Answering;
}

/// Somebody who hears events.
pub type Hearing = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// How a run is joined to the world.
pub struct Wires {
    /// Hears every event, in order, facts only once they are on disk, those of one turn together.
    pub events: Hearing,
    /// Whether it wants to hear notes as well.
    pub notes: bool,
    /// Commands to the run.
    pub commands: mpsc::Receiver<Command>,
    /// Who answers questions; `None` where nobody is there.
    pub ask: Option<Arc<dyn Asker>>,
}

/// How far a run came.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Where it stands.
    pub standing: Standing,
    /// What it has spent in all.
    pub spent: Meter,
    /// Its outputs; where it pauses, as far as they can be told.
    pub outputs: Arc<Value>,
}

/// Why a run could not be carried on.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The store failed, or somebody else carries the run out.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content could not be kept or found.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The journal does not fit the plan.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A line of the journal cannot be read.
    #[error("line {seq} of the journal cannot be read: {message}")]
    Journal {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The journal has a format that this version does not continue.
    #[error(
        "run {run} has a journal of format {found}, and this version of atoll continues only format {}",
        crate::engine::FORMAT
    )]
    Format {
        /// The run.
        run: RunId,
        /// The format of its journal.
        found: u32,
    },
    /// Nothing is under way, nothing is waited for, and the run has not ended: a fault of Atoll.
    #[error("the run stands still at `{0}`: this is a fault of Atoll, please report it")]
    Stuck(String),
}
