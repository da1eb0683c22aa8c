//! Runs one step until it is decided: once, with retries, repeated, or checked again while a page may still
//! change.

use std::time::Duration;

use super::deadline::BoundedClock;
use crate::clock::millis;
use crate::scenario::answer::{SentRecord, StepAnswer, StepOutcome};
use crate::scenario::checks::assert::{Assertion, AssertionResult, Subject, check};
use crate::scenario::language::ScenarioStep;
use crate::scenario::steps::{Connections, StepContext, TestEnvironment};
use crate::scenario::values::{Variables, WrittenDuration};
use crate::value::Value;
use crate::visible::without_userinfo;

/// Deadline of a scenario in milliseconds, and its time limit.
pub type Deadline = Option<(u64, WrittenDuration)>;

/// Attempt at a step.
pub struct StepAttempt {
    /// Number of attempts.
    pub number: u32,
    /// Record of what was sent last.
    pub sent: Option<SentRecord>,
    /// Outcome of the last attempt.
    pub outcome: StepOutcome,
    /// Results of the assertions.
    pub assertions: Vec<AssertionResult>,
}

impl StepAttempt {
    /// Whether there was no error and all assertions hold.
    pub fn held(&self) -> bool {
        self.outcome.error.is_none() && self.assertions.iter().all(|verdict| verdict.ok)
    }

    /// Whether the program was still running at the end: it answered, or shows a screen on which something
    /// is missing.
    pub fn saw_something(&self) -> bool {
        if self.outcome.error.is_none() {
            return true;
        }
        let Some(StepAnswer::Told(told)) = &self.outcome.answer else { return false };
        told.part("screen").is_some() && told.part("running") == Some(&Value::Bool(true))
    }

    /// Whether no further attempt is needed: a step with `until` has reached its state, any other step has
    /// not failed.
    fn succeeded(&self, step: &ScenarioStep) -> bool {
        let waited = step.until.as_ref().map_or(self.assertions.len(), |until| until.assert.len());
        self.outcome.error.is_none() && self.assertions.iter().take(waited).all(|verdict| verdict.ok)
    }

    /// Whether assertions fail, and all failed ones may hold later.
    fn may_come_true(&self, step: &ScenarioStep) -> bool {
        let hopeless = |(assertion, verdict): (&Assertion, &AssertionResult)| {
            !verdict.ok && matches!(assertion.subject, Subject::Duration | Subject::Console)
        };
        self.outcome.error.is_none()
            && !self.succeeded(step)
            && !due(step, step.repeat == 1).zip(&self.assertions).any(hopeless)
    }

    /// Adds evidence, such as a screenshot, if a judge or a reader of the failure needs it.
    async fn illustrate(
        &mut self,
        step: &ScenarioStep,
        stage: &TestEnvironment<'_>,
        connections: &mut Connections,
    ) {
        let is_needed = stage.evidence.is_some() && !(self.succeeded(step) && step.expect.trim().is_empty());
        if let Some(StepAnswer::Told(told)) = &mut self.outcome.answer {
            told.evidence.extend(step.action.step().evidence(stage, connections, is_needed).await);
        }
    }
}

/// Limits of the attempts at a step.
struct RetryLimits {
    most: u32,
    interval: Duration,
    timeout: Option<Duration>,
}

impl RetryLimits {
    fn of(step: &ScenarioStep) -> Self {
        match (&step.until, &step.retry) {
            (Some(until), _) => {
                Self { most: u32::MAX, interval: until.every.0, timeout: Some(until.within.0) }
            }
            (None, Some(retry)) => Self {
                most: retry.attempts,
                interval: retry.interval.0,
                timeout: retry.timeout.map(|timeout| timeout.0),
            },
            (None, None) => Self { most: 1, interval: Duration::ZERO, timeout: None },
        }
    }

    /// Time at which the last attempt is interrupted.
    fn end(&self, begun: u64, deadline: Deadline) -> Option<u64> {
        let own = self.timeout.map(|timeout| begun + millis(timeout));
        own.into_iter().chain(deadline.map(|(at, _)| at)).min()
    }
}

