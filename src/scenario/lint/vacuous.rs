use std::time::Duration;

use serde_json::json;

use super::Linter;
use crate::diag::Code;
use crate::scenario::assert::check as holds;
use crate::scenario::{
    Action, Answer, Browser, Deed, ExecAnswer, Goal, HttpAnswer, Kept, Scenario, Step, Told, Variables,
};
use crate::value::Value;

/// Answers of two programs that do nothing: each step of a scenario gets them, and something should fail. There is none
/// where such a program makes the step fail by itself.
fn nothing(action: &Action) -> [Option<Answer>; 2] {
    let http = |status| {
        let headers = vec![("content-length".to_owned(), "0".to_owned())];
        Some(Answer::Http(HttpAnswer { status, headers, body: Kept::of(&[], 1), url: String::new() }))
    };
    let exec = |code, complaint: &str| {
        let (stdout, stderr) = (Kept::of(&[], 1), Kept::of(complaint.as_bytes(), 256));
        Some(Answer::Exec(ExecAnswer { exit_code: Some(code), stdout, stderr, timed_out: None }))
    };
    match action {
        Action::Request(_) => [http(404), http(200)],
        Action::Exec(_) => [exec(127, "sh: not found\n"), exec(0, "")],
        Action::Grpc(_) => [call("UNIMPLEMENTED", ""), call("OK", "{}")],
        Action::Ws(ws) => {
            let refused = socket(404, json!(null)).filter(|_| ws.may_be_refused);
            [refused, socket(101, json!(1000))]
        }
        Action::Tui(tui) => {
            // Nothing is ever seen of it.
            let waits = matches!(&tui.wait_for, Some(wait) if !wait.is_for_absence());
            [127, 0].map(|code| terminal(code).filter(|_| !waits))
        }
        Action::Browser(browser) => [404, 200].map(|_| page(browser)),
        Action::Parallel(_) => [None, None],
    }
}

fn told(main: (&'static str, &str), parts: Vec<(&'static str, Value)>) -> Option<Answer> {
    let told = Told {
        text: String::new(),
        main: (main.0, Kept::of(main.1.as_bytes(), 256)),
        parts: parts.into_iter().collect(),
        evidence: Vec::new(),
    };
    Some(Answer::Told(Box::new(told)))
}

fn call(status: &str, body: &str) -> Option<Answer> {
    let count = usize::from(!body.is_empty());
    told(
        ("body", body),
        vec![
            ("status", status.into()),
            ("message", "".into()),
            ("header", json!({})),
            ("trailer", json!({})),
            ("count", count.into()),
        ],
    )
}

fn socket(status: u16, close: Value) -> Option<Answer> {
    let nothing = ("messages", if status == 101 { "[]" } else { "" });
    let parts = vec![
        ("messages", "".into()),
        ("count", 0.into()),
        ("close", close),
        ("status", status.into()),
        ("header", json!({})),
    ];
    told(nothing, parts)
}

fn terminal(code: i64) -> Option<Answer> {
    told(("screen", ""), vec![("screen", "".into()), ("exit_code", code.into()), ("title", "".into())])
}

/// An empty page, on which nothing can be acted on and nothing appears.
fn page(browser: &Browser) -> Option<Answer> {
    let seen = match &browser.action {
        Deed::Navigate { .. } | Deed::Screenshot {} | Deed::Press { selector: None, .. } => json!(""),
        Deed::Assert { .. } => Value::Null,
        Deed::Wait(Goal { selector, hidden, count, text: None, url: None, .. })
            if *count == Some(0) || count.is_none() && (*hidden || selector.is_none()) =>
        {
            json!("")
        }
        _ => return None,
    };
    let count = browser.action.selector().map(|_| 0);
    let mut parts: Vec<(&str, Value)> = vec![("text", seen.clone()), ("html", seen), ("count", json!(count))];
    parts.extend(["title", "tree", "console", "dialogs"].map(|word| (word, Value::from(""))));
    parts.push(("visible", json!(count.map(|_| false))));
    told(("text", ""), parts)
}

/// Whether `step` is decided, and holds, where the program answers like the one `at`.
fn holds_for(step: &Step, at: usize) -> bool {
    let [first, second] = nothing(&step.action);
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
    const WORDS: [(&str, [&str; 2]); 6] = [
        ("request", ["an empty 404", "an empty 200"]),
        ("exec", ["exit code 127", "exit code 0"]),
        ("grpc", ["UNIMPLEMENTED", "an empty message"]),
        ("ws", ["a refusal", "silence"]),
        ("tui", ["an empty screen", "an empty screen"]),
        ("browser", ["an empty page", "an empty page"]),
    ];
    let used = |word: &str| scenario.steps.iter().any(|step| step.action.word() == word);
    let words = WORDS.iter().filter(|(word, _)| used(word)).map(|(_, answers)| answers[at]);
    words.collect::<Vec<_>>().join(" or ")
}
