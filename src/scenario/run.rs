//! Runs a scenario: setup, which must work, then every step, whatever became of the one before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::assert::{Assertion, Subject, Verdict, check};
use super::capture::{Captured, take};
use super::http::Outcome;
use super::observation::{Broken, Decided, Observation, Observed, Sent, StepSeen};
use super::port::{Browsers, Evidences, Shell};
use super::{
    Action, Deed, Excerpt, Lapse, Scenario, Step, Variables, Web, browser, exec, grpc, parallel, tui, ws,
};
use crate::clock::{Clock, millis};

/// What a scenario is played on.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// The client for `request`, where there is a target.
    pub web: Option<&'a Web>,
    /// Base URL of the program, for `browser` and `ws`.
    pub target: Option<&'a str>,
    /// Where it takes gRPC calls, as `http://HOST:PORT`.
    pub grpc_target: Option<&'a str>,
    /// The inside of the service for `exec` and `tui`, where one is held.
    pub shell: Option<&'a dyn Shell>,
    /// The services beside the program, by what steps call them.
    pub places: Option<&'a BTreeMap<String, Place>>,
    /// Where pages are opened for `browser`.
    pub browsers: Option<&'a dyn Browsers>,
    /// Where evidence is kept; without it there is none.
    pub evidence: Option<&'a dyn Evidences>,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl<'a> Stage<'a> {
    /// Nothing but a clock.
    pub fn new(clock: &'a dyn Clock) -> Self {
        Self {
            web: None,
            target: None,
            grpc_target: None,
            shell: None,
            places: None,
            browsers: None,
            evidence: None,
            clock,
        }
    }

    /// The same for a step that talks to the service `name`.
    fn at(&self, name: Option<&String>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(*self) };
        let place = self.places.and_then(|places| places.get(name));
        let place = place.ok_or_else(|| format!("there is no service `{name}` beside the program"))?;
        let shell = place.shell.as_deref().or(self.shell);
        let target = Some(place.target.as_str());
        Ok(Self { web: Some(&place.web), target, grpc_target: target, shell, ..*self })
    }
}

/// A service beside the program.
pub struct Place {
    /// Its base URL.
    pub target: String,
    /// The client for it.
    pub web: Web,
    /// Its inside; that of the program where there is none.
    pub shell: Option<Arc<dyn Shell>>,
}

/// The players of one scenario, by the service that they talk to.
#[derive(Default)]
struct Casts(BTreeMap<Option<String>, Cast>);

impl Casts {
    fn of(&mut self, service: Option<&String>) -> &mut Cast {
        self.0.entry(service.cloned()).or_default()
    }

    async fn end(self) {
        for cast in self.0.into_values() {
            cast.end().await;
        }
    }
}

/// What the steps of one scenario share that talk to the same service, by step type.
#[derive(Default)]
struct Cast {
    browser: browser::Player,
    grpc: grpc::Player,
    ws: ws::Player,
    tui: tui::Player,
}

impl Cast {
    async fn end(self) {
        self.browser.end();
        self.grpc.end().await;
        self.ws.end().await;
        self.tui.end().await;
    }
}

/// Longest log in an observation, in bytes.
const LOG: usize = 4 << 10;

