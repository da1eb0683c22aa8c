use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;

use super::budget::{Claim, Wall};
use super::evaluate::{AT_ONCE, Evaluations};
use super::frame::{Frame, FrameId, Spot};
use super::node::{Node, Phase};
use super::on_pause::AtPause;
use super::report::Unchecked;
use super::slot::{INLINE, weight};
use super::unsettled::Unsettled;
use super::{FORMAT, Fact, Known, LateFailure, Pause, Payload, Record, RunStatus, Turn};
use crate::clock::Millis;
use crate::expr::{Data, Scope};
use crate::id::{Address, Instance, RunId};
use crate::meter::{Meter, Unit};
use crate::plan::{AtStart, BodyId, Plan, Unfit};
use crate::schema::Schema;
use crate::value::{BlobRef, Digest, Value};
use crate::verb::{BlobError, Blobs};

/// How a run is to be carried out, beside what its plan says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many attempts may be under way at once, by lane; the plan's own limits go first.
    pub lanes: IndexMap<String, usize>,
    /// The limit of a lane that nobody names.
    pub lane: usize,
    /// Caps on spending that take the place of the plan's own, by unit.
    pub caps: IndexMap<Unit, f64>,
    /// What attempts may cost; nothing where nobody tells.
    pub bounds: Option<Bounds>,
    /// The directory of the run for files that are not products: `run.dir`.
    pub dir: Option<String>,
    /// How much work an evaluation may take before it is ordered, in nodes and items.
    pub at_once: u64,
}

/// Tells the most that an attempt may cost, from its verb, its input and the schema of its output.
#[derive(Clone)]
pub struct Bounds(Arc<Bounding>);

type Bounding = dyn Fn(&str, &Value, Option<&Schema>) -> Option<Meter> + Send + Sync;

impl Bounds {
    /// Bounds that `tell` tells.
    pub fn new(
        tell: impl Fn(&str, &Value, Option<&Schema>) -> Option<Meter> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(tell))
    }

    /// The most that an attempt of the verb `name` may cost.
    pub fn of(&self, name: &str, with: &Value, schema: Option<&Schema>) -> Option<Meter> {
        self.0(name, with, schema)
    }
}

impl std::fmt::Debug for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bounds")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lanes: IndexMap::new(),
            lane: 16,
            caps: IndexMap::new(),
            bounds: None,
            dir: None,
            at_once: AT_ONCE,
        }
    }
}

/// A journal that does not fit its plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the journal does not fit the pipeline at `{address}`: {message}")]
pub struct Mismatch {
    /// The step instance.
    pub address: Address,
    /// What does not fit.
    pub message: String,
}

/// A run in memory: what its facts say, and what follows from them.
pub struct Run {
    pub(super) id: RunId,
    pub(super) plan: Arc<Plan>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) settings: Settings,
    pub(super) frames: HashMap<FrameId, Frame>,
    pub(super) by_address: HashMap<Address, FrameId>,
    pub(super) made: u64,
    pub(super) work: VecDeque<Work>,
    pub(super) lanes: IndexMap<String, Lane>,
    pub(super) timers: BTreeSet<(Millis, Spot)>,
    pub(super) running: usize,
    /// Pure loops that have been asked for.
    pub(super) computing: HashSet<Spot>,
    /// Evaluations that take long.
    pub(super) evaluations: Evaluations,
    /// What came of attempts, where it takes long to evaluate what follows from it.
    pub(super) unchecked: HashMap<Spot, Unchecked>,
    pub(super) seed: u64,
    pub(super) inputs: Payload,
    /// What the settings of the plan came to.
    pub(super) at_start: Arc<AtStart>,
    pub(super) spent: Meter,
    /// What attempts under way have set aside.
    pub(super) reserved: Meter,
    /// How many attempts have something set aside.
    pub(super) holding: usize,
    /// Rounds for which something is set aside.
    pub(super) funded: Vec<FrameId>,
    pub(super) claims: Vec<Claim>,
    /// Steps of rounds that cannot be paid yet, and why.
    pub(super) blocked: Vec<(Spot, String)>,
    /// Steps that cannot be paid, and why; other steps of their lanes go first.
    pub(super) unpaid: Vec<(Spot, String)>,
    /// What is booked with an upper bound, by step instance.
    pub(super) unsettled: HashMap<Address, Unsettled>,
    /// How many resources are being released.
    pub(super) releasing: usize,
    /// Answers on record, by step instance.
    pub(super) answers: HashMap<Address, Known>,
    /// Known inputs of `call` steps whose files are being read.
    pub(super) reading: HashMap<Spot, serde_json::Map<String, Value>>,
    /// All inputs of `call` steps while it is evaluated whether they are refused.
    pub(super) given: HashMap<Spot, serde_json::Map<String, Value>>,
    pub(super) wall: Wall,
    pub(super) sums: Data,
    /// When it began.
    pub(super) started_at: Option<Millis>,
    pub(super) status: RunStatus,
    pub(super) at_pause: AtPause,
    /// Steps with `always` that failed in pipelines that were called.
    pub(super) late_failed: Vec<LateFailure>,
    pub(super) fresh: HashMap<Digest, Arc<[u8]>>,
    pub(super) turn: Turn,
}

