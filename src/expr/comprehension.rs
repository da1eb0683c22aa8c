//! Names that comprehensions bind: where each is in scope, which references mean it, and what it is known to be.

use std::ops::Range;

use super::ast::{Comprehension, Kind, Node};
use super::fault::{Fault, FaultKind};
use super::infer::Infer;
use super::kinds::asks_kind;
use super::refs::{Fallback, Ref, Step};
use super::shape::{KnownFields, Shape};

impl Comprehension {
    /// The nodes directly below, in the order of the text.
    pub(super) fn children(&self) -> impl Iterator<Item = &Node> {
        self.inner().chain([&self.over]).chain(&self.only)
    }

    /// What is made of each item.
    fn inner(&self) -> impl Iterator<Item = &Node> {
        self.key.iter().chain([&self.value])
    }

    /// Whether this is the part of it that is made of each item.
    pub(super) fn makes(&self, range: &Range<usize>) -> bool {
        self.inner().any(|node| holds(node, range))
    }

    /// Whether its names are in scope there.
    fn binds_at(&self, range: &Range<usize>) -> bool {
        self.makes(range) || self.only.as_ref().is_some_and(|node| holds(node, range))
    }
}

fn holds(node: &Node, range: &Range<usize>) -> bool {
    node.span.start <= range.start && range.end <= node.span.end
}

/// All comprehensions of `node`, outer ones first.
fn comprehensions<'n>(node: &'n Node, found: &mut Vec<&'n Comprehension>) {
    if let Kind::Comprehension(made) = &node.kind {
        found.push(made);
    }
    node.children().into_iter().for_each(|child| comprehensions(child, found));
}

/// References of an expression, by what they mean.
pub(super) struct Parted {
    /// Names in the scope of the expression.
    pub free: Vec<Ref>,
    /// Names that comprehensions bind.
    pub bound: Vec<Ref>,
    /// The places that bind a name.
    pub binds: Vec<Ref>,
}

/// Parts the references of `node`, which are `all`.
pub(super) fn part(node: &Node, all: Vec<Ref>) -> Parted {
    let mut found = Vec::new();
    comprehensions(node, &mut found);
    let is_bound = |read: &Ref| {
        let Some(Step::Key(root)) = read.path.first() else { return false };
        let names = |made: &&&Comprehension| made.names.iter().any(|(name, _)| name == root);
        found.iter().filter(names).any(|made| made.binds_at(&read.range))
    };
    let (bound, free) = all.into_iter().partition(is_bound);
    let binds = found.iter().flat_map(|made| &made.names).map(|(name, range)| Ref {
        path: vec![Step::Key(name.clone())],
        file: None,
        range: range.clone(),
        key_ranges: vec![range.clone()],
        guarded: false,
        fallback: Fallback::None,
    });
    Parted { free, bound, binds: binds.collect() }
}

/// The fault of a name that hides another one.
pub(super) fn hidden(name: &str, range: &Range<usize>) -> Fault {
    Fault::new(FaultKind::Hidden, range.clone(), format!("this `{name}` hides another `{name}`"))
        .help("choose another name")
}

/// Faults of names in `node` that hide `outer` ones or each other.
pub(super) fn faults(node: &Node, outer: &[&str]) -> Vec<Fault> {
    let (mut names, mut found) = (outer.to_vec(), Vec::new());
    look(node, &mut names, &mut found);
    found
}

fn look<'n>(node: &'n Node, names: &mut Vec<&'n str>, found: &mut Vec<Fault>) {
    let Kind::Comprehension(made) = &node.kind else {
        return node.children().into_iter().for_each(|child| look(child, names, found));
    };
    look(&made.over, names, found);
    let hides = made.names.iter().filter(|(name, _)| names.contains(&name.as_str()));
    found.extend(hides.map(|(name, range)| hidden(name, range)));
    let before = names.len();
    names.extend(made.names.iter().map(|(name, _)| name.as_str()));
    made.inner().chain(&made.only).for_each(|inner| look(inner, names, found));
    names.truncate(before);
}

impl Infer<'_> {
    /// What a comprehension makes.
    pub(super) fn comprehension(&mut self, made: &Comprehension) -> Shape {
        let over = self.node(&made.over);
        if !over.may(|shape| matches!(shape, Shape::List(_) | Shape::Table(_))) {
            let help = if over == Shape::Text { "make a list of it: `… | lines`" } else { "" };
            let message = format!("`for` takes a list or an object, this is {}", over.noun());
            self.complain(FaultKind::Mixed, &made.over.span, message, help);
        }
        let before = self.locals.len();
        let shapes = items(&over, made.names.len());
        self.locals.extend(made.names.iter().map(|(name, _)| name.clone()).zip(shapes));
        if let Some(only) = &made.only {
            self.condition(only);
        }
        let asks = made.only.as_ref().is_some_and(asks_kind);
        let shape = self.at_times(asks, |this| {
            if let Some(key) = &made.key {
                this.key(key);
            }
            this.node(&made.value)
        });
        self.locals.truncate(before);
        match made.key {
            None => Shape::list(shape),
            Some(_) => Shape::Table(KnownFields { open: true, ..KnownFields::default() }.into()),
        }
    }

    fn key(&mut self, key: &Node) {
        let shape = self.node(key);
        if !shape.may(|shape| *shape == Shape::Text) {
            let message = format!("the keys of an object are text, this is {}", shape.noun());
            self.complain(FaultKind::Mixed, &key.span, message, "convert it: `… | string`");
        }
    }
}

/// What the names are of which there are `count`, for the items of `over`.
fn items(over: &Shape, count: usize) -> [Shape; 2] {
    let one = |shape: &Shape| match (shape, count) {
        (Shape::List(item), 1) => [item.as_ref().clone(), Shape::Any],
        (Shape::List(pair), _) => [pair.item(), pair.item()],
        (Shape::Table(fields), _) if !fields.open => {
            [Shape::Text, Shape::one_of(fields.known.values().cloned())]
        }
        (Shape::Table(_), _) => [Shape::Text, Shape::Any],
        _ => [Shape::Any, Shape::Any],
    };
    let is_possible = |shape: &&Shape| matches!(shape, Shape::Any | Shape::List(_) | Shape::Table(_));
    let (firsts, seconds): (Vec<_>, Vec<_>) =
        over.variants().iter().filter(is_possible).map(one).map(|[first, second]| (first, second)).unzip();
    [Shape::one_of(firsts), Shape::one_of(seconds)]
}
