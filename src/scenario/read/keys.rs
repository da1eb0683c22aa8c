//! Every key that scenario files have. The published schema is checked against these lists.

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
/// The actions.
pub const ACTIONS: &[&str] = &["request", "exec", "browser", "grpc", "ws", "tui", "parallel"];
/// One entry of `parallel`, without its action.
pub const MEMBER: &[&str] = &["times"];
/// The actions that can be done at once.
pub const AT_ONCE: &[&str] = &["request", "exec", "grpc"];
/// `until`, without its assertions.
pub const UNTIL: &[&str] = &["within", "every"];
/// `isolation`.
pub const ISOLATION: &[&str] = &["fresh", "shared"];
/// `visibility`.
pub const VISIBILITY: &[&str] = &["dev", "gate", "sealed"];
/// `request`.
pub const REQUEST: &[&str] = &[
    "method",
    "path",
    "query",
    "headers",
    "cookies",
    "body",
    "form",
    "multipart",
    "bytes",
    "redirects",
    "as",
    "events",
    "timeout",
];
/// One part of `multipart`.
pub const PART: &[&str] = &["name", "value", "bytes", "filename", "type"];
/// `bytes`: content that is no text.
pub const BYTES: &[&str] = &["base64", "hex", "file"];
/// `events`.
pub const EVENTS: &[&str] = &["count", "until", "timeout"];
/// `exec`.
pub const EXEC: &[&str] = &["command", "stdin", "env", "timeout", "files"];
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
/// HTTP methods.
pub const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// Comparisons of a variable.
pub const WHEN_RULES: &[&str] =
    &["equals", "exists", "matches", "contains", "not_contains", "length", "type"];
/// Bounds of the times of a step that is repeated.
pub const TIMES: &[&str] = &["mean", "p50", "p90", "p95", "p99", "max"];
/// JSON types.
pub const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object", "null"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{browser, grpc, tui, ws};
    use crate::value::Value;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        let schema: Value = serde_json::from_str(include_str!("../../../schemas/scenario.json")).unwrap();
        let keys = |pointer: &str| {
            let table = schema.pointer(pointer).and_then(Value::as_object).expect(pointer);
            let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
            keys.sort_unstable();
            keys
        };
        for (pointer, known) in [
            ("/properties", SCENARIO.to_vec()),
            ("/$defs/step/properties", [STEP, ACTIONS].concat()),
            ("/$defs/request/properties", REQUEST.to_vec()),
            ("/$defs/part/properties", PART.to_vec()),
            ("/$defs/bytes/properties", BYTES.to_vec()),
            ("/$defs/events/properties", EVENTS.to_vec()),
            ("/$defs/member/properties", [MEMBER, AT_ONCE].concat()),
            ("/$defs/until/properties", [UNTIL, ASSERT].concat()),
            ("/$defs/exec/properties", EXEC.to_vec()),
            ("/$defs/browser/properties", browser::KEYS.to_vec()),
            ("/$defs/file/properties", browser::FILE.to_vec()),
            ("/$defs/grpc/properties", grpc::KEYS.to_vec()),
            ("/$defs/grpc/properties/stream/properties", grpc::STREAM.to_vec()),
            ("/$defs/grpc/properties/stream/properties/receive/properties", grpc::RECEIVE.to_vec()),
            ("/$defs/ws/properties", ws::KEYS.to_vec()),
            ("/$defs/tui/properties", tui::KEYS.to_vec()),
            ("/$defs/retry/anyOf/1/properties", RETRY.to_vec()),
            ("/$defs/capture/properties", CAPTURE.to_vec()),
            ("/$defs/assert/properties", ASSERT.to_vec()),
            ("/$defs/text_rules/properties", TEXT_RULES.to_vec()),
            ("/$defs/header_rules/properties", HEADER_RULES.to_vec()),
            ("/$defs/json_rules/properties", JSON_RULES.to_vec()),
            ("/$defs/when_rules/properties", WHEN_RULES.to_vec()),
            ("/$defs/json_entry/properties", [&["path"], JSON_RULES].concat()),
        ] {
            let mut known = known;
            known.sort_unstable();
            assert_eq!(keys(pointer), known, "{pointer}");
        }
    }
}
