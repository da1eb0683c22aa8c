//! Filters that count and calculate.

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use crate::expr::canonical::{canonical, canonical_list};
use crate::expr::check::{Checked, count, items, must_dig, number, order, text, wrong, wrong_with};
use crate::expr::machine::Machine;
use crate::value::Digest;

/// The numbers in a list, or under a path of each item.
pub(super) fn numbers(args: &[Inner]) -> Checked<Vec<Inner>> {
    let values = picked(args)?;
    values.iter().try_for_each(|value| number(value).map(drop))?;
    Ok(values)
}

fn picked(args: &[Inner]) -> Checked<Vec<Inner>> {
    let path = if args[1].is_none() { None } else { Some(text(&args[1])?) };
    items(&args[0])?.map(|item| path.map_or(Ok(item.clone()), |path| must_dig(&item, path))).collect()
}

pub(super) fn sum(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    add(&numbers(args)?)
}

/// Whole numbers are added exactly.
fn add(values: &[Inner]) -> Checked {
    if values.iter().all(Inner::is_integer) {
        let whole =
            values.iter().try_fold(0i128, |sum, value| sum.checked_add(i128::try_from(value.clone()).ok()?));
        return whole
            .and_then(|sum| i64::try_from(sum).ok())
            .map(Inner::from)
            .ok_or_else(|| wrong("the sum is too large"));
    }
    Ok(Inner::from(floats(values)?.iter().sum::<f64>()))
}

fn floats(values: &[Inner]) -> Checked<Vec<f64>> {
    values.iter().map(number).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a list has far fewer than 2^53 items")]
fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(super) fn mean(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let values = floats(&numbers(args)?)?;
    Ok(if values.is_empty() { Inner::UNDEFINED } else { Inner::from(average(&values)) })
}

pub(super) fn median(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut values = numbers(args)?;
    values.sort();
    let middle = values.len() / 2;
    if values.is_empty() {
        return Ok(Inner::UNDEFINED);
    }
    if values.len() % 2 == 1 {
        return Ok(values[middle].clone());
    }
    Ok(Inner::from(f64::midpoint(number(&values[middle - 1])?, number(&values[middle])?)))
}

#[expect(clippy::cast_precision_loss, reason = "a list has far fewer than 2^53 items")]
pub(super) fn stdev(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let values = floats(&numbers(args)?)?;
    if values.is_empty() {
        return Ok(Inner::UNDEFINED);
    }
    let mean = average(&values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok(Inner::from((squares / values.len() as f64).sqrt()))
}

pub(super) fn min(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    extreme(args, std::cmp::Ordering::Less)
}

pub(super) fn max(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    extreme(args, std::cmp::Ordering::Greater)
}

/// The first of the smallest or largest items; with a path, the whole item is the answer.
fn extreme(args: &[Inner], wanted: std::cmp::Ordering) -> Checked {
    let mut best: Option<(Inner, Inner)> = None;
    let keys = picked(args)?;
    for (item, key) in items(&args[0])?.zip(keys) {
        // A single item is held against itself, so that a list of one object is refused like a list of two.
        let known = best.as_ref().map_or(&key, |(_, known)| known);
        if order(&key, known)? == wanted || best.is_none() {
            best = Some((item, key));
        }
    }
    Ok(best.map_or_else(|| args[2].clone(), |(item, _)| item))
}

pub(super) fn abs(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args[0].is_integer() {
        let whole = i128::try_from(args[0].clone())?;
        return i64::try_from(whole.abs()).map(Inner::from).map_err(|_| wrong("the number is too large"));
    }
    Ok(Inner::from(number(&args[0])?.abs()))
}

pub(super) fn round(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let digits = if args[1].is_none() { 0 } else { count(&args[1])? };
    let value = number(&args[0])?;
    if args[0].is_integer() {
        return Ok(args[0].clone());
    }
    let scale = 10f64.powi(i32::try_from(digits.min(300)).unwrap_or(300));
    let scaled = value * scale;
    Ok(Inner::from(if scaled.is_finite() { scaled.round() / scale } else { value }))
}

pub(super) fn floor(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args[0].is_integer() { Ok(args[0].clone()) } else { cut(number(&args[0])?.floor()) }
}

pub(super) fn ceil(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args[0].is_integer() { Ok(args[0].clone()) } else { cut(number(&args[0])?.ceil()) }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be within i64")]
fn cut(value: f64) -> Checked {
    const LIMIT: f64 = 9_223_372_036_854_775_000.0;
    if value.abs() < LIMIT {
        Ok(Inner::from(value.trunc() as i64))
    } else {
        Err(wrong("the number is too large to be a whole number"))
    }
}

pub(super) fn int(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let value = &args[0];
    match value.kind() {
        ValueKind::Number if value.is_integer() => Ok(value.clone()),
        ValueKind::Number => cut(number(value)?),
        ValueKind::Bool => Ok(Inner::from(i64::from(value.is_true()))),
        ValueKind::String => {
            let text = text(value)?.trim();
            match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => Ok(Inner::from(whole)),
                (_, Ok(number)) if number.is_finite() => cut(number),
                _ => fallback(&args[1], text),
            }
        }
        _ => number(value).map(Inner::from),
    }
}

pub(super) fn float(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let value = &args[0];
    let Some(text) = value.as_str() else { return number(value).map(Inner::from) };
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Inner::from(number)),
        _ => fallback(&args[1], text),
    }
}

fn fallback(default: &Inner, text: &str) -> Checked {
    if !default.is_none() {
        return Ok(default.clone());
    }
    let shown: String = text.chars().take(40).collect();
    Err(wrong_with(format!("`{shown}` is not a number"), "give a default: `… | int(0)`"))
}

pub(super) fn clamp(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    args.iter().try_for_each(|value| number(value).map(drop))?;
    let [value, low, high] = args else { return Err(wrong("`clamp` takes two limits")) };
    if low > high {
        return Err(wrong("the lower limit is above the upper one"));
    }
    Ok(value.clamp(low, high).clone())
}

#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub(super) fn random(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let seed = canonical_list(args);
    Ok(Inner::from((Digest::of(seed).seed() >> 11) as f64 / (1u64 << 53) as f64))
}

pub(super) fn digest(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let digest = match args[0].as_str() {
        Some(text) => Digest::of(text),
        None => Digest::of(canonical(&args[0])),
    };
    Ok(Inner::from(digest.to_string()))
}

/// The key that lists are sorted by: the item, or what lies under a path.
pub(super) fn key_of(item: &Inner, path: &Inner) -> Checked {
    if path.is_none() { Ok(item.clone()) } else { must_dig(item, text(path)?) }
}
