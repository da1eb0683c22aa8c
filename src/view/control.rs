use std::collections::VecDeque;

use crate::clock::Millis;
use crate::engine::{Opening, Payload};
use crate::value::Value;

/// The number of closed rounds of a loop that are kept in detail.
pub const ROUNDS_KEPT: usize = 100;

const MISHAPS_KEPT: usize = 10;

/// The state of a control step.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlView {
    /// A loop.
    Loop {
        /// Maximum number of rounds.
        max: u32,
        /// Number of closed rounds.
        closed: u32,
        /// Latest closed rounds, oldest first; at most [`ROUNDS_KEPT`].
        rounds: VecDeque<RoundView>,
    },
    /// An `each`.
    Each {
        /// Number of items, if known.
        total: Option<u64>,
        /// Number of closed items.
        closed: u64,
        /// Number of failed items.
        failed: u64,
        /// First failed items.
        mishaps: Vec<Mishap>,
    },
    /// A `hold`: whether its resource is held at the moment.
    Hold {
        /// Whether it is held.
        held: bool,
    },
    /// A called pipeline.
    Call,
}

/// A closed round.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundView {
    /// Number of the round, from 1.
    pub number: u32,
    /// Time at which it closed.
    pub at: Millis,
    /// Numbers and booleans among its `let`.
    pub lets: Vec<(String, Value)>,
    /// Name of the rule that applied.
    pub rule: Option<String>,
    /// Status with which the loop ended, if it did.
    pub exit: Option<String>,
}

/// A failed item.
#[derive(Clone, Debug, PartialEq)]
pub struct Mishap {
    /// Index of the item, from 0.
    pub index: u32,
    /// Key of the item, if it has one.
    pub key: Option<String>,
    /// Message of its failure.
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

    /// Adds a closed round, and returns the round that is now too old to be kept in detail.
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

/// The inline values of a payload that fit on a line: numbers, booleans and short words.
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
