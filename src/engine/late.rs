//! Steps that run when everything else has ended, whatever happened: what they see, and that they change nothing.

use super::control::{end, end_of};
use super::evaluate::{Evaluated, at_pause};
use super::frame::{FrameId, Spot};
use super::node::Node;
use super::{LateFailure, Pause, Run, RunStatus};
use crate::expr::Scope;
use crate::id::Address;
use crate::plan::{Sees, Step};
use crate::value::Value;
use crate::verb::{Class, Failure};

/// How many failures in called pipelines are kept: an `each` may call one for each of its items.
const MOST_KEPT: usize = 100;

impl Run {
    /// What the step at `spot` sees.
    pub(super) fn scope_at(&self, spot: Spot) -> Result<Scope, Failure> {
        let scope = self.scope_for(spot, &self.frame(spot.0).step(spot.1).sees)?;
        self.with_lets(spot, scope)
    }

    /// What expressions of the step at `spot` see that read the steps in `sees`, without its `let`.
    pub(super) fn scope_for(&self, spot: Spot, sees: &Sees) -> Result<Scope, Failure> {
        let frame = self.frame(spot.0);
        let scope = self.scope(spot.0, sees)?;
        if !frame.step(spot.1).always {
            return Ok(scope);
        }
        let status = frame.status.clone().unwrap_or_else(|| end_of(self, spot.0).0);
        Ok(scope.with("run", self.run_names(spot.0, Some(&status))))
    }

    /// Whether the step at `spot` runs always, it is its turn, and the status that it sees is not known yet.
    pub(super) fn lacks_status(&self, (frame, place): Spot) -> bool {
        self.frames.get(&frame).is_some_and(|frame| {
            frame.step(place).always && frame.status.is_none() && frame.waits[place] == 0
        })
    }

    /// Finds the status that the step at `spot` sees, if it runs always.
    pub(super) fn know_status(&mut self, spot: Spot) -> Evaluated<()> {
        if !self.lacks_status(spot) {
            return Ok(());
        }
        let (status, ..) = end(self, spot.0)?;
        if let Some(frame) = self.frames.get_mut(&spot.0) {
            frame.status = Some(status);
        }
        Ok(())
    }

    /// What a step sees that runs because of a pause: outputs so far, and if it runs always, the status of the run.
    pub(super) fn scope_at_pause(&self, frame: FrameId, step: &Step) -> Result<Scope, Failure> {
        let within = at_pause();
        let scope = |sees: &Sees| {
            let scope = self.scope_so_far(frame, sees, &within)?;
            Ok::<_, Failure>(match self.pause() {
                Some(pause) if step.always => {
                    scope.with("run", self.run_names(frame, Some(pause.status().word)))
                }
                _ => scope,
            })
        };
        let lets = &step.lets;
        if lets.entries.is_empty() {
            return scope(&step.sees);
        }
        Ok(scope(&step.sees)?.with("let", lets.entries.bind(&scope(&lets.sees)?)))
    }

    /// Whether the step runs because of the pause that the run is in. A person who stops a run may never resume it, so
    /// that steps that run always run then, too.
    pub(super) fn runs_at_pause(&self, step: &Step) -> bool {
        let stopped = matches!(&self.status, RunStatus::Paused { pause: Pause::Cancelled, .. });
        step.on_pause || (step.always && stopped)
    }

    /// Whether all that is left of the run are steps that run last: no limit on time stops them.
    pub(super) fn only_late_left(&self) -> bool {
        let Some(root) = self.by_address.get(&Address::root()) else { return false };
        let frame = self.frame(*root);
        let mut open = frame.nodes.iter().enumerate().filter(|(_, node)| !node.has_ended());
        frame.left > 0 && open.all(|(place, _)| frame.step(place).always)
    }

    /// Steps that ran last and failed: those of called pipelines, then those of the run's own body, `frame`.
    pub(super) fn failed_late(&self, frame: FrameId) -> Vec<LateFailure> {
        let own = self.frame(frame).nodes.iter().enumerate();
        let own = own.filter_map(|(place, _)| self.late_failure((frame, place)));
        self.late_failed.iter().cloned().chain(own).collect()
    }

    /// Keeps the failure of a step that ran last in a called pipeline, which is forgotten when it has ended.
    pub(super) fn note_late(&mut self, spot: Spot) {
        if self.frame(spot.0).owner.is_none() || self.late_failed.len() >= MOST_KEPT {
            return;
        }
        self.late_failed.extend(self.late_failure(spot));
    }

    /// The failure of the step at `spot`, if it ran last.
    fn late_failure(&self, spot: Spot) -> Option<LateFailure> {
        let frame = self.frame(spot.0);
        let (Node::Failed(failure, _), true) = (&frame.nodes[spot.1], frame.step(spot.1).always) else {
            return None;
        };
        let failure = Failure { detail: Value::Null, ..failure.as_ref().clone() };
        Some(LateFailure { step: self.address(spot).to_string(), failure })
    }

    /// Whether the run continues with `failure` as an outcome of the step, where another step would wait: nothing is waited
    /// for after the end.
    pub(super) fn never_waits(&self, spot: Spot, failure: &Failure) -> bool {
        failure.class != Class::Cancelled && self.frame(spot.0).step(spot.1).always
    }
}
