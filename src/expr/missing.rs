//! Saying what is not there: the full path, what stands beside it, and the nearest name.

use std::ops::Range;

use minijinja::Value as Inner;

use super::check::keys;
use super::data::noun;
use super::refs::{Ref, Step};
use super::scope::Scope;
use crate::diag::nearest;

/// A message, a hint, and the path up to the first part that is missing.
type Told = (String, Option<String>, Option<Box<[Step]>>);

/// Explains that something inside the bytes `at` is undefined.
pub(super) fn tell(refs: &[Ref], at: &Range<usize>, snippet: &str, scope: &Scope) -> Told {
    let inside = |found: &&Ref| at.start <= found.range.start && found.range.end <= at.end;
    let around = |found: &&Ref| found.range.start <= at.start && at.end <= found.range.end;
    let mut likely = refs.iter().filter(inside).chain(refs.iter().filter(around));
    if let Some(told) = likely.find_map(|found| lost(found, scope)) {
        return told;
    }
    if snippet.contains('|') {
        return (
            format!("`{snippet}` has no value: the list is empty"),
            Some("add `| default(…)`".to_owned()),
            None,
        );
    }
    (format!("`{snippet}` is not there"), None, None)
}

/// Where a reference leaves what the scope holds.
fn lost(found: &Ref, scope: &Scope) -> Option<Told> {
    let Some(Step::Key(root)) = found.path.first() else { return None };
    let Some(data) = scope.get(root) else {
        let (message, hint) = no_root(root, scope);
        return Some((message, hint, None));
    };
    let mut value = data.0.clone();
    let mut path = root.clone();
    for (place, step) in found.path.iter().enumerate().skip(1) {
        let (name, next) = match step {
            Step::Key(key) => (format!("{path}.{key}"), value.get_attr(key).ok()?),
            Step::Index(index) => (format!("{path}[{index}]"), at(&value, *index)),
            Step::Dynamic => return None,
        };
        if next.is_undefined() {
            let (message, hint) = told(&name, &path, step, &value);
            return Some((message, hint, Some(found.path[..=place].into())));
        }
        (value, path) = (next, name);
    }
    None
}

fn at(value: &Inner, index: i64) -> Inner {
    let length = value.len().and_then(|length| i64::try_from(length).ok()).unwrap_or(0);
    let place = if index < 0 { index.saturating_add(length) } else { index };
    usize::try_from(place).ok().and_then(|place| value.get_item_by_index(place).ok()).unwrap_or_default()
}

fn no_root(root: &str, scope: &Scope) -> (String, Option<String>) {
    let known: Vec<&str> = scope.names().collect();
    let hint = nearest(root, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    if known.is_empty() {
        return (format!("`{root}` is not there"), hint);
    }
    (format!("`{root}` is not there; there is: {}", known.join(", ")), hint)
}

fn told(name: &str, parent: &str, step: &Step, value: &Inner) -> (String, Option<String>) {
    if let Step::Key(key) = step
        && let Some(known) = keys(value)
    {
        let all: Vec<String> =
            value.try_iter().map(|keys| keys.map(|key| key.to_string()).collect()).unwrap_or_default();
        let hint = nearest(key, all.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let has = if known.is_empty() { "nothing".to_owned() } else { known };
        return (format!("`{name}` is not there; it has: {has}"), hint);
    }
    if super::check::is_list(value) {
        let length = value.len().unwrap_or_default();
        return (format!("`{name}` is not there: `{parent}` is a list of {length}"), None);
    }
    (format!("`{name}` is not there: `{parent}` is {}", noun(value)), None)
}
