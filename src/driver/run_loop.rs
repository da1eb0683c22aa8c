mod incoming;
mod reuse;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::attempt::AttemptEnv;
use super::inbox::Inbox;
use super::leases::Leases;
use super::questions::OpenQuestions;
use super::signals::{self, PendingSignal};
use super::{
    DriveError, Event, Outcome, ReusableOutputs, RunCommand, RunHandles, RunRequest, RunStart, Runtime,
    journal,
};
use crate::clock::Millis;
use crate::engine::{Bounds, Order, Payload, Report, Run, RunStatus, STATUS_RUNNING, Settings, Slice, Turn};
use crate::expr::Allowance;
use crate::id::Address;
use crate::meter::Meter;
use crate::store::{Append, RunSummary, StoreError};
use crate::value::{Digest, Value};
use crate::verb::Failure;

use incoming::report_of;

/// The number of times that other tasks run first, before their reports are written to disk.
const MAX_GATHER_ROUNDS: usize = 64;
/// The limits of one turn, after which its facts are written to disk and messages are received.
const MAX_FACTS: usize = 2_000;
const MAX_TURN_MS: Millis = 5;
/// The processor time for pure loops on this thread, in total and each: about five milliseconds, and half of
/// one.
const MAX_WORK: u64 = 200_000;
const MAX_WORK_EACH: u64 = 20_000;
/// The number of past facts that are published together.
const PAST_EVENTS_BATCH: usize = 1_024;

/// Works on a run until it ends or pauses. Facts are on disk before they are published.
pub async fn drive(house: &Runtime, job: RunRequest, wires: RunHandles) -> Result<Outcome, DriveError> {
    let (outbox, inbox) = mpsc::unbounded_channel();
    let surroundings = AttemptEnv {
        house: house.clone(),
        run: job.run.clone(),
        cancel: CancellationToken::new(),
        kill: CancellationToken::new(),
        stopping: CancellationToken::new(),
        events: wires.events.clone(),
        notes: wires.notes,
        outbox,
        computing: Arc::new(Semaphore::new(processors() * 2)),
    };
    let _claim = house.store.claim(&job.run, house.owner.clone())?;
    let (run, seq, head) = open_run(house, &job, &*wires.events)?;
    let taken = match job.begin {
        RunStart::Replan { taken, .. } => taken,
        RunStart::Fresh { .. } | RunStart::Resume => ReusableOutputs::default(),
    };
    let asks = OpenQuestions::new(wires.ask, (taken.answers, taken.moved), surroundings.outbox.clone());
    let mut driver = Driver {
        env: surroundings,
        run,
        seq,
        head,
        leases: Leases::default(),
        saved: Vec::new(),
        claims: Vec::new(),
        keys: Vec::new(),
        taken: taken.outputs,
        recorded: HashMap::new(),
        outstanding: 0,
        questions: asks,
        signals: Vec::new(),
        grace: None,
        so_far: None,
    };
    let seen = driver.resume()?;
    let outbox = driver.env.outbox.clone();
    let watch = signals::watch((house.store.clone(), house.clock.clone()), job.run.clone(), outbox, seen);
    let outcome = driver.run_to_end(inbox, wires.commands).await;
    watch.abort();
    driver.questions.end();
    driver.env.cancel.cancel();
    driver.env.kill.cancel();
    driver.leases.release_all().await;
    for resource in house.catalog.resources() {
        resource.settle().await;
    }
    outcome
}

fn open_run(
    house: &Runtime,
    job: &RunRequest,
    hear: &dyn Fn(Vec<Event>),
) -> Result<(Run, u64, RunSummary), DriveError> {
    let now = house.clock.now();
    let catalog = house.catalog.clone();
    let bounds =
        Bounds::new(move |name, with, schema| Some(catalog.find_verb(name)?.bound(with, schema)?.first));
    let mut lanes = house.catalog.lanes();
    lanes.extend(house.lanes.clone());
    let dir = Some(house.files.join(job.run.as_str()).display().to_string());
    let caps = house.caps.clone();
    let settings = Settings { lanes, caps, bounds: Some(bounds), dir, ..Settings::default() };
    let mut run = Run::new(job.run.clone(), job.plan.clone(), house.store.clone(), settings);
    match &job.begin {
        RunStart::Fresh { inputs, seed } | RunStart::Replan { inputs, seed, .. } => {
            let head = new_head(job, now);
            run.begin(now, inputs.clone(), *seed)?;
            if let Some(report) = limits(house) {
                run.report(now, report)?;
            }
            Ok((run, 0, head))
        }
        RunStart::Resume => {
            let head =
                house.store.head(&job.run)?.ok_or_else(|| StoreError::UnknownRun(job.run.to_string()))?;
            let mut past = Vec::new();
            let seq = journal::read(house.store.as_ref(), &job.run, |_, record| {
                journal::check_format(&job.run, &record)?;
                run.apply(&record)?;
                past.push(Event::Past { run: job.run.clone(), record: Arc::new(record) });
                if past.len() >= PAST_EVENTS_BATCH {
                    hear(std::mem::take(&mut past));
                }
                Ok(())
            })?;
            hear(past);
            if seq == 0 {
                return Err(DriveError::Journal { seq, message: "the run has no journal".to_owned() });
            }
            Ok((run, seq, head))
        }
    }
}

