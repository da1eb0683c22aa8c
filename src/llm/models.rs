use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::batch::{self, BatchHandle, BatchOptions, Batches, StoreFuture};
use super::cassette::{Cassette, CassetteMatch, KeyedRequest};
use super::listing::{self, Served};
use super::options::RefusedOption;
use super::rate_limiter::{CallPermit, RateLimiter};
use super::stream_redactor::StreamRedactor;
use super::timing::{self, Stopwatch};
use super::transport::{self, CallFailed, TransportContext};
use super::{emulated_tools, provider_error, unsupported};
use crate::clock::Clock;
use crate::llm::registry::{Model, Provider, Registry, RegistryError, SchemaMode};
use crate::llm::{ModelRequest, ModelResponse, in_prose};
use crate::meter::Meter;
use crate::value::Digest;
use crate::verb::{Class, Failure, Reservation, SecretText, Secrets};

/// Client for all models: registry, keys, cassette and one connection pool. Cheap to clone.
#[derive(Clone)]
pub struct Models(Arc<ModelsInner>);

struct ModelsInner {
    registry: Registry,
    secrets: Arc<dyn Secrets>,
    cassette: Cassette,
    /// HTTP clients without and with TLS, created on first use, because TLS reads a few hundred certificates.
    plain: OnceLock<Result<reqwest::Client, Failure>>,
    secure: OnceLock<Result<reqwest::Client, Failure>>,
    /// Options that models have refused, by full name.
    refused: Mutex<HashMap<String, Vec<RefusedOption>>>,
    /// Found models, by the requested name.
    found: Mutex<HashMap<String, Arc<Model>>>,
    /// Rate limiters, by provider.
    gates: Mutex<HashMap<String, Arc<RateLimiter>>>,
    batches: Batches,
}

/// Context of a call that is not part of the request.
#[derive(Clone, Copy)]
pub struct CallContext<'a> {
    /// Step, attempt and sample, such as `judge[3]@1.0`, to distinguish equal requests on a cassette.
    pub at: &'a str,
    /// Idempotency key, the same for all attempts of a step instance; a digest of the request is added to it.
    pub idempotency_key: &'a str,
    /// Receives the answer in pieces. A replayed answer is one piece. For a request with tools, an event
    /// without text is an empty piece.
    pub on_chunk: &'a (dyn Fn(&str) + Send + Sync),
    /// Receives messages about waits before the call.
    pub say: &'a (dyn Fn(String) + Send + Sync),
    /// Called when the call is sent.
    pub sent: &'a (dyn Fn() + Send + Sync),
    /// Records whether the call is waiting.
    pub waits: &'a dyn QueueMemory,
    /// Budget for the call.
    pub budget: &'a dyn CallBudget,
    /// Whether another model could answer, so that there is no wait for a provider that is down.
    pub elsewhere: bool,
    /// Clock for timeouts.
    pub clock: &'a dyn Clock,
    /// Options for a batch, at the price of batches.
    pub batch: Option<BatchOptions<'a>>,
}

/// Records whether the call of an attempt is waiting: a waiting call costs nothing, even if the attempt is
/// interrupted.
pub trait QueueMemory: Send + Sync {
    /// Records that the call is waiting, or that it is about to be sent. When the future resolves, this is
    /// on disk.
    fn keep(&self, waiting: bool) -> StoreFuture<'_, ()>;
}

/// Budget for one call. A call that is refused and repeated without an option may cost more.
pub trait CallBudget: Send + Sync {
    /// Whether a cost of up to `most` is covered.
    fn covers(&self, most: &Meter) -> bool;
    /// Reserves up to `most` for the call. Errors: `budget`; then it is not sent.
    fn cover<'a>(&'a self, most: &'a Meter) -> StoreFuture<'a, ()>;
    /// Releases the reservation, because the call was not sent.
    fn recall(&self);
}

/// A call that is about to be sent. If it ends before its first byte is sent, it costs nothing.
struct Sending<'a> {
    budget: &'a dyn CallBudget,
    begun: Arc<AtomicBool>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.begun.load(Ordering::Relaxed) {
            self.budget.recall();
        }
    }
}

impl CallBudget for Reservation<'_> {
    fn covers(&self, most: &Meter) -> bool {
        Reservation::covers(self, most)
    }

    fn cover<'a>(&'a self, most: &'a Meter) -> StoreFuture<'a, ()> {
        Box::pin(self.raise(most))
    }

    fn recall(&self) {
        Reservation::recall(self);
    }
}

/// An unlimited budget.
impl CallBudget for () {
    fn covers(&self, _: &Meter) -> bool {
        true
    }

