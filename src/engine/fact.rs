use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id::Address;
use crate::meter::{Meter, Unit};
use crate::value::{BlobRef, Digest, Value};
use crate::verb::Failure;

use super::Question;
use super::cache_key::CacheKey;

/// The format of the journals that this version writes. A run in another format can be listed, shown and exported, and
/// is not resumed. From format 2 on, facts are only extended: a new field has a default and is omitted if it is equal to
/// it. The format is raised only if an older version must not ignore what is new.
pub const FORMAT: u32 = 2;

/// Fields that are reserved in format 2, by kind of fact. A reader ignores those that it does not know.
pub const RESERVED: [(&str, &str); 6] = [
    ("started", "input"),
    ("started", "once"),
    ("succeeded", "kept"),
    ("faltered", "kept"),
    ("failed", "kept"),
    ("succeeded", "released"),
];

/// The content of a fact that a later version writes. This version shows it and does not resume a run that has one.
pub type Later = serde_json::Map<String, Value>;

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
        /// The format of the journal, see [`FORMAT`].
        #[serde(default = "first_format", skip_serializing_if = "is_first_format")]
        format: u32,
        /// What expressions over the inputs came to that are evaluated once, by their path in the pipeline.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        at_start: IndexMap<String, Value>,
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
    /// What makes the running attempt interchangeable with those of other runs.
    CacheKey(CacheKey),
    /// The attempt under way was cut off: by a crash, or by a stop that did not wait for it.
    Interrupted {
        /// What it is known to have cost, and all that calls in flight may have cost: their number is under `lost`.
        #[serde(default, skip_serializing_if = "Meter::is_empty")]
        spent: Meter,
        /// The part of it that is only an upper bound.
        #[serde(default, skip_serializing_if = "Meter::is_empty")]
        unsettled: Meter,
    },
    /// The attempt in progress had the answer to a call that an earlier attempt had sent in vain. What was booked for
    /// that one is replaced by what the same call cost now.
    Settled {
        /// The difference: what is added to the sums, so parts of it are negative. The calls are no longer under `lost`
        /// but under `estimated`.
        spent: Meter,
    },
    /// The attempt failed and will be made again.
    Faltered {
        /// How it failed.
        failure: Failure,
        /// Not before this moment; none if the step waits until the run is resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again_at: Option<Millis>,
        /// Whether it counts against the step's retries.
        charged: bool,
        /// What the step waits for, if it has no time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits: Option<Pause>,
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
        /// What `next` and the rule changed in the state, by variable.
        #[serde(default)]
        changes: Changes,
        /// The whole state, in journals of format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<Payload>,
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
        /// Whether it was skipped.
        #[serde(default, skip_serializing_if = "is_false")]
        skipped: bool,
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
    Asked(Box<Question>),
    /// A question was answered.
    Answered {
        /// The answer.
        answer: Value,
        /// By whom: `terminal`, `command`, `default`, `deadline`, ….
        by: String,
        /// Digest of the question that was answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<Digest>,
        /// A remark of who answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The run takes no new work. At the root.
    Paused {
        /// Why. Of several reasons the one that decides the exit code, see [`Pause`].
        pause: Pause,
        /// What to tell people about it.
        message: String,
        /// Every step that waits, with its reason, if the run pauses because nothing else can proceed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<Reason>,
    },
    /// A paused or cut-off run goes on. At the root.
    Resumed,
    /// Caps on spending were set while the run was under way; they replace the earlier ones. At the root.
    Limited {
        /// The caps, by unit.
        caps: IndexMap<Unit, f64>,
        /// By whom.
        by: String,
    },
    /// Reserved: a person accepted that a step is sent labelled content.
    Accepted(Later),
    /// Reserved: a round of a `poll` ended.
    Polled(Later),
    /// Reserved: the run waits without a process.
    Parked(Later),
    /// A step of the pipeline's own body ran because the run paused. It is not its outcome. At the root.
    PausedStep {
        /// The step.
        step: String,
        /// Its output, if it succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
        /// How it failed, if it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The run came to its end. At the root.
    Finished {
        /// Its status.
        status: String,
        /// The process exit code.
        code: i32,
        /// Its outputs.
        outputs: Payload,
        /// Steps with `always` that failed, which changed nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        always_failed: Vec<LateFailure>,
    },
}

/// A step that ran when everything else had ended, and how it failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateFailure {
    /// The step.
    pub step: String,
    /// How it failed.
    pub failure: Failure,
}

fn first_format() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_first_format(format: &u32) -> bool {
    *format == first_format()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a round changed in the state of its loop, by variable; the others are as they were.
pub type Changes = IndexMap<String, Change>;

/// What became of one variable of a loop's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It has another value.
    Set(Payload),
    /// It is a list, and has more items: these.
    Append(Payload),
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

/// Why a run takes no new work, or what a step waits for. Of several reasons the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// Labelled content would reach a step that must not have it.
    Barrier,
    /// A person stopped the run.
    Cancelled,
    /// A cap on spending is reached.
    Budget,
    /// Credentials are missing or wrong, or an account is exhausted.
    Auth,
    /// A provider is down.
    Outage,
    /// A question waits for its answer.
    Waiting,
}

/// Why a step waits while its run is paused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// What it waits for.
    pub pause: Pause,
    /// The step instance.
    pub address: Address,
    /// What to tell people.
    pub message: String,
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
        /// The same as with a run that started.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        at_start: IndexMap<String, Value>,
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
            Self::CacheKey(_) => "cache_key",
            Self::Interrupted { .. } => "interrupted",
            Self::Settled { .. } => "settled",
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
            Self::Limited { .. } => "limited",
            Self::Accepted(_) => "accepted",
            Self::Polled(_) => "polled",
            Self::Parked(_) => "parked",
            Self::PausedStep { .. } => "paused_step",
            Self::Finished { .. } => "finished",
        }
    }

    /// What the fact says was spent.
    pub fn spent(&self) -> Option<&Meter> {
        match self {
            Self::Succeeded { spent, .. } | Self::Interrupted { spent, .. } | Self::Settled { spent } => {
                Some(spent)
            }
            Self::Faltered { failure, .. } | Self::Failed { failure } => Some(&failure.spent),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_of_format_1_are_read_and_reserved_fields_do_no_harm() {
        let read = |value: Value| serde_json::from_value::<Fact>(value).unwrap();
        let begun = json!({"fact": "run_started", "pipeline": "p", "plan": Digest::of("p"), "inputs": {"value": {}}, "seed": 1});
        assert!(matches!(read(begun), Fact::RunStarted { format: 1, .. }));
        let failure = json!({"class": "transient", "message": "m"});
        let faltered = json!({"fact": "faltered", "failure": failure, "again_at": 7, "charged": true});
        assert!(matches!(read(faltered), Fact::Faltered { again_at: Some(7), waits: None, .. }));
        for (kind, field) in RESERVED {
            let mut fact = match kind {
                "started" => json!({"fact": kind}),
                "succeeded" => json!({"fact": kind, "output": {"value": 1}}),
                "faltered" => json!({"fact": kind, "failure": failure, "charged": false}),
                _ => json!({"fact": kind, "failure": failure}),
            };
            let plain = read(fact.clone());
            fact[field] = json!({"anything": [1]});
            assert_eq!(read(fact), plain, "{kind}.{field} is in use: take it off the list");
            assert_eq!(plain.word(), kind);
        }
    }

    #[test]
    fn later_facts_keep_their_content() {
        for kind in ["accepted", "polled", "parked"] {
            let written = json!({"fact": kind, "wake_at": 7, "deep": {"er": [1]}});
            let fact: Fact = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(fact.word(), kind);
            assert_eq!(serde_json::to_value(&fact).unwrap(), written);
        }
    }
}
