//! The only place with network access to providers: sends the call of a wire format and reads the answer as
//! a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use reqwest::Response;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::dialect::{self, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::options::{ProviderReply, RefusedOption};
use super::{provider_error, sse, surrogates};
use crate::clock::{Clock, Sleep};
use crate::llm::registry::{Model, Provider, Registry};
use crate::llm::{ModelRequest, ModelResponse, TokenUsage};
use crate::meter::Meter;
use crate::verb::{Failure, SecretText};

/// Most bytes of an answer, and of an error.
const LONGEST: usize = 64 << 20;
const LONGEST_COMPLAINT: usize = 64 << 10;
/// Time and size limits for reading the rest of a failed answer.
const DRAIN_FOR: Duration = Duration::from_secs(5);
const DRAIN_BYTES: usize = 1 << 20;
/// Time limit of a call, as a multiple of the longest silence.
const SILENCES: u32 = 12;

/// Context of an exchange.
pub(super) struct TransportContext<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) registry: &'a Registry,
    pub(super) model: &'a Model,
    pub(super) key: Option<&'a SecretText>,
    pub(super) idempotency_key: &'a str,
    pub(super) on_chunk: &'a (dyn Fn(&str) + Send + Sync),
    pub(super) clock: &'a dyn Clock,
    /// Set when the call is actually sent.
    pub(super) begun: &'a Arc<AtomicBool>,
}

/// An HTTP client; `secure` for TLS. Reading the certificates of the machine takes some milliseconds, so it
/// is created for the first call.
pub(super) fn client(secure: bool) -> Result<reqwest::Client, Failure> {
    // Fails only if a provider is already installed.
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder()
        .user_agent(concat!("atoll/", env!("CARGO_PKG_VERSION")))
        // A redirect would send the key to another address.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_keepalive(Duration::from_secs(30));
    let client = if secure { client } else { client.tls_certs_only([]) };
    client.build().map_err(|e| Failure::permanent(format!("cannot set up HTTP: {e}")))
}

/// A failed call.
pub(super) struct CallFailed {
    pub(super) failure: Failure,
    /// The refused option, if a call without it may succeed.
    pub(super) refused: Option<RefusedOption>,
}

impl From<Failure> for CallFailed {
    fn from(failure: Failure) -> Self {
        Self { failure, refused: None }
    }
}

/// Sends `request` with the context `line`.
pub(super) async fn ask(
    request: &ModelRequest,
    line: &TransportContext<'_>,
) -> Result<ModelResponse, CallFailed> {
    let dialect = dialect::of(line.model.provider.kind);
    let mut patience = Patience::new(line);
    let call = dialect.call(request, line.model);
    let response = send(dialect, &call, line, &mut patience).await?;
    let code = response.status();
    if !code.is_success() {
        // The call is answered, so it cannot be lost any more.
        line.begun.store(false, Ordering::Relaxed);
        let headers = response.headers().clone();
        let body = body(response, LONGEST_COMPLAINT, &mut patience).await.unwrap_or_else(|(body, _)| body);
        let (status, body) = (code.as_u16(), String::from_utf8_lossy(&body));
        let failure =
            provider_error::status(status, &headers, &body, line.model, line.registry, line.clock.now());
        let failure = failure.spent(said_beside(dialect, &body, request, line.model));
        let answered = ProviderReply { status, body: &body, sent: &call.body };
        let refused = RefusedOption::in_answer(&answered, request, line.model);
        return Err(CallFailed { failure, refused });
    }
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let draft = if kind.starts_with("application/json") || kind.starts_with("text/html") {
        whole(dialect, response, request, (line, &mut patience)).await?
    } else {
        let events =
            if kind.contains("ndjson") { sse::EventBuffer::of_lines() } else { sse::EventBuffer::default() };
        stream(dialect, response, request, (line, events, &mut patience)).await?
    };
    Ok(draft.finish(request, line.model)?)
}

/// Time limits for the next line and for the whole answer.
struct Patience<'a> {
    line: &'a TransportContext<'a>,
    silence: Sleep,
    all: Sleep,
}

impl<'a> Patience<'a> {
    fn new(line: &'a TransportContext<'a>) -> Self {
        let idle = line.model.provider.idle;
        Self { line, silence: line.clock.sleep(idle), all: line.clock.sleep(idle.saturating_mul(SILENCES)) }
    }

    /// Restarts the limit for silence after data was received.
    fn renew(&mut self) {
        self.silence = self.line.clock.sleep(self.line.model.provider.idle);
    }

