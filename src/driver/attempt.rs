//! One attempt: its context, its time limit, and the handling of panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde::Deserialize as _;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::inbox::{Message, Outbox, budget_source, cursor_sink, settlement_sink};
use super::output_cache::OutputCache;
use super::{Event, EventSink, Runtime};
use crate::clock::Clock;
use crate::engine::{Attempt, Computation, Evaluation, Report};
use crate::expr::Allowance;
use crate::id::{Address, RunId};
use crate::meter::{Meter, Unit};
use crate::plan::{Input, read_input};
use crate::rooted_fs::RootedFs;
use crate::value::{Digest, Value};
use crate::verb::{
    AllowedSecrets, Class, Context, CursorSink, Failure, Lease, Note, Output, Progress, Secrets, Workspace,
};

/// The time that a cancelled attempt has to clean up.
const CLEANUP_GRACE: Duration = Duration::from_secs(3);

/// What the attempts of one run share.
pub(super) struct AttemptEnv {
    pub(super) house: Runtime,
    pub(super) run: RunId,
    pub(super) cancel: CancellationToken,
    /// The same for steps that run because of a pause: they are not cancelled with the others.
    pub(super) kill: CancellationToken,
    pub(super) stopping: CancellationToken,
    pub(super) events: EventSink,
    pub(super) notes: bool,
    pub(super) outbox: Outbox,
    /// Limits the number of long pure loops in parallel: they need processor time.
    pub(super) computing: Arc<Semaphore>,
}

impl AttemptEnv {
    pub(super) fn context(&self, attempt: &Attempt, granted: &ReservedMeter) -> Context {
        let (run, address, number) = (self.run.clone(), attempt.address.clone(), attempt.number);
        let at_pause = attempt.pause > 0;
        // Requests at a pause need other idempotency keys than those at the end.
        let of_pause = if at_pause { format!("@{}", attempt.pause) } else { String::new() };
        let place = Digest::of(format!("{run}/{address}{of_pause}")).to_string();
        Context {
            progress: self.progress(&address, number),
            idempotency_key: place[..32].to_owned(),
            cancel: if at_pause { &self.kill } else { &self.cancel }.child_token(),
            stopping: if at_pause { &self.kill } else { &self.stopping }.child_token(),
            cursor: attempt.cursor.clone(),
            cursors: self.cursors(&address, number, granted),
            budget: budget_source(&self.outbox, &address, number, granted)
                .unsettled(attempt.unsettled.clone(), settlement_sink(&self.outbox, &address, number)),
            blobs: self.house.store.clone(),
            clock: self.house.clock.clone(),
            workspace: Workspace {
                project: self.house.project.clone(),
                kept: self.kept(&attempt.with),
                scratch: self.house.scratch.join(run.as_str()).join(format!("{}-{number}", &place[..16])),
            },
            secrets: Arc::new(self.allowed_secrets()),
            grants: self.house.grants.clone(),
            schema: attempt.schema.clone(),
            run,
            address,
            attempt: number,
        }
    }

    /// The directory of the run, created when the first attempt refers to it. If that fails, so does the
    /// attempt, because the directory is missing.
    /// directory there.
    fn kept(&self, with: &Value) -> PathBuf {
        let dir = self.house.files.join(self.run.as_str());
        if dir.to_str().is_some_and(|dir| mentions(with, dir)) {
            RootedFs::create(&dir).ok();
        }
        dir
    }

    /// Recorded outputs for later runs.
    pub(super) fn output_cache(&self) -> OutputCache {
        OutputCache { store: self.house.store.clone(), seal: self.house.seal }
    }

    /// The key under which the output of an attempt with the content key `key` is recorded.
    pub(super) fn cache_key(&self, attempt: &Attempt, key: Digest) -> Digest {
        let verb = self.house.catalog.find_verb(&attempt.name);
        let depends_on = verb.and_then(|verb| verb.depends_on(&attempt.with));
        self.output_cache().key(attempt, key, &self.allowed_secrets(), depends_on)
    }

