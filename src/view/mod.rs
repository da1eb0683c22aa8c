//! The state of a run as plain data, folded from its events. It must not depend on terminals, HTML, or a
//! store: every user interface uses the same [`Board`]. Start with [`Board::apply`]; [`StepView`] is the
//! state of one step instance.

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