    /// Waits for `coming`, or returns why a limit was exceeded.
    async fn bear<T>(&mut self, coming: impl Future<Output = T>) -> Result<T, String> {
        let idle = self.line.model.provider.idle;
        tokio::select! {
            biased;
            came = coming => Ok(came),
            () = &mut self.silence => Err(format!("it sent nothing for {} s", idle.as_secs_f64())),
            () = &mut self.all => {
                Err(format!("it did not end within {} s", idle.saturating_mul(SILENCES).as_secs_f64()))
            }
        }
    }
}

async fn send(
    dialect: &dyn WireFormat,
    call: &ProviderCall,
    line: &TransportContext<'_>,
    patience: &mut Patience<'_>,
) -> Result<Response, Failure> {
    let mut post = line.client.post(&call.url).header("idempotency-key", line.idempotency_key);
    post = announced(post, &call.body, line.begun)?;
    for (name, value) in &call.headers {
        post = post.header(*name, value);
    }
    post = keyed(post, dialect, &line.model.provider, line.key)?;
    let sent = patience
        .bear(post.send())
        .await
        .map_err(|why| Failure::transient(format!("{} does not answer: {why}", line.model.provider.name)))
        .map_err(dialect::unanswered)?;
    sent.map_err(|e| {
        let failure = provider_error::unreachable(&e, &line.model.provider);
        // Without a connection, nothing was sent.
        if e.is_connect() || e.is_builder() { failure } else { dialect::unanswered(failure) }
    })
}

/// `call` with a JSON body that sets `begun` when its first byte is sent, not while the call waits for a
/// connection.
fn announced(
    call: reqwest::RequestBuilder,
    body: &Value,
    begun: &Arc<AtomicBool>,
) -> Result<reqwest::RequestBuilder, Failure> {
    let bytes = serde_json::to_vec(body)
        .map_err(|e| Failure::permanent(format!("the request cannot be written: {e}")))?;
    let (length, begun) = (bytes.len(), begun.clone());
    let stream = futures_util::stream::once(async move {
        begun.store(true, Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(bytes)
    });
    Ok(call
        .header("content-type", "application/json")
        .header("content-length", length)
        .body(reqwest::Body::wrap_stream(stream)))
}

pub(super) fn keyed(
    call: reqwest::RequestBuilder,
    dialect: &dyn WireFormat,
    provider: &Provider,
    key: Option<&SecretText>,
) -> Result<reqwest::RequestBuilder, Failure> {
    let Some(key) = key else { return Ok(call) };
    let (name, value) = dialect.key_header(key.expose_secret());
    let mut value = reqwest::header::HeaderValue::from_str(&value).map_err(|_| {
        let name = provider.key_env.as_deref().unwrap_or("the key");
        Failure::new(
            crate::verb::Class::Auth,
            format!("{name} contains characters that are not allowed in a key"),
        )
        .hint("check for a line break or a space at its end")
    })?;
    value.set_sensitive(true);
    Ok(call.header(name, value))
}

/// Reads up to `most` bytes of a body. After an error, returns the received bytes and the failure.
async fn body(
    mut response: Response,
    most: usize,
    patience: &mut Patience<'_>,
) -> Result<Vec<u8>, (Vec<u8>, Failure)> {
    let name = &patience.line.model.provider;
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < most {
        match patience.bear(response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
                patience.renew();
            }
            Ok(Ok(None)) => break,
            Ok(Err(e)) => return Err((bytes, provider_error::unreachable(&e, name))),
            Err(why) => {
                let failure =
                    Failure::transient(format!("the answer of {} was interrupted: {why}", name.name));
                return Err((bytes, failure));
            }
        }
    }
    Ok(bytes)
}

async fn whole(
    dialect: &dyn WireFormat,
    response: Response,
    request: &ModelRequest,
    (line, patience): (&TransportContext<'_>, &mut Patience<'_>),
) -> Result<PartialResponse, Failure> {
    let body =
        body(response, LONGEST, patience).await.map_err(|(_, failure)| dialect::unanswered(failure))?;
    let body = String::from_utf8_lossy(&body);
    read(dialect, body.trim_start_matches('\u{feff}').trim(), request, line)
}

