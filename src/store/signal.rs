use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::value::{Digest, Value};

/// A command to a run, stored for the process that executes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Number, assigned by the store.
    pub id: u64,
    /// Id of the run.
    pub run: RunId,
    /// The step instance, or the root.
    pub address: Address,
    /// Digest of the question that it answers.
    pub question: Option<Digest>,
    /// `answer`, `pause`, `kill` or `limit`.
    pub command: String,
    /// Argument of the command.
    pub value: Value,
    /// Sender.
    pub by: String,
    /// Time of the signal.
    pub at: Millis,
}

/// Result of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Accepted, with the number of the resulting fact.
    Taken(u64),
    /// Refused, with the reason.
    Refused(String),
}
