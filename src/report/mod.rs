//! Folds of events, boards and diagnostics into what people and machines read. They write to what they are given.
//! They must never know a store's tables, how a run works, or where standard output is.
//! Start with [`outcome`] (what a run comes to), [`lines`] and [`live`] (progress), [`jsonl`] (the event stream),
//! [`diagnostics`], [`outline`] and [`graph`] (a plan before it is run), [`validation`] (what holds of a program).

pub mod cost_bound;
pub mod diagnostics;
pub mod github;
pub mod graph;
pub mod jsonl;
pub mod ledger;
pub mod lines;
pub mod live;
pub mod outcome;
pub mod outline;
pub mod paint;
mod snippet;
pub mod tree;
pub mod units;
pub mod validation;

pub use paint::Paint;

use crate::clock::Millis;
use crate::driver::Event;
use crate::view::Board;

/// A face that follows a run while it goes on.
pub trait ProgressDisplay: Send {
    /// An event has been taken in; `board` is the picture with it.
    fn event(&mut self, event: &Event, board: &Board);
    /// Time has passed.
    fn tick(&mut self, now: Millis, board: &Board);
    /// The run has ended, or the screen is wanted for something else.
    fn end(&mut self, board: &Board);
    /// Something is to be said beside what the events say.
    fn say(&mut self, text: &str);
}
