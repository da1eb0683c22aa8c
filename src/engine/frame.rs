use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Account;
use super::lets::BoundLets;
use super::node::Node;
use super::run_names::Identity;
use crate::expr::Scope;
use crate::id::{Address, Instance};
use crate::meter::Meter;
use crate::plan::{AtStart, Body, BodyId, Plan, Retry, Step};
use crate::verb::Failure;

/// Names a frame for as long as the run is in memory; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FrameId(pub(super) u64);

/// A step instance: a place in a frame.
pub(super) type Spot = (FrameId, usize);

/// One instance of a body.
pub(super) struct Frame {
    pub(super) plan: Arc<Plan>,
    pub(super) body: BodyId,
    /// The control step whose inside this is; none for the root.
    pub(super) owner: Option<Spot>,
    pub(super) instance: Instance,
    pub(super) address: Address,
    /// What the settings of its pipeline came to.
    pub(super) at_start: Arc<AtStart>,
    /// Everything but `steps` that expressions in this frame see.
    pub(super) names: Scope,
    pub(super) nodes: Vec<Node>,
    pub(super) lets: BoundLets,
    /// The item or called pipeline that it belongs to; set when it is opened.
    pub(super) identity: Option<Identity>,
    /// By place: how many steps it still waits for.
    pub(super) waits: Vec<u32>,
    /// Steps that have not ended.
    pub(super) left: usize,
    /// Steps that have failed.
    pub(super) failed: usize,
    /// Items that failed in it and were kept.
    pub(super) kept: u64,
    /// What was spent in it, where that is asked: in rounds and in pipelines that were called.
    pub(super) account: Option<Account>,
    /// What steps with a budget of their own have spent, by place.
    pub(super) accounts: HashMap<usize, Account>,
    /// Whether it may begin: a round needs its funds.
    pub(super) admitted: bool,
    /// What is set aside for it.
    pub(super) fund: Meter,
    /// The status with which its pipeline ends, once a step that runs always has asked for it.
    pub(super) status: Option<String>,
}

impl Frame {
    pub(super) fn new(
        plan: Arc<Plan>,
        body: BodyId,
        place: (Option<Spot>, Instance, Address),
        names: Scope,
    ) -> Self {
        let steps = &plan.bodies[body.0].steps;
        let nodes = steps.iter().map(|_| Node::Waiting).collect();
        let waits = steps.iter().map(|step| u32::try_from(step.deps.len()).unwrap_or(u32::MAX)).collect();
        let left = steps.len();
        let (owner, instance, address) = place;
        let counts = matches!(instance, Instance::Round(_)) || (owner.is_some() && body == BodyId::ROOT);
        Self {
            plan,
            body,
            owner,
            instance,
            address,
            at_start: Arc::default(),
            names,
            nodes,
            lets: BoundLets::default(),
            identity: None,
            waits,
            left,
            failed: 0,
            kept: 0,
            account: counts.then(Account::default),
            accounts: HashMap::new(),
            admitted: false,
            fund: Meter::new(),
            status: None,
        }
    }

    pub(super) fn body(&self) -> &Body {
        &self.plan.bodies[self.body.0]
    }

    pub(super) fn step(&self, place: usize) -> &Step {
        &self.body().steps[place]
    }

    /// How long one attempt at the step at `place` may take.
    pub(super) fn timeout(&self, place: usize) -> Option<Duration> {
        self.at_start.timeout(self.body, place, self.step(place).timeout)
    }

    /// Whether an outage pauses the run at the step at `place`.
    pub(super) fn outage_pauses(&self, place: usize) -> bool {
        self.at_start.outage_pauses(self.body, place).unwrap_or(self.step(place).outage_pauses)
    }

    /// The lane that the step at `place` counts against.
    pub(super) fn lane(&self, place: usize) -> &str {
        self.lane_in(self.body, place)
    }

    /// The same of a step of another body of the same pipeline.
    pub(super) fn lane_in(&self, body: BodyId, place: usize) -> &str {
        let step = &self.plan.bodies[body.0].steps[place];
        match self.at_start.lane(body, place) {
            Some(lane) if step.lane.is_none() => lane,
            _ => step.lane(),
        }
    }

    /// How the step at `place` is tried again.
    pub(super) fn retry(&self, place: usize) -> Cow<'_, Retry> {
        let retry = &self.step(place).retry;
        match self.at_start.retries(self.body, place) {
            Some(max) => Cow::Owned(Retry { max, ..retry.clone() }),
            None => Cow::Borrowed(retry),
        }
    }

    /// The failures that nothing in the body accepts, in the order of the file.
    pub(super) fn unhandled(&self) -> impl Iterator<Item = (usize, &Failure)> {
        let places = if self.failed == 0 { 0..0 } else { 0..self.nodes.len() };
        places.filter_map(|place| match &self.nodes[place] {
            Node::Failed(failure, _) if !self.is_handled(place, failure) => Some((place, failure.as_ref())),
            _ => None,
        })
    }
}
