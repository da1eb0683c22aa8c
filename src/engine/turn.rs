//! Taking a turn: works off what facts have made ready, and starts what lanes have room for.

use super::apply::lane_name;
use super::budget::Funding;
use super::decided::values_where;
use super::evaluate::{Evaluated, Unready};
use super::frame::{FrameId, Spot};
use super::node::{Node, Tries};
use super::run::Work;
use super::run_names::moment;
use super::scope::{eval_failure, failure_data};
use super::slot::{INLINE, recordable};
use super::{Attempt, Fact, Mismatch, Order, Question, Run, RunStatus, SkipReason, Slice, Turn, control};
use crate::clock::Millis;
use crate::expr::{Data, EvalError, Scope, Tree};
use crate::id::{Address, Instance};
use crate::meter::Meter;
use crate::plan::{Action, BodyId, OnInterrupt, Step};
use crate::schema::Schema;
use crate::value::{Digest, DigestPart, Value, digest_of_fields};
use crate::verb::{Class, Failure, Output};

/// Most characters of what is added to an input because the last output was rejected.
const MOST_AGAIN: usize = 4_000;

impl Run {
    /// Decides all there is to decide at `now`. The facts of the turn are applied already; they must be on disk
    /// before any of its orders is carried out.
    pub fn next(&mut self, now: Millis) -> Result<Turn, Mismatch> {
        self.next_slice(now, &Slice::ALL)
    }

    /// The same, no further than `slice` goes: where it ends changes nothing about what is decided.
    pub fn next_slice(&mut self, now: Millis, slice: &Slice<'_>) -> Result<Turn, Mismatch> {
        self.settle_claims(now)?;
        let blocked = std::mem::take(&mut self.blocked).into_iter();
        self.work.extend(blocked.map(|(spot, _)| Work::Ready(spot)));
        let mut deadline = if self.status == RunStatus::Going { self.watch_wall(now)? } else { None };
        let mut more = false;
        while self.status == RunStatus::Going {
            more = slice.is_over(&self.turn);
            if more {
                break;
            }
            self.ring_timers(now);
            match self.work.pop_front() {
                Some(work) => self.work_off(now, work)?,
                None if self.fill_lanes(now, slice)? => {}
                None => break,
            }
        }
        if !more {
            self.pause_if_stuck(now)?;
        }
        self.order_on_pause(now)?;
        self.fresh.clear();
        if self.status != RunStatus::Going || self.is_idle() {
            deadline = None;
        }
        let timer = self.timers.first().map(|(at, _)| *at).filter(|_| self.status == RunStatus::Going);
        let wake = timer.into_iter().chain(deadline).min();
        Ok(Turn { wake, more, ..std::mem::take(&mut self.turn) })
    }

    fn work_off(&mut self, now: Millis, work: Work) -> Result<(), Mismatch> {
        if !self.evaluations.begin(work) {
            return Ok(());
        }
        let done = match work {
            Work::Ready(spot) => match self.admitted(now, spot) {
                Ok(true) => self.ready(now, spot),
                other => other.map(drop),
            },
            Work::Close(frame) => control::close(self, now, frame),
            Work::Advance(spot) => control::advance(self, now, spot),
            Work::Start(spot) => {
                self.queue(spot);
                Ok(())
            }
            Work::Accept(spot) => self.accept_again(now, spot),
        };
        self.evaluations.end(work);
        done
    }

    /// Whether nothing is under way and nothing is waited for.
    fn is_idle(&self) -> bool {
        self.running == 0
            && self.computing.is_empty()
            && self.evaluations.is_empty()
            && self.reading.is_empty()
            && self.timers.is_empty()
    }

    /// Goes on after a pause, a stop or a crash: what was under way is made again as its step says, what was
    /// held is acquired again.
    pub fn resume(&mut self, now: Millis) -> Result<(), Mismatch> {
        self.resume_with(now, Vec::new())
    }

