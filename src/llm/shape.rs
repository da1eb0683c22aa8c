//! JSON Schemas for providers: which ones are strict, and how to reduce others to supported keywords.

use serde_json::json;

use crate::value::Value;

/// Keywords whose values are schemas by name.
const NAMED: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];
/// Keywords whose values are lists of schemas.
const LISTED: [&str; 4] = ["anyOf", "allOf", "oneOf", "prefixItems"];
/// Keywords that Anthropic's structured output supports; everything else is checked in the answer.
const KEPT: [&str; 13] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "$ref",
    "$defs",
    "definitions",
    "description",
];

/// Prompt for models whose provider cannot enforce `schema`.
pub fn in_prose(schema: &str) -> String {
    format!(
        "Answer with one JSON value and nothing else: no prose, no code fence. It must fit this JSON Schema:\n{schema}"
    )
}

/// Keywords that Gemini's structured output supports.
pub(super) const GEMINI: [&str; 21] = [
    "$id",
    "$defs",
    "$ref",
    "$anchor",
    "type",
    "format",
    "title",
    "description",
    "enum",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "anyOf",
    "oneOf",
    "properties",
    "additionalProperties",
    "required",
    "propertyOrdering",
];

/// `schema` with only the keywords `words`; a constant becomes an `enum` of one value. Removed keywords are
/// checked in the answer.
pub(super) fn in_words(schema: &Value, words: &[&str]) -> Value {
    let Value::Object(table) = schema else { return schema.clone() };
    let mut said = serde_json::Map::new();
    for (key, value) in table {
        let value = match value {
            Value::Object(parts) if NAMED.contains(&key.as_str()) => {
                parts.iter().map(|(name, part)| (name.clone(), in_words(part, words))).collect()
            }
            Value::Array(parts) if LISTED.contains(&key.as_str()) => {
                parts.iter().map(|part| in_words(part, words)).collect()
            }
            part if matches!(key.as_str(), "items" | "additionalProperties") => in_words(part, words),
            other => other.clone(),
        };
        if key == "const" {
            said.insert("enum".to_owned(), json!([value]));
        } else if words.contains(&key.as_str()) {
            said.insert(key.clone(), value);
        }
    }
    Value::Object(said)
}

/// Whether every object in `schema` requires all its properties and allows no others, as in OpenAI's strict
/// mode.
pub(super) fn is_strict(schema: &Value) -> bool {
    let closed = schema.get("properties").is_none_or(|properties| {
        let required = schema["required"].as_array();
        let has = |name: &String| required.is_some_and(|names| names.iter().any(|n| n == name.as_str()));
        schema["additionalProperties"] == json!(false)
            && properties.as_object().is_some_and(|table| table.keys().all(has))
    });
    let object = schema["type"] == "object" && schema.get("properties").is_none();
    let foreign = ["oneOf", "allOf", "not", "if", "patternProperties", "prefixItems", "uniqueItems"];
    closed && !object && foreign.iter().all(|key| schema.get(key).is_none()) && parts(schema).all(is_strict)
}

/// Whether [`narrowed`] can express `schema`.
pub(in crate::llm) fn can_say(schema: &Value) -> bool {
    narrowed(schema).is_some()
}

fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
    let named = NAMED.iter().filter_map(|key| schema.get(key)?.as_object()).flat_map(serde_json::Map::values);
    let listed = LISTED.iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    named.chain(listed).chain(schema.get("items"))
}

/// `schema` reduced to supported keywords and closed objects, so that valid answers have the right form;
/// the rest is checked afterwards. `None` if objects must stay open, or for `oneOf` and similar keywords,
/// which cannot be expressed.
pub(super) fn narrowed(schema: &Value) -> Option<Value> {
    let Value::Object(table) = schema else { return None };
    let open = table.get("additionalProperties").is_some_and(|more| more != &json!(false));
    if open
        || ["oneOf", "not", "if", "patternProperties", "prefixItems"]
            .iter()
            .any(|key| table.contains_key(*key))
    {
        return None;
    }
    let mut narrow = serde_json::Map::new();
    for (key, value) in table.iter().filter(|(key, _)| KEPT.contains(&key.as_str())) {
        let value = match value {
            Value::Object(parts) if NAMED.contains(&key.as_str()) => {
                let parts = parts.iter().map(|(name, part)| Some((name.clone(), narrowed(part)?)));
                Value::Object(parts.collect::<Option<_>>()?)
            }
            Value::Array(parts) if LISTED.contains(&key.as_str()) => {
                Value::Array(parts.iter().map(narrowed).collect::<Option<_>>()?)
            }
            part if key == "items" => narrowed(part)?,
            other => other.clone(),
        };
        narrow.insert(key.clone(), value);
    }
    let object = table.get("type").is_some_and(|kind| kind == "object") || table.contains_key("properties");
    if object {
        table.get("properties")?;
        narrow.insert("additionalProperties".to_owned(), json!(false));
    }
    Some(Value::Object(narrow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_schemas_are_told_from_loose_ones() {
        let strict = json!({"type": "object", "additionalProperties": false, "required": ["a"],
            "properties": {"a": {"type": "array", "items": {"type": "integer"}}}});
        assert!(is_strict(&strict));
        let mut loose = strict.clone();
        loose["properties"]["b"] = json!({"type": "string"});
        assert!(!is_strict(&loose), "an optional property");
        assert!(!is_strict(&json!({"anyOf": [loose, strict]})), "inside a choice");
        assert!(!is_strict(&json!({"type": "object"})), "a free table");
    }

    #[test]
    fn narrowing_keeps_the_form_and_drops_what_is_checked_later() {
        let schema = json!({"type": "object", "required": ["n"], "title": "T",
            "properties": {"n": {"type": "integer", "minimum": 0}, "items": {"type": "array", "items": {"type": "string", "minLength": 1}}}});
        assert_eq!(
            narrowed(&schema).unwrap(),
            json!({"type": "object", "required": ["n"], "additionalProperties": false,
                "properties": {"n": {"type": "integer"}, "items": {"type": "array", "items": {"type": "string"}}}})
        );
        assert_eq!(narrowed(&json!({"type": "object", "additionalProperties": {"type": "string"}})), None);
        assert_eq!(
            narrowed(&json!({"properties": {"a": {"type": "object"}}})),
            None,
            "an open object cannot be expressed"
        );
    }
}
