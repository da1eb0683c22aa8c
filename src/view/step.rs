use super::ControlView;
use crate::clock::Millis;
use crate::engine::{Pause, Payload, Question, SkipReason};
use crate::meter::Meter;
use crate::verb::Failure;

/// How far a step instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// An attempt is under way, or a control step is open.
    Running,
    /// An attempt failed or was cut off; another will be made.
    Waiting,
    /// A question waits for its answer.
    Asking,
    /// It has its output.
    Done,
    /// It has failed for good.
    Failed,
    /// It did not run.
    Skipped,
}

impl StepState {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Asking => "asking",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

/// What is known of one step instance.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// Its place among all steps by the time of its first fact.
    pub ordinal: u64,
    /// How far it is.
    pub state: StepState,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When its first attempt began or it opened.
    pub started_at: Option<Millis>,
    /// When it came to its end.
    pub ended_at: Option<Millis>,
    /// What it and everything inside it spent.
    pub spent: Meter,
    /// What it waits for, if it has no time for its next attempt.
    pub waits: Option<Pause>,
    /// How its last attempt failed, if it did.
    pub failure: Option<Failure>,
    /// Why it was skipped.
    pub skipped: Option<SkipReason>,
    /// Its output.
    pub output: Option<Payload>,
    /// Whether the output was one recorded by an earlier run.
    pub cached: bool,
    /// The last thing it said while it worked.
    pub note: Option<String>,
    /// The question that it puts.
    pub question: Option<Box<Question>>,
    /// What goes on inside it.
    pub control: Option<ControlView>,
}

impl StepView {
    pub(super) fn new(ordinal: u64) -> Self {
        Self {
            ordinal,
            state: StepState::Running,
            attempts: 0,
            started_at: None,
            ended_at: None,
            spent: Meter::new(),
            waits: None,
            failure: None,
            skipped: None,
            output: None,
            cached: false,
            note: None,
            question: None,
            control: None,
        }
    }

    pub(super) fn begin(&mut self, at: Millis) {
        self.state = StepState::Running;
        self.waits = None;
        self.started_at.get_or_insert(at);
        self.ended_at = None;
    }

    pub(super) fn end(&mut self, state: StepState, at: Millis) {
        self.state = state;
        self.waits = None;
        self.ended_at = Some(at);
        self.note = None;
        self.question = None;
    }

    /// Milliseconds from its first attempt to its end, or to `now` while it goes on.
    pub fn duration(&self, now: Millis) -> Option<Millis> {
        Some(self.ended_at.unwrap_or(now).saturating_sub(self.started_at?))
    }
}