    /// The secrets that steps may use.
    pub(super) fn allowed_secrets(&self) -> AllowedSecrets {
        AllowedSecrets::new(self.house.secrets.clone(), self.house.grants.clone())
    }

    fn cursors(&self, address: &Address, attempt: u32, granted: &ReservedMeter) -> CursorSink {
        let (secrets, sink) = (self.house.secrets.clone(), cursor_sink(&self.outbox, address, attempt));
        let granted = granted.clone();
        CursorSink::new(move |mut cursor| {
            secrets.redact_value(&mut cursor);
            if let Ok(free) = Meter::deserialize(&cursor["free"]) {
                granted.lock().unwrap_or_else(PoisonError::into_inner).remove(&free);
            }
            let sink = sink.clone();
            Box::pin(async move { sink.save(cursor).await })
        })
    }

    fn progress(&self, address: &Address, attempt: u32) -> Progress {
        if !self.notes {
            return Progress::silent();
        }
        let (events, run, address) = (self.events.clone(), self.run.clone(), address.clone());
        let secrets = self.house.secrets.clone();
        Progress::new(move |note| {
            let note = match note {
                Note::Line { text } => Note::Line { text: secrets.redact(&text) },
                Note::Chunk { text } => Note::Chunk { text: secrets.redact(&text) },
                Note::Count { .. } => note,
            };
            events(vec![Event::Note { run: run.clone(), address: address.clone(), attempt, note }]);
        })
    }

    /// Runs a pure verb on this thread.
    pub(super) fn run_inline(&self, attempt: Attempt) -> Report {
        let cx = self.context(&attempt, &reserved_meter(&attempt));
        let result = match self.house.catalog.find_verb(&attempt.name) {
            None => Err(unknown_verb(&attempt.name)),
            Some(verb) => {
                let ran = AssertUnwindSafe(verb.run(attempt.with, cx)).catch_unwind().now_or_never();
                ran.unwrap_or_else(|| Ok(Err(Failure::new(Class::Bug, "a pure verb waited"))))
                    .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
            }
        };
        Report::Ran { address: attempt.address, attempt: attempt.number, result, cached: false }
    }

    /// Starts a verb; its report comes through the inbox.
    pub(super) fn run_async(&self, mut attempt: Attempt) {
        let Some(verb) = self.house.catalog.find_verb(&attempt.name).cloned() else {
            return self.send(attempt_report(&attempt, Err(unknown_verb(&attempt.name)), false));
        };
        let granted = reserved_meter(&attempt);
        let cx = self.context(&attempt, &granted);
        let outbox = self.outbox.clone();
        let secrets = self.house.secrets.clone();
        tokio::spawn(async move {
            let stop = StopCondition::of(&cx, attempt.timeout);
            let running = verb.run(std::mem::take(&mut attempt.with), cx);
            let result = run_bounded(&stop, &granted, running).await;
            let result = match result {
                Ok(mut output) => {
                    secrets.redact_value(&mut output.value);
                    Ok(output)
                }
                Err(failure) => Err(failure.redacted(&*secrets)),
            };
            // If the loop has ended, the report is not needed.
            outbox.send(Message::Report(attempt_report(&attempt, result, false))).ok();
        });
    }

    /// Whether the verb `name` is a pure function of its input.
    pub(super) fn is_pure(&self, name: &str) -> bool {
        self.house.catalog.find_verb(name).is_some_and(|verb| verb.traits().pure)
    }

    /// Evaluates a pure loop on a thread of its own; its report comes through the inbox.
    pub(super) fn compute(&self, address: Address, timeout: Option<Duration>, mut work: Computation) {
        let (evaluating, outbox) =
            (self.on_own_thread(timeout, move |allowance| work.advance(allowance)), self.outbox.clone());
        tokio::spawn(async move {
            let result = evaluating.await;
            outbox.send(Message::Report(Report::Computed { address, result })).ok();
        });
    }

