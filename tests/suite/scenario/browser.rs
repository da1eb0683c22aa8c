//! Browser steps in a real Chromium: against `datasette`, and against small pages for everything else.
#![expect(clippy::disallowed_methods, reason = "tests start programs and look at what is left of them")]

mod faults;
mod frames;
mod pages;
mod peer;
mod reach;

use std::sync::Mutex;

use atoll::chromium::{Chromium, ChromiumSettings};
use atoll::scenario::{Evidences, Observation, Scenario, StepSeen, TestEnvironment, Variables, run};
use atoll::system_clock::SystemClock;
use atoll::value::BlobRef;
use atoll::verbs::chromium::ChromiumPages;

/// Whether `what` is required, so that its absence is a failure.
pub fn required(what: &str) -> bool {
    std::env::var("ATOLL_REQUIRE").unwrap_or_default().split(',').any(|name| name == what)
}

/// Chromium, or `None` after a note that the test is skipped.
pub async fn chromium(test: &str) -> Option<Chromium> {
    let settings = ChromiumSettings {
        program: std::env::var("ATOLL_CHROMIUM").ok().filter(|name| !name.is_empty()),
        path: std::env::var("PATH").unwrap_or_default(),
    };
    let chromium = Chromium::new(settings);
    if let Err(failure) = chromium.ready().await {
        assert!(!required("chromium"), "chromium is required: {failure}");
        println!("skipped: {test}: {}", failure.message);
        return None;
    }
    Some(chromium)
}

/// Keeps evidence in memory.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Vec<u8>>>);

impl Kept {
    /// All evidence, in the order of arrival.
    pub fn all(self) -> Vec<Vec<u8>> {
        self.0.into_inner().unwrap()
    }
}

impl Evidences for Kept {
    fn keep(&self, bytes: &[u8]) -> Result<BlobRef, String> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(BlobRef::of(bytes))
    }
}

/// Runs a scenario on the system clock, because pages need real time.
pub async fn browse(
    chromium: &Chromium,
    scenario: &Scenario,
    target: &str,
    kept: Option<&Kept>,
) -> Observation {
    // Values in a pipeline are JSON: a scenario must survive the round trip.
    let scenario: Scenario = serde_json::from_value(serde_json::to_value(scenario).unwrap()).unwrap();
    let pages = ChromiumPages(chromium.clone());
    let stage = TestEnvironment {
        target: Some(target),
        browsers: Some(&pages),
        evidence: kept.map(|kept| kept as &dyn Evidences),
        ..TestEnvironment::new(&SystemClock)
    };
    run(&scenario, &stage, Variables::default()).await
}

/// Fails with the whole observation of a step that has an error or a failed assertion.
pub fn assert_all_hold(seen: &Observation) {
    for step in seen.setup.iter().chain(&seen.steps) {
        assert!(
            step.error.is_none() && step.assertions.iter().all(|verdict| verdict.ok),
            "line {}: {:?}\n{:#?}\n{}",
            step.line,
            step.error,
            step.assertions.iter().filter(|verdict| !verdict.ok).collect::<Vec<_>>(),
            text(step)
        );
    }
}

/// The text of a step for a judge.
pub fn text(step: &StepSeen) -> &str {
    step.observed.as_ref().map_or("", |observed| observed.text.as_str())
}
