use std::sync::Arc;

use crate::engine::Record;
use crate::id::{Address, RunId};
use crate::verb::Note;

/// What a run tells everybody who listens: facts once they are on disk, and what steps say while they work.
#[derive(Clone, Debug)]
pub enum Event {
    /// A fact, with its place in the journal.
    Fact {
        /// The run.
        run: RunId,
        /// Its number in the journal, from 1.
        seq: u64,
        /// The record.
        record: Arc<Record>,
    },
    /// A fact that was on record before the run was resumed: it comes before all others, in order, and is no news.
    Past {
        /// The run.
        run: RunId,
        /// The record.
        record: Arc<Record>,
    },
    /// A step says something; not kept.
    Note {
        /// The run.
        run: RunId,
        /// The step instance.
        address: Address,
        /// Which attempt.
        attempt: u32,
        /// What it says.
        note: Note,
    },
}