    /// Evaluates another expression of a step that takes long.
    pub(super) fn evaluate(&self, timeout: Option<Duration>, work: Evaluation) {
        let purpose = work.purpose();
        let (evaluating, outbox) =
            (self.on_own_thread(timeout, move |allowance| work.run(allowance)), self.outbox.clone());
        tokio::spawn(async move {
            let result = evaluating.await.map_err(|failure| match failure.class {
                Class::Timeout => {
                    let message = format!("evaluating `{}` {}", purpose.what(), failure.message);
                    Failure { message, ..failure }
                }
                _ => failure,
            });
            outbox.send(Message::Report(Report::Evaluated { purpose, result })).ok();
        });
    }

    /// The result of `evaluate` on a thread of its own, within its time limit and unless the run is stopped.
    fn on_own_thread<T: Send + 'static>(
        &self,
        timeout: Option<Duration>,
        mut evaluate: impl FnMut(&Arc<Allowance>) -> Option<Result<T, Failure>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'static {
        let cancel = self.cancel.child_token();
        let stop = StopCondition { limit: timeout, clock: self.house.clock.clone(), cancel: cancel.clone() };
        let room = self.computing.clone();
        async move {
            let _room = tokio::select! {
                room = room.acquire_owned() => room,
                () = cancel.cancelled() => return Err(Failure::cancelled()),
            };
            let evaluating = async move {
                let allowance = Arc::new(Allowance::until(move || cancel.is_cancelled()));
                match tokio::task::spawn_blocking(move || evaluate(&allowance)).await {
                    Ok(done) => done.unwrap_or_else(|| Err(Failure::cancelled())),
                    Err(broken) => Err(match broken.try_into_panic() {
                        Ok(panic) => panicked(panic.as_ref()),
                        Err(_) => Failure::cancelled(),
                    }),
                }
            };
            run_bounded(&stop, &ReservedMeter::default(), evaluating).await
        }
    }

    /// Reports an output that an earlier run recorded under the same key.
    pub(super) fn reuse(&self, attempt: &Attempt, value: Value) {
        self.send(attempt_report(attempt, Ok(Output::free(value)), true));
    }

    /// Acquires a resource; its report comes through the inbox.
    pub(super) fn acquire(&self, attempt: Attempt) {
        let (address, number) = (attempt.address.clone(), attempt.number);
        let Some(resource) = self.house.catalog.find_resource(&attempt.name).cloned() else {
            let result = Err(unknown_verb(&attempt.name));
            return self.send(Report::Acquired { address, attempt: number, result });
        };
        let granted = reserved_meter(&attempt);
        let cx = self.context(&attempt, &granted);
        let outbox = self.outbox.clone();
        let secrets = self.house.secrets.clone();
        tokio::spawn(async move {
            let stop = StopCondition::of(&cx, attempt.timeout);
            let acquiring = resource.acquire(attempt.with, cx);
            let message = match run_bounded(&stop, &granted, acquiring).await {
                Ok(lease) => {
                    let lease = Box::new(RedactedLease { lease, secrets });
                    Message::Leased { address, attempt: number, lease }
                }
                Err(failure) => {
                    let result = Err(failure.redacted(&*secrets));
                    Message::Report(Report::Acquired { address, attempt: number, result })
                }
            };
            if let Err(tokio::sync::mpsc::error::SendError(Message::Leased { lease, .. })) =
                outbox.send(message)
            {
                lease.release().await;
            }
        });
    }

    /// Reads the files that inputs of a called pipeline refer to; the report comes through the inbox.
    pub(super) fn read(&self, address: Address, pipeline: String, paths: Vec<(String, Input, String)>) {
        let (door, outbox) = (self.house.inputs.clone(), self.outbox.clone());
        tokio::task::spawn_blocking(move || {
            let one = |(name, input, path): (String, Input, String)| {
                let value = read_input(&name, &input, (&Value::from(path), true), &*door);
                let value = value.map_err(|(_, message)| {
                    Failure::permanent(format!("an input of `{pipeline}`: {message}"))
                })?;
                Ok((name, value))
            };
            let values = paths.into_iter().map(one).collect();
            outbox.send(Message::Report(Report::Read { address, values })).ok();
        });
    }

    pub(super) fn send(&self, report: Report) {
        // The receiver lives as long as the loop that calls this.
        self.outbox.send(Message::Report(report)).ok();
    }
}

