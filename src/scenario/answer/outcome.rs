use super::StepAnswer;

/// Outcome of a step: an answer, an error, or both if the answer was interrupted.
#[derive(Default)]
pub struct StepOutcome {
    /// Answer, whole or in part.
    pub answer: Option<StepAnswer>,
    /// Reason why the answer is missing or incomplete.
    pub error: Option<String>,
}

impl StepOutcome {
    /// An error without an answer.
    pub fn error(error: impl Into<String>) -> Self {
        Self { answer: None, error: Some(error.into()) }
    }
}
