//! `findings`: the ways in which a program fails its scenarios, each cause once, for the model that writes
//! the next draft.

mod noise;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::graded::{DecidedBy, Graded, GradedStep, SetupStep};
use crate::expr::{head_text, tail_text};
use crate::scenario::{EndedWhen, Visibility};
use crate::value::{Digest, Value};
use crate::verb::{Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `findings`.
pub struct Findings;

/// Input of `findings`: `graded`, `build`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingsInput {
    /// Scored scenarios, from `grade`.
    #[serde(default)]
    pub graded: Option<Vec<Graded>>,
    /// Report of the build, from `docker_build`: a failed build is a finding.
    #[serde(default)]
    pub build: Option<BuildResult>,
    /// Level of detail.
    pub tells: DetailLevel,
    /// Maximum number of findings; those with the lowest scores come first.
    #[serde(default = "default_max")]
    pub max: usize,
    /// Whether findings include failures of scenarios with the visibility `gate`. Without it, only a failed
    /// start is reported for them. Default: `false`.
    #[serde(default)]
    pub gates: bool,
    /// Whether each finding has a `key`, which is equal for equal findings.
    #[serde(default = "default_true")]
    pub key: bool,
}

/// Report of a build.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct BuildResult {
    /// Whether the image was built.
    pub ok: bool,
    /// Exit code of the command that failed.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// Reason of a failed build.
    #[serde(default)]
    pub reason: Option<String>,
    /// Log of the build.
    #[serde(default)]
    pub log: String,
}

fn default_max() -> usize {
    8
}

fn default_true() -> bool {
    true
}

/// The level of detail of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetailLevel {
    /// Fixed words and rounded numbers only.
    Categories,
    /// The request, the answer and the reason.
    Diagnostic,
    /// The same; the release policy decides how much of it may be shown.
    Full,
}

/// Output of `findings`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FindingsOutput {
    /// Findings, lowest score first.
    pub findings: Vec<Finding>,
}

/// A way in which a program fails its scenarios.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Finding {
    /// A finding with `tells = "categories"`.
    Category(CategoryFinding),
    /// A finding with `diagnostic` or `full`.
    Told(DetailedFinding),
}

/// A finding in fixed words.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CategoryFinding {
    /// Point of failure: `build`, `start`, `setup` or `step`.
    pub kind: &'static str,
    /// Step type: `request`, `exec`, `browser`, `grpc`, `ws`, `tui` or `none`.
    pub via: &'static str,
    /// Category: `missing`, `wrong_value`, `wrong_status`, `wrong_format`, `error`, `nothing`, `other`,
    /// `assertion` or `none`.
    pub what: &'static str,
    /// Class of the HTTP status: `1xx` to `5xx`, or `none`.
    pub status: &'static str,
    /// Score of the step, 0 to 100, rounded down to tens.
    pub score: u8,
    /// Digest that is equal for equal findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A finding with the request and the answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DetailedFinding {
    /// Point of failure: `build`, `start`, `setup` or `step`.
    pub kind: &'static str,
    /// The score of the step, 0 to 100.
    pub score: Value,
    /// Main category: a word of the judge, `assertion`, or `none`.
    pub category: String,
    /// Earlier steps, a line each.
    pub before: Vec<String>,
    /// Request or command.
    pub sent: String,
    /// Answer of the program.
    pub observed: String,
    /// Required answer, if assertions decided.
    pub required: String,
    /// Reason why the answer is wrong.
    pub reason: String,
    /// End of the log, with values that change from run to run replaced.
    pub log: String,
    /// Digest that is equal for equal findings: made of the request, the answer and the requirement, without
    /// values that change from run to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The maximum length of an answer and of a log in a finding, in characters.
const OBSERVED: usize = 1500;
const LOG: usize = 1000;

impl Verb for Findings {
    const NAME: &'static str = "findings";
    const SUMMARY: &'static str =
        "list the ways in which a program fails its scenarios, each cause once, the worst first";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.short]
findings = { graded = "{{ inputs.graded }}", tells = "diagnostic", max = 5 }
"#;
    type With = FindingsInput;
    type Out = FindingsOutput;

    fn refusals(with: &FindingsInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        if !(1..=50).contains(&with.max) {
            let failure = Failure::permanent(format!("`max` is {}", with.max));
            found.push(Refusal::of("/max", failure.hint("write a number from 1 to 50")));
        }
        if with.graded.is_none() && with.build.is_none() {
            let failure = Failure::permanent("`graded` or `build` is missing");
            found.push(Refusal::among(&["graded", "build"], failure.hint("give one of them, or both")));
        }
        found
    }

    async fn run(&self, with: FindingsInput, _cx: Context) -> Result<Output<FindingsOutput>, Failure> {
        Ok(Output::free(FindingsOutput { findings: findings(&with) }))
    }
}

