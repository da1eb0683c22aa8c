use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::value::{Digest, Value};

/// A command to a run, left in the store for the process that carries the run out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Its number, given by the store.
    pub id: u64,
    /// The run.
    pub run: RunId,
    /// The step instance, or the root.
    pub address: Address,
    /// Digest of the question that it answers.
    pub question: Option<Digest>,
    /// `answer`, `pause`, `kill` or `limit`.
    pub command: String,
    /// What the command needs.
    pub value: Value,
    /// By whom.
    pub by: String,
    /// When it was left.
    pub at: Millis,
}

/// What a signal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was taken; the number of the fact that says so.
    Taken(u64),
    /// It was refused, and why.
    Refused(String),
}
