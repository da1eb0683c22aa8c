//! References: which values an expression reads, found in the syntax and therefore complete.

use std::ops::Range;
use std::sync::Arc;

use super::ast::{Kind, Node};

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
}

/// The references of `node`, in the order of the text.
pub(super) fn refs_of(node: &Node) -> Vec<Ref> {
    let mut refs = Vec::new();
    collect(node, false, &mut refs);
    let mut seen = std::collections::HashSet::new();
    refs.retain(|found| seen.insert((found.range.clone(), found.guarded)));
    refs
}

fn collect(node: &Node, guarded: bool, refs: &mut Vec<Ref>) {
    match &node.kind {
        Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } | Kind::Slice { .. } => {
            path(node, guarded, refs);
        }
        Kind::Filter { name, base, args, .. } => {
            collect(base, name == "default", refs);
            args.iter().for_each(|arg| collect(&arg.value, false, refs));
        }
        Kind::Test { name, base, args, .. } => {
            collect(base, matches!(name.as_str(), "defined" | "undefined"), refs);
            args.iter().for_each(|arg| collect(&arg.value, false, refs));
        }
        _ => node.children().into_iter().for_each(|child| collect(child, false, refs)),
    }
}

/// Follows a chain of keys down to its root, and takes up the references in its subscripts.
fn path(node: &Node, guarded: bool, refs: &mut Vec<Ref>) {
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
        None => collect(at, false, refs),
        Some((name, span)) => {
            if steps.is_empty() {
                steps.push((Step::Dynamic, span.end..span.end));
            }
            steps.push((Step::Key(name.clone()), span.clone()));
            let (path, key_ranges) = steps.into_iter().rev().unzip();
            refs.push(Ref { path, file: None, range: span.start..node.span.end, key_ranges, guarded });
        }
    }
    inner.into_iter().rev().for_each(|node| collect(node, false, refs));
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