/// The data of a finding, before the level of detail is applied.
struct RawFinding {
    points: f64,
    via: String,
    what: String,
    status: Option<u16>,
    told: DetailedFinding,
}

fn findings(with: &FindingsInput) -> Vec<Finding> {
    let scenarios = with.graded.iter().flatten().flat_map(|scenario| of_scenario(scenario, with.gates));
    let mut found: Vec<RawFinding> = with.build.iter().filter_map(of_build).chain(scenarios).collect();
    found.sort_by(|a, b| a.points.total_cmp(&b.points));
    let mut seen = HashSet::new();
    let told = found.into_iter().map(|found| finding_of(found, with.tells));
    let once = told.filter(|finding| seen.insert(finding.key().to_owned())).take(with.max);
    let keyed = |finding: Finding| if with.key { finding } else { finding.without_key() };
    once.map(keyed).collect()
}

impl Finding {
    fn key(&self) -> &str {
        let (Self::Category(CategoryFinding { key, .. }) | Self::Told(DetailedFinding { key, .. })) = self;
        key.as_deref().unwrap_or_default()
    }

    fn without_key(mut self) -> Self {
        let (Self::Category(CategoryFinding { key, .. }) | Self::Told(DetailedFinding { key, .. })) =
            &mut self;
        *key = None;
        self
    }
}

/// The finding of a failed build.
fn of_build(build: &BuildResult) -> Option<RawFinding> {
    let why = match (build.exit_code, &build.reason) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(reason)) => reason.clone(),
        (None, None) => "no reason is given".to_owned(),
    };
    (!build.ok).then(|| RawFinding {
        points: 0.0,
        via: String::new(),
        what: "error".to_owned(),
        status: None,
        told: DetailedFinding {
            reason: format!("the image does not build: {why}"),
            log: build.log.clone(),
            ..blank("build")
        },
    })
}

/// The findings of `scenario`. A program that did not start has one finding, whatever the scenario; for a
/// program that did not build there is none here, because its build log is a finding.
fn of_scenario(scenario: &Graded, gates: bool) -> Vec<RawFinding> {
    if let Some(fault) = &scenario.fault {
        let is_start = fault.kind == super::graded::ProgramFaultKind::Start;
        let found = is_start.then(|| RawFinding {
            points: 0.0,
            via: String::new(),
            what: "error".to_owned(),
            status: None,
            told: DetailedFinding { reason: fault.reason.clone(), log: fault.log.clone(), ..blank("start") },
        });
        return found.into_iter().collect();
    }
    let is_told = match scenario.visibility {
        Visibility::Dev => true,
        Visibility::Gate => gates,
        Visibility::Sealed => false,
    };
    match &scenario.broken {
        _ if !is_told => Vec::new(),
        Some(_) => of_setup(scenario).into_iter().collect(),
        None => {
            let short = |(at, step): &(usize, &GradedStep)| falls_short(step) && !is_aftermath(*at, step);
            scenario
                .steps
                .iter()
                .enumerate()
                .filter(short)
                .map(|(at, step)| of_step(scenario, at, step))
                .collect()
        }
    }
}

/// The finding of a step without the full score, if that is decided.
fn falls_short(step: &GradedStep) -> bool {
    step.verdict.points().is_some_and(|points| points < 100.0)
}

/// Failures after the program ended are all the same, so only the first is a finding.
fn is_aftermath(at: usize, step: &GradedStep) -> bool {
    at > 0 && step.ended == Some(EndedWhen::Before)
}

fn of_setup(scenario: &Graded) -> Option<RawFinding> {
    let broken = &scenario.broken.as_ref()?.broken;
    let step = scenario.setup.get(broken.step);
    let before = scenario.setup.iter().take(broken.step).map(brief).collect();
    let is_error = step.is_none_or(|step| step.error.is_some());
    Some(RawFinding {
        points: 0.0,
        via: step.map(|step| step.kind.clone()).unwrap_or_default(),
        what: if is_error { "error" } else { "assertion" }.to_owned(),
        status: step.and_then(|step| step.status),
        told: DetailedFinding {
            before,
            sent: broken.sent.clone(),
            observed: shown(&broken.observed),
            reason: broken.reason.clone(),
            log: broken.log.clone(),
            ..blank("setup")
        },
    })
}

