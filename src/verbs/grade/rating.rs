//! The score of one scenario: of its steps, of its criteria, and of the whole.

use std::collections::HashMap;

use serde_json::Number;

use super::trials::TrialOutcome;
use super::{JudgeVerdict, ScenarioEntry, ScoreThreshold};
use crate::scenario::{Captured, Observation, StepDecision, StepSeen};
use crate::value::Value;
use crate::verbs::graded::{
    BrokenSetup, CapturedValue, DecidedBy, Decision, Graded, GradedCriteria, GradedStep, SetupStep, mean,
};

/// The inputs of scoring.
pub(super) struct GradingRules<'a> {
    /// Verdicts of a judge by their keys.
    pub(super) book: HashMap<&'a str, &'a JudgeVerdict>,
    /// The reason for steps without a verdict.
    pub(super) unanswered: &'a str,
    pub(super) passing: ScoreThreshold,
    /// Whether criteria of scenarios are judged.
    pub(super) criteria: bool,
}

impl GradingRules<'_> {
    /// The result `became` of the scenario `listed`, with its score.
    pub(super) fn rate(&self, listed: &ScenarioEntry, became: &TrialOutcome) -> Graded {
        let mut graded = blank(listed);
        let mut is_judged = false;
        match became {
            TrialOutcome::Seen(seen, open) => {
                is_judged = !open.is_empty();
                self.look(&mut graded, seen);
            }
            TrialOutcome::Fault(fault) => graded.fault = Some(fault.clone()),
            TrialOutcome::Trouble(why) => graded.trouble = Some(why.clone()),
            TrialOutcome::NotRun(why) => graded.not_run = Some(why.clone()),
        }
        Self::sum_up(&mut graded, self.passing.of(is_judged));
        graded
    }

    fn look(&self, graded: &mut Graded, seen: &Observation) {
        graded.duration_ms = seen.duration_ms;
        graded.broken = seen.broken.as_ref().map(|broken| BrokenSetup {
            broken: broken.clone(),
            evidence: seen
                .setup
                .last()
                .and_then(|step| Some(step.observed.as_ref()?.evidence.clone()))
                .unwrap_or_default(),
        });
        graded.setup = seen.setup.iter().map(setup_step).collect();
        graded.steps = seen.steps.iter().map(|step| self.step(step, &graded.id)).collect();
        let stated = !seen.satisfaction_criteria.trim().is_empty();
        graded.criteria = (self.criteria && seen.setup_ok && stated).then(|| GradedCriteria {
            verdict: self.judged(&format!("{}#all", graded.id)),
            criteria: seen.satisfaction_criteria.clone(),
        });
    }

    fn step(&self, step: &StepSeen, id: &str) -> GradedStep {
        let failed: Vec<_> = step.assertions.iter().filter(|assertion| !assertion.ok).collect();
        let verdict = match step.decided {
            StepDecision::Held => by_assertions(100, Vec::new()),
            StepDecision::Failed => {
                let wrong = step.error.iter().cloned();
                let wrongs: Vec<String> = match &step.error {
                    Some(_) => wrong.collect(),
                    None => failed.iter().map(|assertion| failed_assertion(assertion)).collect(),
                };
                by_assertions(0, wrongs)
            }
            StepDecision::Open => self.judged(&format!("{id}#{}", step.index)),
        };
        let is_short = step.decided == StepDecision::Failed && step.error.is_none();
        GradedStep {
            index: step.index,
            line: step.line,
            weight: step.weight,
            description: step.description.clone(),
            kind: step.kind.clone(),
            expect: step.expect.clone(),
            sent: sent(step),
            curl: step.sent.as_ref().and_then(|sent| sent.curl.clone()),
            observed: observed(step),
            status: status(step),
            captures: step.captures.iter().map(capture).collect(),
            duration_ms: step.duration_ms,
            attempts: step.attempts,
            error: step.error.clone(),
            log: step.log.clone(),
            evidence: step.observed.as_ref().map(|observed| observed.evidence.clone()).unwrap_or_default(),
            verdict,
            required: failed.iter().filter(|_| is_short).map(|assertion| assertion.assert.clone()).collect(),
            ended: step.ended,
        }
    }

    /// The verdict of the judge for `key`.
    fn judged(&self, key: &str) -> Decision {
        let Some(verdict) = self.book.get(key) else {
            return Decision {
                reasoning: self.unanswered.to_owned(),
                category: "none".to_owned(),
                ..Decision::default()
            };
        };
        let score = verdict.score.as_ref().map(clamped);
        let points = score.as_ref().and_then(Number::as_f64);
        Decision {
            by: points.map(|_| DecidedBy::Judge),
            passed: points.map(|points| points >= self.passing.of(true)),
            score,
            reasoning: verdict.reason.clone(),
            failures: verdict.failures.clone(),
            category: verdict.category.clone(),
            scores: verdict.scores.clone(),
            spread: verdict.spread.clone(),
        }
    }

    /// The score of the whole, which passes at `passing` or more. It is 100 only if every step passes: a
    /// failed step counts, however small its weight.
    fn sum_up(graded: &mut Graded, passing: f64) {
        let steps = graded.steps.iter().map(|step| (step.verdict.points(), step.weight));
        let criteria = graded.criteria.iter().map(|criteria| (criteria.verdict.points(), 1.0));
        let points: Vec<(Option<f64>, f64)> = match &graded.fault {
            Some(_) => vec![(Some(0.0), 1.0)],
            None => steps.chain(criteria).collect(),
        };
        graded.score = mean(points.iter().filter_map(|(score, weight)| Some(((*score)?, *weight))));
        graded.unjudged = points.iter().filter(|(score, _)| score.is_none()).count();
        graded.most =
            mean(points.iter().map(|(score, weight)| (score.unwrap_or(100.0), *weight))).unwrap_or(100.0);
        let all = passing >= 100.0;
        let any_wrong = graded.steps.iter().any(|step| step.verdict.passed == Some(false));
        graded.passed = match graded.score {
            _ if all && any_wrong => Some(false),
            _ if graded.most < passing => Some(false),
            Some(score) if graded.unjudged == 0 => Some(score >= passing),
            _ => None,
        };
    }
}

