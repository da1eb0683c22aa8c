//! The result of a run: the object for machines (`version: 1`, stable keys) and the last lines for people.

use std::fmt::Write as _;

use serde_json::{Map, json};

use super::Paint;
use super::units::{hanging, harmless, moment, name, one_line, rfc3339, span, sums};
use crate::clock::Millis;
use crate::engine::{INTERRUPTED, LateFailure, Pause, Payload, Reason};
use crate::id::Address;
use crate::value::Value;
use crate::verb::Failure;
use crate::view::{Board, ControlView, Status, StepState, StepView};

/// The number of reasons and questions that are shown, and the length of their lines in characters.
const SHOWN: usize = 20;
/// The number of questions that are shown with the command that answers them.
const COMMANDS: usize = 5;
const LINE: usize = 400;

/// The state of a run, with what the board does not contain.
pub struct RunEnding<'a> {
    /// State of the run.
    pub board: &'a Board,
    /// Exit code.
    pub code: i32,
    /// Outputs, or those so far.
    pub outputs: Option<&'a Value>,
    /// Current time.
    pub now: Millis,
}

impl RunEnding<'_> {
    /// `{version, run, pipeline, status, code, message?, started_at, finished_at, outputs, items?,
    /// always_failed[]?, spent, steps[]}`.
    pub fn json(&self) -> Value {
        let board = self.board;
        let finished = matches!(board.status, Status::Finished { .. });
        let steps: Vec<Value> =
            board.steps().into_iter().map(|(at, step)| step_json(at.as_str(), step)).collect();
        let mut object = Map::new();
        object.insert("version".into(), json!(1));
        object.insert("run".into(), json!(board.run));
        object.insert("pipeline".into(), json!(board.pipeline));
        object.insert("status".into(), json!(board.status.word()));
        object.insert("code".into(), json!(self.code));
        if let Status::Paused { message, reasons, .. } = &board.status {
            object.insert("message".into(), json!(message));
            if !reasons.is_empty() {
                object.insert("reasons".into(), json!(reasons));
            }
            if !board.at_pause.is_empty() {
                let ran = |(step, failure): &(String, Option<Failure>)| json!({"step": step, "error": failure.as_ref().map_or(Value::Null, failure_json)});
                object.insert("on_pause".into(), board.at_pause.iter().map(ran).collect());
            }
        }
        object.insert("started_at".into(), json!(board.started_at.map(rfc3339)));
        object.insert("finished_at".into(), json!(finished.then(|| rfc3339(board.last_at))));
        object.insert("outputs".into(), self.outputs.cloned().unwrap_or(Value::Null));
        if let Some(items) = ItemCounts::of(board) {
            object.insert(
                "items".into(),
                json!({"done": items.done, "failed": items.failed, "total": items.total}),
            );
        }
        if !board.always_failed.is_empty() {
            let failed =
                |late: &LateFailure| json!({"step": late.step, "error": failure_json(&late.failure)});
            object.insert("always_failed".into(), board.always_failed.iter().map(failed).collect());
        }
        object.insert("spent".into(), json!(board.spent));
        object.insert("steps".into(), Value::Array(steps));
        Value::Object(object)
    }

    /// The last line of every run: how it ended, duration and cost, and what to do next.
    pub fn summary(&self, paint: Paint) -> String {
        let board = self.board;
        let mark = if self.code == 0 { paint.good("✓") } else { paint.bad("✗") };
        let took = board.started_at.map(|at| span(board.last_at.saturating_sub(at)));
        let mut parts =
            vec![format!("{mark} {} {}", name(&board.pipeline), paint.strong(name(board.status.word())))];
        parts.extend(ItemCounts::of(board).map(|items| format!("{} of {} items", items.done, items.total)));
        parts.extend(took);
        if !board.spent.is_empty() {
            parts.push(sums(&board.spent));
        }
        parts.extend(board.run.as_ref().map(|run| format!("run {run}")));
        parts.push(format!("exit {}", self.code));
        let mut text = parts.join(" · ");
        if let Status::Paused { pause, message, reasons } = &board.status {
            text.push_str(&waits(message, reasons, "\n  "));
            text.push_str(&at_pause(board, paint, "\n  "));
            text.push_str(&so_far(self.outputs, paint, "\n  "));
            text.push_str(&next(board, *pause));
        }
        text.push_str(&late(board, paint, "\n  "));
        if let (Status::Finished { code: 1, .. }, Some(run)) = (&board.status, &board.run) {
            let _ = write!(
                text,
                "\n  `atoll resume {run} --replan` starts over with the current files and reuses recorded results"
            );
        }
        text
    }

    /// The first failed steps, each with its hint.
    pub fn failures(&self, paint: Paint) -> String {
        let mut text = String::new();
        let late = |at: &Address| self.board.always_failed.iter().any(|late| late.step == at.as_str());
        let failed = self.board.steps().into_iter();
        let failed = failed.filter(|(at, step)| step.state == StepState::Failed && !late(at));
        for (address, failure) in failed.filter_map(|(at, step)| Some((at, step.failure.as_ref()?))).take(10)
        {
            let _ = writeln!(text, "{} {address}: {}", paint.bad("✗"), hanging(&failure.to_string(), "  "));
            if let Some(hint) = &failure.hint {
                let _ = writeln!(text, "  {}", hanging(hint, "  "));
            }
        }
        text
    }
}

