//! The only asynchronous loop: takes turns with the engine, appends its facts, carries out its orders.
//! It must never know what a verb does, nor decide anything that the engine can decide.
//! Start with [`drive`]; [`House`] is what it works with, [`Event`] what it tells.

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
