//! Signals to a run that another process may be executing: shared by `atoll pause`, `kill`, `limit` and
//! `answer`.

use std::time::Duration;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::project::settings::Settings;
use crate::cli::stored_run::StoredRun;
use crate::cli::wiring;
use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::store::{Durability, Settled, Signal, Store};
use crate::value::{Digest, Value};

/// The time that a command waits for the process that executes the run.
const PATIENCE: Millis = 5_000;
const LOOK: Duration = Duration::from_millis(100);

/// Sends `command` (`pause` or `kill`) to the process that executes the run `name`; `what` describes its
/// effect.
pub fn stop(app: &App, name: &str, command: &str, what: &str) -> CommandResult {
    let stored = StoredRun::find(app, name)?;
    if stored.owner()?.is_none() {
        let status = stored.status();
        return Err(CommandError::usage(format!(
            "no process is executing run {}: it is {status}",
            stored.run()
        )));
    }
    let signal = signal(stored.run(), Address::root(), None, (command, Value::Null));
    send(app, true, &signal, &format!("run {} stops: {what}", stored.run()))
}

/// A signal by the user of this process.
pub fn signal(
    run: &RunId,
    address: Address,
    question: Option<Digest>,
    (command, value): (&str, Value),
) -> Signal {
    let by = ["USER", "LOGNAME"].into_iter().find_map(Settings::environment).filter(|name| !name.is_empty());
    Signal {
        id: 0,
        run: run.clone(),
        address,
        question,
        command: command.to_owned(),
        value,
        by: by.unwrap_or_else(|| "command".to_owned()),
        at: wiring::clock().now(),
    }
}

/// Stores a signal, and waits a moment for its result if a process is executing the run.
pub fn send(app: &App, carried_out: bool, signal: &Signal, done: &str) -> CommandResult {
    let store = wiring::open(&app.settings, Durability::Full)?;
    let id = store.signal(signal)?;
    if carried_out {
        return wait(app, store.as_ref(), &signal.run, id, done);
    }
    app.terminal.say(&format!("queued until run {} is resumed", signal.run));
    Ok(ExitStatus::REACHED)
}

/// The process that executed the run has ended: the result of signal number `id`, if any.
fn ended(app: &App, store: &dyn Store, run: &RunId, id: u64, done: &str) -> CommandResult {
    match store.settlement(id)? {
        Some(Settled::Taken(_)) => app.terminal.say(done),
        Some(Settled::Refused(why)) => return Err(CommandError::usage(why)),
        None if store.head(run)?.is_some_and(|head| head.finished_at.is_some()) => {
            return Err(CommandError::usage(format!("run {run} has ended")));
        }
        None => app.terminal.say(&format!("queued until run {run} is resumed")),
    }
    Ok(ExitStatus::REACHED)
}

/// Waits a moment for the result of signal number `id`.
pub fn wait(app: &App, store: &dyn Store, run: &RunId, id: u64, done: &str) -> CommandResult {
    let clock = wiring::clock();
    let until = clock.now() + PATIENCE;
    loop {
        match store.settlement(id)? {
            Some(Settled::Taken(_)) => {
                app.terminal.say(done);
                return Ok(ExitStatus::REACHED);
            }
            Some(Settled::Refused(why)) => return Err(CommandError::usage(why)),
            None if store.owner(run)?.is_none() => return ended(app, store, run, id, done),
            None if clock.now() < until => std::thread::sleep(LOOK),
            None => {
                app.terminal
                    .say(&format!("queued: the process that executes run {run} has not received it yet"));
                return Ok(ExitStatus::REACHED);
            }
        }
    }
}