/// The numbers of succeeded and failed items of all `each` steps, if any failed.
struct ItemCounts {
    done: u64,
    failed: u64,
    total: u64,
}

impl ItemCounts {
    fn of(board: &Board) -> Option<Self> {
        let mut sum = Self { done: 0, failed: 0, total: 0 };
        for (_, step) in board.iter() {
            if let Some(ControlView::Each { total, closed, failed, .. }) = &step.control
                && *failed > 0
            {
                sum.done += closed.saturating_sub(*failed);
                sum.failed += failed;
                sum.total += total.unwrap_or(*closed);
            }
        }
        (sum.failed > 0).then_some(sum)
    }
}

/// The head of `show`: the run, its status and its times.
pub fn heading(board: &Board, now: Millis, paint: Paint) -> String {
    let run = board.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut text = format!(
        "{} {} · {}",
        paint.strong(name(&board.pipeline)),
        run,
        paint.strong(name(board.status.word()))
    );
    if let Status::Finished { code, .. } = &board.status {
        let _ = write!(text, " (exit {code})");
    }
    if let Some(at) = board.started_at {
        let end = if board.status == Status::Running { now } else { board.last_at };
        let _ = write!(text, "\nstarted {}, {}", moment(at), span(end.saturating_sub(at)));
    }
    if !board.spent.is_empty() {
        let _ = write!(text, ", {}", sums(&board.spent));
    }
    match &board.status {
        Status::Paused { pause, message, reasons } => {
            text.push_str(&waits(message, reasons, "\n"));
            text.push_str(&at_pause(board, paint, "\n"));
            text.push_str(&next(board, *pause));
        }
        Status::Interrupted => {
            let _ = write!(text, "\n  {}", INTERRUPTED.hint.replace("RUN", &run));
        }
        Status::Running => {
            for (address, step) in asking(board) {
                let question = step.question.as_ref().map(|question| one_line(&question.text, LINE));
                let _ = write!(text, "\n`{address}` asks: {}", question.unwrap_or_default());
            }
            text.push_str(&answers(board, &run));
        }
        Status::Finished { .. } => text.push_str(&late(board, paint, "\n")),
        Status::Unborn => {}
    }
    text
}

/// What a paused run waits for, one line each.
fn waits(message: &str, reasons: &[Reason], before: &str) -> String {
    if reasons.is_empty() {
        return format!("{before}{}", one_line(message, LINE));
    }
    let mut text = String::new();
    for reason in reasons.iter().take(SHOWN) {
        let _ = write!(text, "{before}{}", one_line(&reason.message, LINE));
    }
    if reasons.len() > SHOWN {
        let _ = write!(text, "{before}… and {} more", reasons.len() - SHOWN);
    }
    text
}

/// The steps that ran because of the pause, one line each.
fn at_pause(board: &Board, paint: Paint, before: &str) -> String {
    let mut text = String::new();
    for (step, failure) in board.at_pause.iter().take(SHOWN) {
        let _ = match failure {
            None => write!(text, "{before}{} `{step}` ran because of the pause", paint.good("✓")),
            Some(failure) => {
                let why = one_line(&failure.to_string(), LINE);
                write!(text, "{before}{} `{step}` failed at the pause: {why}", paint.bad("✗"))
            }
        };
    }
    text
}

/// The `always` steps that failed, one line each.
fn late(board: &Board, paint: Paint, before: &str) -> String {
    let mut text = String::new();
    for late in board.always_failed.iter().take(SHOWN) {
        let why = one_line(&late.failure.to_string(), LINE);
        let _ = write!(text, "{before}{} `{}` (`always`) failed: {why}", paint.bad("✗"), late.step);
    }
    if board.always_failed.len() > SHOWN {
        let _ = write!(text, "{before}… and {} more", board.always_failed.len() - SHOWN);
    }
    text
}

