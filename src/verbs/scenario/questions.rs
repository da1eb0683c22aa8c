//! The questions that assertions leave open: the expectations, and the evidence for a judge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::expr::head_text;
use crate::scenario::{NamedValue, Observation, StepDecision, StepSeen};
use crate::value::{Digest, Value};

/// The grouping of questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuestionScope {
    /// One question for each open step, and one for the criteria of the scenario.
    #[default]
    Step,
    /// One question for all of them.
    Scenario,
    /// No questions.
    None,
}

/// A question for a judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeQuestion {
    /// Key: the scenario and the step, such as `list-items#2`.
    pub key: String,
    /// Mark that ends the evidence in a prompt: 20 digits of the digest of everything shown. A program cannot
    /// forge it, because its own output is part of the digested text.
    pub mark: String,
    /// Description of the scenario.
    pub about: String,
    /// Criteria for the whole, if they are not a separate question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<String>,
    /// Evidence: requests and answers, in order.
    pub steps: Vec<StepEvidence>,
    /// Expectations to judge.
    pub asks: Vec<JudgedExpectation>,
}

/// A step in the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepEvidence {
    /// Description of the step.
    pub description: String,
    /// Request; empty if nothing was sent.
    pub sent: String,
    /// Answer; empty if there is none.
    pub observed: String,
    /// Captured values.
    pub captures: Vec<KeptValue>,
}

/// A captured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeptValue {
    /// Name of the variable.
    pub name: String,
    /// Captured value.
    pub value: Value,
}

/// One expectation to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedExpectation {
    /// Key: the scenario, and the step or `all`.
    pub key: String,
    /// Position of its step in `steps`, from 1; null for all steps together.
    pub step: Option<usize>,
    /// Expected result; empty if the step has only a description.
    pub expect: String,
    /// Values that the expectation refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedValue>,
}

/// The number of earlier steps shown in a question about one step.
const BEFORE: usize = 6;
/// The maximum length of the request and of the answer of earlier steps, in characters.
const SENT: usize = 800;
const OBSERVED: usize = 1200;

/// The options for making questions.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuestionBuilder<'a> {
    pub(super) seen: &'a Observation,
    /// Whether the criteria are a separate question.
    pub(super) criteria: bool,
}

/// The open questions of `seen`. If its setup failed, nothing was run, so there is nothing to judge.
pub(super) fn questions(seen: &Observation, ask: QuestionScope, criteria: bool) -> Vec<JudgeQuestion> {
    let asking = QuestionBuilder { seen, criteria };
    match ask {
        _ if !seen.setup_ok => Vec::new(),
        QuestionScope::None => Vec::new(),
        QuestionScope::Scenario => asking.at_once().into_iter().collect(),
        QuestionScope::Step => asking.one_by_one(),
    }
}

impl QuestionBuilder<'_> {
    fn open(&self) -> impl Iterator<Item = (usize, &StepSeen)> {
        self.seen.steps.iter().enumerate().filter(|(_, step)| step.decided == StepDecision::Open)
    }

    /// A question for each step, and one for the criteria.
    fn one_by_one(&self) -> Vec<JudgeQuestion> {
        let of_step = |(at, step): (usize, &StepSeen)| {
            let before: Vec<&StepSeen> = self.seen.setup.iter().chain(&self.seen.steps[..at]).collect();
            let before = &before[before.len().saturating_sub(BEFORE)..];
            let steps = before.iter().map(|step| short(step)).chain([whole(step)]).collect();
            let ask = self.expectation(step, before.len() + 1);
            self.question(ask.key.clone(), steps, vec![ask])
        };
        let of_all = self.all().map(|ask| {
            let steps = self.seen.setup.iter().chain(&self.seen.steps).map(short).collect();
            self.question(ask.key.clone(), steps, vec![ask])
        });
        self.open().map(of_step).chain(of_all).collect()
    }

    /// One question about everything.
    fn at_once(&self) -> Option<JudgeQuestion> {
        let place = |at: usize| self.seen.setup.len() + at + 1;
        let asks = self.open().map(|(at, step)| self.expectation(step, place(at)));
        let asks: Vec<JudgedExpectation> = asks.chain(self.all()).collect();
        let evidence =
            |step: &StepSeen| if step.decided == StepDecision::Open { whole(step) } else { short(step) };
        let steps = self.seen.setup.iter().map(short).chain(self.seen.steps.iter().map(evidence));
        (!asks.is_empty()).then(|| self.question(self.seen.id.clone(), steps.collect(), asks))
    }

    fn expectation(&self, step: &StepSeen, place: usize) -> JudgedExpectation {
        let blank = step.expect.trim().is_empty();
        let expect = if blank { String::new() } else { step.expect.clone() };
        let of_criteria = if self.context().is_some() { self.seen.named.as_slice() } else { &[] };
        let mut named = step.named.clone();
        named.extend(of_criteria.iter().filter(|value| !step.named.contains(value)).cloned());
        JudgedExpectation {
            key: format!("{}#{}", self.seen.id, step.index),
            step: Some(place),
            expect,
            named,
        }
    }

    /// The criteria as a separate question.
    fn all(&self) -> Option<JudgedExpectation> {
        let expect = self.stated().filter(|_| self.criteria)?;
        let named = self.seen.named.clone();
        Some(JudgedExpectation { key: format!("{}#all", self.seen.id), step: None, expect, named })
    }

    /// The criteria, if they are only context for the questions.
    fn context(&self) -> Option<String> {
        self.stated().filter(|_| !self.criteria)
    }

    fn stated(&self) -> Option<String> {
        let criteria = &self.seen.satisfaction_criteria;
        (!criteria.trim().is_empty()).then(|| criteria.clone())
    }

    fn question(&self, key: String, steps: Vec<StepEvidence>, asks: Vec<JudgedExpectation>) -> JudgeQuestion {
        let (about, criteria) = (self.seen.description.clone(), self.context());
        let mark = mark(&about, criteria.as_deref(), &steps, &asks);
        JudgeQuestion { key, mark, about, criteria, steps, asks }
    }
}

/// A digest of everything shown, and nothing else. The same behaviour has the same mark in every scenario and
/// every run, so that a recorded verdict is found again.
fn mark(about: &str, criteria: Option<&str>, steps: &[StepEvidence], asks: &[JudgedExpectation]) -> String {
    let bare = |ask: &JudgedExpectation| match ask.named.as_slice() {
        [] => json!([ask.step, ask.expect]),
        named => json!([ask.step, ask.expect, named]),
    };
    let asks: Vec<Value> = asks.iter().map(bare).collect();
    let shown = match criteria {
        None => json!([about, steps, asks]),
        Some(criteria) => json!([about, steps, asks, criteria]),
    };
    let mut digits = Digest::of_value(&shown).to_string();
    digits.truncate(20);
    digits
}

fn whole(step: &StepSeen) -> StepEvidence {
    let captures =
        step.captures.iter().map(|kept| KeptValue { name: kept.name.clone(), value: kept.value.clone() });
    StepEvidence {
        description: step.description.clone(),
        sent: step.sent.as_ref().map(|sent| sent.text.clone()).unwrap_or_default(),
        observed: step.observed.as_ref().map(|observed| observed.text.clone()).unwrap_or_default(),
        captures: captures.collect(),
    }
}

fn short(step: &StepSeen) -> StepEvidence {
    let cut = |text: String, chars: usize| head_text(&text, chars).unwrap_or(text);
    let StepEvidence { description, sent, observed, captures } = whole(step);
    StepEvidence { description, sent: cut(sent, SENT), observed: cut(observed, OBSERVED), captures }
}

#[cfg(test)]
mod tests;
