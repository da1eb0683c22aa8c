use super::{ScenarioResult, StepResult, Validation};
use crate::report::github::{Annotation, FileLines, render};
use crate::report::units::one_line;

/// Workflow commands of GitHub Actions: an error for each step that did not pass, at its line of the scenario
/// file; a warning for each undecided step that a judge should have decided.
pub fn render_github(found: &Validation) -> String {
    let mut all: Vec<Annotation<'static>> = Vec::new();
    if let Some(trouble) = &found.trouble {
        all.push(annotation("error", "nothing was validated", None, trouble));
    }
    if let Some(reason) = &found.unreachable {
        all.push(annotation("error", "the target is unreachable", None, reason));
    }
    all.extend(found.notes.iter().map(|note| annotation("warning", "scenarios share a program", None, note)));
    if let Some(waits) = &found.waits {
        all.push(annotation("warning", "the run waits: parts are undecided", None, waits));
    }
    for scenario in &found.scenarios {
        all.extend(of_scenario(scenario));
        all.extend(scenario.short().filter_map(|step| of_step(scenario, step, found.wants_judge())));
    }
    render(&all)
}

fn of_scenario(scenario: &ScenarioResult) -> Vec<Annotation<'static>> {
    let place = || Some(FileLines::line(&scenario.file, 1));
    let criteria = scenario.criteria.as_ref().filter(|criteria| criteria.verdict.passed == Some(false));
    let broken = scenario.broken.as_ref().map(|broken| {
        let what = format!("{}\n\n{}\n\n{}", broken.reason, broken.sent, broken.observed);
        annotation("error", &format!("{}: its setup failed", scenario.id), place(), &what)
    });
    let whole = [
        (scenario.trouble.as_ref(), "it could not be run"),
        (scenario.fault.as_ref().map(|fault| &fault.reason), "the program is not running"),
        (criteria.map(|criteria| &criteria.verdict.reasoning), "all of it"),
    ];
    let whole = whole.into_iter().filter_map(|(why, what)| {
        Some(annotation("error", &format!("{}: {what}", scenario.id), place(), why?))
    });
    let not_run = scenario
        .not_run
        .as_ref()
        .map(|why| annotation("warning", &format!("{}: it was not run", scenario.id), place(), why));
    whole.chain(broken).chain(not_run).collect()
}

fn of_step(scenario: &ScenarioResult, step: &StepResult, wanted: bool) -> Option<Annotation<'static>> {
    let severity = match step.verdict.passed {
        Some(false) => "error",
        None if wanted => "warning",
        Some(true) | None => return None,
    };
    let line = usize::try_from(step.line).unwrap_or(1);
    let place = FileLines::line(&scenario.file, line.max(1));
    let title = format!("{}: {}", scenario.id, step.title());
    let what = if severity == "error" {
        format!("{}\n\n{}\n\n{}", step.verdict.reasoning, step.sent.trim_end(), step.observed.trim_end())
    } else {
        format!("unjudged: {}", step.verdict.reasoning)
    };
    Some(annotation(severity, &title, Some(place), &what))
}

fn annotation(
    severity: &'static str,
    title: &str,
    place: Option<FileLines>,
    message: &str,
) -> Annotation<'static> {
    let at = place.as_ref().map(|place| format!("{}:{}: ", place.file, place.line)).unwrap_or_default();
    Annotation {
        severity,
        title: title.to_owned(),
        brief: format!("{at}{title}: {}", one_line(message, 200)),
        message: message.to_owned(),
        place,
    }
}
