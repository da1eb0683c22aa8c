use std::time::Duration;

use crate::diag::Code;
use crate::scenario::checks::assert::check as holds;
use crate::scenario::language::{Scenario, ScenarioStep};
use crate::scenario::reader::linter::Linter;
use crate::scenario::steps::{StepType, TYPES};
use crate::scenario::values::Variables;

/// Whether `step` is decided, and holds, where the program answers like the one `at`.
fn holds_for(step: &ScenarioStep, at: usize) -> bool {
    let [first, second] = step.action.step().vacuous();
    let answer = if at == 0 { first } else { second };
    let Some(answer) = answer.filter(|_| step.expect.trim().is_empty()) else { return false };
    let mut assertions =
        step.assert.iter().chain(step.until.iter().flat_map(|until| &until.assert)).peekable();
    assertions.peek().is_some()
        && assertions.all(|assertion| holds(assertion, &answer, &[Duration::ZERO], &Variables::default()).ok)
}

/// Complains about a scenario whose assertions hold for a program that does nothing. Steps that a judge decides are
/// not looked at: there is always something that they expect. Steps that may be skipped make up for nothing.
pub fn check(linter: &mut Linter<'_>, scenario: &Scenario) {
    let decided =
        |at: usize| scenario.steps.iter().filter(|step| step.when.is_none()).all(|step| holds_for(step, at));
    let setup = scenario.setup.iter().all(|step| step.assert.is_empty() && step.capture.is_empty());
    let Some(at) = (0..2).find(|at| setup && decided(*at)) else { return };
    let span = linter.sources.span(linter.source, 0..linter.text().lines().next().map_or(0, str::len));
    let message =
        format!("`{}` holds for a program that answers everything with {}", scenario.id, who(scenario, at));
    linter.at(Code::LintVacuous, span, message).help =
        Some("assert something that only the right program does".into());
}

/// What the program `at` answers to the steps that the scenario has.
fn who(scenario: &Scenario, at: usize) -> String {
    let used = |step_type: &StepType| scenario.steps.iter().any(|step| step.action.word() == step_type.word);
    let words = TYPES.iter().filter(|step_type| used(step_type)).map(|step_type| step_type.vacuous_words[at]);
    let words = words.filter(|words| !words.is_empty());
    words.collect::<Vec<_>>().join(" or ")
}
