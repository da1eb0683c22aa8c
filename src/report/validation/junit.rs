use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{ScenarioResult, StepResult, StepVerdict, Validation};
use crate::report::units::harmless;

/// JUnit XML: a suite for each scenario, a case for each step. Undecided steps and scenarios that were not
/// run are *skipped*; a reason why a scenario could not be run is an *error*, because it says nothing about
/// the program. Suites have the time at which the run started, in ISO 8601.
pub fn render_junit(found: &Validation, started_at: Option<&str>) -> Result<String, SerializeError> {
    let mut report = Report::new(harmless(found.target.as_deref().unwrap_or("validate")));
    if let Some(trouble) = &found.trouble {
        let mut suite = TestSuite::new("validate");
        suite.add_test_case(case("validate", "begins", NonSuccessKind::Error, trouble, trouble));
        report.add_test_suite(suite);
    }
    if let Some(reason) = &found.unreachable {
        let mut suite = TestSuite::new("validate");
        suite.add_test_case(case(
            "validate",
            "the target is reachable",
            NonSuccessKind::Error,
            reason,
            reason,
        ));
        report.add_test_suite(suite);
    }
    if let Some(waits) = &found.waits {
        let mut suite = TestSuite::new("validate");
        suite.add_test_case(skipped("validate", "all is decided", waits));
        report.add_test_suite(suite);
    }
    let suites = found.scenarios.iter().map(suite).map(|mut suite| {
        if let Some(at) = started_at {
            suite.extra.insert("timestamp".into(), at.into());
        }
        for note in &found.notes {
            suite.add_property(("note", harmless(note).as_str()));
        }
        suite
    });
    report.add_test_suites(suites);
    // XML cannot contain most control characters: they are removed, so that the report is well-formed.
    report.to_string().map(|xml| harmless(&xml))
}

fn suite(scenario: &ScenarioResult) -> TestSuite {
    let mut suite = TestSuite::new(harmless(&scenario.id));
    suite.set_time(Duration::from_millis(scenario.duration_ms));
    suite.extra.insert("file".into(), harmless(&scenario.file).into());
    if !scenario.description.is_empty() {
        suite.add_property(("description", harmless(&scenario.description).as_str()));
    }
    if let Some(score) = scenario.score {
        suite.add_property(("score", score.to_string().as_str()));
    }
    let id = scenario.id.as_str();
    if let Some(why) = &scenario.not_run {
        suite.add_test_case(skipped(id, "it is run", &format!("not run: {why}")));
    }
    if let Some(trouble) = &scenario.trouble {
        suite.add_test_case(case(id, "it can be run", NonSuccessKind::Error, trouble, trouble));
    }
    if let Some(fault) = &scenario.fault {
        suite.add_test_case(case(id, "it is up", NonSuccessKind::Failure, &fault.reason, &fault.log));
    }
    if let Some(broken) = &scenario.broken {
        let name = format!("setup {}. {}", broken.step + 1, broken.description);
        let seen = told(&broken.sent, &broken.observed, &broken.log);
        let mut case = case(id, &name, NonSuccessKind::Failure, &broken.reason, &seen);
        link(&mut case, &broken.attachments);
        suite.add_test_case(case);
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    for step in &scenario.steps {
        let count = names.entry(step.name()).and_modify(|count| *count += 1).or_insert(1);
        suite.add_test_case(step_case(scenario, step, *count));
    }
    if let Some(criteria) = &scenario.criteria {
        suite.add_test_case(judged(id, "all of it", &criteria.verdict, &criteria.criteria));
    }
    suite
}

/// The name of a step is its description; the second one with the same name ends in ` (2)`.
fn step_case(scenario: &ScenarioResult, step: &StepResult, count: usize) -> TestCase {
    let mut seen = told(&step.sent, &step.observed, &step.log);
    if let Some(curl) = &step.curl {
        let _ = write!(seen, "\n--- try it\n{curl}\n");
    }
    let name = if count == 1 { step.name().to_owned() } else { format!("{} ({count})", step.name()) };
    let mut case = judged(&scenario.id, &name, &step.verdict, &seen);
    case.extra.insert("file".into(), harmless(&scenario.file).into());
    case.extra.insert("line".into(), step.line.to_string().into());
    case.set_time(Duration::from_millis(step.duration_ms));
    link(&mut case, &step.attachments);
    case
}

/// Links to files in the format of CI systems: a line for each in the output of the case.
fn link(case: &mut TestCase, attachments: &[String]) {
    if !attachments.is_empty() {
        let lines: Vec<String> =
            attachments.iter().map(|path| format!("[[ATTACHMENT|{}]]", harmless(path))).collect();
        case.set_system_out(lines.join("\n"));
    }
}

fn judged(id: &str, name: &str, verdict: &StepVerdict, seen: &str) -> TestCase {
    match verdict.passed {
        Some(true) => {
            let mut case = TestCase::new(harmless(name), TestCaseStatus::success());
            case.set_classname(harmless(id));
            case
        }
        Some(false) => case(id, name, NonSuccessKind::Failure, &verdict.reasoning, seen),
        None => skipped(id, name, &format!("unjudged: {}", verdict.reasoning)),
    }
}

fn skipped(id: &str, name: &str, why: &str) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message(harmless(why));
    let mut case = TestCase::new(harmless(name), status);
    case.set_classname(harmless(id));
    case
}

fn case(id: &str, name: &str, kind: NonSuccessKind, why: &str, seen: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(harmless(why)).set_description(harmless(&format!("{why}\n{seen}")));
    let mut case = TestCase::new(harmless(name), status);
    case.set_classname(harmless(id));
    case
}

fn told(sent: &str, observed: &str, log: &str) -> String {
    let mut text = String::new();
    for (name, part) in [("sent", sent), ("came back", observed), ("log", log)] {
        if !part.trim().is_empty() {
            let _ = write!(text, "\n--- {name}\n{}\n", part.trim_end());
        }
    }
    text
}
