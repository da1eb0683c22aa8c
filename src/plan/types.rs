use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::accepts::Accepts;
use super::question::Ask;
use super::retrying::{Check, Retry};
use super::start::Setting;
use crate::diag::Span;
use crate::expr::{Expr, Lets, Shape, Template, Tree};
use crate::id::StepId;
use crate::meter::Unit;
use crate::schema::Schema;
use crate::value::{Digest, Value};
use crate::verb::{Class, Traits};

/// A closed pipeline.
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it is for, in one line.
    pub summary: String,
    /// Declared inputs, in the order of the file.
    pub inputs: IndexMap<String, Input>,
    /// Inputs that no run begins with, each right by itself.
    pub refusals: Vec<Refusal>,
    /// All bodies; [`BodyId::ROOT`] is the pipeline's own.
    pub bodies: Vec<Body>,
    /// Outputs by name.
    pub outputs: Vec<(String, Expr)>,
    /// What is known of each output, in the same order.
    pub shapes: Vec<Shape>,
    /// What decides the status of a run that came to its end, first match first.
    pub exits: Vec<Exit>,
    /// Steps that `outputs`, `exits` and `limits` read.
    pub sees: Sees,
    /// Caps on what a run may spend.
    pub limits: Vec<Limit>,
    /// How many attempts may be under way at once, by lane.
    pub lanes: IndexMap<String, usize>,
    /// What is evaluated once, when a run starts.
    pub settings: Vec<Setting>,
    /// Digest of everything the plan was made from.
    pub digest: Digest,
}

/// One declared input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its type.
    pub kind: InputKind,
    /// Whether a run needs it.
    pub required: bool,
    /// Its value where none is given; `null` where there is no default either.
    pub default: Value,
    /// What it is for.
    pub help: String,
    /// Least value (numbers, durations in seconds, sizes of files in bytes, lengths of lists).
    pub min: Option<f64>,
    /// Greatest value, in the same units.
    pub max: Option<f64>,
    /// Information label that its content carries.
    pub label: Option<String>,
    /// Where it is declared.
    pub span: Span,
}

/// Types of inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum InputKind {
    /// Text.
    String,
    /// Whole number.
    Int,
    /// Number.
    Number,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Enum(Vec<String>),
    /// A file: becomes `{path, name, text, digest}`.
    File,
    /// A file whose text is not part of the run: becomes `{path, name, digest}`.
    FilePath,
    /// A directory: becomes `{path, digest, files: [{path, size, digest}]}`.
    Dir,
    /// A file or a directory: becomes what a directory does, with the one file in `files`.
    Path,
    /// Any JSON.
    Json,
    /// The path of something that the pipeline writes: it need not exist.
    OutputPath,
    /// A list.
    List,
    /// A span of time: becomes seconds.
    Duration,
    /// US dollars.
    Usd,
    /// The name of a model.
    Model,
    /// The name of a secret; never its value.
    Secret,
}

impl InputKind {
    /// Whether it is given as a path and read when a run begins.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::File | Self::FilePath | Self::Dir | Self::Path)
    }
}

/// Inputs that no run begins with.
pub struct Refusal {
    /// The condition; it sees `inputs` and nothing else.
    pub when: Expr,
    /// What is wrong with them.
    pub message: Template,
}

/// A condition that names the status of a finished run.
pub struct Exit {
    /// The status.
    pub status: String,
    /// When it applies.
    pub when: Expr,
    /// The process exit code.
    pub code: i32,
}

/// A cap on one unit.
pub struct Limit {
    /// The unit, one of [`Limit::UNITS`].
    pub unit: Unit,
    /// The cap; `none` means no cap.
    pub cap: Expr,
}

impl Limit {
    /// What can be capped: dollars, tokens (in and out together, or one of them), calls, and seconds of work.
    pub const UNITS: [Unit; 6] =
        [Unit::Usd, Unit::Tokens, Unit::TokensIn, Unit::TokensOut, Unit::Calls, Unit::Wall];

    /// Their names.
    pub fn unit_names() -> [&'static str; 6] {
        Self::UNITS.map(Unit::word)
    }
}

/// Index of a body in [`Plan::bodies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId(pub usize);

impl BodyId {
    /// The pipeline's own body.
    pub const ROOT: Self = Self(0);
}

/// Steps that stand side by side.
pub struct Body {
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// Their places by name.
    pub names: HashMap<StepId, usize>,
    /// Their places in an order in which every step stands behind what it waits for.
    pub order: Vec<usize>,
    /// Places of the steps that no other step of the body waits for, without those that run always.
    pub sinks: Vec<usize>,
    /// By place: the steps that wait for it.
    pub followers: Vec<Vec<usize>>,
    /// By place: the endings that the expressions accept that close the body.
    pub accepts: Vec<Accepts>,
}

