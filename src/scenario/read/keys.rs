//! Every key that scenario files have. The published schema is checked against these lists.

/// A scenario.
pub const SCENARIO: &[&str] =
    &["id", "description", "type", "weight", "tier", "component", "setup", "steps", "satisfaction_criteria"];
/// A step, without its action.
pub const STEP: &[&str] = &["description", "expect", "delay", "retry", "capture", "assert"];
/// The actions that can be run.
pub const ACTIONS: &[&str] = &["request", "exec"];
/// The actions that are part of the format but not of this version.
pub const OTHER_ACTIONS: &[&str] = &["browser", "grpc", "ws", "tui"];
/// `request`.
pub const REQUEST: &[&str] = &["method", "path", "headers", "body", "timeout"];
/// `exec`.
pub const EXEC: &[&str] = &["command", "stdin", "env", "timeout", "files"];
/// `retry`.
pub const RETRY: &[&str] = &["attempts", "interval", "timeout"];
/// One capture.
pub const CAPTURE: &[&str] = &["name", "jsonpath", "source"];
/// `assert`.
pub const ASSERT: &[&str] =
    &["status", "header", "json", "body", "exit_code", "stdout", "stderr", "duration"];
/// Comparisons of text: `body`, `stdout`, `stderr`.
pub const TEXT_RULES: &[&str] = &["equals", "contains", "not_contains", "matches", "length"];
/// Comparisons of a header.
pub const HEADER_RULES: &[&str] = &["equals", "contains", "not_contains", "matches", "exists"];
/// Comparisons of a part of JSON.
pub const JSON_RULES: &[&str] =
    &["equals", "exists", "matches", "contains", "not_contains", "length", "type", "schema"];
/// HTTP methods.
pub const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// JSON types.
pub const TYPES: &[&str] = &["string", "number", "integer", "boolean", "array", "object", "null"];
