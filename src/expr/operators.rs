//! What operators do with values: nothing is converted, and what has no meaning is an error.

use minijinja::value::ValueKind;
use minijinja::{Error, Value as Inner};

use super::ast::Op;
use super::check::{
    Checked, MAX_BYTES, MAX_ITEMS, bounded, display, is_list, items, list, noun_error, number, text,
    too_long, whole, wrong, wrong_with,
};
use super::data::noun;
use super::record;

/// Asks for a number.
pub(super) fn factor(value: &Inner) -> Checked<()> {
    if value.is_number() {
        return Ok(());
    }
    let error = format!("cannot calculate with {}", noun(value));
    Err(match value.kind() {
        ValueKind::String => wrong_with(error, "convert it: `… | float` or `… | int`"),
        ValueKind::None => wrong_with(error, "ask first: `… if … is not none else …`"),
        _ => wrong(error),
    })
}

/// The sum of two numbers, two texts or two lists.
pub(super) fn add(a: &Inner, b: &Inner) -> Checked {
    match (a.kind(), b.kind()) {
        (ValueKind::Number, ValueKind::Number) if a.is_integer() && b.is_integer() => {
            if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64())
                && let Some(sum) = a.checked_add(b)
            {
                return Ok(Inner::from(sum));
            }
            let (a, b) = (i128::try_from(a.clone())?, i128::try_from(b.clone())?);
            let sum = a.checked_add(b).ok_or_else(|| wrong("the sum is too large"))?;
            Ok(i64::try_from(sum).map_or_else(|_| Inner::from(sum), Inner::from))
        }
        (ValueKind::Number, ValueKind::Number) => {
            Ok(Inner::from(f64::try_from(a.clone())? + f64::try_from(b.clone())?))
        }
        (ValueKind::String, ValueKind::String) => concat(&[a.clone(), b.clone()]),
        _ if is_list(a) && is_list(b) => joined(a, b),
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

/// One list behind another: a long one that grows is not made again each time.
fn joined(a: &Inner, b: &Inner) -> Checked {
    let Some(length) = a.len() else { return bounded(items(a)?.chain(items(b)?)).map(record::list) };
    let made;
    let more = if let Some(items) = record::items(b) {
        items
    } else {
        made = list(b)?;
        &made
    };
    if length + more.len() > MAX_ITEMS {
        return Err(wrong(format!("a list of more than {MAX_ITEMS} items")));
    }
    Ok(if length < record::GROWING { record::joined(a, more) } else { record::longer(a, more) })
}

/// Values as one text.
pub(super) fn concat(values: &[Inner]) -> Checked {
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
pub(super) fn index(base: &Inner, index: &Inner) -> Checked {
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
pub(super) fn slice(base: &Inner, start: &Inner, stop: &Inner, by: &Inner) -> Checked {
    let bound = |value: &Inner| if value.is_none() { Ok(None) } else { whole(value).map(Some) };
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
            places.map(|i| base.get_item_by_index(i)).collect::<Checked<Vec<_>>>().map(record::list)
        }
        None => {
            let all: Vec<Inner> = items(base)?.collect();
            Ok(record::list(places.filter_map(|i| all.get(i).cloned()).collect()))
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

/// Whole numbers from `start` (or 0) up to `stop`.
pub(super) fn range(start: &Inner, stop: &Inner, by: &Inner) -> Checked {
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
    Ok(record::list(made))
}

/// Two values as numbers of one kind.
enum Pair {
    Whole(i128, i128),
    Float(f64, f64),
}

fn pair(a: &Inner, b: &Inner) -> Checked<Pair> {
    if a.is_integer() && b.is_integer() {
        return Ok(match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Pair::Whole(i128::from(a), i128::from(b)),
            _ => Pair::Whole(i128::try_from(a.clone())?, i128::try_from(b.clone())?),
        });
    }
    Ok(Pair::Float(f64::try_from(a.clone())?, f64::try_from(b.clone())?))
}

fn whole_value(whole: i128) -> Inner {
    i64::try_from(whole).map_or_else(|_| Inner::from(whole), Inner::from)
}

/// An operator between two numbers.
pub(super) fn arithmetic(op: Op, a: &Inner, b: &Inner) -> Checked {
    if op == Op::Div {
        let (dividend, divisor) = (number(a)?, number(b)?);
        return if divisor == 0.0 { Err(no_result(op, a, b)) } else { Ok(Inner::from(dividend / divisor)) };
    }
    let made = match (op, pair(a, b)?) {
        (Op::Sub, Pair::Whole(a, b)) => a.checked_sub(b).map(whole_value),
        (Op::Mul, Pair::Whole(a, b)) => a.checked_mul(b).map(whole_value),
        (Op::FloorDiv, Pair::Whole(a, b)) => floored(a, b).map(|(quotient, _)| whole_value(quotient)),
        (Op::Rem, Pair::Whole(a, b)) => floored(a, b).map(|(_, remainder)| whole_value(remainder)),
        (Op::Pow, Pair::Whole(a, b)) if b >= 0 => {
            u32::try_from(b).ok().and_then(|b| a.checked_pow(b)).map(whole_value)
        }
        (Op::Pow, Pair::Whole(..)) => {
            let (base, exponent) = (number(a)?, number(b)?);
            (base != 0.0).then(|| Inner::from(base.powf(exponent)))
        }
        (Op::Sub, Pair::Float(a, b)) => Some(Inner::from(a - b)),
        (Op::Mul, Pair::Float(a, b)) => Some(Inner::from(a * b)),
        (Op::FloorDiv, Pair::Float(a, b)) => (b != 0.0).then(|| Inner::from(floored_floats(a, b).0)),
        (Op::Rem, Pair::Float(a, b)) => (b != 0.0).then(|| Inner::from(floored_floats(a, b).1)),
        (_, Pair::Float(a, b)) => (a != 0.0 || b >= 0.0).then(|| Inner::from(a.powf(b))),
        (_, Pair::Whole(..)) => None,
    };
    made.ok_or_else(|| no_result(op, a, b))
}

fn no_result(op: Op, a: &Inner, b: &Inner) -> Error {
    wrong(format!("unable to calculate {a} {} {b}", op.sign()))
}

/// The number with the other sign.
pub(super) fn negative(value: &Inner) -> Checked {
    if !value.is_integer() {
        return number(value).map(|number| Inner::from(-number));
    }
    let whole = i128::try_from(value.clone())?;
    whole.checked_neg().map(whole_value).ok_or_else(|| wrong("the number is too large"))
}

/// Quotient and remainder, rounded towards negative infinity.
fn floored(a: i128, b: i128) -> Option<(i128, i128)> {
    let (quotient, remainder) = (a.checked_div(b)?, a.checked_rem(b)?);
    if remainder != 0 && (remainder < 0) != (b < 0) {
        return Some((quotient.checked_sub(1)?, remainder.checked_add(b)?));
    }
    Some((quotient, remainder))
}

/// The same for numbers with a point.
fn floored_floats(a: f64, b: f64) -> (f64, f64) {
    let mut remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder == 0.0 {
        remainder = 0.0_f64.copysign(b);
    } else if (remainder < 0.0) != (b < 0.0) {
        remainder += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(a / b), remainder);
    }
    let down = quotient.floor();
    (if quotient - down > 0.5 { down + 1.0 } else { down }, remainder)
}
