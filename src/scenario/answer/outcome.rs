use super::Answer;

/// What came of a request: an answer, an error, or both where an answer broke off.
#[derive(Default)]
pub struct Outcome {
    /// What came back, whole or in part.
    pub answer: Option<Answer>,
    /// Why there is no whole answer.
    pub error: Option<String>,
}

impl Outcome {
    /// Nothing but an error.
    pub fn error(error: impl Into<String>) -> Self {
        Self { answer: None, error: Some(error.into()) }
    }
}
