//! Commands to a run that another process may be carrying out: `atoll pause`, `kill` and `limit`, and what they share
//! with `answer`.

use std::time::Duration;

use clap::Args;
use indexmap::IndexMap;
use serde_json::json;

use super::past::Past;
use super::run::limit;
use super::{Desk, Done, Exit, Settings, Stop, house};
use crate::clock::Millis;
use crate::id::{Address, RunId};
use crate::store::{Durability, Settled, Signal, Store};
use crate::value::{Digest, Value};

/// How long a command waits for the process that carries the run out.
const PATIENCE: Millis = 5_000;
const LOOK: Duration = Duration::from_millis(100);

/// `atoll pause`.
#[derive(Debug, Args)]
pub struct PauseAsk {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
}

/// `atoll kill`.
#[derive(Debug, Args)]
pub struct KillAsk {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
}

/// `atoll limit`.
#[derive(Debug, Args)]
pub struct LimitAsk {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Spending limit for a unit: `usd=10`
    #[arg(value_name = "UNIT=N", value_parser = limit, required = true)]
    limits: Vec<(String, f64)>,
}

/// Pauses a run once its running steps have finished.
pub fn pause(desk: &Desk, ask: &PauseAsk) -> Done {
    stop(desk, &ask.run, "pause", "running steps are finished first")
}

/// Stops a run at once.
pub fn kill(desk: &Desk, ask: &KillAsk) -> Done {
    stop(desk, &ask.run, "kill", "running steps are stopped")
}

/// Sets limits of a run.
pub fn limits(desk: &Desk, ask: &LimitAsk) -> Done {
    let past = Past::find(desk, &ask.run)?;
    let caps: IndexMap<&str, f64> = ask.limits.iter().map(|(unit, cap)| (unit.as_str(), *cap)).collect();
    if past.head.finished_at.is_some() {
        return Err(Stop::usage(format!("run {} has ended", past.run())));
    }
    let signal = signal(past.run(), Address::root(), None, ("limit", json!(caps)));
    let words: Vec<String> = ask.limits.iter().map(|(unit, cap)| format!("{unit}={cap}")).collect();
    send(desk, past.owner()?.is_some(), &signal, &format!("limits set: {}", words.join(", ")))
}

fn stop(desk: &Desk, name: &str, command: &str, what: &str) -> Done {
    let past = Past::find(desk, name)?;
    if past.owner()?.is_none() {
        let status = past.status();
        return Err(Stop::usage(format!("no process carries out run {}: it is {status}", past.run())));
    }
    let signal = signal(past.run(), Address::root(), None, (command, Value::Null));
    send(desk, true, &signal, &format!("run {} stops: {what}", past.run()))
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
        at: house::clock().now(),
    }
}

/// Leaves a signal in the store, and waits a moment for what it comes to if a process carries the run out.
pub fn send(desk: &Desk, carried_out: bool, signal: &Signal, done: &str) -> Done {
    let store = house::open(&desk.settings, Durability::Full)?;
    let id = store.signal(signal)?;
    if carried_out {
        return wait(desk, store.as_ref(), &signal.run, id, done);
    }
    desk.face.say(&format!("queued: it is taken when run {} is resumed", signal.run));
    Ok(Exit::REACHED)
}

/// The process that carried the run out has ended: what signal number `id` came to before that, if anything.
fn ended(desk: &Desk, store: &dyn Store, run: &RunId, id: u64, done: &str) -> Done {
    match store.settlement(id)? {
        Some(Settled::Taken(_)) => desk.face.say(done),
        Some(Settled::Refused(why)) => return Err(Stop::usage(why)),
        None if store.head(run)?.is_some_and(|head| head.finished_at.is_some()) => {
            return Err(Stop::usage(format!("run {run} has ended")));
        }
        None => desk.face.say(&format!("queued: it is taken when run {run} is resumed")),
    }
    Ok(Exit::REACHED)
}

/// Waits a moment for what signal number `id` comes to.
pub fn wait(desk: &Desk, store: &dyn Store, run: &RunId, id: u64, done: &str) -> Done {
    let clock = house::clock();
    let until = clock.now() + PATIENCE;
    loop {
        match store.settlement(id)? {
            Some(Settled::Taken(_)) => {
                desk.face.say(done);
                return Ok(Exit::REACHED);
            }
            Some(Settled::Refused(why)) => return Err(Stop::usage(why)),
            None if store.owner(run)?.is_none() => return ended(desk, store, run, id, done),
            None if clock.now() < until => std::thread::sleep(LOOK),
            None => {
                desk.face
                    .say(&format!("queued: the process that carries out run {run} has not taken it yet"));
                return Ok(Exit::REACHED);
            }
        }
    }
}
