//! A scenario with its score: the output of `grade`, and the input of `findings` and `total`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::scenario::{EndedWhen, EvidenceRef, Readiness, SetupFailure, Visibility};
use crate::value::Value;

/// The result of a scenario with its score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Graded {
    /// Id of the scenario.
    pub id: String,
    /// Short description.
    #[serde(default)]
    pub description: String,
    /// File that declares it.
    #[serde(default)]
    pub file: String,
    /// Weight in the mean.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// Whether the goal requires that it passes.
    #[serde(default)]
    pub must: bool,
    /// Tier, from 1: higher tiers are more advanced.
    #[serde(default)]
    pub tier: i64,
    /// Tags for selection.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Visibility: who may see which parts of its findings.
    #[serde(default)]
    pub visibility: Visibility,
    /// Readiness check of its program.
    #[serde(default)]
    pub readiness: Readiness,
    /// Reason why it was not run. It is then excluded from means.
    #[serde(default)]
    pub not_run: Option<String>,
    /// Reason why it could not be run, if that is not a fault of the program. It is then excluded from means.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Reason why the program was not running: the score is 0.
    #[serde(default)]
    pub fault: Option<ProgramFault>,
    /// Failed step of the setup.
    #[serde(default)]
    pub broken: Option<BrokenSetup>,
    /// Verdict on its `satisfaction_criteria`.
    #[serde(default)]
    pub criteria: Option<GradedCriteria>,
    /// Steps of the setup that were run.
    #[serde(default)]
    pub setup: Vec<SetupStep>,
    /// Steps with their scores.
    #[serde(default)]
    pub steps: Vec<GradedStep>,
    /// Duration in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Mean score of the steps and criteria by weight, 0 to 100; null if none is decided.
    #[serde(default)]
    pub score: Option<f64>,
    /// Number of undecided steps and criteria; they are excluded from the mean.
    #[serde(default)]
    pub unjudged: usize,
    /// Highest possible score: if everything undecided had 100.
    #[serde(default = "full_score")]
    pub most: f64,
    /// Whether it passes; null if that depends on undecided parts.
    #[serde(default)]
    pub passed: Option<bool>,
}

fn default_weight() -> f64 {
    1.0
}

fn full_score() -> f64 {
    100.0
}

/// Reason why a program was not running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramFault {
    /// Phase that failed.
    #[serde(default)]
    pub kind: ProgramFaultKind,
    /// Reason of the failure.
    #[serde(default)]
    pub reason: String,
    /// End of the program's log or build log.
    #[serde(default)]
    pub log: String,
}

/// The phase that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgramFaultKind {
    /// The image could not be built.
    Build,
    /// The program did not start.
    #[default]
    Start,
}

/// A failed step of the setup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BrokenSetup {
    /// Description of the step, and reason of its failure.
    #[serde(flatten)]
    pub broken: SetupFailure,
    /// Files that show the result, such as screenshots.
    #[serde(default)]
    pub evidence: Vec<EvidenceRef>,
}

/// A step of the setup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SetupStep {
    /// Step type, such as `request`.
    #[serde(default)]
    pub kind: String,
    /// Request as text.
    #[serde(default)]
    pub sent: String,
    /// Answer as text.
    #[serde(default)]
    pub observed: String,
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Captured values.
    #[serde(default)]
    pub captures: Vec<CapturedValue>,
    /// Error, if there is no complete answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A captured value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CapturedValue {
    /// Name of the variable.
    pub name: String,
    /// Captured value; null if there is none.
    #[serde(default)]
    pub value: Value,
    /// Error, if nothing was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A step with its score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GradedStep {
    /// Index, from 0.
    #[serde(default)]
    pub index: usize,
    /// Line of the file, from 1.
    #[serde(default)]
    pub line: usize,
    /// Weight among the steps.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// Short description.
    #[serde(default)]
    pub description: String,
    /// Step type, such as `request`.
    #[serde(default)]
    pub kind: String,
    /// Expected result.
    #[serde(default)]
    pub expect: String,
    /// Request as text.
    #[serde(default)]
    pub sent: String,
    /// Request as a `curl` command.
    #[serde(default)]
    pub curl: Option<String>,
    /// Answer as text.
    #[serde(default)]
    pub observed: String,
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Captured values.
    #[serde(default)]
    pub captures: Vec<CapturedValue>,
    /// Duration in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// Number of attempts.
    #[serde(default)]
    pub attempts: u32,
    /// Error, if there is no complete answer.
    #[serde(default)]
    pub error: Option<String>,
    /// Log of the service during the step.
    #[serde(default)]
    pub log: String,
    /// Files that show the result, such as screenshots.
    #[serde(default)]
    pub evidence: Vec<EvidenceRef>,
    /// Score, and its origin.
    #[serde(flatten)]
    pub verdict: Decision,
    /// Failed assertions.
    #[serde(default)]
    pub required: Vec<String>,
    /// Time at which the program ended, relative to the step, if it ended: `before` or `during`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedWhen>,
}

/// The criteria of a scenario with their score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GradedCriteria {
    /// Score, and its origin.
    #[serde(flatten)]
    pub verdict: Decision,
    /// Text of the criteria.
    #[serde(default)]
    pub criteria: String,
}

/// A score and its origin.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Origin of the decision: `assertions` or `judge`; null if it is undecided.
    #[serde(default)]
    pub by: Option<DecidedBy>,
    /// Score, 0 to 100; null if it is undecided.
    #[serde(default)]
    pub score: Option<Number>,
    /// Whether it passes; null if it is undecided.
    #[serde(default)]
    pub passed: Option<bool>,
    /// Reason for the score.
    #[serde(default)]
    pub reasoning: String,
    /// Requirements that are not met.
    #[serde(default)]
    pub failures: Vec<String>,
    /// Main category: a word of the judge, `assertion`, or `none`.
    #[serde(default)]
    pub category: String,
    /// Scores of all samples of the judge.
    #[serde(default)]
    pub scores: Vec<Value>,
    /// Difference between the largest and the smallest of `scores`.
    #[serde(default)]
    pub spread: Option<Number>,
}

/// The origin of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The assertions of the step.
    Assertions,
    /// The judge.
    Judge,
}

impl Decision {
    /// The score as a number.
    pub fn points(&self) -> Option<f64> {
        self.score.as_ref().and_then(Number::as_f64)
    }
}

/// The mean of `(score, weight)`, rounded to six digits; `None` if the sum of weights is zero.
pub fn mean(scores: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let weight: f64 = scores.clone().map(|(_, weight)| weight).sum();
    let sum: f64 = scores.map(|(score, weight)| score * weight).sum();
    (weight > 0.0).then(|| rounded(sum / weight))
}

/// `value`, rounded to six decimal places.
pub fn rounded(value: f64) -> f64 {
    const SCALE: f64 = 1e6;
    let scaled = value * SCALE;
    if scaled.is_finite() { scaled.round() / SCALE } else { value }
}
