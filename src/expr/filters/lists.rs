//! Filters of lists and objects.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::numbers::key_of;
use crate::expr::check::{
    Checked, MAX_ITEMS, bounded, count, dig, display, flag, is_list, items, list, made, must_dig, order,
    text, text_or, truth, wrong, wrong_with,
};
use crate::expr::extent::{extent, fits};
use crate::expr::machine::Machine;
use crate::expr::record;
use crate::expr::tests_table;
use crate::value::Extent;

pub(super) fn length(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    match args[0].len() {
        Some(length) => Ok(Inner::from(length)),
        None => Ok(Inner::from(items(&args[0])?.count())),
    }
}

pub(super) fn first(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    Ok(items(&args[0])?.next().unwrap_or(Inner::UNDEFINED))
}

pub(super) fn last(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    Ok(ending(&args[0], 1)?.pop().unwrap_or(Inner::UNDEFINED))
}

pub(super) fn head(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    bounded(items(&args[0])?.take(count(&args[1])?)).map(record::list)
}

pub(super) fn tail(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    ending(&args[0], count(&args[1])?).map(record::list)
}

/// The last `n` items, without making the others where the list allows it.
fn ending(value: &Inner, n: usize) -> Checked<Vec<Inner>> {
    match value.len() {
        Some(length) if value.kind() == ValueKind::Seq => {
            (length.saturating_sub(n)..length).map(|i| value.get_item_by_index(i)).collect()
        }
        _ => {
            let mut all = list(value)?;
            Ok(all.split_off(all.len().saturating_sub(n)))
        }
    }
}

pub(super) fn default(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let absent = args[0].is_undefined() || (flag(&args[2])? && args[0].is_none());
    Ok(args[usize::from(absent)].clone())
}

/// `map(subject, filter or function, attribute, default, arguments…)`.
pub(super) fn map(machine: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let [subject, filter, attribute, default, rest @ ..] = args else {
        return Err(wrong("`map` takes a filter"));
    };
    let mut made = Vec::with_capacity(subject.len().unwrap_or_default().min(MAX_ITEMS));
    let mut whole = Extent::empty();
    for item in items(subject)? {
        if !attribute.is_none() {
            let found = dig(&item, text(attribute)?);
            made.push(match found {
                Some(found) => found,
                None if default.is_undefined() => must_dig(&item, text(attribute)?)?,
                None => default.clone(),
            });
            continue;
        }
        let item = apply(machine, filter, item, rest)?;
        whole = whole.and(extent(&item));
        fits(whole)?;
        made.push(item);
    }
    Ok(record::list(made))
}

/// Applies a filter by name, or a pipeline's function, to one item.
fn apply(machine: &mut Machine<'_>, filter: &Inner, item: Inner, rest: &[Inner]) -> Checked {
    let mut args = Vec::with_capacity(rest.len() + 1);
    args.push(item);
    args.extend_from_slice(rest);
    let Some(name) = filter.as_str() else { return machine.call_value(filter, &args) };
    let filter = super::find(name).ok_or_else(|| wrong(format!("there is no filter `{name}`")))?;
    let found = (filter.run)(machine, &args)?;
    if found.is_undefined() {
        return Err(wrong(format!("`{name}` of an empty list has no value")));
    }
    Ok(found)
}

/// Whether `item` passes a test by name, a pipeline's function, or (without a test) is true.
fn passes(machine: &mut Machine<'_>, test: &Inner, item: Inner, rest: &[Inner]) -> Checked<bool> {
    if test.is_none() {
        return Ok(truth(&item));
    }
    let mut args = Vec::with_capacity(rest.len() + 1);
    args.push(item);
    args.extend_from_slice(rest);
    match test.as_str() {
        Some(name) => tests_table::run(name, &args),
        None => machine.call_value(test, &args).map(|made| truth(&made)),
    }
}

/// `select(subject, test, arguments…)`.
pub(super) fn select(machine: &mut Machine<'_>, args: &[Inner]) -> Checked {
    sieve(machine, args, None, true)
}

pub(super) fn reject(machine: &mut Machine<'_>, args: &[Inner]) -> Checked {
    sieve(machine, args, None, false)
}

