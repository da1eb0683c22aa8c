//! References: which values an expression reads, found in the syntax and therefore complete.

use std::ops::Range;
use std::sync::Arc;

/// One step of a [`Ref`]'s path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `.name` or `['name']`; the root name too.
    Key(String),
    /// `[3]`.
    Index(i64),
    /// Whatever an expression says, or all of it: `steps[which]`, a slice, or the bare root `steps`.
    Dynamic,
}

/// A value that an expression reads. Names that it binds itself (`for`, `set`, arguments) are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// The root name and what follows it. A bare root is followed by [`Step::Dynamic`].
    pub path: Vec<Step>,
    /// The include it stands in; `None` is the text that was given.
    pub file: Option<Arc<str>>,
    /// Bytes of that text.
    pub range: Range<usize>,
    /// Bytes of each step of `path` that is written out (a final `Dynamic` of a bare root has none).
    pub key_ranges: Vec<Range<usize>>,
    /// Whether absence is allowed: it stands under `is defined`, `is undefined` or `default(…)`.
    pub guarded: bool,
}
