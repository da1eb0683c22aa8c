//! The engine: a function from a plan and its facts to what is to be done next. It applies facts, decides, and
//! hands out orders; time, values and reports come in as arguments.
//! It must never know a runtime, the disk, the clock, randomness, or what any verb does.
//! Start with [`Run`]: `fold` builds one from a journal, `report` takes in what happened, `next` takes a turn.

mod absence;
mod apply;
mod budget;
mod cache_key;
mod control;
mod decided;
mod evaluate;
mod fact;
mod frame;
mod history;
mod late;
mod lets;
mod node;
mod on_pause;
mod order;
mod question;
mod report;
mod results;
mod retry;
mod run;
mod run_names;
mod scope;
mod slot;
mod status;
mod turn;
mod unsettled;
mod waits;

#[cfg(test)]
pub(crate) mod tests;

pub use cache_key::{CacheKey, KeyFiles};
pub use control::Computation;
pub use evaluate::{Answer, Evaluation, Purpose};
pub use fact::{
    Change, Changes, FORMAT, Fact, LateFailure, Later, Opening, Pause, Payload, RESERVED, Reason, Record,
    SkipReason,
};
pub use node::Phase;
pub use order::{Attempt, Order, Report, RunStatus, Slice, Turn};
pub use question::Question;
pub use run::{Bounds, Mismatch, Run, Settings};
pub use slot::load;
pub use status::{INTERRUPTED, STATUS_RUNNING, STATUSES, StatusWord};
pub use waits::{Known, Refusal};
