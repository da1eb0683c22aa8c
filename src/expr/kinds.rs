//! Which kinds of values filters and tests can work with.

use std::ops::Range;

use super::ast::{Arg, Kind, Node, Op};
use super::choices::{literal, shown};
use super::fault::FaultKind;
use super::filters;
use super::infer::Infer;
use super::refs::Step;
use super::rules::{impossible, step};
use super::shape::{NoField, Shape};
use crate::diag::{listed, nearest};
use crate::value::Value;

const BOOL: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 4;
const LIST: u8 = 8;
const TABLE: u8 = 16;
const NONE: u8 = 32;

/// What is wrong and what to do about it.
pub(super) type Misuse = (String, &'static str);

/// Whether a value of this shape may be of one of these kinds.
fn may_be(shape: &Shape, kinds: u8) -> bool {
    shape.may(|shape| {
        let kind = match shape {
            Shape::Any | Shape::OneOf(_) => return true,
            Shape::None => NONE,
            Shape::Bool => BOOL,
            Shape::Number => NUMBER,
            Shape::Text => TEXT,
            Shape::List(_) => LIST,
            Shape::Table(_) => TABLE,
        };
        kinds & kind != 0
    })
}

/// What a filter works on; nothing where it works on anything.
fn subject(filter: &str) -> Option<u8> {
    Some(match filter {
        "capitalize" | "fromjson" | "head_text" | "indent" | "lines" | "lower" | "regex_find"
        | "regex_findall" | "regex_replace" | "replace" | "split" | "tail_text" | "title" | "trim"
        | "upper" | "wordcount" => TEXT,
        "abs" | "ceil" | "clamp" | "floor" | "log" | "round" | "sqrt" => NUMBER,
        "all" | "any" | "choice" | "chunk" | "csv" | "dict" | "enumerate" | "first" | "flatten"
        | "group_by" | "head" | "join" | "jsonl" | "last" | "map" | "max" | "mean" | "median" | "min"
        | "percentile" | "reject" | "rejectattr" | "select" | "selectattr" | "sample" | "shuffle"
        | "sort" | "stdev" | "sum" | "tail" | "unique" | "zip" => LIST,
        "items" | "keys" | "merge" | "values" | "without" => TABLE,
        "float" | "add" | "date" | "since" => NUMBER | TEXT,
        "int" => NUMBER | TEXT | BOOL,
        "length" => TEXT | LIST | TABLE,
        "list" | "product" => LIST | TABLE,
        "index" | "reverse" => TEXT | LIST,
        _ => return None,
    })
}

/// What an argument of a filter is; nothing where it may be anything. One that is left out is as if it were none.
fn argument(filter: &str, name: &str) -> Option<u8> {
    Some(match (filter, name) {
        ("replace" | "regex_find" | "regex_findall" | "regex_replace" | "jsonpath" | "without", _)
        | ("format", "spec") => TEXT,
        ("clamp", _)
        | ("gauss", "mean" | "deviation")
        | ("randint", "low" | "high")
        | ("percentile", "p")
        | ("sample" | "head" | "tail", "n")
        | ("head_text" | "tail_text", "chars")
        | ("chunk", "size") => NUMBER,
        ("add", "span") | ("since", "start") => NUMBER | TEXT,
        ("join" | "split" | "csv", "separator")
        | ("date", "format")
        | ("trim", "chars")
        | ("fence", "language") => TEXT | NONE,
        ("round", "digits") | ("indent", "width") | ("split", "at_most") | ("tojson", "indent") => {
            NUMBER | NONE
        }
        ("code_span" | "one_line", "width") | ("enumerate", "start") | ("log", "base") => NUMBER | NONE,
        ("sort", "reverse") | ("indent", "first") | ("csv", "header") => BOOL | NONE,
        ("zip" | "product", _) => LIST,
        ("merge", _) => TABLE,
        _ => return None,
    })
}

/// What a filter works on, for people.
pub(super) fn works_on(filter: &str) -> String {
    subject(filter).map_or_else(|| "any value".to_owned(), nouns)
}

fn nouns(kinds: u8) -> String {
    let all = [
        (TEXT, "text"),
        (NUMBER, "a number"),
        (BOOL, "a truth value"),
        (LIST, "a list"),
        (TABLE, "an object"),
    ];
    let words: Vec<&str> = all.iter().filter(|(kind, _)| kinds & kind != 0).map(|(_, noun)| *noun).collect();
    words.join(" or ")
}

/// How a value of this shape becomes one of these kinds.
fn conversion(kinds: u8, shape: &Shape) -> &'static str {
    match shape.noun() {
        "text" if kinds == NUMBER => "convert it: `… | float` or `… | int`",
        "text" if kinds & LIST != 0 => "make a list of it: `… | lines`, `… | split(',')` or `[…]`",
        "an object" if kinds == LIST => "take its `… | values`, `… | keys` or `… | items`",
        "a list" if kinds == TEXT => {
            "make a text of it: `… | join(', ')`, or apply it to each: `… | map('NAME')`"
        }
        _ if kinds == TEXT => "convert it: `… | string`",
        _ => "",
    }
}

