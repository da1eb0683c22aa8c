//! The interface between the engine and verbs: `Verb`, `Resource`, and the catalog of them. It must not
//! depend on the engine, a store, or any particular verb. Start with [`Verb`], then [`Context`]; `verbs/` has
//! the implementations.

mod blobs;
mod catalog;
mod context;
mod draft;
mod failure;
mod grants;
mod refusal;
mod reservation;
mod resource;

pub use blobs::{BlobError, Blobs, MemoryBlobs};
pub use catalog::{Catalog, CatalogEntry, DynVerb};
pub use context::{
    Context, CursorSink, Note, Progress, SecretText, Secrets, Workspace, has_credentials,
    is_name as is_secret_name, no_name as no_secret_name,
};
pub use failure::{Cause, Class, Failure};
pub use grants::{AllowedSecrets, EVERY_HOST, Grants, Permission, PermissionRequest};
pub use refusal::{InputDraft, OpenTemplate, Refusal, pointer};
pub use reservation::{AttemptBudget, BudgetSource, CostBound, Reservation};
pub use resource::{DynResource, Lease, Resource};

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::meter::Meter;
use crate::schema::Schema;
use crate::value::Value;

/// One kind of leaf step. A verb receives its rendered input and its [`Context`], never the scope.
pub trait Verb: Send + Sync + 'static {
    /// The key of the verb in a step.
    const NAME: &'static str;
    /// A summary of what it does, in one line.
    const SUMMARY: &'static str;
    /// How the engine may treat it.
    const TRAITS: Traits;
    /// An example step in TOML: parsed, checked, and run by the test suite unless it needs a service.
    const EXAMPLE: &'static str;
    /// Additional lanes of its steps, with their default limits of parallel attempts.
    const LANES: &'static [(&'static str, usize)] = &[];
    /// Additional fields of its output next to those of the step's schema, unless that forbids further
    /// fields.
    const EXTRA_FIELDS: &'static [&'static str] = &[];
    /// Keys of its input that determine the output: a step that has one of them cannot have its own schema.
    const OUTPUT_KEYS: &'static [&'static str] = &[];
    /// Keys of its input that determine its lane: their templates refer only to inputs of the pipeline, and
    /// are evaluated once, when a run starts.
    const KEYS_AT_START: &'static [&'static str] = &[];
    /// The file whose text is added to its input under the key `again` after a rejected output, to improve
    /// the next one.
    const RETRY_PROMPT: Option<&'static str> = None;
    /// Whether it may read files that are not in its input, as a command does.
    const READS_FILES: bool = false;
    /// The rendered input. Unknown keys are refused.
    type With: DeserializeOwned + JsonSchema + Send + 'static;
    /// The output.
    type Out: Serialize + JsonSchema + Send + 'static;

    /// The lane of a step, from its input as written, in which templates are unrendered texts.
    fn lane(_with: &Value) -> &'static str {
        Self::TRAITS.lane
    }

    /// The possible cost of an attempt with this input; empty if it never costs anything. Before a run,
    /// unknown values are missing from `with`: the worst case then counts, and `None` means that there is no
    /// bound. Never waits or looks anything up.
    fn bound(&self, _with: &Value, _schema: Option<&Schema>) -> Option<CostBound> {
        Some(CostBound::default())
    }

    /// Additional dependencies of its result, e.g. the provider and address of a model in the settings. A
    /// recorded output is reused only if this is the same.
    fn depends_on(&self, _with: &Value) -> Option<String> {
        None
    }

    /// Remarks about this input before a run. Its templates are unrendered texts. Never waits.
    fn remarks(&self, _with: &Value) -> Vec<Remark> {
        Vec::new()
    }

    /// The reasons why an attempt with this input ends before it starts. They depend only on the input: the
    /// attempt is not made if there are any, and `check` reports those that are certain before the run.
    fn refusals(_with: &Self::With) -> Vec<Refusal> {
        Vec::new()
    }

    /// Runs the step. The input has no [`refusals`](Self::refusals).
    fn run(
        &self,
        with: Self::With,
        cx: Context,
    ) -> impl Future<Output = Result<Output<Self::Out>, Failure>> + Send;
}

/// A value of an input that an attempt would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Key of the input.
    pub key: &'static str,
    /// Index in its value, if that is a list.
    pub item: Option<usize>,
    /// Message about the problem.
    pub message: String,
    /// Advice what to do.
    pub help: String,
}

/// The lane of pure verbs, and its limit: a flush to disk is worth this many.
pub(crate) const PURE_LANE: (&str, usize) = ("pure", 256);

/// How the engine may treat a verb.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a verb")]
pub struct Traits {
    /// Default lane.
    pub lane: &'static str,
    /// Whether it has no effect outside its output and does not wait: it may run on the driver's own thread,
    /// and again.
    pub pure: bool,
    /// Whether an attempt that was running at a crash may simply be repeated. Otherwise the step's
    /// `on_interrupt` decides.
    pub idempotent: bool,
    /// Whether an attempt may cost money.
    pub paid: bool,
    /// Whether an attempt is made even if a result of another run could be reused: files may have changed
    /// that its input only names.
    pub always_rerun: bool,
}

impl Traits {
    /// A pure function of its input.
    pub const PURE: Self =
        Self { lane: PURE_LANE.0, pure: true, idempotent: true, paid: false, always_rerun: false };

    /// An effect that may be repeated, in the lane `lane`.
    pub const fn repeatable(lane: &'static str) -> Self {
        Self { lane, pure: false, idempotent: true, paid: false, always_rerun: false }
    }

    /// The same, and results of other runs are reused only if the step is cached.
    #[must_use]
    pub const fn always_rerun(self) -> Self {
        Self { always_rerun: true, ..self }
    }

    /// The same as [`Traits::repeatable`], and an attempt may cost money.
    pub const fn paid(lane: &'static str) -> Self {
        Self { paid: true, ..Self::repeatable(lane) }
    }

    /// An effect that must not be repeated without asking, in the lane `lane`.
    pub const fn once(lane: &'static str) -> Self {
        Self { idempotent: false, ..Self::repeatable(lane) }
    }
}

/// The result of a verb.
#[derive(Clone, Debug)]
pub struct Output<T> {
    /// Value that other steps read.
    pub value: T,
    /// Cost of the attempt.
    pub spent: Meter,
}

impl<T> Output<T> {
    /// An output that cost nothing.
    pub fn free(value: T) -> Self {
        Self { value, spent: Meter::new() }
    }
}