/// Runs `scenario`. Whatever goes wrong with the program under test is in the observation.
pub async fn run(scenario: &Scenario, stage: &Stage<'_>, variables: Variables) -> Observation {
    let begun = stage.clock.now();
    let mut variables = variables.beside(&scenario.variables);
    let deadline = scenario.timeout.map(|timeout| (begun + millis(timeout.0), timeout));
    let mut casts = Casts::default();
    let mut setup = Vec::new();
    let mut broken = None;
    for (index, step) in scenario.setup.iter().enumerate() {
        let seen = perform(index, step, stage, &mut casts, &mut variables, deadline).await;
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
    for (index, step) in scenario.steps.iter().enumerate() {
        let seen = match &stopped {
            Some(why) => not_run(index, step, why, &variables),
            None => perform(index, step, stage, &mut casts, &mut variables, deadline).await,
        };
        if step.must && seen.decided == Decided::Failed && stopped.is_none() {
            stopped =
                Some(format!("step {}{}, which must hold, failed", index + 1, named(&step.description)));
        }
        steps.push(seen);
    }
    let mut teardown = Vec::new();
    for (index, step) in scenario.teardown.iter().enumerate() {
        teardown.push(perform(index, step, stage, &mut casts, &mut variables, None).await);
    }
    casts.end().await;
    Observation {
        id: scenario.id.clone(),
        description: scenario.description.clone(),
        weight: scenario.weight,
        tier: scenario.tier,
        tags: scenario.tags.clone(),
        must: scenario.must,
        visibility: scenario.visibility,
        file: scenario.file.clone(),
        satisfaction_criteria: variables.fill(&scenario.satisfaction_criteria).into_owned(),
        setup_ok: broken.is_none(),
        broken,
        setup,
        steps,
        teardown,
        duration_ms: stage.clock.now().saturating_sub(begun),
    }
}

/// When a scenario has to be over, and how long it was given.
type Deadline = Option<(u64, Lapse)>;

async fn perform(
    index: usize,
    step: &Step,
    stage: &Stage<'_>,
    casts: &mut Casts,
    variables: &mut Variables,
    deadline: Deadline,
) -> StepSeen {
    let stage = match stage.at(step.service.as_ref()) {
        Ok(stage) => &{ stage },
        Err(why) => return not_run(index, step, &why, variables),
    };
    let cast = casts.of(step.service.as_ref());
    let begun = stage.clock.now();
    if let Some((at, timeout)) = deadline
        && begun >= at
    {
        return not_run(index, step, &format!("the {timeout} of the scenario are over"), variables);
    }
    let seen = &variables.under(&step.variables);
    let mark = stage.shell.map(Shell::log_mark);
    if let Some(delay) = step.delay {
        stage.clock.sleep(delay.0).await;
    }
    let attempt = persist(step, stage, cast, seen, deadline).await;
    let captures: Vec<Captured> = match &attempt.outcome {
        Outcome { answer: Some(answer), error: None } => {
            step.capture.iter().map(|capture| keep(capture, answer, seen, variables)).collect()
        }
        _ => Vec::new(),
    };
    let log = mark.zip(stage.shell).map(|(mark, shell)| shell.log_since(mark)).unwrap_or_default();
    StepSeen {
        expect: variables.under(&step.variables).fill(&step.expect).into_owned(),
        sent: attempt.sent,
        observed: attempt.outcome.answer.as_ref().map(|answer| Observed::of(answer, stage.evidence)),
        captures,
        decided: decide(step, attempt.outcome.error.as_ref(), &attempt.assertions),
        assertions: attempt.assertions,
        error: attempt.outcome.error,
        attempts: attempt.number,
        duration_ms: stage.clock.now().saturating_sub(begun),
        log: Excerpt::of_text(&log, LOG).text,
        ..blank(index, step)
    }
}

/// Later captures of a step see the earlier ones.
fn keep(
    capture: &super::Capture,
    answer: &super::Answer,
    seen: &Variables,
    variables: &mut Variables,
) -> Captured {
    let captured = take(capture, answer, seen);
    captured.store(variables);
    captured
}

struct Attempt {
    number: u32,
    sent: Option<Sent>,
    outcome: Outcome,
    assertions: Vec<Verdict>,
}

impl Attempt {
    /// Whether nothing is left to try for: a step that waits for a state has it, any other has not failed.
    fn succeeded(&self, step: &Step) -> bool {
        let waited = step.until.as_ref().map_or(self.assertions.len(), |until| until.assert.len());
        self.outcome.error.is_none() && self.assertions.iter().take(waited).all(|verdict| verdict.ok)
    }

    /// Whether an assertion fails, and all that fail may hold later.
    fn may_come_true(&self, step: &Step) -> bool {
        let hopeless = |(assertion, verdict): (&Assertion, &Verdict)| {
            !verdict.ok && matches!(assertion.subject, Subject::Duration | Subject::Console)
        };
        self.outcome.error.is_none()
            && !self.succeeded(step)
            && !asserted(step).zip(&self.assertions).any(hopeless)
    }

    /// Adds a picture of the page where somebody will want to see it: a judge, or who looks for a fault.
    async fn illustrate(&mut self, step: &Step, stage: &Stage<'_>, cast: &mut Cast) {
        let asked = matches!(&step.action, Action::Browser(browser) if browser.action == Deed::Screenshot {});
        let wanted =
            asked || stage.evidence.is_some() && !(self.succeeded(step) && step.expect.trim().is_empty());
        if let Some(super::Answer::Told(told)) = self.outcome.answer.as_mut().filter(|_| wanted) {
            told.evidence.extend(cast.browser.picture(stage).await);
        }
    }
}

/// How often and how long a step is tried.
struct Tries {
    most: u32,
    interval: Duration,
    timeout: Option<Duration>,
}

impl Tries {
    fn of(step: &Step) -> Self {
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

    /// When the last try is cut off.
    fn end(&self, begun: u64, deadline: Deadline) -> Option<u64> {
        let own = self.timeout.map(|timeout| begun + millis(timeout));
        own.into_iter().chain(deadline.map(|(at, _)| at)).min()
    }
}

/// Tries a step until it neither breaks nor fails an assertion, as often and as long as its `retry` or `until` says.
async fn persist(
    step: &Step,
    stage: &Stage<'_>,
    cast: &mut Cast,
    variables: &Variables,
    deadline: Deadline,
) -> Attempt {
    let tries = Tries::of(step);
    let end = tries.end(stage.clock.now(), deadline);
    let left = || end.map(|end| Duration::from_millis(end.saturating_sub(stage.clock.now())));
    let mut number = 1;
    let mut before: Option<Attempt> = None;
    loop {
        let mut attempt = once(step, stage, cast, variables, left()).await;
        // Of a state that was not reached, the last that was seen tells more than that time was over.
        let cut_off = attempt.outcome.error.is_some() && left().is_some_and(|left| left.is_zero());
        if let Some(before) = before.take_if(|_| cut_off && step.until.is_some()) {
            attempt = before;
        }
        attempt.number = number;
        let over = number >= tries.most || left().is_some_and(|left| left <= tries.interval);
        if over || attempt.succeeded(step) {
            return attempt;
        }
        before = Some(attempt);
        stage.clock.sleep(tries.interval).await;
        number += 1;
    }
}

async fn once(
    step: &Step,
    stage: &Stage<'_>,
    cast: &mut Cast,
    variables: &Variables,
    left: Option<Duration>,
) -> Attempt {
    let begun = stage.clock.now();
    let (sent, outcome) = act(&step.action, stage, cast, variables, left).await;
    let assertions = verdicts(step, &outcome, begun, stage, variables);
    let mut attempt = Attempt { number: 1, sent, outcome, assertions };
    if matches!(step.action, Action::Browser(_)) {
        // A page may still be on its way to what is asserted.
        while attempt.may_come_true(step)
            && let Some(outcome) = cast.browser.look_again().await
        {
            attempt.assertions = verdicts(step, &outcome, begun, stage, variables);
            attempt.outcome = outcome;
        }
        attempt.illustrate(step, stage, cast).await;
    }
    attempt
}

fn verdicts(
    step: &Step,
    outcome: &Outcome,
    begun: u64,
    stage: &Stage<'_>,
    variables: &Variables,
) -> Vec<Verdict> {
    let took = Duration::from_millis(stage.clock.now().saturating_sub(begun));
    let Some(answer) = &outcome.answer else { return Vec::new() };
    asserted(step).map(|assertion| check(assertion, answer, took, variables)).collect()
}

/// What has to hold: the state that is waited for, then the rest.
fn asserted(step: &Step) -> impl Iterator<Item = &Assertion> {
    step.until.iter().flat_map(|until| &until.assert).chain(&step.assert)
}

async fn act(
    action: &Action,
    stage: &Stage<'_>,
    cast: &mut Cast,
    variables: &Variables,
    left: Option<Duration>,
) -> (Option<Sent>, Outcome) {
    // Boxed, so that a request does not carry the room that the others need.
    match action {
        Action::Browser(step) => Box::pin(cast.browser.play(step, stage, variables, left)).await,
        Action::Grpc(step) => Box::pin(cast.grpc.play(step, stage, variables, left)).await,
        Action::Ws(step) => Box::pin(cast.ws.play(step, stage, variables, left)).await,
        Action::Tui(step) => Box::pin(cast.tui.play(step, stage, variables, left)).await,
        Action::Parallel(step) => Box::pin(parallel::play(step, stage, variables, left)).await,
        Action::Request(_) | Action::Exec(_) => alone(action, stage, variables, left).await,
    }
}

/// Does what needs nothing of the steps before it: a request or a command.
pub(super) async fn alone(
    action: &Action,
    stage: &Stage<'_>,
    variables: &Variables,
    left: Option<Duration>,
) -> (Option<Sent>, Outcome) {
    let limit = |own: Duration| left.map_or(own, |left| left.min(own));
    match action {
        Action::Request(request) => {
            let Some(web) = stage.web else { return (None, Outcome::error("there is no target to send to")) };
            match web.prepare(request, variables) {
                Ok(prepared) => {
                    let sent = prepared.sent();
                    (Some(sent), Web::send(prepared, limit(request.timeout.0), stage.clock).await)
                }
                Err(error) => (None, Outcome::error(error)),
            }
        }
        Action::Exec(command) => {
            let Some(shell) = stage.shell else {
                return (None, Outcome::error("there is no service to run it in"));
            };
            let mut command = exec::prepare(command, variables);
            command.timeout = limit(command.timeout);
            let sent = exec::sent(&command);
            let outcome = match exec::run(command, shell).await {
                Ok(answer) => Outcome { answer: Some(answer), error: None },
                Err(error) => Outcome::error(error),
            };
            (Some(sent), outcome)
        }
        other => (None, Outcome::error(format!("`{}` cannot be done at once with others", other.word()))),
    }
}

fn decide(step: &Step, error: Option<&String>, assertions: &[Verdict]) -> Decided {
    if error.is_some() || assertions.iter().any(|verdict| !verdict.ok) {
        Decided::Failed
    } else if step.expect.trim().is_empty() && !assertions.is_empty() {
        Decided::Held
    } else {
        Decided::Open
    }
}

/// Why a step of the setup breaks the scenario, if it does.
fn breakage(seen: &StepSeen) -> Option<Broken> {
    let assertion = seen.assertions.iter().find(|verdict| !verdict.ok).map(|verdict| {
        let why = verdict.reason.clone().unwrap_or_else(|| format!("it is {}", verdict.actual));
        format!("`{}` does not hold: {why}", verdict.assert)
    });
    let capture = || {
        let missed = seen.captures.iter().find_map(|captured| Some((captured, captured.error.as_ref()?)))?;
        Some(format!("`{}` could not be captured: {}", missed.0.name, missed.1))
    };
    Some(Broken {
        step: seen.index,
        description: seen.description.clone(),
        reason: seen.error.clone().or(assertion).or_else(capture)?,
        sent: seen.sent.as_ref().map(|sent| sent.text.clone()).unwrap_or_default(),
        observed: seen.observed.as_ref().map(|observed| observed.text.clone()).unwrap_or_default(),
        log: seen.log.clone(),
    })
}

/// A description in parentheses, where there is one.
fn named(description: &str) -> String {
    if description.is_empty() { String::new() } else { format!(" ({description})") }
}

fn not_run(index: usize, step: &Step, why: &str, variables: &Variables) -> StepSeen {
    StepSeen {
        expect: variables.under(&step.variables).fill(&step.expect).into_owned(),
        error: Some(format!("not run: {why}")),
        ..blank(index, step)
    }
}

fn blank(index: usize, step: &Step) -> StepSeen {
    StepSeen {
        index,
        line: step.line,
        description: step.description.clone(),
        expect: String::new(),
        kind: step.action.word().to_owned(),
        weight: step.weight,
        sent: None,
        observed: None,
        captures: Vec::new(),
        assertions: Vec::new(),
        decided: Decided::Failed,
        error: None,
        attempts: 0,
        duration_ms: 0,
        log: String::new(),
    }
}
