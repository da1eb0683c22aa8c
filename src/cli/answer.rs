//! `atoll answer RUN STEP VALUE`: answers a question of a run, and continues the run unless another process does.

use clap::Args;
use serde_json::json;

use super::past::Past;
use super::run::Carry;
use super::{Desk, Done, Stop, person, resume, signal};
use crate::diag::nearest;
use crate::engine::{Fact, Question};
use crate::id::Address;
use crate::report::units::time_of_day;
use crate::view::{Board, State};

/// `atoll answer`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// The address of the step that asks
    #[arg(value_name = "STEP")]
    step: String,
    /// The answer: one of the choices or its number; without choices text, or JSON if the question asks for it
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// Refuse unless the digest of the question begins with this text (`atoll show RUN STEP` prints it)
    #[arg(long = "for", value_name = "DIGEST")]
    digest: Option<String>,
    /// A comment that is recorded with the answer
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Store the answer for the process that executes the run, and do not resume the run
    #[arg(long)]
    only: bool,
    #[command(flatten)]
    carry: Carry,
}

/// Answers.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let past = Past::find(desk, &ask.run)?;
    past.continues()?;
    let board = past.board()?;
    let address = Address::new(&ask.step);
    let waiting = board.step(&address).filter(|step| step.state == State::Asking);
    let Some(question) = waiting.and_then(|step| step.question.as_ref()) else {
        return Err(not_asked(&past, &board, &address));
    };
    same_question(&past, &address, question, ask.digest.as_deref())?;
    let answer = person::read(question, &ask.value).map_err(Stop::usage)?;
    let value = json!({"answer": answer, "note": ask.note});
    let signal = signal::signal(past.run(), address, question.digest, ("answer", value));
    let carried_out = past.owner()?.is_some();
    let run = past.run().to_string();
    drop(past);
    if carried_out || ask.only {
        return signal::send(desk, carried_out, &signal, "answered");
    }
    resume::go_on(desk, &run, false, &ask.carry, Some(signal))
}

/// Refuses where the person means another question than the one that waits.
fn same_question(
    past: &Past,
    address: &Address,
    question: &Question,
    meant: Option<&str>,
) -> Result<(), Stop> {
    let Some(meant) = meant else { return Ok(()) };
    let digest = question.digest.map(|digest| digest.to_string()).unwrap_or_default();
    if !meant.is_empty() && digest.starts_with(meant) {
        return Ok(());
    }
    let message = format!("the question has changed since {meant}");
    Err(Stop::usage(message).hint(format!("look at it with `atoll show {} {address}`", past.run())))
}

fn not_asked(past: &Past, board: &Board, address: &Address) -> Stop {
    let mut answered = None;
    let read = past.read(|_, record| {
        if let (true, Fact::Answered { answer, by, .. }) = (record.address == *address, record.fact) {
            answered = Some(format!("at {} by {by}: {answer}", time_of_day(record.at)));
        }
    });
    if let Err(stop) = read {
        return stop;
    }
    if let Some(answered) = answered {
        return Stop::usage(format!("this question was answered {answered}"));
    }
    let asking: Vec<&str> = board
        .iter()
        .filter(|(_, step)| step.state == State::Asking)
        .map(|(address, _)| address.as_str())
        .collect();
    let stop = Stop::usage(format!("no question waits at `{address}`"));
    match (nearest(address.as_str(), asking.iter().copied()), asking.is_empty()) {
        (Some(near), _) => stop.hint(format!("did you mean `{near}`?")),
        (None, false) => stop.hint(format!("questions wait at: {}", asking.join(", "))),
        (None, true) => stop.hint("no question waits anywhere in this run"),
    }
}