/// What is to be looked at: made by facts, worked off by `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Everything this step waits for has ended, or its pause has.
    Ready(Spot),
    /// Every step of this frame has ended.
    Close(FrameId),
    /// The inside of this control step has moved on.
    Advance(Spot),
    /// There is room for an attempt at this step.
    Start(Spot),
    /// An attempt at this step has an output.
    Accept(Spot),
}

/// A concurrency limit and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) limit: usize,
    pub(super) running: usize,
    pub(super) queue: VecDeque<Spot>,
}

impl Run {
    /// A run of `plan` without any facts. The first fact to apply is `run_started`.
    pub fn new(id: RunId, plan: Arc<Plan>, blobs: Arc<dyn Blobs>, settings: Settings) -> Self {
        Self {
            id,
            plan,
            blobs,
            settings,
            frames: HashMap::new(),
            by_address: HashMap::new(),
            made: 0,
            work: VecDeque::new(),
            lanes: IndexMap::new(),
            timers: BTreeSet::new(),
            running: 0,
            computing: HashSet::new(),
            evaluations: Evaluations::default(),
            unchecked: HashMap::new(),
            seed: 0,
            inputs: Payload::value(Value::Null),
            at_start: Arc::default(),
            spent: Meter::new(),
            reserved: Meter::new(),
            holding: 0,
            funded: Vec::new(),
            claims: Vec::new(),
            blocked: Vec::new(),
            unpaid: Vec::new(),
            unsettled: HashMap::new(),
            releasing: 0,
            answers: HashMap::new(),
            reading: HashMap::new(),
            given: HashMap::new(),
            wall: Wall::default(),
            sums: Data::none(),
            started_at: None,
            status: RunStatus::Going,
            at_pause: AtPause::default(),
            late_failed: Vec::new(),
            fresh: HashMap::new(),
            turn: Turn::default(),
        }
    }

    /// The facts with which a run begins.
    pub fn begin(&mut self, now: Millis, inputs: Value, seed: u64) -> Result<(), Mismatch> {
        let at_start = self.plan.at_start(&inputs);
        let unfit = |unfit: Unfit| Mismatch { address: Address::root(), message: unfit.message };
        let at_start = at_start.map_err(unfit)?.values;
        let inputs = self.keep(inputs, INLINE);
        let (pipeline, plan) = (self.plan.name.clone(), self.plan.digest);
        let fact = Fact::RunStarted { pipeline, plan, inputs, seed, format: FORMAT, at_start };
        self.emit(now, Address::root(), 0, fact)
    }

    /// Where the run stands.
    pub fn status(&self) -> &RunStatus {
        &self.status
    }

    /// What it has spent.
    pub fn spent(&self) -> &Meter {
        &self.spent
    }

    /// How many attempts are under way.
    pub fn running(&self) -> usize {
        self.running
    }

    /// The checked inputs, as recorded.
    pub fn inputs(&self) -> &Payload {
        &self.inputs
    }

    /// The phase of the step instance at `address`, `None` where there is none in memory.
    pub fn phase(&self, address: &Address) -> Option<Phase> {
        let (frame, place) = self.locate(address)?;
        Some(self.frames[&frame].nodes[place].phase())
    }

    /// Addresses of the steps that have begun and not ended, for people.
    pub fn waiting_at(&self) -> String {
        let open = |node: &Node| node.phase() == Phase::Running;
        let mut open: Vec<String> = self
            .frames
            .iter()
            .flat_map(|(id, frame)| {
                let places = frame.nodes.iter().enumerate().filter(|(_, node)| open(node));
                places.map(|(place, _)| self.address((*id, place)).to_string()).collect::<Vec<_>>()
            })
            .collect();
        open.sort();
        open.join("`, `")
    }

    /// Applies a fact and notes it for the journal.
    pub(super) fn emit(
        &mut self,
        at: Millis,
        address: Address,
        attempt: u32,
        fact: Fact,
    ) -> Result<(), Mismatch> {
        let record = Record { at, address, attempt, fact };
        self.apply(&record)?;
        self.turn.records.push(record);
        Ok(())
    }

    /// Makes a payload of `value`: in place up to `limit` bytes, else as content to be kept.
    pub(super) fn keep(&mut self, value: Value, limit: usize) -> Payload {
        if weight(&value, limit) <= limit {
            return Payload::value(value);
        }
        let bytes = value.to_string().into_bytes();
        let blob = BlobRef::of(&bytes);
        self.fresh.insert(blob.digest, bytes.as_slice().into());
        self.turn.blobs.push((blob, bytes));
        Payload::Blob(blob)
    }

    /// The blob store together with what this turn is about to put into it.
    pub(super) fn shelf(&self) -> Arc<dyn Blobs> {
        if self.fresh.is_empty() {
            return self.blobs.clone();
        }
        Arc::new(Shelf { blobs: self.blobs.clone(), fresh: self.fresh.clone() })
    }