/// Runs a step as often as its `repeat` requires, or until it fails. Assertions about all times are decided
/// at the end.
pub async fn persist(
    step: &ScenarioStep,
    stage: &TestEnvironment<'_>,
    connections: &mut Connections,
    variables: &Variables,
    deadline: Deadline,
) -> StepAttempt {
    let mut took = Vec::new();
    loop {
        let (mut attempt, lasted) = succeed(step, stage, connections, variables, deadline).await;
        took.push(lasted);
        let over = deadline.is_some_and(|(at, _)| stage.clock.now() >= at);
        let done = took.len() as u64 >= u64::from(step.repeat);
        if over && !done && attempt.succeeded(step) {
            let (so_far, all) = (took.len(), step.repeat);
            attempt.outcome.error = Some(format!("the time was over after {so_far} of {all} times"));
        }
        if done && attempt.succeeded(step) && step.repeat > 1 {
            attempt.assertions = verdicts(step, &attempt.outcome, &took, variables, true);
        }
        if done || !attempt.succeeded(step) {
            return attempt;
        }
    }
}

/// Runs a step until it has no error and no failed assertion, within the limits of its `retry` or `until`.
/// Also returns the duration of the last attempt.
async fn succeed(
    step: &ScenarioStep,
    stage: &TestEnvironment<'_>,
    connections: &mut Connections,
    variables: &Variables,
    deadline: Deadline,
) -> (StepAttempt, Duration) {
    let tries = RetryLimits::of(step);
    let end = tries.end(stage.clock.now(), deadline);
    let left = || end.map(|end| Duration::from_millis(end.saturating_sub(stage.clock.now())));
    let mut number = 1;
    let mut before: Option<StepAttempt> = None;
    loop {
        let begun = stage.clock.now();
        let mut attempt = once(step, stage, connections, variables, left()).await;
        let took = since(begun, stage);
        // If a state was not reached, the last answer is more useful than the timeout of the last attempt.
        let cut_off = attempt.outcome.error.is_some() && left().is_some_and(|left| left.is_zero());
        if let Some(before) = before.take_if(|_| cut_off && step.until.is_some()) {
            attempt = before;
        }
        attempt.number = number;
        let over = number >= tries.most || left().is_some_and(|left| left <= tries.interval);
        if over || attempt.succeeded(step) {
            return (attempt, took);
        }
        before = Some(attempt);
        stage.clock.sleep(tries.interval).await;
        number += 1;
    }
}

async fn once(
    step: &ScenarioStep,
    stage: &TestEnvironment<'_>,
    connections: &mut Connections,
    variables: &Variables,
    left: Option<Duration>,
) -> StepAttempt {
    let begun = stage.clock.now();
    // All waits end with the time limit of the step.
    let clock = BoundedClock::new(stage.clock, left);
    let stage = &TestEnvironment { clock: &clock, ..*stage };
    let action = step.action.step();
    let context = StepContext { stage, connections: &mut *connections, variables, left };
    let (sent, mut outcome) = action.play(context).await;
    let sent = sent.map(SentRecord::without_userinfo);
    outcome.error = outcome.error.map(|error| without_userinfo(&error).into_owned());
    let assertions = verdicts(step, &outcome, &[since(begun, stage)], variables, step.repeat == 1);
    let mut attempt = StepAttempt { number: 1, sent, outcome, assertions };
    // A page may still be changing.
    while attempt.may_come_true(step)
        && let Some(outcome) = action.look_again(connections).await
    {
        attempt.assertions = verdicts(step, &outcome, &[since(begun, stage)], variables, step.repeat == 1);
        attempt.outcome = outcome;
    }
    attempt.illustrate(step, stage, connections).await;
    attempt
}

fn since(begun: u64, stage: &TestEnvironment<'_>) -> Duration {
    Duration::from_millis(stage.clock.now().saturating_sub(begun))
}

/// Results of the assertions. Those about all times of a step (`took`) are decided once `all` are known.
fn verdicts(
    step: &ScenarioStep,
    outcome: &StepOutcome,
    took: &[Duration],
    variables: &Variables,
    all: bool,
) -> Vec<AssertionResult> {
    let Some(answer) = &outcome.answer else { return Vec::new() };
    due(step, all).map(|assertion| check(assertion, answer, took, variables)).collect()
}

fn due(step: &ScenarioStep, all: bool) -> impl Iterator<Item = &Assertion> {
    asserted(step).filter(move |assertion| all || !assertion.is_about_all_times())
}

/// Assertions that must hold: those of `until`, then the others.
fn asserted(step: &ScenarioStep) -> impl Iterator<Item = &Assertion> {
    step.until.iter().flat_map(|until| &until.assert).chain(&step.assert)
}
