//! Requests that are asked together, at a lower price: many steps hand theirs in, each waits for its own answer.
//! It must never know what a step does with its answer, nor forget a batch that may have been made.
//! Start with [`ask`], which is one request; a [`PendingBatch`] is those that share a batch, `poller` makes and follows it,
//! `seek` finds out after a crash whether it was made. A [`Form`] is pure: how one provider takes batches.
//!
//! No request is submitted twice: where it will be is written down ([`HandleStore`]) before a batch is made, under a tag that
//! the batch carries, and whoever finds such a note and no batch asks the provider for the tag first.

mod anthropic;
mod api;
mod client;
mod find_existing;
mod gemini;
mod handle;
mod openai;
mod pending_batch;
mod poller;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::sync::OnceCell;

use super::dialect::{self, PartialResponse};
use super::models::{REFUSALS, call_bound, worded};
use super::options::{ProviderReply, RefusedOption};
use super::provider_error;
use crate::clock::Clock;
use crate::llm::registry::{Batching, Model};
use crate::llm::{CallContext, ModelRequest, ModelResponse, Models};
use crate::meter::Meter;
use crate::value::Value;
use crate::verb::{Class, Failure};

use api::BatchResult;
use client::BatchClient;
use pending_batch::{BatchRequest, BatchTicket, PendingBatch};
use poller::{BatchPoller, PollerStart};

pub use handle::{BatchHandle, BatchOptions, HandleStore, StoreFuture};

/// How often a request may come back without having been asked before it is given up.
const LOSSES: u32 = 3;
/// How long to wait where a provider asks for patience and does not say for how long.
const PATIENCE: Duration = Duration::from_secs(60);

/// All batches that are gathered, made and followed here.
#[derive(Default)]
pub(super) struct Batches {
    /// Those that take more requests, by provider and model: the vendors want one model for each batch.
    gathering: Mutex<HashMap<(String, String), Arc<PendingBatch>>>,
    /// Those that are closed, by tag.
    closed: Mutex<HashMap<String, Weak<PendingBatch>>>,
    /// What became of marks without a batch, so that each is looked for once.
    sought: Mutex<HashMap<String, Arc<OnceCell<Option<String>>>>>,
    /// Batches of which it has been said that they go on without us.
    left: Mutex<HashSet<String>>,
}

/// What every part of this needs: who is asked, and on whose clock.
#[derive(Clone)]
struct BatchContext {
    models: Models,
    model: Arc<Model>,
    terms: Batching,
    clock: Arc<dyn Clock>,
}

/// Asks `request` of `model` in a batch; what is remembered of it stands in `entry` under `slot`.
pub(super) async fn ask(
    models: &Models,
    request: &ModelRequest,
    model: &Arc<Model>,
    slot: &str,
    (asking, entry): (CallContext<'_>, BatchOptions<'_>),
) -> Result<ModelResponse, Failure> {
    let terms = model.provider.batch.ok_or_else(|| Failure::permanent("there are no batches here"))?;
    let context =
        BatchContext { models: models.clone(), model: model.clone(), terms, clock: entry.clock.clone() };
    let mut fitted = models.fitted(model);
    for turn in 0..=REFUSALS {
        let worded = worded(request, model, &fitted);
        let sent = worded.as_ref().unwrap_or(request);
        let most = call_bound(sent, &fitted);
        if !asking.budget.covers(&most) {
            asking.budget.cover(&most).await?;
        }
        let body = dialect::of(model.provider.kind).call(sent, &fitted).body;
        let ticket = match entry.places.find(slot) {
            None => None,
            Some(place) => context.back_to(place, entry).await?,
        };
        let ticket = ticket.unwrap_or_else(|| {
            let seed = format!("{}/{}/{slot}/{turn}", asking.idempotency_key, asking.at);
            let batch_request = BatchRequest { body: body.clone(), seed, progress: entry.progress.clone() };
            models.batches().submit(&context, batch_request)
        });
        let outcome = ticket.follow(entry.places, slot).await?;
        let Some(refused) = refused(&outcome, &body, request, &fitted).filter(|_| turn < REFUSALS) else {
            return settle(outcome, request, &context, slot, entry).await;
        };
        // The others that were refused are asked again as well: they share another batch.
        entry.places.forget(slot).await?;
        if models.note(&fitted, &refused) {
            (asking.say)(refused.told(&fitted));
        }
        fitted = refused.applied(&fitted);
    }
    Err(Failure::new(Class::Bug, "a request was refused once more than it is asked"))
}

