use std::collections::HashMap;
use std::sync::Arc;

use super::budget::Account;
use super::node::Node;
use crate::expr::Scope;
use crate::id::{Address, Instance};
use crate::meter::Meter;
use crate::plan::{Body, BodyId, Plan, Step};
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
    /// Everything but `steps` that expressions in this frame see.
    pub(super) names: Scope,
    pub(super) nodes: Vec<Node>,
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
            names,
            nodes,
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

    /// The failures that nobody in the body looks after, in the order of the file.
    pub(super) fn unhandled(&self) -> impl Iterator<Item = (usize, &Failure)> {
        let body = self.body();
        let places = if self.failed == 0 { 0..0 } else { 0..self.nodes.len() };
        places.filter_map(|place| match &self.nodes[place] {
            Node::Failed(failure, _) if body.failure_counts(place) => Some((place, failure.as_ref())),
            _ => None,
        })
    }
}