/// Why the filter `name` can never work on this, with these arguments.
pub(super) fn filter_misuse(name: &str, on: &Shape, args: &[Arg], given: &[Shape]) -> Option<Misuse> {
    if let Some(kinds) = subject(name).filter(|kinds| !may_be(on, *kinds)) {
        let message = format!("`{name}` works on {}, this is {}", nouns(kinds), on.noun());
        return Some((message, conversion(kinds, on)));
    }
    let params = filters::find(name)?.params();
    for (place, (arg, shape)) in args.iter().zip(given).enumerate() {
        let param = match &arg.name {
            Some((name, _)) => params.iter().find(|param| param.name == name.as_str()),
            None => params.get(place).or(params.last().filter(|param| param.rest)),
        };
        let Some(param) = param else { continue };
        if let Some(kinds) = argument(name, &param.name).filter(|kinds| !may_be(shape, *kinds)) {
            let message =
                format!("`{}` of `{name}` is {}, this is {}", param.name, nouns(kinds), shape.noun());
            return Some((message, conversion(kinds, shape)));
        }
    }
    None
}

/// The operator that the test `name` is another word for.
pub(super) fn operator(name: &str) -> Option<Op> {
    Some(match name {
        "eq" => Op::Eq,
        "ne" => Op::Ne,
        "lt" => Op::Lt,
        "le" => Op::Le,
        "gt" => Op::Gt,
        "ge" => Op::Ge,
        "in" => Op::In,
        _ => return None,
    })
}

/// Why the test `name` can never be put to this, with these arguments.
pub(super) fn test_misuse(name: &str, on: &Shape, given: &[Shape]) -> Option<Misuse> {
    if let (Some(op), Some(other)) = (operator(name), given.first()) {
        return impossible(op, on, other).map(|message| (message, ""));
    }
    let kinds = match name {
        "even" | "odd" | "divisibleby" => NUMBER,
        "lower" | "upper" | "startingwith" | "endingwith" | "matching" => TEXT,
        _ => return None,
    };
    let wrong = std::iter::once(on).chain(given).find(|shape| !may_be(shape, kinds))?;
    let message = format!("`is {name}` asks about {}, this is {}", nouns(kinds), wrong.noun());
    Some((message, conversion(kinds, wrong)))
}

/// Whether a condition asks what kind of value something is, or whether it is there: then not every branch is for every value.
pub(super) fn asks_kind(condition: &Node) -> bool {
    let here = match &condition.kind {
        Kind::Test { name, .. } => matches!(
            name.as_str(),
            "defined"
                | "undefined"
                | "boolean"
                | "string"
                | "number"
                | "integer"
                | "float"
                | "mapping"
                | "sequence"
                | "iterable"
        ),
        _ => false,
    };
    here || condition.children().into_iter().any(asks_kind)
}

impl Infer<'_> {
    /// Complains about a field that there cannot be.
    pub(super) fn no_field(&mut self, key: &str, range: &Range<usize>, wrong: &NoField) {
        let (known, noun) = (wrong.known(), wrong.noun);
        let help = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() && noun == "a list" => {
                format!("write `… | map(attribute='{key}')`, or take one item: `[0].{key}`")
            }
            None if known.is_empty() => "it is a plain value without fields".to_owned(),
            None => format!("its fields are {}", listed(known)),
        };
        self.complain(FaultKind::Field, range, format!("{noun} here has no field `{key}`"), &help);
    }

    /// Complains about an attribute that no item has.
    pub(super) fn attribute(&mut self, subject: &Shape, path: &str, range: &Range<usize>) {
        if !subject.may(|shape| matches!(shape, Shape::List(_))) {
            return;
        }
        let steps: Vec<Step> = path.split('.').map(step).collect();
        if let Err(wrong) = subject.item().walk(&steps) {
            let key = path.split('.').nth(wrong.at).unwrap_or(path);
            self.no_field(key, range, &wrong);
        }
    }

    /// Complains where something that is one of a few values is compared with others.
    pub(super) fn compare_choices(&mut self, node: &Node, op: Op, left: &Node, right: &Node) {
        let single = |side: &Node| literal(side).map(|value| vec![value]);
        let (asked, written) = match (op, &right.kind) {
            (Op::Eq | Op::Ne, _) => match (single(right), single(left)) {
                (Some(written), _) => (left, written),
                (None, Some(written)) => (right, written),
                (None, None) => return,
            },
            (Op::In | Op::NotIn, Kind::List(items)) => {
                (left, items.iter().map(literal).collect::<Option<_>>().unwrap_or_default())
            }
            _ => return,
        };
        let Some(known) = self.path_of(asked).and_then(|path| self.names.choices(&path)) else { return };
        let other_kind = |value: &Value| !known.has_kind_of(value);
        // What is of another kind has a complaint of its own, or is written for other values.
        if written.is_empty()
            || written.iter().any(|value| known.has(value))
            || written.iter().all(other_kind)
        {
            return;
        }
        let said: Vec<String> = written.iter().map(|value| format!("`{}`", shown(value))).collect();
        let message = format!("this is never {}: it is one of {}", said.join(" or "), known.listed());
        let near = written.first().and_then(Value::as_str).and_then(|word| nearest(word, known.words()));
        let help = near.map_or_else(
            || "compare it with one of its values".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.complain(FaultKind::OtherWord, &node.span, message, &help);
    }

    /// The path of keys of a name in scope, where it is nothing else.
    pub(super) fn path_of(&self, node: &Node) -> Option<Vec<Step>> {
        let mut path = match &node.kind {
            Kind::Name(root) => {
                let own = self.inside > 0 || self.locals.iter().any(|(name, _)| name == root);
                return (!own).then(|| vec![Step::Key(root.clone())]);
            }
            Kind::Key { base, .. } => self.path_of(base)?,
            _ => return None,
        };
        if let Kind::Key { key, .. } = &node.kind {
            path.push(Step::Key(key.clone()));
        }
        Some(path)
    }
}