/// Limits from the command line are recorded, so that a later resume keeps them.
fn limits(house: &Runtime) -> Option<Report> {
    let caps = house.caps.clone();
    (!caps.is_empty()).then(|| Report::Limits { caps, by: "command line".to_owned() })
}

fn new_head(job: &RunRequest, now: Millis) -> RunSummary {
    RunSummary {
        run: job.run.clone(),
        pipeline: job.plan.name.clone(),
        plan: job.plan.digest,
        status: STATUS_RUNNING.to_owned(),
        code: None,
        started_at: now,
        finished_at: None,
        spent: Meter::new(),
        score: None,
        outputs: None,
    }
}

/// Receives the answer to a reservation of an attempt.
type ClaimReply = oneshot::Sender<Result<(), Failure>>;

struct Driver {
    env: AttemptEnv,
    run: Run,
    seq: u64,
    head: RunSummary,
    leases: Leases,
    saved: Vec<oneshot::Sender<()>>,
    /// The senders for answers to reservations.
    claims: Vec<(Address, u32, ClaimReply)>,
    keys: Vec<(Address, u32, Digest)>,
    /// The step that recorded an output in this run, by key.
    recorded: HashMap<Digest, Address>,
    /// Reusable outputs of another run, by content key, in the order of its journal.
    taken: HashMap<Digest, VecDeque<Payload>>,
    /// Orders without a report, except questions.
    outstanding: usize,
    /// Questions that are being asked here.
    questions: OpenQuestions,
    /// Commands of other processes that were read in this turn.
    signals: Vec<PendingSignal>,
    /// The time at which running steps are cancelled because the run is to end.
    grace: Option<Millis>,
    /// The outputs so far of a run that has paused.
    so_far: Option<Arc<Value>>,
}

impl Driver {
    async fn run_to_end(
        &mut self,
        mut inbox: Inbox,
        mut commands: mpsc::Receiver<RunCommand>,
    ) -> Result<Outcome, DriveError> {
        let mut listening = true;
        loop {
            let turn = self.turns()?;
            let (wake, more) = (turn.wake, turn.more);
            let orders = self.commit(turn).await?;
            if let Some(outcome) = self.outcome() {
                return Ok(outcome);
            }
            if self.execute(orders) || more {
                tokio::task::yield_now().await;
                while let Ok(command) = commands.try_recv() {
                    self.handle_command(command)?;
                }
                self.drain(&mut inbox)?;
                continue;
            }
            self.end_grace();
            let wake = wake.into_iter().chain(self.grace).min();
            let pause = wake.map(|at| Duration::from_millis(at.saturating_sub(self.now())));
            if self.outstanding == 0 && !self.questions.is_open() && pause.is_none() {
                return Err(DriveError::Stuck(self.run.waiting_at()));
            }
            tokio::select! {
                biased;
                command = commands.recv(), if listening => match command {
                    Some(command) => self.handle_command(command)?,
                    None => listening = false,
                },
                message = inbox.recv() => if let Some(message) = message {
                    self.handle_message(message)?;
                    self.gather(&mut inbox).await?;
                },
                () = settle_before_end(&self.env.house, pause), if pause.is_some() => {}
            }
            self.drain(&mut inbox)?;
        }
    }

