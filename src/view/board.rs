use std::collections::BTreeMap;

use super::control::{ControlView, RoundView, figures};
use super::nesting::{enclosing, round_or_item};
use super::step::{StepState, StepView};
use crate::clock::Millis;
use crate::driver::Event;
use crate::engine::{Fact, INTERRUPTED, LateFailure, Pause, Payload, Reason, Record, STATUS_RUNNING};
use crate::id::{Address, RunId};
use crate::meter::Meter;
use crate::verb::{Failure, Note};

const NOTE_LENGTH: usize = 200;

/// The status of a run, according to its facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Status {
    /// No fact yet.
    #[default]
    Unborn,
    /// In progress, according to its facts.
    Running,
    /// In progress according to its facts, but no process works on it.
    Interrupted,
    /// Paused: starts no new work.
    Paused {
        /// Reason of the pause.
        pause: Pause,
        /// Message for people.
        message: String,
        /// Steps that wait, if that is the reason.
        reasons: Vec<Reason>,
    },
    /// Finished.
    Finished {
        /// Status of the pipeline.
        status: String,
        /// Exit code of the process.
        code: i32,
    },
}

impl Status {
    /// The word for it in reports: the pipeline's own status if the run is finished.
    pub fn word(&self) -> &str {
        match self {
            Self::Unborn => "unborn",
            Self::Running => STATUS_RUNNING,
            Self::Interrupted => INTERRUPTED.word,
            Self::Paused { pause, .. } => pause.status().word,
            Self::Finished { status, .. } => status,
        }
    }
}

/// The state of one run. Steps inside closed items of an `each` are only counted, and a loop keeps the steps
/// of its latest rounds, so that the board stays small for any size of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    /// Id of the run.
    pub run: Option<RunId>,
    /// Name of its pipeline.
    pub pipeline: String,
    /// Status of the run.
    pub status: Status,
    /// Time of the start.
    pub started_at: Option<Millis>,
    /// Time of its last fact.
    pub last_at: Millis,
    /// Total spending.
    pub spent: Meter,
    /// Outputs of the run.
    pub outputs: Option<Payload>,
    /// Steps that ran because of the last pause, with their failures.
    pub at_pause: Vec<(String, Option<Failure>)>,
    /// `always` steps that failed.
    pub always_failed: Vec<LateFailure>,
    steps: BTreeMap<Address, StepView>,
    seen: u64,
}

impl Board {
    /// The board of a run without facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies an event.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Fact { run, record, .. } | Event::Past { run, record } => {
                self.run.get_or_insert_with(|| run.clone());
                self.apply_record(record);
            }
            Event::Note { address, note, .. } => self.apply_note(address, note),
        }
    }

    /// Applies what an event says about the run as a whole, not about its steps.
    pub fn apply_outline(&mut self, event: &Event) {
        let (Event::Fact { run, record, .. } | Event::Past { run, record }) = event else { return };
        self.run.get_or_insert_with(|| run.clone());
        self.last_at = self.last_at.max(record.at);
        if let Some(spent) = record.fact.spent().filter(|spent| !spent.is_empty()) {
            self.spent.absorb(spent);
        }
        if record.address.as_str().is_empty() {
            self.apply_to_run(record.at, &record.fact);
        }
    }

    /// Applies a line of the journal.
    pub fn apply_record(&mut self, record: &Record) {
        self.last_at = self.last_at.max(record.at);
        if let Some(spent) = record.fact.spent().filter(|spent| !spent.is_empty()) {
            self.charge(&record.address, spent);
        }
        if record.address.as_str().is_empty() {
            self.apply_to_run(record.at, &record.fact);
        } else {
            self.apply_to_step(record);
        }
    }

    /// Marks that no process works on the run: without another status in its facts, it was interrupted.
    pub fn interrupt(&mut self) {
        if self.status == Status::Running {
            self.status = Status::Interrupted;
        }
    }

    /// The step instance at `address`.
    pub fn step(&self, address: &Address) -> Option<&StepView> {
        self.steps.get(address)
    }

    /// All step instances on the board, by the time of their first fact.
    pub fn steps(&self) -> Vec<(&Address, &StepView)> {
        let mut steps: Vec<_> = self.steps.iter().collect();
        steps.sort_unstable_by_key(|(_, step)| step.ordinal);
        steps
    }

    /// All step instances on the board, unordered and without a copy.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, &StepView)> {
        self.steps.iter()
    }

    fn apply_to_run(&mut self, at: Millis, fact: &Fact) {
        match fact {
            Fact::RunStarted { pipeline, .. } => {
                pipeline.clone_into(&mut self.pipeline);
                self.started_at = Some(at);
                self.status = Status::Running;
            }
            Fact::Paused { pause, message, reasons } => {
                let (message, reasons) = (message.clone(), reasons.clone());
                self.status = Status::Paused { pause: *pause, message, reasons };
                self.at_pause.clear();
            }
            Fact::PausedStep { step, failure, .. } => {
                self.at_pause.push((step.clone(), failure.as_ref().map(lean)));
            }
            Fact::Resumed => {
                self.status = Status::Running;
                self.at_pause.clear();
            }
            Fact::Finished { status, code, outputs, always_failed } => {
                self.always_failed.clone_from(always_failed);
                self.status = Status::Finished { status: status.clone(), code: *code };
                self.outputs = Some(outputs.clone());
            }
            _ => {}
        }
    }

    fn apply_to_step(&mut self, record: &Record) {
        let Record { at, address, attempt, fact } = record;
        match fact {
            Fact::RoundClosed { lets, rule, exit, .. } => {
                let round = RoundView {
                    number: round_or_item(address).unwrap_or_default(),
                    at: *at,
                    lets: figures(lets),
                    rule: rule.clone(),
                    exit: exit.clone(),
                };
                self.close_round(address, round);
            }
            Fact::ItemClosed { result, failed, .. } => self.close_item(address, result, *failed),
            Fact::Faltered { .. } if self.entry(address).control.is_some() => {
                self.forget_inside(&format!("{address}/"));
                touch(self.entry(address), *at, *attempt, fact);
            }
            Fact::Lost => {
                self.forget_inside(&format!("{address}/"));
                let step = self.entry(address);
                step.state = StepState::Waiting;
                step.control = Some(ControlView::Hold { held: false });
            }
            _ => touch(self.entry(address), *at, *attempt, fact),
        }
    }

    fn apply_note(&mut self, address: &Address, note: &Note) {
        let Some(step) = self.steps.get_mut(address) else { return };
        match note {
            Note::Line { text } => step.note = Some(tail(text.trim_end(), NOTE_LENGTH).to_owned()),
            Note::Chunk { text } => {
                let so_far = step.note.take().unwrap_or_default() + text;
                step.note = Some(tail(&so_far, NOTE_LENGTH).to_owned());
            }
            Note::Count { done, total } => {
                step.note = Some(total.map_or_else(|| done.to_string(), |total| format!("{done}/{total}")));
            }
        }
    }

    fn entry(&mut self, address: &Address) -> &mut StepView {
        let seen = &mut self.seen;
        self.steps.entry(address.clone()).or_insert_with(|| {
            *seen += 1;
            StepView::new(*seen)
        })
    }

    fn charge(&mut self, address: &Address, spent: &Meter) {
        self.spent.absorb(spent);
        self.entry(address).spent.absorb(spent);
        let mut inner = address.clone();
        while let Some(outer) = enclosing(&inner) {
            if let Some(step) = self.steps.get_mut(&outer) {
                step.spent.absorb(spent);
            }
            inner = outer;
        }
    }

    fn close_round(&mut self, round_at: &Address, round: RoundView) {
        let Some(at) = enclosing(round_at) else { return };
        let Some(control) = self.entry(&at).control.as_mut() else { return };
        if let Some(old) = control.close_round(round) {
            self.forget_inside(&format!("{}/", at.round(old)));
        }
    }

    fn close_item(&mut self, item: &Address, result: &Payload, failed: bool) {
        let (Some(at), Some(index)) = (enclosing(item), round_or_item(item)) else { return };
        if let Some(control) = self.entry(&at).control.as_mut() {
            control.close_item(index, result, failed);
        }
        self.forget_inside(&format!("{item}/"));
    }

    fn forget_inside(&mut self, prefix: &str) {
        let inside =
            self.steps.range(Address::new(prefix)..).take_while(|(at, _)| at.as_str().starts_with(prefix));
        let gone: Vec<Address> = inside.map(|(at, _)| at.clone()).collect();
        for at in gone {
            self.steps.remove(&at);
        }
    }
}

