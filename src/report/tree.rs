//! The steps of a run as an indented tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Paint;
use super::units::{dollars, number, one_line, span, sums};
use crate::clock::Millis;
use crate::engine::{Payload, SkipReason};
use crate::id::Address;
use crate::value::Value;
use crate::view::{Board, ControlView, RoundView, StepState, StepView, body_of, enclosing, round_or_item};

const TEXT_WIDTH: usize = 100;

/// The tree; the duration of running steps is measured until `now`.
pub fn tree(board: &Board, now: Millis, paint: Paint) -> String {
    let mut bodies: BTreeMap<&str, Vec<(&Address, &StepView)>> = BTreeMap::new();
    let mut instances: BTreeMap<Address, BTreeSet<u32>> = BTreeMap::new();
    for (address, step) in board.steps() {
        let body = body_of(address);
        bodies.entry(body).or_default().push((address, step));
        let body = Address::new(body);
        if let (Some(number), Some(step)) = (round_or_item(&body), enclosing(&body)) {
            instances.entry(step).or_default().insert(number);
        }
    }
    let mut out = StepTree { bodies, instances, now, paint, text: String::new() };
    out.body("", 0);
    out.text
}

struct StepTree<'a> {
    bodies: BTreeMap<&'a str, Vec<(&'a Address, &'a StepView)>>,
    instances: BTreeMap<Address, BTreeSet<u32>>,
    now: Millis,
    paint: Paint,
    text: String,
}

impl StepTree<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{}", "", text.trim_end(), indent = depth * 2);
    }

    fn body(&mut self, body: &str, depth: usize) {
        let Some(steps) = self.bodies.remove(body) else { return };
        for (address, step) in steps {
            self.step(address, step, depth);
        }
    }

    fn step(&mut self, address: &Address, step: &StepView, depth: usize) {
        let name = address.as_str().rsplit('/').next().unwrap_or_default();
        let line = format!(
            "{} {}  {}",
            glyph(step.state, self.paint),
            name,
            self.paint.faint(remark(step, self.now))
        );
        self.line(depth, &line);
        let inside = self.instances.remove(address).unwrap_or_default();
        match &step.control {
            Some(ControlView::Loop { rounds, .. }) => {
                let closed: BTreeMap<u32, &RoundView> =
                    rounds.iter().map(|round| (round.number, round)).collect();
                let numbers: BTreeSet<u32> = inside.iter().chain(closed.keys()).copied().collect();
                for n in numbers {
                    let figures = closed.get(&n).map(|round| self.paint.strong(round_figures(round)));
                    self.line(depth + 1, &format!("#{n}  {}", figures.unwrap_or_default()));
                    self.body(address.round(n).as_str(), depth + 2);
                }
            }
            Some(ControlView::Each { mishaps, .. }) => {
                for mishap in mishaps {
                    let key = mishap.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
                    let text = one_line(&format!("[{}]{key}: {}", mishap.index, mishap.message), TEXT_WIDTH);
                    let line = format!("{} {text}", glyph(StepState::Failed, self.paint));
                    self.line(depth + 1, &line);
                }
                for n in inside {
                    self.line(depth + 1, &format!("[{n}]"));
                    self.body(address.item(n).as_str(), depth + 2);
                }
            }
            Some(ControlView::Hold { .. } | ControlView::Call) | None => {
                self.body(address.as_str(), depth + 1);
            }
        }
    }
}

/// One character for a state.
pub fn glyph(state: StepState, paint: Paint) -> String {
    match state {
        StepState::Running => paint.strong("●"),
        StepState::Waiting => paint.warm("◌"),
        StepState::Asking => paint.warm("?"),
        StepState::Done => paint.good("✓"),
        StepState::Failed => paint.bad("✗"),
        StepState::Skipped => paint.faint("–"),
    }
}

/// The details of a step on its line.
pub fn remark(step: &StepView, now: Millis) -> String {
    let mut parts = Vec::new();
    match (step.state, step.waits) {
        (StepState::Done, _) => {}
        (StepState::Waiting, Some(pause)) => parts.push(format!("waits: {}", pause.status().word)),
        (state, _) => parts.push(state.word().to_owned()),
    }
    match &step.control {
        Some(ControlView::Loop { max, closed, .. }) => {
            parts.push(format!("{closed} of at most {max} rounds"));
        }
        Some(ControlView::Each { total, closed, failed, .. }) => parts.push(items(*total, *closed, *failed)),
        Some(ControlView::Hold { held: true }) => parts.push("held".to_owned()),
        Some(ControlView::Hold { held: false } | ControlView::Call) | None => {}
    }
    if step.attempts > 1 {
        parts.push(format!("{} attempts", step.attempts));
    }
    parts.extend(step.duration(now).map(span));
    if step.cached {
        parts.push("from an earlier run".to_owned());
    }
    if !step.spent.is_empty() {
        parts.push(sums(&step.spent));
    }
    parts.extend(step.skipped.as_ref().map(skip_reason));
    if let Some(failure) = &step.failure {
        parts.push(one_line(&failure.to_string(), TEXT_WIDTH));
        parts.extend(failure.hint.as_ref().map(|hint| one_line(hint, TEXT_WIDTH)));
    }
    parts.extend(step.question.as_ref().map(|question| one_line(&question.text, TEXT_WIDTH)));
    if let (None, Some(Payload::Value(value))) = (&step.control, &step.output) {
        parts.push(one_line(&value.to_string(), 60));
    }
    parts.join(" · ")
}