    /// Decides what can be decided now, including all consequences within this process: its facts share a
    /// flush to disk.
    fn turns(&mut self) -> Result<Turn, DriveError> {
        let until = self.now() + MAX_TURN_MS;
        let mut all = self.turn()?;
        let mut work = MAX_WORK;
        while self.execute_pure(&mut all.orders, &mut work)? {
            if all.more || all.records.len() >= MAX_FACTS || self.now() >= until {
                all.more = true;
                break;
            }
            // The next decisions may read content that was stored before.
            for (_, bytes) in all.blobs.drain(..) {
                self.env.house.store.put(&bytes)?;
            }
            all.append(self.turn()?);
        }
        Ok(all)
    }

    /// Carries out orders without external effects: pure verbs and loops; `false` if there are none.
    fn execute_pure(&mut self, orders: &mut Vec<Order>, work: &mut u64) -> Result<bool, DriveError> {
        let mut done = false;
        for order in std::mem::take(orders) {
            let report = match order {
                Order::Run(attempt) if attempt.key.is_none() && self.env.is_pure(&attempt.name) => {
                    self.env.run_inline(attempt)
                }
                Order::Compute { address, timeout, work: mut computation } => {
                    let allowed = (*work).min(MAX_WORK_EACH);
                    let allowance = Arc::new(Allowance::new(allowed));
                    let result = computation.advance(&allowance);
                    *work -= allowed - allowance.left();
                    let Some(result) = result else {
                        orders.push(Order::Compute { address, timeout, work: computation });
                        continue;
                    };
                    Report::Computed { address, result }
                }
                other => {
                    orders.push(other);
                    continue;
                }
            };
            self.run.report(self.now(), report)?;
            done = true;
        }
        Ok(done)
    }

    /// Decides what can be decided now, up to the limits of a slice.
    fn turn(&mut self) -> Result<Turn, DriveError> {
        let (clock, now) = (self.env.house.clock.clone(), self.now());
        let slice = Slice { facts: MAX_FACTS, over: &|| clock.now().saturating_sub(now) >= MAX_TURN_MS };
        Ok(self.run.next_slice(now, &slice)?)
    }

    fn now(&self) -> Millis {
        self.env.house.clock.now()
    }

    /// Cancels running steps after the grace period.
    fn end_grace(&mut self) {
        if self.grace.is_some_and(|until| until <= self.now()) {
            self.grace = None;
            self.env.cancel.cancel();
        }
    }

    /// The result, if the run is finished, or paused with nothing in progress.
    fn outcome(&mut self) -> Option<Outcome> {
        let so_far = self.so_far.take();
        let standing = self.run.status();
        let outputs = match standing {
            RunStatus::Paused { .. } if !self.run.is_busy() => {
                so_far.unwrap_or_else(|| Arc::new(self.run.outputs_so_far()))
            }
            RunStatus::Going | RunStatus::Paused { .. } => return None,
            RunStatus::Finished { outputs, .. } => outputs.clone(),
        };
        Some(Outcome { status: standing.clone(), spent: self.run.spent().clone(), outputs })
    }

    /// Writes a turn to disk, then publishes it, then carries out its orders.
    async fn commit(&mut self, turn: Turn) -> Result<Vec<Order>, DriveError> {
        let store = self.env.house.store.clone();
        let last = self.seq;
        let settled = self.signals.drain(..).map(|signal| signal.settled(last, &turn.records)).collect();
        self.questions.withdraw(&turn.records);
        if turn.records.is_empty() {
            let settled: Vec<_> = settled;
            if !settled.is_empty() {
                store.append(&self.env.run, Append { settled, ..Append::default() }).await?;
            }
        } else {
            for (_, bytes) in &turn.blobs {
                store.put(bytes)?;
            }
            let rows = turn.records.iter().map(journal::row).collect::<Result<_, _>>()?;
            let begins = self.seq == 0;
            let head = self.changed_head().or_else(|| begins.then(|| self.head.clone()));
            store.append(&self.env.run, Append { rows, head, begins, settled }).await?;
            let run = &self.env.run;
            let facts = (self.seq + 1..).zip(turn.records);
            let facts =
                facts.map(|(seq, record)| Event::Fact { run: run.clone(), seq, record: Arc::new(record) });
            let facts: Vec<Event> = facts.collect();
            self.seq += facts.len() as u64;
            (self.env.events)(facts);
        }
        // If the verb no longer waits for its acknowledgement, it has ended.
        self.saved.drain(..).for_each(|saved| saved.send(()).unwrap_or_default());
        for (address, attempt, answer) in turn.grants {
            let waits = |(at, n, _): &(Address, u32, _)| *at == address && *n == attempt;
            if let Some(place) = self.claims.iter().position(waits) {
                self.claims.remove(place).2.send(answer).unwrap_or_default();
            }
        }
        Ok(turn.orders)
    }

