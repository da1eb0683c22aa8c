#![expect(clippy::disallowed_methods, reason = "a door: opens the sockets of WebSockets")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HeaderMap, HeaderName};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::pki_types::ServerName;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::closing::{CloseSent, WatchedStream, watched};
use super::handshake::{HandshakeOptions, HandshakeRequest};
use crate::clock::{Clock, Sleep};
use crate::scenario::network::MOST_HEADERS;
use crate::scenario::network::errors::describe;
use crate::scenario::network::stream::FairStream;
use crate::scenario::network::tls;
use crate::scenario::network::tls::TlsIdentity;
use crate::scenario::values::WrittenDuration;
use crate::value::Value;

/// Most bytes of one message and of one frame.
const LARGEST: usize = 16 << 20;

/// Most bytes of an answer that refuses a handshake.
const REFUSAL: usize = 8 << 10;

/// Connection of the library.
pub type Socket = WebSocketStream<WatchedStream<TokioIo<Upgraded>>>;

/// An open connection.
pub struct OpenSocket {
    /// The connection.
    pub socket: Socket,
    /// Content of the peer's close frame.
    pub said: CloseSent,
    /// Headers of the handshake, by lower-case name.
    pub headers: Value,
    /// Negotiated subprotocol.
    pub protocol: Option<String>,
}

/// Reason why a connection could not be opened.
pub enum HandshakeError {
    /// The server refused the handshake with an HTTP answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers by lower-case name.
        headers: Value,
        /// Beginning of the body.
        body: String,
    },
    /// There was no valid answer.
    Broken(String),
}

/// Connects within `limit`. For TLS, `trusted` has the trusted certificates and the client certificate.
pub async fn dial(
    url: &Url,
    request: HandshakeRequest,
    trusted: &TlsIdentity,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<OpenSocket, HandshakeError> {
    let asked = HandshakeOptions::of(&request);
    let mut late = clock.sleep(limit);
    let too_late = || HandshakeError::Broken(format!("no connection within {}", WrittenDuration(limit)));
    let response = tokio::select! {
        response = Box::pin(answer(url, request, trusted)) => response.map_err(HandshakeError::Broken)?,
        () = &mut late => return Err(too_late()),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response, late).await);
    }
    let failed = |why: String| HandshakeError::Broken(format!("the handshake failed: {why}"));
    let protocol = asked.agreed(response.version(), response.headers()).map_err(failed)?;
    let headers = table(response.headers());
    let upgraded = tokio::select! {
        upgraded = hyper::upgrade::on(response) => upgraded.map_err(|e| failed(broken(&e)))?,
        () = &mut late => return Err(too_late()),
    };
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let (stream, said) = watched(TokioIo::new(upgraded));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
    Ok(OpenSocket { socket, said, headers, protocol })
}

/// The head of the answer to a handshake. Answers before it, such as 103, are ignored.
async fn answer(
    url: &Url,
    request: HandshakeRequest,
    trusted: &TlsIdentity,
) -> Result<hyper::Response<Incoming>, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let connector = if url.scheme() == "wss" {
        let mut config = trusted.config_in_full()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(TlsConnector::from(Arc::new(config)))
    } else {
        None
    };
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|e| format!("no connection: {}", refused(&e)))?;
    let _ = stream.set_nodelay(true);
    let Some(connector) = connector else { return shake(stream, request).await };
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is not a server's name"))?;
    let stream = connector.connect(name, stream).await;
    // TLS errors are reported as socket errors.
    let stream = stream.map_err(|e| format!("no connection: {}", tls::reason(e.to_string())))?;
    shake(stream, request).await
}

/// Sends the request of a handshake.
async fn shake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: HandshakeRequest,
) -> Result<hyper::Response<Incoming>, String> {
    let failed = |e: hyper::Error| format!("the handshake failed: {}", broken(&e));
    let stream = HeaderCase { inner: FairStream::of(stream), is_head: true };
    let mut builder = http1::Builder::new();
    builder.max_headers(MOST_HEADERS).title_case_headers(true);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.map_err(failed)
}

/// A message for a failed handshake that does not depend on the point of failure.
fn broken(error: &hyper::Error) -> String {
    let of_socket = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    if error.is_incomplete_message() || error.is_closed() || of_socket.is_some() {
        return "the connection was lost".to_owned();
    }
    describe(error)
}

/// A message for a socket that could not be opened, without addresses.
fn refused(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "it was refused".to_owned(),
        io::ErrorKind::ConnectionReset => "it was reset".to_owned(),
        _ => error.to_string(),
    }
}

/// The answer that refuses a handshake, with the part of its body that arrives in time.
async fn refusal(response: hyper::Response<Incoming>, mut late: Sleep) -> HandshakeError {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let is_whole = loop {
        let frame = tokio::select! {
            frame = incoming.frame() => frame,
            () = &mut late => break false,
        };
        match frame {
            Some(Ok(frame)) => {
                body.extend_from_slice(frame.data_ref().map(|data| &**data).unwrap_or_default());
            }
            Some(Err(_)) => break false,
            None => break true,
        }
        if body.len() > REFUSAL {
            break false;
        }
    };
    body.truncate(REFUSAL);
    let mut body = String::from_utf8_lossy(&body).into_owned();
    if !is_whole {
        // The rest is unknown.
        body.push('…');
    }
    HandshakeError::Answer { status: head.status.as_u16(), headers: table(&head.headers), body }
}

/// Headers by name, sorted; several values of one name joined, invalid UTF-8 replaced.
fn table(headers: &HeaderMap) -> Value {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let values = |name| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    };
    Value::Object(names.into_iter().map(|name| (name.to_string(), values(name).into())).collect())
}

/// Prefix of the handshake headers as browsers write it, and as the library does. Header names are
/// case-insensitive, but not for every server.
const NAME: &[u8] = b"\r\nSec-WebSocket-";
const WRITTEN: &[u8] = b"\r\nSec-Websocket-";

/// A stream that writes the names of the handshake headers as browsers do.
struct HeaderCase<S> {
    inner: S,
    is_head: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for HeaderCase<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeaderCase<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.is_head {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        let mut head = bytes.to_vec();
        let places = bytes.windows(WRITTEN.len()).enumerate().filter(|(_, window)| *window == WRITTEN);
        for (at, _) in places {
            head[at..at + NAME.len()].copy_from_slice(NAME);
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, &head))?;
        self.is_head = !head[..written].ends_with(b"\r\n\r\n");
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