    /// The same, with what was reported meanwhile.
    pub fn resume_with(&mut self, now: Millis, reports: Vec<super::Report>) -> Result<(), Mismatch> {
        self.emit(now, Address::root(), 0, Fact::Resumed)?;
        for report in reports {
            self.report(now, report)?;
        }
        // Before what is held is given up: what was in flight inside of it may have cost something, too.
        for spot in self.spots(|node| matches!(node, Node::Running(_))) {
            let tries = self.tries(spot);
            let (spent, unsettled) = tries.lost();
            let fact = Fact::Interrupted { spent, unsettled };
            self.emit(now, self.address(spot), tries.begun, fact)?;
        }
        for spot in self.spots(|node| matches!(node, Node::Open(_))) {
            let unfinished = match self.frames.get(&spot.0).map(|frame| &frame.nodes[spot.1]) {
                Some(Node::Open(control)) => {
                    control.held_body().is_some_and(|body| self.frame(body).left > 0)
                }
                _ => false,
            };
            if unfinished {
                self.emit(now, self.address(spot), 0, Fact::Lost)?;
            }
        }
        for spot in self.spots(|node| matches!(node, Node::Asking { .. })) {
            if let Some(Node::Asking { put, .. }) = self.node_mut(spot) {
                *put = false;
            }
            self.work.push_back(Work::Ready(spot));
        }
        Ok(())
    }

    /// Step instances whose node is as asked, outer ones first, in the order of their addresses.
    fn spots(&self, wanted: impl Fn(&Node) -> bool) -> Vec<Spot> {
        let mut spots: Vec<(Address, Spot)> = Vec::new();
        for (id, frame) in &self.frames {
            for (place, node) in frame.nodes.iter().enumerate() {
                if wanted(node) {
                    spots.push((self.address((*id, place)), (*id, place)));
                }
            }
        }
        spots.sort();
        spots.into_iter().map(|(_, spot)| spot).collect()
    }

