//! The one minijinja environment: guards, filters and tests under names that authors cannot write.

use std::sync::LazyLock;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, State, UndefinedBehavior, Value as Inner};

use super::check::{
    Checked, MAX_BYTES, MAX_ITEMS, bounded, display, is_list, items, noun_error, order, same, text, too_long,
    truth, wrong, wrong_with,
};
use super::data::noun;
use super::filters::{self};
use super::tests_table::{TESTS, contains};

/// How many instructions one expression may run: far more than any needs, and far less than forever.
const FUEL: u64 = 10_000_000;

/// The environment, built on first use and shared by everything.
pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_fuel(Some(FUEL));
    env.add_function("__there", there);
    env.add_function("__truth", |value: &Inner| truth(defined(value)?));
    env.add_function("__number", factor);
    env.add_function("__eq", |a: &Inner, b: &Inner| same(defined(a)?, defined(b)?));
    env.add_function("__ne", |a: &Inner, b: &Inner| same(defined(a)?, defined(b)?).map(|same| !same));
    env.add_function("__lt", |a: &Inner, b: &Inner| Ok(order(defined(a)?, defined(b)?)?.is_lt()));
    env.add_function("__le", |a: &Inner, b: &Inner| Ok(order(defined(a)?, defined(b)?)?.is_le()));
    env.add_function("__gt", |a: &Inner, b: &Inner| Ok(order(defined(a)?, defined(b)?)?.is_gt()));
    env.add_function("__ge", |a: &Inner, b: &Inner| Ok(order(defined(a)?, defined(b)?)?.is_ge()));
    env.add_function("__in", |a: &Inner, b: &Inner| contains(defined(b)?, defined(a)?));
    env.add_function("__not_in", |a: &Inner, b: &Inner| {
        contains(defined(b)?, defined(a)?).map(|found| !found)
    });
    env.add_function("__add", |values: Rest<Inner>| fold(&values, add));
    env.add_function("__concat", |values: Rest<Inner>| concat(&values));
    env.add_function("__index", index);
    env.add_function("__slice", slice);
    env.add_function("__key", |key: &Inner| text(key).map(Inner::from));
    env.add_function("__range", range);
    for filter in filters::all() {
        let run = filter.run;
        env.add_function(format!("__f_{}", filter.doc.name), move |state: &mut State, args: Rest<Inner>| {
            run(state, &args)
        });
    }
    for test in TESTS {
        env.add_function(format!("__t_{}", test.name), move |args: Rest<Inner>| (test.ask)(&args));
    }
    env
});

fn defined(value: &Inner) -> Checked<&Inner> {
    if value.is_undefined() {
        return Err(minijinja::Error::new(minijinja::ErrorKind::UndefinedError, "undefined"));
    }
    Ok(value)
}

fn there(value: &Inner) -> Checked {
    defined(value).cloned()
}

fn factor(value: &Inner) -> Checked {
    if defined(value)?.is_number() {
        return Ok(value.clone());
    }
    let error = format!("cannot calculate with {}", noun(value));
    Err(match value.kind() {
        ValueKind::String => wrong_with(error, "convert it: `… | float` or `… | int`"),
        ValueKind::None => wrong_with(error, "ask first: `… if … is not none else …`"),
        _ => wrong(error),
    })
}

fn fold(values: &[Inner], join: fn(&Inner, &Inner) -> Checked) -> Checked {
    let mut values = values.iter();
    let first = values.next().cloned().unwrap_or_default();
    values.try_fold(first, |sum, value| join(&sum, value))
}

fn add(a: &Inner, b: &Inner) -> Checked {
    match (a.kind(), b.kind()) {
        (ValueKind::Number, ValueKind::Number) if a.is_integer() && b.is_integer() => {
            let (a, b) = (i128::try_from(a.clone())?, i128::try_from(b.clone())?);
            let sum = a.checked_add(b).ok_or_else(|| wrong("the sum is too large"))?;
            Ok(i64::try_from(sum).map_or_else(|_| Inner::from(sum), Inner::from))
        }
        (ValueKind::Number, ValueKind::Number) => {
            Ok(Inner::from(f64::try_from(a.clone())? + f64::try_from(b.clone())?))
        }
        (ValueKind::String, ValueKind::String) => concat(&[a.clone(), b.clone()]),
        _ if is_list(a) && is_list(b) => bounded(items(a)?.chain(items(b)?)).map(Inner::from),
        (ValueKind::Map, ValueKind::Map) => {
            Err(wrong_with("objects cannot be added", "write `a | merge(b)`"))
        }
        (one, other) => {
            let message = format!("cannot add {} and {}", noun(a), noun(b));
            Err(match (one, other) {
                (ValueKind::String, _) | (_, ValueKind::String) => wrong_with(message, "join text with `~`"),
                _ if is_list(a) => wrong_with(message, "put it into a list: `… + [item]`"),
                _ => wrong(message),
            })
        }
    }
}

