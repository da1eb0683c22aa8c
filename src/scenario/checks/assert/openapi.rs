//! Rewrites `nullable` of OpenAPI 3.0, which JSON Schema does not have, into a schema that allows null.

use serde_json::json;

use crate::value::Value;

/// Keys whose value is a schema, a list of schemas, or a mapping of names to schemas.
const ONE: [&str; 12] = [
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
];
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const TABLES: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// Keys under which null can be invalid, whatever `type` says.
const COMPOSED: [&str; 6] = ["$ref", "allOf", "anyOf", "oneOf", "not", "if"];

/// The schema without `nullable`.
pub fn plain(schema: Value) -> Value {
    let Value::Object(mut table) = schema else { return schema };
    for (key, value) in &mut table {
        match value {
            Value::Object(_) if ONE.contains(&key.as_str()) => *value = plain(value.take()),
            Value::Array(items) if LISTS.contains(&key.as_str()) => {
                items.iter_mut().for_each(|item| *item = plain(item.take()));
            }
            Value::Object(named) if TABLES.contains(&key.as_str()) => {
                named.values_mut().for_each(|value| *value = plain(value.take()));
            }
            _ => {}
        }
    }
    if !table.get("nullable").is_some_and(Value::is_boolean) {
        return Value::Object(table);
    }
    if table.shift_remove("nullable") != Some(Value::Bool(true)) {
        return Value::Object(table);
    }
    if COMPOSED.iter().any(|key| table.contains_key(*key)) {
        return json!({ "anyOf": [table, { "type": "null" }] });
    }
    if let Some(kind) = table.get_mut("type") {
        let mut kinds = match kind.take() {
            Value::Array(kinds) => kinds,
            kind => vec![kind],
        };
        if !kinds.contains(&"null".into()) {
            kinds.push("null".into());
        }
        *kind = kinds.into();
    }
    if let Some(value) = table.shift_remove("const") {
        table.insert("enum".into(), json!([value]));
    }
    if let Some(Value::Array(values)) = table.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    Value::Object(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn null_is_allowed_where_it_is_said() {
        let fits = |schema: Value, value: Value| Schema::compile("s", plain(schema)).unwrap().accepts(&value);
        for schema in [
            json!({"type": "string", "nullable": true, "maxLength": 3}),
            json!({"enum": ["a", "b"], "nullable": true}),
            json!({"type": "string", "enum": ["a"], "nullable": true}),
            json!({"type": ["string", "null"], "nullable": true}),
            json!({"const": "a", "nullable": true}),
            json!({"allOf": [{"type": "string"}], "nullable": true}),
            json!({"$ref": "#/anyOf/0/$defs/s", "$defs": {"s": {"type": "string"}}, "nullable": true}),
        ] {
            assert!(fits(schema.clone(), Value::Null), "{schema}");
            assert!(fits(schema.clone(), json!("a")) && !fits(schema.clone(), json!(1)), "{schema}");
        }
        for schema in [json!({"type": "string"}), json!({"type": "string", "nullable": false})] {
            assert!(!fits(schema, Value::Null));
        }
        let nested = json!({"properties": {"nullable": {"type": "integer"}, "n": {"items": {"type": "string", "nullable": true}}}});
        assert!(fits(nested.clone(), json!({"nullable": 1, "n": ["a", null]})));
        assert!(!fits(nested, json!({"nullable": "x"})), "a property of that name is a property");
        assert!(
            fits(json!({"enum": [{"nullable": true}]}), json!({"nullable": true})),
            "values stay as they are"
        );
    }
}