fn of_step(scenario: &Graded, at: usize, step: &GradedStep) -> RawFinding {
    let earlier: Vec<SetupStep> =
        scenario.setup.iter().cloned().chain(scenario.steps[..at].iter().map(as_earlier)).collect();
    let by_assertions = step.verdict.by == Some(DecidedBy::Assertions);
    let reason = match &step.error {
        Some(error) => error.clone(),
        None if by_assertions => format!("expected {}", step.verdict.reasoning),
        None => step.verdict.reasoning.clone(),
    };
    let what = if step.error.is_some() { "error" } else { &step.verdict.category };
    let score = step.verdict.score.clone().unwrap_or_else(|| 0.into());
    RawFinding {
        points: step.verdict.points().unwrap_or_default(),
        via: step.kind.clone(),
        what: what.to_owned(),
        status: step.status,
        told: DetailedFinding {
            score: Value::Number(score),
            category: step.verdict.category.clone(),
            before: earlier.iter().map(brief).collect(),
            sent: step.sent.clone(),
            observed: shown(&step.observed),
            required: step.required.join("; "),
            reason: format!("{reason}{}", lacking(step, &earlier)),
            log: step.log.clone(),
            ..blank("step")
        },
    }
}

fn blank(kind: &'static str) -> DetailedFinding {
    DetailedFinding {
        kind,
        score: 0.into(),
        category: "none".to_owned(),
        before: Vec::new(),
        sent: String::new(),
        observed: String::new(),
        required: String::new(),
        reason: String::new(),
        log: String::new(),
        key: None,
    }
}

fn as_earlier(step: &GradedStep) -> SetupStep {
    SetupStep {
        kind: step.kind.clone(),
        sent: step.sent.clone(),
        observed: step.observed.clone(),
        status: step.status,
        captures: step.captures.clone(),
        error: step.error.clone(),
    }
}

/// For a step that could not be sent: the values that earlier answers lack.
fn lacking(step: &GradedStep, earlier: &[SetupStep]) -> String {
    if !step.sent.trim().is_empty() {
        return String::new();
    }
    let lacks = earlier.iter().flat_map(|before| {
        let of = move |(name, error): (&str, &str)| {
            format!("`{name}` of the answer to `{}`: {error}", first_line(&before.sent))
        };
        before.captures.iter().filter_map(|kept| Some((kept.name.as_str(), kept.error.as_deref()?))).map(of)
    });
    let lacks: Vec<String> = lacks.collect();
    if lacks.is_empty() { String::new() } else { format!(". {}", lacks.join("; ")) }
}

fn brief(step: &SetupStep) -> String {
    format!("{} -> {}", first_line(&step.sent), first_line(&shown(&step.observed)))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or_default()
}

fn shown(text: &str) -> String {
    head_text(text, OBSERVED).unwrap_or_else(|| text.to_owned())
}

/// The finding at the level of detail `tells`.
fn finding_of(found: RawFinding, tells: DetailLevel) -> Finding {
    if tells == DetailLevel::Categories {
        return Finding::Category(category(&found));
    }
    let DetailedFinding { kind, sent, observed, required, reason, log, .. } = &found.told;
    let log = noise::without_noise(log);
    // For a step that could not be sent, only the reason identifies it.
    let is_sent = *kind == "step" && !sent.trim().is_empty();
    let of_kind = if is_sent { String::new() } else { noise::without_noise(reason) };
    let of_log = if matches!(*kind, "build" | "start") { last_line(&log) } else { "" };
    let identity = json!([
        kind,
        noise::without_names(sent),
        noise::without_noise(observed),
        noise::without_names(required),
        of_kind,
        of_log
    ]);
    let log = tail_text(&log, LOG).map_or(log, |cut| noise::without_count(&cut));
    Finding::Told(DetailedFinding { log, key: Some(Digest::of_value(&identity).to_string()), ..found.told })
}

fn category(found: &RawFinding) -> CategoryFinding {
    const VIA: [&str; 6] = ["request", "exec", "browser", "grpc", "ws", "tui"];
    const WHAT: [&str; 8] =
        ["missing", "wrong_value", "wrong_status", "wrong_format", "error", "nothing", "assertion", "none"];
    let word = |words: &[&'static str], wanted: &str, otherwise: &'static str| {
        words.iter().find(|word| **word == wanted).copied().unwrap_or(otherwise)
    };
    let (kind, via, what) =
        (found.told.kind, word(&VIA, &found.via, "none"), word(&WHAT, &found.what, "other"));
    let status = match found.status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        _ => "none",
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
    let score = (found.points.clamp(0.0, 100.0) / 10.0) as u8 * 10;
    let key = Digest::of_value(&json!([kind, via, what, status, score])).to_string();
    CategoryFinding { kind, via, what, status, score, key: Some(key) }
}

#[cfg(test)]
mod tests;
