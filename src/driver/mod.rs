//! The only asynchronous loop: takes turns with the engine, appends its facts, carries out its orders. It
//! must not depend on what a verb does, or decide anything that the engine can decide. Start with [`drive`];
//! [`House`] has what it needs, [`Event`] is what it reports.

mod asks;
mod attempt;
mod cached;
mod event;
mod house;
mod inbox;
pub mod journal;
mod leases;
mod looping;
mod shelf;
mod signals;

#[cfg(test)]
mod tests;

pub use event::Event;
pub use house::{
    Answered, Answering, Asker, Begin, Command, DriveError, Hearing, House, Job, Outcome, Taken, Wires,
};
pub use looping::drive;
