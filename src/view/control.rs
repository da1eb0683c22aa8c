use std::collections::VecDeque;

use crate::clock::Millis;
use crate::engine::{Opening, Payload};
use crate::value::Value;

/// How many closed rounds of a loop are kept in detail.
pub const ROUNDS_KEPT: usize = 100;

const MISHAPS_KEPT: usize = 10;

/// What goes on inside a control step.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlView {
    /// A loop.
    Loop {
        /// The most rounds.
        max: u32,
        /// How many rounds are closed.
        closed: u32,
        /// The latest closed rounds, oldest first; at most [`ROUNDS_KEPT`].
        rounds: VecDeque<RoundView>,
    },
    /// An `each`.
    Each {
        /// How many items there are, where that is known.
        total: Option<u64>,
        /// How many items are closed.
        closed: u64,
        /// How many of these failed.
        failed: u64,
        /// The first of these.
        mishaps: Vec<Mishap>,
    },
    /// A `hold`: whether its resource is held at the moment.
    Hold {
        /// Whether it is.
        held: bool,
    },
    /// Another pipeline.
    Call,
}

/// A closed round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundView {
    /// Which, from 1.
    pub number: u32,
    /// When it closed.
    pub at: Millis,
    /// The numbers and truth values among its `let`.
    pub lets: Vec<(String, Value)>,
    /// The rule that applied.
    pub rule: Option<String>,
    /// The status with which the loop ended, if it did.
    pub exit: Option<String>,
}

/// An item that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mishap {
    /// Which, from 0.
    pub index: u32,
    /// Its key, where it has one.
    pub key: Option<String>,
    /// What happened to it.
    pub message: String,
}

impl ControlView {
    pub(super) fn opened(with: &Opening) -> Self {
        match with {
            Opening::Loop { max, .. } => Self::Loop { max: *max, closed: 0, rounds: VecDeque::new() },
            Opening::Each { over, .. } => {
                Self::Each { total: length(over), closed: 0, failed: 0, mishaps: Vec::new() }
            }
            Opening::Call { .. } => Self::Call,
        }
    }

    /// Takes note of a closed round and says which round is too old to be kept in detail.
    pub(super) fn close_round(&mut self, round: RoundView) -> Option<u32> {
        let Self::Loop { closed, rounds, .. } = self else { return None };
        *closed = (*closed).max(round.number);
        rounds.push_back(round);
        if rounds.len() > ROUNDS_KEPT { rounds.pop_front().map(|old| old.number) } else { None }
    }

    pub(super) fn close_item(&mut self, index: u32, result: &Payload, is_failure: bool) {
        let Self::Each { closed, failed, mishaps, .. } = self else { return };
        *closed += 1;
        if is_failure {
            *failed += 1;
            if mishaps.len() < MISHAPS_KEPT {
                mishaps.push(mishap(index, result));
            }
        }
    }
}

/// The values of a payload in place that fit on a line: numbers, truth values and short words.
pub(super) fn figures(payload: &Payload) -> Vec<(String, Value)> {
    let Payload::Value(value) = payload else { return Vec::new() };
    let Some(table) = value.as_object() else { return Vec::new() };
    let short = |value: &&Value| value.is_number() || value.is_boolean();
    table
        .iter()
        .filter(|(_, value)| short(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn length(over: &Payload) -> Option<u64> {
    match over {
        Payload::Value(value) => match &**value {
            Value::Array(items) => Some(items.len() as u64),
            _ => None,
        },
        Payload::Items(count) => Some(u64::from(*count)),
        Payload::Blob(_) => None,
    }
}

fn mishap(index: u32, result: &Payload) -> Mishap {
    let value = match result {
        Payload::Value(value) => Some(&**value),
        Payload::Blob(_) | Payload::Items(_) => None,
    };
    let text =
        |pointer: &str| value.and_then(|v| v.pointer(pointer)).and_then(Value::as_str).map(str::to_owned);
    Mishap {
        index,
        key: text("/key"),
        message: text("/error/message").unwrap_or_else(|| "failed".to_owned()),
    }
}
