//! Errors of the input that do not need a call.

use super::{LlmInput, span};
use crate::llm::Role;
use crate::verb::{Failure, Refusal};

impl LlmInput {
    /// Errors that do not depend on the models.
    pub(super) fn input_refusals(&self) -> Vec<Refusal> {
        let wrong = |what: &str, hint: &str| Failure::permanent(format!("`llm`: {what}")).hint(hint);
        let mut found = Vec::new();
        match (&self.prompt, &self.messages) {
            (None, None) => {
                let failure = wrong("`prompt` or `messages` is missing", "give one of them");
                found.push(Refusal::among(&["prompt", "messages"], failure));
            }
            (Some(_), Some(_)) => {
                let failure = wrong("`prompt` and `messages` are both set", "remove one of them");
                found.push(Refusal::among(&["prompt", "messages"], failure));
            }
            (Some(prompt), _) if prompt.trim().is_empty() => {
                let failure = wrong("the prompt is empty", "write the question or task");
                found.push(Refusal::of("/prompt", failure));
            }
            (_, Some(messages)) if messages.last().is_none_or(|last| last.role != Role::User) => {
                let failure = wrong(
                    "`messages` does not end with a user's message",
                    "end the list with a message with role = \"user\"",
                );
                found.push(Refusal::of("/messages", failure));
            }
            _ => {}
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            let failure = wrong(
                "`temperature` is not between 0 and 2",
                "use 0 for the most repeatable answers; 1 is usual",
            );
            found.push(Refusal::of("/temperature", failure));
        }
        if self.max_tokens == Some(0) {
            let failure = wrong("`max_tokens` is 0", "remove it for the model's default");
            found.push(Refusal::of("/max_tokens", failure));
        }
        if !(1..=64).contains(&self.samples) {
            let failure = wrong("`samples` is not between 1 and 64", "use an odd number for a clear vote");
            found.push(Refusal::of("/samples", failure));
        }
        if self.samples > 1 && self.vote.is_none() {
            let failure = wrong(
                "`samples` is above 1, but `vote` is missing",
                "add vote = \"median\" or vote = \"majority\"",
            );
            found.push(Refusal::of("/samples", failure).if_given("/vote"));
        }
        if self.model.list().is_empty() {
            let failure = wrong("the list of models is empty", "name at least one");
            found.push(Refusal::of("/model", failure));
        }
        let timeout = self.timeout.as_deref().and_then(|timeout| span(timeout).err());
        found.extend(timeout.map(|failure| Refusal::of("/timeout", failure)));
        found.extend(self.refusals_with_edits());
        found
    }

    /// The keys that cannot be combined with `edits`, which determines the format of the answer.
    fn refusals_with_edits(&self) -> Vec<Refusal> {
        if self.edits.is_none() {
            return Vec::new();
        }
        let wrong = |key: &str| {
            Failure::permanent(format!("`llm`: `{key}` and `edits` are both set"))
                .hint(format!("remove `{key}`: `edits` determines the format of the answer"))
        };
        let format = self.format.map(|_| Refusal::among(&["edits", "format"], wrong("format")));
        let samples =
            (self.samples > 1).then(|| Refusal::of("/samples", wrong("samples")).if_given("/edits"));
        format.into_iter().chain(samples).collect()
    }
}
