//! Scenarios against real programs: what is read, what is sent, what is observed.

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

/// A clock on which pauses of up to ten seconds are over at once and longer ones never end: retries do not wait and
/// time-outs do not fire.
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

/// The one scenario of a text, which must be free of complaints.
pub fn read(text: &str) -> Scenario {
    let (mut scenarios, _, complaints) = load(vec![("test.yaml".into(), text.into())]);
    let errors: Vec<_> = complaints.iter().filter(|c| c.severity == atoll::diag::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    scenarios.remove(0)
}

/// What went wrong with a step, in few words: whoever reads a failed test has no use for all that the step saw.
pub fn brief(step: &StepSeen) -> String {
    let failed = step.assertions.iter().filter(|verdict| !verdict.ok);
    let failed: Vec<_> = failed.map(|verdict| (&verdict.assert, &verdict.actual, &verdict.reason)).collect();
    let observed = step.observed.as_ref().map(|observed| &observed.text);
    let told = format!("step {} {:?} {failed:?} {observed:?}", step.index + 1, step.error);
    told.chars().take(2_000).collect()
}

/// The same of all steps.
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

/// Runs a scenario on a clock of one's own.
pub async fn play_on(
    scenario: &Scenario,
    target: Option<&str>,
    shell: Option<&dyn Shell>,
    clock: &dyn Clock,
    dir: &str,
) -> Observation {
    // What flows through a pipeline is JSON: a scenario must survive the way.
    let scenario: Scenario = serde_json::from_value(serde_json::to_value(scenario).unwrap()).unwrap();
    let web = target.map(|target| HttpClient::new(target).unwrap().trusting(&scenario.trust));
    let stage = TestEnvironment { web: web.as_ref(), target, shell, ..TestEnvironment::new(clock) };
    let variables = Variables::given([("dir".to_owned(), json!(dir))].into_iter().collect());
    run(&scenario, &stage, variables).await
}