    fn cover<'a>(&'a self, _: &'a Meter) -> StoreFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn recall(&self) {}
}

/// Maximum cost of sending `request` to `model`.
pub(super) fn call_bound(request: &ModelRequest, model: &Model) -> Meter {
    let shape = request.schema.as_ref().map_or(0, |shape| shape.canonical.len());
    model.bound_of(
        model.bound_read(Some((request.size() + shape) as u64)).unwrap_or(u64::MAX),
        request.max_tokens,
    )
}

/// Records nothing.
impl QueueMemory for () {
    fn keep(&self, _: bool) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Models {
    /// Models of `registry`, with keys from `secrets`; `cassette` records or replays answers.
    pub fn new(registry: Registry, secrets: Arc<dyn Secrets>, cassette: Cassette) -> Self {
        Self(Arc::new(ModelsInner {
            registry,
            secrets,
            cassette,
            plain: OnceLock::new(),
            secure: OnceLock::new(),
            refused: Mutex::default(),
            found: Mutex::default(),
            gates: Mutex::default(),
            batches: Batches::default(),
        }))
    }

    /// Whether requests may be sent; false if all answers are replayed.
    pub fn asks(&self) -> bool {
        self.0.cassette.asks()
    }

    /// Registry of models.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The model `name`. Errors: `permanent`, with the nearest known name.
    pub fn find(&self, name: &str) -> Result<Arc<Model>, Failure> {
        let mut found = self.0.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = found.get(name) {
            return Ok(model.clone());
        }
        let model = self.0.registry.find(name)?;
        found.insert(name.to_owned(), model.clone());
        Ok(model)
    }

    /// Sends `request` once. The answer may be truncated or a refusal: check its `stop`. Errors are
    /// classified: `rate_limited` (with the time to wait, if known), `auth` (missing or wrong key,
    /// exhausted account), `transient` (unreachable, 5xx, interrupted, silent, not JSON, down), `permanent`
    /// (unknown model, request too long, images for a model without vision, no answer on the cassette),
    /// `refused` (content filter of the provider). The cost of a failed call is in `spent`. Dropping the
    /// future closes the connection.
    pub async fn ask(
        &self,
        request: &ModelRequest,
        asking: CallContext<'_>,
    ) -> Result<(ModelResponse, Meter), Failure> {
        let mut model = self.find(&request.model)?;
        if asking.batch.is_some() {
            model = Arc::new(model.in_batch()?);
        }
        if let Some(refusal) = unsupported::refusal(request, &model) {
            return Err(refusal);
        }
        // Before the first await, so that equal requests get recorded answers in order.
        let kept = self
            .0
            .cassette
            .is_used()
            .then(|| KeyedRequest::new(request, &model, |text| self.0.secrets.redact(text)));
        let found = kept.as_ref().map(|kept| self.0.cassette.find(kept, asking.at)).transpose()?;
        let slot = match found {
            Some(CassetteMatch::Answer(answer, timing)) => {
                timing::play(&answer.text, &timing, asking.on_chunk, asking.clock).await;
                let spent = model.meter(&answer.usage);
                return Ok((answer, spent));
            }
            Some(CassetteMatch::Ask(slot)) => slot,
            None => 0,
        };
        let key = request.fingerprint(&model);
        let spoken = emulated_tools::is_needed(request, &model).then(|| emulated_tools::spoken(request));
        let request = spoken.as_ref().unwrap_or(request);
        let slot_of = |entry: BatchOptions<'_>| {
            format!("{}-{}{}", entry.sample, key.short(), if entry.again { "-again" } else { "" })
        };
        let watch = self.0.cassette.is_timed().then(|| Stopwatch::start(asking.clock));
        let heard = |text: &str| {
            if let Some(watch) = &watch {
                watch.hear(text);
            }
            (asking.on_chunk)(text);
        };
        let timed = CallContext { on_chunk: &heard, ..asking };
        let answered = match asking.batch {
            Some(entry) => batch::ask(self, request, &model, &slot_of(entry), (timed, entry)).await,
            None => self.exchange(request, &model, &key, timed).await,
        };
        let mut answer = answered.map_err(|f| self.redacted(f))?;
        if spoken.is_some() {
            emulated_tools::read(&mut answer);
        }
        // The answer is recorded and shown from here on, the same as in a replay.
        answer.text = self.0.secrets.redact(&answer.text);
        for call in &mut answer.calls {
            self.0.secrets.redact_value(&mut call.input);
        }
        let timing = watch.map(Stopwatch::stop).unwrap_or_default();
        if let Some(kept) = &kept {
            self.0.cassette.keep(slot, kept, asking.at, (&answer, timing))?;
        }
        if let Some(entry) = asking.batch {
            (asking.on_chunk)(&answer.text);
            // Fetching an answer that an earlier attempt has already counted costs nothing.
            if entry.places.pay(&slot_of(entry)) {
                return Ok((answer, Meter::new()));
            }
        }
        let spent = model.meter(&answer.usage);
        Ok((answer, spent))
    }

