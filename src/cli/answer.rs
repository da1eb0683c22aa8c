//! `atoll answer RUN STEP VALUE`: answers the question of a waiting run, and goes on with it.

use clap::Args;

use super::past::Past;
use super::run::Carry;
use super::{Desk, Done, Stop, person, resume};
use crate::diag::nearest;
use crate::id::Address;
use crate::view::{Board, State};

/// `atoll answer`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// The step that asks, by its address
    #[arg(value_name = "STEP")]
    step: String,
    /// The answer: one of the choices, its number, JSON, or text
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    carry: Carry,
}

/// Answers.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let past = Past::find(desk, &ask.run)?;
    let board = past.board()?;
    let address = Address::new(&ask.step);
    let waiting = board.step(&address).filter(|step| step.state == State::Asking);
    let question =
        waiting.and_then(|step| step.question.as_ref()).ok_or_else(|| nobody_asks(&board, &ask.step))?;
    let answer = person::read(question, &ask.value).map_err(Stop::usage)?;
    let run = past.run().to_string();
    drop(past);
    resume::go_on(desk, &run, false, &ask.carry, Some((address, answer)))
}

fn nobody_asks(board: &Board, step: &str) -> Stop {
    let asking: Vec<&str> = board
        .iter()
        .filter(|(_, step)| step.state == State::Asking)
        .map(|(address, _)| address.as_str())
        .collect();
    let stop = Stop::usage(format!("no question waits at `{step}`"));
    match (nearest(step, asking.iter().copied()), asking.is_empty()) {
        (Some(near), _) => stop.hint(format!("did you mean `{near}`?")),
        (None, false) => stop.hint(format!("questions wait at: {}", asking.join(", "))),
        (None, true) => stop.hint("no question waits anywhere in this run"),
    }
}
