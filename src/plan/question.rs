use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::expr::{Template, Tree};

/// A question to a person; its output is the answer.
pub struct Ask {
    /// The question.
    pub question: Template,
    /// Answers to choose from.
    pub choices: Option<Tree>,
    /// What an answer is if there are no choices.
    pub answer: AnswerType,
    /// What the person is shown with the question.
    pub show: Option<Tree>,
    /// What the answer is bound to besides what the person is shown.
    pub binds: Option<Tree>,
    /// The answer if no person can be asked, and at the deadline if `at_deadline` is not set.
    pub default: Option<Tree>,
    /// How long the question stays open.
    pub deadline: Option<Duration>,
    /// The answer at the deadline.
    pub at_deadline: Option<Tree>,
}

/// What a free answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerType {
    /// The text as it was written.
    #[default]
    Text,
    /// JSON.
    Json,
}

impl AnswerType {
    /// Whether it is the text as it was written.
    pub fn is_text(&self) -> bool {
        *self == Self::Text
    }
}