/// The option that is refused, where an answer is of use without it.
fn refused(
    outcome: &BatchResult,
    sent: &Value,
    request: &ModelRequest,
    model: &Model,
) -> Option<RefusedOption> {
    let BatchResult::Refused { status, error } = outcome else { return None };
    let body = json!({ "error": error }).to_string();
    RefusedOption::in_answer(
        &ProviderReply { status: status.unwrap_or(400), body: &body, sent },
        request,
        model,
    )
}

/// What `outcome` is for the one who asked.
async fn settle(
    outcome: BatchResult,
    request: &ModelRequest,
    context: &BatchContext,
    slot: &str,
    entry: BatchOptions<'_>,
) -> Result<ModelResponse, Failure> {
    let (model, registry) = (&context.model, context.models.registry());
    let failure = match outcome {
        BatchResult::Answered(body) => {
            let mut draft = PartialResponse::of(request);
            draft.closed = true;
            let read = dialect::of(model.provider.kind).whole(&mut draft, &body);
            // What the provider says it used was paid for, also where the answer is an error.
            let read = read.map_err(|error| {
                let failure = provider_error::interrupted(&error.0, model, registry);
                failure.spent(dialect::paid(&draft, request, model))
            });
            match read.and_then(|()| draft.finish(request, model)) {
                Ok(answer) => return Ok(answer),
                // Its place is kept: an attempt that resumes fetches it, asks once more, and pays for it once.
                Err(failure) if dialect::is_worth_asking_again(&failure) => {
                    return Err(if entry.places.pay(slot) { failure.spent(Meter::new()) } else { failure });
                }
                Err(failure) => failure,
            }
        }
        BatchResult::Refused { status, error } => match status {
            Some(status) => {
                let body = json!({ "error": error }).to_string();
                provider_error::status(
                    status,
                    &reqwest::header::HeaderMap::new(),
                    &body,
                    model,
                    registry,
                    context.clock.now(),
                )
            }
            None => provider_error::interrupted(&error, model, registry),
        },
        BatchResult::Unasked(why) => {
            let losses = entry.places.lose(slot).await?;
            return Err(lost(model, &why, losses));
        }
        BatchResult::Failed { failure, over: false } => return Err(failure),
        BatchResult::Failed { failure, over: true } => failure,
    };
    // It is over: an attempt that follows asks anew.
    entry.places.forget(slot).await?;
    Err(match failure.class {
        Class::RateLimited if failure.retry_after_ms.is_none() => failure.retry_after(PATIENCE),
        _ => failure,
    })
}

fn lost(model: &Model, why: &str, losses: u32) -> Failure {
    let name = model.full_name();
    if losses < LOSSES {
        return Failure::transient(format!("{name} was not asked: {why}"));
    }
    Failure::permanent(format!("{name} was not asked in {losses} batches, the last time because {why}"))
        .hint("leave out `mode = \"batch\"`, or ask for less")
}

impl BatchContext {
    /// The way back to the batch at `place`, if it was made.
    async fn back_to(
        &self,
        place: BatchHandle,
        entry: BatchOptions<'_>,
    ) -> Result<Option<BatchTicket>, Failure> {
        let batches = self.models.batches();
        if let Some(ticket) = batches.join(&place, entry) {
            return Ok(Some(ticket));
        }
        let batch = match &place.batch {
            Some(batch) => Some(batch.clone()),
            None => self.sought(&place, entry).await?,
        };
        Ok(batch.map(|batch| {
            batches.follow(self, &BatchHandle { batch: Some(batch.clone()), ..place }, batch, entry)
        }))
    }