impl Body {
    /// A body of `steps`, where `order` is a topological order of their places.
    pub fn new(steps: Vec<Step>, order: Vec<usize>) -> Self {
        let names = steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
        let mut followers = vec![Vec::new(); steps.len()];
        for (place, step) in steps.iter().enumerate() {
            for dep in &step.deps {
                followers[dep.step].push(place);
            }
        }
        let waits = |place: &usize| followers[*place].iter().any(|follower: &usize| !steps[*follower].always);
        let sinks = (0..steps.len()).filter(|place| !steps[*place].always && !waits(place)).collect();
        let accepts = vec![Accepts::OUTPUT; steps.len()];
        Self { steps, names, order, sinks, followers, accepts }
    }
}

/// Which step instances an expression may see.
pub type Sees = Arc<[Seen]>;

/// A step that some expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// How many bodies further out it stands; 0 is the body in which the expression is evaluated.
    pub up: usize,
    /// Its place there.
    pub step: usize,
}

/// A step of the same body that must have ended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dep {
    /// Its place.
    pub step: usize,
    /// The endings of that step after which this one runs.
    pub accepts: Accepts,
    /// Whether nothing is read but the items of an `each`, which are there while it is open.
    pub items: bool,
}

/// One step.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the language, and any may go with any")]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// Named expressions, in scope in the step and in the steps inside it.
    pub lets: StepLets,
    /// The condition under which it runs.
    pub when: Option<Expr>,
    /// What it waits for, from `needs` and from references, its own and those inside its body.
    pub deps: Vec<Dep>,
    /// What its header, its input and (for control) its opening expressions read, seen from its own body.
    pub sees: Sees,
    /// How failures are tried again.
    pub retry: Retry,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// The lane it counts against, where it is not the verb's own.
    pub lane: Option<String>,
    /// Caps on what it may spend, all attempts and everything inside it together.
    pub budget: Vec<Limit>,
    /// What its output must fit.
    pub output: Option<Arc<Schema>>,
    /// What must hold of its output.
    pub check: Vec<Check>,
    /// Whether a recorded output of an equal step may be used again.
    pub cache: bool,
    /// Files that belong to a cached step, where its author names any.
    pub files: Option<Arc<CachedFiles>>,
    /// What happens to an attempt that was under way at a crash.
    pub on_interrupt: OnInterrupt,
    /// Whether the run pauses where the other side is down for everybody; else the step fails like any other.
    pub outage_pauses: bool,
    /// Whether its failure, and that of items it keeps, changes nothing about how the run ends.
    pub fails_none: bool,
    /// Whether some expression reads what it has spent.
    pub tells_spent: bool,
    /// Whether it also runs when the run pauses; only steps of the pipeline's own body do.
    pub on_pause: bool,
    /// Whether it runs when every other step of the pipeline's own body has ended, whatever happened; what becomes of it
    /// changes nothing about how the run ends.
    pub always: bool,
    /// Labels that must not reach it.
    pub forbid: Vec<String>,
    /// What it does.
    pub action: Action,
    /// Its name in the file.
    pub span: Span,
    /// What it has from elsewhere than its own table.
    pub origin: Origin,
}

/// `let` of a step.
#[derive(Clone, Debug, Default)]
pub struct StepLets {
    /// The entries.
    pub entries: Arc<Lets>,
    /// Steps that they read, seen from the step's own body.
    pub sees: Sees,
}

/// What a step has from elsewhere than its own table; for `plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// What it has from `[defaults]`.
    pub defaults: Vec<FromDefaults>,
    /// The verb that a later file has replaced.
    pub replaced: Option<String>,
}

/// A value that a step has from `[defaults]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromDefaults {
    /// Its dotted key in the step, e.g. `shell.cwd`.
    pub key: String,
    /// The table that it is from, e.g. `defaults.shell`.
    pub table: String,
    /// Where it is written.
    pub span: Span,
}

impl Step {
    /// Whether nothing runs inside it: how it fails says something about its own output.
    pub fn is_leaf(&self) -> bool {
        matches!(self.action, Action::Verb { .. } | Action::Compute(_) | Action::Ask(_))
    }

    /// The lane that it counts against, where no setting says otherwise.
    pub fn lane(&self) -> &str {
        match (&self.lane, &self.action) {
            (Some(lane), _) => lane,
            (None, Action::Verb { traits, .. }) => traits.lane,
            (None, Action::Hold(hold)) => hold.traits.lane,
            (None, _) => "default",
        }
    }
}

/// Files of the project that belong to a cached step, as globs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFiles {
    /// Files that it reads: their content is part of the key.
    pub inputs: Vec<String>,
    /// Files that it writes: they are restored with the output.
    pub produces: Vec<String>,
}

/// What a step does.
pub enum Action {
    /// A leaf verb of the catalog.
    Verb {
        /// Its name.
        name: String,
        /// Its input.
        with: Tree,
        /// How it may be treated.
        traits: Traits,
        /// What is added to its input after an output that was rejected.
        again: Option<Template>,
    },
    /// A pure loop in memory.
    Compute(Compute),
    /// Rounds with carried state.
    Loop(Loop),
    /// Items side by side.
    Each(Each),
    /// A resource around a body.
    Hold(Hold),
    /// Another pipeline.
    Call(Call),
    /// A question to a person.
    Ask(Ask),
}

