//! Requests that share a batch.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::api::{BatchApi, BatchResult};
use super::{BatchHandle, HandleStore, lock};
use crate::clock::Millis;
use crate::llm::registry::Batching;
use crate::value::{Digest, Value};
use crate::verb::{Failure, Progress};

/// The requests of one batch and their waiting callers. It is first open for more requests; then it is
/// numbered until all callers have recorded their index; then it is sealed and does not change any more.
pub(super) struct PendingBatch {
    /// Cancelled when no caller waits any more.
    gone: CancellationToken,
    /// Guard that waiting callers share.
    here: Weak<DropGuard>,
    /// Notified when the batch is full.
    full: Notify,
    inside: Mutex<BatchState>,
}

#[derive(Default)]
struct BatchState {
    batch_tag: String,
    at: Millis,
    of: u32,
    members: Vec<BatchMember>,
    bytes: usize,
    phase: BatchPhase,
    batch: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BatchPhase {
    #[default]
    Open,
    Numbered,
    Sealed,
    Over,
}

struct BatchMember {
    entry: u32,
    batch_request: BatchRequest,
    events: mpsc::UnboundedSender<BatchEvent>,
}

/// A submitted request.
pub(super) struct BatchRequest {
    /// Body of the request; null if it is already in a batch.
    pub(super) body: Value,
    /// A unique value.
    pub(super) seed: String,
    /// Receives progress messages about the batch.
    pub(super) progress: Progress,
}

/// Event for a waiting caller.
enum BatchEvent {
    /// The future location of the request, which must be recorded before `noted` is answered.
    Numbered { place: BatchHandle, noted: oneshot::Sender<()> },
    /// The batch was created.
    Made(BatchHandle),
    /// Outcome of the request.
    Over(BatchResult),
}

/// A waiting caller.
pub(super) struct BatchTicket {
    events: mpsc::UnboundedReceiver<BatchEvent>,
    _here: Arc<DropGuard>,
}

impl BatchTicket {
    /// Waits for the outcome of the request, and records its location under `slot` meanwhile.
    pub(super) async fn follow(
        mut self,
        places: &dyn HandleStore,
        slot: &str,
    ) -> Result<BatchResult, Failure> {
        while let Some(event) = self.events.recv().await {
            match event {
                BatchEvent::Numbered { place, noted } => {
                    places.keep(slot, place).await?;
                    noted.send(()).unwrap_or_default();
                }
                BatchEvent::Made(place) => places.keep(slot, place).await?,
                BatchEvent::Over(outcome) => return Ok(outcome),
            }
        }
        Err(Failure::transient("the batch is not polled any more"))
    }
}

impl PendingBatch {
    /// An open batch with one request.
    pub(super) fn begin(batch_request: BatchRequest, terms: &Batching) -> (Arc<Self>, BatchTicket) {
        let bytes = batch_request.size();
        let (pending, ticket) = Self::new(0, batch_request, BatchState { bytes, ..BatchState::default() });
        if terms.requests <= 1 || bytes >= terms.bytes {
            pending.close(&mut pending.inside());
        }
        (pending, ticket)
    }

    /// A sealed batch with one request, for the existing batch at `place`.
    pub(super) fn follow(place: &BatchHandle, progress: &Progress) -> (Arc<Self>, BatchTicket) {
        let inside = BatchState {
            batch_tag: place.batch_tag.clone(),
            at: place.at,
            of: place.of,
            batch: place.batch.clone(),
            phase: BatchPhase::Sealed,
            ..BatchState::default()
        };
        Self::new(place.entry, BatchRequest::known(progress), inside)
    }

    fn new(entry: u32, batch_request: BatchRequest, inside: BatchState) -> (Arc<Self>, BatchTicket) {
        let gone = CancellationToken::new();
        let here = Arc::new(gone.clone().drop_guard());
        let pending = Arc::new(Self {
            gone,
            here: Arc::downgrade(&here),
            full: Notify::new(),
            inside: Mutex::new(inside),
        });
        let ticket = pending.inside().seat(entry, batch_request, here);
        (pending, ticket)
    }

    fn inside(&self) -> MutexGuard<'_, BatchState> {
        lock(&self.inside)
    }

    /// Adds a request, or returns it if it does not fit.
    pub(super) fn add(
        &self,
        batch_request: BatchRequest,
        terms: &Batching,
    ) -> Result<BatchTicket, BatchRequest> {
        let mut inside = self.inside();
        let bytes = inside.bytes + batch_request.size();
        let Some(here) = self.here.upgrade().filter(|_| inside.phase == BatchPhase::Open) else {
            return Err(batch_request);
        };
        if bytes > terms.bytes {
            self.close(&mut inside);
            return Err(batch_request);
        }
        inside.bytes = bytes;
        let ticket = inside.seat(0, batch_request, here);
        if inside.members.len() >= terms.requests {
            self.close(&mut inside);
        }
        Ok(ticket)
    }

    /// Closes the batch for more requests.
    fn close(&self, inside: &mut BatchState) {
        inside.phase = BatchPhase::Numbered;
        self.full.notify_one();
    }