    /// What the provider calls the batch at `place`, if it was made before whoever noted that was cut off. All who ask for
    /// the same batch ask the provider once.
    async fn sought(&self, place: &BatchHandle, entry: BatchOptions<'_>) -> Result<Option<String>, Failure> {
        let cell = lock(&self.models.batches().sought).entry(place.batch_tag.clone()).or_default().clone();
        let seeking = async {
            let wire = BatchClient::open(self).await?;
            let say = |text: String| entry.progress.line(self.models.hushed(&text));
            find_existing::seek(&wire, place, &say).await
        };
        cell.get_or_try_init(|| seeking).await.cloned()
    }
}

impl Batches {
    /// Hands in a request: it goes into the batch that is being gathered, or begins one.
    fn submit(&self, context: &BatchContext, batch_request: BatchRequest) -> BatchTicket {
        let key = (context.model.provider.name.clone(), context.model.id.clone());
        let mut gathering = lock(&self.gathering);
        let batch_request = match gathering.get(&key) {
            None => batch_request,
            Some(pending) => match pending.add(batch_request, &context.terms) {
                Ok(ticket) => return ticket,
                Err(batch_request) => batch_request,
            },
        };
        let (pending, ticket) = PendingBatch::begin(batch_request, &context.terms);
        gathering.insert(key, pending.clone());
        drop(gathering);
        tokio::spawn(BatchPoller { context: context.clone(), pending }.run(PollerStart::Gather));
        ticket
    }

    /// Waits with those who wait for the batch at `place` already, if there are any.
    fn join(&self, place: &BatchHandle, entry: BatchOptions<'_>) -> Option<BatchTicket> {
        let known = lock(&self.closed).get(&place.batch_tag).and_then(Weak::upgrade);
        known.and_then(|pending| pending.join(place.entry, entry.progress))
    }

    /// Follows `batch`, which is at `place`, or joins those who do.
    fn follow(
        &self,
        context: &BatchContext,
        place: &BatchHandle,
        batch: String,
        entry: BatchOptions<'_>,
    ) -> BatchTicket {
        let mut closed = lock(&self.closed);
        let known = closed.get(&place.batch_tag).and_then(Weak::upgrade);
        if let Some(ticket) = known.and_then(|pending| pending.join(place.entry, entry.progress)) {
            return ticket;
        }
        let (pending, ticket) = PendingBatch::follow(place, entry.progress);
        closed.insert(place.batch_tag.clone(), Arc::downgrade(&pending));
        drop(closed);
        tokio::spawn(BatchPoller { context: context.clone(), pending }.run(PollerStart::Follow(batch)));
        ticket
    }

    /// Whether `batch` of the provider is one whose tag is known here.
    fn knows(&self, batch: &str) -> bool {
        lock(&self.closed).values().filter_map(Weak::upgrade).any(|pending| pending.has(batch))
    }

    /// Keeps `pending`, which is closed, under its tag, and no longer under the one it had before.
    fn note(&self, pending: &Arc<PendingBatch>, batch_tag: &str) {
        self.forget(pending);
        lock(&self.closed).insert(batch_tag.to_owned(), Arc::downgrade(pending));
    }

    /// Forgets `pending`.
    fn forget(&self, pending: &Arc<PendingBatch>) {
        lock(&self.gathering).retain(|_, other| !Arc::ptr_eq(other, pending));
        lock(&self.closed).retain(|_, other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(pending)));
    }

    /// Whether this is the first time that `batch` is left to itself.
    pub(super) fn leave(&self, batch: &str) -> bool {
        lock(&self.left).insert(batch.to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
