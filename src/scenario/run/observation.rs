use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ending::EndedWhen;
use crate::scenario::answer::{Evidence, SentRecord, StepAnswer};
use crate::scenario::checks::Captured;
use crate::scenario::checks::assert::AssertionResult;
use crate::scenario::language::{ScenarioStep, Visibility};
use crate::scenario::ports::Evidences;
use crate::scenario::values::{Excerpt, Variables};
use crate::value::{Digest, Value};

/// Record of a scenario that was run: what happened and what the assertions decided, without a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The scenario's name.
    pub id: String,
    /// Subject of the scenario, in a sentence.
    pub description: String,
    /// Weight in the mean of all scenarios.
    pub weight: f64,
    /// Difficulty: 1, 2 or 3.
    pub tier: i64,
    /// Tags for selecting scenarios.
    #[serde(default)]
    pub tags: Vec<String>,
    /// True if the specification is not satisfied while this scenario fails.
    #[serde(default)]
    pub must: bool,
    /// Amount of feedback that the writer of the program gets.
    #[serde(default)]
    pub visibility: Visibility,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
    /// Expectation about the scenario as a whole, like `expect` of a step.
    pub satisfaction_criteria: String,
    /// Values of the names in the expectation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedValue>,
    /// True if the setup succeeded.
    pub setup_ok: bool,
    /// Failed step of the setup; null if the setup succeeded.
    pub broken: Option<SetupFailure>,
    /// Setup steps that were run.
    pub setup: Vec<StepSeen>,
    /// Every step, also those that were not run.
    pub steps: Vec<StepSeen>,
    /// Teardown steps. Failures there are reported but do not count.
    #[serde(default)]
    pub teardown: Vec<StepSeen>,
    /// Steps whose condition did not hold. They are not in the lists above and do not count.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// Duration in milliseconds.
    pub duration_ms: u64,
}

/// A step that was not run because its `when` did not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// `setup`, `steps` or `teardown`.
    pub list: String,
    /// First line of the step in its file, from 1.
    pub line: usize,
    /// Purpose of the step, in a sentence.
    pub description: String,
    /// Condition that did not hold.
    pub why: String,
}

impl Skipped {
    /// The record of `step` if its condition does not hold.
    pub fn of(step: &ScenarioStep, list: &str, variables: &Variables) -> Option<Self> {
        let why = step.when.as_ref()?.refusal(&variables.under(&step.variables))?;
        Some(Self { list: list.to_owned(), line: step.line, description: step.description.clone(), why })
    }
}

/// A setup that broke, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetupFailure {
    /// Index of the step in the setup, from 0.
    pub step: usize,
    /// Purpose of the step, in a sentence.
    pub description: String,
    /// Reason of the failure.
    pub reason: String,
    /// Text that was sent.
    pub sent: String,
    /// Text that came back.
    pub observed: String,
    /// Log of the service during the step.
    pub log: String,
}

/// Decision about a step without a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepDecision {
    /// Passed: the assertions hold, and nothing else is expected.
    Held,
    /// Failed: an error, a failed assertion, or not run.
    Failed,
    /// Open: a judge has to decide.
    Open,
}

/// Record of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSeen {
    /// Index in its list, from 0, without skipped steps.
    pub index: usize,
    /// First line of the step in its file, from 1.
    pub line: usize,
    /// Purpose of the step, in a sentence.
    pub description: String,
    /// Expected result. Numbers, ids and the author's own short words are filled in for its variables.
    /// Other values stay names, because a program may have made them to be read as instructions.
    pub expect: String,
    /// Values of the names in the expectation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedValue>,
    /// The step type.
    pub kind: String,
    /// Weight among the steps.
    #[serde(default = "one")]
    pub weight: f64,
    /// Record of what was sent; null if the step was not run.
    pub sent: Option<SentRecord>,
    /// Record of the answer; null if there was none.
    pub observed: Option<Observed>,
    /// Captured values.
    pub captures: Vec<Captured>,
    /// Results of the assertions.
    pub assertions: Vec<AssertionResult>,
    /// Decision without a judge.
    pub decided: StepDecision,
    /// Reason why the answer is missing or incomplete.
    pub error: Option<String>,
    /// Number of attempts.
    pub attempts: u32,
    /// Duration with delay and retries, in milliseconds.
    pub duration_ms: u64,
    /// When the program that a failed step talks to ended; null if it did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedWhen>,
    /// Log of the service during the step, shortened.
    pub log: String,
}

fn one() -> f64 {
    1.0
}

/// A value that an expectation names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedValue {
    /// The name, in the expectation in braces.
    pub name: String,
    /// The value as text, shortened, with escapes for invisible characters.
    pub value: String,
}

