//! What filters and operators give, and what they can never be given.

use super::ast::Op;
use super::refs::Step;
use super::shape::{KnownFields, Shape};

/// One key of a dotted path, as filters read it.
pub(super) fn step(key: &str) -> Step {
    key.parse().map_or_else(|_| Step::Key(key.to_owned()), Step::Index)
}

/// What lies under a dotted path, where that is possible.
pub(super) fn dig(shape: &Shape, path: &str) -> Option<Shape> {
    let steps: Vec<Step> = path.split('.').map(step).collect();
    shape.walk(&steps).ok()
}

pub(super) fn same_list(subject: &Shape) -> Shape {
    if subject.may(|shape| matches!(shape, Shape::List(_))) {
        Shape::list(subject.item())
    } else {
        Shape::Any
    }
}

pub(super) fn merged<'s>(tables: impl Iterator<Item = &'s Shape>) -> Shape {
    let mut all = KnownFields::default();
    for table in tables {
        let Shape::Table(fields) = table else { return Shape::Any };
        all.open |= fields.open;
        all.known.extend(fields.known.iter().map(|(name, shape)| (name.clone(), shape.clone())));
    }
    // An unknown field of a later table may stand in the place of a known one.
    if all.open { Shape::Any } else { Shape::Table(std::sync::Arc::new(all)) }
}

/// What a filter gives that neither has a function in it nor an attribute that matters.
pub(super) fn plain(name: &str, subject: &Shape) -> Shape {
    let list = || same_list(subject);
    match name {
        "length" | "int" | "float" | "abs" | "ceil" | "floor" | "round" | "wordcount" | "random" | "sqrt"
        | "log" | "since" | "randint" | "gauss" => Shape::Number,
        "join" | "string" | "trim" | "upper" | "lower" | "title" | "capitalize" | "replace" | "tojson"
        | "add" | "csv" | "date" | "digest" | "format" | "jsonl" | "sha256" | "urlencode" | "fence"
        | "indent" | "head_text" | "tail_text" | "regex_replace" => Shape::Text,
        "all" | "any" => Shape::Bool,
        "sort" | "unique" | "head" | "tail" | "sample" | "shuffle" => list(),
        "reverse" if !subject.may(|shape| *shape == Shape::Text) => list(),
        "list" if !subject.may(|shape| matches!(shape, Shape::Table(_) | Shape::Text)) => list(),
        "first" | "last" | "choice" if !subject.may(|shape| *shape == Shape::Text) => subject.item(),
        "split" | "lines" | "keys" | "regex_findall" => {
            Shape::list(if name == "regex_findall" { Shape::Any } else { Shape::Text })
        }
        "zip" | "items" | "enumerate" | "product" | "jsonpath" | "values" => Shape::list(Shape::Any),
        "chunk" => Shape::list(list()),
        "group_by" => Shape::list(Shape::table([("key", Shape::Any), ("items", list())])),
        "flatten" => {
            let item = subject.item();
            let flat = item.variants().iter().map(|shape| match shape {
                Shape::List(inner) => inner.as_ref().clone(),
                other => other.clone(),
            });
            Shape::list(Shape::one_of(flat))
        }
        _ => Shape::Any,
    }
}

/// What the sum of two values is, if there is one.
pub(super) fn sum(a: &Shape, b: &Shape) -> Shape {
    match (a, b) {
        (Shape::List(a), Shape::List(b)) => {
            Shape::list(Shape::one_of([a.as_ref().clone(), b.as_ref().clone()]))
        }
        (Shape::List(_), _) | (_, Shape::List(_)) => Shape::list(Shape::Any),
        // Only what is of one kind can be added.
        (Shape::Text | Shape::Number, _) => a.clone(),
        (_, Shape::Text | Shape::Number) => b.clone(),
        _ => Shape::Any,
    }
}

/// Why `op` can never work on these two.
pub(super) fn impossible(op: Op, a: &Shape, b: &Shape) -> Option<String> {
    let kind = |shape: &Shape| match shape {
        Shape::Any | Shape::OneOf(_) => 0,
        Shape::None => 1,
        Shape::Bool => 2,
        Shape::Number => 3,
        Shape::Text => 4,
        Shape::List(_) => 5,
        Shape::Table(_) => 6,
    };
    let any = |fits: &dyn Fn(u8, u8) -> bool| {
        let pairs = |a: &Shape| b.variants().iter().map(|b| (kind(a), kind(b))).collect::<Vec<_>>();
        a.variants().iter().flat_map(pairs).any(|(a, b)| a == 0 || b == 0 || fits(a, b))
    };
    let (x, y) = (a.noun(), b.noun());
    // What may be none is compared for the sake of its other values, unless the other side may be none too.
    let nothing = |shape: &Shape| shape.variants().iter().all(|shape| *shape == Shape::None);
    let for_none = nothing(a) || nothing(b);
    match op {
        Op::Eq | Op::Ne if !for_none && !any(&|a, b| a == b) => Some(format!("cannot compare {x} with {y}")),
        Op::Lt | Op::Le | Op::Gt | Op::Ge if !any(&|a, b| a == b && (a == 3 || a == 4)) => {
            Some(format!("`{}` orders numbers or texts, this is {x} and {y}", op.sign()))
        }
        Op::In | Op::NotIn if !any(&|_, b| b >= 4) => Some(format!("nothing is `in` {y}")),
        Op::Add if !any(&|a, b| a == b && matches!(a, 3..=5)) => Some(format!("cannot add {x} and {y}")),
        Op::Sub | Op::Mul | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow if !any(&|a, b| a == 3 && b == 3) => {
            Some(format!("`{}` calculates with numbers, this is {x} and {y}", op.sign()))
        }
        _ => None,
    }
}
