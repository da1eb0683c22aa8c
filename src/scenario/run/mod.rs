//! Runs a scenario: the setup, which must succeed, then every step, even if an earlier one failed.

mod attempt;
mod deadline;
mod ending;
mod expectation;
mod observation;
mod service_log;
mod texts;
mod unresolved;

pub use ending::EndedWhen;
pub use observation::{
    EvidenceRef, NamedValue, Observation, Observed, SetupFailure, Skipped, StepDecision, StepSeen,
};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::scenario::checks::assert::AssertionResult;
use crate::scenario::checks::capture::take;
use crate::scenario::checks::{Capture, Captured};
use attempt::Deadline;
use deadline::BoundedClock;

use crate::clock::{Clock, millis};
use crate::scenario::answer::{SentRecord, StepAnswer, StepOutcome};
use crate::scenario::language::{Scenario, ScenarioStep};
use crate::scenario::network::Tls;
use crate::scenario::ports::Shell;
use crate::scenario::steps::{ConnectionSettings, Connections, TestEnvironment};
use crate::scenario::values::size::too_large;
use crate::scenario::values::{Excerpt, Variables};
use expectation::Expectation;
use service_log::logged;

/// The connections of one scenario, by service.
struct ByService<'s> {
    scenario: &'s Scenario,
    tls: Tls,
    all: BTreeMap<Option<String>, Connections>,
    /// Whether a step has started.
    begun: bool,
}

impl<'s> ByService<'s> {
    fn new(scenario: &'s Scenario, tls: Option<&Tls>) -> Self {
        Self { scenario, tls: tls.cloned().unwrap_or_default(), all: BTreeMap::new(), begun: false }
    }

    fn of(&mut self, service: Option<&String>) -> &mut Connections {
        let Self { scenario, tls, all, .. } = self;
        all.entry(service.cloned()).or_insert_with(|| {
            // The settings of the user apply to the target, not to additional services.
            let tls = if service.is_none() { tls.clone() } else { Tls::default() };
            let (hosts, trust) = (scenario.hosts.clone(), scenario.trust.clone());
            Connections::new(ConnectionSettings { hosts, trust, tls })
        })
    }

    async fn end(self) {
        for connections in self.all.into_values() {
            connections.end().await;
        }
    }
}

/// Longest log in an observation, in bytes.
const LOG: usize = 4 << 10;

/// Runs `scenario`. All failures of the program under test are part of the observation.
pub async fn run(scenario: &Scenario, stage: &TestEnvironment<'_>, variables: Variables) -> Observation {
    let begun = stage.clock.now();
    let mut variables = variables.declaring(unresolved::declared(scenario)).beside(&scenario.variables);
    let deadline = scenario.timeout.map(|timeout| (begun + millis(timeout.0), timeout));
    let mut services = ByService::new(scenario, stage.tls);
    let mut setup = Vec::new();
    let mut skipped = Vec::new();
    let mut broken = None;
    for step in &scenario.setup {
        if let Some(skip) = Skipped::of(step, "setup", &variables) {
            skipped.push(skip);
            continue;
        }
        let seen = perform(setup.len(), step, stage, &mut services, &mut variables, deadline).await;
        broken = breakage(&seen);
        setup.push(seen);
        if broken.is_some() {
            break;
        }
    }
    let mut stopped = broken.as_ref().map(|broken| {
        let what = named(&broken.description);
        format!("step {} of the setup{what} broke: {}", broken.step + 1, broken.reason)
    });
    let mut steps: Vec<StepSeen> = Vec::new();
    for step in &scenario.steps {
        // The condition of a step that is not run is unknown, so such steps count as failed.
        if stopped.is_none()
            && let Some(skip) = Skipped::of(step, "steps", &variables)
        {
            skipped.push(skip);
            continue;
        }
        let index = steps.len();
        let seen = match &stopped {
            Some(why) => not_run(index, step, why, &variables),
            None => perform(index, step, stage, &mut services, &mut variables, deadline).await,
        };
        if step.must && seen.decided == StepDecision::Failed && stopped.is_none() {
            stopped =
                Some(format!("step {}{}, which must hold, failed", index + 1, named(&step.description)));
        }
        steps.push(seen);
    }
    let mut teardown = Vec::new();
    for step in &scenario.teardown {
        match Skipped::of(step, "teardown", &variables) {
            Some(skip) => skipped.push(skip),
            None => {
                teardown
                    .push(perform(teardown.len(), step, stage, &mut services, &mut variables, None).await);
            }
        }
    }
    services.end().await;
    let criteria = Expectation::of(&scenario.satisfaction_criteria, &variables);
    Observation {
        id: scenario.id.clone(),
        description: scenario.description.clone(),
        weight: scenario.weight,
        tier: scenario.tier,
        tags: scenario.tags.clone(),
        must: scenario.must,
        visibility: scenario.visibility,
        file: scenario.file.clone(),
        satisfaction_criteria: criteria.text,
        named: criteria.values,
        setup_ok: broken.is_none(),
        broken,
        setup,
        steps,
        teardown,
        skipped,
        duration_ms: stage.clock.now().saturating_sub(begun),
    }
}

