//! Estimates the work of a schema in advance. References that each occur twice double the work at every
//! level, so that a value of thirty levels could keep a validator busy for days.

use std::collections::HashMap;

use crate::value::Value;

/// Most schemas after all references are expanded.
const SCHEMAS: u64 = 100_000;
/// Most nested references and schemas, in a schema and during a check.
const DEPTH: usize = 256;
const DEEP: usize = 2_000;
/// Most checks of a part of a value against a part of a schema, in total and distinct ones.
const CHECKS: u64 = 5_000_000;
const PAIRS: usize = 500_000;

/// Keywords whose values are schemas by name, lists of schemas, and schemas.
const NAMED: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
const LISTED: [&str; 5] = ["anyOf", "allOf", "oneOf", "prefixItems", "items"];
const SINGLE: [&str; 14] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
    "dependencies",
    "extends",
];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Prefix of meta-schemas, which every validator knows.
const KNOWN: &str = "json-schema.org/";

type SchemaNode = *const Value;

/// Work of a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchemaWork {
    /// Number of schemas with references expanded.
    size: u64,
    /// Whether it refers to itself.
    loops: bool,
}

/// The schema with all targets of references.
struct SchemaNames<'a> {
    root: &'a Value,
    ids: HashMap<&'a str, &'a Value>,
    anchors: HashMap<&'a str, &'a Value>,
}

impl<'a> SchemaNames<'a> {
    fn of(root: &'a Value) -> Self {
        let mut names = Self { root, ids: HashMap::new(), anchors: HashMap::new() };
        names.collect(root);
        names
    }

    fn collect(&mut self, node: &'a Value) {
        match node {
            Value::Object(table) => {
                if let Some(id) = table.get("$id").and_then(Value::as_str) {
                    self.ids.insert(last(id.trim_end_matches('#')), node);
                }
                for key in ["$anchor", "$dynamicAnchor"] {
                    if let Some(anchor) = table.get(key).and_then(Value::as_str) {
                        self.anchors.insert(anchor, node);
                    }
                }
                table.values().for_each(|part| self.collect(part));
            }
            Value::Array(parts) => parts.iter().for_each(|part| self.collect(part)),
            _ => {}
        }
    }

    /// The target of `reference`; an error if it is outside the schema.
    fn resolve(&self, reference: &str) -> Result<Option<&'a Value>, String> {
        if reference.contains(KNOWN) {
            return Ok(None);
        }
        let outside = || format!("`$ref` to {reference}: only references inside the schema are followed");
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let home = if base.is_empty() { Some(self.root) } else { self.ids.get(last(base)).copied() };
        let home = home.ok_or_else(outside)?;
        let fragment = decoded(fragment);
        let found = match fragment.as_str() {
            "" => Some(home),
            path if path.starts_with('/') => home.pointer(path).or_else(|| self.root.pointer(path)),
            anchor => self.anchors.get(anchor).copied(),
        };
        found.map(Some).ok_or_else(|| format!("`$ref` to {reference}: the target does not exist"))
    }
}

fn last(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// `text` with `%24` and so on decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = more.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &more[2..] } else { more };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The direct subschemas of `schema`, each with its keyword and name, and the targets of references.
fn parts<'a>(
    schema: &'a Value,
    names: &SchemaNames<'a>,
) -> Result<Vec<(&'static str, &'a str, &'a Value)>, String> {
    let Value::Object(table) = schema else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for key in NAMED {
        let named = table.get(key).and_then(Value::as_object).into_iter().flatten();
        parts.extend(named.map(|(name, part)| (key, name.as_str(), part)));
    }
    for key in LISTED {
        parts.extend(
            table.get(key).and_then(Value::as_array).into_iter().flatten().map(|part| (key, "", part)),
        );
    }
    for key in SINGLE {
        parts.extend(table.get(key).filter(|part| part.is_object()).map(|part| (key, "", part)));
    }
    for key in REFERENCES {
        if let Some(reference) = table.get(key).and_then(Value::as_str) {
            parts.extend(names.resolve(reference)?.map(|meant| ("$ref", "", meant)));
        }
    }
    Ok(parts)
}

/// The work of `schema`, or why it is too much.
pub(super) fn of(schema: &Value) -> Result<SchemaWork, String> {
    let mut sizes = SchemaSizes { names: SchemaNames::of(schema), known: HashMap::new(), loops: false };
    let size = sizes.size(schema, 0)?;
    if size > SCHEMAS {
        return Err(format!(
            "it has more than {SCHEMAS} schemas after its references are expanded: use fewer references to each part"
        ));
    }
    Ok(SchemaWork { size, loops: sizes.loops })
}

struct SchemaSizes<'a> {
    names: SchemaNames<'a>,
    /// Known sizes; `None` while one is being computed.
    known: HashMap<SchemaNode, Option<u64>>,
    loops: bool,
}

impl<'a> SchemaSizes<'a> {
    fn size(&mut self, schema: &'a Value, depth: usize) -> Result<u64, String> {
        if depth > DEPTH {
            return Err(format!("more than {DEPTH} schemas are nested"));
        }
        match self.known.get(&std::ptr::from_ref(schema)) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => {
                self.loops = true;
                return Ok(1);
            }
            None => {}
        }
        self.known.insert(schema, None);
        let mut size = 1_u64;
        for (_, _, part) in parts(schema, &self.names)? {
            size = size.saturating_add(self.size(part, depth + 1)?);
        }
        self.known.insert(schema, Some(size));
        Ok(size)
    }
}

