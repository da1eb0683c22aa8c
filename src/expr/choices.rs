//! Values of which one is chosen: the words of an enum, the answers to a question.

use std::collections::HashSet;

use super::ast::{Kind, Node};
use crate::diag::listed;
use crate::value::Value;

/// The values that there are to choose from.
#[derive(Debug)]
pub struct Choices {
    values: Vec<Value>,
    keys: HashSet<String>,
}

impl Choices {
    /// These.
    pub fn of(values: Vec<Value>) -> Self {
        Self { keys: values.iter().map(key).collect(), values }
    }

    /// All of them, in the order in which they are written.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Whether `value` is one of them.
    pub(super) fn has(&self, value: &Value) -> bool {
        self.keys.contains(&key(value))
    }

    /// Whether one of them is text, a number, or whatever else `value` is.
    pub(super) fn has_kind_of(&self, value: &Value) -> bool {
        self.values.iter().any(|known| std::mem::discriminant(known) == std::mem::discriminant(value))
    }

    /// Those that are text.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(Value::as_str)
    }

    /// What messages say of them.
    pub(super) fn listed(&self) -> String {
        const SHOWN: usize = 24;
        let first: Vec<String> = self.values.iter().take(SHOWN).map(shown).collect();
        let rest = std::iter::repeat_n("", self.values.len().saturating_sub(SHOWN));
        listed(first.iter().map(String::as_str).chain(rest))
    }
}

/// The value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The same for values that are equal to each other: `1` and `1.0` are.
fn key(value: &Value) -> String {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => {
            format!("{}", number.as_f64().unwrap_or(f64::NAN))
        }
        other => other.to_string(),
    }
}

/// The value of a text, number or truth value that is written out.
pub(super) fn literal(node: &Node) -> Option<Value> {
    Some(match &node.kind {
        Kind::Text(text) => Value::from(text.as_str()),
        Kind::Int(number) => Value::from(*number),
        Kind::Big(number) => Value::from(*number),
        Kind::Float(number) => Value::from(*number),
        Kind::Bool(truth) => Value::from(*truth),
        Kind::Neg(inner) => match inner.kind {
            Kind::Int(number) => Value::from(number.checked_neg()?),
            Kind::Float(number) => Value::from(-number),
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_are_the_same_choice() {
        let choices = Choices::of(vec![json!(1), json!(2.5), json!("1"), json!(true)]);
        for value in [json!(1), json!(1.0), json!(2.5), json!("1"), json!(true)] {
            assert!(choices.has(&value), "{value}");
        }
        for value in [json!(2), json!("2.5"), json!("true"), json!(false), json!(1.5)] {
            assert!(!choices.has(&value), "{value}");
        }
        assert_eq!(choices.listed(), "1, 2.5, 1, true");
    }
}
