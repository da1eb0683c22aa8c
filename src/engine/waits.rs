//! What steps wait for, and when that stops the run: only once nothing else can proceed.

use super::frame::{FrameId, Spot};
use super::node::Node;
use super::{Fact, Mismatch, Order, Pause, Question, Reason, Run, RunStatus};
use crate::clock::Millis;
use crate::id::{Address, Instance};
use crate::plan::Action;
use crate::value::{Digest, Value};
use crate::verb::{Class, Failure};

/// A run whose steps only wait for a deadline stays up no longer than this, in milliseconds, and pauses instead.
const PATIENCE: Millis = 60_000;

/// An answer on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The answer.
    pub answer: Value,
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: Millis,
    /// Digest of the question.
    pub question: Option<Digest>,
}

/// Why an answer is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No question waits at that address.
    NotAsked,
    /// The question has its answer.
    Answered(Known),
    /// The question that waits there is another one.
    Changed,
    /// The question was open until this moment.
    Late(Millis),
    /// The answer does not fit the question.
    Unfit(String),
}

impl Run {
    /// Why `answer` to the question at `address` that was given at the moment `at` is refused, `None` if it can be
    /// taken.
    pub fn refuses(
        &self,
        address: &Address,
        question: Option<Digest>,
        answer: &Value,
        at: Millis,
    ) -> Option<Refusal> {
        let node = self.locate(address).map(|spot| &self.frame(spot.0).nodes[spot.1]);
        let Some(Node::Asking { question: asked, .. }) = node else {
            return Some(self.answers.get(address).cloned().map_or(Refusal::NotAsked, Refusal::Answered));
        };
        if question.is_some_and(|digest| asked.digest != Some(digest)) {
            return Some(Refusal::Changed);
        }
        if let Some(until) = asked.until.filter(|until| *until <= at) {
            return Some(Refusal::Late(until));
        }
        asked.refuses(answer).map(Refusal::Unfit)
    }

    /// Whether anything runs that ends by itself: attempts, resources that are being released, and steps that run
    /// because of a pause.
    pub fn is_busy(&self) -> bool {
        self.running > 0 || self.releasing > 0 || self.at_pause.is_running()
    }

    /// Pauses the run if steps wait and nothing else can proceed.
    pub(super) fn pause_if_stuck(&mut self, now: Millis) -> Result<(), Mismatch> {
        if self.status != RunStatus::Going || self.can_proceed(now) {
            return Ok(());
        }
        let reasons = self.reasons();
        let Some(first) = reasons.first() else { return Ok(()) };
        let message = match reasons.len() {
            1 => first.message.clone(),
            n => format!("{} (and {} more)", first.message, n - 1),
        };
        let fact = Fact::Paused { pause: first.pause, message, reasons };
        self.emit(now, Address::root(), 0, fact)
    }

    fn can_proceed(&self, now: Millis) -> bool {
        self.is_busy()
            || !self.computing.is_empty()
            || !self.evaluations.is_empty()
            || !self.reading.is_empty()
            || !self.work.is_empty()
            || !self.claims.is_empty()
            || self.timers.iter().any(|timer| self.will_ring(now, *timer))
            || self.nodes().any(|(_, node)| matches!(node, Node::Asking { put: true, .. }))
    }

    /// Whether a timer is waited for: that of an attempt always is, a deadline only if it is near.
    fn will_ring(&self, now: Millis, (at, spot): (Millis, Spot)) -> bool {
        let node = self.frames.get(&spot.0).map(|frame| &frame.nodes[spot.1]);
        !matches!(node, Some(Node::Asking { .. })) || at.saturating_sub(now) <= PATIENCE
    }

    fn nodes(&self) -> impl Iterator<Item = (Spot, &Node)> {
        self.frames
            .iter()
            .flat_map(|(id, frame)| frame.nodes.iter().enumerate().map(|(place, node)| ((*id, place), node)))
    }

    /// Every step that waits, by what it waits for and by address.
    fn reasons(&self) -> Vec<Reason> {
        let waiting = self.nodes().filter_map(|(spot, node)| {
            let (pause, message) = match node {
                Node::Blocked { tries, pause } => {
                    (*pause, tries.error.as_ref().map(|failure| told(failure)).unwrap_or_default())
                }
                Node::Asking { question, .. } => (Pause::Waiting, format!("asks: {}", question.text)),
                _ => return None,
            };
            Some((pause, self.address(spot), message))
        });
        let unpaid = self.unpaid.iter().filter(|(spot, _)| self.frames.contains_key(&spot.0));
        let unpaid = unpaid.map(|(spot, why)| (Pause::Budget, self.address(*spot), why.clone()));
        let blocked = self.blocked.iter().filter_map(|(spot, why)| {
            Some((Pause::Budget, self.frames.get(&spot.0)?.address.clone(), why.clone()))
        });
        let mut reasons: Vec<Reason> = waiting
            .chain(unpaid)
            .chain(blocked)
            .map(|(pause, address, what)| {
                let message = if pause == Pause::Waiting {
                    format!("`{address}` {what}")
                } else if what.starts_with('`') || what.starts_with("round ") {
                    what
                } else {
                    format!("`{address}`: {what}")
                };
                Reason { pause, address, message }
            })
            .collect();
        reasons.sort_by_cached_key(|reason| (reason.pause, by_number(&reason.address)));
        reasons.dedup_by(|a, b| (a.pause, &a.address) == (b.pause, &b.address));
        reasons
    }

