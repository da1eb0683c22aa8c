//! Those whose requests share a batch.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::form::{Fate, Form};
use super::{Place, Places, lock};
use crate::clock::Millis;
use crate::llm::registry::Batching;
use crate::value::{Digest, Value};
use crate::verb::{Failure, Progress};

/// The requests of one batch and those who wait for their answers. While it is open it takes more of them; then it is
/// numbered, until all who are still there have noted their number; then it is sealed, and stays as it is.
pub(super) struct Flock {
    /// Ends when nobody waits any more.
    gone: CancellationToken,
    /// What those who wait hold on to.
    here: Weak<DropGuard>,
    /// Woken when no more requests fit in.
    full: Notify,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    mark: String,
    at: Millis,
    of: u32,
    members: Vec<Member>,
    bytes: usize,
    phase: Phase,
    batch: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    Numbered,
    Sealed,
    Over,
}

struct Member {
    entry: u32,
    newcomer: Newcomer,
    events: mpsc::UnboundedSender<Event>,
}

/// A request that is handed in.
pub(super) struct Newcomer {
    /// Its body, as its dialect makes it; nothing for one that is in a batch already.
    pub(super) body: Value,
    /// Something that no other request has.
    pub(super) seed: String,
    /// Hears how far the batch is.
    pub(super) progress: Progress,
}

/// What those who wait are told.
enum Event {
    /// This is about to be the place of the request: to be noted before `noted` is answered.
    Numbered { place: Place, noted: oneshot::Sender<()> },
    /// The batch is there.
    Made(Place),
    /// What became of the request.
    Over(Fate),
}

/// One who waits.
pub(super) struct Ticket {
    events: mpsc::UnboundedReceiver<Event>,
    _here: Arc<DropGuard>,
}

impl Ticket {
    /// Waits until it is known what became of the request, noting its place under `slot` meanwhile.
    pub(super) async fn follow(mut self, places: &dyn Places, slot: &str) -> Result<Fate, Failure> {
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Numbered { place, noted } => {
                    places.keep(slot, place).await?;
                    noted.send(()).unwrap_or_default();
                }
                Event::Made(place) => places.keep(slot, place).await?,
                Event::Over(fate) => return Ok(fate),
            }
        }
        Err(Failure::transient("the batch is not followed any more"))
    }
}

impl Flock {
    /// An open flock of one.
    pub(super) fn begin(newcomer: Newcomer, terms: &Batching) -> (Arc<Self>, Ticket) {
        let bytes = newcomer.size();
        let (flock, ticket) = Self::new(0, newcomer, Inside { bytes, ..Inside::default() });
        if terms.requests <= 1 || bytes >= terms.bytes {
            flock.close(&mut flock.inside());
        }
        (flock, ticket)
    }

    /// A sealed flock of one whose batch is at `place`.
    pub(super) fn follow(place: &Place, progress: &Progress) -> (Arc<Self>, Ticket) {
        let inside = Inside {
            mark: place.mark.clone(),
            at: place.at,
            of: place.of,
            batch: place.batch.clone(),
            phase: Phase::Sealed,
            ..Inside::default()
        };
        Self::new(place.entry, Newcomer::known(progress), inside)
    }

    fn new(entry: u32, newcomer: Newcomer, inside: Inside) -> (Arc<Self>, Ticket) {
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

    fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }

    /// Takes in one more request, or hands it back.
    pub(super) fn add(&self, newcomer: Newcomer, terms: &Batching) -> Result<Ticket, Newcomer> {
        let mut inside = self.inside();
        let bytes = inside.bytes + newcomer.size();
        let Some(here) = self.here.upgrade().filter(|_| inside.phase == Phase::Open) else {
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
    fn close(&self, inside: &mut Inside) {
        inside.phase = Phase::Numbered;
        self.full.notify_one();
    }

    /// Waits for the answer to request number `entry` as well, if the flock is sealed and not over.
    pub(super) fn join(&self, entry: u32, progress: &Progress) -> Option<Ticket> {
        let mut inside = self.inside();
        let here = self.here.upgrade().filter(|_| inside.phase == Phase::Sealed)?;
        let ticket = inside.seat(entry, Newcomer::known(progress), here);
        if inside.batch.is_some()
            && let Some(member) = inside.members.last()
        {
            member.tell(Event::Made(inside.place(entry)));
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
    pub(super) fn number(&self, now: Millis) -> (Place, Vec<oneshot::Receiver<()>>) {
        let mut inside = self.inside();
        inside.phase = Phase::Numbered;
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
            member.tell(Event::Numbered { place: inside.place(member.entry), noted });
            heard
        });
        let told = told.collect();
        (inside.place(0), told)
    }

    /// Closes it for good: these are the entries of its batch.
    pub(super) fn seal(&self, form: &dyn Form) -> Vec<Value> {
        let mut inside = self.inside();
        inside.phase = Phase::Sealed;
        let mark = inside.mark.clone();
        let entry = |member: &mut Member| {
            form.entry(&format!("{mark}-{}", member.entry), member.newcomer.body.take())
        };
        inside.members.iter_mut().map(entry).collect()
    }

    /// The batch is there.
    pub(super) fn made(&self, batch: &str) {
        let mut inside = self.inside();
        inside.batch = Some(batch.to_owned());
        for member in &inside.members {
            member.tell(Event::Made(inside.place(member.entry)));
        }
    }

    /// Tells what became of request number `entry`.
    pub(super) fn give(&self, entry: u32, fate: Fate) {
        let mut inside = self.inside();
        // Whoever waited for it before may have left.
        let waits = |member: &Member| member.entry == entry && !member.events.is_closed();
        if let Some(at) = inside.members.iter().position(waits) {
            inside.members.swap_remove(at).tell(Event::Over(fate));
        }
    }

    /// The same of a request by its name, `at` its place among the results where it has none. Names of others are none of
    /// this batch.
    pub(super) fn give_named(&self, name: Option<&str>, at: usize, fate: Fate) {
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
    pub(super) fn end(&self, fate: &Fate) {
        let mut inside = self.inside();
        inside.phase = Phase::Over;
        inside.members.drain(..).for_each(|member| member.tell(Event::Over(fate.clone())));
    }

    /// Says something to the first who is there: it is the same for all.
    pub(super) fn progress(&self) -> Option<Progress> {
        let inside = self.inside();
        let there = inside.members.iter().find(|member| !member.events.is_closed());
        there.map(|member| member.newcomer.progress.clone())
    }
}

impl Inside {
    fn seat(&mut self, entry: u32, newcomer: Newcomer, here: Arc<DropGuard>) -> Ticket {
        let (events, heard) = mpsc::unbounded_channel();
        self.members.push(Member { entry, newcomer, events });
        Ticket { events: heard, _here: here }
    }

    fn place(&self, entry: u32) -> Place {
        Place { mark: self.mark.clone(), entry, of: self.of, at: self.at, batch: self.batch.clone() }
    }
}

impl Member {
    fn tell(&self, event: Event) {
        // Whoever has left needs to hear nothing.
        self.events.send(event).ok();
    }
}

impl Newcomer {
    fn known(progress: &Progress) -> Self {
        Self { body: Value::Null, seed: String::new(), progress: progress.clone() }
    }

    /// Its length in bytes in a batch, with its name and what stands around it.
    fn size(&self) -> usize {
        const AROUND: usize = 200;
        self.body.to_string().len() + AROUND
    }
}
