//! Steps that run because the run pauses, and what they and the outputs see then: outputs so far.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::evaluate::at_pause;
use super::frame::{FrameId, Spot};
use super::node::{Node, Tries};
use super::report::{failed_check, misfit};
use super::scope::{eval_failure, failure_data};
use super::slot::{INLINE, Slot};
use super::turn::{attempt_scope, rendered};
use super::{Attempt, Fact, Mismatch, Order, Pause, Payload, Run, RunStatus};
use crate::clock::Millis;
use crate::expr::{Allowance, Data, Expr, Scope};
use crate::id::{Address, StepId};
use crate::meter::Meter;
use crate::plan::{Action, Sees, Step};
use crate::value::Value;
use crate::verb::{BlobError, Class, Failure, Output};

/// The most time that a step has in a pause.
const MOST: Duration = Duration::from_secs(30);

/// What runs because of the pause that the run is in.
#[derive(Debug, Default)]
pub(super) struct AtPause {
    /// How many pauses there were.
    number: u32,
    /// Whether nothing more is begun in this one.
    stopped: bool,
    /// Steps of the pipeline's own body, by place.
    steps: HashMap<usize, State>,
}

/// Where a step stands in this pause.
#[derive(Debug)]
enum State {
    Running,
    /// It does not run in this pause.
    PassedOver,
    Done(Slot),
    Failed(Arc<Failure>),
}

/// Whether what a step waits for is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    Yes,
    Later,
    No,
}

impl AtPause {
    pub(super) fn begin(&mut self) {
        *self = Self { number: self.number + 1, ..Self::default() };
    }

    pub(super) fn end(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn is_running(&self) -> bool {
        self.steps.values().any(|state| matches!(state, State::Running))
    }
}

impl Run {
    /// Orders the steps that are to run because of the pause, once nothing else runs any more.
    pub(super) fn order_on_pause(&mut self, now: Millis) -> Result<(), Mismatch> {
        let is_paused = matches!(self.status, RunStatus::Paused { .. });
        if !is_paused || self.running > 0 || self.releasing > 0 || self.at_pause.stopped {
            return Ok(());
        }
        let Some(root) = self.by_address.get(&Address::root()).copied() else { return Ok(()) };
        let plan = self.frame(root).plan.clone();
        let body = &plan.bodies[crate::plan::BodyId::ROOT.0];
        for place in body.order.iter().copied() {
            if !self.runs_at_pause(&body.steps[place])
                || self.at_pause.steps.contains_key(&place)
                || self.frame(root).nodes[place].has_ended()
            {
                continue;
            }
            match self.ready_at_pause((root, place)) {
                Ready::Later => {}
                Ready::No => drop(self.at_pause.steps.insert(place, State::PassedOver)),
                Ready::Yes => self.begin_at_pause(now, (root, place), &body.steps[place])?,
            }
        }
        Ok(())
    }

    fn ready_at_pause(&self, (root, place): Spot) -> Ready {
        let frame = self.frame(root);
        let address = self.address((root, place));
        if let RunStatus::Paused { pause: Pause::Barrier, reasons, .. } = &self.status
            && reasons.iter().any(|reason| reason.address == address)
        {
            return Ready::No;
        }
        for dep in &frame.step(place).deps {
            let is_ready = match (&frame.nodes[dep.step], self.at_pause.steps.get(&dep.step)) {
                (Node::Done(_), _) | (_, Some(State::Done(_))) => true,
                (Node::Failed(..) | Node::Skipped(_), _) => frame.fits(dep.step, dep.accepts),
                (_, Some(State::Failed(failure))) => {
                    dep.accepts.failure(failure.class, frame.step(dep.step).is_leaf())
                }
                (_, Some(State::PassedOver)) => dep.accepts.skip(),
                (_, Some(State::Running)) => return Ready::Later,
                (_, None) if self.runs_at_pause(frame.step(dep.step)) => return Ready::Later,
                (_, None) => dep.accepts.skip() || self.is_there_so_far((root, dep.step), dep.items),
            };
            if !is_ready {
                return Ready::No;
            }
        }
        Ready::Yes
    }

