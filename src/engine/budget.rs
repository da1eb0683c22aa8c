//! Spending under caps. What an attempt may cost is set aside before it begins; what it did cost is booked when it ends,
//! and the rest is free again. So a cap holds however many attempts are under way.

use std::sync::Arc;

use super::evaluate::AT_ONCE;
use super::frame::{Frame, FrameId, Spot};
use super::node::Node;
use super::scope::eval_failure;
use super::{Fact, Mismatch, Pause, Record, Run};
use crate::clock::Millis;
use crate::expr::{Allowance, Data, Scope};
use crate::id::Instance;
use crate::meter::{Meter, Unit};
use crate::plan::{Action, Limit};
use crate::verb::{Class, Failure};

/// What was spent within something that may have a cap, and what is set aside there.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) spent: Meter,
    pub(super) reserved: Meter,
    work: Work,
}

/// How long a step was worked on.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    before: Millis,
    since: Option<Millis>,
}

/// What a step has spent, as expressions see it.
pub(super) fn spent_by_step(account: &Account) -> Data {
    let sum = |unit: Unit| (unit.word(), account.spent.get(unit.word()));
    let [usd, tokens, calls] = super::run::SHOWN.map(sum);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are exact")]
    let wall = (Unit::Wall.word(), account.work.before as f64 / 1_000.0);
    let number = |(name, sum): (&'static str, f64)| (name, Data::from_value(&serde_json::json!(sum)));
    Data::table([usd, tokens, calls, wall].map(number))
}

/// Whether something can be paid.
pub(super) enum Funding {
    Granted,
    /// Others may leave something over.
    Later(String),
    /// The run has too little left.
    Exhausted(String),
    /// Something inside the run has too little left.
    Refused(Failure),
}

/// A claim of an attempt that is under way.
pub(super) struct Claim {
    pub(super) spot: Spot,
    pub(super) attempt: u32,
    pub(super) more: Meter,
}

/// What there is to take from: one cap's owner.
struct Purse {
    /// Whose it is; none for the run's own.
    owner: Option<String>,
    caps: Vec<(Unit, f64)>,
    account: Account,
}

/// How long a run has been worked on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wall {
    before: Millis,
    since: Option<Millis>,
    last: Millis,
}

impl Wall {
    /// Takes in when a fact happened, and whether it begins or ends a stretch of work.
    pub(super) fn hear(&mut self, at: Millis, fact: &Fact) {
        match fact {
            Fact::RunStarted { .. } | Fact::Resumed => {
                // What was not paused was cut off: it worked at least until its last fact.
                self.close(self.last);
                self.since = Some(at);
            }
            Fact::Paused { .. } | Fact::Finished { .. } => self.close(at),
            _ => {}
        }
        self.last = at;
    }

    fn close(&mut self, at: Millis) {
        if let Some(since) = self.since.take() {
            self.before += at.saturating_sub(since);
        }
    }

    fn at(&self, now: Millis) -> Millis {
        self.before + self.since.map_or(0, |since| now.saturating_sub(since))
    }
}

impl Run {
    /// The most that an attempt of this verb may cost.
    pub(super) fn bound(
        &self,
        name: &str,
        with: &crate::value::Value,
        schema: Option<&crate::schema::Schema>,
    ) -> Meter {
        self.settings.bounds.as_ref().and_then(|bounds| bounds.of(name, with, schema)).unwrap_or_default()
    }

    /// Whether `need` can be set aside for the step at `spot`: under its own caps, those around it and the run's.
    pub(super) fn funding(&self, spot: Spot, need: &Meter) -> Result<Funding, Failure> {
        if need.is_empty() {
            return Ok(Funding::Granted);
        }
        let mut later = None;
        for purse in self.purses(spot)? {
            for (unit, cap) in &purse.caps {
                let (need, spent) = (need.get(unit), purse.account.spent.get(unit));
                let reserved = purse.account.reserved.get(unit);
                if need <= 0.0 || spent + reserved + need <= cap + 1e-9 {
                    continue;
                }
                let step = self.address(spot);
                let text = format!(
                    "`{step}` may take up to {} {unit}, and {} of {} are spent",
                    amount(need),
                    amount(spent),
                    amount(*cap)
                );
                match (&purse.owner, spent + need <= cap + 1e-9) {
                    (_, true) => later = Some(text),
                    (None, false) => {
                        return Ok(Funding::Exhausted(format!(
                            "{text}; `atoll resume RUN --limit {unit}=N` continues with a higher cap"
                        )));
                    }
                    (Some(owner), false) => {
                        let failure = Failure::new(Class::Budget, format!("{text} in {owner}"));
                        return Ok(Funding::Refused(failure.hint("raise its `budget`, or ask for less")));
                    }
                }
            }
        }
        Ok(later.map_or(Funding::Granted, Funding::Later))
    }

