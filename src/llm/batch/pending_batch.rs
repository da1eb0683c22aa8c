//! Those whose requests share a batch.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::api::{BatchApi, BatchResult};
use super::{BatchHandle, HandleStore, lock};
use crate::clock::Millis;
use crate::llm::registry::Batching;
use crate::value::{Digest, Value};
use crate::verb::{Failure, Progress};

/// The requests of one batch and those who wait for their answers. While it is open it takes more of them; then it is
/// numbered, until all who are still there have noted their number; then it is sealed, and stays as it is.
pub(super) struct PendingBatch {
    /// Ends when nobody waits any more.
    gone: CancellationToken,
    /// What those who wait hold on to.
    here: Weak<DropGuard>,
    /// Woken when no more requests fit in.
    full: Notify,
    inside: Mutex<BatchState>,
}

#[derive(Default)]
struct BatchState {
    mark: String,
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
    newcomer: BatchRequest,
    events: mpsc::UnboundedSender<BatchEvent>,
}

/// A request that is handed in.
pub(super) struct BatchRequest {
    /// Its body, as its dialect makes it; nothing for one that is in a batch already.
    pub(super) body: Value,
    /// Something that no other request has.
    pub(super) seed: String,
    /// Hears how far the batch is.
    pub(super) progress: Progress,
}

/// What those who wait are told.
enum BatchEvent {
    /// This is about to be the place of the request: to be noted before `noted` is answered.
    Numbered { place: BatchHandle, noted: oneshot::Sender<()> },
    /// The batch is there.
    Made(BatchHandle),
    /// What became of the request.
    Over(BatchResult),
}

/// One who waits.
pub(super) struct BatchTicket {
    events: mpsc::UnboundedReceiver<BatchEvent>,
    _here: Arc<DropGuard>,
}

impl BatchTicket {
    /// Waits until it is known what became of the request, noting its place under `slot` meanwhile.
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
                BatchEvent::Over(fate) => return Ok(fate),
            }
        }
        Err(Failure::transient("the batch is not followed any more"))
    }
}

impl PendingBatch {
    /// An open flock of one.
    pub(super) fn begin(newcomer: BatchRequest, terms: &Batching) -> (Arc<Self>, BatchTicket) {
        let bytes = newcomer.size();
        let (flock, ticket) = Self::new(0, newcomer, BatchState { bytes, ..BatchState::default() });
        if terms.requests <= 1 || bytes >= terms.bytes {
            flock.close(&mut flock.inside());
        }
        (flock, ticket)
    }

    /// A sealed flock of one whose batch is at `place`.
    pub(super) fn follow(place: &BatchHandle, progress: &Progress) -> (Arc<Self>, BatchTicket) {
        let inside = BatchState {
            mark: place.mark.clone(),
            at: place.at,
            of: place.of,
            batch: place.batch.clone(),
            phase: BatchPhase::Sealed,
            ..BatchState::default()
        };
        Self::new(place.entry, BatchRequest::known(progress), inside)
    }

    fn new(entry: u32, newcomer: BatchRequest, inside: BatchState) -> (Arc<Self>, BatchTicket) {
        let gone = CancellationToken::new();
        let here = Arc::new(gone.clone().drop_guard());
        let flock = Arc::new(Self {
            gone,
            here: Arc::downgrade(&here),
            full: Notify::new(),
            inside: Mutex::new(inside),
        });
        let ticket = flock.inside().seat(entry, newcomer, here);
        (flock, ticket)
    }

