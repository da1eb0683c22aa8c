use std::time::Duration;

use crate::diag::Code;
use crate::scenario::checks::assert::check as holds;
use crate::scenario::language::{Scenario, ScenarioStep};
use crate::scenario::reader::linter::Linter;
use crate::scenario::steps::{StepType, TYPES};
use crate::scenario::values::Variables;

/// Whether `step` is decided and holds for the answers of program `at`.
fn holds_for(step: &ScenarioStep, at: usize) -> bool {
    let [first, second] = step.action.step().vacuous();
    let answer = if at == 0 { first } else { second };
    let Some(answer) = answer.filter(|_| step.expect.trim().is_empty()) else { return false };
    let mut assertions =
        step.assert.iter().chain(step.until.iter().flat_map(|until| &until.assert)).peekable();
    assertions.peek().is_some()
        && assertions.all(|assertion| holds(assertion, &answer, &[Duration::ZERO], &Variables::default()).ok)
}

/// Reports a scenario whose assertions hold for a program that does nothing. Steps that a judge decides are
/// ignored: they always expect something. Steps that may be skipped do not count as a check.
pub fn check(linter: &mut Linter<'_>, scenario: &Scenario) {
    let decided =
        |at: usize| scenario.steps.iter().filter(|step| step.when.is_none()).all(|step| holds_for(step, at));
    let setup = scenario.setup.iter().all(|step| step.assert.is_empty() && step.capture.is_empty());
    let Some(at) = (0..2).find(|at| setup && decided(*at)) else { return };
    let span = linter.sources.span(linter.source, 0..linter.text().lines().next().map_or(0, str::len));
    let message =
        format!("`{}` holds for a program that answers everything with {}", scenario.id, who(scenario, at));
    linter.at(Code::LintVacuous, span, message).help =
        Some("assert something that only a correct program does".into());
}

/// Description of the answers of program `at` to the steps of the scenario.
fn who(scenario: &Scenario, at: usize) -> String {
    let used = |step_type: &StepType| scenario.steps.iter().any(|step| step.action.word() == step_type.word);
    let words = TYPES.iter().filter(|step_type| used(step_type)).map(|step_type| step_type.vacuous_words[at]);
    let words = words.filter(|words| !words.is_empty());
    words.collect::<Vec<_>>().join(" or ")
}