async fn perform(
    index: usize,
    step: &ScenarioStep,
    stage: &TestEnvironment<'_>,
    services: &mut ByService<'_>,
    variables: &mut Variables,
    deadline: Deadline,
) -> StepSeen {
    let stage = match stage.at(step.service.as_ref()) {
        Ok(stage) => &{ stage },
        Err(why) => return not_run(index, step, &why, variables),
    };
    let is_first = !std::mem::replace(&mut services.begun, true);
    let connections = services.of(step.service.as_ref());
    let begun = stage.clock.now();
    if let Some((at, timeout)) = deadline
        && begun >= at
    {
        return not_run(index, step, &format!("the {timeout} of the scenario are over"), variables);
    }
    if let Some(why) = too_large(&step.variables, variables) {
        return StepSeen { error: Some(why), ..blank(index, step) };
    }
    let seen = &variables.under(&step.variables);
    if let Some(why) = unresolved::refusal(step, seen) {
        return StepSeen { error: Some(why), ..not_run(index, step, "", variables) };
    }
    let gone = ending::by_now(stage);
    let mark = stage.shell.map(Shell::log_mark);
    let left = deadline.map(|(at, _)| Duration::from_millis(at.saturating_sub(begun)));
    if let Some(delay) = step.delay {
        BoundedClock::new(stage.clock, left).sleep(delay.0).await;
        if let Some((at, timeout)) = deadline
            && stage.clock.now() >= at
        {
            let why = format!("the {timeout} of the scenario were over before its `delay` was");
            return not_run(index, step, &why, variables);
        }
    }
    let mut attempt = attempt::persist(step, stage, connections, seen, deadline).await;
    let is_late = deadline.is_some_and(|(at, _)| stage.clock.now() >= at);
    // The time that was left differs from run to run, so it is not shown. The step may still have succeeded.
    if let Some((_, timeout)) = deadline.filter(|_| is_late && !attempt.held()) {
        let why = format!("the {timeout} of the scenario were over before it came to an end");
        attempt.outcome.error = Some(why);
    }
    let captures: Vec<Captured> = match &attempt.outcome {
        StepOutcome { answer: Some(answer), error: None } => {
            step.capture.iter().map(|capture| keep(capture, answer, seen, variables)).collect()
        }
        _ => Vec::new(),
    };
    let expected = variables.under(&step.variables);
    if let Some(name) = expected.missing(&step.expect, true).filter(|_| attempt.outcome.error.is_none()) {
        attempt.outcome.error = Some(expected.unset(&name, " in `expect`"));
    }
    let expectation = Expectation::of(&step.expect, &expected);
    let faulty = attempt.outcome.error.is_some()
        || attempt.assertions.iter().any(|verdict| !verdict.ok)
        || captures.iter().any(|captured| captured.error.is_some());
    let duration_ms = stage.clock.now().saturating_sub(begun);
    // After the deadline of the scenario, there is no time to wait.
    let answered = is_late || attempt.saw_something();
    let ending =
        if faulty { ending::of_program(stage, gone, step.service.as_ref(), answered).await } else { None };
    // The reason of its end may have been logged before the first step.
    let mark = if is_first && ending.is_some() { Some(0) } else { mark };
    let mut log = logged(stage, mark, faulty).await;
    if let Some(ending) = &ending {
        ending.tell(attempt.outcome.error.as_mut(), &mut log);
    }
    StepSeen {
        expect: expectation.text,
        named: expectation.values,
        sent: attempt.sent.map(SentRecord::shortened),
        observed: attempt.outcome.answer.as_ref().map(|answer| {
            let content = stage.evidence.filter(|_| faulty && stage.keeps_answers);
            Observed::of(answer, stage.evidence).with_content(answer, content)
        }),
        captures,
        decided: decide(step, attempt.outcome.error.as_ref(), &attempt.assertions),
        assertions: attempt.assertions,
        error: attempt.outcome.error.map(|error| Excerpt::visible(&error, LOG).text),
        attempts: attempt.number,
        duration_ms,
        ended: ending.map(|ending| ending.when),
        log: Excerpt::visible(&log, LOG).text,
        ..blank(index, step)
    }
}