/// Parses a complete answer: a JSON value, or an event stream without its content type.
fn read(
    dialect: &dyn WireFormat,
    body: &str,
    request: &ModelRequest,
    line: &TransportContext<'_>,
) -> Result<PartialResponse, Failure> {
    let mut incoming = Incoming::of(request);
    if ["data:", "event:", ":"].iter().any(|head| body.starts_with(head)) {
        let mut events = sse::EventBuffer::default();
        let came = events.take(body.as_bytes()).unwrap_or_default();
        let came: Vec<_> = came.into_iter().chain(std::iter::from_fn(|| events.end())).collect();
        incoming.take_all(dialect, &came, line).map_err(|failure| incoming.paid(failure, request, line))?;
        return Ok(incoming.draft);
    }
    // The answer is paid for; the amount can only be estimated.
    let spent = || line.model.meter(&TokenUsage::estimate(request.size(), body.len()));
    let value = parse(body).map_err(|e| no_json(line.model, body, &e).spent(spent()))?;
    let ParsedEvent { value, halves } = value;
    incoming.draft.halves = halves;
    incoming.draft.closed = true;
    let read = dialect.whole(&mut incoming.draft, &value);
    let draft = incoming.draft;
    read.map_err(|error| {
        let failure = provider_error::interrupted(&error.0, line.model, line.registry);
        failure.spent(dialect::paid(&draft, request, line.model))
    })?;
    if draft.stop.is_none() && draft.size() == 0 {
        // An error without an error field.
        let failure = provider_error::no_answer(&value, line.model, line.registry);
        return Err(failure.spent(dialect::paid(&draft, request, line.model)));
    }
    Ok(draft)
}

async fn stream(
    dialect: &dyn WireFormat,
    response: Response,
    request: &ModelRequest,
    (line, mut events, patience): (&TransportContext<'_>, sse::EventBuffer, &mut Patience<'_>),
) -> Result<PartialResponse, Failure> {
    let mut incoming = Incoming::of(request);
    let mut bytes = response.bytes_stream();
    // Received bytes while there was no event.
    let mut raw: Vec<u8> = Vec::new();
    while !incoming.draft.closed {
        let broken = |draft: &PartialResponse, why: &str| {
            let failure = dialect::cut(draft, request, line.model, why);
            if failure.spent.is_empty() { dialect::unanswered(failure) } else { failure }
        };
        let draft = &incoming.draft;
        let (data, last) = match patience.bear(bytes.next()).await {
            Ok(Some(Ok(piece))) => {
                // Only complete lines reset the silence, so that single bytes cannot delay the end without
                // limit.
                if piece.contains(&b'\n') || piece.contains(&b'\r') {
                    patience.renew();
                }
                if !incoming.begun && raw.len() < LONGEST {
                    raw.extend_from_slice(&piece);
                }
                (events.take(&piece).map_err(|_| broken(draft, "an event is too large"))?, false)
            }
            Ok(Some(Err(e))) if draft.stop.is_none() => {
                let why = std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source()).last();
                let why = why.map(ToString::to_string).unwrap_or_default();
                return Err(broken(draft, &why));
            }
            Err(why) if draft.stop.is_none() => return Err(broken(draft, &why)),
            // The answer is complete, but its end was not announced.
            Ok(Some(Err(_)) | None) | Err(_) => (events.end().into_iter().collect(), true),
        };
        if let Err(failure) = incoming.take_all(dialect, &data, line) {
            if !last {
                drain(dialect, &mut bytes, events, &mut incoming, line).await;
            }
            return Err(incoming.paid(failure, request, line));
        }
        if incoming.draft.size() > LONGEST {
            return Err(dialect::cut(&incoming.draft, request, line.model, "the answer is too large"));
        }
        if last {
            break;
        }
    }
    let raw = String::from_utf8_lossy(&raw);
    if !incoming.begun && !raw.trim().is_empty() {
        return read(dialect, raw.trim_start_matches('\u{feff}').trim(), request, line);
    }
    Ok(incoming.draft)
}

/// The usage that a provider reports with an error.
fn said_beside(dialect: &dyn WireFormat, body: &str, request: &ModelRequest, model: &Model) -> Meter {
    let mut draft = PartialResponse::of(request);
    if let Ok(parsed) = parse(body.trim()) {
        dialect.whole(&mut draft, &parsed.value).ok();
    }
    if draft.figures == Figures::default() { Meter::new() } else { dialect::paid(&draft, request, model) }
}

/// Continues to read, within limits, after a failed answer, because its usage is often in the last event.
async fn drain<B: AsRef<[u8]>>(
    dialect: &dyn WireFormat,
    bytes: &mut (impl Stream<Item = reqwest::Result<B>> + Unpin),
    mut events: sse::EventBuffer,
    incoming: &mut Incoming,
    line: &TransportContext<'_>,
) {
    let mut over = line.clock.sleep(line.model.provider.idle.min(DRAIN_FOR));
    let mut left = DRAIN_BYTES;
    while !incoming.draft.closed && left > 0 {
        let piece = tokio::select! {
            biased;
            () = &mut over => return,
            piece = bytes.next() => piece,
        };
        match piece {
            Some(Ok(piece)) => {
                left = left.saturating_sub(piece.as_ref().len());
                let Ok(data) = events.take(piece.as_ref()) else { return };
                incoming.count(dialect, &data);
            }
            Some(Err(_)) | None => return incoming.count(dialect, events.end().as_slice()),
        }
    }
}

