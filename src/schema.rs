//! JSON Schema (2020-12): compiled once, without network access. Violations have the *location* in the value.

mod work;

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::value::{Value, canonical};

/// A compiled schema.
pub struct Schema {
    name: String,
    source: Arc<Value>,
    canonical: OnceLock<Arc<str>>,
    work: work::SchemaWork,
    validator: jsonschema::Validator,
}

/// A violation of a schema by a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer to the invalid part of the value; empty for the value itself.
    pub pointer: String,
    /// Reason.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.message)
    }
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name} is not a usable JSON Schema: {message}")]
pub struct SchemaError {
    /// Name of the schema.
    pub name: String,
    /// Reason.
    pub message: String,
}

struct NoRetrieval;

impl jsonschema::Retrieve for NoRetrieval {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`$ref` to {uri}: only references inside the schema are followed").into())
    }
}

impl Schema {
    /// Compiles `source`; `name` is used in messages.
    pub fn compile(name: impl Into<String>, source: Value) -> Result<Self, SchemaError> {
        let name = name.into();
        let work = match work::of(&source) {
            Ok(work) => work,
            Err(message) => return Err(SchemaError { name, message }),
        };
        let built = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_retriever(NoRetrieval)
            .should_validate_formats(true)
            .build(&source);
        match built {
            Ok(validator) => {
                Ok(Self { name, source: Arc::new(source), canonical: OnceLock::new(), work, validator })
            }
            Err(e) => Err(SchemaError { name, message: e.to_string() }),
        }
    }

    /// Name of the schema in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema itself.
    pub fn source(&self) -> &Arc<Value> {
        &self.source
    }

    /// Its [canonical](crate::value::canonical) text.
    pub fn canonical(&self) -> &Arc<str> {
        self.canonical.get_or_init(|| canonical(&self.source).into())
    }

    /// All violations in `value`, in document order. A value that would take too long to check is a
    /// violation.
    pub fn violations(&self, value: &Value) -> Vec<Violation> {
        if !self.work.is_bounded(&self.source, value) {
            let message = "checking this value would take too long, because the schema refers to itself in several ways";
            return vec![Violation { pointer: String::new(), message: message.to_owned() }];
        }
        self.validator
            .iter_errors(value)
            .map(|e| Violation { pointer: e.instance_path().to_string(), message: e.to_string() })
            .collect()
    }

    /// Whether `value` is valid.
    pub fn accepts(&self, value: &Value) -> bool {
        self.work.is_bounded(&self.source, value) && self.validator.is_valid(value)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_say_where() {
        let schema = Schema::compile(
            "s",
            json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}),
        )
        .unwrap();
        assert!(schema.accepts(&json!({"n": 1})));
        assert_eq!(schema.violations(&json!({"n": "x"}))[0].pointer, "/n");
        assert_eq!(schema.violations(&json!({})).len(), 1);
    }

    #[test]
    fn nothing_is_fetched() {
        let error = Schema::compile("s", json!({"$ref": "http://127.0.0.1:1/x.json"})).unwrap_err();
        assert!(error.message.contains("only references inside"), "{error}");
        assert!(Schema::compile("s", json!({"type": 7})).is_err());
    }

    #[test]
    fn what_would_be_checked_for_ever_breaks_the_schema() {
        let inside = json!({"properties": {"a": {"$ref": "#"}}, "required": ["b"]});
        let schema = Schema::compile("s", json!({"anyOf": [inside, inside, {"type": "string"}]})).unwrap();
        let deep = (0..100).fold(json!(1), |value, _| json!({ "a": value }));
        assert!(!schema.accepts(&deep));
        assert!(schema.violations(&deep)[0].message.contains("would take too long"));
        assert!(schema.accepts(&json!("x")));
    }
}
