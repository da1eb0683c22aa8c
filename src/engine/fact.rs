use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id::Address;
use crate::meter::Meter;
use crate::value::{BlobRef, Digest, Value};
use crate::verb::Failure;

/// One line of a run's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it happened.
    pub at: Millis,
    /// Where: a step instance, a round (`converge#3`), an item (`judge[7]`), or the root.
    pub address: Address,
    /// Which attempt at the step it belongs to; 0 where it belongs to none.
    pub attempt: u32,
    /// What happened.
    pub fact: Fact,
}

/// What can happen in a run. Observations and choices only: what follows from them is computed again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The run began. At the root.
    RunStarted {
        /// Name of the pipeline.
        pipeline: String,
        /// Digest of its plan.
        plan: Digest,
        /// The checked inputs.
        inputs: Payload,
        /// What seeded choices, such as the jitter of pauses, are drawn from.
        seed: u64,
    },
    /// A step will not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// An attempt at a leaf step, or at acquiring what a `hold` holds, began.
    Started {
        /// The same for attempts that are interchangeable: same verb, same input, same schema.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
        /// What it may cost, set aside until it ends.
        #[serde(default, skip_serializing_if = "Meter::is_empty")]
        reserved: Meter,
    },
    /// The attempt under way was granted more than it began with.
    Reserved {
        /// How much more.
        more: Meter,
    },
    /// The attempt under way saved a value that the next one will be given.
    CursorSaved {
        /// The value.
        cursor: Value,
    },
    /// The attempt under way was cut off: by a crash, or by a stop that did not wait for it.
    Interrupted {
        /// What it is known to have cost; where nobody can know any more, what it had set aside, and one under `lost`.
        #[serde(default, skip_serializing_if = "Meter::is_empty")]
        spent: Meter,
    },
    /// The attempt failed and will be made again.
    Faltered {
        /// How it failed.
        failure: Failure,
        /// Not before this moment.
        again_at: Millis,
        /// Whether it counts against the step's retries.
        charged: bool,
    },
    /// The step has its output.
    Succeeded {
        /// The output.
        output: Payload,
        /// What the last attempt cost.
        #[serde(default, skip_serializing_if = "Meter::is_empty")]
        spent: Meter,
        /// Whether the output was one recorded by an earlier run.
        #[serde(default, skip_serializing_if = "is_false")]
        cached: bool,
    },
    /// The step has failed for good.
    Failed {
        /// How.
        failure: Failure,
    },
    /// A control step evaluated what it works on and opened.
    Opened {
        /// What it works on.
        with: Opening,
    },
    /// A round of a loop ended. At the round.
    RoundClosed {
        /// Values of `let`.
        lets: Payload,
        /// The state after `next` and the rule.
        state: Payload,
        /// The rule that applied.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The status with which the loop ends, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<String>,
    },
    /// An item of an `each` ended. At the item.
    ItemClosed {
        /// Its result; for a failed item `{index, key, error}`.
        result: Payload,
        /// Whether it failed.
        #[serde(default, skip_serializing_if = "is_false")]
        failed: bool,
    },
    /// A `hold` has its resource.
    Acquired {
        /// What the body sees as `held`.
        held: Payload,
    },
    /// A `hold` let go.
    Released {
        /// What `held` became.
        held: Payload,
    },
    /// A crash or stop took a held resource away; the body will run again from its start.
    Lost,
    /// A question was put.
    Asked(Question),
    /// A question was answered.
    Answered {
        /// The answer.
        answer: Value,
        /// By whom: `terminal`, `command`, `default`, ….
        by: String,
    },
    /// The run takes no new work. At the root.
    Paused {
        /// Why.
        pause: Pause,
        /// What to tell people.
        message: String,
    },
    /// A paused or cut-off run goes on. At the root.
    Resumed,
    /// The run came to its end. At the root.
    Finished {
        /// Its status.
        status: String,
        /// The process exit code.
        code: i32,
        /// Its outputs.
        outputs: Payload,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The question.
    #[serde(rename = "question")]
    pub text: String,
    /// The answers to choose from; empty where any will do.
    pub choices: Vec<Value>,
    /// The answer where nobody gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// When the default is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

/// Why a step was skipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its condition did not hold.
    When {
        /// The condition.
        expression: String,
        /// The values it was decided on, by the names it reads.
        values: Value,
    },
    /// Something it reads or needs failed.
    AfterFailure {
        /// The culprit.
        step: String,
    },
    /// Something it reads or needs was skipped.
    AfterSkip {
        /// The culprit.
        step: String,
    },
}

/// Why a run takes no new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Somebody asked for it.
    Cancelled,
    /// A cap on spending is reached.
    Budget,
    /// No or wrong credentials, or an exhausted account.
    Auth,
    /// A question waits for its answer.
    Waiting,
    /// The other side is down.
    Outage,
}

/// What a control step works on, evaluated once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Opening {
    /// A loop.
    Loop {
        /// The most rounds.
        max: u32,
        /// The list it folds over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<Payload>,
        /// The first state.
        state: Payload,
    },
    /// An `each`.
    Each {
        /// The list.
        over: Payload,
        /// How many items may be open at once.
        parallel: u32,
        /// With more failures than this no further item is begun, and the step fails.
        max_failures: Option<u32>,
        /// The keys of all items, in the order of the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<Payload>,
    },
    /// A call.
    Call {
        /// The other pipeline's inputs.
        inputs: Payload,
    },
}

/// A value in the journal: in place, in the blob store, or spread over the records of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// In place.
    Value(Arc<Value>),
    /// JSON text in the blob store.
    Blob(BlobRef),
    /// The results of the items of this `each`.
    Items(u32),
}

impl Payload {
    /// A value in place.
    pub fn value(value: Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

impl Fact {
    /// The word for it in journals and event streams.
    pub fn word(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run_started",
            Self::Skipped { .. } => "skipped",
            Self::Started { .. } => "started",
            Self::Reserved { .. } => "reserved",
            Self::CursorSaved { .. } => "cursor_saved",
            Self::Interrupted { .. } => "interrupted",
            Self::Faltered { .. } => "faltered",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Opened { .. } => "opened",
            Self::RoundClosed { .. } => "round_closed",
            Self::ItemClosed { .. } => "item_closed",
            Self::Acquired { .. } => "acquired",
            Self::Released { .. } => "released",
            Self::Lost => "lost",
            Self::Asked(_) => "asked",
            Self::Answered { .. } => "answered",
            Self::Paused { .. } => "paused",
            Self::Resumed => "resumed",
            Self::Finished { .. } => "finished",
        }
    }

    /// What the fact says was spent.
    pub fn spent(&self) -> Option<&Meter> {
        match self {
            Self::Succeeded { spent, .. } | Self::Interrupted { spent } => Some(spent),
            Self::Faltered { failure, .. } | Self::Failed { failure } => Some(&failure.spent),
            _ => None,
        }
    }
}
