//! Creates a batch and polls it to its end, as long as callers wait for it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::api::{BatchEnd, BatchEntries, BatchResult, BatchStatus, ResultsLocation};
use super::client::BatchClient;
use super::find_existing::seek;
use super::pending_batch::PendingBatch;
use super::{BatchContext, BatchHandle};
use crate::clock::millis;
use crate::verb::{Class, Failure, Note};

/// Most waits for one more request while a batch is collected.
const WAITS: u32 = 20;
/// Most attempts to create a batch if it is unclear whether it was created.
const TURNS: u32 = 3;
/// Consecutive failed polls before waiting callers fail.
const SILENCES: u32 = 30;

/// Time for which a missing batch is searched again, because a provider may not find a batch that it has
/// just created, and a new batch would be paid twice. Does not apply to batches that are old enough to have
/// been deleted.
const ABSENT: Duration = Duration::from_secs(600);
const OLD: Duration = Duration::from_secs(26 * 3_600);

/// Poller of a batch.
pub(super) struct BatchPoller {
    pub(super) context: BatchContext,
    pub(super) pending: Arc<PendingBatch>,
}

/// Initial state of a poller.
pub(super) enum PollerStart {
    /// With an open batch.
    Gather,
    /// With an existing batch.
    Follow(String),
}

/// Error of a call that may be repeated.
enum PollError {
    /// Temporary error.
    Passing(Failure),
    /// The provider does not know the batch.
    Absent(Failure),
    /// Final outcome for all waiting callers.
    Last(BatchResult),
}

impl BatchPoller {
    /// Runs until the batch is finished or all callers have left.
    pub(super) async fn run(self, start: PollerStart) {
        let work = async {
            let outcome = match self.work(start).await {
                Ok(ended) => ended.all.unwrap_or(BatchResult::Unasked(ended.rest)),
                Err(outcome) => outcome,
            };
            self.pending.end(&outcome);
        };
        tokio::select! {
            biased;
            () = self.pending.deserted() => {}
            () = work => {}
        }
        self.context.models.batches().forget(&self.pending);
    }

    async fn work(&self, start: PollerStart) -> Result<BatchEnd, BatchResult> {
        if let PollerStart::Gather = start {
            self.gather().await;
        }
        let wire = BatchClient::open(&self.context).await;
        let wire = wire.map_err(|failure| BatchResult::Failed { failure, over: false })?;
        match start {
            PollerStart::Gather => {
                let place = self.number().await;
                let batch = self.make(&wire, &place).await?;
                self.pending.made(&batch);
                self.say(&format!("{batch} at {}: {} requests", wire.provider().name, place.of));
                self.follow(&wire, &batch, self.context.terms.poll.0).await
            }
            // Other callers will join soon.
            PollerStart::Follow(batch) => {
                let soon = self.context.terms.gather.min(self.context.terms.poll.0);
                self.follow(&wire, &batch, soon).await
            }
        }
    }

    /// Waits until there are no more requests.
    async fn gather(&self) {
        for _ in 0..WAITS {
            let before = self.pending.size();
            tokio::select! {
                biased;
                () = self.pending.filled() => return,
                () = self.context.clock.sleep(self.context.terms.gather) => {}
            }
            if self.pending.size() == before {
                return;
            }
        }
    }

    /// Numbers the requests until all callers have recorded their indexes.
    async fn number(&self) -> BatchHandle {
        loop {
            let (place, noted) = self.pending.number(self.context.clock.now());
            self.context.models.batches().note(&self.pending, &place.batch_tag);
            if noted.is_empty() {
                // All callers have left, so this task is about to end.
                std::future::pending::<()>().await;
            }
            if join_all(noted).await.iter().all(Result::is_ok) {
                return place;
            }
        }
    }

    /// Creates the batch; returns the provider's id.
    async fn make(&self, wire: &BatchClient<'_>, place: &BatchHandle) -> Result<String, BatchResult> {
        let over = |failure| BatchResult::Failed { failure, over: true };
        let entries = self.pending.seal(wire.form);
        let entries = match wire.form.files(wire.provider()) {
            None => BatchEntries::Here(entries),
            Some(url) => {
                let mut lines = String::new();
                for entry in entries {
                    let _ = writeln!(lines, "{entry}");
                }
                let file = wire.file(&url, &place.batch_tag, lines).await.map_err(over)?;
                BatchEntries::File(file["id"].as_str().unwrap_or_default().to_owned())
            }
        };
        let (url, body) = wire.form.creation(&self.context.model, &place.batch_tag, entries);
        let mut turn = 1;
        loop {
            let failure = match self.made(wire, (&url, &body), place, turn).await {
                Ok(batch) => return Ok(batch),
                Err(PollError::Last(outcome)) => return Err(outcome),
                Err(PollError::Passing(failure) | PollError::Absent(failure)) => failure,
            };
            if turn == TURNS {
                return Err(BatchResult::Failed { failure, over: false });
            }
            self.say(&format!("the batch was not created yet ({failure})"));
            self.context.clock.sleep(self.context.terms.poll.0).await;
            turn += 1;
        }
    }

