use std::time::Duration;

use super::Linter;
use crate::diag::Code;
use crate::scenario::assert::check as holds;
use crate::scenario::{Action, Answer, ExecAnswer, HttpAnswer, Kept, Scenario, Variables};

/// Answers of programs that do nothing: each step of a scenario gets them, and something should fail.
fn nothing(action: &Action) -> Vec<Answer> {
    let http = |status| {
        let headers = vec![("content-length".to_owned(), "0".to_owned())];
        Answer::Http(HttpAnswer { status, headers, body: Kept::of(&[], 1), url: String::new() })
    };
    let exec = |code, complaint: &str| {
        let (stdout, stderr) = (Kept::of(&[], 1), Kept::of(complaint.as_bytes(), 256));
        Answer::Exec(ExecAnswer { exit_code: Some(code), stdout, stderr, timed_out: None })
    };
    match action {
        Action::Request(_) => vec![http(404), http(200)],
        Action::Exec(_) => vec![exec(127, "sh: not found\n"), exec(0, "")],
        _ => Vec::new(),
    }
}

/// Complains about a scenario whose assertions hold for a program that does nothing. Steps that a judge decides are
/// not looked at: there is always something that they expect.
pub fn check(linter: &mut Linter<'_>, scenario: &Scenario) {
    let decided = |at: usize| {
        scenario.steps.iter().all(|step| {
            let answers = nothing(&step.action);
            let mut assertions =
                step.assert.iter().chain(step.until.iter().flat_map(|until| &until.assert)).peekable();
            let Some(answer) = answers.get(at).filter(|_| step.expect.trim().is_empty()) else {
                return false;
            };
            assertions.peek().is_some()
                && assertions
                    .all(|assertion| holds(assertion, answer, Duration::ZERO, &Variables::default()).ok)
        })
    };
    let setup = scenario.setup.iter().all(|step| step.assert.is_empty() && step.capture.is_empty());
    let who = ["an empty 404, or exit code 127", "an empty 200, or exit code 0"];
    let Some(at) = (0..2).find(|at| setup && decided(*at)) else { return };
    let span = linter.sources.span(linter.source, 0..linter.text().lines().next().map_or(0, str::len));
    let message = format!("`{}` holds for a program that answers everything with {}", scenario.id, who[at]);
    linter.at(Code::LintVacuous, span, message).help =
        Some("assert something that only the right program does".into());
}
