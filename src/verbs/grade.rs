//! `grade`: the scores of scenarios, from observations and the verdicts of a judge.

mod rating;
mod trials;

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use rating::{GradingRules, keys};
use trials::TrialOutcome;

use super::graded::{Graded, ProgramFault, ProgramFaultKind, mean};
use crate::expr::tail_text;
use crate::scenario::{Readiness, Visibility};
use crate::value::Value;
use crate::verb::{Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `grade`.
pub struct Grade;

/// Input of `grade`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GradeInput {
    /// Scenarios, from `scenario_load`.
    pub scenarios: Vec<ScenarioEntry>,
    /// Results of the scenarios. One of: `steps.NAME.items` of an `each` over the scenarios (with `key =
    /// "item.id"` and the output of `scenario` as result); the same over their groups (with the group as key
    /// and the output of a `hold` as result); objects `{ id, seen | fault | trouble | not_run }`. Nested
    /// lists are flattened.
    #[serde(default)]
    pub trials: Option<Vec<Value>>,
    /// Verdicts of the judge: `{ key, score, reason, failures, category, scores, spread }`, with the keys of
    /// `open`.
    #[serde(default)]
    pub verdicts: Option<Vec<JudgeVerdict>>,
    /// Report of the build, from `docker_build`: if it failed, scenarios that are not in `trials` have the
    /// score 0.
    #[serde(default)]
    pub build: Option<BuildStatus>,
    /// Result of scenarios that are not in `trials`: exactly one of `not_run`, `trouble` and `fault`.
    #[serde(default)]
    pub missing: Option<MissingTrials>,
    /// Reason given for steps without a verdict.
    #[serde(default = "default_unanswered")]
    pub unanswered: String,
    /// Whether the `satisfaction_criteria` of scenarios are judged, as in `scenario`. Default: `true`.
    #[serde(default = "default_true")]
    pub criteria: bool,
    /// Minimum score of a step or scenario that passes, 0 to 100. Default: 100.
    #[serde(default)]
    pub passing: ScoreThreshold,
    /// Minimum mean score for the goal, 0 to 100. Default: 100.
    #[serde(default)]
    pub threshold: ScoreThreshold,
    /// Minimum score of every scenario for the goal, 0 to 100. Default: 0.
    #[serde(default)]
    pub floor: f64,
}

fn default_unanswered() -> String {
    "no assertion decides it, and no judge was asked".to_owned()
}

fn default_true() -> bool {
    true
}

/// The fields of a scenario that are needed here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ScenarioEntry {
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
    /// Group in which it runs.
    #[serde(default)]
    pub group: String,
}

fn default_weight() -> f64 {
    1.0
}

/// A verdict of a judge.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct JudgeVerdict {
    /// Key of the question.
    pub key: String,
    /// Score, 0 to 100; null if the judge could not decide, which `reason` explains.
    #[serde(default)]
    pub score: Option<Number>,
    /// Reason for the score.
    #[serde(default)]
    pub reason: String,
    /// Requirements that are not met.
    #[serde(default)]
    pub failures: Vec<String>,
    /// Main category of the failure.
    #[serde(default = "no_category")]
    pub category: String,
    /// Scores of all samples.
    #[serde(default)]
    pub scores: Vec<Value>,
    /// Difference between the largest and the smallest of `scores`.
    #[serde(default)]
    pub spread: Option<Number>,
}

fn no_category() -> String {
    "none".to_owned()
}

/// Report of a build.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct BuildStatus {
    /// Whether the image was built.
    pub ok: bool,
    /// Reason of a failed build.
    #[serde(default)]
    pub reason: Option<String>,
    /// Log of the build.
    #[serde(default)]
    pub log: String,
}

/// The result of scenarios that are not in `trials`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingTrials {
    /// Reason why they were not run.
    #[serde(default)]
    pub not_run: Option<String>,
    /// Reason why they could not be run, which is not a fault of the program.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Reason why the program was not running.
    #[serde(default)]
    pub fault: Option<ProgramFault>,
}

/// A minimum score: one number, or one for what the judge takes part in and one for the rest.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ScoreThreshold {
    /// The same for everything.
    One(f64),
    /// Two scores.
    Two {
        /// Score if the judge is asked about any part.
        judged: f64,
        /// Score otherwise.
        otherwise: f64,
    },
}

impl Default for ScoreThreshold {
    fn default() -> Self {
        Self::One(100.0)
    }
}

impl ScoreThreshold {
    fn of(self, is_judged: bool) -> f64 {
        match self {
            Self::Two { judged, .. } if is_judged => judged,
            Self::One(score) | Self::Two { otherwise: score, .. } => score,
        }
    }