    fn ring_timers(&mut self, now: Millis) {
        while let Some((at, spot)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, spot));
            self.work.push_back(Work::Ready(spot));
        }
    }

    fn ready(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        if let Err(unready) = self.know_status(spot) {
            return self.unready(now, spot, unready);
        }
        let Some(frame) = self.frames.get(&spot.0) else { return Ok(()) };
        match &frame.nodes[spot.1] {
            Node::Waiting if frame.waits[spot.1] == 0 => self.decide(now, spot),
            Node::Resting { .. } => self.again(now, spot),
            Node::Cut(_) => self.cut(now, spot),
            Node::Asking { .. } => self.ask_again(now, spot),
            Node::Answered { .. } => self.answered(now, spot),
            _ => Ok(()),
        }
    }

    /// Makes another attempt at the step, or opens it again.
    fn again(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        let frame = self.frame(spot.0);
        let plan = frame.plan.clone();
        let step = &plan.bodies[frame.body.0].steps[spot.1];
        if matches!(step.action, Action::Call(_)) {
            return control::open(self, now, spot, step);
        }
        self.queue(spot);
        Ok(())
    }

    /// Every step it waits for has ended: is it skipped, failed, queued or opened?
    fn decide(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        let frame = self.frame(spot.0);
        let plan = frame.plan.clone();
        let step = &plan.bodies[frame.body.0].steps[spot.1];
        if let Some(reason) = self.culprit(spot, step) {
            return self.emit(now, self.address(spot), 0, Fact::Skipped { reason });
        }
        match self.condition(spot, step) {
            Err(unready) => return self.unready(now, spot, unready),
            Ok(Some(reason)) => return self.emit(now, self.address(spot), 0, Fact::Skipped { reason }),
            Ok(None) => {}
        }
        match &step.action {
            Action::Verb { .. } | Action::Hold(_) => {
                self.queue(spot);
                Ok(())
            }
            _ => control::open(self, now, spot, step),
        }
    }

    fn condition(&mut self, spot: Spot, step: &Step) -> Evaluated<Option<SkipReason>> {
        let Some(when) = &step.when else { return Ok(None) };
        let scope = self.scope_at(spot)?;
        let asked = when.clone();
        let holds = move |scope: &Scope| asked.eval_bool(scope).map_err(|e| eval_failure("when", &e));
        if self.evaluate("when", &scope, holds)? {
            return Ok(None);
        }
        // The inputs are on record with the run: items do not repeat them.
        let in_item = self.is_in_item(spot.0);
        let values = values_where(when, &scope, |root| !(in_item && root == "inputs"));
        Ok(Some(SkipReason::When { expression: when.text().to_owned(), values }))
    }

    /// Whether a frame is an item of an `each`, or inside one, and its inputs are those of the other items.
    fn is_in_item(&self, mut id: FrameId) -> bool {
        loop {
            let frame = self.frame(id);
            match (frame.instance, frame.owner) {
                (Instance::Item(_), _) => return true,
                (_, Some((outer, _))) if frame.body != BodyId::ROOT => id = outer,
                _ => return false,
            }
        }
    }

    pub(super) fn queue(&mut self, spot: Spot) {
        let name = lane_name(&self.frames[&spot.0], spot.1);
        self.lane(&name).queue.push_back(spot);
    }

    /// Starts as much as lanes have room for; `false` where nothing could be started.
    fn fill_lanes(&mut self, now: Millis, slice: &Slice<'_>) -> Result<bool, Mismatch> {
        let mut started = false;
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].running < self.lanes[lane].limit {
                let Some(spot) = self.lanes[lane].queue.pop_front() else { break };
                if !self.start(now, spot)? {
                    self.lanes[lane].queue.push_front(spot);
                    break;
                }
                started = true;
                if self.status != RunStatus::Going || slice.is_over(&self.turn) {
                    return Ok(true);
                }
            }
        }
        Ok(started)
    }

    /// Begins an attempt; `false` where it cannot be paid yet.
    fn start(&mut self, now: Millis, spot: Spot) -> Result<bool, Mismatch> {
        let work = Work::Start(spot);
        if !self.evaluations.begin(work) {
            return Ok(true);
        }
        let started = self.start_attempt(now, spot);
        self.evaluations.end(work);
        started
    }

    fn start_attempt(&mut self, now: Millis, spot: Spot) -> Result<bool, Mismatch> {
        use Node::{Answered, Cut, Resting, Waiting};
        let Some(frame) = self.frames.get(&spot.0) else { return Ok(true) };
        if !matches!(frame.nodes[spot.1], Waiting | Resting { .. } | Cut(_) | Answered { .. }) {
            return Ok(true);
        }
        let plan = frame.plan.clone();
        let step = &plan.bodies[frame.body.0].steps[spot.1];
        let tries = self.tries(spot);
        let attempt = match self.attempt(now, spot, step, &tries) {
            Ok(attempt) => Ok(attempt),
            Err(Unready::Later) => return Ok(true),
            Err(Unready::Failed(failure)) => Err(failure),
        };
        let funded =
            attempt.and_then(|(attempt, at)| Ok((self.funding(spot, &attempt.reserved)?, (attempt, at))));
        match funded {
            Err(failure) | Ok((Funding::Refused(failure), _)) => self.fail(now, spot, failure)?,
            Ok((Funding::Exhausted(why), _)) => self.unpaid.push((spot, why)),
            // Nobody under way leaves anything over: what a round set aside comes back when it ends.
            Ok((Funding::Later(why), _)) if self.holding == 0 => self.unpaid.push((spot, why)),
            Ok((Funding::Later(_), _)) => return Ok(false),
            Ok((Funding::Granted, (attempt, at))) => {
                let fact = Fact::Started { key: attempt.key, reserved: attempt.reserved.clone() };
                self.emit(at, attempt.address.clone(), attempt.number, fact)?;
                let order = if matches!(step.action, Action::Hold(_)) { Order::Acquire } else { Order::Run };
                self.turn.orders.push(order(attempt));
            }
        }
        Ok(true)
    }

    /// Whether the round that a step belongs to has its funds.
    fn admitted(&mut self, now: Millis, spot: Spot) -> Result<bool, Mismatch> {
        if self.frames.get(&spot.0).is_none_or(|frame| frame.admitted) {
            return Ok(true);
        }
        match self.admit(spot.0) {
            Ok(Funding::Granted) => return Ok(true),
            Ok(Funding::Later(why) | Funding::Exhausted(why)) => self.blocked.push((spot, why)),
            Ok(Funding::Refused(failure)) | Err(failure) => {
                let owner = self.frame(spot.0).owner.unwrap_or(spot);
                self.fail(now, owner, failure)?;
            }
        }
        Ok(false)
    }

    /// The next attempt, with its input, and the time that it has as `attempt.at`.
    fn attempt(
        &mut self,
        now: Millis,
        spot: Spot,
        step: &Step,
        tries: &Tries,
    ) -> Evaluated<(Attempt, Millis)> {
        let scope = attempt_scope(&self.scope_at(spot)?, tries, now);
        let of_plan = self.plan_step(spot);
        let error = tries.error.clone();
        let (with, at) = self
            .evaluate("with", &scope, move |scope| Ok((rendered(&of_plan, error.as_deref(), scope)?, now)))?;
        Ok((self.attempt_with(spot, step, tries, with)?, at))
    }

    /// The next attempt, with its input.
    pub(super) fn attempt_with(
        &self,
        spot: Spot,
        step: &Step,
        tries: &Tries,
        Rendered { mut with, again }: Rendered,
    ) -> Result<Attempt, Failure> {
        let (name, _) = input_of(step)?;
        let number = tries.begun + 1;
        let pure = matches!(&step.action, Action::Verb { traits, .. } if traits.pure);
        let anew = matches!(&step.action, Action::Verb { traits, .. } if traits.always_rerun);
        // What runs last runs in each run: no outcome of another run takes its place.
        let is_reusable = (!(pure || anew) || step.cache) && !step.always;
        let key = is_reusable.then(|| content_key(name, &with, step.output.as_deref()));
        let schema = step.output.as_deref();
        // It follows from an earlier output, so that the key is that of what the author wrote.
        if let (Some(again), Value::Object(with)) = (again, &mut with) {
            with.entry("again").or_insert(Value::String(again));
        }
        let reserved = if pure { Meter::new() } else { self.bound(name, &with, schema) };
        let address = self.address(spot);
        Ok(Attempt {
            unsettled: self.unsettled(&address, key),
            address,
            number,
            pause: 0,
            name: name.into(),
            with,
            timeout: self.frame(spot.0).timeout(spot.1),
            schema: step.output.clone(),
            cursor: tries.cursor.clone(),
            key,
            cache: step.cache,
            files: step.files.clone(),
            reserved,
        })
    }

    pub(super) fn tries(&self, (frame, place): Spot) -> Tries {
        match self.frames.get(&frame).map(|frame| &frame.nodes[place]) {
            Some(
                Node::Running(tries)
                | Node::Resting { tries, .. }
                | Node::Cut(tries)
                | Node::Answered { cut: Some(tries), .. },
            ) => tries.clone(),
            _ => Tries::default(),
        }
    }

    /// The step fails. One that has not begun and needs an output that another step does not have is skipped.
    pub(super) fn fail(&mut self, now: Millis, spot: Spot, failure: Failure) -> Result<(), Mismatch> {
        if let Some(reason) = self.skipped_for(spot, &failure) {
            return self.emit(now, self.address(spot), 0, Fact::Skipped { reason });
        }
        let (number, failure) = (self.tries(spot).begun, failure.recordable());
        self.emit(now, self.address(spot), number, Fact::Failed { failure })
    }

    pub(super) fn succeed(&mut self, now: Millis, spot: Spot, output: Value) -> Result<(), Mismatch> {
        let output = match recordable(output) {
            Ok(output) => Output::free(output),
            Err(failure) => return self.fail(now, spot, failure),
        };
        match self.refused(spot, &output) {
            Ok(None) => {}
            Ok(Some(failure)) => return self.call_failed(now, spot, failure),
            Err(unready) => return self.unready(now, spot, unready),
        }
        let output = self.keep(output.value, INLINE);
        let fact = Fact::Succeeded { output, spent: Meter::new(), cached: false };
        self.emit(now, self.address(spot), 0, fact)
    }

    fn cut(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        let address = self.address(spot);
        match self.frame(spot.0).step(spot.1).on_interrupt {
            OnInterrupt::Retry => {
                self.queue(spot);
                Ok(())
            }
            OnInterrupt::Fail => {
                let failure = Failure::permanent("was interrupted and may already have had an effect");
                self.fail(now, spot, failure)
            }
            OnInterrupt::Ask => {
                let text =
                    format!("`{address}` was interrupted and may already have had an effect. Run it again?");
                let choices = vec![Value::from("retry"), Value::from("fail")];
                // An answer about one interruption is none about the next.
                let binds = Some(self.tries(spot).begun.into());
                let question = Question { text, choices, binds, ..Question::default() };
                self.ask(now, spot, question.sealed(&address))
            }
        }
    }

    fn answered(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        let Some(Node::Answered { cut, answer }) = self.frames.get(&spot.0).map(|frame| &frame.nodes[spot.1])
        else {
            return Ok(());
        };
        match (cut, answer) {
            (None, answer) => {
                let answer = answer.clone();
                self.succeed(now, spot, answer)
            }
            (Some(_), Value::String(word)) if word == "retry" => {
                self.queue(spot);
                Ok(())
            }
            (Some(_), _) => {
                self.fail(now, spot, Failure::permanent("was interrupted and must not run again"))
            }
        }
    }
}

