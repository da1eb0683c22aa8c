//! `atoll answer RUN STEP VALUE`: answers a question of a run, and continues the run unless another process does.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::execution::flags::RunFlags;
use crate::cli::execution::resume;
use crate::cli::execution::send_signal;
use crate::cli::stored_run::StoredRun;
use crate::cli::terminal::prompt;
use crate::diag::nearest;
use crate::engine::{Fact, Question};
use crate::id::Address;
use crate::report::units::time_of_day;
use crate::view::{Board, StepState};

/// `atoll answer`.
#[derive(Debug, clap::Args)]
pub struct Args {
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
    flags: RunFlags,
}

/// Answers.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let stored = StoredRun::find(app, &args.run)?;
    stored.continues()?;
    let board = stored.board()?;
    let address = Address::new(&args.step);
    let waiting = board.step(&address).filter(|step| step.state == StepState::Asking);
    let Some(question) = waiting.and_then(|step| step.question.as_ref()) else {
        return Err(not_asked(&stored, &board, &address));
    };
    same_question(&stored, &address, question, args.digest.as_deref())?;
    let answer = prompt::read(question, &args.value).map_err(CommandError::usage)?;
    let value = json!({"answer": answer, "note": args.note});
    let signal = send_signal::signal(stored.run(), address, question.digest, ("answer", value));
    let carried_out = stored.owner()?.is_some();
    let run = stored.run().to_string();
    drop(stored);
    if carried_out || args.only {
        return send_signal::send(app, carried_out, &signal, "answered");
    }
    resume::resume(app, &run, false, &args.flags, Some(signal))
}

/// Refuses if the question has changed since the person saw it.
fn same_question(
    stored: &StoredRun,
    address: &Address,
    question: &Question,
    meant: Option<&str>,
) -> Result<(), CommandError> {
    let Some(meant) = meant else { return Ok(()) };
    let digest = question.digest.map(|digest| digest.to_string()).unwrap_or_default();
    if !meant.is_empty() && digest.starts_with(meant) {
        return Ok(());
    }
    let message = format!("the question has changed since {meant}");
    Err(CommandError::usage(message).hint(format!("look at it with `atoll show {} {address}`", stored.run())))
}

fn not_asked(stored: &StoredRun, board: &Board, address: &Address) -> CommandError {
    let mut answered = None;
    let read = stored.read(|_, record| {
        if let (true, Fact::Answered { answer, by, .. }) = (record.address == *address, record.fact) {
            answered = Some(format!("at {} by {by}: {answer}", time_of_day(record.at)));
        }
    });
    if let Err(stop) = read {
        return stop;
    }
    if let Some(answered) = answered {
        return CommandError::usage(format!("this question was answered {answered}"));
    }
    let asking: Vec<&str> = board
        .iter()
        .filter(|(_, step)| step.state == StepState::Asking)
        .map(|(address, _)| address.as_str())
        .collect();
    let stop = CommandError::usage(format!("`{address}` has no open question"));
    match (nearest(address.as_str(), asking.iter().copied()), asking.is_empty()) {
        (Some(near), _) => stop.hint(format!("did you mean `{near}`?")),
        (None, false) => stop.hint(format!("open questions: {}", asking.join(", "))),
        (None, true) => stop.hint("this run has no open questions"),
    }
}
