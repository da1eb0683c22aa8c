//! What is wrong with a question before it is asked.

use super::{With, span};
use crate::llm::Role;
use crate::verb::{Failure, Refusal};

impl With {
    /// What is wrong with it whatever the models are.
    pub(super) fn wrong(&self) -> Vec<Refusal> {
        let wrong = |what: &str, hint: &str| Failure::permanent(format!("`llm`: {what}")).hint(hint);
        let mut found = Vec::new();
        match (&self.prompt, &self.messages) {
            (None, None) => {
                let failure = wrong("there is neither `prompt` nor `messages`", "give one of them");
                found.push(Refusal::among(&["prompt", "messages"], failure));
            }
            (Some(_), Some(_)) => {
                let failure = wrong("both `prompt` and `messages` are given", "keep one of them");
                found.push(Refusal::among(&["prompt", "messages"], failure));
            }
            (Some(prompt), _) if prompt.trim().is_empty() => {
                let failure = wrong("the prompt is empty", "an empty question costs money and has no answer");
                found.push(Refusal::of("/prompt", failure));
            }
            (_, Some(messages)) if messages.last().is_none_or(|last| last.role != Role::User) => {
                let failure = wrong(
                    "`messages` does not end with a user's message",
                    "the last message is the one to answer",
                );
                found.push(Refusal::of("/messages", failure));
            }
            _ => {}
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            let failure =
                wrong("`temperature` is not between 0 and 2", "0 is the most repeatable, 1 the usual");
            found.push(Refusal::of("/temperature", failure));
        }
        if self.max_tokens == Some(0) {
            let failure = wrong("`max_tokens` is 0", "leave it out for the model's default");
            found.push(Refusal::of("/max_tokens", failure));
        }
        if !(1..=64).contains(&self.samples) {
            let failure = wrong("`samples` is not between 1 and 64", "an odd number makes a clear vote");
            found.push(Refusal::of("/samples", failure));
        }
        if self.samples > 1 && self.vote.is_none() {
            let failure =
                wrong("several `samples` and no `vote`", "add vote = \"median\" or vote = \"majority\"");
            found.push(Refusal::of("/samples", failure).if_given("/vote"));
        }
        if self.model.list().is_empty() {
            let failure = wrong("the list of models is empty", "name at least one");
            found.push(Refusal::of("/model", failure));
        }
        let timeout = self.timeout.as_deref().and_then(|timeout| span(timeout).err());
        found.extend(timeout.map(|failure| Refusal::of("/timeout", failure)));
        found.extend(self.wrong_with_edits());
        found
    }

    /// What cannot be given beside `edits`, which say what the answer is.
    fn wrong_with_edits(&self) -> Vec<Refusal> {
        if self.edits.is_none() {
            return Vec::new();
        }
        let wrong = |key: &str| {
            Failure::permanent(format!("`llm`: `{key}` beside `edits`"))
                .hint(format!("`edits` says what the answer is: leave `{key}` out"))
        };
        let format = self.format.map(|_| Refusal::among(&["edits", "format"], wrong("format")));
        let samples =
            (self.samples > 1).then(|| Refusal::of("/samples", wrong("samples")).if_given("/edits"));
        format.into_iter().chain(samples).collect()
    }
}