    /// The purses that a step takes from, the innermost first.
    fn purses(&self, spot: Spot) -> Result<Vec<Purse>, Failure> {
        let mut purses = Vec::new();
        let mut at = Some(spot);
        let mut around = Vec::new();
        while let Some((id, place)) = at {
            let frame = self.frame(id);
            around.push(id);
            let step = frame.step(place);
            if !step.budget.is_empty() {
                let scope = self.scope_at((id, place))?;
                let account = frame.accounts.get(&place).cloned().unwrap_or_default();
                let owner = Some(format!("the budget of `{}`", self.address((id, place))));
                purses.push(Purse { owner, caps: caps(&step.budget, &scope)?, account });
            }
            if let (Some(account), Some(owner)) = (&frame.account, frame.owner) {
                let owned = self.frame_caps(id, owner)?;
                if !owned.is_empty() {
                    let owner = Some(format!("the budget of `{}`", frame.address));
                    purses.push(Purse { owner, caps: owned, account: account.clone() });
                }
            }
            at = frame.owner;
        }
        let caps = self.run_caps()?;
        let mut reserved = self.reserved.clone();
        for id in self.funded.iter().filter(|id| !around.contains(id)) {
            let frame = self.frame(*id);
            reserved.absorb(&left_aside(frame, caps.iter().map(|(unit, _)| *unit)));
        }
        purses.push(Purse {
            owner: None,
            caps,
            account: Account { spent: self.spent.clone(), reserved, ..Account::default() },
        });
        Ok(purses)
    }