/// The most rounds of a [`Compute`].
pub const MOST_ROUNDS: u32 = 1_000_000;

/// Evaluates `next` on `init` again and again until `until` holds. Its expressions see `state`, `n` (rounds
/// done) and `seed` beside the usual names; its output is the last state with `n`.
pub struct Compute {
    /// The seed, `none` where it has none.
    pub seed: Option<Expr>,
    /// First state.
    pub init: Vec<(String, Expr)>,
    /// Named expressions, evaluated in each round.
    pub lets: Arc<Lets>,
    /// Next state; every right side sees the old one.
    pub next: Vec<(String, Expr)>,
    /// When to stop.
    pub until: Option<Expr>,
    /// The most rounds.
    pub max: Expr,
}

/// Bounded rounds with carried state. `max`, `over` and `state` are evaluated where the loop stands, the rest
/// inside its body.
pub struct Loop {
    /// The most rounds; needed unless there is `over`.
    pub max: Option<Expr>,
    /// A list to fold over; each round sees its `item` and `index`.
    pub over: Option<Expr>,
    /// The name of the item, `item` by default.
    pub item: String,
    /// First state.
    pub state: Vec<(String, Expr)>,
    /// Names for this round, by dependency.
    pub lets: Vec<(String, Expr)>,
    /// Next state; every right side sees the old one.
    pub next: Vec<(String, Expr)>,
    /// The first that matches changes the state.
    pub rules: Vec<Rule>,
    /// The first that matches ends the loop.
    pub exits: Vec<LoopExit>,
    /// What its output holds beside `status` and `rounds`: evaluated after the last round.
    pub result: Option<Expr>,
    /// The same while a round is open, for a run that pauses: evaluated on what its steps have left so far.
    pub so_far: Option<Expr>,
    /// Failure classes of body steps that a round survives; any other fails the loop and counts no round.
    pub counts: Vec<Class>,
    /// Caps on what one round may spend.
    pub budget: Vec<Limit>,
    /// What has to be left, and is set aside, before a round begins; like `budget` where there is none.
    pub fund: Vec<Limit>,
    /// Outer steps that `budget` and `fund` read, seen from inside the body.
    pub funds_see: Sees,
    /// Steps that `let`, `next`, `rules`, `exits`, `result` and `so_far` read, seen from inside the body.
    pub sees: Sees,
    /// The body.
    pub body: BodyId,
}

/// A named change of a loop's state.
pub struct Rule {
    /// Its name, for the journal.
    pub name: String,
    /// When it applies.
    pub when: Expr,
    /// What it sets.
    pub set: Vec<(String, Expr)>,
}

/// A condition that ends a loop.
pub struct LoopExit {
    /// The loop's status.
    pub status: String,
    /// When.
    pub when: Expr,
    /// The exit code of a run that ends with this status, where no exit of the pipeline has the name.
    pub code: Option<i32>,
}

/// Items side by side, no carried state.
pub struct Each {
    /// The list.
    pub over: Expr,
    /// The name of the item, `item` by default; `index` is `index`, or `NAME_index` under another name.
    pub item: String,
    /// A name for each item, its own; sees the item.
    pub key: Option<Expr>,
    /// How many items may be open at once.
    pub parallel: Option<Expr>,
    /// What an item's failure does to the rest.
    pub on_error: OnError,
    /// With more failures than this no further item is begun, and the step fails.
    pub max_failures: Option<Expr>,
    /// What an item leaves behind; by default the output of the only sink, or an object of sinks by name.
    pub result: Option<Expr>,
    /// Steps that `result` reads, seen from inside the body.
    pub sees: Sees,
    /// The body.
    pub body: BodyId,
}

/// What an item's failure does to the rest of an `each`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The rest runs, then the step fails.
    Finish,
    /// No new item is begun, and the step fails.
    Stop,
    /// The rest runs, the step succeeds, and the run is incomplete.
    Keep,
}

/// A resource, acquired for a body and released after it in any case.
pub struct Hold {
    /// The resource's name in the catalog.
    pub resource: String,
    /// What it takes.
    pub with: Tree,
    /// How it may be treated.
    pub traits: Traits,
    /// What `result` in the output is; by default as with `each`.
    pub result: Option<Expr>,
    /// Steps that `result` reads, seen from inside the body.
    pub sees: Sees,
    /// The body.
    pub body: BodyId,
}

/// Another pipeline as a step; its output is that pipeline's outputs.
pub struct Call {
    /// The other pipeline.
    pub plan: Arc<Plan>,
    /// Its inputs, those that are inherited last.
    pub with: Vec<(String, Expr)>,
    /// Names of the inputs that it gets because its caller has them.
    pub inherited: Vec<String>,
}

/// What happens to an attempt that was under way at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// It is made again.
    Retry,
    /// A person is asked.
    Ask,
    /// The step fails.
    Fail,
}
