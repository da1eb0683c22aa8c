//! Connections to the target, which are kept open and reused. A server may close a connection after any
//! answer, so that the next request on it is lost. That says nothing about the program, so the request is
//! sent again on a new connection, but only if no byte was received for it. The received bytes are
//! counted on each connection, because HTTP libraries have one error for an answer that never began and for
//! one that was interrupted in its head. A failure on a new connection is caused by the program and is not
//! retried.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::scenario::network::MOST_HEADERS;
use crate::scenario::network::errors::describe_as;
use crate::scenario::network::stream::FairStream;

/// A request with its complete body, so that it can be sent more than once.
pub type WireRequest = hyper::Request<Full<Bytes>>;

/// An answer whose body is still being received.
pub type WireResponse = hyper::Response<Incoming>;

/// Idle time after which a connection is probed, and interval of the probes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Most bytes of the headers of an answer with HTTP/2.
const LARGEST_HEAD: u32 = 400 << 10;

/// Error context. Recorded runs contain this text.
const CONNECTING: &str = "client error (Connect)";
/// Error context. Recorded runs contain this text.
const SENDING: &str = "client error (SendRequest)";

/// The connections of one client, all to one origin.
pub struct ConnectionPool {
    tcp: HttpConnector,
    tls: Option<TlsConnector>,
    /// Idle HTTP/1.1 connections.
    idle: Mutex<Vec<PooledConnection>>,
    /// The HTTP/2 connection, which carries any number of requests.
    shared: Mutex<Option<PooledConnection>>,
    /// Notified when a connection becomes idle.
    returned: Notify,
}

/// A connection.
struct PooledConnection {
    sender: Sender,
    /// Number of received bytes.
    came: Arc<AtomicU64>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Why a request has no answer.
struct ConnectionLost {
    reason: String,
    /// Whether the program cannot have processed the request and has answered nothing.
    is_unanswered: bool,
}

impl ConnectionPool {
    /// A pool of TLS connections with the configuration `tls`, including whether HTTP/2 is offered;
    /// unencrypted if `None`.
    pub fn new(tls: Option<ClientConfig>) -> Arc<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        Arc::new(Self {
            tcp,
            tls: tls.map(|config| TlsConnector::from(Arc::new(config))),
            idle: Mutex::default(),
            shared: Mutex::default(),
            returned: Notify::new(),
        })
    }

    /// Sends a request. If it is lost on a connection that was used before, it is sent again on a new
    /// one.
    pub async fn send(self: &Arc<Self>, request: WireRequest) -> Result<WireResponse, String> {
        let (line, is_used) = tokio::select! {
            biased;
            line = self.used() => (line, true),
            line = self.connect(request.uri()) => (line?, false),
        };
        if !is_used {
            return self.send_on(line, request).await.map_err(|lost| lost.reason);
        }
        let again = request.clone();
        let answer = self.send_on(line, request).await;
        let is_lost = match &answer {
            Ok(response) => is_farewell(response),
            Err(lost) => lost.is_unanswered,
        };
        if !is_lost {
            return answer.map_err(|lost| lost.reason);
        }
        let line = self.connect(again.uri()).await?;
        self.send_on(line, again).await.map_err(|lost| lost.reason)
    }

    /// Waits for an idle connection.
    async fn used(&self) -> PooledConnection {
        loop {
            let returned = self.returned.notified();
            if let Some(line) = self.idle_now() {
                return line;
            }
            returned.await;
        }
    }