    /// One attempt to create it. A call with an unclear result may have created it, so the next attempt
    /// searches for it first.
    async fn made(
        &self,
        wire: &BatchClient<'_>,
        (url, body): (&str, &Value),
        place: &BatchHandle,
        turn: u32,
    ) -> Result<String, PollError> {
        if turn > 1
            && let Some(batch) =
                seek(wire, place, &|text| self.say(&text)).await.map_err(PollError::Passing)?
        {
            return Ok(batch);
        }
        match wire.post(url, body, &place.batch_tag).await {
            Ok(made) => wire.form.state(&made).named().ok_or_else(|| {
                let name = &wire.provider().name;
                PollError::Passing(Failure::transient(format!("{name} created a batch without an id")))
            }),
            Err(failure) if failure.class == Class::Transient => Err(PollError::Passing(failure)),
            Err(failure) => Err(PollError::Last(BatchResult::Failed { failure, over: true })),
        }
    }

    /// Polls the batch until it has ended, and distributes the results.
    async fn follow(
        &self,
        wire: &BatchClient<'_>,
        batch: &str,
        first: Duration,
    ) -> Result<BatchEnd, BatchResult> {
        let (mut pause, mut silences, mut told) = (first, 0, 0);
        let mut absent = None;
        loop {
            self.context.clock.sleep(pause).await;
            let (from, to) = self.context.terms.poll;
            pause = (pause + pause / 2).clamp(from, to.max(from));
            let failure = match self.look(wire, batch, &mut told).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => {
                    (silences, absent) = (0, None);
                    continue;
                }
                Err(PollError::Absent(failure)) => {
                    let now = self.context.clock.now();
                    let since = *absent.get_or_insert(now);
                    let made = self.pending.made_at();
                    if now.saturating_sub(since) >= millis(ABSENT) || now.saturating_sub(made) >= millis(OLD)
                    {
                        return Err(BatchResult::Unasked("its provider no longer has its batch".to_owned()));
                    }
                    self.say(&format!("{batch} was not found, trying again ({failure})"));
                    continue;
                }
                Err(PollError::Last(outcome)) => return Err(outcome),
                Err(PollError::Passing(failure)) => failure,
            };
            silences += 1;
            if silences > SILENCES {
                return Err(BatchResult::Failed { failure, over: false });
            }
            self.say(&format!("{batch} cannot be polled ({failure})"));
            pause = pause.max(Duration::from_millis(failure.retry_after_ms.unwrap_or(0)));
        }
    }

    /// Polls the batch once; returns its end after distributing the results.
    async fn look(
        &self,
        wire: &BatchClient<'_>,
        batch: &str,
        told: &mut u64,
    ) -> Result<Option<BatchEnd>, PollError> {
        let body = wire.get(&wire.form.look(wire.provider(), batch)).await.map_err(trouble)?;
        let state = wire.form.state(&body);
        self.tell(batch, &state, told);
        let Some(ended) = state.ended else { return Ok(None) };
        // Readable results are distributed even if others cannot be read.
        let mut unread = None;
        for results in wire.form.results(wire.provider(), &body) {
            if let Err(failure) = self.hand_out(wire, results).await {
                unread.get_or_insert(failure);
            }
        }
        for (entry, outcome) in &ended.apart {
            self.pending.give(*entry, outcome.clone());
        }
        unread.map_or(Ok(Some(ended)), |failure| Err(trouble(failure)))
    }

    async fn hand_out(&self, wire: &BatchClient<'_>, results: ResultsLocation) -> Result<(), Failure> {
        match results {
            ResultsLocation::Here(results) => {
                for (at, result) in results.into_iter().enumerate().filter(|(_, result)| result.is_object()) {
                    let (name, outcome) = wire.form.result(result);
                    self.pending.give_named(name.as_deref(), at, outcome);
                }
                Ok(())
            }
            ResultsLocation::At(url) => {
                let each = |result| {
                    // A result without a name belongs to no request.
                    if let (Some(name), outcome) = wire.form.result(result) {
                        self.pending.give_named(Some(&name), 0, outcome);
                    }
                    true
                };
                wire.lines(&url, each).await
            }
        }
    }

    /// Reports the progress of the batch if it has changed.
    fn tell(&self, batch: &str, state: &BatchStatus, told: &mut u64) {
        if state.done > *told {
            *told = state.done;
            self.say(&format!("{batch}: {} of {} done", state.done, state.total));
            if let Some(progress) = self.pending.progress() {
                progress.note(Note::Count { done: state.done, total: Some(state.total) });
            }
        }
    }

    fn say(&self, text: &str) {
        if let Some(progress) = self.pending.progress() {
            progress.line(self.context.models.hushed(text));
        }
    }
}

/// Classifies the failure of a poll.
fn trouble(failure: Failure) -> PollError {
    match failure.class {
        Class::Transient | Class::RateLimited => PollError::Passing(failure),
        _ if failure.status() == Some(404) => PollError::Absent(failure),
        _ => PollError::Last(BatchResult::Failed { failure, over: false }),
    }
}
