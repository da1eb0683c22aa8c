//! Facts change the run here and nowhere else, live and when a journal is folded.

use std::sync::Arc;

use super::control;
use super::frame::{Frame, Spot};
use super::node::Node;
use super::run::{Lane, Work};
use super::{Fact, Known, Mismatch, Pause, Record, Run, RunStatus, Settings};
use crate::clock::Millis;
use crate::expr::{Data, Scope};
use crate::id::{Address, AddressPart, Instance, RunId, StepId};
use crate::plan::{BodyId, Plan};
use crate::verb::Blobs;

impl Run {
    /// The run that `records` tell of.
    pub fn fold<'a>(
        id: RunId,
        plan: Arc<Plan>,
        blobs: Arc<dyn Blobs>,
        settings: Settings,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<Self, Mismatch> {
        let mut run = Self::new(id, plan, blobs, settings);
        for record in records {
            run.apply(record)?;
        }
        Ok(run)
    }

    /// Takes in one fact.
    pub fn apply(&mut self, record: &Record) -> Result<(), Mismatch> {
        self.wall.hear(record.at, &record.fact);
        let mismatch = |message: String| Mismatch { address: record.address.clone(), message };
        if record.address.as_str().is_empty() {
            return self.apply_to_run(record.at, &record.fact).map_err(mismatch);
        }
        let (spot, instance) = self
            .find(&record.address)
            .ok_or_else(|| mismatch("there is no such step, or it has ended already".to_owned()))?;
        if let Some(spent) = record.fact.spent().filter(|spent| !spent.is_empty()) {
            let at = self.booked_at(record).clone();
            self.book(self.locate(&at).or(Some(spot)), spent);
        }
        self.note_unsettled(record);
        match instance {
            Instance::Only => self.apply_to_step(spot, record),
            Instance::Round(_) | Instance::Item(_) => self.apply_to_control(spot, instance, record),
        }
        .map_err(mismatch)
    }

