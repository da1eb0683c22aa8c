use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::checks::assert::Assertion;
use crate::scenario::checks::{Capture, When};
use crate::scenario::steps::{Action, Hosts};
use crate::scenario::values::WrittenDuration;
use crate::value::Value;

/// One user journey: what is done to a program and what is expected of it. The shape that flows through
/// pipelines: every default is filled in, every shorthand is written out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique name; scenarios are sorted by it.
    pub id: String,
    /// Subject of the scenario, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Type as written, e.g. `api`; empty if there is none.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Weight in the mean of all scenarios; 1 by default.
    #[serde(default = "one")]
    pub weight: f64,
    /// Difficulty: 1, 2 or 3; inferred if none is written.
    #[serde(default = "first")]
    pub tier: i64,
    /// The component it belongs to; empty for all of the program.
    #[serde(default)]
    pub component: String,
    /// Words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Program that the scenario runs against: its own one, or a shared one.
    #[serde(default)]
    pub isolation: Isolation,
    /// True if the specification is not satisfied while this scenario fails.
    #[serde(default)]
    pub must: bool,
    /// Amount of feedback that the writer of the program gets.
    #[serde(default)]
    pub visibility: Visibility,
    /// Time limit of setup and steps together.
    #[serde(default)]
    pub timeout: Option<WrittenDuration>,
    /// Certificates in PEM that it trusts over TLS in place of those of the machine; empty for those.
    #[serde(default)]
    pub trust: String,
    /// Hosts that pages may reach, next to the target.
    #[serde(default)]
    pub hosts: Hosts,
    /// Variables it begins with, those of its row among them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
    /// Steps that must succeed before it begins.
    #[serde(default)]
    pub setup: Vec<ScenarioStep>,
    /// Steps that are looked at.
    pub steps: Vec<ScenarioStep>,
    /// Steps that are run at the end, whatever became of the others. They are not looked at.
    #[serde(default)]
    pub teardown: Vec<ScenarioStep>,
    /// The step types that it uses, sorted.
    #[serde(default)]
    pub uses: Vec<String>,
    /// The services beside the program that its steps talk to, sorted.
    #[serde(default)]
    pub services: Vec<String>,
    /// Expectation about the scenario as a whole, for a judge.
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
    /// Files with the credentials that were removed here; null if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ScenarioSource>,
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
pub struct ScenarioSource {
    /// The directory or file that was loaded.
    pub path: String,
    /// Digest of the scenario's own file.
    pub digest: String,
    /// Digest of the fixtures and the files that scenarios name.
    pub others: String,
}

/// Program that a scenario runs against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A program that no other scenario has touched.
    #[default]
    Fresh,
    /// Any program will do.
    Shared,
}

/// Amount of feedback that the writer of the program gets about a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// What the program did, and what was wrong with it.
    #[default]
    Dev,
    /// The score, and nothing else.
    Gate,
    /// Nothing before the end.
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

/// One step of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioStep {
    /// Purpose of the step, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Expected result in words, for a judge; `{name}` is replaced by a variable.
    #[serde(default)]
    pub expect: String,
    /// Action of the step.
    pub action: Action,
    /// The service that it is done to, with a port where it has several: `db`, `api:9090`. The program where none is
    /// named.
    #[serde(default)]
    pub service: Option<String>,
    /// Condition about variables; the step is skipped if it does not hold.
    #[serde(default)]
    pub when: Option<When>,
    /// A pause before it.
    #[serde(default)]
    pub delay: Option<WrittenDuration>,
    /// Limits of retries; by default none.
    #[serde(default)]
    pub retry: Option<StepRetry>,
    /// The state that it is repeated for.
    #[serde(default)]
    pub until: Option<StepUntil>,
    /// Number of runs, one after the other, until one fails; 1 by default.
    #[serde(default = "once")]
    pub repeat: u32,
    /// True if the scenario ends when this step fails.
    #[serde(default)]
    pub must: bool,
    /// Weight among the steps; 1 by default.
    #[serde(default = "one")]
    pub weight: f64,
    /// Variables that only this step sees: its row.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
    /// Values of the answer that later steps use.
    #[serde(default)]
    pub capture: Vec<Capture>,
    /// Assertions, decided without a model.
    #[serde(default)]
    pub assert: Vec<Assertion>,
    /// The line of the file where it begins, from 1.
    #[serde(default)]
    pub line: usize,
}

/// Limits of retries after an error or a failed assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRetry {
    /// Number of attempts in total.
    pub attempts: u32,
    /// The pause between two tries.
    pub interval: WrittenDuration,
    /// Time limit of all attempts together.
    #[serde(default)]
    pub timeout: Option<WrittenDuration>,
}

/// A state that a step is repeated for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUntil {
    /// Assertions that must hold.
    pub assert: Vec<Assertion>,
    /// Time limit.
    pub within: WrittenDuration,
    /// The pause between two tries.
    pub every: WrittenDuration,
}