    /// Whether an open step has left what is read of it: its output so far, or its `items`.
    fn is_there_so_far(&self, spot: Spot, items: bool) -> bool {
        if items {
            return self.is_open_each(spot);
        }
        self.left_so_far(spot, &at_pause()).is_some()
    }

    fn begin_at_pause(&mut self, now: Millis, spot: Spot, step: &Step) -> Result<(), Mismatch> {
        match self.attempt_at_pause(now, spot, step) {
            Ok(Some(attempt)) => {
                self.at_pause.steps.insert(spot.1, State::Running);
                self.turn.orders.push(Order::Run(attempt));
                Ok(())
            }
            Ok(None) => {
                self.at_pause.steps.insert(spot.1, State::PassedOver);
                Ok(())
            }
            Err(failure) => self.end_at_pause(now, &step.id, Err(failure)),
        }
    }

    /// The attempt that is made at the step because of the pause, if its condition holds.
    fn attempt_at_pause(&self, now: Millis, spot: Spot, step: &Step) -> Result<Option<Attempt>, Failure> {
        let Action::Verb { .. } = &step.action else { return Ok(None) };
        let scope = self.scope_at_pause(spot.0, step)?;
        if let Some(when) = &step.when
            && !when.eval_bool(&scope).map_err(|e| eval_failure("when", &e))?
        {
            return Ok(None);
        }
        let tries = Tries::default();
        let with = rendered(step, None, &attempt_scope(&scope, &tries, now))?;
        let attempt = self.attempt_with(spot, step, &tries, with)?;
        let timeout = Some(attempt.timeout.map_or(MOST, |timeout| timeout.min(MOST)));
        let pause = self.at_pause.number;
        let own =
            Attempt { number: 0, pause, timeout, key: None, cache: false, reserved: Meter::new(), ..attempt };
        Ok(Some(own))
    }

    /// Takes in what came of an attempt that was made because of the pause.
    pub(super) fn ran_at_pause(
        &mut self,
        now: Millis,
        address: &Address,
        result: Result<Output<Value>, Failure>,
    ) -> Result<(), Mismatch> {
        let Some(spot) = self.locate(address) else { return Ok(()) };
        if !matches!(self.at_pause.steps.get(&spot.1), Some(State::Running)) {
            return Ok(());
        }
        let accepted = result.and_then(|output| {
            let step = self.plan_step(spot);
            let scope = self.scope_at_pause(spot.0, &step)?;
            let scope = scope.with("output", Data::from_value(&output.value));
            let refused = match misfit(&step, &output) {
                Some(refused) => Some(refused),
                None => failed_check(&step, &output, &scope)?,
            };
            refused.map_or(Ok(output), Err)
        });
        match accepted {
            Err(failure) if failure.class == Class::Cancelled && self.at_pause.stopped => {
                self.at_pause.steps.insert(spot.1, State::PassedOver);
                Ok(())
            }
            result => {
                let step = self.frame(spot.0).step(spot.1).id.clone();
                self.end_at_pause(now, &step, result.map(|output| output.value))
            }
        }
    }

    fn end_at_pause(
        &mut self,
        now: Millis,
        step: &StepId,
        result: Result<Value, Failure>,
    ) -> Result<(), Mismatch> {
        let (output, failure) = match result {
            Ok(output) => (Some(self.keep(output, INLINE)), None),
            Err(failure) => (None, Some(failure)),
        };
        let fact = Fact::PausedStep { step: step.to_string(), output, failure };
        self.emit(now, Address::root(), 0, fact)
    }

    pub(super) fn apply_paused_step(
        &mut self,
        step: &str,
        output: Option<&Payload>,
        failure: Option<&Failure>,
    ) -> Result<(), String> {
        let root = self.by_address.get(&Address::root()).copied().ok_or("the run has not begun")?;
        let place = self.frame(root).body().names.get(&StepId::new(step)).copied();
        let place = place.ok_or_else(|| format!("there is no step `{step}`"))?;
        let state = match (output, failure) {
            (Some(output), _) => State::Done(Slot::new(output.clone(), None)),
            (None, Some(failure)) => State::Failed(Arc::new(failure.clone())),
            (None, None) => State::PassedOver,
        };
        self.at_pause.steps.insert(place, state);
        Ok(())
    }