    /// Joins the waiting callers of request `entry`, if the batch is sealed and not finished.
    pub(super) fn join(&self, entry: u32, progress: &Progress) -> Option<BatchTicket> {
        let mut inside = self.inside();
        let here = self.here.upgrade().filter(|_| inside.phase == BatchPhase::Sealed)?;
        let ticket = inside.seat(entry, BatchRequest::known(progress), here);
        if inside.batch.is_some()
            && let Some(member) = inside.members.last()
        {
            member.tell(BatchEvent::Made(inside.place(entry)));
        }
        Some(ticket)
    }

    /// Whether it is the batch `batch` of the provider.
    pub(super) fn has(&self, batch: &str) -> bool {
        self.inside().batch.as_deref() == Some(batch)
    }

    /// Time just before its creation.
    pub(super) fn made_at(&self) -> Millis {
        self.inside().at
    }

    /// Resolves when no caller waits any more.
    pub(super) fn deserted(&self) -> impl Future<Output = ()> + use<> {
        self.gone.clone().cancelled_owned()
    }

    /// Resolves when the batch is full.
    pub(super) async fn filled(&self) {
        self.full.notified().await;
    }

    /// Number of requests.
    pub(super) fn size(&self) -> usize {
        self.inside().members.len()
    }

    /// Assigns indexes to all waiting callers for a batch with a new tag. The receivers resolve when the
    /// callers have recorded them, or fail if they have left.
    pub(super) fn number(&self, now: Millis) -> (BatchHandle, Vec<oneshot::Receiver<()>>) {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Numbered;
        inside.members.retain(|member| !member.events.is_closed());
        let first =
            inside.members.first().map(|member| member.batch_request.seed.clone()).unwrap_or_default();
        let digest = Digest::of(format!("{first}/{now}/{}", inside.batch_tag)).to_string();
        inside.batch_tag = format!("atoll-{}", &digest[..20]);
        inside.at = now;
        inside.of = u32::try_from(inside.members.len()).unwrap_or(u32::MAX);
        for (entry, member) in (0..).zip(&mut inside.members) {
            member.entry = entry;
        }
        let told = inside.members.iter().map(|member| {
            let (noted, heard) = oneshot::channel();
            member.tell(BatchEvent::Numbered { place: inside.place(member.entry), noted });
            heard
        });
        let told = told.collect();
        (inside.place(0), told)
    }

    /// Seals the batch and returns its entries.
    pub(super) fn seal(&self, form: &dyn BatchApi) -> Vec<Value> {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Sealed;
        let batch_tag = inside.batch_tag.clone();
        let entry = |member: &mut BatchMember| {
            form.entry(&format!("{batch_tag}-{}", member.entry), member.batch_request.body.take())
        };
        inside.members.iter_mut().map(entry).collect()
    }

    /// The batch was created.
    pub(super) fn made(&self, batch: &str) {
        let mut inside = self.inside();
        inside.batch = Some(batch.to_owned());
        for member in &inside.members {
            member.tell(BatchEvent::Made(inside.place(member.entry)));
        }
    }

    /// Sends the outcome of request `entry`.
    pub(super) fn give(&self, entry: u32, outcome: BatchResult) {
        let mut inside = self.inside();
        // Earlier callers may have left.
        let waits = |member: &BatchMember| member.entry == entry && !member.events.is_closed();
        if let Some(at) = inside.members.iter().position(waits) {
            inside.members.swap_remove(at).tell(BatchEvent::Over(outcome));
        }
    }

    /// Sends the outcome of a request by its name, or by its index `at` among the results if it has none.
    /// Unknown names are ignored.
    pub(super) fn give_named(&self, name: Option<&str>, at: usize, outcome: BatchResult) {
        let entry = match name {
            None => u32::try_from(at).ok(),
            Some(name) => {
                let batch_tag = self.inside().batch_tag.clone();
                name.strip_prefix(&batch_tag).and_then(|rest| rest.strip_prefix('-')?.parse().ok())
            }
        };
        if let Some(entry) = entry {
            self.give(entry, outcome);
        }
    }

    /// Sends `outcome` to all waiting callers.
    pub(super) fn end(&self, outcome: &BatchResult) {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Over;
        inside.members.drain(..).for_each(|member| member.tell(BatchEvent::Over(outcome.clone())));
    }

    /// The progress of the first waiting caller; messages are the same for all.
    pub(super) fn progress(&self) -> Option<Progress> {
        let inside = self.inside();
        let there = inside.members.iter().find(|member| !member.events.is_closed());
        there.map(|member| member.batch_request.progress.clone())
    }
}

impl BatchState {
    fn seat(&mut self, entry: u32, batch_request: BatchRequest, here: Arc<DropGuard>) -> BatchTicket {
        let (events, heard) = mpsc::unbounded_channel();
        self.members.push(BatchMember { entry, batch_request, events });
        BatchTicket { events: heard, _here: here }
    }

    fn place(&self, entry: u32) -> BatchHandle {
        BatchHandle {
            batch_tag: self.batch_tag.clone(),
            entry,
            of: self.of,
            at: self.at,
            batch: self.batch.clone(),
        }
    }
}

impl BatchMember {
    fn tell(&self, event: BatchEvent) {
        // The caller may have left.
        self.events.send(event).ok();
    }
}

impl BatchRequest {
    fn known(progress: &Progress) -> Self {
        Self { body: Value::Null, seed: String::new(), progress: progress.clone() }
    }

    /// Its size in a batch in bytes, with its name and syntax.
    fn size(&self) -> usize {
        const AROUND: usize = 200;
        self.body.to_string().len() + AROUND
    }
}
