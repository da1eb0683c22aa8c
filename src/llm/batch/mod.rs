//! Batches of requests at a lower price: many steps submit requests, and each waits for its own answer.
//! This module does not know what a step does with its answer, and never loses a batch that may have been
//! created. Start with [`ask`], for one request. A [`PendingBatch`] contains the requests of a batch,
//! `poller` creates and polls it, and `find_existing` finds out after a crash whether it was created. A
//! [`BatchApi`](api::BatchApi) is the pure batch API of a provider. No request is submitted twice: its
//! location is recorded ([`HandleStore`]) with the tag of the batch before the batch is created. If there
//! is such a record without a batch, the provider is first asked for the tag.

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

/// Number of times that a request may return unprocessed before it fails.
const LOSSES: u32 = 3;
/// Wait after a rate limit without a time.
const PATIENCE: Duration = Duration::from_secs(60);

/// All batches that are collected, created and polled here.
#[derive(Default)]
pub(super) struct Batches {
    /// Batches that accept more requests, by provider and model, because a batch has one model.
    gathering: Mutex<HashMap<(String, String), Arc<PendingBatch>>>,
    /// Closed batches, by tag.
    closed: Mutex<HashMap<String, Weak<PendingBatch>>>,
    /// Results of searches for tags, so that each is searched once.
    sought: Mutex<HashMap<String, Arc<OnceCell<Option<String>>>>>,
    /// Batches that were reported as continuing without us.
    left: Mutex<HashSet<String>>,
}

/// Context of a batch: provider, model and clock.
#[derive(Clone)]
struct BatchContext {
    models: Models,
    model: Arc<Model>,
    terms: Batching,
    clock: Arc<dyn Clock>,
}

/// Sends `request` to `model` in a batch. Its location is stored in `entry` under `slot`.
pub(super) async fn ask(
    models: &Models,
    request: &ModelRequest,
    model: &Arc<Model>,
    slot: &str,
    (asking, entry): (CallContext<'_>, BatchOptions<'_>),
) -> Result<ModelResponse, Failure> {
    let terms =
        model.provider.batch.ok_or_else(|| Failure::permanent("this provider does not support batches"))?;
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
        // Other refused requests are repeated as well, so they share another batch.
        entry.places.forget(slot).await?;
        if models.note(&fitted, &refused) {
            (asking.say)(refused.told(&fitted));
        }
        fitted = refused.applied(&fitted);
    }
    Err(Failure::new(Class::Bug, "a request was refused more often than it was sent"))
}

/// The refused option, if the request can be sent without it.
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

/// Converts `outcome` into the answer of a request.
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
            // Reported usage was paid for, even if the answer is an error.
            let read = read.map_err(|error| {
                let failure = provider_error::interrupted(&error.0, model, registry);
                failure.spent(dialect::paid(&draft, request, model))
            });
            match read.and_then(|()| draft.finish(request, model)) {
                Ok(answer) => return Ok(answer),
                // The location is kept: a resumed attempt fetches the answer again, repeats the request,
                // and pays for it once.
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
    // The request is finished: a later attempt sends it again.
    entry.places.forget(slot).await?;
    Err(match failure.class {
        Class::RateLimited if failure.retry_after_ms.is_none() => failure.retry_after(PATIENCE),
        _ => failure,
    })
}

fn lost(model: &Model, why: &str, losses: u32) -> Failure {
    let name = model.full_name();
    if losses < LOSSES {
        return Failure::transient(format!("{name} did not process the request: {why}"));
    }
    Failure::permanent(format!(
        "{name} did not process the request in {losses} batches, the last time because {why}"
    ))
    .hint("remove `mode = \"batch\"`, or send smaller requests")
}

impl BatchContext {
    /// Rejoins the batch at `place`, if it was created.
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

    /// The provider's id of the batch at `place`, if it was created before its process was interrupted.
    /// Concurrent searches for the same batch share one request.
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
    /// Submits a request to the batch that is being collected, or starts one.
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

    /// Joins the tickets for the batch at `place`, if there are any.
    fn join(&self, place: &BatchHandle, entry: BatchOptions<'_>) -> Option<BatchTicket> {
        let known = lock(&self.closed).get(&place.batch_tag).and_then(Weak::upgrade);
        known.and_then(|pending| pending.join(place.entry, entry.progress))
    }

    /// Polls `batch`, which is at `place`, or joins an existing poller.
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

    /// Whether the batch of the provider is known here.
    fn knows(&self, batch: &str) -> bool {
        lock(&self.closed).values().filter_map(Weak::upgrade).any(|pending| pending.has(batch))
    }

    /// Registers the closed batch `pending` under its new tag instead of the old one.
    fn note(&self, pending: &Arc<PendingBatch>, batch_tag: &str) {
        self.forget(pending);
        lock(&self.closed).insert(batch_tag.to_owned(), Arc::downgrade(pending));
    }

    /// Removes `pending`.
    fn forget(&self, pending: &Arc<PendingBatch>) {
        lock(&self.gathering).retain(|_, other| !Arc::ptr_eq(other, pending));
        lock(&self.closed).retain(|_, other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(pending)));
    }

    /// Whether `batch` is reported as continuing without us for the first time.
    pub(super) fn leave(&self, batch: &str) -> bool {
        lock(&self.left).insert(batch.to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