    fn inside(&self) -> MutexGuard<'_, BatchState> {
        lock(&self.inside)
    }

    /// Takes in one more request, or hands it back.
    pub(super) fn add(&self, newcomer: BatchRequest, terms: &Batching) -> Result<BatchTicket, BatchRequest> {
        let mut inside = self.inside();
        let bytes = inside.bytes + newcomer.size();
        let Some(here) = self.here.upgrade().filter(|_| inside.phase == BatchPhase::Open) else {
            return Err(newcomer);
        };
        if bytes > terms.bytes {
            self.close(&mut inside);
            return Err(newcomer);
        }
        inside.bytes = bytes;
        let ticket = inside.seat(0, newcomer, here);
        if inside.members.len() >= terms.requests {
            self.close(&mut inside);
        }
        Ok(ticket)
    }

    /// No more requests fit in.
    fn close(&self, inside: &mut BatchState) {
        inside.phase = BatchPhase::Numbered;
        self.full.notify_one();
    }

    /// Waits for the answer to request number `entry` as well, if the flock is sealed and not over.
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

    /// Whether its batch is `batch`.
    pub(super) fn has(&self, batch: &str) -> bool {
        self.inside().batch.as_deref() == Some(batch)
    }

    /// When its batch was about to be made.
    pub(super) fn made_at(&self) -> Millis {
        self.inside().at
    }

    /// Resolves when nobody waits any more.
    pub(super) fn deserted(&self) -> impl Future<Output = ()> + use<> {
        self.gone.clone().cancelled_owned()
    }

    /// Resolves when no more requests fit in.
    pub(super) async fn filled(&self) {
        self.full.notified().await;
    }

    /// How many there are.
    pub(super) fn size(&self) -> usize {
        self.inside().members.len()
    }

    /// Gives all who are still there their number in a batch with a new mark; resolves the answers when they have noted
    /// it, and breaks them where they have left.
    pub(super) fn number(&self, now: Millis) -> (BatchHandle, Vec<oneshot::Receiver<()>>) {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Numbered;
        inside.members.retain(|member| !member.events.is_closed());
        let first = inside.members.first().map(|member| member.newcomer.seed.clone()).unwrap_or_default();
        let digest = Digest::of(format!("{first}/{now}/{}", inside.mark)).to_string();
        inside.mark = format!("atoll-{}", &digest[..20]);
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

    /// Closes it for good: these are the entries of its batch.
    pub(super) fn seal(&self, form: &dyn BatchApi) -> Vec<Value> {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Sealed;
        let mark = inside.mark.clone();
        let entry = |member: &mut BatchMember| {
            form.entry(&format!("{mark}-{}", member.entry), member.newcomer.body.take())
        };
        inside.members.iter_mut().map(entry).collect()
    }

    /// The batch is there.
    pub(super) fn made(&self, batch: &str) {
        let mut inside = self.inside();
        inside.batch = Some(batch.to_owned());
        for member in &inside.members {
            member.tell(BatchEvent::Made(inside.place(member.entry)));
        }
    }

    /// Tells what became of request number `entry`.
    pub(super) fn give(&self, entry: u32, fate: BatchResult) {
        let mut inside = self.inside();
        // Whoever waited for it before may have left.
        let waits = |member: &BatchMember| member.entry == entry && !member.events.is_closed();
        if let Some(at) = inside.members.iter().position(waits) {
            inside.members.swap_remove(at).tell(BatchEvent::Over(fate));
        }
    }

    /// The same of a request by its name, `at` its place among the results where it has none. Names of others are none of
    /// this batch.
    pub(super) fn give_named(&self, name: Option<&str>, at: usize, fate: BatchResult) {
        let entry = match name {
            None => u32::try_from(at).ok(),
            Some(name) => {
                let mark = self.inside().mark.clone();
                name.strip_prefix(&mark).and_then(|rest| rest.strip_prefix('-')?.parse().ok())
            }
        };
        if let Some(entry) = entry {
            self.give(entry, fate);
        }
    }

    /// Tells everybody who still waits.
    pub(super) fn end(&self, fate: &BatchResult) {
        let mut inside = self.inside();
        inside.phase = BatchPhase::Over;
        inside.members.drain(..).for_each(|member| member.tell(BatchEvent::Over(fate.clone())));
    }

    /// Says something to the first who is there: it is the same for all.
    pub(super) fn progress(&self) -> Option<Progress> {
        let inside = self.inside();
        let there = inside.members.iter().find(|member| !member.events.is_closed());
        there.map(|member| member.newcomer.progress.clone())
    }
}

impl BatchState {
    fn seat(&mut self, entry: u32, newcomer: BatchRequest, here: Arc<DropGuard>) -> BatchTicket {
        let (events, heard) = mpsc::unbounded_channel();
        self.members.push(BatchMember { entry, newcomer, events });
        BatchTicket { events: heard, _here: here }
    }

    fn place(&self, entry: u32) -> BatchHandle {
        BatchHandle { mark: self.mark.clone(), entry, of: self.of, at: self.at, batch: self.batch.clone() }
    }
}

impl BatchMember {
    fn tell(&self, event: BatchEvent) {
        // Whoever has left needs to hear nothing.
        self.events.send(event).ok();
    }
}

impl BatchRequest {
    fn known(progress: &Progress) -> Self {
        Self { body: Value::Null, seed: String::new(), progress: progress.clone() }
    }

    /// Its length in bytes in a batch, with its name and what stands around it.
    fn size(&self) -> usize {
        const AROUND: usize = 200;
        self.body.to_string().len() + AROUND
    }
}
