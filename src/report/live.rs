//! Progress on a terminal: the lines of [`super::lines`] scroll; below them are the running steps and one
//! line about the whole run.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::ProgressLines;
use super::units::{name, number, one_line, span, sums};
use super::{Paint, ProgressDisplay};
use crate::clock::Millis;
use crate::driver::Event;
use crate::id::Address;
use crate::view::{Board, ControlView, StepState, StepView};
use crate::visible;

const STEPS_SHOWN: usize = 8;
const REDRAWS_A_SECOND: u8 = 10;

/// The progress display for a terminal. Draws on standard error.
pub struct Live {
    teller: ProgressLines,
    paint: Paint,
    screen: MultiProgress,
    steps: Vec<ProgressBar>,
    foot: ProgressBar,
}

impl Live {
    /// Reserves the lower lines of the terminal.
    pub fn new(paint: Paint) -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND));
        let foot = screen.add(bar());
        Self { teller: ProgressLines::new(paint), paint, screen, steps: Vec::new(), foot }
    }

    fn print(&self, lines: Vec<String>) {
        for line in lines {
            // If the terminal is gone, the run continues.
            let _ = self.screen.println(visible::terminal(&line, self.paint.is_on()));
        }
    }

    fn draw(&mut self, now: Millis, board: &Board) {
        let lines = under_way(board, now);
        while self.steps.len() > lines.len() {
            if let Some(bar) = self.steps.pop() {
                self.screen.remove(&bar);
            }
        }
        while self.steps.len() < lines.len() {
            self.steps.push(self.screen.insert_before(&self.foot, bar()));
        }
        for (bar, line) in self.steps.iter().zip(lines) {
            bar.set_message(visible::terminal(&line, false).into_owned());
            bar.tick();
        }
        self.foot.set_message(self.paint.strong(visible::terminal(&foot(board, now), false)));
        self.foot.tick();
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

/// One line for each running leaf step, the longest running first.
fn under_way(board: &Board, now: Millis) -> Vec<String> {
    let open = |step: &StepView| !step.state.is_final() && step.control.is_none();
    let mut steps: Vec<(&Address, &StepView)> = board.iter().filter(|(_, step)| open(step)).collect();
    steps.sort_by_key(|(_, step)| (step.started_at, step.ordinal));
    let more = steps.len().saturating_sub(STEPS_SHOWN);
    let mut lines: Vec<String> =
        steps.into_iter().take(STEPS_SHOWN).map(|(address, step)| step_line(address, step, now)).collect();
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn step_line(address: &Address, step: &StepView, now: Millis) -> String {
    let mut parts = vec![address.to_string()];
    if step.state != StepState::Running {
        parts.push(step.state.word().to_owned());
    }
    if step.attempts > 1 {
        parts.push(format!("attempt {}", step.attempts));
    }
    parts.extend(step.duration(now).map(span));
    parts.extend(step.note.as_ref().map(|note| one_line(note, 100)));
    parts.join("  ")
}

/// The run in one line: its open loops and lists, the first figure of the latest rounds, the spending.
fn foot(board: &Board, now: Millis) -> String {
    let mut parts = vec![name(&board.pipeline)];
    let open = board.steps().into_iter().filter(|(_, step)| !step.state.is_final());
    for (address, control) in
        open.filter_map(|(address, step)| Some((address, step.control.as_ref()?))).take(4)
    {
        parts.extend(control_text(address, control));
    }
    if !board.spent.is_empty() {
        parts.push(sums(&board.spent));
    }
    parts.extend(board.started_at.map(|at| span(now.saturating_sub(at))));
    parts.join(" · ")
}

fn control_text(address: &Address, control: &ControlView) -> Option<String> {
    match control {
        ControlView::Loop { max, closed, rounds } => {
            let figure = |lets: &[(String, crate::value::Value)]| {
                lets.iter().find_map(|(name, value)| Some((name.clone(), number(value.as_f64()?))))
            };
            let latest: Vec<(String, String)> =
                rounds.iter().rev().take(10).filter_map(|r| figure(&r.lets)).collect();
            let name = latest.first().map(|(name, _)| format!(" · {name} ")).unwrap_or_default();
            let values: Vec<&str> = latest.iter().rev().map(|(_, value)| value.as_str()).collect();
            Some(format!("{address} round {}/{max}{name}{}", (closed + 1).min(*max), values.join(" ")))
        }
        ControlView::Each { total, closed, failed, .. } => {
            Some(format!("{address} {}", super::tree::items(*total, *closed, *failed)))
        }
        ControlView::Hold { .. } | ControlView::Call => None,
    }
}

impl ProgressDisplay for Live {
    fn event(&mut self, event: &Event, board: &Board) {
        let lines = self.teller.tell(event, board);
        self.print(lines);
    }

    fn tick(&mut self, now: Millis, board: &Board) {
        let lines = self.teller.overdue();
        self.print(lines);
        self.draw(now, board);
    }

    fn end(&mut self, _board: &Board) {
        for bar in self.steps.drain(..) {
            bar.finish_and_clear();
        }
        self.foot.set_message("");
        let _ = self.screen.clear();
    }

    fn say(&mut self, text: &str) {
        self.print(text.lines().map(str::to_owned).collect());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::{Changes, Fact, Opening, Payload, Record};

    #[test]
    fn the_foot_shows_the_round_and_the_first_figure() {
        let mut board = Board::new();
        board.pipeline = "factory".to_owned();
        let mut add = |address: &str, at: Millis, fact: Fact| {
            board.apply_record(&Record { at, address: Address::new(address), attempt: 1, fact });
        };
        add(
            "converge",
            1_000,
            Fact::Opened { with: Opening::Loop { max: 10, over: None, state: Payload::value(json!({})) } },
        );
        for (n, score) in [(1, 12.5), (2, 40.0)] {
            let lets = Payload::value(json!({"improved": true, "score": score}));
            add(
                &format!("converge#{n}"),
                2_000,
                Fact::RoundClosed { lets, changes: Changes::new(), state: None, rule: None, exit: None },
            );
        }
        for n in 0..10 {
            add(
                &format!("converge#3/s{n}"),
                3_000 + n,
                Fact::Started { key: None, reserved: crate::meter::Meter::new() },
            );
        }
        assert_eq!(foot(&board, 9_000), "factory · converge round 3/10 · score 12.5 40");
        let lines = under_way(&board, 9_000);
        assert_eq!((lines.len(), lines[0].as_str()), (9, "converge#3/s0  6.0 s"));
        assert_eq!(lines[8], "… and 2 more");
    }
}
