use std::sync::Arc;

use serde::Deserialize as _;

use super::absence::Skip;
use super::control::Control;
use super::results::Results;
use super::slot::Slot;
use super::{Fact, Pause, Question, Record};
use crate::clock::Millis;
use crate::expr::Data;
use crate::meter::{Meter, Unit};
use crate::value::{Digest, Value};
use crate::verb::{Class, Failure};

/// Where a step instance stands. What only one phase has lies inside that phase.
#[derive(Debug)]
pub(super) enum Node {
    /// Waits for other steps, or for its lane.
    Waiting,
    /// An attempt is under way.
    Running(Tries),
    /// Waits for its next attempt, not before `until`.
    Resting { tries: Tries, until: Millis },
    /// An attempt was under way at a crash; what happens to it is not yet decided.
    Cut(Tries),
    /// Waits for its next attempt without a time, until the run is resumed.
    Blocked { tries: Tries, pause: Pause },
    /// A control step with its inside.
    Open(Box<Control>),
    /// Put a question; `cut` where it is about an attempt that was interrupted. `put` while a person may be asked here.
    Asking { cut: Option<Tries>, question: Box<Question>, put: bool },
    /// Has its answer.
    Answered { cut: Option<Tries>, answer: Value },
    /// Has its output.
    Done(Slot),
    /// Failed for good.
    Failed(Arc<Failure>, Kept),
    /// Will not run.
    Skipped(Skip),
}

/// What a control step that failed keeps of what it did.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The results of the items of an `each`.
    items: Option<Arc<Results>>,
    /// What the output of a loop was after its last closed round, with the status `failed`.
    pub(super) output: Option<Data>,
}

/// What is known of the attempts at a step so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries {
    /// Attempts begun.
    pub(super) begun: u32,
    /// Failed attempts that count against the retries.
    pub(super) charged: u32,
    /// Failed attempts that do not.
    pub(super) free: u32,
    /// How the last one failed.
    pub(super) error: Option<Arc<Failure>>,
    /// What the last one saved.
    pub(super) cursor: Option<Value>,
    /// What makes the one in progress interchangeable with others.
    pub(super) key: Option<Digest>,
    /// What the one under way has set aside.
    pub(super) reserved: Meter,
    /// Whether the one under way was refused more, because the run has too little left.
    pub(super) unfunded: bool,
}

impl Tries {
    /// What is booked for the attempt under way where it is cut off: what it told of its cost with what it saved, and
    /// whatever else it had set aside, unless it said that its pending work is found again, or was not sent yet. The
    /// second is the part that is only an upper bound.
    pub(super) fn lost(&self) -> (Meter, Meter) {
        let mut told = self.saved("spent");
        // What one attempt says of itself is not true of the next.
        let cursor = self.cursor.as_ref();
        let own = cursor.filter(|cursor| cursor["attempt"].is_null() || cursor["attempt"] == self.begun);
        if own.is_some_and(|cursor| cursor["kept"] == true) {
            return (told, Meter::new());
        }
        let mut known = told.plain();
        known.absorb(&self.saved("waiting"));
        let unsettled = unknown(&known, &self.reserved);
        told.absorb_shares(&unsettled);
        (told, unsettled)
    }

    /// The sums that the running attempt saved under `name`.
    fn saved(&self, name: &str) -> Meter {
        let own = self.cursor.as_ref().filter(|cursor| cursor["attempt"] == self.begun);
        own.and_then(|cursor| Meter::deserialize(&cursor[name]).ok()).unwrap_or_default()
    }

    /// What is known after another failed attempt.
    fn failed(self, failure: &Failure, charged: bool) -> Self {
        Self {
            charged: self.charged + u32::from(charged),
            free: self.free + u32::from(!charged),
            error: Some(Arc::new(failure.clone())),
            // What it leads back to has brought its output, and that was not good enough.
            cursor: self.cursor.filter(|_| failure.class != Class::Rejected),
            ..self
        }
    }

    /// The last failure of a step that is not tried again: what it had under way elsewhere, nobody fetches any more.
    pub(super) fn last(&self, failure: Failure) -> Failure {
        let open = self.cursor.as_ref().and_then(|cursor| cursor["open"].as_u64()).unwrap_or(0);
        if open == 0 {
            return failure;
        }
        let mut spent = failure.spent;
        spent.absorb_shares(&unknown(&spent, &self.reserved));
        Failure { spent, ..failure }
    }
}

/// What was set aside beside what is `known`, with the number of its calls under `lost`.
fn unknown(known: &Meter, reserved: &Meter) -> Meter {
    let short = known.shortfall(reserved);
    if short.is_empty() {
        return short;
    }
    let calls = short.get(Unit::Calls).max(1.0);
    let short = match reserved.shares() {
        [one] => short.paid(one.to.clone(), one.role.clone()),
        _ => short,
    };
    short.with(Unit::Lost, calls)
}

