use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::expr::Data;
use crate::id::Address;
use crate::plan::AnswerType;
use crate::value::{Digest, Value, canonical, unrecordable};

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
    /// What the answer is bound to besides what the person is shown.
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

impl Question {
    /// Whether its deadline has passed at `now`: an answer comes too late.
    pub fn is_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Why `answer` does not fit, `None` if it does.
    pub fn refuses(&self, answer: &Value) -> Option<String> {
        if let Some(why) = unrecordable("the answer", answer) {
            return Some(why);
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !self.choices.is_empty() {
            let choices: Vec<String> = self.choices.iter().map(text).collect();
            let fits = self.choices.iter().any(|choice| Data::are_equal(choice, answer));
            return (!fits)
                .then(|| format!("`{}` is not one of the choices: {}", text(answer), choices.join(", ")));
        }
        (self.answer == AnswerType::Text && !answer.is_string())
            .then(|| format!("the answer is text, and this is {answer}"))
    }

    /// The same question with the digest of what the person at `address` is shown. When the deadline is, is no part of
    /// it: an answer stays good if the question is put again later.
    #[must_use]
    pub fn sealed(mut self, address: &Address) -> Self {
        self.digest = Some(self.digest_at(address));
        self
    }

    /// The digest of what the person at `address` is shown.
    pub fn digest_at(&self, address: &Address) -> Digest {
        let shown = serde_json::json!({
            "address": address,
            "question": self.text,
            "choices": self.choices,
            "type": self.answer,
            "show": self.show,
            "proposal": self.proposal,
            "edit": self.edit,
            "binds": self.binds,
            "default": self.default,
            "at_deadline": self.at_deadline,
        });
        Digest::of(canonical(&shown))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_covers_what_is_shown_and_not_the_moment() {
        let question = Question { text: "sure?".into(), ..Question::default() };
        let at = Address::new("a");
        let digest = |question: &Question| question.clone().sealed(&at).digest;
        let first = digest(&question);
        assert_eq!(digest(&Question { until: Some(7), ..question.clone() }), first);
        for changed in [
            Question { text: "sure??".into(), ..question.clone() },
            Question { choices: vec![json!("yes")], ..question.clone() },
            Question { answer: AnswerType::Json, ..question.clone() },
            Question { show: Some(json!("diff")), ..question.clone() },
            Question { proposal: Some(json!({})), ..question.clone() },
            Question { edit: Some(json!({})), ..question.clone() },
            Question { binds: Some(json!("abc")), ..question.clone() },
            Question { default: Some(json!("no")), ..question.clone() },
            Question { at_deadline: Some(json!("no")), ..question.clone() },
        ] {
            assert_ne!(digest(&changed), first, "{changed:?}");
        }
        assert_ne!(question.clone().sealed(&Address::new("b")).digest, first);
    }

    #[test]
    fn an_answer_fits_or_is_told_why_not() {
        let free = Question::default();
        assert_eq!(free.refuses(&json!("123")), None);
        assert!(free.refuses(&json!(123)).unwrap().contains("text"));
        let data = Question { answer: AnswerType::Json, ..Question::default() };
        assert_eq!(data.refuses(&json!({"a": [1]})), None);
        let choice = Question { choices: vec![json!("yes"), json!(3)], ..Question::default() };
        assert_eq!(choice.refuses(&json!(3)), None);
        assert!(choice.refuses(&json!("3")).unwrap().contains("yes, 3"));
    }
}