/// `selectattr(subject, attribute, test, arguments…)`.
pub(super) fn selectattr(machine: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let rest = [&args[..1], &args[2..]].concat();
    sieve(machine, &rest, Some(text(&args[1])?), true)
}

pub(super) fn rejectattr(machine: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let rest = [&args[..1], &args[2..]].concat();
    sieve(machine, &rest, Some(text(&args[1])?), false)
}

fn sieve(machine: &mut Machine<'_>, args: &[Inner], path: Option<&str>, keep: bool) -> Checked {
    let [subject, test, rest @ ..] = args else { return Err(wrong("a test is missing")) };
    let about_presence = matches!(test.as_str(), Some("defined" | "undefined"));
    let mut kept = Vec::new();
    for item in items(subject)? {
        let tested = match path {
            None => item.clone(),
            Some(path) if about_presence => dig(&item, path).unwrap_or(Inner::UNDEFINED),
            Some(path) => must_dig(&item, path)?,
        };
        if passes(machine, test, tested, rest)? == keep {
            kept.push(item);
        }
    }
    Ok(record::list(kept))
}

pub(super) fn all(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    truths(&args[0]).map(|truths| Inner::from(truths.iter().all(|truth| *truth)))
}

pub(super) fn any(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    truths(&args[0]).map(|truths| Inner::from(truths.iter().any(|truth| *truth)))
}

fn truths(value: &Inner) -> Checked<Vec<bool>> {
    Ok(items(value)?.map(|item| truth(&item)).collect())
}

pub(super) fn sort(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let reverse = flag(&args[2])?;
    let mut keyed: Vec<(Inner, Inner)> =
        items(&args[0])?.map(|item| Ok((key_of(&item, &args[1])?, item))).collect::<Checked<_>>()?;
    let mut trouble = None;
    keyed.sort_by(|(a, _), (b, _)| match ranked(a, b) {
        Ok(found) if reverse => found.reverse(),
        Ok(found) => found,
        Err(error) => {
            trouble.get_or_insert(error);
            Ordering::Equal
        }
    });
    match trouble {
        Some(error) => Err(error),
        None => Ok(record::list(keyed.into_iter().map(|(_, item)| item).collect())),
    }
}

/// Order for sorting: numbers, texts, truth values, and lists of those item by item.
fn ranked(a: &Inner, b: &Inner) -> Checked<Ordering> {
    if a.kind() == ValueKind::Bool && b.kind() == ValueKind::Bool {
        return Ok(a.is_true().cmp(&b.is_true()));
    }
    if is_list(a) && is_list(b) {
        for (a, b) in items(a)?.zip(items(b)?) {
            match ranked(&a, &b)? {
                Ordering::Equal => {}
                unequal => return Ok(unequal),
            }
        }
        return Ok(a.len().cmp(&b.len()));
    }
    order(a, b)
}

pub(super) fn unique(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for item in items(&args[0])? {
        let key = key_of(&item, &args[1])?;
        if seen.insert(crate::expr::canonical::canonical(&key)) {
            kept.push(item);
        }
    }
    Ok(record::list(kept))
}

pub(super) fn group_by(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut groups = indexmap::IndexMap::<String, (Inner, Vec<Inner>)>::new();
    for item in items(&args[0])? {
        let key = key_of(&item, &args[1])?;
        let name = crate::expr::canonical::canonical(&key);
        groups.entry(name).or_insert_with(|| (key, Vec::new())).1.push(item);
    }
    let group = |(key, items)| {
        record::table_of_unequal(vec![(Inner::from("key"), key), (Inner::from("items"), record::list(items))])
    };
    Ok(record::list(groups.into_values().map(group).collect()))
}

pub(super) fn reverse(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if let Some(text) = args[0].as_str() {
        return Ok(Inner::from(text.chars().rev().collect::<String>()));
    }
    let mut all = list(&args[0])?;
    all.reverse();
    Ok(record::list(all))
}

pub(super) fn join(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let separator = text_or(&args[1], "")?;
    let mut text = String::new();
    for (i, item) in items(&args[0])?.enumerate() {
        if i > 0 {
            text.push_str(separator);
        }
        text.push_str(&display(&key_of(&item, &args[2])?));
        if text.len() > crate::expr::check::MAX_BYTES {
            return Err(crate::expr::check::too_long());
        }
    }
    made(text)
}

