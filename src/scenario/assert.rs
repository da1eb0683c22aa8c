//! Assertions: what a scenario decides about an answer without any model.

mod bound;
mod check;

pub use bound::Bound;
pub use check::{Verdict, check};

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Value;

/// One check of one part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Which part.
    pub subject: Subject,
    /// The JSONPath of `json`, the name of `header`; null for the others.
    #[serde(default)]
    pub path: Option<String>,
    /// How it is compared.
    pub rule: Rule,
    /// What with. Text in it may hold variables.
    #[serde(default)]
    pub value: Value,
}

/// The part of an answer that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// HTTP status.
    Status,
    /// An HTTP header, by name in any case.
    Header,
    /// A part of the body (or of stdout) read as JSON.
    Json,
    /// The body as text.
    Body,
    /// Exit code of a command.
    ExitCode,
    /// What a command wrote to its standard output.
    Stdout,
    /// What a command wrote to its standard error.
    Stderr,
    /// How long the answer took.
    Duration,
}

/// How a part is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It is the value. Numbers compare as numbers.
    Equals,
    /// It is one of a list; `"2xx"` stands for a class of status codes.
    OneOf,
    /// It is there (`true`) or is not (`false`).
    Exists,
    /// A regular expression finds something in it.
    Matches,
    /// Text: it has this in it. List: it has this item. Mapping: it has these entries.
    Contains,
    /// The opposite of `contains`.
    NotContains,
    /// Characters, items or entries: a number, or a bound such as `">=3"`.
    Length,
    /// `string number integer boolean array object null`.
    Type,
    /// It fits a JSON Schema.
    Schema,
    /// It is within a bound such as `"<500ms"`.
    Within,
}

impl Subject {
    /// The word for it in a scenario file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Json => "json",
            Self::Body => "body",
            Self::ExitCode => "exit_code",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Duration => "duration",
        }
    }
}

impl Rule {
    /// The word for it in a scenario file.
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
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subject.word())?;
        if let Some(path) = &self.path {
            write!(f, " {path}")?;
        }
        match (self.rule, &self.value) {
            (Rule::Exists, Value::Bool(false)) => f.write_str(" is absent"),
            (Rule::Exists, _) => f.write_str(" exists"),
            (Rule::OneOf, Value::Array(items)) if items.len() == 1 => write!(f, " is {}", plain(&items[0])),
            (Rule::OneOf, value) => write!(f, " is one of {value}"),
            (Rule::Within, value) => write!(f, " {}", plain(value)),
            (rule, value) => write!(f, " {} {value}", rule.word()),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