fn concat(values: &[Inner]) -> Checked {
    let mut joined = String::new();
    for value in values {
        joined.push_str(&display(value));
        if joined.len() > MAX_BYTES {
            return Err(too_long());
        }
    }
    Ok(Inner::from(joined))
}

/// An item by its number (from the end if negative) or a value by its key; undefined if there is none.
fn index(base: &Inner, index: &Inner) -> Checked {
    defined(base)?;
    match base.kind() {
        ValueKind::Map => Ok(base.get_attr(text(index)?)?),
        ValueKind::String | ValueKind::Seq | ValueKind::Iterable => {
            let whole = index.as_i64().filter(|_| index.is_number() && index.is_integer());
            let Some(wanted) = whole else { return Err(noun_error("a whole number as index", index)) };
            let length = match base.len() {
                Some(length) => length,
                None => items(base)?.count(),
            };
            let from_end = usize::try_from(wanted.unsigned_abs()).ok();
            let place =
                if wanted < 0 { from_end.and_then(|back| length.checked_sub(back)) } else { from_end };
            let Some(place) = place.filter(|place| *place < length) else { return Ok(Inner::UNDEFINED) };
            match base.kind() {
                ValueKind::Seq => base.get_item_by_index(place),
                ValueKind::String => Ok(text(base)?
                    .chars()
                    .nth(place)
                    .map_or(Inner::UNDEFINED, |c| Inner::from(c.to_string()))),
                _ => Ok(items(base)?.nth(place).unwrap_or_default()),
            }
        }
        _ => Err(wrong(format!("{} has no items", noun(base)))),
    }
}

/// Part of a list or a text, with the meaning that Python gives to `[start:stop:step]`.
fn slice(base: &Inner, start: &Inner, stop: &Inner, by: &Inner) -> Checked {
    let bound = |value: &Inner| if value.is_none() { Ok(None) } else { super::check::whole(value).map(Some) };
    let (start, stop, by) = (bound(start)?, bound(stop)?, bound(by)?.unwrap_or(1));
    if by == 0 {
        return Err(wrong("a slice cannot go on by zero"));
    }
    let chars: Option<Vec<char>> = base.as_str().map(|text| text.chars().collect());
    let length = match (&chars, base.len()) {
        (Some(chars), _) => chars.len(),
        (None, Some(length)) if is_list(base) => length,
        _ => items(base)?.count(),
    };
    let places = places(i64::try_from(length).unwrap_or(i64::MAX), start, stop, by);
    match chars {
        Some(chars) => Ok(Inner::from(places.filter_map(|i| chars.get(i)).collect::<String>())),
        None if base.kind() == ValueKind::Seq => {
            places.map(|i| base.get_item_by_index(i)).collect::<Checked<Vec<_>>>().map(Inner::from)
        }
        None => {
            let all: Vec<Inner> = items(base)?.collect();
            Ok(Inner::from(places.filter_map(|i| all.get(i).cloned()).collect::<Vec<_>>()))
        }
    }
}

fn places(length: i64, start: Option<i64>, stop: Option<i64>, by: i64) -> impl Iterator<Item = usize> {
    let (low, high) = if by > 0 { (0, length) } else { (-1, length - 1) };
    let clip = |at: i64| (if at < 0 { at.saturating_add(length) } else { at }).clamp(low, high);
    let (first, last) = if by > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (start.map_or(first, clip), stop.map_or(last, clip));
    let next = move |at: &i64| at.checked_add(by);
    std::iter::successors(Some(start), next)
        .take_while(move |at| if by > 0 { *at < stop } else { *at > stop })
        .filter_map(|at| usize::try_from(at).ok())
}

fn range(start: &Inner, stop: &Inner, by: &Inner) -> Checked {
    let whole = super::check::whole;
    let (start, stop) = if stop.is_none() { (0, whole(start)?) } else { (whole(start)?, whole(stop)?) };
    let by = if by.is_none() { 1 } else { whole(by)? };
    if by == 0 {
        return Err(wrong("a range cannot go on by zero"));
    }
    let more = |at: &i64| if by > 0 { *at < stop } else { *at > stop };
    let numbers = std::iter::successors(Some(start), |at| at.checked_add(by)).take_while(more);
    let made: Vec<Inner> = numbers.take(MAX_ITEMS + 1).map(Inner::from).collect();
    if made.len() > MAX_ITEMS {
        return Err(wrong(format!("this range has more than {MAX_ITEMS} numbers")));
    }
    Ok(Inner::from(made))
}
