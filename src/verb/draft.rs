//! Reads an input with unrendered templates: the certain parts are checked as in an attempt.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::catalog::unreadable;
use super::refusal::{InputDraft, Refusal, is_below, pointer};
use crate::value::{Digest, Value};

/// The maximum number of times that an input is read with generated values for its templates.
const MAX_READS: usize = 200;

/// The refusals of `draft` that do not depend on its templates. `refuse` returns the refusals of a complete
/// input.
pub(super) fn refusals<T: DeserializeOwned + JsonSchema>(
    name: &str,
    draft: &InputDraft,
    refuse: impl FnOnce(&T) -> Vec<Refusal>,
) -> Vec<Refusal> {
    match read(name, draft) {
        DraftReading::Whole(with, missing) => {
            let mut found = refuse(&with);
            found.retain(|refusal| refusal.is_certain(draft, &missing));
            found
        }
        DraftReading::Wrong(refusal) => vec![*refusal],
        DraftReading::Unknown => Vec::new(),
    }
}

enum DraftReading<T> {
    /// The input, and the templates for which no value can be read.
    Whole(T, BTreeSet<String>),
    /// The literal parts are invalid.
    Wrong(Box<Refusal>),
    /// Whether it can be read depends on the templates.
    Unknown,
}

/// Reads the input. Each template is replaced by its text, or by the first of some generated values that can
/// be read there, or removed.
fn read<T: DeserializeOwned + JsonSchema>(name: &str, draft: &InputDraft) -> DraftReading<T> {
    let mut value = draft.value.clone();
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..MAX_READS {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(with) => {
                let missing =
                    tried.iter().filter(|(_, n)| **n > SUBSTITUTES).map(|(hole, _)| (*hole).to_owned());
                return DraftReading::Whole(with, missing.collect());
            }
            Err(error) => error,
        };
        let at = pointer_of(error.path());
        let mut near = draft.open.iter().map(|open| open.pointer.as_str()).filter(|hole| {
            (is_below(hole, &at) || is_below(&at, hole)) && tried.get(hole).is_none_or(|n| *n <= SUBSTITUTES)
        });
        if let Some(hole) = near.next() {
            let count = tried.entry(hole).or_default();
            let made = substitute(*count)
                .or_else(|| (*count + 1 == SUBSTITUTES).then(|| smallest_at(&schema::<T>(), hole)).flatten());
            set_at(&mut value, hole, made);
            *count += 1;
        } else if draft.open.iter().any(|open| is_below(&open.pointer, &at) || is_below(&at, &open.pointer)) {
            return DraftReading::Unknown;
        } else {
            let failure = unreadable::<T>(name, &value, &error.into_inner());
            return DraftReading::Wrong(Box::new(Refusal::of(at, failure)));
        }
    }
    DraftReading::Unknown
}

/// The maximum number of generated values.
const SUBSTITUTES: usize = 6;

fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// The smallest value that the schema `root` allows at `pointer`.
fn smallest_at<'s>(root: &'s Value, pointer: &str) -> Option<Value> {
    let mut at = vec![root];
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        let open = at.into_iter().flat_map(|schema| alternatives(schema, root, 0));
        let below = |schema: &'s Value| {
            let property = schema.get("properties").and_then(|known| known.get(&key));
            property.or_else(|| schema.get("additionalProperties")).or_else(|| schema.get("items"))
        };
        at = open.filter_map(below).collect();
    }
    at.into_iter().find_map(|schema| smallest(schema, root, 0))
}

/// The maximum depth of schemas that are followed.
const MAX_DEPTH: usize = 8;

/// The schemas that `schema` consists of or refers to.
fn alternatives<'s>(schema: &'s Value, root: &'s Value, depth: usize) -> Vec<&'s Value> {
    if depth > MAX_DEPTH {
        return Vec::new();
    }
    let target = schema.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
    let listed = ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let inner: Vec<&Value> =
        target.into_iter().chain(listed).flat_map(|inner| alternatives(inner, root, depth + 1)).collect();
    if inner.is_empty() { vec![schema] } else { inner }
}

/// The smallest value that fits `schema`: of an object, only the required keys.
fn smallest(schema: &Value, root: &Value, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    alternatives(schema, root, depth).into_iter().find_map(|schema| {
        if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            return Some(value.clone());
        }
        match schema.get("type").and_then(Value::as_str)? {
            "string" => Some(Value::from("")),
            "integer" | "number" => Some(schema.get("minimum").cloned().unwrap_or_else(|| 0.into())),
            "boolean" => Some(Value::Bool(false)),
            "array" => Some(Value::Array(Vec::new())),
            "object" => {
                let needed = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                let needed = needed.filter_map(Value::as_str).map(|key| {
                    let inner = schema.get("properties")?.get(key)?;
                    Some((key.to_owned(), smallest(inner, root, depth + 1)?))
                });
                Some(Value::Object(needed.collect::<Option<_>>()?))
            }
            _ => None,
        }
    })
}

/// The value for attempt `n`; `None` after the last one.
fn substitute(n: usize) -> Option<Value> {
    let values = [
        Value::from(Digest::of("").to_string()),
        Value::from(1),
        Value::Array(Vec::new()),
        Value::Object(serde_json::Map::new()),
        Value::Bool(false),
    ];
    values.into_iter().nth(n)
}

/// Replaces the value at `pointer` by `made`, or removes it from its table.
fn set_at(value: &mut Value, pointer: &str, made: Option<Value>) {
    if let (Some(made), Some(place)) = (&made, value.pointer_mut(pointer)) {
        *place = made.clone();
        return;
    }
    let Some((outer, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(outer) {
        Some(Value::Object(table)) => {
            // It may have been removed already.
            match made {
                Some(made) => drop(table.insert(key, made)),
                None => drop(table.shift_remove(&key)),
            }
        }
        Some(Value::Array(items)) => {
            if let Some(item) = key.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                *item = made.unwrap_or_default();
            }
        }
        _ => {}
    }
}

fn pointer_of(path: &Path) -> String {
    let mut made = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => made = pointer(&made, &index.to_string()),
            Segment::Map { key } => made = pointer(&made, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    made
}
