//! Scenarios against real programs: reading, sending and observing.

mod attached;
pub mod browser;
mod commands;
mod compressed;
mod deadlines;
mod documents;
mod extras;
mod floods;
mod grpc;
mod handshake;
mod lint;
mod loading;
pub mod peers;
mod program;
mod requests;
mod reuse;
mod superset;
pub mod tls;
mod tui;
mod typed;
mod written;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use atoll::clock::{Clock, Millis, Sleep, millis};
use atoll::scenario::{
    HttpClient, Observation, Scenario, Shell, StepSeen, TestEnvironment, Variables, load, run,
};
use serde_json::json;

/// A clock on which sleeps of up to ten seconds end at once and longer ones never: retries do not wait, and
/// timeouts do not fire.
#[derive(Clone, Default)]
pub struct QuickClock(Arc<AtomicU64>);

impl Clock for QuickClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::SeqCst)
    }

    fn sleep(&self, span: Duration) -> Sleep {
        if span > Duration::from_secs(10) {
            return Box::pin(std::future::pending());
        }
        self.0.fetch_add(millis(span), Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

/// The only scenario of a text, which must have no diagnostics.
pub fn read(text: &str) -> Scenario {
    let (mut scenarios, _, complaints) = load(vec![("test.yaml".into(), text.into())]);
    let errors: Vec<_> = complaints.iter().filter(|c| c.severity == atoll::diag::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    scenarios.remove(0)
}

/// Short description of what went wrong with a step, for the messages of failed tests.
pub fn brief(step: &StepSeen) -> String {
    let failed = step.assertions.iter().filter(|verdict| !verdict.ok);
    let failed: Vec<_> = failed.map(|verdict| (&verdict.assert, &verdict.actual, &verdict.reason)).collect();
    let observed = step.observed.as_ref().map(|observed| &observed.text);
    let told = format!("step {} {:?} {failed:?} {observed:?}", step.index + 1, step.error);
    told.chars().take(2_000).collect()
}

/// Short descriptions of all steps.
pub fn told(seen: &Observation) -> String {
    seen.steps.iter().map(brief).collect::<Vec<_>>().join("\n")
}

/// A scenario made of steps only.
pub fn steps(text: &str) -> Scenario {
    read(&format!("id: test\nsteps:\n  {}\n", text.replace('\n', "\n  ")))
}

/// Runs a scenario, with `dir` as the only variable.
pub async fn play(
    scenario: &Scenario,
    target: Option<&str>,
    shell: Option<&dyn Shell>,
    dir: &str,
) -> Observation {
    play_on(scenario, target, shell, &QuickClock::default(), dir).await
}

/// Runs a scenario on the given clock.
pub async fn play_on(
    scenario: &Scenario,
    target: Option<&str>,
    shell: Option<&dyn Shell>,
    clock: &dyn Clock,
    dir: &str,
) -> Observation {
    // Values in a pipeline are JSON: a scenario must survive the round trip.
    let scenario: Scenario = serde_json::from_value(serde_json::to_value(scenario).unwrap()).unwrap();
    let web = target.map(|target| HttpClient::new(target).unwrap().trusting(&scenario.trust));
    let stage = TestEnvironment { web: web.as_ref(), target, shell, ..TestEnvironment::new(clock) };
    let variables = Variables::given([("dir".to_owned(), json!(dir))].into_iter().collect());
    run(&scenario, &stage, variables).await
}