pub(super) fn chunk(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let size = count(&args[1])?;
    if size == 0 {
        return Err(wrong("a chunk has at least one item"));
    }
    Ok(record::list(list(&args[0])?.chunks(size).map(|chunk| record::list(chunk.to_vec())).collect()))
}

pub(super) fn flatten(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut flat = Vec::new();
    for item in items(&args[0])? {
        if is_list(&item) {
            flat.extend(items(&item)?.take(MAX_ITEMS + 1));
        } else {
            flat.push(item);
        }
        if flat.len() > MAX_ITEMS {
            return Err(wrong(format!("a list of more than {MAX_ITEMS} items")));
        }
    }
    Ok(record::list(flat))
}

pub(super) fn zip(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let lists = args.iter().map(list).collect::<Checked<Vec<_>>>()?;
    let length = lists.first().map_or(0, Vec::len);
    if lists.iter().any(|list| list.len() != length) {
        return Err(wrong_with("the lists to zip differ in length", "cut them first: `… | head(n)`"));
    }
    let row = |i: usize| record::list(lists.iter().map(|list| list[i].clone()).collect());
    Ok(record::list((0..length).map(row).collect()))
}

pub(super) fn product(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args.len() > 1 {
        return rows(&args.iter().map(list).collect::<Checked<Vec<_>>>()?).map(record::list);
    }
    if args[0].kind() == ValueKind::Map {
        let entries = entries(&args[0])?;
        let lists = entries.iter().map(|(_, value)| list(value)).collect::<Checked<Vec<_>>>()?;
        let named = |row: &Inner| -> Checked {
            let keys = entries.iter().map(|(key, _)| key.clone());
            Ok(record::table(keys.zip(items(row)?).collect()))
        };
        return Ok(record::list(rows(&lists)?.iter().map(named).collect::<Checked<Vec<_>>>()?));
    }
    rows(&items(&args[0])?.map(|item| list(&item)).collect::<Checked<Vec<_>>>()?).map(record::list)
}

fn rows(lists: &[Vec<Inner>]) -> Checked<Vec<Inner>> {
    let size = lists.iter().try_fold(1usize, |size, list| size.checked_mul(list.len()));
    if size.is_none_or(|size| size > MAX_ITEMS) {
        return Err(wrong(format!("this product has more than {MAX_ITEMS} rows")));
    }
    let mut rows: Vec<Vec<Inner>> = vec![Vec::new()];
    for list in lists {
        rows = rows
            .iter()
            .flat_map(|row| list.iter().map(move |item| row.iter().cloned().chain([item.clone()]).collect()))
            .collect();
    }
    Ok(rows.into_iter().map(record::list).collect())
}

pub(super) fn entries(value: &Inner) -> Checked<Vec<(Inner, Inner)>> {
    if value.kind() != ValueKind::Map {
        return Err(wrong(format!("expected an object, this is {}", crate::expr::data::noun(value))));
    }
    value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?))).collect()
}

pub(super) fn items_of(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let pairs = entries(&args[0])?;
    Ok(record::list(pairs.into_iter().map(|(key, value)| record::list(vec![key, value])).collect()))
}

pub(super) fn keys(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    Ok(record::list(entries(&args[0])?.into_iter().map(|(key, _)| key).collect()))
}

pub(super) fn values(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    Ok(record::list(entries(&args[0])?.into_iter().map(|(_, value)| value).collect()))
}

pub(super) fn dict(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let pair = |item: Inner| match &list(&item)?[..] {
        [key, value] => Ok((Inner::from(text(key)?), value.clone())),
        _ => Err(wrong("expected a list of `[key, value]` pairs")),
    };
    Ok(record::table(items(&args[0])?.map(pair).collect::<Checked<Vec<_>>>()?))
}

pub(super) fn merge(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut merged = indexmap::IndexMap::new();
    for table in args {
        merged.extend(entries(table)?);
    }
    Ok(record::table_of_unequal(merged.into_iter().collect()))
}

pub(super) fn as_list(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args[0].kind() == ValueKind::Map {
        return Ok(record::list(entries(&args[0])?.into_iter().map(|(key, _)| key).collect()));
    }
    list(&args[0]).map(record::list)
}
