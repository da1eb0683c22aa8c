use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::checks::assert::Assertion;
use crate::scenario::checks::{Capture, When};
use crate::scenario::steps::{Action, Hosts};
use crate::scenario::values::WrittenDuration;
use crate::value::Value;

/// One user journey: what is done to a program and what is expected of it. This is the form that pipelines
/// use: defaults are filled in and shorthands are expanded.
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
    /// The component it belongs to; empty for the whole program.
    #[serde(default)]
    pub component: String,
    /// Tags for selecting scenarios.
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
    /// Certificates in PEM to trust over TLS instead of those of the machine; empty for those of the machine.
    #[serde(default)]
    pub trust: String,
    /// Hosts that pages may reach in addition to the target.
    #[serde(default)]
    pub hosts: Hosts,
    /// Initial variables, including those of its row.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
    /// Steps that must succeed before it begins.
    #[serde(default)]
    pub setup: Vec<ScenarioStep>,
    /// Steps that are judged.
    pub steps: Vec<ScenarioStep>,
    /// Steps that are run at the end, even if others failed. They are not judged.
    #[serde(default)]
    pub teardown: Vec<ScenarioStep>,
    /// The step types that it uses, sorted.
    #[serde(default)]
    pub uses: Vec<String>,
    /// The additional services that its steps talk to, sorted.
    #[serde(default)]
    pub services: Vec<String>,
    /// Expectation about the scenario as a whole, for a judge.
    #[serde(default)]
    pub satisfaction_criteria: String,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
    /// Protocol on which its program must be ready.
    #[serde(default)]
    pub readiness: Readiness,
    /// Whether it runs commands inside the program: it has `exec` or `tui` steps.
    #[serde(default)]
    pub commands: bool,
    /// Group: scenarios of the same group run in one program, one after the other; empty if they were not
    /// grouped.
    #[serde(default)]
    pub group: String,
    /// Sort key in its group: scenarios run in the order of these lists.
    #[serde(default)]
    pub order: Vec<Value>,
    /// Files with the credentials that were removed here; null if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ScenarioSource>,
}

/// Protocol on which the program must answer before a scenario can be run.
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
    /// Readiness of a scenario with the step types `uses`.
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

    /// Keyword in files and output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::None => "none",
        }
    }
}

/// Scenario files, as they were when they were read.
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
    /// Any program, also one that other scenarios use.
    Shared,
}

/// Amount of feedback that the writer of the program gets about a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// What the program did and what was wrong with it.
    #[default]
    Dev,
    /// The score only.
    Gate,
    /// Nothing until the end.
    Sealed,
}

impl Visibility {
    /// Keyword in files and output.
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
    /// The service that the step talks to, with a port if it has several: `db`, `api:9090`. By default the
    /// program.
    #[serde(default)]
    pub service: Option<String>,
    /// Condition about variables; the step is skipped if it does not hold.
    #[serde(default)]
    pub when: Option<When>,
    /// Pause before the step.
    #[serde(default)]
    pub delay: Option<WrittenDuration>,
    /// Limits of retries; by default none.
    #[serde(default)]
    pub retry: Option<StepRetry>,
    /// The state that the step is repeated for.
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
    /// Variables of this step only: its row.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub variables: IndexMap<String, Value>,
    /// Parts of the answer to save for later steps.
    #[serde(default)]
    pub capture: Vec<Capture>,
    /// Assertions, decided without a model.
    #[serde(default)]
    pub assert: Vec<Assertion>,
    /// First line of the step in its file, from 1.
    #[serde(default)]
    pub line: usize,
}

/// Limits of retries after an error or a failed assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepRetry {
    /// Number of attempts in total.
    pub attempts: u32,
    /// Pause between two attempts.
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
    /// Pause between two attempts.
    pub every: WrittenDuration,
}
