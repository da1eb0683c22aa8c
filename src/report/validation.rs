//! The outputs of a validation as text, JSON, JUnit XML and GitHub workflow commands. The pipeline decides
//! which scores pass and how they are summed; here they are only written.

mod github;
mod junit;
mod text;
mod totals;

use serde::Deserialize;
use serde_json::{Map, json};

use super::outcome::RunEnding;
use crate::value::Value;
use crate::view::Status;

pub use github::render_github;
pub use junit::render_junit;
pub use text::render_text;
pub use totals::{Counts, Totals};

/// The outputs that a report uses. There may be others.
#[derive(Debug, Deserialize)]
pub struct Validation {
    /// Status of the validation.
    status: String,
    /// Validated program.
    target: Option<String>,
    /// Reason why nothing could be validated.
    trouble: Option<String>,
    /// Notes about the run as a whole.
    #[serde(default)]
    notes: Vec<String>,
    /// Mean of the scenarios by weight; `None` if nothing was decided.
    aggregate_score: Option<f64>,
    /// Satisfaction from which the program passes.
    threshold: f64,
    /// Score from which a judged step or scenario passes.
    #[serde(default)]
    passing: Option<f64>,
    /// Whether the judge was asked anything.
    #[serde(default)]
    judged: bool,
    /// Reason why the target could not be reached.
    #[serde(default)]
    unreachable: Option<String>,
    /// Number of undecided steps and criteria.
    unjudged: u64,
    scenarios: Vec<ScenarioResult>,
    /// What a paused run waits for.
    #[serde(skip)]
    waits: Option<String>,
}

/// The result of a scenario.
#[derive(Debug, Deserialize)]
struct ScenarioResult {
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    file: String,
    weight: f64,
    score: Option<f64>,
    /// `None` if that depends on undecided parts.
    passed: Option<bool>,
    unjudged: u64,
    /// Reason why it was not run: it neither passed nor failed.
    #[serde(default)]
    not_run: Option<String>,
    /// Reason why it could not be run; not a fault of the program.
    trouble: Option<String>,
    /// Reason why the program was not running.
    fault: Option<TargetFault>,
    /// Failed setup.
    broken: Option<SetupFailure>,
    criteria: Option<Criteria>,
    steps: Vec<StepResult>,
    #[serde(default)]
    duration_ms: u64,
}

/// The fault of a program that was not running.
#[derive(Debug, Deserialize)]
struct TargetFault {
    reason: String,
    #[serde(default)]
    log: String,
}

/// A failed step of the setup, with its evidence.
#[derive(Debug, Deserialize)]
struct SetupFailure {
    step: u64,
    #[serde(default)]
    description: String,
    reason: String,
    #[serde(default)]
    sent: String,
    #[serde(default)]
    observed: String,
    #[serde(default)]
    log: String,
    #[serde(default)]
    attachments: Vec<String>,
}

/// The verdict of a judge on a whole scenario.
#[derive(Debug, Deserialize)]
struct Criteria {
    #[serde(default)]
    criteria: String,
    #[serde(flatten)]
    verdict: StepVerdict,
}

/// The result of a step.
#[derive(Debug, Deserialize)]
struct StepResult {
    index: u64,
    line: u64,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    sent: String,
    #[serde(default)]
    observed: String,
    #[serde(default)]
    log: String,
    /// Request as a command.
    #[serde(default)]
    curl: Option<String>,
    /// Files that show the result.
    #[serde(default)]
    attachments: Vec<String>,
    #[serde(default)]
    duration_ms: u64,
    #[serde(flatten)]
    verdict: StepVerdict,
}

/// A score and its origin.
#[derive(Debug, Deserialize)]
struct StepVerdict {
    score: Option<f64>,
    passed: Option<bool>,
    #[serde(default)]
    reasoning: String,
    #[serde(default)]
    spread: Option<f64>,
}

impl Validation {
    /// Reads the outputs.
    pub fn read(outputs: &Value) -> Result<Self, serde_json::Error> {
        let mut read = Self::deserialize(outputs)?;
        // A program that was started for a scenario has ended: its address is useless now.
        if !read
            .target
            .as_deref()
            .is_some_and(|target| target.starts_with("http://") || target.starts_with("https://"))
        {
            let steps = read.scenarios.iter_mut().flat_map(|scenario| &mut scenario.steps);
            steps.for_each(|step| step.curl = None);
        }
        Ok(read)
    }

    /// Whether there is anything to report.
    pub fn has_scenarios(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// The same for a run that waits for this.
    #[must_use]
    pub fn waiting(self, waits: Option<String>) -> Self {
        Self { waits, ..self }
    }

    /// The number of scenarios that were not run.
    fn not_run(&self) -> usize {
        self.scenarios.iter().filter(|scenario| scenario.not_run.is_some()).count()
    }

    /// Whether undecided parts matter: a judge should have decided them.
    fn wants_judge(&self) -> bool {
        self.status == "undecided"
    }
}

impl ScenarioResult {
    /// Steps that did not pass; none if the setup failed, because they were not run.
    fn short(&self) -> impl Iterator<Item = &StepResult> {
        let ran = self.broken.is_none();
        self.steps.iter().filter(move |step| ran && step.verdict.passed != Some(true))
    }
}

impl StepResult {
    /// Its name in reports for machines, which stays the same if earlier steps are added or removed: its
    /// description or kind.
    fn name(&self) -> &str {
        match (self.description.trim(), self.kind.as_str()) {
            ("", "") => "step",
            ("", kind) => kind,
            (description, _) => description,
        }
    }

    /// Its number from 1, and its description.
    fn title(&self) -> String {
        let number = self.index + 1;
        if self.description.is_empty() {
            format!("step {number}")
        } else {
            format!("{number}. {}", self.description)
        }
    }
}

/// `{version, run, status, code, message?, total_cost_usd, totals}` and the outputs of the pipeline.
pub fn render_json(ending: &RunEnding<'_>) -> Value {
    let board = ending.board;
    let mut object = Map::new();
    object.insert("version".into(), json!(1));
    object.insert("run".into(), json!(board.run));
    object.insert("status".into(), json!(board.status.word()));
    object.insert("code".into(), json!(ending.code));
    if let Status::Paused { message, .. } = &board.status {
        object.insert("message".into(), json!(message));
    }
    object.insert("total_cost_usd".into(), json!(board.spent.get("usd")));
    if let Some(Ok(found)) = ending.outputs.map(Validation::read) {
        object.insert("totals".into(), json!(Totals::of(&found)));
    }
    for (name, value) in ending.outputs.and_then(Value::as_object).into_iter().flatten() {
        if !object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
    Value::Object(object)
}
