use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::checks::assert::Assertion;
use crate::scenario::checks::{Capture, When};
use crate::scenario::steps::{Action, Hosts};
use crate::scenario::values::Lapse;
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
    /// Words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether it has a program of its own.
    #[serde(default)]
    pub isolation: Isolation,
    /// Whether nothing counts as satisfied while it is not.
    #[serde(default)]
    pub must: bool,
    /// Who may learn what of it.
    #[serde(default)]
    pub visibility: Visibility,
    /// How long its setup and steps may take in all.
    #[serde(default)]
    pub timeout: Option<Lapse>,
    /// Certificates in PEM that it trusts over TLS in place of those of the machine; empty for those.
    #[serde(default)]
    pub trust: String,
    /// Which hosts its pages may reach beside the target.
    #[serde(default)]
    pub hosts: Hosts,
    /// Variables it begins with, those of its row among them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
    /// Steps that must succeed before it begins.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// Steps that are looked at.
    pub steps: Vec<Step>,
    /// Steps that are run at the end, whatever became of the others. They are not looked at.
    #[serde(default)]
    pub teardown: Vec<Step>,
    /// The step types that it uses, sorted.
    #[serde(default)]
    pub uses: Vec<String>,
    /// The services beside the program that its steps talk to, sorted.
    #[serde(default)]
    pub services: Vec<String>,
    /// What must be true of the whole.
    #[serde(default)]
    pub satisfaction_criteria: String,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
    /// What its program is waited for.
    #[serde(default)]
    pub readiness: Readiness,
    /// Whether it runs commands inside the program: it has `exec` or `tui` steps.
    #[serde(default)]
    pub commands: bool,
    /// Scenarios of the same group run in one program, one after the other; empty where nobody has grouped them.
    #[serde(default)]
    pub group: String,
    /// Its place in its group: scenarios are run in the order of this list.
    #[serde(default)]
    pub order: Vec<Value>,
    /// Where the credentials are read again that its file holds and that are left out here; nothing if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// What has to answer before a scenario can be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// HTTP: it sends requests, opens pages or WebSockets.
    Http,
    /// gRPC: it calls methods, and nothing over HTTP.
    Grpc,
    /// Nothing: it only runs commands.
    #[default]
    None,
}

impl Readiness {
    /// That of a scenario with the step types `uses`.
    pub fn of(uses: &[String]) -> Self {
        let has = |words: &[&str]| uses.iter().any(|used| words.contains(&used.as_str()));
        if has(&["request", "browser", "ws"]) {
            Self::Http
        } else if has(&["grpc"]) {
            Self::Grpc
        } else {
            Self::None
        }
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::None => "none",
        }
    }
}

/// Files of scenarios, as they were when they were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The directory or file that was loaded.
    pub path: String,
    /// Digest of the scenario's own file.
    pub digest: String,
    /// Digest of the fixtures and the files that scenarios name.
    pub others: String,
}

/// Whether a scenario has a program of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A program that no other scenario has touched.
    #[default]
    Fresh,
    /// Any program will do.
    Shared,
}

/// Who may learn what of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Whoever writes the program may learn what it did and what was wrong with that.
    #[default]
    Dev,
    /// Its score counts, and nothing else is told.
    Gate,
    /// Nothing is told before the end.
    Sealed,
}

impl Visibility {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Gate => "gate",
            Self::Sealed => "sealed",
        }
    }
}

fn one() -> f64 {
    1.0
}

fn once() -> u32 {
    1
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
    /// The service that it is done to, with a port where it has several: `db`, `api:9090`. The program where none is
    /// named.
    #[serde(default)]
    pub service: Option<String>,
    /// What must be so of the variables for it to be done at all.
    #[serde(default)]
    pub when: Option<When>,
    /// A pause before it.
    #[serde(default)]
    pub delay: Option<Lapse>,
    /// Whether it is tried again.
    #[serde(default)]
    pub retry: Option<Retry>,
    /// The state that it is repeated for.
    #[serde(default)]
    pub until: Option<Until>,
    /// How often it is done, one time after the other, as long as it does not fail.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Whether the scenario ends where it fails.
    #[serde(default)]
    pub must: bool,
    /// How much it counts among the steps.
    #[serde(default = "one")]
    pub weight: f64,
    /// Variables that only this step sees: its row.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
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

/// A state that a step is repeated for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// What has to hold.
    pub assert: Vec<Assertion>,
    /// How long it is waited for.
    pub within: Lapse,
    /// The pause between two tries.
    pub every: Lapse,
}