/// What the next attempt sees.
pub(super) fn attempt_scope(scope: &Scope, tries: &Tries, now: Millis) -> Scope {
    let error = tries.error.as_ref().map_or_else(Data::none, |failure| failure_data(failure));
    let number = Data::from_value(&Value::from(tries.begun + 1));
    scope.with("attempt", Data::table([("n", number), ("error", error), ("at", moment(now))]))
}

/// The input of an attempt.
#[derive(Clone)]
pub(super) struct Rendered {
    with: Value,
    /// What is added to it because the last output was rejected.
    again: Option<String>,
}

/// The input of an attempt at `step`, of which the last one ended in `error`.
pub(super) fn rendered(step: &Step, error: Option<&Failure>, scope: &Scope) -> Result<Rendered, Failure> {
    let failed = |e: EvalError| eval_failure("template", &e);
    let with = input_of(step)?.1.render(scope).map_err(failed)?;
    let again = match &step.action {
        Action::Verb { again, .. } if error.is_some_and(|error| error.class == Class::Rejected) => {
            let text = again.as_ref().map(|again| again.render_text(scope)).transpose().map_err(failed)?;
            text.map(|text| text.chars().take(MOST_AGAIN).collect())
        }
        _ => None,
    };
    Ok(Rendered { with, again })
}

/// The verb or resource of a step, and its input.
fn input_of(step: &Step) -> Result<(&str, &Tree), Failure> {
    match &step.action {
        Action::Verb { name, with, .. } => Ok((name, with)),
        Action::Hold(hold) => Ok((&hold.resource, &hold.with)),
        _ => Err(super::scope::bug("a control step cannot be attempted")),
    }
}

/// What makes two attempts interchangeable: the verb, its input, and what its output must fit.
fn content_key(name: &str, with: &Value, schema: Option<&Schema>) -> Digest {
    let schema =
        schema.map_or(DigestPart::Value(&Value::Null), |schema| DigestPart::Canonical(schema.canonical()));
    let verb = Value::from(name);
    digest_of_fields([
        ("verb", DigestPart::Value(&verb)),
        ("with", DigestPart::Value(with)),
        ("schema", schema),
    ])
}
