use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ending::Ended;
use crate::scenario::answer::{Answer, Evidence, Sent};
use crate::scenario::checks::Captured;
use crate::scenario::checks::assert::Verdict;
use crate::scenario::language::{Step, Visibility};
use crate::scenario::ports::Evidences;
use crate::scenario::values::{Excerpt, Variables};
use crate::value::{Digest, Value};

/// What was seen when a scenario was run. It says what happened and what its assertions decided, never how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The scenario's name.
    pub id: String,
    /// What it is about.
    pub description: String,
    /// How much it counts.
    pub weight: f64,
    /// How advanced it is.
    pub tier: i64,
    /// Words to choose it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether nothing counts as satisfied while it is not.
    #[serde(default)]
    pub must: bool,
    /// Who may learn what of it.
    #[serde(default)]
    pub visibility: Visibility,
    /// The file it was read from.
    #[serde(default)]
    pub file: String,
    /// What must be true of the whole, like `expect` of a step.
    pub satisfaction_criteria: String,
    /// What the names in it stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Named>,
    /// Whether its setup worked.
    pub setup_ok: bool,
    /// Where and why the setup broke.
    pub broken: Option<Broken>,
    /// The setup, as far as it went.
    pub setup: Vec<StepSeen>,
    /// Every step, also those that were not run.
    pub steps: Vec<StepSeen>,
    /// The teardown. What breaks there is told and counts for nothing.
    #[serde(default)]
    pub teardown: Vec<StepSeen>,
    /// Steps whose condition did not hold. They are in none of the lists above, and count for nothing.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// How long all of it took, in milliseconds.
    pub duration_ms: u64,
}

/// A step that was not done because its `when` did not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// `setup`, `steps` or `teardown`.
    pub list: String,
    /// The line of the file where it begins, from 1.
    pub line: usize,
    /// What it does.
    pub description: String,
    /// Which condition did not hold.
    pub why: String,
}

impl Skipped {
    /// The record of `step`, where its condition does not hold.
    pub fn of(step: &Step, list: &str, variables: &Variables) -> Option<Self> {
        let why = step.when.as_ref()?.refusal(&variables.under(&step.variables))?;
        Some(Self { list: list.to_owned(), line: step.line, description: step.description.clone(), why })
    }
}

/// A setup that broke, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// Which step of the setup, from 0.
    pub step: usize,
    /// What it does.
    pub description: String,
    /// Why it broke.
    pub reason: String,
    /// What was sent, as text.
    pub sent: String,
    /// What came back, as text.
    pub observed: String,
    /// What the service logged meanwhile.
    pub log: String,
}

/// Whether a step is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// Its assertions hold, and it expects nothing else.
    Held,
    /// It broke, an assertion failed, or it was not run.
    Failed,
    /// Nothing decides it: somebody has to judge what was observed.
    Open,
}

/// What was seen of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepSeen {
    /// Its place in its list, from 0, where those that were skipped are left out.
    pub index: usize,
    /// The line of the file where it begins, from 1.
    pub line: usize,
    /// What it does.
    pub description: String,
    /// What should come of it. Numbers, ids and the author's own short words are filled in for the variables in it; others, which
    /// a program may have made to be read as something else, stay names.
    pub expect: String,
    /// What the names in it stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<Named>,
    /// The step type.
    pub kind: String,
    /// How much it counts among the steps.
    #[serde(default = "one")]
    pub weight: f64,
    /// What was sent; null where it was not run or could not be prepared.
    pub sent: Option<Sent>,
    /// What came back; null where nothing did.
    pub observed: Option<Observed>,
    /// What was kept for later steps.
    pub captures: Vec<Captured>,
    /// What its assertions say.
    pub assertions: Vec<Verdict>,
    /// Whether it is decided.
    pub decided: Decided,
    /// Why there is no whole answer.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took with delay and retries, in milliseconds.
    pub duration_ms: u64,
    /// Of a step that failed: when the program that it talks to ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// What the service logged meanwhile, shortened.
    pub log: String,
}

fn one() -> f64 {
    1.0
}

/// A value that an expectation names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// The name, in the expectation in braces.
    pub name: String,
    /// The value as text, shortened, what cannot be seen as escapes.
    pub value: String,
}

/// What came back. Fields that the step type does not have are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// All of it as text, shortened, without what changes by itself: what a judge reads.
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
    /// Exit code; null also where the command was killed.
    pub exit_code: Option<i64>,
    /// Standard output, shortened to 64 KiB.
    pub stdout: Option<String>,
    /// Standard error, shortened to 64 KiB.
    pub stderr: Option<String>,
    /// Whether a command was killed for being late.
    pub timed_out: bool,
    /// True length of the body or of stdout, in bytes.
    pub length: u64,
    /// Digest of the whole body or stdout.
    pub digest: String,
    /// Whether the body or stdout is too long to be kept whole.
    pub cut: bool,
    /// Whether the body or stdout is no UTF-8, so that its text is not exact.
    pub lossy: bool,
    /// Parts that answers of `browser`, `grpc`, `ws` and `tui` have, by the word that assertions have for them; long
    /// texts shortened to 64 KiB.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub parts: IndexMap<String, Value>,
    /// What else shows what was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceRef>,
}

/// Evidence that is kept beside the observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceRef {
    /// What it is, e.g. `screenshot`.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub length: u64,
    /// What it is found by; null where it could not be kept.
    #[schemars(with = "Option<String>")]
    pub digest: Option<Digest>,
}

/// Longest media type in a record, in bytes.
const MEDIA_TYPE: usize = 128;

/// Longest body or output in an observation, in bytes.
const SHOWN: usize = 64 << 10;

impl Observed {
    /// The record of `answer`, its evidence kept in `evidences`.
    pub fn of(answer: &Answer, evidences: Option<&dyn Evidences>) -> Self {
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
            Answer::Http(http) => Self {
                status: Some(http.status),
                headers: Some(http.headers.iter().cloned().collect()),
                url: Some(http.url.clone()),
                body: shown(&http.body.text()),
                ..common
            },
            Answer::Exec(exec) => Self {
                exit_code: exec.exit_code,
                stdout: shown(&exec.stdout.text()),
                stderr: shown(&exec.stderr.text()),
                timed_out: exec.timed_out.is_some(),
                ..common
            },
            Answer::Told(told) => Self {
                body: shown(&told.main.1.text()),
                parts: told.parts.iter().map(|(word, part)| ((*word).to_owned(), short(part))).collect(),
                evidence: told.evidence.iter().map(|evidence| kept(evidence, evidences)).collect(),
                ..common
            },
        }
    }

    /// The same of a step that failed: everything that was read of the answer is kept.
    #[must_use]
    pub fn with_content(mut self, answer: &Answer, evidences: Option<&dyn Evidences>) -> Self {
        let Some(evidences) = evidences else { return self };
        let parts = match answer {
            Answer::Http(http) => {
                let named = http.headers.iter().find(|(name, _)| name == "content-type");
                let media_type = named.map_or("application/octet-stream", |(_, value)| value.as_str());
                vec![("body", media_type, &http.body)]
            }
            Answer::Exec(exec) => {
                vec![("stdout", "text/plain", &exec.stdout), ("stderr", "text/plain", &exec.stderr)]
            }
            Answer::Told(told) => vec![(told.main.0, "text/plain", &told.main.1)],
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
