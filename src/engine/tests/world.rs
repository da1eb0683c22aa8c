//! A driver without time or threads: carries out orders in an order drawn from a seed, with outcomes drawn from
//! the address and from how often it failed before, so that a run that crashed meets the same fate.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{
    Computation, Evaluation, Fact, Order, Pause, Record, Report, Run, RunStatus, Settings, Slice,
};
use crate::expr::Allowance;
use crate::id::{Address, RunId};
use crate::meter::Meter;
use crate::plan::Plan;
use crate::value::{Digest, Value};
use crate::verb::{Blobs, Class, Failure, MemoryBlobs, Output};

/// A provider that asks to be left alone for longer than anybody waits.
const LONG: std::time::Duration = std::time::Duration::from_secs(3_600);

/// A pure loop, interrupted as often as can be.
pub fn evaluated(address: Address, mut work: Computation) -> Report {
    let result = (0..40).find_map(|power| work.advance(&Arc::new(Allowance::new(1 << power))));
    Report::Computed { address, result: result.expect("it comes to an end") }
}

/// An evaluation that was ordered.
pub fn late(work: &Evaluation) -> Report {
    let result = work.run(&Arc::new(Allowance::new(u64::MAX))).expect("it comes to an end");
    Report::Evaluated { purpose: work.purpose(), result }
}

pub struct World {
    pub plan: Arc<Plan>,
    pub blobs: Arc<dyn Blobs>,
    pub fate: u64,
    pub journal: Vec<Record>,
    pub started: BTreeMap<Address, u32>,
    pub settings: Settings,
    /// Whether providers are down at first, and questions wait for a person who comes after the run has paused.
    pub waits: bool,
    /// Looks at a run that has paused.
    pub check_pause: Option<fn(&Run)>,
    /// The classes with which steps fail, by address, if that is not drawn: no other step fails then.
    pub fails: Option<BTreeMap<String, Class>>,
    /// How many facts a turn may have.
    pub slice: usize,
}

impl World {
    pub fn new(plan: Arc<Plan>, fate: u64) -> Self {
        Self {
            plan,
            blobs: Arc::new(MemoryBlobs::default()),
            fate,
            journal: Vec::new(),
            started: BTreeMap::new(),
            settings: Settings::default(),
            waits: false,
            check_pause: None,
            fails: None,
            slice: usize::MAX,
        }
    }

    fn draw(&self, what: &str, address: &Address) -> u64 {
        Digest::of(format!("{}/{what}/{address}", self.fate)).seed()
    }

    /// How often the step at `address` failed since its surroundings were last lost.
    fn failures(&self, address: &Address) -> u64 {
        let mut count = 0;
        for record in &self.journal {
            match &record.fact {
                Fact::Faltered { waits: None, .. } if record.address == *address => count += 1,
                Fact::Lost if address.as_str().starts_with(&format!("{}/", record.address)) => count = 0,
                _ => {}
            }
        }
        count
    }

    fn outcome(&self, address: &Address, with: &Value) -> Result<Output<Value>, Failure> {
        if let Some(fails) = &self.fails {
            let value = serde_json::json!({"n": 1, "with": with});
            let class = fails.get(address.as_str());
            return class.map_or(Ok(Output::free(value)), |class| Err(Failure::new(*class, "as told")));
        }
        if self.waits && self.draw("down", address).is_multiple_of(4) && !self.was_down(address) {
            let failure = Failure::new(Class::Transient, "down").outage();
            let locked = self.draw("locked", address).is_multiple_of(2);
            return Err(if locked { Failure::new(Class::Auth, "locked") } else { failure.retry_after(LONG) });
        }
        let failures = self.failures(address);
        if failures < self.draw("fails", address) % 4 && self.draw("well", address).is_multiple_of(3) {
            let class = match self.draw("class", address).wrapping_add(failures) % 4 {
                0 => Class::Transient,
                1 => Class::Rejected,
                2 => Class::RateLimited,
                _ => Class::Permanent,
            };
            return Err(Failure::new(class, "drawn").spent(Meter::new().with("calls", 1.0)));
        }
        let n = self.draw("value", address) % 3;
        Ok(Output {
            value: serde_json::json!({"n": n, "with": with}),
            spent: Meter::new().with("calls", 1.0),
        })
    }

    fn report(&self, order: Order) -> Report {
        match order {
            Order::Run(attempt) => Report::Ran {
                result: self.outcome(&attempt.address, &attempt.with),
                address: attempt.address,
                attempt: attempt.number,
                cached: false,
            },
            Order::Acquire(attempt) => Report::Acquired {
                result: self.outcome(&attempt.address, &attempt.with).map(|output| output.value),
                address: attempt.address,
                attempt: attempt.number,
            },
            Order::Compute { address, work, .. } => evaluated(address, work),
            Order::Evaluate { work, .. } => late(&work),
            Order::Release(address) => {
                Report::Released { held: Some(serde_json::json!({"released": true})), address }
            }
            Order::Read { address, .. } => Report::Read { address, values: Ok(Vec::new()) },
            Order::Ask { address, .. } if self.waits && !self.draw("here", &address).is_multiple_of(3) => {
                Report::Unasked { address }
            }
            Order::Ask { address, .. } => self.answer(address),
        }
    }

