//! The questions that assertions leave open: what is expected, and the evidence for a judge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::expr::head_text;
use crate::scenario::{NamedValue, Observation, StepDecision, StepSeen};
use crate::value::{Digest, Value};

/// What a judge is asked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A question for each step that is open, and one for the criteria of the scenario.
    #[default]
    Step,
    /// One question about all of them.
    Scenario,
    /// Nothing: there are no questions.
    None,
}

/// A question for a judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Its name: the scenario and the step, such as `list-items#2`.
    pub key: String,
    /// 20 digits of the digest of all that is shown. They end the evidence in a prompt: a program that wanted to write them
    /// would have to know the digest of a text that its own output is part of.
    pub mark: String,
    /// What the scenario is about.
    pub about: String,
    /// What must be true of the whole, if that is no question of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<String>,
    /// The evidence: what was done and what came back, in order.
    pub steps: Vec<Evidence>,
    /// What is to be judged.
    pub asks: Vec<Expectation>,
}

/// A step as a judge sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What it does.
    pub description: String,
    /// What was sent; empty where nothing was.
    pub sent: String,
    /// What came back; empty where nothing did.
    pub observed: String,
    /// What was kept for later steps.
    pub captures: Vec<Kept>,
}

/// A value that was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// One thing that is to be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// Its name: the scenario, and the step or `all`.
    pub key: String,
    /// The place of its step among `steps`, from 1; null for all of them together.
    pub step: Option<usize>,
    /// What should have come of it; empty where the step expects only what its description says.
    pub expect: String,
    /// Values that the expectation names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<NamedValue>,
}

/// How many earlier steps are shown with a question about one.
const BEFORE: usize = 6;
/// How much is shown of what was sent and of what came back, in characters, of a step that is not in question.
const SENT: usize = 800;
const OBSERVED: usize = 1200;

/// How `seen` is made into questions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) seen: &'a Observation,
    /// Whether the criteria are a question of their own.
    pub(super) criteria: bool,
}

/// The questions that `seen` leaves open. One whose setup broke was not run: there is nothing to judge.
pub(super) fn questions(seen: &Observation, ask: Ask, criteria: bool) -> Vec<Question> {
    let asking = Asking { seen, criteria };
    match ask {
        _ if !seen.setup_ok => Vec::new(),
        Ask::None => Vec::new(),
        Ask::Scenario => asking.at_once().into_iter().collect(),
        Ask::Step => asking.one_by_one(),
    }
}

impl Asking<'_> {
    fn open(&self) -> impl Iterator<Item = (usize, &StepSeen)> {
        self.seen.steps.iter().enumerate().filter(|(_, step)| step.decided == StepDecision::Open)
    }

    /// A question for each step, and one for the criteria.
    fn one_by_one(&self) -> Vec<Question> {
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
    fn at_once(&self) -> Option<Question> {
        let place = |at: usize| self.seen.setup.len() + at + 1;
        let asks = self.open().map(|(at, step)| self.expectation(step, place(at)));
        let asks: Vec<Expectation> = asks.chain(self.all()).collect();
        let evidence =
            |step: &StepSeen| if step.decided == StepDecision::Open { whole(step) } else { short(step) };
        let steps = self.seen.setup.iter().map(short).chain(self.seen.steps.iter().map(evidence));
        (!asks.is_empty()).then(|| self.question(self.seen.id.clone(), steps.collect(), asks))
    }

    fn expectation(&self, step: &StepSeen, place: usize) -> Expectation {
        let blank = step.expect.trim().is_empty();
        let expect = if blank { String::new() } else { step.expect.clone() };
        let of_criteria = if self.context().is_some() { self.seen.named.as_slice() } else { &[] };
        let mut named = step.named.clone();
        named.extend(of_criteria.iter().filter(|value| !step.named.contains(value)).cloned());
        Expectation { key: format!("{}#{}", self.seen.id, step.index), step: Some(place), expect, named }
    }

    /// The criteria as a question of their own.
    fn all(&self) -> Option<Expectation> {
        let expect = self.stated().filter(|_| self.criteria)?;
        let named = self.seen.named.clone();
        Some(Expectation { key: format!("{}#all", self.seen.id), step: None, expect, named })
    }

    /// The criteria, where they only say what the questions are about.
    fn context(&self) -> Option<String> {
        self.stated().filter(|_| !self.criteria)
    }

    fn stated(&self) -> Option<String> {
        let criteria = &self.seen.satisfaction_criteria;
        (!criteria.trim().is_empty()).then(|| criteria.clone())
    }

    fn question(&self, key: String, steps: Vec<Evidence>, asks: Vec<Expectation>) -> Question {
        let (about, criteria) = (self.seen.description.clone(), self.context());
        let mark = mark(&about, criteria.as_deref(), &steps, &asks);
        Question { key, mark, about, criteria, steps, asks }
    }
}

/// What tells a question from all others: all that is shown, and nothing else. The same behaviour has the same mark in every
/// scenario and every run, so that a recorded verdict is found again.
fn mark(about: &str, criteria: Option<&str>, steps: &[Evidence], asks: &[Expectation]) -> String {
    let bare = |ask: &Expectation| match ask.named.as_slice() {
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

fn whole(step: &StepSeen) -> Evidence {
    let captures =
        step.captures.iter().map(|kept| Kept { name: kept.name.clone(), value: kept.value.clone() });
    Evidence {
        description: step.description.clone(),
        sent: step.sent.as_ref().map(|sent| sent.text.clone()).unwrap_or_default(),
        observed: step.observed.as_ref().map(|observed| observed.text.clone()).unwrap_or_default(),
        captures: captures.collect(),
    }
}

fn short(step: &StepSeen) -> Evidence {
    let cut = |text: String, chars: usize| head_text(&text, chars).unwrap_or(text);
    let Evidence { description, sent, observed, captures } = whole(step);
    Evidence { description, sent: cut(sent, SENT), observed: cut(observed, OBSERVED), captures }
}

#[cfg(test)]
mod tests;
