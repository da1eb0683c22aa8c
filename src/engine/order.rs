use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Answer, CacheKey, Computation, Evaluation, Pause, Purpose, Question, Reason, Record};
use crate::clock::Millis;
use crate::id::Address;
use crate::meter::{Meter, Unit};
use crate::plan::{CachedFiles, Input};
use crate::schema::Schema;
use crate::value::{BlobRef, Digest, Value};
use crate::verb::{Failure, Output};

/// What the engine wants done. Its `started` or `asked` fact is in the same turn.
#[derive(Clone, Debug)]
pub enum Order {
    /// Run a verb.
    Run(Attempt),
    /// Acquire a resource.
    Acquire(Attempt),
    /// Evaluate a pure loop. Nothing is on record of it before its end.
    Compute {
        /// The step.
        address: Address,
        /// How long it may take.
        timeout: Option<Duration>,
        /// The loop.
        work: Computation,
    },
    /// Evaluate something of a step that takes long. Nothing is on record of it.
    Evaluate {
        /// How long it may take.
        timeout: Option<Duration>,
        /// The evaluation.
        work: Evaluation,
    },
    /// Read the files and directories that the inputs of a called pipeline name.
    Read {
        /// The `call`.
        address: Address,
        /// The called pipeline.
        pipeline: String,
        /// Inputs by name, with the paths that they are read from.
        paths: Vec<(String, Input, String)>,
    },
    /// Let go of the resource of the `hold` at this address.
    Release(Address),
    /// Get an answer to a question.
    Ask {
        /// The step.
        address: Address,
        /// The question.
        question: Box<Question>,
    },
}

/// One attempt at a leaf step or a resource.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The step instance.
    pub address: Address,
    /// Which attempt, from 1; 0 for one that is made because the run pauses.
    pub number: u32,
    /// Because of which pause it is made, from 1; 0 for an attempt that decides what becomes of the step.
    pub pause: u32,
    /// The verb or resource.
    pub name: Arc<str>,
    /// Its rendered input.
    pub with: Value,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// What its output must fit.
    pub schema: Option<Arc<Schema>>,
    /// What an earlier attempt saved.
    pub cursor: Option<Value>,
    /// The same for attempts that are interchangeable; none where doing it again is as good.
    pub key: Option<Digest>,
    /// Whether an output that an earlier run recorded under the key may be used instead.
    pub cache: bool,
    /// Files whose content belongs to the key, and files that belong to the output.
    pub files: Option<Arc<CachedFiles>>,
    /// What it may cost.
    pub reserved: Meter,
    /// What was booked for calls that earlier attempts with the same input had sent in vain, see [`Report::Settled`].
    pub unsettled: Meter,
}

/// What came of an order.
#[derive(Debug)]
pub enum Report {
    /// A verb ended.
    Ran {
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// Its output or failure.
        result: Result<Output<Value>, Failure>,
        /// Whether the output was one recorded by an earlier run.
        cached: bool,
    },
    /// A pure loop ended, or was stopped.
    Computed {
        /// The step instance.
        address: Address,
        /// Its output or failure.
        result: Result<Value, Failure>,
    },
    /// An evaluation ended, or was stopped.
    Evaluated {
        /// What it was for.
        purpose: Purpose,
        /// Its value or failure.
        result: Result<Answer, Failure>,
    },
    /// A verb saved a cursor.
    Cursor {
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// The value.
        cursor: Value,
    },
    /// The key of an attempt at a cached step is known.
    Keyed {
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// The key and its parts.
        key: CacheKey,
    },
    /// A verb wants to spend more than it began with.
    Claim {
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// How much more.
        more: Meter,
    },
    /// The attempt had the answer to a call that earlier attempts had sent in vain.
    Settled {
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// What is booked in place of [`Attempt::unsettled`].
        instead: Meter,
    },
    /// A resource was acquired or not.
    Acquired {
        /// The `hold`.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// What the body sees as `held`.
        result: Result<Value, Failure>,
    },
    /// A resource was let go; `None` where it was gone already.
    Released {
        /// The `hold`.
        address: Address,
        /// What `held` became.
        held: Option<Value>,
    },
    /// Files and directories were read.
    Read {
        /// The `call`.
        address: Address,
        /// The inputs that they are for.
        values: Result<Vec<(String, Value)>, Failure>,
    },
    /// A question was answered.
    Answered {
        /// The step.
        address: Address,
        /// The answer.
        answer: Value,
        /// By whom.
        by: String,
        /// A remark of who answered.
        note: Option<String>,
    },
    /// No person can be asked the question of this step.
    Unasked {
        /// The step.
        address: Address,
    },
    /// Caps on spending are set.
    Limits {
        /// The caps, by unit.
        caps: IndexMap<Unit, f64>,
        /// By whom.
        by: String,
    },
    /// Nothing more is to be begun, not even steps that run because of a pause.
    Kill,
    /// Somebody wants the run to take no new work.
    Pause {
        /// Why.
        pause: Pause,
        /// What to tell people.
        message: String,
    },
}

/// How much one turn may do, so that its facts reach the disk, and others are heard, while there is more to do.
pub struct Slice<'a> {
    /// After so many facts it ends.
    pub facts: usize,
    /// Whether its time is over; asked after it has done something.
    pub over: &'a dyn Fn() -> bool,
}

impl Slice<'_> {
    /// As much as there is.
    pub const ALL: Self = Slice { facts: usize::MAX, over: &|| false };

    pub(super) fn is_over(&self, turn: &Turn) -> bool {
        let has_done = !turn.records.is_empty() || !turn.orders.is_empty();
        turn.records.len() >= self.facts || (has_done && (self.over)())
    }
}

/// What one turn of the engine brings.
#[derive(Debug, Default)]
pub struct Turn {
    /// Facts, to be appended in this order before anything else happens.
    pub records: Vec<Record>,
    /// Content that the facts refer to, to be kept before them.
    pub blobs: Vec<(BlobRef, Vec<u8>)>,
    /// What to do once the facts are on disk.
    pub orders: Vec<Order>,
    /// What became of claims, by step instance and attempt; to be told once the facts are on disk.
    pub grants: Vec<(Address, u32, Result<(), Failure>)>,
    /// When to come back even if nothing happens.
    pub wake: Option<Millis>,
    /// Whether there is more to do at once: the slice was over before.
    pub more: bool,
}

impl Turn {
    /// Takes in the turn that followed.
    pub fn append(&mut self, next: Self) {
        self.records.extend(next.records);
        self.blobs.extend(next.blobs);
        self.orders.extend(next.orders);
        self.grants.extend(next.grants);
        (self.wake, self.more) = (next.wake, next.more);
    }
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum RunStatus {
    /// Attempts are under way or will be.
    Going,
    /// Takes no new work, and none is under way.
    Paused {
        /// Why.
        pause: Pause,
        /// What to tell people.
        message: String,
        /// Every step that waits, if that is why.
        reasons: Vec<Reason>,
    },
    /// Came to its end.
    Finished {
        /// Its status.
        status: String,
        /// The process exit code.
        code: i32,
        /// Its outputs.
        outputs: Arc<Value>,
    },
}