    fn idle_now(&self) -> Option<PooledConnection> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(PooledConnection { sender: Sender::Two(sender), came }) = &*shared {
            if !sender.is_closed() {
                return Some(PooledConnection { sender: Sender::Two(sender.clone()), came: came.clone() });
            }
            *shared = None;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|line| !line.sender.is_closed());
        idle.pop()
    }

    async fn connect(&self, uri: &Uri) -> Result<PooledConnection, String> {
        let mut tcp = self.tcp.clone();
        let stream = tcp.call(uri.clone()).await.map_err(|e| describe_as(CONNECTING, &e))?.into_inner();
        let Some(tls) = self.tls.as_ref().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)) else {
            return one(stream).await;
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is not a server's name"))?;
        let stream = tls.connect(name, stream).await.map_err(|e| describe_as(CONNECTING, &e))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let line = two(stream).await?;
            if let Sender::Two(sender) = &line.sender {
                let kept = PooledConnection { sender: Sender::Two(sender.clone()), came: line.came.clone() };
                *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            }
            return Ok(line);
        }
        one(stream).await
    }

    async fn send_on(
        self: &Arc<Self>,
        line: PooledConnection,
        request: WireRequest,
    ) -> Result<WireResponse, ConnectionLost> {
        let PooledConnection { sender, came } = line;
        let before = came.load(Ordering::Acquire);
        match sender {
            Sender::One(mut sender) => {
                let response = sender.try_send_request(in_origin_form(request)).await;
                let response = response.map_err(|e| ConnectionLost::new(e, &came, before))?;
                let connections = self.clone();
                tokio::spawn(async move {
                    if sender.ready().await.is_ok() {
                        connections.keep(PooledConnection { sender: Sender::One(sender), came });
                    }
                });
                Ok(response)
            }
            Sender::Two(mut sender) => sender
                .try_send_request(with_authority(request))
                .await
                .map_err(|e| ConnectionLost::new(e, &came, before)),
        }
    }

    fn keep(&self, line: PooledConnection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.returned.notify_one();
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => !sender.is_ready(),
            Self::Two(sender) => sender.is_closed(),
        }
    }
}

impl ConnectionLost {
    /// The loss of a request on a connection that had received `before` bytes when the request was handed
    /// over.
    fn new(mut failed: TrySendError<WireRequest>, came: &AtomicU64, before: u64) -> Self {
        let was_sent = failed.take_message().is_none();
        let error = failed.into_error();
        let is_unanswered = !was_sent || came.load(Ordering::Acquire) == before || is_refused(&error);
        Self { reason: describe_as(SENDING, &error), is_unanswered }
    }
}

/// Whether an HTTP/2 server reports that it has not processed the request.
fn is_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| {
        let is_parting = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let is_reset = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_parting || is_reset)
    })
}

/// Whether an answer only reports that the server closes an idle connection. It may have been sent before
/// the server saw the request.
fn is_farewell(response: &WireResponse) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    response.status() == StatusCode::REQUEST_TIMEOUT && response.headers().get(CONNECTION).is_some_and(closes)
}

/// Opens an HTTP/1.1 connection.
async fn one(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<PooledConnection, String> {
    let (stream, came) = FairStream::counted(stream);
    let made = http1::Builder::new().max_headers(MOST_HEADERS).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|e| describe_as(SENDING, &e))?;
    tokio::spawn(connection);
    sender.ready().await.map_err(|e| describe_as(SENDING, &e))?;
    Ok(PooledConnection { sender: Sender::One(sender), came })
}

/// Opens an HTTP/2 connection.
async fn two(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<PooledConnection, String> {
    let (stream, came) = FairStream::counted(stream);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let made = builder.max_header_list_size(LARGEST_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|e| describe_as(SENDING, &e))?;
    tokio::spawn(connection);
    sender.ready().await.map_err(|e| describe_as(SENDING, &e))?;
    Ok(PooledConnection { sender: Sender::Two(sender), came })
}

/// The request for HTTP/2: a `Host` header becomes the authority.
fn with_authority(mut request: WireRequest) -> WireRequest {
    let Some(host) = request.headers_mut().remove(HOST) else { return request };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Authority::try_from(host.as_bytes()).ok().or(parts.authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// The request for HTTP/1.1: the host is a header, and the first line has only path and query.
fn in_origin_form(mut request: WireRequest) -> WireRequest {
    let uri = request.uri().clone();
    if let Some(authority) = uri.authority() {
        let own = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let host = match uri.port_u16().filter(|port| *port != own) {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        if let Ok(host) = HeaderValue::from_str(&host) {
            request.headers_mut().entry(HOST).or_insert(host);
        }
    }
    let line = if request.method() == Method::CONNECT {
        uri.authority().map(|authority| Uri::from(authority.clone()))
    } else {
        uri.path_and_query().map(|path| Uri::from(path.clone()))
    };
    *request.uri_mut() = line.unwrap_or_default();
    request
}