    /// What an open step has left so far.
    fn left_so_far(&self, spot: Spot, within: &Arc<Allowance>) -> Option<Value> {
        self.loop_so_far(spot, within)
            .or_else(|| self.hold_so_far(spot, within))
            .or_else(|| self.call_so_far(spot, within))
    }

    /// What the outputs of the run come to so far, without those that cannot be told yet.
    pub fn outputs_so_far(&self) -> Value {
        match self.by_address.get(&Address::root()).copied() {
            Some(root) => self.outputs_in(root, &at_pause()),
            None => Value::Object(serde_json::Map::new()),
        }
    }

    /// The same of the pipeline whose own body is `frame`.
    pub(super) fn outputs_in(&self, frame: FrameId, within: &Arc<Allowance>) -> Value {
        let mut outputs = serde_json::Map::new();
        let plan = &self.frame(frame).plan;
        let Ok(scope) = self.scope_so_far(frame, &plan.sees, within) else { return outputs.into() };
        for (name, expr) in &plan.outputs {
            if let Ok(data) = expr.eval(&scope) {
                outputs.insert(name.clone(), data.to_value());
            }
        }
        outputs.into()
    }

    /// What is seen in frame `id`, with the outputs so far of steps that have not ended. All evaluations that this takes, and
    /// those in the scope, together take no more than `within`.
    pub(super) fn scope_so_far(
        &self,
        id: FrameId,
        sees: &Sees,
        within: &Arc<Allowance>,
    ) -> Result<Scope, Failure> {
        let mut steps = Vec::with_capacity(sees.len());
        for seen in sees.iter() {
            let at = self.outward(id, seen.up)?;
            let entry = self.entry_so_far((at, seen.step), within).map_err(Failure::from)?;
            steps.push((self.frame(at).step(seen.step).id.to_string(), Data::table(entry)));
        }
        let names = &self.frame(id).names;
        let scope = names.with("run", self.run_names(id, None)).with("steps", Data::table(steps));
        Ok(scope.within(within.clone()))
    }

    /// What `result` comes to in frame `id` on what its steps have left so far. `None` if it needs more than that.
    pub(super) fn result_so_far(
        &self,
        id: FrameId,
        (result, sees): (Option<&Expr>, &Sees),
        within: &Arc<Allowance>,
    ) -> Option<Value> {
        let result = result?;
        let scope = self.scope_so_far(id, sees, within).ok()?;
        Some(result.eval(&scope).ok()?.to_value())
    }

    fn entry_so_far(
        &self,
        (id, place): Spot,
        within: &Arc<Allowance>,
    ) -> Result<Vec<(&'static str, Data)>, BlobError> {
        let frame = self.frame(id);
        let node = &frame.nodes[place];
        let mut entry = self.entry((id, place))?;
        if node.has_ended() {
            return Ok(entry);
        }
        let mut set = |name: &'static str, data: Data| {
            entry.retain(|(known, _)| *known != name);
            entry.push((name, data));
        };
        let on = Data::from_value(&Value::Bool(true));
        // Only steps of the pipeline itself run because of a pause.
        let ran = self.at_pause.steps.get(&place).filter(|_| frame.owner.is_none());
        match ran {
            Some(State::Done(slot)) => {
                set("ok", on);
                set("output", slot.data(&self.shelf())?);
            }
            Some(State::Failed(failure)) => {
                set("failed", on);
                set("error", failure_data(failure));
            }
            Some(State::PassedOver) => set("skipped", on),
            Some(State::Running) | None => {
                if let Some(output) = self.left_so_far((id, place), within) {
                    set("output", Data::from_value(&output));
                }
                if let Some((items, failed)) = self.items_so_far((id, place), within) {
                    set("items", items);
                    set("failed", failed);
                }
            }
        }
        Ok(entry)
    }
}