/// An answer whose events are being received.
struct Incoming {
    draft: PartialResponse,
    begun: bool,
    pieces: surrogates::SurrogateJoiner,
}

impl Incoming {
    fn of(request: &ModelRequest) -> Self {
        Self {
            draft: PartialResponse::of(request),
            begun: false,
            pieces: surrogates::SurrogateJoiner::default(),
        }
    }

    /// Processes events. Those after an invalid event or an error only count for usage.
    fn take_all(
        &mut self,
        dialect: &dyn WireFormat,
        events: &[sse::ServerEvent],
        line: &TransportContext<'_>,
    ) -> Result<(), Failure> {
        let mut events = events.iter();
        for event in events.by_ref() {
            if let Err(failure) = self.take(dialect, event, line) {
                self.count(dialect, events.as_slice());
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Reads the usage in events after a failure.
    fn count(&mut self, dialect: &dyn WireFormat, events: &[sse::ServerEvent]) {
        for event in events {
            if let Ok(parsed) = parsed(event) {
                for one in parsed.values() {
                    dialect.event(&mut self.draft, one).ok();
                }
            }
        }
    }

    /// `failure` with the cost of its answer: the received part was paid for.
    fn paid(&mut self, failure: Failure, request: &ModelRequest, line: &TransportContext<'_>) -> Failure {
        self.draft.stop = None;
        failure.spent(dialect::paid(&self.draft, request, line.model))
    }

    fn take(
        &mut self,
        dialect: &dyn WireFormat,
        event: &sse::ServerEvent,
        line: &TransportContext<'_>,
    ) -> Result<(), Failure> {
        self.begun = true;
        let added = self.added(dialect, event, line)?;
        match added.map(|text| self.pieces.pass(&text)) {
            Some(text) if !text.is_empty() => (line.on_chunk)(&text),
            // A tool call has no text until it is complete, so an empty piece reports progress.
            _ if self.draft.tools => (line.on_chunk)(""),
            _ => {}
        }
        Ok(())
    }

    fn added(
        &mut self,
        dialect: &dyn WireFormat,
        event: &sse::ServerEvent,
        line: &TransportContext<'_>,
    ) -> Result<Option<String>, Failure> {
        let interrupted = |error: &Value| provider_error::interrupted(error, line.model, line.registry);
        let parsed = match parsed(event) {
            Ok(parsed) => parsed,
            Err(_) if event.failed => return Err(interrupted(&Value::String(event.data.clone()))),
            Err(error) => return Err(no_json(line.model, event.data.trim(), &error)),
        };
        self.draft.halves |= parsed.halves;
        let mut all: Option<String> = None;
        for one in parsed.values() {
            let added = dialect.event(&mut self.draft, one).map_err(|error| interrupted(&error.0))?;
            all = all.into_iter().chain(added).reduce(|all, more| all + &more);
        }
        if event.failed {
            return Err(interrupted(&parsed.value));
        }
        Ok(all)
    }
}

struct ParsedEvent {
    value: Value,
    /// Whether it contains unpaired surrogates.
    halves: bool,
}

impl ParsedEvent {
    /// The events, which some servers put into a list.
    fn values(&self) -> &[Value] {
        match &self.value {
            Value::Array(events) => events,
            event => std::slice::from_ref(event),
        }
    }
}

fn parsed(event: &sse::ServerEvent) -> Result<ParsedEvent, serde_json::Error> {
    match event.data.trim() {
        "[DONE]" => Ok(ParsedEvent { value: Value::String("[DONE]".to_owned()), halves: false }),
        data => parse(data),
    }
}

fn parse(text: &str) -> Result<ParsedEvent, serde_json::Error> {
    let error = match crate::value::parse(text) {
        Ok(value) => return Ok(ParsedEvent { value, halves: false }),
        Err(error) => error,
    };
    let text = surrogates::kept(text).ok_or(error)?;
    crate::value::parse(&text).map(|value| ParsedEvent { value, halves: true })
}

fn no_json(model: &Model, text: &str, error: &serde_json::Error) -> Failure {
    let mut start: String = text.chars().take(120).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    Failure::transient(format!("{} sent an answer that is not JSON ({error}): {start}", model.provider.name))
}