    /// The caps of a round, or of a pipeline that was called.
    fn frame_caps(&self, id: FrameId, owner: Spot) -> Result<Vec<(Unit, f64)>, Failure> {
        match &self.frame(owner.0).step(owner.1).action {
            Action::Loop(looping) if !looping.budget.is_empty() => {
                caps(&looping.budget, &self.scope(id, &looping.funds_see)?)
            }
            Action::Call(call) if !call.plan.limits.is_empty() => {
                caps(&call.plan.limits, &self.frame(id).names.with("run", self.run_names(id, None)))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The run's own caps: the plan's, unless others were set for it.
    fn run_caps(&self) -> Result<Vec<(Unit, f64)>, Failure> {
        let raised = &self.settings.caps;
        let own = self.plan.limits.iter().filter(|limit| !raised.contains_key(&limit.unit));
        let own: Vec<&Limit> = own.collect();
        let mut all: Vec<(Unit, f64)> = raised.iter().map(|(unit, cap)| (*unit, *cap)).collect();
        if !own.is_empty() {
            let root = self.by_address[&crate::id::Address::root()];
            all.extend(caps(own, &self.frame(root).names.with("run", self.run_names(root, None)))?);
        }
        Ok(all)
    }

    /// Whether the round that `id` is may begin: what it needs is there, and is set aside for it.
    pub(super) fn admit(&mut self, id: FrameId) -> Result<Funding, Failure> {
        let frame = self.frame(id);
        let (false, Instance::Round(round), Some(owner)) = (frame.admitted, frame.instance, frame.owner)
        else {
            return Ok(Funding::Granted);
        };
        let Action::Loop(looping) = &self.frame(owner.0).step(owner.1).action else {
            return Ok(Funding::Granted);
        };
        let wanted = if looping.fund.is_empty() { &looping.budget } else { &looping.fund };
        let mut fund = Meter::new();
        if !wanted.is_empty() {
            for (unit, need) in caps(wanted, &self.scope(id, &looping.funds_see)?)? {
                fund.add(unit, need);
            }
            // A round that has begun before this process did goes on.
            if frame.nodes.iter().all(Node::is_waiting) {
                match self.funding(owner, &fund)? {
                    Funding::Granted => {}
                    Funding::Later(text) => return Ok(Funding::Later(of_round(round, &text))),
                    Funding::Exhausted(text) => return Ok(Funding::Exhausted(of_round(round, &text))),
                    refused @ Funding::Refused(_) => return Ok(refused),
                }
            }
            self.funded.push(id);
        }
        if let Some(frame) = self.frames.get_mut(&id) {
            frame.admitted = true;
            frame.fund = fund;
        }
        Ok(Funding::Granted)
    }

    /// Books what was spent at `spot` with everything around it.
    pub(super) fn book(&mut self, spot: Option<Spot>, spent: &Meter) {
        self.spent.absorb(spent);
        self.refresh_sums();
        self.accounts(spot, |account| account.spent.absorb(spent));
    }

    /// What the attempt at `spot` has set aside was `before` and is `after`.
    pub(super) fn set_aside(&mut self, spot: Spot, before: &Meter, after: &Meter) {
        if before == after {
            return;
        }
        self.reserved.remove(before);
        self.reserved.absorb(after);
        self.holding += usize::from(!after.is_empty());
        self.holding -= usize::from(!before.is_empty());
        self.accounts(Some(spot), |account| {
            account.reserved.remove(before);
            account.reserved.absorb(after);
        });
    }

    pub(super) fn accounts(&mut self, mut at: Option<Spot>, mut change: impl FnMut(&mut Account)) {
        while let Some((id, place)) = at {
            let Some(frame) = self.frames.get_mut(&id) else { break };
            if !frame.step(place).budget.is_empty() || frame.step(place).tells_spent {
                change(frame.accounts.entry(place).or_default());
            }
            frame.account.as_mut().map(&mut change);
            at = frame.owner;
        }
    }

    /// Notes how long the step at `spot` is worked on, if some expression asks.
    pub(super) fn note_work(&mut self, (id, place): Spot, record: &Record) {
        let worked = self.wall.at(record.at);
        let Some(frame) = self.frames.get_mut(&id).filter(|frame| frame.step(place).tells_spent) else {
            return;
        };
        let work = &mut frame.accounts.entry(place).or_default().work;
        match &record.fact {
            Fact::Started { .. } | Fact::Opened { .. } => drop(work.since.get_or_insert(worked)),
            Fact::Faltered { .. }
            | Fact::Interrupted { .. }
            | Fact::Succeeded { .. }
            | Fact::Failed { .. } => {
                work.before += work.since.take().map_or(0, |since| worked.saturating_sub(since));
            }
            _ => {}
        }
    }

    /// Grants what can be granted of the claims of attempts that are under way.
    pub(super) fn settle_claims(&mut self, now: Millis) -> Result<(), Mismatch> {
        let mut left = Vec::new();
        for claim in std::mem::take(&mut self.claims) {
            let under_way = match self.frames.get(&claim.spot.0).map(|frame| &frame.nodes[claim.spot.1]) {
                Some(Node::Running(tries)) => tries.begun == claim.attempt,
                _ => false,
            };
            if !under_way {
                continue;
            }
            match self.funding(claim.spot, &claim.more) {
                Ok(Funding::Granted) => {
                    let address = self.address(claim.spot);
                    let fact = Fact::Reserved { more: claim.more };
                    self.emit(now, address.clone(), claim.attempt, fact)?;
                    self.turn.grants.push((address, claim.attempt, Ok(())));
                }
                Ok(Funding::Later(text)) => left.push((claim, text)),
                Ok(Funding::Exhausted(text)) => {
                    self.turn_down(&claim, Failure::new(Class::Budget, text), true);
                }
                Ok(Funding::Refused(failure)) | Err(failure) => self.turn_down(&claim, failure, false),
            }
        }
        // Where everybody who has something set aside wants more, nobody will leave anything over.
        let holds = |claim: &Claim| !self.tries(claim.spot).reserved.is_empty();
        if self.holding <= left.iter().filter(|(claim, _)| holds(claim)).count() && !left.is_empty() {
            let (claim, text) = left.remove(0);
            self.turn_down(&claim, Failure::new(Class::Budget, text), true);
        }
        self.claims = left.into_iter().map(|(claim, _)| claim).collect();
        Ok(())
    }

    fn turn_down(&mut self, claim: &Claim, failure: Failure, by_run: bool) {
        let address = self.address(claim.spot);
        if let (true, Some(Node::Running(tries))) = (by_run, self.node_mut(claim.spot)) {
            tries.unfunded = true;
        }
        self.turn.grants.push((address, claim.attempt, Err(failure)));
    }

    /// Pauses where the time for the run is up; says when it will be.
    pub(super) fn watch_wall(&mut self, now: Millis) -> Result<Option<Millis>, Mismatch> {
        let named = |unit: &Unit| *unit == Unit::Wall;
        if !self.plan.limits.iter().map(|limit| &limit.unit).chain(self.settings.caps.keys()).any(named) {
            return Ok(None);
        }
        let cap = match self.run_caps() {
            Ok(caps) => caps.into_iter().find(|(unit, _)| *unit == Unit::Wall),
            // The first attempt that needs the caps fails over them.
            Err(_) => None,
        };
        let Some((_, seconds)) = cap else { return Ok(None) };
        let worked = self.wall.at(now);
        let most = crate::clock::millis(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default());
        if worked < most {
            return Ok(Some(now + (most - worked)));
        }
        if self.only_late_left() {
            return Ok(None);
        }
        let message = format!(
            "{} s of {} s are over; `atoll resume RUN --limit wall=N` goes on with more",
            worked / 1_000,
            amount(seconds)
        );
        let fact = Fact::Paused { pause: Pause::Budget, message, reasons: Vec::new() };
        self.emit(now, crate::id::Address::root(), 0, fact)?;
        Ok(None)
    }
}

/// What a round has set aside and not used yet, of `units`.
fn left_aside(frame: &Frame, units: impl Iterator<Item = Unit>) -> Meter {
    let account = frame.account.as_ref();
    let used = |unit: Unit| account.map_or(0.0, |a| a.spent.get(unit) + a.reserved.get(unit));
    units.fold(Meter::new(), |left, unit| {
        let rest = frame.fund.get(unit) - used(unit);
        if rest > 0.0 { left.with(unit, rest) } else { left }
    })
}

fn of_round(round: u32, text: &str) -> String {
    format!("round {round} is not begun: {text}")
}

/// The caps in force: `none` is no cap, a span of time is seconds. They are looked at before each attempt, so that they
/// must be quick.
fn caps<'a>(limits: impl IntoIterator<Item = &'a Limit>, scope: &Scope) -> Result<Vec<(Unit, f64)>, Failure> {
    let allowance = Arc::new(Allowance::new(AT_ONCE));
    let scope = scope.clone().within(allowance.clone());
    let mut caps = Vec::new();
    for limit in limits {
        let value = match limit.cap.eval(&scope) {
            Ok(value) => value.to_value(),
            Err(_) if allowance.is_used_up() => {
                let text =
                    format!("the cap on {}, `{}`, takes too long to evaluate", limit.unit, limit.cap.text());
                return Err(Failure::permanent(text).hint(
                    "it is evaluated before each attempt: compute it in a step, or give it as an input",
                ));
            }
            Err(e) => return Err(eval_failure("limit", &e)),
        };
        let span = || Some(crate::duration::parse(value.as_str()?).ok()?.as_secs_f64());
        match value.as_f64().or_else(|| span().filter(|_| limit.unit == Unit::Wall)) {
            Some(cap) => caps.push((limit.unit, cap)),
            None if value.is_null() => {}
            None => {
                let text = format!("the cap on {} is {value}, not a number", limit.unit);
                return Err(Failure::permanent(text));
            }
        }
    }
    Ok(caps)
}

/// A number with as many places as matter.
fn amount(n: f64) -> String {
    if n.fract() == 0.0 {
        return n.to_string();
    }
    let text = format!("{n:.4}");
    text.trim_end_matches('0').to_owned()
}
