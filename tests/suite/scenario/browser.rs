//! Browser steps in a real Chromium: against `datasette`, and against small pages for what it cannot show.
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
use atoll::verbs::chromium::Pages;

/// Whether `what` has to be here: then its absence is a failure.
pub fn required(what: &str) -> bool {
    std::env::var("ATOLL_REQUIRE").unwrap_or_default().split(',').any(|name| name == what)
}

/// Chromium where it is here; else the test says so and is over.
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
    /// All of it, in the order in which it came.
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

/// Runs a scenario on the clock of the machine: a page takes its time.
pub async fn browse(
    chromium: &Chromium,
    scenario: &Scenario,
    target: &str,
    kept: Option<&Kept>,
) -> Observation {
    // What flows through a pipeline is JSON: a scenario must survive the way.
    let scenario: Scenario = serde_json::from_value(serde_json::to_value(scenario).unwrap()).unwrap();
    let pages = Pages(chromium.clone());
    let stage = TestEnvironment {
        target: Some(target),
        browsers: Some(&pages),
        evidence: kept.map(|kept| kept as &dyn Evidences),
        ..TestEnvironment::new(&SystemClock)
    };
    run(&scenario, &stage, Variables::default()).await
}

/// Fails with all that was seen of a step that broke or has an assertion that does not hold.
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

/// What a judge reads of a step.
pub fn text(step: &StepSeen) -> &str {
    step.observed.as_ref().map_or("", |observed| observed.text.as_str())
}
