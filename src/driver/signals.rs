//! Commands that other processes leave in the store: checked once a second, each accepted or refused once, in
//! the transaction of the fact that it causes.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use tokio::task::AbortHandle;

use super::RunCommand;
use super::inbox::{Message, Outbox};
use crate::clock::{Clock, Millis};
use crate::engine::{Fact, Known, Record, Refusal, Run};
use crate::id::{Address, RunId};
use crate::meter::Unit;
use crate::plan::Limit;
use crate::store::{Settled, Signal, Store};

/// The interval of checks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A signal that was read, until its result is on disk.
pub(super) struct PendingSignal {
    id: u64,
    address: Address,
    refusal: Option<String>,
}

impl PendingSignal {
    pub(super) fn new(signal: &Signal, refusal: Option<String>) -> Self {
        Self { id: signal.id, address: signal.address.clone(), refusal }
    }

    /// Its result, if `records` are appended after fact number `last`.
    pub(super) fn settled(self, last: u64, records: &[Record]) -> (u64, Settled) {
        let caused = |record: &Record| {
            record.address == self.address
                && matches!(record.fact, Fact::Answered { .. } | Fact::Paused { .. } | Fact::Limited { .. })
        };
        let settled = match self.refusal {
            Some(why) => Settled::Refused(why),
            None => Settled::Taken(match records.iter().position(caused) {
                Some(place) => last + 1 + place as u64,
                None => last + records.len() as u64,
            }),
        };
        (self.id, settled)
    }
}

/// Checks for signals to `run` until it is aborted.
pub(super) fn watch(
    (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
    run: RunId,
    outbox: Outbox,
    seen: u64,
) -> AbortHandle {
    let watching = async move {
        let mut seen = seen;
        loop {
            clock.sleep(POLL_INTERVAL).await;
            let (store, run) = (store.clone(), run.clone());
            let looked = tokio::task::spawn_blocking(move || store.signals(&run, seen)).await;
            // If the store cannot be read now, it may be readable a second later; the run does not fail.
            let Ok(Ok(signals)) = looked else { continue };
            for signal in signals {
                seen = seen.max(signal.id);
                if outbox.send(Message::Signal(signal)).is_err() {
                    return;
                }
            }
        }
    };
    tokio::spawn(watching).abort_handle()
}

/// The command of a signal, or the reason why `run` cannot accept it.
pub(super) fn command(run: &Run, id: &RunId, signal: &Signal) -> Result<RunCommand, String> {
    let by = signal.by.clone();
    match signal.command.as_str() {
        "pause" => Ok(RunCommand::Cancel),
        "kill" => Ok(RunCommand::Kill),
        "limit" => {
            let caps: Option<IndexMap<Unit, f64>> = serde_json::from_value(signal.value.clone()).ok();
            let caps = caps.filter(|caps| {
                caps.iter().all(|(unit, cap)| Limit::UNITS.contains(unit) && cap.is_finite() && *cap >= 0.0)
            });
            Ok(RunCommand::Limit { caps: caps.ok_or("a limit is a number of a unit")?, by })
        }
        "answer" => {
            let answer = signal.value["answer"].clone();
            if let Some(refusal) = run.refuses(&signal.address, signal.question, &answer, signal.at) {
                return Err(refusal_text(id, signal, refusal));
            }
            let note = signal.value["note"].as_str().map(str::to_owned);
            Ok(RunCommand::Answer { address: signal.address.clone(), answer, by, note })
        }
        other => Err(format!("unknown command `{other}`")),
    }
}

fn refusal_text(run: &RunId, signal: &Signal, refusal: Refusal) -> String {
    let address = &signal.address;
    match refusal {
        Refusal::NotAsked => format!("no question waits at `{address}`"),
        Refusal::Answered(Known { answer, by, at, .. }) => {
            format!("this question was answered at {} by {by}: {answer}", clock_time(at))
        }
        Refusal::Changed => {
            let since = signal.question.map(|digest| format!(" since {}", digest.short()));
            let since = since.unwrap_or_default();
            format!("the question has changed{since}: look at it with `atoll show {run} {address}`")
        }
        Refusal::Late(until) => {
            format!(
                "the question at `{address}` was open until {}: its deadline has passed",
                clock_time(until)
            )
        }
        Refusal::Unfit(why) => why,
    }
}

fn clock_time(at: Millis) -> String {
    let at = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(String::new, |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string())
}
