//! Steps without an output: why a step is skipped because of another one, and which failures are handled.

use super::frame::{Frame, FrameId, Spot};
use super::node::Node;
use super::{Run, SkipReason};
use crate::id::StepId;
use crate::plan::{Accepts, BodyId, Dep, Step};
use crate::verb::{Cause, Class, Failure};

/// A step that will not run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skip {
    /// The step of the same body that is the reason.
    after: Option<usize>,
    /// The failure that it passes on.
    failure: Option<Origin>,
}

/// The failure with which the skipping of steps began.
#[derive(Clone, Copy, Debug)]
struct Origin {
    class: Class,
    /// Whether it was that of a leaf step.
    is_leaf: bool,
}

impl Frame {
    /// The failure of the step at `place`, its own or the one because of which it was skipped.
    fn failure(&self, place: usize) -> Option<Origin> {
        match &self.nodes[place] {
            Node::Failed(failure, _) => {
                Some(Origin { class: failure.class, is_leaf: self.step(place).is_leaf() })
            }
            Node::Skipped(skip) => skip.failure,
            _ => None,
        }
    }

    /// Whether a step that waits for `place` and accepts these endings runs after it.
    pub(super) fn fits(&self, place: usize, accepts: Accepts) -> bool {
        match (&self.nodes[place], self.failure(place)) {
            (_, Some(failure)) => accepts.failure(failure.class, failure.is_leaf),
            (Node::Skipped(_), None) => accepts.skip(),
            _ => true,
        }
    }

    fn after(&self, place: usize) -> SkipReason {
        let step = self.step(place).id.to_string();
        match &self.nodes[place] {
            Node::Failed(..) => SkipReason::AfterFailure { step },
            _ => SkipReason::AfterSkip { step },
        }
    }

    /// Whether `failure` of the step at `place` changes nothing about how the body ends: `fails` says so, or a step or an
    /// expression that closes the body accepts it. A step that was skipped because of it has not accepted it, but those that
    /// read that step may.
    pub(super) fn is_handled(&self, place: usize, failure: &Failure) -> bool {
        let (body, is_leaf) = (self.body(), self.step(place).is_leaf());
        let fits = |accepts: Accepts| accepts.failure(failure.class, is_leaf);
        let mut open = vec![place];
        while let Some(place) = open.pop() {
            if fits(body.accepts[place]) {
                return true;
            }
            for follower in &body.followers[place] {
                let step = &body.steps[*follower];
                match &self.nodes[*follower] {
                    _ if step.always => {}
                    Node::Skipped(skip) if skip.after == Some(place) => open.push(*follower),
                    _ if step.deps.iter().any(|dep| dep.step == place && fits(dep.accepts)) => return true,
                    _ => {}
                }
            }
        }
        self.step(place).fails_none
    }
}

impl Run {
    /// Why the step at `spot` is skipped: something that it waits for has ended in a way that it does not accept. What its
    /// readers accept least comes first, so that one skip does not conceal the failure behind another.
    pub(super) fn culprit(&self, (frame, _): Spot, step: &Step) -> Option<SkipReason> {
        let frame = self.frame(frame);
        let culprits = step.deps.iter().filter(|dep| !frame.fits(dep.step, dep.accepts));
        let rank = |dep: &&Dep| match frame.failure(dep.step) {
            Some(Origin { class, is_leaf }) => usize::from(Accepts::ABSENCE.failure(class, is_leaf)),
            None => 2,
        };
        culprits.min_by_key(rank).map(|dep| frame.after(dep.step))
    }

    /// Why the step at `spot` is skipped instead of failing with `failure`: it has not begun, and needs an output that another
    /// step does not have. A failure of a step around its body is not passed on in this way: what is around has accepted it.
    pub(super) fn skipped_for(&self, spot: Spot, failure: &Failure) -> Option<SkipReason> {
        let name = failure.detail["step"].as_str().filter(|_| failure.cause == Some(Cause::NoOutput))?;
        if !self.frame(spot.0).nodes[spot.1].is_waiting() {
            return None;
        }
        let (id, place) = self.named(spot.0, name)?;
        let frame = self.frame(id);
        (id == spot.0 || frame.failure(place).is_none()).then(|| frame.after(place))
    }

    /// What a step in frame `id` is that was skipped for `reason`.
    pub(super) fn skip(&self, id: FrameId, reason: &SkipReason) -> Skip {
        let (SkipReason::AfterFailure { step } | SkipReason::AfterSkip { step }) = reason else {
            return Skip::default();
        };
        let Some((at, place)) = self.named(id, step) else { return Skip::default() };
        Skip { after: (at == id).then_some(place), failure: self.frame(at).failure(place) }
    }

    /// The step instance that `name` means in frame `id`: in its body, or in one around it.
    fn named(&self, mut id: FrameId, name: &str) -> Option<Spot> {
        loop {
            let frame = self.frame(id);
            if let Some(place) = frame.body().names.get(&StepId::new(name)) {
                return Some((id, *place));
            }
            if frame.body == BodyId::ROOT {
                return None;
            }
            id = frame.owner?.0;
        }
    }

    /// Why the step at `spot` has no output: the step with which that began, and its failure if it failed.
    pub(super) fn cause_of_absence(&self, (id, mut place): Spot) -> Option<(&Step, Option<&Failure>)> {
        let frame = self.frame(id);
        loop {
            match &frame.nodes[place] {
                Node::Failed(failure, _) => return Some((frame.step(place), Some(failure.as_ref()))),
                Node::Skipped(Skip { after: Some(before), .. }) => place = *before,
                Node::Skipped(_) => return Some((frame.step(place), None)),
                _ => return None,
            }
        }
    }
}