    fn refusal(self, key: &str) -> Option<Refusal> {
        let scores = match self {
            Self::One(score) => [score, score],
            Self::Two { judged, otherwise } => [judged, otherwise],
        };
        let wrong = scores.into_iter().find(|score| !(0.0..=100.0).contains(score))?;
        Some(Refusal::of(format!("/{key}"), no_score(&format!("`{key}`"), wrong)))
    }
}

/// The failure of a score outside the range.
fn no_score(what: &str, found: f64) -> Failure {
    Failure::permanent(format!("{what} is {found}, which is not from 0 to 100"))
        .hint("write a number from 0 to 100")
}

/// Output of `grade`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GradeOutput {
    /// Scenarios with their scores, in the order of the input.
    pub scenarios: Vec<Graded>,
    /// Mean score by weight, 0 to 100; null if nothing is decided. It excludes what is undecided, was not run
    /// or could not be run.
    pub score: Option<f64>,
    /// Lowest score of a scenario; null if none has a score.
    pub lowest: Option<f64>,
    /// Highest possible mean: `score` if everything undecided had 100.
    pub most: Option<f64>,
    /// Number of scenarios with `must` that do not pass.
    pub missed: usize,
    /// Number of undecided steps and criteria.
    pub unjudged: usize,
    /// Whether the judge is asked anything.
    pub judged: bool,
    /// Undecided parts, with reasons.
    pub undecided: Vec<Undecided>,
    /// Questions without a verdict, for the judge.
    pub open: Vec<Value>,
    /// Ids of the scenarios that do not pass.
    pub failed: Vec<String>,
    /// Ids of the scenarios that cannot pass, whatever the judge decides.
    pub lost: Vec<String>,
    /// Number of scenarios that could not be run.
    pub unrun: usize,
    /// Number of scenarios that were not run.
    pub not_run: usize,
    /// Reasons why scenarios could not be run, each once.
    pub trouble: Vec<String>,
    /// Requirements that are not met, each once, sorted.
    pub failures: Vec<String>,
    /// Threshold that applies.
    pub threshold: f64,
    /// Whether the goal is reached: `score` and `lowest` are high enough, no `must` scenario fails, and
    /// everything was run and decided.
    pub done: bool,
}

/// An undecided part.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Undecided {
    /// Key of the step or the criteria, or id of the scenario.
    pub key: String,
    /// Reason why it is undecided.
    pub reason: String,
}

impl Verb for Grade {
    const NAME: &'static str = "grade";
    const SUMMARY: &'static str = "score scenarios, from observations and the verdicts of a judge";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.cases]
scenario_load = { dir = "{{ inputs.scenarios }}" }

[steps.graded.grade]
scenarios = "{{ steps.cases.output.scenarios }}"
missing   = { not_run = "it was not tried" }
passing   = { judged = 80, otherwise = 100 }
threshold = 95
floor     = 50
"#;
    type With = GradeInput;
    type Out = GradeOutput;

    fn refusals(with: &GradeInput) -> Vec<Refusal> {
        let bars = [
            ("passing", with.passing),
            ("threshold", with.threshold),
            ("floor", ScoreThreshold::One(with.floor)),
        ];
        let mut found: Vec<Refusal> = bars.into_iter().filter_map(|(key, bar)| bar.refusal(key)).collect();
        if let Some(MissingTrials { not_run, trouble, fault }) = &with.missing {
            let given = [not_run.is_some(), trouble.is_some(), fault.is_some()];
            if given.into_iter().filter(|given| *given).count() != 1 {
                let failure = Failure::permanent("`missing` must have exactly one key")
                    .hint("give one of: not_run, trouble, fault");
                found.push(Refusal::of("/missing", failure));
            }
        }
        found
    }

    async fn run(&self, with: GradeInput, _cx: Context) -> Result<Output<GradeOutput>, Failure> {
        graded(&with).map(Output::free)
    }
}

fn graded(with: &GradeInput) -> Result<GradeOutput, Failure> {
    let mut trials = trials::read(with.trials.as_deref().unwrap_or_default(), &with.scenarios)?;
    for scenario in &with.scenarios {
        trials.entry(scenario.id.clone()).or_insert_with(|| with.missing_outcome());
    }
    let of = |scenario: &ScenarioEntry| trials.get(&scenario.id);
    let questions: Vec<&Value> = with
        .scenarios
        .iter()
        .filter_map(|scenario| match of(scenario) {
            Some(TrialOutcome::Seen(_, open)) => Some(open),
            _ => None,
        })
        .flatten()
        .collect();
    let verdicts = with.verdicts.as_deref().unwrap_or_default();
    let book: HashMap<&str, &JudgeVerdict> =
        verdicts.iter().map(|verdict| (verdict.key.as_str(), verdict)).collect();
    let is_answered = |key: &str| book.get(key).is_some_and(|verdict| verdict.score.is_some());
    let open = questions.iter().filter(|question| keys(question).any(|key| !is_answered(key)));
    let open = open.map(|question| (*question).clone()).collect();
    let rate = |book: HashMap<&str, &JudgeVerdict>| -> Vec<Graded> {
        let rules = GradingRules {
            book,
            unanswered: &with.unanswered,
            passing: with.passing,
            criteria: with.criteria,
        };
        let rate = |scenario: &ScenarioEntry| Some(rules.rate(scenario, of(scenario)?));
        with.scenarios.iter().filter_map(rate).collect()
    };
    let lost = failed(&rate(HashMap::new()));
    let threshold = with.threshold.of(!questions.is_empty());
    let mut out = summed(rate(book), threshold, with.floor);
    (out.open, out.lost, out.judged) = (open, lost, !questions.is_empty());
    Ok(out)
}