    pub(super) fn frame(&self, id: FrameId) -> &Frame {
        &self.frames[&id]
    }

    pub(super) fn node_mut(&mut self, (frame, place): Spot) -> Option<&mut Node> {
        self.frames.get_mut(&frame)?.nodes.get_mut(place)
    }

    pub(super) fn address(&self, (frame, place): Spot) -> Address {
        let frame = &self.frames[&frame];
        frame.address.step(&frame.step(place).id)
    }

    /// Opens a frame and queues the steps that wait for nothing.
    pub(super) fn open_frame(
        &mut self,
        plan: Arc<Plan>,
        body: BodyId,
        place: (Option<Spot>, Instance, Address),
        names: Scope,
    ) -> FrameId {
        self.made += 1;
        let id = FrameId(self.made);
        let mut frame = Frame::new(plan, body, place, names);
        if let (Some((owner, _)), true) = (frame.owner, body != BodyId::ROOT) {
            frame.at_start = self.frame(owner).at_start.clone();
        }
        frame.identity = Some(self.identity(&frame));
        for place in &frame.body().order {
            if frame.waits[*place] == 0 {
                self.work.push_back(Work::Ready((id, *place)));
            }
        }
        if frame.left == 0 {
            self.work.push_back(Work::Close(id));
        }
        self.by_address.insert(frame.address.clone(), id);
        self.frames.insert(id, frame);
        id
    }

    /// Notes what the settings of the pipeline came to whose own body `frame` is.
    pub(super) fn settings_of(&mut self, frame: FrameId, at_start: Arc<AtStart>) {
        if let Some(frame) = self.frames.get_mut(&frame) {
            frame.at_start = at_start;
        }
    }

    /// Forgets a frame that has ended; what was kept in it counts for the frame around it.
    pub(super) fn close_frame(&mut self, id: FrameId) {
        if let Some(frame) = self.frames.get(&id)
            && let (kept @ 1.., Some((outer, place))) = (frame.kept, frame.owner)
            && let Some(outer) = self.frames.get_mut(&outer)
            && !outer.step(place).fails_none
        {
            outer.kept += kept;
        }
        self.drop_frame(id);
    }

    /// Forgets a frame and everything inside it.
    pub(super) fn drop_frame(&mut self, id: FrameId) {
        let Some(frame) = self.frames.remove(&id) else { return };
        if self.by_address.get(&frame.address) == Some(&id) {
            self.by_address.remove(&frame.address);
        }
        for (place, node) in frame.nodes.iter().enumerate() {
            match node {
                Node::Waiting | Node::Resting { .. } => {
                    self.computing.remove(&(id, place));
                    self.reading.remove(&(id, place));
                    self.given.remove(&(id, place));
                }
                Node::Open(control) => {
                    self.releasing -= usize::from(control.is_releasing());
                    control.frames().into_iter().for_each(|inner| self.drop_frame(inner));
                }
                Node::Running(tries) => {
                    self.unchecked.remove(&(id, place));
                    self.leave_lane(&frame, place);
                    let owner = frame.owner.map(|owner| (owner, tries.reserved.clone()));
                    self.reserved.remove(&tries.reserved);
                    self.holding -= usize::from(!tries.reserved.is_empty());
                    if let Some((owner, reserved)) = owner {
                        self.accounts(Some(owner), |account| account.reserved.remove(&reserved));
                    }
                }
                _ => {}
            }
        }
        self.forget_unpaid(id);
        if self.funded.contains(&id) {
            self.funded.retain(|funded| *funded != id);
            self.requeue_unpaid();
        }
    }

    /// Finds a step instance among the frames in memory.
    pub(super) fn locate(&self, address: &Address) -> Option<Spot> {
        let text = address.as_str();
        let (frame, step) = text.rsplit_once('/').map_or(("", text), |(frame, step)| (frame, step));
        let frame = *self.by_address.get(&Address::new(frame))?;
        let place = *self.frames[&frame].body().names.get(&crate::id::StepId::new(step))?;
        Some((frame, place))
    }

    pub(super) fn pause(&self) -> Option<Pause> {
        match &self.status {
            RunStatus::Paused { pause, .. } => Some(*pause),
            _ => None,
        }
    }
}

/// What was spent, as expressions see it.
pub(super) fn sums(spent: &Meter) -> Data {
    let sum = |unit: &'static str| (unit, Data::from_value(&serde_json::json!(spent.get(unit))));
    Data::table(SHOWN.map(Unit::word).map(sum))
}

/// What expressions see of what was spent.
pub(super) const SHOWN: [Unit; 3] = [Unit::Usd, Unit::Tokens, Unit::Calls];

struct Shelf {
    blobs: Arc<dyn Blobs>,
    fresh: HashMap<Digest, Arc<[u8]>>,
}

impl Blobs for Shelf {
    fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        self.blobs.put(bytes)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, BlobError> {
        self.fresh.get(digest).cloned().map_or_else(|| self.blobs.get(digest), Ok)
    }
}