/// The numbers of closed, total and failed items.
pub fn items(total: Option<u64>, closed: u64, failed: u64) -> String {
    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
    let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{closed}{of} items{failures}")
}

/// The reason why a step did not run.
pub fn skip_reason(reason: &SkipReason) -> String {
    match reason {
        SkipReason::When { expression, values } => {
            let values: Vec<String> = values
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| *name != expression)
                .map(|(name, value)| format!("{name} = {}", one_line(&value.to_string(), 40)))
                .collect();
            let values =
                if values.is_empty() { String::new() } else { format!(" with {}", values.join(", ")) };
            format!("`{}` is false{values}", one_line(expression, TEXT_WIDTH))
        }
        SkipReason::AfterFailure { step } => format!("`{step}` failed"),
        SkipReason::AfterSkip { step } => format!("`{step}` was skipped"),
    }
}

/// The figures of a closed round, its rule and its exit.
pub fn round_figures(round: &RoundView) -> String {
    let mut parts: Vec<String> =
        round.lets.iter().map(|(name, value)| format!("{name} {}", figure(name, value))).collect();
    parts.extend(round.rule.as_ref().map(|rule| format!("rule {}", super::units::name(rule))));
    parts.extend(round.exit.as_ref().map(|exit| format!("→ {}", super::units::name(exit))));
    parts.join(" · ")
}

fn figure(name: &str, value: &Value) -> String {
    match value.as_f64() {
        Some(amount) if name == "usd" => dollars(amount),
        Some(amount) => number(amount),
        None => one_line(&value.to_string(), TEXT_WIDTH),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::{Changes, Fact, Opening, Record};
    use crate::verb::Failure;

    #[test]
    fn a_tree_shows_rounds_items_and_reasons() {
        let mut board = Board::new();
        let mut at = 1_000;
        let mut add = |address: &str, fact: Fact| {
            at += 100;
            board.apply_record(&Record { at, address: Address::new(address), attempt: 1, fact });
        };
        let done = || Fact::Succeeded {
            output: Payload::value(json!({"n": 1})),
            spent: crate::meter::Meter::new().with("usd", 0.5),
            cached: false,
        };
        let with = Opening::Loop { max: 9, over: None, state: Payload::value(json!({})) };
        add("converge", Fact::Opened { with });
        add("converge#1/make", Fact::Started { key: None, reserved: crate::meter::Meter::new() });
        add("converge#1/make", done());
        let lets = Payload::value(json!({"score": 57.333_333, "better": true}));
        add(
            "converge#1",
            Fact::RoundClosed {
                lets,
                changes: Changes::new(),
                state: None,
                rule: Some("relax".into()),
                exit: None,
            },
        );
        let over = Payload::value(json!([1, 2]));
        let with = Opening::Each { over, parallel: 1, max_failures: None, keys: None };
        add("converge#2/judge", Fact::Opened { with });
        add("converge#2/judge[1]/ask", Fact::Started { key: None, reserved: crate::meter::Meter::new() });
        let result = Payload::value(json!({"index": 0, "key": "b", "error": {"message": "no\nway"}}));
        add("converge#2/judge[0]", Fact::ItemClosed { result, failed: true, skipped: false });
        add("last", Fact::Failed { failure: Failure::permanent("gone").hint("look") });
        let reason = SkipReason::When { expression: "a.b".into(), values: json!({"a.b": false}) };
        add("never", Fact::Skipped { reason });
        assert_eq!(
            tree(&board, 2_000, Paint::PLAIN),
            "● converge  running · 1 of at most 9 rounds · 900 ms · $0.50
  #1  score 57.333 · better true · rule relax
    ✓ make  100 ms · $0.50 · {\"n\":1}
  #2
    ● judge  running · 1 of 2 items, 1 failed · 500 ms
      ✗ [0] b: no way
      [1]
        ● ask  running · 400 ms
✗ last  failed · permanent: gone · look
– never  skipped · `a.b` is false
"
        );
    }
}
