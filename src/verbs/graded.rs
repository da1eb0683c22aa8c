//! A scenario with its score: what `grade` gives, and what `findings` and `total` take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::scenario::{EndedWhen, EvidenceRef, Readiness, SetupFailure, Visibility};
use crate::value::Value;

/// What became of a scenario, and how good that is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Graded {
    /// Its id.
    pub id: String,
    /// What it is about.
    #[serde(default)]
    pub description: String,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
    /// How much it counts among others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether nothing counts as satisfied while it is not.
    #[serde(default)]
    pub must: bool,
    /// How advanced it is.
    #[serde(default)]
    pub tier: i64,
    /// Words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Who may learn what of it.
    #[serde(default)]
    pub visibility: Visibility,
    /// What its program was waited for.
    #[serde(default)]
    pub readiness: Readiness,
    /// Why it was not run, if it was not: it is part of no mean.
    #[serde(default)]
    pub not_run: Option<String>,
    /// Why it could not be run, if that is no fault of the program: it is part of no mean.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Why the program was not there: the score is 0.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// The step of its setup that failed.
    #[serde(default)]
    pub broken: Option<BrokenSetup>,
    /// What the judge says of its `satisfaction_criteria`.
    #[serde(default)]
    pub criteria: Option<GradedCriteria>,
    /// Its setup, as far as it went.
    #[serde(default)]
    pub setup: Vec<SetupStep>,
    /// Its steps.
    #[serde(default)]
    pub steps: Vec<GradedStep>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// The mean of its steps and its criteria by weight, 0 to 100; null if none of them is decided.
    #[serde(default)]
    pub score: Option<f64>,
    /// How many steps and criteria are not decided: they are part of no mean.
    #[serde(default)]
    pub unjudged: usize,
    /// The score if all of these were 100.
    #[serde(default = "hundred")]
    pub most: f64,
    /// Whether it passes; null if what is not decided would decide it.
    #[serde(default)]
    pub passed: Option<bool>,
}

fn one() -> f64 {
    1.0
}

fn hundred() -> f64 {
    100.0
}

/// Why a program was not there to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// What it could not do.
    #[serde(default)]
    pub kind: FaultKind,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The end of its log, or of that of its build.
    #[serde(default)]
    pub log: String,
}

/// What a program could not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It does not build.
    Build,
    /// It does not come up.
    #[default]
    Start,
}

/// A step of the setup that failed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BrokenSetup {
    /// Which one, and why.
    #[serde(flatten)]
    pub broken: SetupFailure,
    /// What else shows what was seen.
    #[serde(default)]
    pub evidence: Vec<EvidenceRef>,
}

/// A step of the setup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SetupStep {
    /// Its step type.
    #[serde(default)]
    pub kind: String,
    /// What was sent.
    #[serde(default)]
    pub sent: String,
    /// What came back.
    #[serde(default)]
    pub observed: String,
    /// The HTTP status of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was kept for later steps.
    #[serde(default)]
    pub captures: Vec<Capture>,
    /// Why there is no whole answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A value that was kept for later steps.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// Its name.
    pub name: String,
    /// The value; null where nothing was kept.
    #[serde(default)]
    pub value: Value,
    /// Why nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A step with its score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GradedStep {
    /// Its place, from 0.
    #[serde(default)]
    pub index: usize,
    /// The line of the file where it begins, from 1.
    #[serde(default)]
    pub line: usize,
    /// How much it counts among the steps.
    #[serde(default = "one")]
    pub weight: f64,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Its step type.
    #[serde(default)]
    pub kind: String,
    /// What should come of it.
    #[serde(default)]
    pub expect: String,
    /// What was sent.
    #[serde(default)]
    pub sent: String,
    /// The request as a `curl` command.
    #[serde(default)]
    pub curl: Option<String>,
    /// What came back.
    #[serde(default)]
    pub observed: String,
    /// The HTTP status of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was kept for later steps.
    #[serde(default)]
    pub captures: Vec<Capture>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Why there is no whole answer.
    #[serde(default)]
    pub error: Option<String>,
    /// What the service logged meanwhile.
    #[serde(default)]
    pub log: String,
    /// What else shows what was seen.
    #[serde(default)]
    pub evidence: Vec<EvidenceRef>,
    /// Its score, and where that comes from.
    #[serde(flatten)]
    pub verdict: Decision,
    /// The assertions that do not hold.
    #[serde(default)]
    pub required: Vec<String>,
    /// When the program that it talks to ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedWhen>,
}

/// The criteria of a scenario with their score.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GradedCriteria {
    /// The score, and where it comes from.
    #[serde(flatten)]
    pub verdict: Decision,
    /// The criteria.
    #[serde(default)]
    pub criteria: String,
}

/// A score and what it comes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Who decided it: `assertions` or `judge`; null if it is not decided.
    #[serde(default)]
    pub by: Option<By>,
    /// 0 to 100; null if it is not decided.
    #[serde(default)]
    pub score: Option<Number>,
    /// Whether it passes; null if it is not decided.
    #[serde(default)]
    pub passed: Option<bool>,
    /// Why.
    #[serde(default)]
    pub reasoning: String,
    /// Each thing that does not hold.
    #[serde(default)]
    pub failures: Vec<String>,
    /// What is wrong above all: a word of the judge, `assertion`, or `none`.
    #[serde(default)]
    pub category: String,
    /// The scores of all samples of the judge.
    #[serde(default)]
    pub scores: Vec<Value>,
    /// The largest of these minus the smallest.
    #[serde(default)]
    pub spread: Option<Number>,
}

/// Who decided a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Its assertions.
    Assertions,
    /// A judge.
    Judge,
}

impl Decision {
    /// Its score as a number.
    pub fn points(&self) -> Option<f64> {
        self.score.as_ref().and_then(Number::as_f64)
    }
}

/// The mean of `(score, weight)`, rounded to six digits; `None` where nothing weighs anything.
pub fn mean(scores: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let weight: f64 = scores.clone().map(|(_, weight)| weight).sum();
    let sum: f64 = scores.map(|(score, weight)| score * weight).sum();
    (weight > 0.0).then(|| rounded(sum / weight))
}

/// `value` with six digits behind the point.
pub fn rounded(value: f64) -> f64 {
    const SCALE: f64 = 1e6;
    let scaled = value * SCALE;
    if scaled.is_finite() { scaled.round() / SCALE } else { value }
}