/// The outputs so far, one line each, except empty ones.
fn so_far(outputs: Option<&Value>, paint: Paint, before: &str) -> String {
    let mut text = String::new();
    let says = |value: &Value| !value.is_null() && *value != json!([]) && *value != json!({});
    let table = outputs.and_then(Value::as_object).into_iter().flatten();
    for (key, value) in table.filter(|(_, value)| says(value)).take(SHOWN) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(text, "{before}{} so far: {}", paint.strong(name(key)), one_line(&value, 100));
    }
    text
}

/// What to do about a pause: how to answer each question, and the hint of the status.
fn next(board: &Board, pause: Pause) -> String {
    let run = board.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let answers = answers(board, &run);
    if !answers.is_empty() && pause == Pause::Waiting {
        return answers;
    }
    format!("{answers}\n  {}", pause.status().hint.replace("RUN", &run))
}

fn answers(board: &Board, run: &str) -> String {
    let mut text = String::new();
    for (address, step) in asking(board).into_iter().take(COMMANDS) {
        // A shell would expand brackets as a pattern.
        let quote = if address.as_str().contains('[') { "'" } else { "" };
        let _ = write!(text, "\n  `atoll answer {run} {quote}{address}{quote} VALUE` answers");
        let choices = step.question.iter().flat_map(|question| &question.choices).take(6).map(word);
        let choices: Vec<String> = choices.collect();
        if !choices.is_empty() {
            let _ = write!(text, ": {}", choices.join(", "));
        }
    }
    text
}

fn word(value: &Value) -> String {
    one_line(&value.as_str().map_or_else(|| value.to_string(), str::to_owned), 40)
}

/// The first open questions.
fn asking(board: &Board) -> Vec<(&Address, &StepView)> {
    let asking = board.steps().into_iter().filter(|(_, step)| step.state == StepState::Asking);
    asking.take(SHOWN).collect()
}

/// Outputs as `name: value` lines; text of several lines is indented below its name.
pub fn outputs_text(outputs: &Value, paint: Paint) -> String {
    let mut text = String::new();
    let Some(table) = outputs.as_object() else { return text };
    for (key, value) in table {
        let name = paint.strong(name(key));
        match value {
            Value::String(words) if words.contains('\n') => {
                let _ = writeln!(text, "{name}:");
                for line in harmless(words).lines() {
                    let _ = writeln!(text, "  {line}");
                }
            }
            Value::String(word) => {
                let _ = writeln!(text, "{name}: {}", harmless(word));
            }
            other => {
                let _ = writeln!(text, "{name}: {}", harmless(&other.to_string()));
            }
        }
    }
    text
}

/// A failure as `{class, message, hint?}`.
pub fn failure_json(failure: &Failure) -> Value {
    let mut object = json!({"class": failure.class.word(), "message": failure.message});
    if let Some(hint) = &failure.hint {
        object["hint"] = json!(hint);
    }
    object
}

fn step_json(address: &str, step: &StepView) -> Value {
    let mut object = Map::new();
    object.insert("address".into(), json!(address));
    object.insert("state".into(), json!(step.state.word()));
    object.insert("attempts".into(), json!(step.attempts));
    object.insert("started_at".into(), json!(step.started_at.map(rfc3339)));
    object.insert("ended_at".into(), json!(step.ended_at.map(rfc3339)));
    object.insert("duration_ms".into(), json!(step.ended_at.and_then(|end| step.duration(end))));
    object.insert("spent".into(), json!(step.spent));
    object.insert("error".into(), step.failure.as_ref().map_or(Value::Null, failure_json));
    if let Some(reason) = &step.skipped {
        object.insert("skipped".into(), json!(reason));
    }
    if let Some(pause) = step.waits {
        object.insert("waits".into(), json!(pause));
    }
    if step.cached {
        object.insert("cached".into(), json!(true));
    }
    match &step.output {
        Some(Payload::Value(value)) => drop(object.insert("output".into(), (**value).clone())),
        Some(Payload::Blob(blob)) => drop(object.insert("output_blob".into(), json!(blob))),
        Some(Payload::Items(count)) => {
            let failed = match &step.control {
                Some(ControlView::Each { failed, .. }) => *failed,
                _ => 0,
            };
            object.insert("output_items".into(), json!(u64::from(*count).saturating_sub(failed)));
        }
        None => {}
    }
    if let Some(question) = &step.question {
        object.insert(
            "question".into(),
            json!({
                "text": question.text, "choices": question.choices, "type": question.answer, "show": question.show,
                "default": question.default, "until": question.until.map(rfc3339),
                "at_deadline": question.at_deadline, "digest": question.digest,
            }),
        );
    }
    if let Some(control) = &step.control {
        object.insert("control".into(), control_json(control));
    }
    Value::Object(object)
}