    /// Steps that wait for `pause`, or for anything, try again from `at` on.
    pub(super) fn unblock(&mut self, at: Millis, only: Option<Pause>) {
        for (id, frame) in &mut self.frames {
            for (place, node) in frame.nodes.iter_mut().enumerate() {
                if let Node::Blocked { tries, pause } = node
                    && only.is_none_or(|only| only == *pause)
                {
                    *node = Node::Resting { tries: std::mem::take(tries), until: at };
                    self.timers.insert((at, (*id, place)));
                }
            }
        }
    }

    /// Puts a question and orders its answer. The same question was answered before if what was held was lost since.
    pub(super) fn ask(&mut self, now: Millis, spot: Spot, question: Question) -> Result<(), Mismatch> {
        let address = self.address(spot);
        let known = self
            .answers
            .get(&address)
            .filter(|known| known.question.is_some() && known.question == question.digest);
        let (known, question) = (known.cloned(), Box::new(question));
        self.emit(now, address.clone(), 0, Fact::Asked(question.clone()))?;
        if let Some(Known { answer, by, question, .. }) = known {
            let note = Some("answered before".to_owned());
            return self.emit(now, address, 0, Fact::Answered { answer, by, question, note });
        }
        self.turn.orders.push(Order::Ask { address, question });
        Ok(())
    }

    /// A question is looked at again: its deadline has passed, or the run was resumed.
    pub(super) fn ask_again(&mut self, now: Millis, spot: Spot) -> Result<(), Mismatch> {
        let address = self.address(spot);
        let Some(Node::Asking { question, put, .. }) = self.node_mut(spot) else { return Ok(()) };
        let question = question.clone();
        if question.until.is_some_and(|until| until <= now) {
            return self.pass_deadline(now, spot, &question);
        }
        if !std::mem::replace(put, true) {
            self.turn.orders.push(Order::Ask { address, question });
        }
        Ok(())
    }

    fn pass_deadline(&mut self, now: Millis, spot: Spot, question: &Question) -> Result<(), Mismatch> {
        let address = self.address(spot);
        if let Some(answer) = question.at_deadline.clone().or_else(|| question.default.clone()) {
            let by = "deadline".to_owned();
            return self.emit(
                now,
                address,
                0,
                Fact::Answered { answer, by, question: question.digest, note: None },
            );
        }
        let within = match &self.frame(spot.0).step(spot.1).action {
            Action::Ask(ask) => ask.deadline.map(|span| format!(" within {} s", span.as_secs_f64())),
            _ => None,
        };
        let message = format!("no answer{}", within.unwrap_or_default());
        self.fail(now, spot, Failure::new(Class::Timeout, message))
    }

    /// No person can be asked: the question takes its default, or waits.
    pub(super) fn unasked(&mut self, now: Millis, address: &Address) -> Result<(), Mismatch> {
        let Some(spot) = self.locate(address) else { return Ok(()) };
        let Some(Node::Asking { question, put, .. }) = self.node_mut(spot) else { return Ok(()) };
        *put = false;
        let (answer, question) = (question.default.clone(), question.digest);
        match answer {
            Some(answer) => {
                let by = "default".to_owned();
                self.emit(now, address.clone(), 0, Fact::Answered { answer, by, question, note: None })
            }
            None => Ok(()),
        }
    }

    /// Money was freed or granted: steps that could not be paid are looked at again.
    pub(super) fn requeue_unpaid(&mut self) {
        for (spot, _) in std::mem::take(&mut self.unpaid) {
            if self.frames.contains_key(&spot.0) {
                self.queue(spot);
            }
        }
    }

    /// Forgets what belongs to a frame that is gone.
    pub(super) fn forget_unpaid(&mut self, id: FrameId) {
        self.unpaid.retain(|(spot, _)| spot.0 != id);
    }
}

/// An address in an order in which item 10 comes after item 9.
fn by_number(address: &Address) -> Vec<(String, u32)> {
    let number = |instance| match instance {
        Instance::Only => 0,
        Instance::Round(n) | Instance::Item(n) => n,
    };
    let parts = address.parts().unwrap_or_default();
    parts.into_iter().map(|part| (part.step.to_owned(), number(part.instance))).collect()
}

/// A failure on one line, with what to do about it.
fn told(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{}: {hint}", failure.message),
        None => failure.message.clone(),
    }
}