/// Record of an answer. Fields that the step type does not have are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// Text for a judge: shortened, and the same for the same behaviour.
    pub text: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// HTTP headers by lower-case name.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<IndexMap<String, String>>,
    /// The URL that answered, after redirects.
    pub url: Option<String>,
    /// HTTP body, shortened to 64 KiB.
    pub body: Option<String>,
    /// Exit code; null also if the command was killed.
    pub exit_code: Option<i64>,
    /// Standard output, shortened to 64 KiB.
    pub stdout: Option<String>,
    /// Standard error, shortened to 64 KiB.
    pub stderr: Option<String>,
    /// True if a command was killed because of its time limit.
    pub timed_out: bool,
    /// True length of the body or of stdout, in bytes.
    pub length: u64,
    /// Digest of the whole body or stdout.
    pub digest: String,
    /// True if the body or stdout is too long to be kept whole.
    pub cut: bool,
    /// True if the body or stdout is not UTF-8, so that its text is not exact.
    pub lossy: bool,
    /// Parts of answers of `browser`, `grpc`, `ws` and `tui`, by the word that assertions use; long texts
    /// are shortened to 64 KiB.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub parts: IndexMap<String, Value>,
    /// Other evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceRef>,
}

/// Evidence that is stored next to the observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceRef {
    /// Kind of evidence, e.g. `screenshot`.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Length in bytes.
    pub length: u64,
    /// Digest under which the content is stored; null if it could not be stored.
    #[schemars(with = "Option<String>")]
    pub digest: Option<Digest>,
}

/// Longest media type in a record, in bytes.
const MEDIA_TYPE: usize = 128;

/// Longest body or output in an observation, in bytes.
const SHOWN: usize = 64 << 10;

impl Observed {
    /// The record of `answer`, with its evidence stored in `evidences`.
    pub fn of(answer: &StepAnswer, evidences: Option<&dyn Evidences>) -> Self {
        let (_, main) = answer.main();
        let shown = |text: &str| Some(Excerpt::of_text(text, SHOWN).text);
        let common = Self {
            text: answer.text(),
            length: main.length(),
            digest: main.digest().to_string(),
            cut: main.is_cut() || main.length() > SHOWN as u64,
            lossy: main.is_lossy(),
            ..Self::default()
        };
        match answer {
            StepAnswer::Http(http) => Self {
                status: Some(http.status),
                headers: Some(http.headers.iter().cloned().collect()),
                url: Some(http.url.clone()),
                body: shown(&http.body.text()),
                ..common
            },
            StepAnswer::Exec(exec) => Self {
                exit_code: exec.exit_code,
                stdout: shown(&exec.stdout.text()),
                stderr: shown(&exec.stderr.text()),
                timed_out: exec.timed_out.is_some(),
                ..common
            },
            StepAnswer::Told(told) => Self {
                body: shown(&told.main.1.text()),
                parts: told.parts.iter().map(|(word, part)| ((*word).to_owned(), short(part))).collect(),
                evidence: told.evidence.iter().map(|evidence| kept(evidence, evidences)).collect(),
                ..common
            },
        }
    }

    /// The record of a failed step: everything that was read of the answer is stored.
    #[must_use]
    pub fn with_content(mut self, answer: &StepAnswer, evidences: Option<&dyn Evidences>) -> Self {
        let Some(evidences) = evidences else { return self };
        let parts = match answer {
            StepAnswer::Http(http) => {
                let named = http.headers.iter().find(|(name, _)| name == "content-type");
                let media_type = named.map_or("application/octet-stream", |(_, value)| value.as_str());
                vec![("body", media_type, &http.body)]
            }
            StepAnswer::Exec(exec) => {
                vec![("stdout", "text/plain", &exec.stdout), ("stderr", "text/plain", &exec.stderr)]
            }
            StepAnswer::Told(told) => vec![(told.main.0, "text/plain", &told.main.1)],
        };
        for (name, media_type, content) in parts.into_iter().filter(|(.., content)| !content.is_empty()) {
            let kept = evidences.keep(&content.content()).ok();
            self.evidence.push(EvidenceRef {
                name: name.to_owned(),
                media_type: Excerpt::visible(media_type, MEDIA_TYPE).text,
                length: kept.map_or(content.length(), |blob| blob.size),
                digest: kept.map(|blob| blob.digest),
            });
        }
        self
    }
}

fn short(part: &Value) -> Value {
    part.as_str().map_or_else(|| part.clone(), |text| Excerpt::of_text(text, SHOWN).text.into())
}

fn kept(evidence: &Evidence, evidences: Option<&dyn Evidences>) -> EvidenceRef {
    let kept = evidences.and_then(|evidences| evidences.keep(&evidence.bytes).ok());
    EvidenceRef {
        name: evidence.name.to_owned(),
        media_type: evidence.media_type.to_owned(),
        length: kept.map_or(evidence.bytes.len() as u64, |blob| blob.size),
        digest: kept.map(|blob| blob.digest),
    }
}
