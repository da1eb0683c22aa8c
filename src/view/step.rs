use super::ControlView;
use crate::clock::Millis;
use crate::engine::{Pause, Payload, Question, SkipReason};
use crate::meter::Meter;
use crate::verb::Failure;

/// The state of a step instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// An attempt is running, or a control step is open.
    Running,
    /// An attempt failed or was interrupted; another one follows.
    Waiting,
    /// A question is open.
    Asking,
    /// It succeeded.
    Done,
    /// It failed for good.
    Failed,
    /// It was skipped.
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

    /// Whether this state is final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped)
    }
}

/// The state and results of one step instance.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// Index among all steps, by the time of its first fact.
    pub ordinal: u64,
    /// State of the step instance.
    pub state: StepState,
    /// Number of attempts.
    pub attempts: u32,
    /// Time of its first attempt, or at which it opened.
    pub started_at: Option<Millis>,
    /// Time of its end.
    pub ended_at: Option<Millis>,
    /// Spending, including everything inside it.
    pub spent: Meter,
    /// What it waits for, if the time of its next attempt is not set.
    pub waits: Option<Pause>,
    /// Failure of its last attempt, if it failed.
    pub failure: Option<Failure>,
    /// Reason why it was skipped.
    pub skipped: Option<SkipReason>,
    /// Output of the step.
    pub output: Option<Payload>,
    /// Whether the output was recorded by an earlier run.
    pub cached: bool,
    /// Last progress message.
    pub note: Option<String>,
    /// Open question.
    pub question: Option<Box<Question>>,
    /// State of a control step.
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

    /// Milliseconds from its first attempt to its end, or to `now` if it has not ended.
    pub fn duration(&self, now: Millis) -> Option<Millis> {
        Some(self.ended_at.unwrap_or(now).saturating_sub(self.started_at?))
    }
}
