//! The only asynchronous loop: takes turns with the engine, appends its facts, carries out its orders. It
//! must not depend on what a verb does, or decide anything that the engine can decide. Start with [`drive`];
//! [`Runtime`] has what it needs, [`Event`] is what it reports.

mod attempt;
mod cached;
mod event;
mod inbox;
pub mod journal;
mod leases;
mod output_cache;
mod questions;
mod run_loop;
mod runtime;
mod signals;

#[cfg(test)]
mod tests;

pub use event::Event;
pub use run_loop::drive;
pub use runtime::{
    Answer, AnswerFuture, Asker, DriveError, EventSink, Outcome, ReusableOutputs, RunCommand, RunHandles,
    RunRequest, RunStart, Runtime,
};