    /// Updates the head of the run if it has changed.
    fn changed_head(&mut self) -> Option<RunSummary> {
        let now = self.now();
        let mut head = self.head.clone();
        head.spent = self.run.spent().clone();
        match self.run.status() {
            RunStatus::Going => {
                STATUS_RUNNING.clone_into(&mut head.status);
                (head.finished_at, head.code) = (None, None);
            }
            RunStatus::Paused { pause, .. } => {
                pause.status().word.clone_into(&mut head.status);
                head.code = Some(pause.status().code);
                if !self.run.is_busy() {
                    let outputs = self.so_far.insert(Arc::new(self.run.outputs_so_far()));
                    head.score = outputs.get("score").and_then(Value::as_f64).or(head.score);
                }
            }
            RunStatus::Finished { status, code, outputs } => {
                head.status.clone_from(status);
                head.code = Some(*code);
                head.finished_at = head.finished_at.or(Some(now));
                head.score = outputs.get("score").and_then(Value::as_f64);
                head.outputs = Some(outputs.as_ref().clone());
            }
        }
        (head != self.head).then(|| self.head.clone_from(&head)).map(|()| head)
    }

    /// Carries out orders; `true` if reports are already there.
    fn execute(&mut self, orders: Vec<Order>) -> bool {
        let mut reported = false;
        for order in orders {
            self.outstanding += usize::from(!matches!(order, Order::Ask { .. }));
            match order {
                Order::Run(attempt) => {
                    if attempt.files.is_some() && !self.takes_over(&attempt) {
                        self.env.run_cached(attempt);
                        continue;
                    }
                    if attempt.files.is_none() {
                        self.env.tell_key(&attempt);
                    }
                    if let Some(value) = self.known(&attempt) {
                        self.env.reuse(&attempt, value);
                        reported = true;
                        continue;
                    }
                    if self.env.is_pure(&attempt.name) {
                        let report = self.env.run_inline(attempt);
                        self.env.send(report);
                        reported = true;
                    } else {
                        self.env.run_async(attempt);
                    }
                }
                Order::Compute { address, timeout, work } => {
                    self.env.compute(address, timeout, work);
                }
                Order::Evaluate { timeout, work } => self.env.evaluate(timeout, work),
                Order::Read { address, pipeline, paths } => self.env.read(address, pipeline, paths),
                Order::Acquire(attempt) => self.env.acquire(attempt),
                Order::Release(address) => self.leases.release(address, &self.env.outbox),
                Order::Ask { address, question } => reported |= self.questions.put(address, &question),
            }
        }
        reported
    }

    /// Restores a run from its journal, with the commands that were left for it; returns the last number.
    fn resume(&mut self) -> Result<u64, DriveError> {
        if self.seq == 0 {
            return Ok(0);
        }
        let store = self.env.house.store.clone();
        let queued = store.signals(&self.env.run, 0)?;
        let finished = matches!(self.run.status(), RunStatus::Finished { .. });
        let mut reports = Vec::new();
        let mut answered: HashSet<&Address> = HashSet::new();
        for signal in &queued {
            let command = match signals::command(&self.run, &self.env.run, signal) {
                Ok(RunCommand::Answer { .. }) if !finished && !answered.insert(&signal.address) => {
                    Err("this question was answered in the meantime".to_owned())
                }
                _ if finished => Err("the run has ended".to_owned()),
                Ok(RunCommand::Cancel | RunCommand::Kill) => {
                    Err("no process was working on the run".to_owned())
                }
                Ok(command) => Ok(command),
                Err(why) => Err(why),
            };
            self.signals.push(PendingSignal::new(signal, command.as_ref().err().cloned()));
            reports.extend(command.ok().and_then(report_of));
        }
        reports.extend(limits(&self.env.house));
        if !finished {
            self.run.resume_with(self.now(), reports)?;
        }
        Ok(queued.last().map_or(0, |signal| signal.id))
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

async fn settle_before_end(house: &Runtime, pause: Option<Duration>) {
    match pause {
        Some(pause) => house.clock.sleep(pause).await,
        None => std::future::pending().await,
    }
}
