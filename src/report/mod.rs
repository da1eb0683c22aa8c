//! Reports from events, boards and diagnostics for people and machines. They write to a given output. They
//! must not depend on the tables of the store, how a run works, or where standard output is. Start with
//! [`outcome`] (the result of a run), [`lines`] and [`live`] (progress), [`jsonl`] (the event stream),
//! [`diagnostics`], [`outline`] and [`graph`] (a plan before it is run), [`validation`] (the result of a
//! validation).

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

/// A progress display that follows a run.
pub trait ProgressDisplay: Send {
    /// An event was received; `board` already includes it.
    fn event(&mut self, event: &Event, board: &Board);
    /// Time has passed.
    fn tick(&mut self, now: Millis, board: &Board);
    /// The run has ended, or the screen is needed for something else.
    fn end(&mut self, board: &Board);
    /// Prints a text between the progress lines.
    fn say(&mut self, text: &str);
}
