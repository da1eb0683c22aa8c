//! What an output has to be, and how often a step is tried again.

use std::time::Duration;

use super::compile::Wanted;
use super::resolve::Resolver;
use super::scope::{Sight, Site};
use super::start::Word;
use super::types::Action;
use crate::diag::{Code, Diagnostic};
use crate::expr::{Expr, Ref, Step as Key, Template};
use crate::model::{self, Text, Use};
use crate::verb::Class;

/// The most that `retry.max` can be.
pub(super) const MOST_RETRIES: u32 = 1_000;

/// A condition on the output of a step.
#[derive(Clone)]
pub struct Check {
    /// The condition; sees `output`.
    pub that: Expr,
    /// What is said if it does not hold; sees `output`.
    pub otherwise: Option<Template>,
}

/// How a step is tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The most retries after the first attempt.
    pub max: u32,
    /// Least pause.
    pub from: Duration,
    /// Greatest pause; doubles in between, with jitter.
    pub to: Duration,
    /// Classes of failures that are tried again.
    pub on: Vec<Class>,
    /// Which of these failures; sees `error`.
    pub when: Option<Expr>,
    /// What the output is to be before the step is not tried again; sees `output`.
    pub until: Option<Expr>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: 2,
            from: Duration::from_secs(1),
            to: Duration::from_secs(30),
            on: vec![Class::Transient],
            when: None,
            until: None,
        }
    }
}

impl Resolver<'_, '_> {
    /// How a step is tried again, without `until`: that reads the output, which is not known yet.
    pub(super) fn retry(&mut self, step: &model::Step, used: Option<&Use>, sight: &mut Sight) -> Retry {
        let mut read = Retry::default();
        let verb = used.and_then(|used| self.loader.catalog.find_verb(&used.name.text));
        let traits = verb.map(|verb| verb.traits());
        let is_judged = step.output.is_some() || !step.check.is_empty();
        // An answer costs nothing but money to ask for again. Other effects are repeated only if the author says so.
        let covers = step.retry.is_some() || traits.is_some_and(|traits| traits.paid);
        if is_judged && covers {
            read.on.push(Class::Rejected);
        }
        if traits.is_none() {
            // What is inside a step has retries of its own.
            read.on.clear();
        }
        let Some(retry) = &step.retry else { return read };
        let site = Site { error: true, ..Site::default() };
        read.when = self.maybe(retry.when.as_ref(), Wanted::Condition, &site, sight).flatten();
        if let Some(max) = &retry.max {
            read.max = self.count(max, (0, MOST_RETRIES), "retry.max", Word::RetryMax).unwrap_or(read.max);
        }
        (read.from, read.to) = retry.backoff.unwrap_or((read.from, read.to));
        if let Some(on) = &retry.on {
            read.on = self.classes(on);
        }
        read
    }

    pub(super) fn classes(&mut self, words: &[Text]) -> Vec<Class> {
        let mut classes = Vec::with_capacity(words.len());
        for word in words {
            match Class::parse(&word.text) {
                Some(class) => classes.push(class),
                None => self.loader.found.push(
                    Diagnostic::new(Code::UnknownWord, format!("there is no failure class `{}`", word.text))
                        .at(word.span, "unknown class")
                        .suggest(&word.text, Class::ALL.map(Class::word)),
                ),
            }
        }
        classes
    }

    /// The checks of the output of the step at hand, of which all is known that can be, and `until` of its `retry`.
    pub(super) fn checks(
        &mut self,
        step: &model::Step,
        retry: &mut Retry,
        sight: &mut Sight,
    ) -> Option<Vec<Check>> {
        let level = self.levels.last();
        let own = level.and_then(|level| Some(level.shapes[level.current?].output.clone()));
        let shape = own.unwrap_or_default();
        let site = Site { output: Some(&shape), ..Site::default() };
        let mut compiled = Vec::with_capacity(step.check.len());
        for check in &step.check {
            let that = self.expr(&check.that, Wanted::Condition, &site, sight);
            let otherwise = check.otherwise.as_ref().map(|text| self.template(text, &site, sight));
            compiled.push(that.zip(Some(otherwise)).and_then(|(that, otherwise)| match otherwise {
                None => Some(Check { that, otherwise: None }),
                Some(otherwise) => Some(Check { that, otherwise: Some(otherwise?) }),
            }));
        }
        let until = step.retry.as_ref().and_then(|retry| retry.until.as_ref());
        retry.until = self.maybe(until, Wanted::Condition, &site, sight)?;
        compiled.into_iter().collect()
    }

    /// What is added to the input of a further attempt because the last output was rejected. A step that reads
    /// `attempt.error` itself says it in its own words.
    pub(super) fn again(&mut self, action: &mut Action, retry: &Retry, sight: &mut Sight) {
        let Action::Verb { name, with, again, .. } = action else { return };
        let path = self.loader.catalog.find_verb(name).and_then(|verb| verb.retry_prompt());
        let (Some(path), true) = (path, retry.on.contains(&Class::Rejected) || retry.until.is_some()) else {
            return;
        };
        if with.refs().iter().any(|r| reads_error(r)) {
            return;
        }
        let id = match self.loader.texts.read(path) {
            Ok(Some(id)) => id,
            // A run that was stored by an earlier version has no such text.
            Ok(None) => return,
            Err(complaint) => return self.loader.found.push(complaint),
        };
        let text = self.loader.texts.whole(id);
        *again = self.template(&text, &Site { attempt: true, ..Site::default() }, sight);
    }

    /// Complains about words of `retry` that do nothing to a step with other steps inside.
    pub(super) fn retry_outside(step: &model::Step, verb: &str) -> Option<(String, &'static str)> {
        let retry = step.retry.as_ref()?;
        if verb == "call" && (retry.until.is_some() || retry.on.is_some()) {
            return None;
        }
        Some(if verb == "call" {
            (
                "a step with `call` is tried again only if `retry` has `on` or `until`".to_owned(),
                "write e.g. `retry = { max = 1, until = \"output.done\" }`, or give the steps inside a `retry`",
            )
        } else {
            (
                format!("a step with `{verb}` is not tried again"),
                "give the steps inside a `retry` of their own",
            )
        })
    }
}

fn reads_error(r: &Ref) -> bool {
    match r.path.as_slice() {
        [Key::Key(root), Key::Key(field), ..] => root == "attempt" && field == "error",
        [Key::Key(root), ..] => root == "attempt",
        _ => false,
    }
}