    async fn exchange(
        &self,
        request: &ModelRequest,
        model: &Model,
        key: &Digest,
        asking: CallContext<'_>,
    ) -> Result<ModelResponse, Failure> {
        let secret = self.key(&model.provider).await?;
        let idempotency_key = format!("{}-{}", asking.idempotency_key, key.short());
        let hush = StreamRedactor::new(&*self.0.secrets, asking.on_chunk);
        let (gate, mut pass) = (self.gate(&model.provider), None);
        let sending = Sending { budget: asking.budget, begun: Arc::default() };
        let (mut turns, mut loading) = (0, Loading::default());
        // The option that is refused for this request only.
        let mut own: Option<RefusedOption> = None;
        let mut fitted = self.fitted(model);
        let mut outcome = loop {
            let worded = worded(request, model, &fitted);
            let sent = worded.as_ref().unwrap_or(request);
            let most = call_bound(sent, &fitted);
            if !asking.budget.covers(&most) {
                // A call that waits for budget must not block other calls.
                pass = None;
                asking.budget.cover(&most).await?;
            }
            if pass.is_none() {
                pass = Some(admitted(&gate, asking).await?);
                // Other calls may have found refused options meanwhile.
                fitted = self.fitted(model);
                fitted = own.as_ref().map_or(fitted.clone(), |own| own.applied(&fitted));
                continue;
            }
            let line = TransportContext {
                client: self.client(&model.provider)?,
                registry: &self.0.registry,
                model: &fitted,
                key: secret.as_ref(),
                idempotency_key: &idempotency_key,
                on_chunk: &|piece| if piece.is_empty() { (asking.on_chunk)("") } else { hush.take(piece) },
                clock: asking.clock,
                begun: &sending.begun,
            };
            match transport::ask(sent, &line).await {
                Err(CallFailed { refused: Some(refused), .. }) if turns < REFUSALS => {
                    turns += 1;
                    if self.note(&fitted, &refused) {
                        (asking.say)(refused.told(&fitted));
                    }
                    fitted = refused.applied(&fitted);
                    if !refused.lasts() {
                        own = Some(refused);
                    }
                }
                Err(CallFailed { failure, .. })
                    if provider_error::loads(&failure) && loading.goes_on(model) =>
                {
                    loading.wait(model, &asking).await?;
                }
                outcome => break outcome.map_err(|failed| failed.failure),
            }
        };
        hush.end();
        if let Some(pass) = pass {
            provider_error::tell(&pass, &mut outcome, asking.clock.now());
        }
        outcome
    }

    /// Maximum cost of `request` to `model`, without options that it is known to refuse.
    pub fn bound(&self, request: &ModelRequest, model: &Model) -> Meter {
        let spoken = emulated_tools::is_needed(request, model).then(|| emulated_tools::spoken(request));
        let request = spoken.as_ref().unwrap_or(request);
        let fitted = self.fitted(model);
        let worded = worded(request, model, &fitted);
        call_bound(worded.as_ref().unwrap_or(request), &fitted)
    }

    /// `model` without features that it has refused.
    pub fn fitted(&self, model: &Model) -> Model {
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = refused.get(&model.full_name()).map(Vec::as_slice).unwrap_or_default();
        refused.iter().fold(model.clone(), |model, refused| refused.applied(&model))
    }

    /// Records an option that `model` has refused; returns whether that is new.
    pub(super) fn note(&self, model: &Model, refused: &RefusedOption) -> bool {
        if !refused.lasts() {
            return true;
        }
        let mut all = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(model.full_name()).or_default();
        let news = !known.contains(refused);
        if news {
            known.push(refused.clone());
        }
        news
    }

    /// The models in the list of `provider`, by name.
    /// Errors are classified as in [`Models::ask`].
    pub async fn served(&self, provider: &str, clock: &dyn Clock) -> Result<Vec<Served>, Failure> {
        let provider = self.0.registry.provider(provider)?.clone();
        let key = self.key(&provider).await?;
        let served =
            listing::ask(self.client(&provider)?, &self.0.registry, &provider, key.as_ref(), clock).await;
        served.map_err(|failure| self.redacted(failure))
    }

