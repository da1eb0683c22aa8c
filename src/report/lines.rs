//! Progress as plain lines: for log files and pipes, and above the live lines of a terminal.

use std::io::Write;

use super::tree::{glyph, items, remark, round_figures};
use super::units::{name, one_line, span, time_of_day};
use super::{Paint, ProgressDisplay};
use crate::clock::Millis;
use crate::driver::Event;
use crate::engine::{Fact, Record};
use crate::id::{Address, StepId};
use crate::verb::Note;
use crate::view::{Board, ControlView, StepState, enclosing};
use crate::visible;

const WIDTH: usize = 200;

/// Turns events into lines. Items of an `each` are reported by count, in about twenty lines for any number of
/// items; a step that ends as soon as it starts has one line.
pub struct ProgressLines {
    paint: Paint,
    begun: Option<(Address, Millis)>,
}

impl ProgressLines {
    /// A fresh one, without previous output.
    pub fn new(paint: Paint) -> Self {
        Self { paint, begun: None }
    }

    /// The lines for `event`; `board` already includes it.
    pub fn tell(&mut self, event: &Event, board: &Board) -> Vec<String> {
        let mut lines = Vec::new();
        match event {
            Event::Fact { record, .. } => {
                self.announce(Some(record), &mut lines);
                lines.extend(self.fact(record, board));
            }
            Event::Note { address, note: Note::Line { text }, .. } if !inside_items(address) => {
                self.announce(None, &mut lines);
                lines.push(format!(
                    "           {address} {} {}",
                    self.paint.faint("│"),
                    one_line(text, WIDTH)
                ));
            }
            Event::Note { .. } | Event::Past { .. } => {}
        }
        lines
    }

    /// The line about a step that started a while ago and is still running.
    pub fn overdue(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.announce(None, &mut lines);
        lines
    }

    fn announce(&mut self, record: Option<&Record>, lines: &mut Vec<String>) {
        let Some((address, at)) = self.begun.take() else { return };
        let ended = record.is_some_and(|record| {
            record.address == address && matches!(record.fact, Fact::Succeeded { .. } | Fact::Failed { .. })
        });
        if !ended {
            lines.push(self.line(at, &glyph(StepState::Running, self.paint), &address, "begins"));
        }
    }

    fn fact(&mut self, record: &Record, board: &Board) -> Option<String> {
        let Record { at, address, attempt, fact } = record;
        if inside_items(address) && !matches!(fact, Fact::ItemClosed { .. } | Fact::Asked(_)) {
            return None;
        }
        let step = board.step(address);
        let say =
            |state: StepState, text: &str| Some(self.line(*at, &glyph(state, self.paint), address, text));
        match fact {
            Fact::Started { .. } if *attempt <= 1 => {
                self.begun = Some((address.clone(), *at));
                None
            }
            Fact::Started { .. } => say(StepState::Running, &format!("attempt {attempt}")),
            Fact::Opened { .. } => say(StepState::Running, &remark(step?, *at)),
            Fact::Acquired { .. } => say(StepState::Running, "held"),
            Fact::Released { .. } => say(StepState::Done, "released"),
            Fact::Interrupted { .. } => say(StepState::Waiting, "was interrupted"),
            Fact::Lost => say(StepState::Waiting, "its resource was lost, its body runs again"),
            Fact::Faltered { failure, again_at, .. } => {
                let failure = one_line(&failure.to_string(), WIDTH);
                let again = again_at.map_or_else(
                    || "waits until the run is resumed".to_owned(),
                    |again_at| format!("again in {}", span(again_at.saturating_sub(*at))),
                );
                say(StepState::Waiting, &format!("{failure}, {again}"))
            }
            Fact::Succeeded { .. } | Fact::Failed { .. } | Fact::Skipped { .. } => {
                let step = step?;
                say(step.state, &remark(step, *at))
            }
            Fact::RoundClosed { .. } => {
                let outer = board.step(&enclosing(address)?)?;
                let Some(ControlView::Loop { rounds, .. }) = &outer.control else { return None };
                say(StepState::Done, &self.paint.strong(round_figures(rounds.back()?)))
            }
            Fact::ItemClosed { failed, .. } => self.item(record, board, *failed),
            Fact::Asked(question) => say(StepState::Asking, &one_line(&question.text, WIDTH)),
            Fact::Answered { answer, by, .. } => say(
                StepState::Done,
                &format!("answered {} by {}", one_line(&answer.to_string(), 60), name(by)),
            ),
            Fact::RunStarted { pipeline, .. } => {
                let run = board.run.as_ref().map(ToString::to_string).unwrap_or_default();
                let what = format!("{} run {run}", self.paint.strong(name(pipeline)));
                Some(format!("{}   {what}", self.paint.faint(time_of_day(*at))))
            }
            Fact::Resumed => Some(format!("{}   resumed", self.paint.faint(time_of_day(*at)))),
            Fact::Paused { message, .. } => {
                Some(format!("{}   pauses: {}", self.paint.faint(time_of_day(*at)), one_line(message, WIDTH)))
            }
            Fact::PausedStep { step, failure, .. } => {
                let (state, text) = match failure {
                    None => (StepState::Done, "ran because of the pause".to_owned()),
                    Some(failure) => (StepState::Failed, format!("failed at the pause: {failure}")),
                };
                let step = Address::root().step(&StepId::new(step));
                Some(self.line(*at, &glyph(state, self.paint), &step, &one_line(&text, WIDTH)))
            }
            Fact::Limited { caps, by } => {
                let caps: Vec<String> = caps.iter().map(|(unit, cap)| format!("{unit}={cap}")).collect();
                say(StepState::Running, &one_line(&format!("limits set by {by}: {}", caps.join(", ")), WIDTH))
            }
            Fact::Reserved { .. }
            | Fact::Settled { .. }
            | Fact::CursorSaved { .. }
            | Fact::CacheKey(_)
            | Fact::Finished { .. }
            | Fact::Accepted(_)
            | Fact::Polled(_)
            | Fact::Parked(_) => None,
        }
    }

