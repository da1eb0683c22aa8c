use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::value::{Digest, Value};

/// A question to a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The question.
    #[serde(rename = "question")]
    pub text: String,
    /// The answers to choose from; empty if any answer of the right type will do.
    pub choices: Vec<Value>,
    /// What an answer is, if there are no choices.
    #[serde(rename = "type", default, skip_serializing_if = "AnswerType::is_text")]
    pub answer: AnswerType,
    /// What the person is shown with the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<Value>,
    /// Reserved: an answer that the person may edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Value>,
    /// Reserved: the JSON Schema of an edited proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Value>,
    /// Reserved: what the answer is bound to besides what the person is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binds: Option<Value>,
    /// The answer if no person can be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
    /// The answer at the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_deadline: Option<Value>,
    /// Digest of everything that the person is shown and that the answer is bound to; none in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
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
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
}