    fn answer(&self, address: Address) -> Report {
        let answer = Value::from(format!("{} times", self.draw("answer", &address) % 3));
        Report::Answered { address, answer, by: "test".to_owned(), note: None }
    }

    fn was_down(&self, address: &Address) -> bool {
        let down = |record: &Record| matches!(record.fact, Fact::Faltered { waits: Some(_), .. });
        self.journal.iter().any(|record| record.address == *address && down(record))
    }

    /// The run as it is on disk.
    pub fn refold(&self) -> Run {
        let (id, plan, blobs) = (RunId::new("test"), self.plan.clone(), self.blobs.clone());
        Run::fold(id, plan, blobs, self.settings.clone(), &self.journal).unwrap()
    }

    /// The process has ended with a pause. Another one comes, with an answer to one of the questions.
    fn come_back(&self, run: &Run, now: u64) -> Run {
        if let Some(check) = self.check_pause {
            check(run);
        }
        let RunStatus::Paused { reasons, .. } = run.status() else { panic!("paused") };
        let asked: Vec<_> = reasons.iter().filter(|reason| reason.pause == Pause::Waiting).collect();
        let answer = asked.get(usize::try_from(now).unwrap() % asked.len().max(1));
        let mut again = self.refold();
        let reports = answer.map(|reason| self.answer(reason.address.clone())).into_iter().collect();
        again.resume_with(now, reports).unwrap();
        again
    }

    pub fn take(&mut self, records: Vec<Record>) {
        for record in records {
            if matches!(record.fact, Fact::Started { .. }) {
                *self.started.entry(record.address.clone()).or_default() += 1;
            }
            self.journal.push(record);
        }
    }

    /// A run from what is in the journal: from nothing, or resumed.
    pub fn begin(&mut self) -> Run {
        let (id, plan, blobs) = (RunId::new("test"), self.plan.clone(), self.blobs.clone());
        if self.journal.is_empty() {
            let mut run = Run::new(id, plan, blobs, self.settings.clone());
            run.begin(0, serde_json::json!({}), 7).unwrap();
            return run;
        }
        let mut run = self.refold();
        if !matches!(run.status(), RunStatus::Finished { .. }) {
            run.resume(self.journal.last().unwrap().at).unwrap();
        }
        run
    }

    /// Carries the run out to its end.
    pub fn finish(&mut self, mut run: Run) -> Run {
        let mut now = self.journal.last().map_or(0, |record| record.at);
        let mut open: Vec<Order> = Vec::new();
        let mut picked = 0_u64;
        for tick in 0_u64.. {
            assert!(tick < 100_000, "the run does not end; open: {}", run.waiting_at());
            let slice = Slice { facts: self.slice, over: &|| false };
            let turn = run.next_slice(now, &slice).unwrap();
            assert!(turn.records.len() <= self.slice.saturating_add(8), "{} facts", turn.records.len());
            let more = turn.more;
            for (_, bytes) in &turn.blobs {
                self.blobs.put(bytes).unwrap();
            }
            self.take(turn.records);
            open.extend(turn.orders);
            if matches!(run.status(), RunStatus::Finished { .. }) {
                return run;
            }
            if more {
                continue;
            }
            if open.is_empty() && matches!(run.status(), RunStatus::Paused { .. }) {
                run = self.come_back(&run, now + 1);
                continue;
            }
            if open.is_empty() {
                now = turn.wake.unwrap_or_else(|| panic!("stuck: {}", run.waiting_at())).max(now);
                continue;
            }
            picked += 1;
            let draw = Digest::of(format!("{}/{picked}", self.fate)).seed() % open.len() as u64;
            let pick = usize::try_from(draw).unwrap();
            let order = open.swap_remove(pick);
            now += 1;
            run.report(now, self.report(order)).unwrap();
        }
        unreachable!()
    }

    pub fn run(&mut self) -> Run {
        let run = self.begin();
        self.finish(run)
    }

    /// How every step ended: the last word of the journal on each.
    pub fn ends(&self) -> BTreeMap<String, String> {
        let mut ends = BTreeMap::new();
        for record in &self.journal {
            let end = match &record.fact {
                Fact::Succeeded { output, .. } => format!("succeeded {output:?}"),
                Fact::Failed { failure } => format!("failed {}", failure.message),
                Fact::Skipped { reason } => format!("skipped {reason:?}"),
                Fact::ItemClosed { result, failed, .. } => format!("closed {failed} {result:?}"),
                Fact::RoundClosed { lets, changes, rule, exit, .. } => {
                    format!("{lets:?} {changes:?} {rule:?} {exit:?}")
                }
                Fact::Finished { status, code, outputs, .. } => format!("{status} {code} {outputs:?}"),
                _ => continue,
            };
            ends.insert(record.address.to_string(), end);
        }
        ends
    }
}
