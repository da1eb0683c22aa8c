//! Sizes of values, and of values with placeholders filled in.

use std::collections::HashMap;
use std::io;

use serde::Serialize;

use super::Variables;
use super::variables::placeholders;
use crate::value::Value;

/// Length of `value` as JSON, in bytes.
pub fn size_of(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    // A value that cannot be written as JSON counts as empty.
    serde_json::to_writer(&mut count, value).ok();
    count.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Approximate length of a value as text, in bytes.
pub fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        other => size_of(other),
    }
}

/// Most bytes of the values of all placeholders of one step.
const MOST: usize = 64 << 20;

/// Why the values of all placeholders in `written`, a step or its variables, are too large.
pub fn too_large(written: &impl Serialize, variables: &Variables) -> Option<String> {
    let written = serde_json::to_value(written).unwrap_or_default();
    let most = MOST >> 20;
    (growth(&written, variables, &mut HashMap::new()) > MOST)
        .then(|| format!("the values of its placeholders have more than {most} MiB, so nothing was sent"))
}

/// Bytes of the values that replace the placeholders in `written`.
fn growth<'v>(written: &'v Value, variables: &Variables, known: &mut HashMap<&'v str, usize>) -> usize {
    let mut of_text = |text: &'v str| {
        let lengths = placeholders(text).into_iter().map(|(_, _, name)| {
            // Generated values are short.
            *known.entry(name).or_insert_with(|| variables.get(name).map_or(0, length))
        });
        lengths.fold(0, usize::saturating_add)
    };
    match written {
        Value::String(text) => of_text(text),
        Value::Array(items) => {
            items.iter().map(|item| growth(item, variables, known)).fold(0, usize::saturating_add)
        }
        Value::Object(table) => {
            let keys = table.keys().map(|key| of_text(key)).fold(0, usize::saturating_add);
            let values = table.values().map(|value| growth(value, variables, known));
            values.fold(keys, usize::saturating_add)
        }
        _ => 0,
    }
}
