use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assert::Assertion;
use super::{Browser, Grpc, Lapse, Tui, Ws};
use crate::value::Value;

/// One user journey: what is done to a program and what is expected of it. The shape that flows through
/// pipelines: every default is filled in, every shorthand is written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name; scenarios are sorted by it.
    pub id: String,
    /// What it is about.
    #[serde(default)]
    pub description: String,
    /// Its type as written, e.g. `api`; empty where none was.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// How much it counts among others.
    #[serde(default = "one")]
    pub weight: f64,
    /// How advanced it is: 1, 2 or 3; inferred where none was written.
    #[serde(default = "first")]
    pub tier: i64,
    /// The component it belongs to; empty for all of the program.
    #[serde(default)]
    pub component: String,
    /// Steps that must succeed before it begins.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// Steps that are looked at.
    pub steps: Vec<Step>,
    /// What must be true of the whole.
    #[serde(default)]
    pub satisfaction_criteria: String,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
}

fn one() -> f64 {
    1.0
}

fn first() -> i64 {
    1
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// What should come of it, in words; `{name}` stands for a variable.
    #[serde(default)]
    pub expect: String,
    /// What is done.
    pub action: Action,
    /// A pause before it.
    #[serde(default)]
    pub delay: Option<Lapse>,
    /// Whether it is tried again.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// What is kept from its answer for later steps.
    #[serde(default)]
    pub capture: Vec<Capture>,
    /// What is checked without any model.
    #[serde(default)]
    pub assert: Vec<Assertion>,
    /// The line of the file where it begins, from 1.
    #[serde(default)]
    pub line: usize,
}

/// What a step does. One kind per step type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends an HTTP request to the target.
    Request(Request),
    /// Runs a command inside the held service.
    Exec(Exec),
    /// Does something in a browser.
    Browser(Browser),
    /// Calls a gRPC method.
    Grpc(Grpc),
    /// Talks over a WebSocket.
    Ws(Ws),
    /// Talks to a program in a terminal.
    Tui(Tui),
}

impl Action {
    /// The word for it in a scenario file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Exec(_) => "exec",
            Self::Browser(_) => "browser",
            Self::Grpc(_) => "grpc",
            Self::Ws(_) => "ws",
            Self::Tui(_) => "tui",
        }
    }

    /// Whether it waits for messages on a stream.
    pub fn receives(&self) -> bool {
        match self {
            Self::Grpc(grpc) => grpc.receives(),
            Self::Ws(ws) => ws.receives(),
            _ => false,
        }
    }
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query, joined to the target.
    pub path: String,
    /// Headers; names are taken as they are, values may hold variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Text is sent as it is, anything else as JSON; absent or null sends nothing.
    #[serde(default)]
    pub body: Value,
    /// How long to wait for the whole answer.
    #[serde(default = "thirty_seconds")]
    pub timeout: Lapse,
}

/// A command line run by `sh -c`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The command line.
    pub command: String,
    /// What it reads.
    #[serde(default)]
    pub stdin: String,
    /// Environment variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: IndexMap<String, String>,
    /// Files that are written first: absolute path and content.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub files: IndexMap<String, String>,
    /// After how long it is killed.
    #[serde(default = "thirty_seconds")]
    pub timeout: Lapse,
}

pub(super) fn thirty_seconds() -> Lapse {
    Lapse::secs(30)
}

/// How often and how long a step is tried again when it breaks or an assertion fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many tries there are in all.
    pub attempts: u32,
    /// The pause between two tries.
    pub interval: Lapse,
    /// When no further try is begun and a running one is cut off.
    #[serde(default)]
    pub timeout: Option<Lapse>,
}

/// Keeps a part of an answer under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The name.
    pub name: String,
    /// Which part of JSON text.
    #[serde(default)]
    pub jsonpath: Option<String>,
    /// Which part of the answer; the body or stdout where nothing is written.
    #[serde(default)]
    pub source: Option<String>,
}
