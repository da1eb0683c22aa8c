use std::collections::BTreeSet;

use super::Failure;

/// A reason why an attempt ends before it starts, because its input is invalid. `check` uses the same code
/// before a run, so that both report the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// JSON Pointers of the problem: a diagnostic points at the last one that is written.
    pub at: Vec<String>,
    /// Failure of the attempt.
    pub failure: Failure,
    /// JSON Pointers of the values that decide it.
    values: BTreeSet<String>,
    /// JSON Pointers of values for which only `null` or not `null` matters.
    given: BTreeSet<String>,
}

impl Refusal {
    /// The value at `pointer` is invalid.
    pub fn of(pointer: impl Into<String>, failure: Failure) -> Self {
        let at = vec![pointer.into()];
        Self { values: at.iter().cloned().collect(), at, failure, given: BTreeSet::new() }
    }

    /// The key at `pointer` is invalid, whatever its value.
    pub fn key(pointer: impl Into<String>, failure: Failure) -> Self {
        Self { at: vec![pointer.into()], failure, values: BTreeSet::new(), given: BTreeSet::new() }
    }

    /// Too few or too many of `keys` are present.
    pub fn among(keys: &[&str], failure: Failure) -> Self {
        let at: Vec<String> = keys.iter().map(|key| pointer("", key)).collect();
        Self { given: at.iter().cloned().collect(), at, failure, values: BTreeSet::new() }
    }

    /// The same, and the value at `pointer` decides it as well.
    #[must_use]
    pub fn with(mut self, pointer: impl Into<String>) -> Self {
        self.values.insert(pointer.into());
        self
    }

    /// The same, and it matters whether the value at `pointer` is `null`.
    #[must_use]
    pub fn if_given(mut self, pointer: impl Into<String>) -> Self {
        self.given.insert(pointer.into());
        self
    }

    /// The same about a value below `outer`.
    #[must_use]
    pub fn below(self, outer: &str) -> Self {
        let moved = |pointer: String| format!("{outer}{pointer}");
        Self {
            at: self.at.into_iter().map(moved).collect(),
            values: self.values.into_iter().map(moved).collect(),
            given: self.given.into_iter().map(moved).collect(),
            failure: self.failure,
        }
    }

    /// Whether it is independent of the templates of `draft`. Those in `missing` were removed when it was
    /// read.
    pub(super) fn is_certain(&self, draft: &InputDraft, missing: &BTreeSet<String>) -> bool {
        let touches = |hole: &str, pointer: &str| is_below(hole, pointer) || is_below(pointer, hole);
        let open = |pointer: &String| draft.open.iter().any(|hole| touches(&hole.pointer, pointer));
        let unsure = |pointer: &String| {
            let holes = draft.open.iter().filter(|hole| is_below(pointer, &hole.pointer));
            holes.into_iter().any(|hole| hole.may_be_none || missing.contains(&hole.pointer))
        };
        !self.values.iter().any(open) && !self.given.iter().any(unsure)
    }
}

/// An input as its author wrote it, before it is rendered.
#[derive(Clone, Debug, Default)]
pub struct InputDraft {
    /// Value of the input. Its templates are unrendered texts.
    pub value: crate::value::Value,
    /// Templates in it.
    pub open: Vec<OpenTemplate>,
}

/// A template whose value is unknown.
#[derive(Clone, Debug)]
pub struct OpenTemplate {
    /// Location, as a JSON Pointer.
    pub pointer: String,
    /// Whether it may become `null`, which counts as missing.
    pub may_be_none: bool,
}

/// The pointer of `key` in the value at `outer`.
pub fn pointer(outer: &str, key: &str) -> String {
    format!("{outer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Whether `pointer` is `outer` or below it.
pub(super) fn is_below(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
