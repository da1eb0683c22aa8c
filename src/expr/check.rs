//! What guards and filters ask of the values they are given, and how they complain.

use std::cmp::Ordering;
use std::fmt;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value as Inner};

use super::data::noun;

/// What a guard, a filter or a test gives.
pub(super) type Checked<T = Inner> = Result<T, Error>;

/// How many items a filter may make.
pub(super) const MAX_ITEMS: usize = 1_000_000;
/// How many bytes of text a filter or a template may make: 16 MiB.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// The hint that travels with an error through minijinja.
#[derive(Debug)]
pub(super) struct Hint(pub String);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hint {}

pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

pub(super) fn wrong_with(message: impl Into<String>, hint: impl Into<String>) -> Error {
    wrong(message).with_source(Hint(hint.into()))
}

pub(super) fn noun_error(what: &str, found: &Inner) -> Error {
    wrong(format!("expected {what}, this is {}", noun(found)))
}

pub(super) fn is_list(value: &Inner) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

pub(super) fn items(value: &Inner) -> Checked<impl Iterator<Item = Inner> + use<>> {
    if !is_list(value) {
        return Err(noun_error("a list", value));
    }
    value.try_iter()
}

pub(super) fn list(value: &Inner) -> Checked<Vec<Inner>> {
    bounded(items(value)?)
}

pub(super) fn bounded(items: impl Iterator<Item = Inner>) -> Checked<Vec<Inner>> {
    let made: Vec<Inner> = items.take(MAX_ITEMS + 1).collect();
    if made.len() > MAX_ITEMS {
        return Err(wrong(format!("a list of more than {MAX_ITEMS} items")));
    }
    Ok(made)
}

pub(super) fn text(value: &Inner) -> Checked<&str> {
    value.as_str().ok_or_else(|| noun_error("text", value))
}

pub(super) fn text_or<'a>(value: &'a Inner, fallback: &'a str) -> Checked<&'a str> {
    if value.is_none() { Ok(fallback) } else { text(value) }
}

/// `text` as a value, if it is not too long.
pub(super) fn made(text: String) -> Checked {
    if text.len() > MAX_BYTES { Err(too_long()) } else { Ok(Inner::from(text)) }
}

pub(super) fn too_long() -> Error {
    wrong(format!("the text is longer than {} MiB", MAX_BYTES >> 20))
}

pub(super) fn number(value: &Inner) -> Checked<f64> {
    if value.is_number() { f64::try_from(value.clone()) } else { Err(noun_error("a number", value)) }
}

pub(super) fn whole(value: &Inner) -> Checked<i64> {
    value.as_i64().filter(|_| value.is_number()).ok_or_else(|| noun_error("a whole number", value))
}

pub(super) fn count(value: &Inner) -> Checked<usize> {
    usize::try_from(whole(value)?).map_err(|_| wrong("expected a number that is not negative"))
}

pub(super) fn flag(value: &Inner) -> Checked<bool> {
    match value.kind() {
        ValueKind::None => Ok(false),
        ValueKind::Bool => Ok(value.is_true()),
        _ => Err(noun_error("true or false", value)),
    }
}

/// The truth of a condition: none, false, 0, and empty text, lists and objects are false.
pub(super) fn truth(value: &Inner) -> bool {
    match value.kind() {
        ValueKind::String => value.as_str().is_some_and(|text| !text.is_empty()),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => match value.len() {
            Some(length) => length > 0,
            None => value.try_iter().is_ok_and(|mut items| items.next().is_some()),
        },
        _ => value.is_true(),
    }
}

/// Order of two numbers or two texts; anything else has none.
pub(super) fn order(left: &Inner, right: &Inner) -> Checked<Ordering> {
    match (left.kind(), right.kind()) {
        (ValueKind::Number, ValueKind::Number) | (ValueKind::String, ValueKind::String) => {
            Ok(left.cmp(right))
        }
        (a, b) => Err(incomparable(left, right, a == ValueKind::None || b == ValueKind::None)),
    }
}

/// Equality of two values of one type; `none` may be compared with anything.
pub(super) fn same(left: &Inner, right: &Inner) -> Checked<bool> {
    let (a, b) = (left.kind(), right.kind());
    if a == b || (is_list(left) && is_list(right)) {
        return Ok(left == right || (is_list(left) && items(left)?.eq(items(right)?)));
    }
    if a == ValueKind::None || b == ValueKind::None {
        return Ok(false);
    }
    Err(incomparable(left, right, false))
}

fn incomparable(left: &Inner, right: &Inner, none: bool) -> Error {
    let message = format!("cannot compare {} with {}", noun(left), noun(right));
    if none {
        return wrong_with(message, "ask first: `… is not none and …`");
    }
    match (left.kind(), right.kind()) {
        (ValueKind::String, ValueKind::Number) | (ValueKind::Number, ValueKind::String) => {
            wrong_with(message, "convert one: `… | float` or `… | string`")
        }
        _ => wrong(message),
    }
}

/// What lies under a dotted path: `output.score`.
pub(super) fn dig(value: &Inner, path: &str) -> Option<Inner> {
    path.split('.').try_fold(value.clone(), |value, key| {
        let found = if is_list(&value) {
            value.get_item_by_index(key.parse().ok()?).ok()?
        } else {
            value.get_attr(key).ok()?
        };
        (!found.is_undefined()).then_some(found)
    })
}

/// What lies under a dotted path, which must be there.
pub(super) fn must_dig(value: &Inner, path: &str) -> Checked {
    dig(value, path).ok_or_else(|| {
        let message = format!("an item has no `{path}`");
        match keys(value) {
            Some(keys) if !keys.is_empty() => wrong_with(message, format!("it has: {keys}")),
            _ => wrong(message),
        }
    })
}

/// The keys of an object, for people.
pub(super) fn keys(value: &Inner) -> Option<String> {
    if value.kind() != ValueKind::Map {
        return None;
    }
    let mut names: Vec<String> = value.try_iter().ok()?.take(13).map(|key| key.to_string()).collect();
    if names.len() > 12 {
        "…".clone_into(&mut names[12]);
    }
    Some(names.join(", "))
}

/// A value as text: text as it is, anything else as JSON.
pub(super) fn display(value: &Inner) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => super::data::outer(value).to_string(),
    }
}