/// Applies a fact to the view of its step instance.
fn touch(step: &mut StepView, at: Millis, attempt: u32, fact: &Fact) {
    match fact {
        Fact::Started { .. } => {
            step.begin(at);
            step.attempts = step.attempts.max(attempt);
        }
        Fact::Opened { with } => {
            step.begin(at);
            step.control = Some(ControlView::opened(with));
        }
        Fact::Interrupted { .. } => step.state = StepState::Waiting,
        Fact::Faltered { failure, waits, .. } => {
            step.state = StepState::Waiting;
            step.failure = Some(lean(failure));
            step.waits = *waits;
        }
        Fact::Succeeded { output, cached, .. } => {
            step.end(StepState::Done, at);
            step.output = Some(output.clone());
            if let (Some(ControlView::Each { total, .. }), Payload::Items(count)) =
                (&mut step.control, output)
            {
                *total = Some(u64::from(*count));
            }
            step.cached = *cached;
            step.failure = None;
        }
        Fact::Failed { failure } => {
            step.end(StepState::Failed, at);
            step.failure = Some(lean(failure));
        }
        Fact::Skipped { reason } => {
            step.end(StepState::Skipped, at);
            step.skipped = Some(reason.clone());
        }
        Fact::Acquired { .. } => {
            step.begin(at);
            step.control = Some(ControlView::Hold { held: true });
        }
        Fact::Released { .. } => step.control = Some(ControlView::Hold { held: false }),
        Fact::Asked(question) => {
            step.begin(at);
            step.state = StepState::Asking;
            step.question = Some(question.clone());
        }
        Fact::Answered { answer, .. } => {
            step.end(StepState::Done, at);
            step.output = Some(Payload::value(answer.clone()));
        }
        Fact::Reserved { .. }
        | Fact::Settled { .. }
        | Fact::CursorSaved { .. }
        | Fact::CacheKey(_)
        | Fact::RoundClosed { .. }
        | Fact::ItemClosed { .. }
        | Fact::Lost
        | Fact::RunStarted { .. }
        | Fact::Paused { .. }
        | Fact::Resumed
        | Fact::Limited { .. }
        | Fact::Accepted(_)
        | Fact::Polled(_)
        | Fact::Parked(_)
        | Fact::PausedStep { .. }
        | Fact::Finished { .. } => {}
    }
}

/// The failure without details for machines, which may be long.
fn lean(failure: &Failure) -> Failure {
    Failure { detail: crate::value::Value::Null, ..failure.clone() }
}

/// The last `length` bytes of the last line of `text`, from a character's start.
fn tail(text: &str, length: usize) -> &str {
    let line = text.rsplit('\n').next().unwrap_or(text);
    let from = line.len().saturating_sub(length);
    let from = (from..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
    &line[from..]
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
