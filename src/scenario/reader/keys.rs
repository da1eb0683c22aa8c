//! All keys of scenario files. Tests compare the published schema with these lists.

/// A scenario.
pub const SCENARIO: &[&str] = &[
    "id",
    "description",
    "type",
    "weight",
    "tier",
    "component",
    "tags",
    "isolation",
    "must",
    "visibility",
    "timeout",
    "trust",
    "hosts",
    "variables",
    "for_each",
    "fixtures",
    "setup",
    "steps",
    "teardown",
    "satisfaction_criteria",
];
/// A fixture.
pub const FIXTURE: &[&str] = &["description", "variables", "setup", "teardown"];
/// A step, without its action.
pub const STEP: &[&str] = &[
    "description",
    "expect",
    "service",
    "when",
    "delay",
    "retry",
    "until",
    "repeat",
    "must",
    "weight",
    "for_each",
    "capture",
    "assert",
];
/// `until`, without its assertions.
pub const UNTIL: &[&str] = &["within", "every"];
/// `isolation`.
pub const ISOLATION: &[&str] = &["fresh", "shared"];
/// `visibility`.
pub const VISIBILITY: &[&str] = &["dev", "gate", "sealed"];
/// `bytes`: binary content.
pub const BYTES: &[&str] = &["base64", "hex", "file"];
/// `retry`.
pub const RETRY: &[&str] = &["attempts", "interval", "timeout"];
/// One capture.
pub const CAPTURE: &[&str] = &["name", "jsonpath", "source"];
/// `assert`, for any step type.
pub const ASSERT: &[&str] = &[
    "status",
    "header",
    "trailer",
    "json",
    "body",
    "exit_code",
    "stdout",
    "stderr",
    "message",
    "text",
    "html",
    "url",
    "title",
    "value",
    "visible",
    "tree",
    "console",
    "dialogs",
    "count",
    "messages",
    "close",
    "protocol",
    "screen",
    "duration",
];
/// Comparisons of text: `body`, `stdout`, `stderr`.
pub const TEXT_RULES: &[&str] = &["equals", "contains", "not_contains", "matches", "length"];
/// Comparisons of a header.
pub const HEADER_RULES: &[&str] = &["equals", "contains", "not_contains", "matches", "exists"];
/// Comparisons of a part of JSON.
pub const JSON_RULES: &[&str] =
    &["equals", "exists", "matches", "contains", "not_contains", "length", "type", "schema"];
/// Comparisons of a variable.
pub const WHEN_RULES: &[&str] =
    &["equals", "exists", "matches", "contains", "not_contains", "length", "type"];
/// Statistics of the times of a repeated step.
pub const TIMES: &[&str] = &["mean", "p50", "p90", "p95", "p99", "max"];
/// JSON types.
pub const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object", "null"];

/// Fails unless the published schema has exactly the keys `known` at `pointer`.
#[cfg(test)]
pub fn assert_published(pointer: &str, known: &[&str]) {
    let schema: crate::value::Value =
        serde_json::from_str(include_str!("../../../schemas/scenario.json")).unwrap();
    let table = schema.pointer(pointer).and_then(crate::value::Value::as_object).expect(pointer);
    let mut published: Vec<&str> = table.keys().map(String::as_str).collect();
    let mut known = known.to_vec();
    published.sort_unstable();
    known.sort_unstable();
    assert_eq!(published, known, "{pointer}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        for (pointer, known) in [
            ("/properties", SCENARIO),
            ("/$defs/bytes/properties", BYTES),
            ("/$defs/until/properties", &[UNTIL, ASSERT].concat()),
            ("/$defs/retry/anyOf/1/properties", RETRY),
            ("/$defs/capture/properties", CAPTURE),
            ("/$defs/assert/properties", ASSERT),
            ("/$defs/text_rules/properties", TEXT_RULES),
            ("/$defs/header_rules/properties", HEADER_RULES),
            ("/$defs/json_rules/properties", JSON_RULES),
            ("/$defs/when_rules/properties", WHEN_RULES),
            ("/$defs/json_entry/properties", &[&["path"], JSON_RULES].concat()),
        ] {
            assert_published(pointer, known);
        }
    }
}