fn control_json(control: &ControlView) -> Value {
    match control {
        ControlView::Loop { max, closed, rounds } => {
            let rounds: Vec<Value> = rounds
                .iter()
                .map(|round| {
                    let lets: Map<String, Value> = round.lets.iter().cloned().collect();
                    json!({"round": round.number, "let": lets, "rule": round.rule, "exit": round.exit})
                })
                .collect();
            json!({"kind": "loop", "max": max, "closed": closed, "rounds": rounds})
        }
        ControlView::Each { total, closed, failed, mishaps } => {
            let mishaps: Vec<Value> = mishaps
                .iter()
                .map(|m| json!({"index": m.index, "key": m.key, "message": m.message}))
                .collect();
            json!({"kind": "each", "total": total, "closed": closed, "failed": failed, "failures": mishaps})
        }
        ControlView::Hold { held } => json!({"kind": "hold", "held": held}),
        ControlView::Call => json!({"kind": "call"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Fact, Pause, Record};
    use crate::id::{Address, RunId};
    use crate::meter::Meter;
    use crate::value::Digest;

    fn board(facts: Vec<(&str, Fact)>) -> Board {
        let mut board = Board::new();
        board.run = Some(RunId::new("01run"));
        let inputs = Payload::value(json!({}));
        let begun = Fact::RunStarted {
            pipeline: "demo".into(),
            plan: Digest::of("p"),
            inputs,
            seed: 1,
            format: crate::engine::FORMAT,
            at_start: indexmap::IndexMap::new(),
        };
        for (n, (address, fact)) in [("", begun)].into_iter().chain(facts).enumerate() {
            let at = 1_000 * (n as Millis + 1);
            board.apply_record(&Record { at, address: Address::new(address), attempt: 1, fact });
        }
        board
    }

    #[test]
    fn the_object_has_stable_keys() {
        let spent = Meter::new().with("usd", 0.5);
        let outputs = json!({"score": 0.5, "text": "a\nb"});
        let board = board(vec![
            ("a", Fact::Started { key: None, reserved: Meter::new() }),
            ("a", Fact::Succeeded { output: Payload::value(json!(7)), spent, cached: false }),
            (
                "",
                Fact::Finished {
                    status: "unclear".into(),
                    code: 4,
                    outputs: Payload::value(outputs.clone()),
                    always_failed: Vec::new(),
                },
            ),
        ]);
        let ending = RunEnding { board: &board, code: 4, outputs: Some(&outputs), now: 9_000 };
        assert_eq!(
            ending.json(),
            json!({
                "version": 1, "run": "01run", "pipeline": "demo", "status": "unclear", "code": 4,
                "started_at": "1970-01-01T00:00:01.000Z", "finished_at": "1970-01-01T00:00:04.000Z",
                "outputs": outputs, "spent": {"usd": 0.5},
                "steps": [{
                    "address": "a", "state": "done", "attempts": 1, "started_at": "1970-01-01T00:00:02.000Z",
                    "ended_at": "1970-01-01T00:00:03.000Z", "duration_ms": 1000, "spent": {"usd": 0.5},
                    "error": null, "output": 7,
                }],
            })
        );
        assert_eq!(ending.summary(Paint::PLAIN), "✗ demo unclear · 3.0 s · $0.50 · run 01run · exit 4");
        assert_eq!(outputs_text(&outputs, Paint::PLAIN), "score: 0.5\ntext:\n  a\n  b\n");
    }

    #[test]
    fn a_pause_says_how_to_go_on() {
        let board = board(vec![(
            "",
            Fact::Paused { pause: Pause::Budget, message: "usd 5 is reached".into(), reasons: Vec::new() },
        )]);
        let ending = RunEnding { board: &board, code: 5, outputs: None, now: 9_000 };
        let summary = ending.summary(Paint::PLAIN);
        assert!(
            summary.ends_with("exit 5\n  usd 5 is reached\n  `atoll resume 01run --limit UNIT=N` continues it with a higher limit"),
            "{summary}"
        );
        assert_eq!(ending.json()["finished_at"], Value::Null);
        assert_eq!(ending.json()["message"], "usd 5 is reached");
    }

    #[test]
    fn failures_come_with_their_hints() {
        let failure = Failure::permanent("bad \u{1b}[31mthing").hint("fix it");
        let board = board(vec![("a", Fact::Failed { failure })]);
        let ending = RunEnding { board: &board, code: 1, outputs: None, now: 9_000 };
        assert_eq!(ending.failures(Paint::PLAIN), "✗ a: permanent: bad \\u{1b}[31mthing\n  fix it\n");
    }
}
