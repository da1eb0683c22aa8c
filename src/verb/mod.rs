//! The port through which the engine reaches the world: what a verb and a resource are, and the catalog of them.
//! It must never know the engine, a store, or any particular verb.
//! Start with [`Verb`], then [`Context`]; `verbs/` holds the implementations.

mod blobs;
mod catalog;
mod context;
mod draft;
mod failure;
mod funds;
mod grants;
mod refusal;
mod resource;

pub use blobs::{BlobError, Blobs, MemoryBlobs};
pub use catalog::{Catalog, DynVerb, Entry};
pub use context::{
    Context, CursorSink, Note, Progress, SecretText, Secrets, Workspace, has_credentials,
    is_name as is_secret_name, no_name as no_secret_name,
};
pub use failure::{Cause, Class, Failure};
pub use funds::{Bound, Covered, Funds, Purse};
pub use grants::{AllowedSecrets, Ask, Asked, EVERY_HOST, Grants};
pub use refusal::{Draft, Open, Refusal, pointer};
pub use resource::{DynResource, Lease, Resource};

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::meter::Meter;
use crate::schema::Schema;
use crate::value::Value;

/// One kind of leaf step. A verb sees its rendered input and its [`Context`], never the scope.
pub trait Verb: Send + Sync + 'static {
    /// The key that names it in a step.
    const NAME: &'static str;
    /// What it does, in one line.
    const SUMMARY: &'static str;
    /// How the engine may treat it.
    const TRAITS: Traits;
    /// A step in TOML that shows it: parsed, checked and run by the test-suite where that needs no service.
    const EXAMPLE: &'static str;
    /// Lanes that its steps may be in beside that of its traits, with how many attempts may be under way there where
    /// nobody says otherwise.
    const LANES: &'static [(&'static str, usize)] = &[];
    /// Fields that its output may have beside those of the step's own schema, unless that forbids further fields.
    const BESIDE: &'static [&'static str] = &[];
    /// Keys of its input that make the output what it is: a step that has one of them has no schema of its own.
    const OUTPUT_KEYS: &'static [&'static str] = &[];
    /// Keys of its input on which its lane hangs: their templates read inputs of the pipeline and nothing else, and are
    /// evaluated once, when a run starts.
    const KEYS_AT_START: &'static [&'static str] = &[];
    /// The file whose text is added to its input under the key `again` after an output that was rejected, so that the next
    /// one is better.
    const AGAIN: Option<&'static str> = None;
    /// Whether it may read files that its input does not name: a command does.
    const READS_FILES: bool = false;
    /// Its input, after rendering. Unknown keys are refused.
    type With: DeserializeOwned + JsonSchema + Send + 'static;
    /// Its output.
    type Out: Serialize + JsonSchema + Send + 'static;

    /// The lane of a step by what its author wrote, in which templates are texts that are not rendered yet.
    fn lane(_with: &Value) -> &'static str {
        Self::TRAITS.lane
    }

    /// What an attempt with this input may cost; nothing where it never costs anything. Before a run, what is not known
    /// yet is missing from `with`: then the worst case counts, and `None` is where there is none. Never waits, never looks
    /// anything up.
    fn bound(&self, _with: &Value, _schema: Option<&Schema>) -> Option<Bound> {
        Some(Bound::default())
    }

    /// What its outcome depends on in addition to its input, e.g. the provider and address of a model in the settings. A recorded output is used
    /// only while this is the same.
    fn depends_on(&self, _with: &Value) -> Option<String> {
        None
    }

    /// What can be said of this input before a run, as its author wrote it: templates are texts that are not rendered yet.
    /// Never waits.
    fn remarks(&self, _with: &Value) -> Vec<Remark> {
        Vec::new()
    }

    /// Why an attempt with this input ends before it begins. It depends on nothing but the input: an attempt is not made if
    /// there is any, and `check` finds those that are certain from what is written.
    fn refusals(_with: &Self::With) -> Vec<Refusal> {
        Vec::new()
    }

    /// Does it. The input has no [`refusals`](Self::refusals).
    fn run(
        &self,
        with: Self::With,
        cx: Context,
    ) -> impl Future<Output = Result<Output<Self::Out>, Failure>> + Send;
}

/// A value of an input that an attempt would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The key of the input.
    pub key: &'static str,
    /// The item of its value, if that is a list.
    pub item: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// The lane of pure verbs, and how many of them may be begun at once: as many as are worth a flush to the disk.
pub(crate) const PURE_LANE: (&str, usize) = ("pure", 256);

/// How the engine may treat a verb.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a verb")]
pub struct Traits {
    /// The concurrency limit it counts against when the step names none.
    pub lane: &'static str,
    /// No effect outside its output and no waiting: may be run on the driver's own thread, and again.
    pub pure: bool,
    /// Whether an attempt that was in flight at a crash may simply be made again. Where not, the step's
    /// `on_interrupt` decides.
    pub idempotent: bool,
    /// Whether an attempt may cost money.
    pub paid: bool,
    /// Whether a run that takes over the outcomes of another makes the attempt all the same: files may have changed that its input
    /// only names.
    pub anew: bool,
}

impl Traits {
    /// A pure function of its input.
    pub const PURE: Self = Self { lane: PURE_LANE.0, pure: true, idempotent: true, paid: false, anew: false };

    /// An effect that may safely be repeated, in the lane named `lane`.
    pub const fn repeatable(lane: &'static str) -> Self {
        Self { lane, pure: false, idempotent: true, paid: false, anew: false }
    }

    /// The same, and no outcome of another run takes its place unless the step asks for that.
    #[must_use]
    pub const fn anew(self) -> Self {
        Self { anew: true, ..self }
    }

    /// The same as [`Traits::repeatable`], and an attempt may cost money.
    pub const fn paid(lane: &'static str) -> Self {
        Self { paid: true, ..Self::repeatable(lane) }
    }

    /// An effect that must not be repeated without asking, in the lane named `lane`.
    pub const fn once(lane: &'static str) -> Self {
        Self { idempotent: false, ..Self::repeatable(lane) }
    }
}

/// What a verb brings back.
#[derive(Clone, Debug)]
pub struct Output<T> {
    /// The value that other steps read.
    pub value: T,
    /// What it cost.
    pub spent: Meter,
}

impl<T> Output<T> {
    /// An output that cost nothing.
    pub fn free(value: T) -> Self {
        Self { value, spent: Meter::new() }
    }
}