fn blank(listed: &ScenarioEntry) -> Graded {
    Graded {
        id: listed.id.clone(),
        description: listed.description.clone(),
        file: listed.file.clone(),
        weight: listed.weight,
        must: listed.must,
        tier: listed.tier,
        tags: listed.tags.clone(),
        visibility: listed.visibility,
        readiness: listed.readiness,
        not_run: None,
        trouble: None,
        fault: None,
        broken: None,
        criteria: None,
        setup: Vec::new(),
        steps: Vec::new(),
        duration_ms: 0,
        score: None,
        unjudged: 0,
        most: 100.0,
        passed: None,
    }
}

fn by_assertions(score: u8, failures: Vec<String>) -> Decision {
    Decision {
        by: Some(DecidedBy::Assertions),
        score: Some(score.into()),
        passed: Some(score == 100),
        reasoning: failures.join("; "),
        category: if score == 100 { "none" } else { "assertion" }.to_owned(),
        failures,
        ..Decision::default()
    }
}

/// A failed assertion, as text.
fn failed_assertion(assertion: &crate::scenario::assert::AssertionResult) -> String {
    let reason = assertion.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("{} (found: {}{reason})", assertion.assert, assertion.actual)
}

/// A score, limited to 0 to 100.
fn clamped(score: &Number) -> Number {
    match score.as_f64() {
        Some(points) if points > 100.0 => 100.into(),
        Some(points) if points < 0.0 => 0.into(),
        _ => score.clone(),
    }
}

fn sent(step: &StepSeen) -> String {
    step.sent.as_ref().map(|sent| sent.text.clone()).unwrap_or_default()
}

fn observed(step: &StepSeen) -> String {
    step.observed.as_ref().map(|observed| observed.text.clone()).unwrap_or_default()
}

fn status(step: &StepSeen) -> Option<u16> {
    step.observed.as_ref().and_then(|observed| observed.status)
}

fn capture(captured: &Captured) -> CapturedValue {
    let Captured { name, value, error } = captured.clone();
    CapturedValue { name, value, error }
}

fn setup_step(step: &StepSeen) -> SetupStep {
    SetupStep {
        kind: step.kind.clone(),
        sent: sent(step),
        observed: observed(step),
        status: status(step),
        captures: step.captures.iter().map(capture).collect(),
        error: step.error.clone(),
    }
}

/// The keys that `question` is about.
pub(super) fn keys(question: &Value) -> impl Iterator<Item = &str> {
    let asks = question.get("asks").and_then(Value::as_array).into_iter().flatten();
    asks.filter_map(|ask| ask.get("key")?.as_str())
}
