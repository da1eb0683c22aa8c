//! Makes a batch and follows it to its end, for all who wait for it and no longer than they do.

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

/// How often a batch that is being gathered waits for one more request, all in all.
const WAITS: u32 = 20;
/// How often a batch is tried to be made where the provider does not say whether it was.
const TURNS: u32 = 3;
/// How often in a row looking at a batch may fail before those who wait are told.
const SILENCES: u32 = 30;

/// A provider may say for a while that there is no such batch, though it has just made it: for so long it is looked for
/// again before it counts as gone, unless it was made so long ago that it may be gone indeed. Asked anew it would be paid
/// twice.
const ABSENT: Duration = Duration::from_secs(600);
const OLD: Duration = Duration::from_secs(26 * 3_600);

/// The one who looks after a batch.
pub(super) struct BatchPoller {
    pub(super) context: BatchContext,
    pub(super) pending: Arc<PendingBatch>,
}

/// Where a poller begins.
pub(super) enum PollerStart {
    /// With an open batch.
    Gather,
    /// With a batch that is there.
    Follow(String),
}

/// How a call that may be repeated went wrong.
enum PollError {
    /// For now.
    Passing(Failure),
    /// The provider does not know the batch.
    Absent(Failure),
    /// What becomes of all who wait.
    Last(BatchResult),
}

impl BatchPoller {
    /// Looks after the batch until it is over or everybody has left.
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
            // Others who wait for it come along soon.
            PollerStart::Follow(batch) => {
                let soon = self.context.terms.gather.min(self.context.terms.poll.0);
                self.follow(&wire, &batch, soon).await
            }
        }
    }

    /// Waits until no more requests come.
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

    /// Numbers those who are there until all have noted their number.
    async fn number(&self) -> BatchHandle {
        loop {
            let (place, noted) = self.pending.number(self.context.clock.now());
            self.context.models.batches().note(&self.pending, &place.batch_tag);
            if noted.is_empty() {
                // All have left: what runs this ends.
                std::future::pending::<()>().await;
            }
            if join_all(noted).await.iter().all(Result::is_ok) {
                return place;
            }
        }
    }

    /// Makes the batch; what the provider calls it.
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
            self.say(&format!("the batch is not there yet ({failure})"));
            self.context.clock.sleep(self.context.terms.poll.0).await;
            turn += 1;
        }
    }

    /// One turn at making it. A call that fails without a verdict may have made it: the next turn looks first.
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
                PollError::Passing(Failure::transient(format!("{name} made a batch without a name")))
            }),
            Err(failure) if failure.class == Class::Transient => Err(PollError::Passing(failure)),
            Err(failure) => Err(PollError::Last(BatchResult::Failed { failure, over: true })),
        }
    }

    /// Looks at the batch again and again until it has ended, and hands out what it has brought.
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
                    self.say(&format!("{batch} is not found, and is looked for again ({failure})"));
                    continue;
                }
                Err(PollError::Last(outcome)) => return Err(outcome),
                Err(PollError::Passing(failure)) => failure,
            };
            silences += 1;
            if silences > SILENCES {
                return Err(BatchResult::Failed { failure, over: false });
            }
            self.say(&format!("{batch} cannot be looked at ({failure})"));
            pause = pause.max(Duration::from_millis(failure.retry_after_ms.unwrap_or(0)));
        }
    }

    /// Looks at the batch once; how it ended, once it has and its results are handed out.
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
        // What can be read is handed out, also next to something that cannot.
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
                    // One without a name is nobody's.
                    if let (Some(name), outcome) = wire.form.result(result) {
                        self.pending.give_named(Some(&name), 0, outcome);
                    }
                    true
                };
                wire.lines(&url, each).await
            }
        }
    }

    /// Says how far the batch is, where that has changed.
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

/// What is to be made of a failed look at a batch.
fn trouble(failure: Failure) -> PollError {
    match failure.class {
        Class::Transient | Class::RateLimited => PollError::Passing(failure),
        _ if failure.status() == Some(404) => PollError::Absent(failure),
        _ => PollError::Last(BatchResult::Failed { failure, over: false }),
    }
}