impl GradeInput {
    /// The result of a scenario that `trials` does not contain.
    fn missing_outcome(&self) -> TrialOutcome {
        if let Some(build) = self.build.as_ref().filter(|build| !build.ok) {
            let reason = build.reason.as_deref().unwrap_or("no reason is given");
            let log = tail_text(&build.log, 4000).unwrap_or_else(|| build.log.clone());
            let reason = format!("it does not build: {reason}");
            return TrialOutcome::Fault(ProgramFault { kind: ProgramFaultKind::Build, reason, log });
        }
        match self.missing.clone().unwrap_or_default() {
            MissingTrials { fault: Some(fault), .. } => TrialOutcome::Fault(fault),
            MissingTrials { trouble: Some(why), .. } => TrialOutcome::Trouble(why),
            MissingTrials { not_run, .. } => TrialOutcome::NotRun(not_run.unwrap_or_default()),
        }
    }
}

fn failed(scenarios: &[Graded]) -> Vec<String> {
    let failed = scenarios.iter().filter(|scenario| scenario.passed == Some(false));
    failed.map(|scenario| scenario.id.clone()).collect()
}

/// The summary of `scenarios`.
fn summed(scenarios: Vec<Graded>, threshold: f64, floor: f64) -> GradeOutput {
    let scores = scenarios.iter().filter_map(|scenario| Some((scenario.score?, scenario.weight)));
    let score = mean(scores.clone());
    let lowest = scores.map(|(score, _)| score).min_by(f64::total_cmp);
    let missed = scenarios.iter().filter(|scenario| scenario.must && scenario.passed == Some(false)).count();
    let unjudged = scenarios.iter().map(|scenario| scenario.unjudged).sum();
    let troubles = || scenarios.iter().filter_map(|scenario| scenario.trouble.as_ref());
    let mut trouble: Vec<String> = Vec::new();
    for why in troubles() {
        if !trouble.contains(why) {
            trouble.push(why.clone());
        }
    }
    let (unrun, not_run) =
        (troubles().count(), scenarios.iter().filter(|scenario| scenario.not_run.is_some()).count());
    let failures: BTreeSet<&String> = scenarios.iter().flat_map(failures_of).collect();
    GradeOutput {
        score,
        lowest,
        most: mean(scenarios.iter().map(|scenario| (scenario.most, scenario.weight))),
        missed,
        unjudged,
        judged: false,
        undecided: scenarios.iter().flat_map(undecided).collect(),
        open: Vec::new(),
        failed: failed(&scenarios),
        lost: Vec::new(),
        unrun,
        not_run,
        trouble,
        failures: failures.into_iter().cloned().collect(),
        threshold,
        done: score.is_some_and(|score| score >= threshold)
            && lowest.is_some_and(|lowest| lowest >= floor)
            && missed + unjudged + unrun + not_run == 0,
        scenarios,
    }
}

/// The requirements that a scenario does not meet.
fn failures_of(scenario: &Graded) -> impl Iterator<Item = &String> {
    let fault = scenario.fault.iter().map(|fault| &fault.reason);
    let steps = scenario.steps.iter().map(|step| &step.verdict);
    let criteria = scenario.criteria.iter().map(|criteria| &criteria.verdict);
    fault.chain(steps.chain(criteria).flat_map(|verdict| &verdict.failures))
}

/// The undecided parts of a scenario.
fn undecided(scenario: &Graded) -> Vec<Undecided> {
    let whole = scenario.trouble.iter().chain(&scenario.not_run);
    let whole = whole.map(|why| Undecided { key: scenario.id.clone(), reason: why.clone() });
    let steps = scenario.steps.iter().map(|step| (step.index.to_string(), &step.verdict));
    let criteria = scenario.criteria.iter().map(|criteria| ("all".to_owned(), &criteria.verdict));
    let open = steps.chain(criteria).filter(|(_, verdict)| verdict.by.is_none());
    let open = open.map(|(name, verdict)| Undecided {
        key: format!("{}#{name}", scenario.id),
        reason: verdict.reasoning.clone(),
    });
    if scenario.fault.is_some() { Vec::new() } else { whole.chain(open).collect() }
}

#[cfg(test)]
mod tests;
