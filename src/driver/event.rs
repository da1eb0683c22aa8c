use std::sync::Arc;

use crate::engine::Record;
use crate::id::{Address, RunId};
use crate::verb::Note;

/// What a run reports to its listeners: facts once they are on disk, and progress messages of steps.
#[derive(Clone, Debug)]
pub enum Event {
    /// A fact, with its number in the journal.
    Fact {
        /// Id of the run.
        run: RunId,
        /// Number in the journal, from 1.
        seq: u64,
        /// Record of the fact.
        record: Arc<Record>,
    },
    /// A fact that was recorded before the run was resumed. These come before all others, in order.
    Past {
        /// Id of the run.
        run: RunId,
        /// Record of the fact.
        record: Arc<Record>,
    },
    /// A progress message of a step; not stored.
    Note {
        /// Id of the run.
        run: RunId,
        /// Address of the step instance.
        address: Address,
        /// Number of the attempt.
        attempt: u32,
        /// Message of the step.
        note: Note,
    },
}