    fn item(&self, record: &Record, board: &Board, is_failure: bool) -> Option<String> {
        let each = enclosing(&record.address)?;
        let step = board.step(&each)?;
        let Some(ControlView::Each { total, closed, failed, mishaps }) = &step.control else { return None };
        if inside_items(&each) {
            return None;
        }
        if is_failure && *failed <= mishaps.len() as u64 {
            let text = mishaps.last().map(|mishap| one_line(&mishap.message, WIDTH)).unwrap_or_default();
            return Some(self.line(record.at, &glyph(StepState::Failed, self.paint), &record.address, &text));
        }
        let part = (total.unwrap_or(20_000) / 20).max(1);
        (closed % part == 0).then(|| {
            let text = items(*total, *closed, *failed);
            self.line(record.at, &glyph(StepState::Running, self.paint), &each, &text)
        })
    }

    fn line(&self, at: Millis, glyph: &str, address: &Address, text: &str) -> String {
        format!("{} {glyph} {address}  {text}", self.paint.faint(time_of_day(at))).trim_end().to_owned()
    }
}

fn inside_items(address: &Address) -> bool {
    address.as_str().contains('[')
}

/// Prints each line as soon as it is known.
pub struct PlainProgress<W: Write + Send> {
    out: W,
    teller: ProgressLines,
}

impl<W: Write + Send> PlainProgress<W> {
    /// Writes to `out`.
    pub fn new(out: W, paint: Paint) -> Self {
        Self { out, teller: ProgressLines::new(paint) }
    }

    fn write(&mut self, lines: Vec<String>) {
        for line in lines {
            // If the reader of the output is gone, the run continues.
            let _ = writeln!(self.out, "{}", visible::terminal(&line, self.teller.paint.is_on()));
        }
    }
}

impl<W: Write + Send> ProgressDisplay for PlainProgress<W> {
    fn event(&mut self, event: &Event, board: &Board) {
        let lines = self.teller.tell(event, board);
        self.write(lines);
    }

    fn tick(&mut self, _now: Millis, _board: &Board) {
        let lines = self.teller.overdue();
        self.write(lines);
    }

    fn end(&mut self, _board: &Board) {
        let _ = self.out.flush();
    }

    fn say(&mut self, text: &str) {
        self.write(vec![text.to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::engine::{Opening, Payload};
    use crate::id::RunId;
    use crate::meter::Meter;
    use crate::verb::Failure;

    fn told(facts: Vec<(&str, u32, Fact)>) -> Vec<String> {
        let (mut board, mut teller, mut lines) = (Board::new(), ProgressLines::new(Paint::PLAIN), Vec::new());
        for (n, (address, attempt, fact)) in facts.into_iter().enumerate() {
            let record = Arc::new(Record { at: 1_000, address: Address::new(address), attempt, fact });
            let event = Event::Fact { run: RunId::new("01run"), seq: n as u64, record };
            board.apply(&event);
            lines.extend(teller.tell(&event, &board));
        }
        lines
    }

    fn done() -> Fact {
        Fact::Succeeded { output: Payload::value(json!("x")), spent: Meter::new(), cached: false }
    }

    #[test]
    fn instant_steps_get_one_line_and_long_ones_two() {
        let started = || Fact::Started { key: None, reserved: Meter::new() };
        let lines = told(vec![
            ("a", 1, started()),
            ("a", 1, done()),
            ("b", 1, started()),
            ("c", 1, started()),
            ("c", 1, done()),
            ("b", 1, Fact::Failed { failure: Failure::permanent("no\nmore") }),
        ]);
        assert_eq!(
            lines,
            [
                "00:00:01 ✓ a  0 ms · \"x\"",
                "00:00:01 ● b  begins",
                "00:00:01 ✓ c  0 ms · \"x\"",
                "00:00:01 ✗ b  failed · 0 ms · permanent: no more",
            ]
        );
    }

    #[test]
    fn wide_work_is_told_by_its_count() {
        let over = Payload::value((0..1_000).map(|n| json!(n)).collect());
        let mut facts = vec![(
            "j",
            0,
            Fact::Opened { with: Opening::Each { over, parallel: 1, max_failures: None, keys: None } },
        )];
        let places: Vec<String> = (0..1_000).map(|n| format!("j[{n}]")).collect();
        for (n, item) in places.iter().enumerate() {
            let result = Payload::value(json!({"ok": false, "error": {"message": "broke"}}));
            facts.push((item, 0, Fact::ItemClosed { result, failed: n == 3, skipped: false }));
        }
        let lines = told(facts);
        assert_eq!(lines.len(), 22);
        assert_eq!(lines[1], "00:00:01 ✗ j[3]  broke");
        assert_eq!(lines[2], "00:00:01 ● j  50 of 1000 items, 1 failed");
    }
}