impl SchemaWork {
    /// Whether `value` can be checked against `schema`, to which this work belongs, in bounded time.
    pub(super) fn is_bounded(self, schema: &Value, value: &Value) -> bool {
        let nodes = nodes(value);
        if !self.loops && self.size.saturating_mul(nodes) <= CHECKS {
            return true;
        }
        let mut checks = Checks { names: SchemaNames::of(schema), known: HashMap::new() };
        checks.count(schema, value, 0).is_some_and(|count| count <= CHECKS)
    }
}

fn nodes(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<u64>(),
        Value::Object(table) => 1 + table.values().map(nodes).sum::<u64>(),
        _ => 1,
    }
}

struct Checks<'a> {
    names: SchemaNames<'a>,
    /// Number of checks below each pair of a schema and a value.
    known: HashMap<(SchemaNode, SchemaNode), u64>,
}

impl<'a> Checks<'a> {
    /// Number of checks; `None` if it is above the limit.
    fn count(&mut self, schema: &'a Value, value: &Value, depth: usize) -> Option<u64> {
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(count) = self.known.get(&pair) {
            return Some(*count);
        }
        if depth > DEEP || self.known.len() > PAIRS {
            return None;
        }
        // A pair inside itself is not checked again.
        self.known.insert(pair, 0);
        let mut count = 1_u64;
        for (key, name, part) in parts(schema, &self.names).ok()? {
            let inner: Vec<&Value> = match (key, value) {
                ("properties", Value::Object(table)) => table.get(name).into_iter().collect(),
                (
                    "patternProperties" | "additionalProperties" | "unevaluatedProperties",
                    Value::Object(table),
                ) => table.values().collect(),
                (
                    "items" | "prefixItems" | "additionalItems" | "contains" | "unevaluatedItems",
                    Value::Array(items),
                ) => items.iter().collect(),
                (
                    "properties"
                    | "patternProperties"
                    | "additionalProperties"
                    | "unevaluatedProperties"
                    | "items"
                    | "prefixItems"
                    | "additionalItems"
                    | "contains"
                    | "unevaluatedItems"
                    | "propertyNames",
                    _,
                ) => Vec::new(),
                _ => vec![value],
            };
            for inner in inner {
                count = count.saturating_add(self.count(part, inner, depth + 1)?);
            }
        }
        self.known.insert(pair, count);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each level refers to the next one twice.
    fn doubled(depth: usize, keyword: &str) -> Value {
        let level = |n: usize| match n {
            n if n == depth => json!({"type": "string"}),
            n => {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                json!({ keyword: [next, next] })
            }
        };
        let levels: serde_json::Map<_, _> = (0..=depth).map(|n| (format!("d{n}"), level(n))).collect();
        json!({"$defs": levels, "$ref": "#/$defs/d0"})
    }

    #[test]
    fn what_doubles_at_each_level_is_refused_before_it_is_built() {
        for keyword in ["anyOf", "allOf", "oneOf", "prefixItems"] {
            assert!(of(&doubled(10, keyword)).is_ok());
            assert!(of(&doubled(22, keyword)).unwrap_err().contains("more than 100000 schemas"));
            assert!(of(&doubled(200, keyword)).is_err());
        }
        let by_name = |n: usize| {
            let level = |m: usize| json!({"$anchor": format!("d{m}"), "not": {"allOf": [{"$ref": format!("#d{}", m + 1)}, {"$ref": format!("#d{}", m + 1)}]}});
            let levels: Vec<Value> = (0..n).map(level).chain([json!({"$anchor": format!("d{n}")})]).collect();
            json!({"$defs": levels.into_iter().enumerate().map(|(m, l)| (m.to_string(), l)).collect::<serde_json::Map<_, _>>(), "$ref": "#d0"})
        };
        assert!(of(&by_name(5)).is_ok() && of(&by_name(40)).is_err());
        let chain = |n: usize| {
            let levels = (0..n)
                .map(|m| (format!("d/{m}"), json!({"$ref": format!("#/%24defs/d~1{}", (m + 1).min(n - 1))})));
            json!({"$defs": levels.collect::<serde_json::Map<_, _>>(), "$ref": "#/$defs/d~10"})
        };
        assert!(of(&chain(50)).is_ok() && of(&chain(5_000)).is_err());
    }

    #[test]
    fn a_value_that_would_be_checked_for_ever_is_not_checked() {
        let inside = json!({"type": "object", "properties": {"a": {"$ref": "#"}}});
        let tree = json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}});
        let twice = json!({"anyOf": [inside, inside]});
        let deep = |n: usize| (0..n).fold(json!(1), |value, _| json!({ "a": value }));
        let bounded = |schema: &Value, value: &Value| of(schema).unwrap().is_bounded(schema, value);
        assert!(bounded(&tree, &deep(100)));
        assert!(bounded(&twice, &deep(8)));
        assert!(!bounded(&twice, &deep(60)));
        let wide = json!({"items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}});
        assert!(bounded(&wide, &json!(vec![1; 200_000])));
    }

    #[test]
    fn references_that_lead_out_are_refused_and_known_ones_are_not() {
        assert!(
            of(&json!({"$ref": "http://127.0.0.1:1/x.json"})).unwrap_err().contains("only references inside")
        );
        assert!(of(&json!({"$ref": "#/$defs/none"})).unwrap_err().contains("does not exist"));
        assert!(of(&json!({"$ref": "https://json-schema.org/draft/2020-12/schema"})).is_ok());
        let inner = json!({"$id": "https://x.test/root", "$ref": "part.json#/items", "$defs": {"p": {"$id": "part.json", "items": {"type": "string"}}}});
        assert!(of(&inner).is_ok());
    }
}