    /// Whether the batch at `place` is reported as continuing without us for the first time.
    pub fn leave(&self, place: &BatchHandle) -> bool {
        place.batch.as_deref().is_some_and(|batch| self.0.batches.leave(batch))
    }

    /// `text` without secrets.
    pub(super) fn hushed(&self, text: &str) -> String {
        self.0.secrets.redact(text)
    }

    pub(super) fn batches(&self) -> &Batches {
        &self.0.batches
    }

    pub(super) fn gate(&self, provider: &Provider) -> Arc<RateLimiter> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || RateLimiter::new(&provider.name, provider.concurrency);
        gates.entry(provider.name.clone()).or_insert_with(new).clone()
    }

    /// The HTTP client for `provider`.
    pub(super) fn client(&self, provider: &Provider) -> Result<&reqwest::Client, Failure> {
        let plain = provider.base_url.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("http:"));
        let client = if plain { &self.0.plain } else { &self.0.secure };
        client.get_or_init(|| transport::client(!plain)).as_ref().map_err(Failure::clone)
    }

    pub(super) async fn key(&self, provider: &Provider) -> Result<Option<SecretText>, Failure> {
        let Some(name) = provider.key_env.clone() else { return Ok(None) };
        if let Some(withheld) = &provider.withheld {
            return Err(Failure::new(Class::Auth, withheld.message.clone()).hint(withheld.hint.clone()));
        }
        let secrets = self.0.secrets.clone();
        let found = if provider.key_command.is_empty() {
            secrets.get(&name)
        } else {
            // A key command may take long.
            let asked = name.clone();
            tokio::task::spawn_blocking(move || secrets.get(&asked)).await.ok().flatten()
        };
        found.map(Some).ok_or_else(|| {
            let provider = &provider.name;
            let why = self.0.secrets.trouble(&name).unwrap_or_else(|| format!("{name} is not set"));
            Failure::new(Class::Auth, format!("the key for {provider} is missing: {why}")).hint(format!(
                "export {name}=…, run `atoll configure {provider}`, or use a model of another provider (`local/…` needs no key)"
            ))
        })
    }

    fn redacted(&self, mut failure: Failure) -> Failure {
        let Failure { message, hint, detail, .. } = &mut failure;
        for text in [message].into_iter().chain(hint) {
            *text = self.0.secrets.redact(text);
        }
        self.0.secrets.redact_value(detail);
        failure
    }
}

/// Waits for the permission to call.
async fn admitted(gate: &Arc<RateLimiter>, asking: CallContext<'_>) -> Result<CallPermit, Failure> {
    let pass = if let Ok(pass) = gate.step_in(asking.clock.now()) {
        pass
    } else {
        asking.waits.keep(true).await?;
        gate.enter(asking.clock, asking.elsewhere, asking.say).await?
    };
    (asking.sent)();
    asking.waits.keep(false).await?;
    Ok(pass)
}

/// Most repetitions of a request because an option was refused.
pub(super) const REFUSALS: u32 = 6;

/// `request` with the schema in its text, if `fitted` supports nothing else but `model`, as it is
/// registered, did.
pub(super) fn worded(request: &ModelRequest, model: &Model, fitted: &Model) -> Option<ModelRequest> {
    let shape = request.schema.as_ref()?;
    if fitted.means(shape) != SchemaMode::Words || model.means(shape) == SchemaMode::Words {
        return None;
    }
    let ask = in_prose(&shape.canonical);
    let system = request.system.as_ref().map_or(ask.clone(), |system| format!("{system}\n\n{ask}"));
    Some(ModelRequest { system: Some(system), ..request.clone() })
}

/// Time limit for loading a model: the same as for silence.
#[derive(Default)]
struct Loading {
    waited: Duration,
}

impl Loading {
    const PAUSE: Duration = Duration::from_secs(2);

    fn goes_on(&self, model: &Model) -> bool {
        self.waited < model.provider.idle
    }

    /// Waits until the next request. All sent requests were answered, so nothing is lost meanwhile.
    async fn wait(&mut self, model: &Model, asking: &CallContext<'_>) -> Result<(), Failure> {
        asking.budget.recall();
        asking.waits.keep(true).await?;
        if self.waited.is_zero() {
            (asking.say)(format!("{} is loading its model: waiting for it", model.provider.name));
        }
        self.waited += Self::PAUSE;
        asking.clock.sleep(Self::PAUSE).await;
        (asking.sent)();
        asking.waits.keep(false).await
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let failure = Self::permanent(error.message);
        Self { hint: error.hint, ..failure }
    }
}