    fn apply_to_run(&mut self, at: Millis, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::RunStarted { plan, inputs, seed, at_start, .. } => {
                if *plan != self.plan.digest {
                    return Err(format!(
                        "it was written by plan {}, this is {}",
                        plan.short(),
                        self.plan.digest.short()
                    ));
                }
                self.seed = *seed;
                self.inputs = inputs.clone();
                self.started_at = Some(at);
                self.refresh_sums();
                let inputs = super::slot::load(inputs, self.shelf().as_ref()).map_err(|e| e.to_string())?;
                let inputs = Data::from_arc(inputs);
                self.at_start = Arc::new(self.plan.at_start_recorded(at_start, &inputs));
                let names = Scope::new().with("inputs", inputs);
                let place = (None, Instance::Only, Address::root());
                let frame = self.open_frame(self.plan.clone(), BodyId::ROOT, place, names);
                self.settings_of(frame, self.at_start.clone());
            }
            Fact::Paused { pause, message, reasons } => {
                self.at_pause.begin();
                self.status =
                    RunStatus::Paused { pause: *pause, message: message.clone(), reasons: reasons.clone() };
            }
            Fact::PausedStep { step, output, failure } => {
                self.apply_paused_step(step, output.as_ref(), failure.as_ref())?;
            }
            Fact::Resumed => {
                self.at_pause.end();
                self.status = RunStatus::Going;
                self.unblock(at, None);
            }
            Fact::Finished { status, code, outputs, .. } => {
                let outputs = super::slot::load(outputs, self.shelf().as_ref()).map_err(|e| e.to_string())?;
                self.status = RunStatus::Finished { status: status.clone(), code: *code, outputs };
            }
            Fact::Limited { caps, .. } => {
                self.settings.caps.extend(caps.clone());
                self.unblock(at, Some(Pause::Budget));
                self.requeue_unpaid();
            }
            Fact::Accepted(_) | Fact::Parked(_) => {
                return Err(format!("it has a fact `{}`, which needs a newer atoll", fact.word()));
            }
            other => return Err(format!("a run cannot have {}", other.word())),
        }
        Ok(())
    }

    fn apply_to_step(&mut self, spot: Spot, record: &Record) -> Result<(), String> {
        self.note_work(spot, record);
        if control::owns(&record.fact) {
            return self.apply_to_control(spot, Instance::Only, record);
        }
        let output = matches!(record.fact, Fact::Failed { .. }).then(|| self.loop_at_failure(spot)).flatten();
        let skip = match &record.fact {
            Fact::Skipped { reason } => Some(self.skip(spot.0, reason)),
            _ => None,
        };
        let frame = self.frames.get_mut(&spot.0).ok_or("its surroundings have ended already")?;
        let node = std::mem::replace(&mut frame.nodes[spot.1], Node::Waiting);
        let was_running = matches!(node, Node::Running(_));
        let before = node.reserved().cloned().unwrap_or_default();
        if let Some(until) = node.timer() {
            self.timers.remove(&(until, spot));
        }
        let inside = match &node {
            Node::Open(control) => control.frames(),
            _ => Vec::new(),
        };
        let mut node = node.after(record)?;
        match &mut node {
            Node::Failed(_, kept) => kept.output = output,
            Node::Skipped(skipped) => *skipped = skip.unwrap_or_default(),
            _ => {}
        }
        if let Fact::Answered { answer, by, question, .. } = &record.fact {
            let known = Known { answer: answer.clone(), by: by.clone(), at: record.at, question: *question };
            self.answers.insert(record.address.clone(), known);
        }
        let (is_running, ended) = (matches!(node, Node::Running(_)), node.has_ended());
        if let Some(until) = node.timer() {
            self.timers.insert((until, spot));
        }
        if matches!(node, Node::Cut(_) | Node::Answered { .. }) {
            self.work.push_back(Work::Ready(spot));
        }
        let after = node.reserved().cloned().unwrap_or_default();
        frame.nodes[spot.1] = node;
        self.set_aside(spot, &before, &after);
        if was_running != is_running {
            self.count_running(spot, is_running);
        }
        if matches!(record.fact, Fact::Faltered { .. }) {
            inside.iter().for_each(|frame| self.drop_frame(*frame));
        }
        if ended {
            self.note_late(spot);
            inside.into_iter().for_each(|frame| self.close_frame(frame));
            self.ended(spot);
        }
        Ok(())
    }

    /// Tells those who waited for a step that it has ended.
    fn ended(&mut self, (id, place): Spot) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        frame.left -= 1;
        frame.lets.forget(place);
        if matches!(frame.nodes[place], Node::Failed(..)) {
            frame.failed += 1;
        } else if let Some(items) = frame.nodes[place].results().filter(|_| !frame.step(place).fails_none) {
            frame.kept += u64::from(items.failures());
        }
        let plan = frame.plan.clone();
        for follower in &plan.bodies[frame.body.0].followers[place] {
            frame.waits[*follower] -= 1;
            if frame.waits[*follower] == 0 {
                self.work.push_back(Work::Ready((id, *follower)));
            }
        }
        if frame.left == 0 {
            self.work.push_back(Work::Close(id));
        }
    }

    fn count_running(&mut self, spot: Spot, is_running: bool) {
        if is_running {
            let name = lane_name(&self.frames[&spot.0], spot.1);
            self.running += 1;
            self.lane(&name).running += 1;
        } else if let Some(frame) = self.frames.remove(&spot.0) {
            self.leave_lane(&frame, spot.1);
            self.frames.insert(spot.0, frame);
        }
    }

    pub(super) fn leave_lane(&mut self, frame: &Frame, place: usize) {
        let name = lane_name(frame, place);
        self.running -= 1;
        self.lane(&name).running -= 1;
    }

    pub(super) fn lane(&mut self, name: &str) -> &mut Lane {
        if !self.lanes.contains_key(name) {
            self.lanes.insert(name.to_owned(), Lane { limit: self.width(name), ..Lane::default() });
        }
        &mut self.lanes[name]
    }

    /// How many attempts may be under way in a lane.
    pub(super) fn width(&self, lane: &str) -> usize {
        let own = self.at_start.width(lane).or_else(|| self.plan.lanes.get(lane).copied());
        let limit = own.or_else(|| self.settings.lanes.get(lane).copied());
        limit.unwrap_or(self.settings.lane).max(1)
    }

    /// Finds what an address stands for, and opens the item frame it stands in where the journal is ahead.
    fn find(&mut self, address: &Address) -> Option<(Spot, Instance)> {
        if let Some(spot) = self.locate(address) {
            return Some((spot, Instance::Only));
        }
        let parts = address.parts()?;
        let (last, outer) = parts.split_last()?;
        let mut at = Address::root();
        for part in outer {
            at = self.inside(&at, *part)?;
        }
        let frame = *self.by_address.get(&at)?;
        let place = *self.frames[&frame].body().names.get(&StepId::new(last.step))?;
        if let Instance::Item(index) = last.instance {
            self.open_items_up_to((frame, place), index);
        }
        Some(((frame, place), last.instance))
    }

    fn inside(&mut self, at: &Address, part: AddressPart<'_>) -> Option<Address> {
        let step = StepId::new(part.step);
        let outer = at.step(&step);
        let inner = match part.instance {
            Instance::Only => outer,
            Instance::Round(round) => outer.round(round),
            Instance::Item(index) => outer.item(index),
        };
        if !self.by_address.contains_key(&inner)
            && let Instance::Item(index) = part.instance
        {
            let frame = *self.by_address.get(at)?;
            let place = *self.frames[&frame].body().names.get(&step)?;
            self.open_items_up_to((frame, place), index);
        }
        self.by_address.contains_key(&inner).then_some(inner)
    }
}

/// The lane that a step counts against.
pub(super) fn lane_name(frame: &Frame, place: usize) -> String {
    frame.lane(place).to_owned()
}
