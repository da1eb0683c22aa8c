//! Questions to a person at this process.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::inbox::{Message, Outbox};
use super::{Answer, Asker};
use crate::engine::{Fact, Question, Record, Report};
use crate::id::Address;
use crate::value::Digest;

pub(super) struct OpenQuestions {
    asker: Option<Arc<dyn Asker>>,
    /// Recorded answers in the run whose results are reused, by the digest of the question.
    known: HashMap<Digest, Answer>,
    /// See [`Taken::moved`].
    moved: HashMap<Digest, Digest>,
    open: HashMap<Address, AbortHandle>,
    outbox: Outbox,
}

impl OpenQuestions {
    pub(super) fn new(
        asker: Option<Arc<dyn Asker>>,
        taken: (HashMap<Digest, Answer>, HashMap<Digest, Digest>),
        outbox: Outbox,
    ) -> Self {
        let (known, moved) = taken;
        Self { asker, known, moved, open: HashMap::new(), outbox }
    }

    /// Whether a person is being asked.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Asks a question; `true` if the answer is already known.
    pub(super) fn put(&mut self, address: Address, question: &Question) -> bool {
        let outbox = self.outbox.clone();
        let known = question.digest.and_then(|digest| self.known.remove(&digest)).or_else(|| {
            let put = self.moved.get(&question.digest_at(&address.of_any_item()))?;
            self.known.remove(put)
        });
        let report = match (known, &self.asker) {
            (Some(known), _) => answer_report(address, known),
            (None, None) => Report::Unasked { address },
            (None, Some(asker)) => {
                let answering = asker.ask(&address, question);
                let at = address.clone();
                let asking = tokio::spawn(async move {
                    let report = match answering.await {
                        Some(answer) => answer_report(address, answer),
                        None => Report::Unasked { address },
                    };
                    // If the loop has ended, the question is asked again when the run is resumed.
                    outbox.send(Message::Answer(report)).ok();
                });
                self.open.insert(at, asking.abort_handle());
                return false;
            }
        };
        // The receiver lives as long as the loop that calls this.
        outbox.send(Message::Answer(report)).ok();
        true
    }

    /// Records the result of a question.
    pub(super) fn ended(&mut self, report: &Report) {
        if let Report::Answered { address, .. } | Report::Unasked { address } = report {
            self.open.remove(address);
        }
    }

    /// Stops asking questions that are answered or obsolete.
    pub(super) fn withdraw(&mut self, records: &[Record]) {
        if self.open.is_empty() {
            return;
        }
        for record in records {
            let inside = format!("{}/", record.address);
            self.open.retain(|at, asking| {
                let stays = match record.fact {
                    Fact::Answered { .. } | Fact::Failed { .. } => *at != record.address,
                    Fact::Lost => !at.as_str().starts_with(&inside),
                    _ => true,
                };
                if !stays {
                    asking.abort();
                }
                stays
            });
        }
    }

    /// Stops asking.
    pub(super) fn end(&mut self) {
        self.open.drain().for_each(|(_, asking)| asking.abort());
    }
}

fn answer_report(address: Address, answered: Answer) -> Report {
    let Answer { answer, by, note } = answered;
    Report::Answered { address, answer, by, note }
}