/// Saves a capture. Later captures of a step can use earlier ones.
fn keep(capture: &Capture, answer: &StepAnswer, seen: &Variables, variables: &mut Variables) -> Captured {
    let mut captured = take(capture, answer, seen);
    captured.store(variables);
    captured.recorded()
}

fn decide(step: &ScenarioStep, error: Option<&String>, assertions: &[AssertionResult]) -> StepDecision {
    if error.is_some() || assertions.iter().any(|verdict| !verdict.ok) {
        StepDecision::Failed
    } else if step.expect.trim().is_empty() && !assertions.is_empty() {
        StepDecision::Held
    } else {
        StepDecision::Open
    }
}

/// Why a setup step breaks the scenario, if it does.
fn breakage(seen: &StepSeen) -> Option<SetupFailure> {
    let assertion = seen.assertions.iter().find(|verdict| !verdict.ok).map(|verdict| {
        let why = verdict.reason.clone().unwrap_or_else(|| format!("it is {}", verdict.actual));
        format!("`{}` does not hold: {why}", verdict.assert)
    });
    let capture = || {
        let missed = seen.captures.iter().find_map(|captured| Some((captured, captured.error.as_ref()?)))?;
        Some(format!("`{}` could not be captured: {}", missed.0.name, missed.1))
    };
    Some(SetupFailure {
        step: seen.index,
        description: seen.description.clone(),
        reason: seen.error.clone().or(assertion).or_else(capture)?,
        sent: seen.sent.as_ref().map(|sent| sent.text.clone()).unwrap_or_default(),
        observed: seen.observed.as_ref().map(|observed| observed.text.clone()).unwrap_or_default(),
        log: seen.log.clone(),
    })
}

/// A description in parentheses, if there is one.
fn named(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(" ({description})") }
}

fn not_run(index: usize, step: &ScenarioStep, why: &str, variables: &Variables) -> StepSeen {
    let expectation = Expectation::of(&step.expect, &variables.under(&step.variables));
    StepSeen {
        expect: expectation.text,
        named: expectation.values,
        error: Some(format!("not run: {why}")),
        ..blank(index, step)
    }
}

fn blank(index: usize, step: &ScenarioStep) -> StepSeen {
    StepSeen {
        index,
        line: step.line,
        description: step.description.clone(),
        expect: String::new(),
        named: Vec::new(),
        kind: step.action.word().to_owned(),
        weight: step.weight,
        sent: None,
        observed: None,
        captures: Vec::new(),
        assertions: Vec::new(),
        decided: StepDecision::Failed,
        error: None,
        attempts: 0,
        duration_ms: 0,
        ended: None,
        log: String::new(),
    }
}
