use std::collections::BTreeSet;

use super::Failure;

/// Why an attempt ends before it begins: what its input says cannot be done. An attempt asks for the same as `check` does
/// before a run, so that both say the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// JSON Pointers of what is wrong: the last one that is written is where a complaint points.
    pub at: Vec<String>,
    /// What the attempt ends with.
    pub failure: Failure,
    /// JSON Pointers of the values that decide it.
    values: BTreeSet<String>,
    /// JSON Pointers of which it matters only whether there is anything but `null`.
    given: BTreeSet<String>,
}

impl Refusal {
    /// The value at `pointer` cannot be used.
    pub fn of(pointer: impl Into<String>, failure: Failure) -> Self {
        let at = vec![pointer.into()];
        Self { values: at.iter().cloned().collect(), at, failure, given: BTreeSet::new() }
    }

    /// The key at `pointer` cannot be used, whatever stands there.
    pub fn key(pointer: impl Into<String>, failure: Failure) -> Self {
        Self { at: vec![pointer.into()], failure, values: BTreeSet::new(), given: BTreeSet::new() }
    }

    /// There are too few or too many of these `keys`.
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

    /// The same, and it matters whether there is something at `pointer`.
    #[must_use]
    pub fn if_given(mut self, pointer: impl Into<String>) -> Self {
        self.given.insert(pointer.into());
        self
    }

    /// The same about what lies under `outer`.
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

    /// Whether it holds whatever the templates of `draft` become. Those in `missing` were left out when it was read.
    pub(super) fn is_certain(&self, draft: &Draft, missing: &BTreeSet<String>) -> bool {
        let touches = |hole: &str, pointer: &str| is_below(hole, pointer) || is_below(pointer, hole);
        let open = |pointer: &String| draft.open.iter().any(|hole| touches(&hole.pointer, pointer));
        let unsure = |pointer: &String| {
            let holes = draft.open.iter().filter(|hole| is_below(pointer, &hole.pointer));
            holes.into_iter().any(|hole| hole.may_be_none || missing.contains(&hole.pointer))
        };
        !self.values.iter().any(open) && !self.given.iter().any(unsure)
    }
}

/// An input as its author wrote it, before anything is rendered.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The input. A template in it is its text.
    pub value: crate::value::Value,
    /// The templates in it.
    pub open: Vec<Open>,
}

/// A template whose value is not known yet.
#[derive(Clone, Debug)]
pub struct Open {
    /// Where it is: a JSON Pointer.
    pub pointer: String,
    /// Whether it may become `null`, which is as if nothing had been written.
    pub may_be_none: bool,
}

/// The pointer of `key` of what `outer` names.
pub fn pointer(outer: &str, key: &str) -> String {
    format!("{outer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Whether `pointer` names `outer` or something in it.
pub(super) fn is_below(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
