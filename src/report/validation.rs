//! What the outputs of a validation say, as text, JSON, JUnit's XML and GitHub workflow commands. Which scores pass and
//! what they add up to is decided by the pipeline; here it is only written down.

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

/// The outputs that a report is made of. Others may stand beside them.
#[derive(Debug, Deserialize)]
pub struct Validation {
    /// How it ended.
    status: String,
    /// What was validated.
    target: Option<String>,
    /// Why nothing could be validated.
    trouble: Option<String>,
    /// What the reader has to know about the run as a whole.
    #[serde(default)]
    notes: Vec<String>,
    /// Mean of the scenarios by weight; `None` where nothing was decided.
    aggregate_score: Option<f64>,
    /// The satisfaction at which the program passes.
    threshold: f64,
    /// The score at which a step or scenario that the judge scores passes.
    #[serde(default)]
    passing: Option<f64>,
    /// Whether the judge was asked anything.
    #[serde(default)]
    judged: bool,
    /// Why the target could not be reached.
    #[serde(default)]
    unreachable: Option<String>,
    /// Steps and criteria that nobody decided.
    unjudged: u64,
    scenarios: Vec<ScenarioResult>,
    /// What the run waits for, where it pauses.
    #[serde(skip)]
    waits: Option<String>,
}

/// What became of a scenario.
#[derive(Debug, Deserialize)]
struct ScenarioResult {
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    file: String,
    weight: f64,
    score: Option<f64>,
    /// `None` where what nobody decided would decide it.
    passed: Option<bool>,
    unjudged: u64,
    /// Why it was not to be run any more: neither passed nor failed.
    #[serde(default)]
    not_run: Option<String>,
    /// Why it could not be run; says nothing about the program.
    trouble: Option<String>,
    /// Why the program was not there to be looked at.
    fault: Option<TargetFault>,
    /// The setup that broke.
    broken: Option<SetupFailure>,
    criteria: Option<Criteria>,
    steps: Vec<StepResult>,
    #[serde(default)]
    duration_ms: u64,
}

/// A program that was not up.
#[derive(Debug, Deserialize)]
struct TargetFault {
    reason: String,
    #[serde(default)]
    log: String,
}

/// A step of the setup that broke, with its evidence.
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

/// What a judge said of all of a scenario.
#[derive(Debug, Deserialize)]
struct Criteria {
    #[serde(default)]
    criteria: String,
    #[serde(flatten)]
    verdict: StepVerdict,
}

/// What became of a step.
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
    /// The request as a command.
    #[serde(default)]
    curl: Option<String>,
    /// Files that show what was seen.
    #[serde(default)]
    attachments: Vec<String>,
    #[serde(default)]
    duration_ms: u64,
    #[serde(flatten)]
    verdict: StepVerdict,
}

/// A score and what it comes from.
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
    /// Reads them.
    pub fn read(outputs: &Value) -> Result<Self, serde_json::Error> {
        let mut read = Self::deserialize(outputs)?;
        // A program that was started for a scenario has ended: nothing answers at its address any more.
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

    /// Whether there is anything to report on.
    pub fn has_scenarios(&self) -> bool {
        !self.scenarios.is_empty()
    }

    /// The same of a run that waits for this.
    #[must_use]
    pub fn waiting(self, waits: Option<String>) -> Self {
        Self { waits, ..self }
    }

    /// How many scenarios were not to be run any more.
    fn not_run(&self) -> usize {
        self.scenarios.iter().filter(|scenario| scenario.not_run.is_some()).count()
    }

    /// Whether what nobody decided is missed: a judge was meant to.
    fn wants_judge(&self) -> bool {
        self.status == "undecided"
    }
}

impl ScenarioResult {
    /// Steps that did not pass, unless it was the setup that broke: then none of them was run.
    fn short(&self) -> impl Iterator<Item = &StepResult> {
        let ran = self.broken.is_none();
        self.steps.iter().filter(move |step| ran && step.verdict.passed != Some(true))
    }
}

impl StepResult {
    /// Its name in reports of machines, which stays the same if steps before it come and go: what it does, or its kind.
    fn name(&self) -> &str {
        match (self.description.trim(), self.kind.as_str()) {
            ("", "") => "step",
            ("", kind) => kind,
            (description, _) => description,
        }
    }

    /// Its place as people count, and what it does.
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
