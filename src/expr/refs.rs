//! References: which values an expression reads, found in the syntax and therefore complete.

use std::ops::Range;
use std::sync::Arc;

use super::ast::{Kind, Node, Op};
use super::coalesce::{operand, operands};
use super::comprehension::{Parted, part};

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
    /// Bytes of each step of `path`; empty for the `Dynamic` of a bare root.
    pub key_ranges: Vec<Range<usize>>,
    /// Whether absence is allowed: it stands under `is defined`, `is undefined` or `default(…)`.
    pub guarded: bool,
    /// What takes its place if it is absent, see `??`.
    pub fallback: Fallback,
}

/// What takes the place of a reference that finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// Nothing: that is an error.
    #[default]
    None,
    /// Another value: the reference is on the left of `??`.
    Follows,
    /// Nothing, but it is only read if everything before it is absent: it is the last value of `a ?? b`, or inside it.
    Last,
}

/// How the references inside a node are read.
#[derive(Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) guarded: bool,
    pub(super) fallback: Fallback,
}

impl Reading {
    /// The same, for something else than what is guarded.
    fn plain(self) -> Self {
        Self { guarded: false, ..self }
    }
}

/// The references of `node`, in the order of the text.
pub(super) fn refs_of(node: &Node) -> Parted {
    let mut refs = Vec::new();
    collect(node, Reading::default(), &mut refs);
    let mut seen = std::collections::HashSet::new();
    refs.retain(|found| seen.insert((found.range.clone(), found.guarded, found.fallback)));
    part(node, refs)
}

pub(super) fn collect(node: &Node, reading: Reading, refs: &mut Vec<Ref>) {
    let plain = reading.plain();
    match &node.kind {
        Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } | Kind::Slice { .. } => {
            path(node, reading, plain, refs);
        }
        Kind::Coalesce { left, right } => operands([left, right], Fallback::Last, plain, refs),
        Kind::Filter { name, base, args, .. } => {
            collect(base, Reading { guarded: name == "default", ..plain }, refs);
            args.iter().for_each(|arg| collect(&arg.value, plain, refs));
        }
        Kind::Test { name, base, args, .. } => {
            let guarded = matches!(name.as_str(), "defined" | "undefined");
            collect(base, Reading { guarded, ..plain }, refs);
            args.iter().for_each(|arg| collect(&arg.value, plain, refs));
        }
        Kind::Choice { then, condition, otherwise } => {
            let start = refs.len();
            node.children().into_iter().for_each(|child| collect(child, plain, refs));
            let is_branch = |found: &Ref| is_in(found, then) || is_in(found, otherwise);
            guard(&mut refs[start..], &types_asked(condition), is_branch);
        }
        Kind::Comprehension(made) => {
            let start = refs.len();
            made.children().for_each(|child| collect(child, plain, refs));
            let asked = made.only.as_ref().map(types_asked).unwrap_or_default();
            guard(&mut refs[start..], &asked, |found| made.makes(&found.range));
        }
        Kind::Binary { op: Op::And | Op::Or, left, right } => {
            let start = refs.len();
            node.children().into_iter().for_each(|child| collect(child, plain, refs));
            guard(&mut refs[start..], &types_asked(left), |found| is_in(found, right));
        }
        _ => node.children().into_iter().for_each(|child| collect(child, plain, refs)),
    }
}

/// A path of names as it is written.
pub(super) fn spelled(path: &[Step]) -> String {
    let word = |step: &Step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
        Step::Dynamic => "[…]".to_owned(),
    };
    path.iter().map(word).collect::<Vec<_>>().join(".")
}

/// Tests that say what kind of value there is.
const TYPES: [&str; 10] =
    ["mapping", "sequence", "iterable", "string", "number", "integer", "float", "boolean", "none", "defined"];

/// The paths whose kind `condition` asks for.
pub(super) fn types_asked(condition: &Node) -> Vec<Vec<Step>> {
    let mut asked = Vec::new();
    let mut open = vec![condition];
    while let Some(node) = open.pop() {
        match &node.kind {
            Kind::Test { name, base, .. } if TYPES.contains(&name.as_str()) => {
                let mut refs = Vec::new();
                collect(base, Reading::default(), &mut refs);
                asked.extend(refs.into_iter().next().map(|found| found.path));
            }
            Kind::Not(_) | Kind::Binary { op: Op::And | Op::Or, .. } => open.extend(node.children()),
            _ => {}
        }
    }
    asked
}

/// Notes that the fields of what was asked for may be absent in the references that may not be evaluated.
pub(super) fn guard(refs: &mut [Ref], asked: &[Vec<Step>], is_branch: impl Fn(&Ref) -> bool) {
    let is_of = |path: &[Step]| {
        asked.iter().any(|asked| path.starts_with(asked.strip_suffix(&[Step::Dynamic]).unwrap_or(asked)))
    };
    for found in refs.iter_mut().filter(|found| is_of(&found.path) && is_branch(found)) {
        found.guarded = true;
    }
}

fn is_in(found: &Ref, node: &Node) -> bool {
    node.span.start <= found.range.start && found.range.end <= node.span.end
}

/// Follows a chain of keys down to its root, and takes up the references in its subscripts, which are read as `inside` says.
pub(super) fn path(node: &Node, reading: Reading, inside: Reading, refs: &mut Vec<Ref>) {
    let mut steps = Vec::new();
    let mut inner = Vec::new();
    let mut at = node;
    let root = loop {
        match &at.kind {
            Kind::Key { base, key, key_span } => {
                steps.push((Step::Key(key.clone()), key_span.clone()));
                at = base;
            }
            Kind::Index { base, index } => {
                let step = literal_index(index).map_or(Step::Dynamic, Step::Index);
                if step == Step::Dynamic {
                    inner.push(&**index);
                }
                steps.push((step, index.span.clone()));
                at = base;
            }
            Kind::Slice { base, bounds } => {
                inner.extend(bounds.iter().rev().flatten().map(AsRef::as_ref));
                steps.push((Step::Dynamic, base.span.end..at.span.end));
                at = base;
            }
            Kind::Name(name) => break Some((name, at.span.clone())),
            _ => break None,
        }
    };
    match root {
        None => operand(at, reading.fallback, inside, refs),
        Some((name, span)) => {
            if steps.is_empty() {
                steps.push((Step::Dynamic, span.end..span.end));
            }
            steps.push((Step::Key(name.clone()), span.clone()));
            let (path, key_ranges) = steps.into_iter().rev().unzip();
            let Reading { guarded, fallback } = reading;
            refs.push(Ref {
                path,
                file: None,
                range: span.start..node.span.end,
                key_ranges,
                guarded,
                fallback,
            });
        }
    }
    inner.into_iter().rev().for_each(|node| collect(node, inside, refs));
}

fn literal_index(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Int(index) => Some(*index),
        Kind::Neg(inner) => match inner.kind {
            Kind::Int(index) => index.checked_neg(),
            _ => None,
        },
        _ => None,
    }
}