/// Where a step instance stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits.
    Waiting,
    /// At work, or its inside is.
    Running,
    /// Has its output.
    Done,
    /// Failed.
    Failed,
    /// Will not run.
    Skipped,
}

impl Node {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Waiting | Self::Resting { .. } | Self::Blocked { .. } | Self::Cut(_) => Phase::Waiting,
            Self::Running(_) | Self::Open(_) | Self::Asking { .. } | Self::Answered { .. } => Phase::Running,
            Self::Done(_) => Phase::Done,
            Self::Failed(..) => Phase::Failed,
            Self::Skipped(_) => Phase::Skipped,
        }
    }

    /// When to look at it again even if nothing happens.
    pub(super) fn timer(&self) -> Option<Millis> {
        match self {
            Self::Resting { until, .. } => Some(*until),
            Self::Asking { question, .. } => question.until,
            _ => None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(..) | Self::Skipped(_))
    }

    /// What an attempt that is under way has set aside.
    pub(super) fn reserved(&self) -> Option<&Meter> {
        match self {
            Self::Running(tries) => Some(&tries.reserved),
            _ => None,
        }
    }

    /// The results of the items of an `each` that is open.
    fn into_results(self) -> Option<Arc<Results>> {
        match self {
            Self::Open(control) => control.into_results(),
            _ => None,
        }
    }

    /// The results of the items of an `each` that has ended.
    pub(super) fn results(&self) -> Option<&Arc<Results>> {
        match self {
            Self::Done(slot) => slot.items(),
            Self::Failed(_, kept) => kept.items.as_ref(),
            _ => None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running(_) => "running",
            Self::Resting { .. } => "resting",
            Self::Blocked { .. } => "blocked",
            Self::Cut(_) => "cut off",
            Self::Open(_) => "open",
            Self::Asking { .. } => "asking",
            Self::Answered { .. } => "answered",
            Self::Done(_) => "done",
            Self::Failed(..) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }

    /// The phase after a fact about a leaf, or about how a control step ended: the table of legal transitions.
    /// Facts about the inside of control steps are applied by `control`.
    pub(super) fn after(self, record: &Record) -> Result<Self, String> {
        let illegal =
            |node: &Self| Err(format!("a step that is {} cannot have {}", node.word(), record.fact.word()));
        Ok(match (self, &record.fact) {
            (Self::Waiting, Fact::Skipped { .. }) => Self::Skipped(Skip::default()),
            (Self::Waiting, Fact::Started { key, reserved }) => {
                Self::Running(Tries { begun: 1, key: *key, reserved: reserved.clone(), ..Tries::default() })
            }
            (
                Self::Resting { tries, .. } | Self::Cut(tries) | Self::Answered { cut: Some(tries), .. },
                Fact::Started { key, reserved },
            ) => Self::Running(Tries {
                begun: tries.begun + 1,
                key: *key,
                reserved: reserved.clone(),
                unfunded: false,
                ..tries
            }),
            (Self::Running(mut tries), Fact::Reserved { more }) => {
                tries.reserved.absorb_shares(more);
                Self::Running(tries)
            }
            (Self::Running(tries), Fact::CursorSaved { cursor }) => {
                let mut tries = Tries { cursor: Some(cursor.clone()), ..tries };
                tries.reserved.remove(&tries.saved("free"));
                Self::Running(tries)
            }
            (Self::Running(tries), Fact::Settled { .. } | Fact::CacheKey(_)) => Self::Running(tries),
            (Self::Running(tries), Fact::Interrupted { .. }) => Self::Cut(tries),
            // A `call` is tried again as a whole.
            (Self::Open(control), Fact::Faltered { failure, again_at, charged, .. })
                if control.tries().is_some() =>
            {
                let tries = control.tries().cloned().unwrap_or_default().failed(failure, *charged);
                Self::Resting { tries, until: again_at.unwrap_or(record.at) }
            }
            (Self::Running(tries), Fact::Faltered { failure, again_at, charged, waits }) => {
                let tries = tries.failed(failure, *charged);
                match waits {
                    Some(pause) if again_at.is_none() => Self::Blocked { tries, pause: *pause },
                    _ => Self::Resting { tries, until: again_at.unwrap_or(record.at) },
                }
            }
            (Self::Waiting, Fact::Asked(question)) => {
                Self::Asking { cut: None, question: question.clone(), put: true }
            }
            (Self::Cut(tries), Fact::Asked(question)) => {
                Self::Asking { cut: Some(tries), question: question.clone(), put: true }
            }
            (Self::Asking { cut, .. }, Fact::Answered { answer, .. }) => {
                Self::Answered { cut, answer: answer.clone() }
            }
            (node, Fact::Succeeded { output, .. }) if !node.has_ended() => {
                Self::Done(Slot::new(output.clone(), node.into_results()))
            }
            (node, Fact::Failed { failure }) if !node.has_ended() => {
                let kept = Kept { items: node.into_results(), output: None };
                Self::Failed(Arc::new(failure.clone()), kept)
            }
            (node, _) => return illegal(&node),
        })
    }
}
