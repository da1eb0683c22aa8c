//! What a run looks like from outside: a picture in plain data, folded from its events.
//! It must never know terminals, HTML, or a store: every face draws from the same [`Board`].
//! Start with [`Board::apply`]; [`StepView`] is what it says of one step instance.

mod board;
mod control;
mod ledger;
mod nesting;
mod step;

pub use board::{Board, Status};
pub use control::{ControlView, Mishap, ROUNDS_KEPT, RoundView};
pub use ledger::{Ledger, LedgerEntry};
pub use nesting::{body_of, enclosing, round_or_item};
pub use step::{StepState, StepView};
