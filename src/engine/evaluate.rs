//! Evaluating what a step says: at once where that is quick, and by order where it is not, so that a time limit or a stop
//! ends it and other steps do not wait.
//!
//! What is evaluated by order is on no record. When its value comes in, the engine does again what needed the value, and
//! finds it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::apply::lane_name;
use super::frame::Spot;
use super::run::Work;
use super::{Mismatch, Order, Run};
use crate::clock::Millis;
use crate::expr::{Allowance, Scope};
use crate::plan::{Plan, Step};
use crate::verb::{Class, Failure};

/// How much work is done at once, in nodes and items: a few milliseconds.
pub(super) const AT_ONCE: u64 = 100_000;
/// The same where nothing can wait for the value: about a tenth of a second.
const AT_MOST: u64 = 1_000_000;
/// The same of all that a run tells about itself when it pauses: about a second.
const AT_PAUSE: u64 = 10_000_000;

/// A value, or why there is none.
pub(super) type Evaluated<T> = Result<T, Unready>;

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Unready {
    /// It was ordered.
    Later,
    /// It cannot be evaluated.
    Failed(Failure),
}

impl From<Failure> for Unready {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A value of any type.
#[derive(Clone)]
pub struct Answer(Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

type Evaluate = dyn Fn(&Scope) -> Result<Answer, Failure> + Send + Sync;

/// An evaluation that takes long: it has all it needs.
#[derive(Clone)]
pub struct Evaluation {
    evaluate: Arc<Evaluate>,
    scope: Scope,
    purpose: Purpose,
}

/// What an evaluation is for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    work: Work,
    what: &'static str,
}

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evaluation({:?})", self.purpose)
    }
}

impl Evaluation {
    /// Its value, or `None` where `allowance` is used up.
    pub fn run(&self, allowance: &Arc<Allowance>) -> Option<Result<Answer, Failure>> {
        let done = (self.evaluate)(&self.scope.clone().within(allowance.clone()));
        // What an evaluation does without a part that was interrupted is no value of it.
        (!allowance.is_used_up()).then_some(done)
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
}

impl Purpose {
    /// The part of the step that is evaluated, for people.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

/// A part of a step, and its value.
type Known = (&'static str, Result<Answer, Failure>);

/// Evaluations of a run that were ordered, and their values.
#[derive(Debug, Default)]
pub(super) struct Evaluations {
    /// What the engine does right now.
    current: Option<Work>,
    ordered: HashMap<Work, &'static str>,
    done: HashMap<Work, Vec<Known>>,
}

impl Evaluations {
    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// Begins `work`, unless it waits for a value.
    pub(super) fn begin(&mut self, work: Work) -> bool {
        if self.ordered.contains_key(&work) {
            return false;
        }
        self.current = Some(work);
        true
    }

    /// Ends `work`: its values are kept only if it waits for another one.
    pub(super) fn end(&mut self, work: Work) {
        self.current = None;
        if !self.ordered.contains_key(&work) {
            self.done.remove(&work);
        }
    }

    fn known(&self, work: Work, what: &str) -> Option<&Result<Answer, Failure>> {
        self.done.get(&work)?.iter().find(|(known, _)| *known == what).map(|(_, value)| value)
    }
}

/// A step of a plan, for evaluations that outlast a look at the run.
#[derive(Clone)]
pub(super) struct PlanStep {
    plan: Arc<Plan>,
    body: usize,
    place: usize,
}

impl std::ops::Deref for PlanStep {
    type Target = Step;

    fn deref(&self) -> &Step {
        &self.plan.bodies[self.body].steps[self.place]
    }
}

/// `scope` for an evaluation whose value cannot be waited for.
pub(super) fn brief(scope: Scope) -> Scope {
    scope.within(Arc::new(Allowance::new(AT_MOST)))
}

/// How much work all evaluations may take together that tell how far a run has come.
pub(super) fn at_pause() -> Arc<Allowance> {
    Arc::new(Allowance::new(AT_PAUSE))
}

impl Run {
    pub(super) fn plan_step(&self, (frame, place): Spot) -> PlanStep {
        let frame = self.frame(frame);
        PlanStep { plan: frame.plan.clone(), body: frame.body.0, place }
    }

    /// The value that `evaluate` finds for `what`. Where that takes long, it is ordered, and what is done now is done
    /// again when it is there: nothing may have been changed before.
    pub(super) fn evaluate<T: Clone + Send + Sync + 'static>(
        &mut self,
        what: &'static str,
        scope: &Scope,
        evaluate: impl Fn(&Scope) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Evaluated<T> {
        let Some(work) = self.evaluations.current else {
            return Ok(evaluate(&brief(scope.clone()))?);
        };
        if let Some(known) = self.evaluations.known(work, what) {
            let Answer(value) = known.clone()?;
            return match value.downcast_ref::<T>() {
                Some(value) => Ok(value.clone()),
                None => Err(super::scope::bug(format!("the value of `{what}` is of another type")).into()),
            };
        }
        let allowance = Arc::new(Allowance::new(self.settings.at_once));
        let value = evaluate(&scope.clone().within(allowance.clone()));
        if !allowance.is_used_up() {
            return Ok(value?);
        }
        let evaluate = Arc::new(move |scope: &Scope| Ok(Answer(Arc::new(evaluate(scope)?))));
        let evaluation = Evaluation { evaluate, scope: scope.clone(), purpose: Purpose { work, what } };
        let timeout = self.timeout_of(work);
        self.evaluations.ordered.insert(work, what);
        self.turn.orders.push(Order::Evaluate { timeout, work: evaluation });
        Err(Unready::Later)
    }

    /// The time limit of the step that `work` is about; the end of the run has none.
    fn timeout_of(&self, work: Work) -> Option<Duration> {
        let (frame, place) = match work {
            // The status of a called pipeline is a matter of the step that calls it.
            Work::Ready(spot) if self.lacks_status(spot) => self.frame(spot.0).owner?,
            Work::Ready(spot) | Work::Start(spot) | Work::Accept(spot) | Work::Advance(spot) => spot,
            Work::Close(frame) => self.frame(frame).owner?,
        };
        self.frame(frame).timeout(place)
    }

    /// Takes in what came of an evaluation. One that was stopped is ordered again when the run is resumed.
    pub(super) fn evaluated(
        &mut self,
        now: Millis,
        Purpose { work, what }: Purpose,
        value: Result<Answer, Failure>,
    ) -> Result<(), Mismatch> {
        if self.evaluations.ordered.remove(&work).is_none() {
            return Ok(());
        }
        let stopped = matches!(&value, Err(failure) if failure.class == Class::Cancelled);
        if stopped && !matches!(work, Work::Accept(_)) {
            self.evaluations.done.remove(&work);
            return Ok(());
        }
        self.evaluations.done.entry(work).or_default().push((what, value));
        match work {
            Work::Accept(spot) => return self.accept_again(now, spot),
            Work::Start(spot) => match self.frames.get(&spot.0).map(|frame| lane_name(frame, spot.1)) {
                Some(lane) => self.lane(&lane).queue.push_front(spot),
                None => drop(self.evaluations.done.remove(&work)),
            },
            other => self.work.push_front(other),
        }
        Ok(())
    }

    /// A step fails, unless the value that is missing was ordered.
    pub(super) fn unready(&mut self, now: Millis, spot: Spot, unready: Unready) -> Result<(), Mismatch> {
        match unready {
            Unready::Later => Ok(()),
            Unready::Failed(failure) => self.fail(now, spot, failure),
        }
    }
}
