//! Executing runs: options, progress, questions, Ctrl-C, and the result. Shared by every command that starts, resumes or
//! signals a run.

pub mod event_output;
pub mod flags;
pub mod interrupts;
pub mod leftovers;
pub mod progress_thread;
pub mod replan;
pub mod resume;
pub mod send_signal;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::loading;
use crate::cli::stored_run::StoredRun;
use crate::cli::terminal::prompt::TerminalAsker;
use crate::driver::{Asker, Outcome, RunHandles, RunRequest, RunStart, Runtime, drive};
use crate::engine::RunStatus;
use crate::id::RunId;
use crate::plan::Bundle;
use crate::report::outcome::{RunEnding, outputs_text};
use crate::value::{Value, canonical};
use crate::view::{Board, Status};

use flags::RunFlags;
use progress_thread::{EventOutput, ProgressThread};

/// A new run of `pipeline`, whose bundle is stored.
pub fn new_job(
    runtime: &Runtime,
    pipeline: &loading::LoadedPipeline,
    inputs: Value,
) -> Result<RunRequest, CommandError> {
    store_bundle(runtime, &pipeline.bundle)?;
    let run = RunId::at(runtime.clock.now(), u128::from(random_u64()) << 64 | u128::from(random_u64()));
    Ok(RunRequest { run, plan: pipeline.plan.clone(), begin: RunStart::Fresh { inputs, seed: random_u64() } })
}

/// Stores the bundle of the plan, under the digest that the head of the run contains.
pub fn store_bundle(runtime: &Runtime, bundle: &Bundle) -> Result<(), CommandError> {
    let value = serde_json::to_value(bundle).map_err(CommandError::failed)?;
    runtime.store.put(canonical(&value).as_bytes())?;
    Ok(())
}

/// A random number.
pub fn random_u64() -> u64 {
    RandomState::new().hash_one(0)
}

/// The settings for executing and displaying a run.
pub struct Presentation<'a> {
    /// Options of the command line.
    pub flags: &'a RunFlags,
    /// Destination of the event stream.
    pub stream: EventOutput,
}

/// Executes a run until it ends or pauses, prints its result, and returns the exit code.
pub fn execute_and_show(
    app: &App,
    runtime: &Runtime,
    job: RunRequest,
    presentation: Presentation<'_>,
) -> CommandResult {
    let format = presentation.flags.format;
    let to_stdout = matches!(presentation.stream, EventOutput::Out);
    let events = presentation.flags.execution.events.clone();
    let (board, outcome, broken) = execute(app, runtime, job, presentation)?;
    let exit = show(app, runtime, format, to_stdout, (&board, &outcome))?;
    require_events(exit, events, broken)
}

/// An error if the run succeeded but its events could not be written.
pub fn require_events(exit: ExitStatus, events: Option<PathBuf>, broken: Option<String>) -> CommandResult {
    match (events, broken) {
        (Some(path), Some(why)) if exit == ExitStatus::REACHED => {
            Err(CommandError::failed(format!("not all events could be written to {}: {why}", path.display()))
                .hint("the run itself is recorded: print its events with `atoll log last --format json`"))
        }
        _ => Ok(exit),
    }
}

/// Executes a run until it ends or pauses, and shows its progress.
pub fn execute(
    app: &App,
    runtime: &Runtime,
    job: RunRequest,
    presentation: Presentation<'_>,
) -> Result<(Board, Outcome, Option<String>), CommandError> {
    let Presentation { flags, stream } = presentation;
    let follower = ProgressThread::start(app.terminal, runtime.clock.clone(), stream)?;
    let person = (app.terminal.person && !flags.execution.no_input)
        .then(|| Arc::new(TerminalAsker::new(follower.line())) as Arc<dyn Asker>);
    let (run, unseen) = (job.run.clone(), follower.is_unseen());
    let outcome = block_on(runtime, job, person, &follower);
    let (board, broken) = follower.end()?;
    let outcome = outcome?;
    let reached = ExitStatus::of_standing(&outcome.status).code() == ExitStatus::REACHED.code();
    if unseen && (!reached || !flags.format.is_text()) {
        // The results of its steps are printed, so they are read from the journal.
        return Ok((StoredRun::of(runtime.store.clone(), run.as_str())?.board()?, outcome, broken));
    }
    Ok((board, outcome, broken))
}

fn block_on(
    runtime: &Runtime,
    job: RunRequest,
    ask: Option<Arc<dyn Asker>>,
    follower: &ProgressThread,
) -> Result<Outcome, CommandError> {
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let threads = threads.map_err(|e| CommandError::failed(format!("no threads for the run: {e}")))?;
    let (line, told) = (follower.line(), follower.line());
    let runtime = runtime.clone();
    let driving = async move {
        let (sender, commands) = mpsc::channel(8);
        let listening = interrupts::listen(sender, runtime.grace, move |text| told.say(text))?;
        let notes = line.hears_notes();
        let wires = RunHandles { events: Arc::new(move |events| line.events(events)), notes, commands, ask };
        let outcome = drive(&runtime, job, wires).await;
        listening.abort();
        Ok(outcome?)
    };
    // On a runtime thread: on this thread it would have to be woken for each report.
    let outcome = threads.block_on(async { tokio::spawn(driving).await });
    threads.shutdown_background();
    match outcome {
        Ok(outcome) => outcome,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(broken) => Err(CommandError::failed(format!("the run ended unexpectedly: {broken}"))),
        },
    }
}

fn show(
    app: &App,
    runtime: &Runtime,
    format: Format,
    to_stdout: bool,
    (board, outcome): (&Board, &Outcome),
) -> CommandResult {
    let exit = ExitStatus::of_standing(&outcome.status);
    let outputs = Some(&*outcome.outputs);
    let ending = RunEnding { board, code: exit.code(), outputs, now: runtime.clock.now() };
    // Outputs so far are part of the last lines; standard output has the outputs of a finished run.
    let last = outputs.filter(|_| matches!(outcome.status, RunStatus::Finished { .. }));
    let text = last.filter(|_| !to_stdout).map(|outputs| outputs_text(outputs, app.terminal.out));
    format.print(app.terminal, || ending.json(), || text.unwrap_or_default())?;
    print_ending(app, &ending);
    Ok(exit)
}

/// Prints the last lines on standard error: failures if the goal was not reached, and how the run ended.
pub fn print_ending(app: &App, ending: &RunEnding<'_>) {
    if ending.code != ExitStatus::REACHED.code() && matches!(ending.board.status, Status::Finished { .. }) {
        let failures = ending.failures(app.terminal.err);
        if !failures.is_empty() {
            app.terminal.say(&failures);
        }
    }
    app.terminal.say(&ending.summary(app.terminal.err));
}