/// A resource whose `held` and final state have secrets masked.
struct RedactedLease {
    lease: Box<dyn Lease>,
    secrets: Arc<dyn Secrets>,
}

impl Lease for RedactedLease {
    fn held(&self) -> Value {
        let mut held = self.lease.held();
        self.secrets.redact_value(&mut held);
        held
    }

    fn release(self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>> {
        let Self { lease, secrets } = *self;
        Box::pin(async move {
            let mut held = lease.release().await;
            secrets.redact_value(&mut held);
            held
        })
    }
}

pub(super) fn attempt_report(
    attempt: &Attempt,
    result: Result<Output<Value>, Failure>,
    cached: bool,
) -> Report {
    Report::Ran { address: attempt.address.clone(), attempt: attempt.number, result, cached }
}

pub(super) fn unknown_verb(name: &str) -> Failure {
    Failure::new(Class::Bug, format!("`{name}` does not exist"))
}

/// The external reasons to end an attempt.
pub(super) struct StopCondition {
    limit: Option<Duration>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
}

impl StopCondition {
    pub(super) fn of(cx: &Context, limit: Option<Duration>) -> Self {
        Self { limit, clock: cx.clock.clone(), cancel: cx.cancel.clone() }
    }
}

/// Waits for `work` up to its limit; cancelled work has [`CLEANUP_GRACE`] to clean up.
pub(super) async fn run_bounded<T>(
    stop: &StopCondition,
    granted: &ReservedMeter,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    let limit_passed = async {
        match stop.limit {
            Some(limit) => stop.clock.sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let stopped = tokio::select! {
        biased;
        done = &mut work => return settle(done, granted),
        () = limit_passed => {
            let span = stop.limit.unwrap_or_default();
            Failure::new(Class::Timeout, format!("took longer than {}", crate::duration::limit(span)))
        }
        () = stop.cancel.cancelled() => Failure::cancelled(),
    };
    stop.cancel.cancel();
    tokio::select! {
        biased;
        done = &mut work => match settle(done, granted) {
            Err(failure) if failure.class != Class::Cancelled => {
                let mut stopped = stopped;
                stopped.spent = failure.spent;
                stopped.unsettled = failure.unsettled;
                stopped.detail = failure.detail;
                Err(stopped)
            }
            Err(failure) => {
                let Failure { detail, spent, unsettled, .. } = failure;
                Err(Failure { detail, spent, unsettled, ..stopped })
            }
            // It was finished before it noticed the cancellation: the result counts.
            Ok(value) => Ok(value),
        },
        () = stop.clock.sleep(CLEANUP_GRACE) => Err(stopped.spent(lost(granted)).unsettled(lost(granted))),
    }
}

type Panic = Box<dyn std::any::Any + Send>;

fn settle<T>(done: Result<Result<T, Failure>, Panic>, granted: &ReservedMeter) -> Result<T, Failure> {
    done.unwrap_or_else(|panic| Err(panicked(panic.as_ref()).spent(lost(granted)).unsettled(lost(granted))))
}

/// The reservations of an attempt so far.
pub(super) type ReservedMeter = Arc<Mutex<Meter>>;

pub(super) fn reserved_meter(attempt: &Attempt) -> ReservedMeter {
    Arc::new(Mutex::new(attempt.reserved.clone()))
}

/// The cost of an attempt that does not report it: all of its reservations.
fn lost(granted: &ReservedMeter) -> Meter {
    let granted = granted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let calls = granted.get(Unit::Calls).max(1.0);
    if granted.is_empty() { granted } else { granted.with(Unit::Lost, calls) }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Failure {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Failure::new(Class::Bug, format!("panicked: {message}")).hint("this is a bug in Atoll, please report it")
}

/// Whether a text in `value` contains `part`.
fn mentions(value: &Value, part: &str) -> bool {
    match value {
        Value::String(text) => text.contains(part),
        Value::Array(items) => items.iter().any(|item| mentions(item, part)),
        Value::Object(table) => table.values().any(|item| mentions(item, part)),
        _ => false,
    }
}
