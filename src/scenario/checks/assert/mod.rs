//! Assertions: checks of an answer that need no model.

mod bound;
mod check;
pub(in crate::scenario) mod openapi;
mod seen;

pub use bound::Comparison;
pub use check::{AssertionResult, check, time};
pub use seen::Rendering;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::values::json;
use crate::value::Value;

/// Check of one part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Part of the answer.
    pub subject: Subject,
    /// The JSONPath of `json`, the name of `header`, the statistic of `duration`; null for other subjects.
    #[serde(default)]
    pub path: Option<String>,
    /// Comparison.
    pub rule: AssertionRule,
    /// Expected value. Its texts may contain variables.
    #[serde(default)]
    pub value: Value,
}

/// The part of an answer that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// HTTP status (also of a WebSocket handshake), or the name of a gRPC status.
    Status,
    /// An HTTP header or a gRPC metadata entry, by name in any case.
    Header,
    /// A gRPC trailer, by name in any case.
    Trailer,
    /// A part of the answer, read as JSON.
    Json,
    /// The body as text.
    Body,
    /// Exit code of a command or a terminal program.
    ExitCode,
    /// Standard output of a command.
    Stdout,
    /// Standard error of a command.
    Stderr,
    /// The message of a gRPC status.
    Message,
    /// Visible text of a page or element.
    Text,
    /// HTML of a page or element.
    Html,
    /// Address of a page.
    Url,
    /// Title of a page.
    Title,
    /// Value of a form field.
    Value,
    /// Visibility of an element: `true` or `false`.
    Visible,
    /// Accessibility tree of a page, as text.
    Tree,
    /// Console errors of a page, including uncaught exceptions and failed requests, one per line.
    Console,
    /// Dialogs that a page opened, as `kind: message`, one per line.
    Dialogs,
    /// Number of matching elements, received messages or events.
    Count,
    /// Received messages, one per line.
    Messages,
    /// Close code of a WebSocket.
    Close,
    /// Subprotocol that a WebSocket agreed on.
    Protocol,
    /// Text of a terminal's screen.
    Screen,
    /// Time until the answer; with a path, the mean or a percentile of all times.
    Duration,
}

/// Comparison of a part of an answer with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionRule {
    /// Equal to the value. Numbers compare as numbers.
    Equals,
    /// Equal to one item of a list; `"2xx"` is a class of status codes.
    OneOf,
    /// Present (`true`) or absent (`false`).
    Exists,
    /// A regular expression matches somewhere in it.
    Matches,
    /// A text contains this text, a list this item, a mapping these entries.
    Contains,
    /// The opposite of `contains`.
    NotContains,
    /// Characters, items or entries: a number, or a bound such as `">=3"`.
    Length,
    /// `string number integer boolean array object null`.
    Type,
    /// Valid against a JSON Schema.
    Schema,
    /// Within a bound such as `"<500ms"`.
    Within,
    /// Equal to a number, or within a bound such as `">=3"`.
    Amount,
}

/// Form of the right side of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionForm {
    /// HTTP status codes and classes, one or a list.
    Status,
    /// Whole numbers, one or a list.
    Codes,
    /// Names of gRPC statuses, one or a list.
    Names,
    /// `true` or `false`.
    Flag,
    /// A number, or a bound such as `">=3"`.
    Count,
    /// Comparisons of text, or a text that must be contained.
    Text,
    /// By name: a text, or comparisons.
    Named,
    /// By JSONPath: a value, or comparisons.
    Json,
    /// A bound of time such as `"<500ms"`.
    Duration,
}

/// Names of the gRPC statuses, by their codes.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Subject {
    /// The keyword in a scenario file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Trailer => "trailer",
            Self::Json => "json",
            Self::Body => "body",
            Self::ExitCode => "exit_code",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Message => "message",
            Self::Text => "text",
            Self::Html => "html",
            Self::Url => "url",
            Self::Title => "title",
            Self::Value => "value",
            Self::Visible => "visible",
            Self::Tree => "tree",
            Self::Console => "console",
            Self::Dialogs => "dialogs",
            Self::Count => "count",
            Self::Messages => "messages",
            Self::Close => "close",
            Self::Protocol => "protocol",
            Self::Screen => "screen",
            Self::Duration => "duration",
        }
    }
}

impl AssertionRule {
    /// The keyword in a scenario file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::OneOf => "one_of",
            Self::Exists => "exists",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::Length => "length",
            Self::Type => "type",
            Self::Schema => "schema",
            Self::Within => "within",
            Self::Amount => "amount",
        }
    }
}

impl Assertion {
    /// Whether it needs the times of all repetitions of a step.
    pub fn is_about_all_times(&self) -> bool {
        self.subject == Subject::Duration && self.path.is_some()
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subject.word())?;
        if let Some(path) = &self.path {
            write!(f, " {path}")?;
        }
        match (self.rule, &self.value) {
            (AssertionRule::Exists, Value::Bool(false)) => f.write_str(" is absent"),
            (AssertionRule::Exists, _) => f.write_str(" exists"),
            (AssertionRule::OneOf, Value::Array(items)) if items.len() == 1 => {
                write!(f, " is {}", plain(&items[0]))
            }
            (AssertionRule::OneOf, value) => write!(f, " is one of {value}"),
            (AssertionRule::Within | AssertionRule::Amount, value) => write!(f, " {}", plain(value)),
            (rule, value) => write!(f, " {} {}", rule.word(), json::text(value)),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
