#![expect(clippy::disallowed_methods, reason = "a door: opens the sockets of WebSockets")]

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use indexmap::IndexMap;
use reqwest::Url;
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::line::why;
use crate::scenario::tls::Trusted;
use crate::scenario::trust;
use crate::value::Value;

/// Most bytes of one message and of one frame.
const LARGEST: usize = 16 << 20;

/// Most bytes of the answer that refuses a handshake.
const REFUSAL: usize = 8 << 10;

/// A connection as the library has it.
pub type Socket = WebSocketStream<MaybeTlsStream<Lent>>;

/// A connection that was made.
pub struct Dialled {
    /// The connection.
    pub socket: Socket,
    /// Headers of the handshake, by lower-case name.
    pub headers: Value,
    /// The subprotocol that was agreed on.
    pub protocol: Option<String>,
}

/// Why there is no connection.
pub enum Refused {
    /// The server answered something else.
    Answer {
        /// Its HTTP status.
        status: u16,
        /// Headers by lower-case name.
        headers: Value,
        /// The beginning of its body.
        body: String,
    },
    /// There is no answer that could be understood.
    Broken(String),
}

/// The request of a handshake.
pub fn request(
    url: &Url,
    headers: &IndexMap<String, String>,
    protocols: &[String],
) -> Result<Request, String> {
    let mut request = url.as_str().into_client_request().map_err(|e| format!("{url} cannot be used: {e}"))?;
    let own = headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let offered = (!protocols.is_empty()).then(|| ("sec-websocket-protocol", protocols.join(", ")));
    for (name, value) in own.chain(offered) {
        let named =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        let value = HeaderValue::from_str(&value).map_err(|_| {
            format!("the value of the header `{name}` holds a line break or control character")
        })?;
        request.headers_mut().insert(named, value);
    }
    Ok(request)
}

/// Connects. Over TLS, `trusted` says whom to trust and which certificate to show.
pub async fn dial(url: &Url, request: Request, trusted: &Trusted) -> Result<Dialled, Refused> {
    trust::install();
    let config = if url.scheme() == "wss" { trusted.config().map_err(Refused::Broken)? } else { None };
    let connector = config.map(|config| Connector::Rustls(Arc::new(config)));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|e| Refused::Broken(format!("no connection: {}", refused(&e))))?;
    let _ = stream.set_nodelay(true);
    let back = Arc::default();
    let lent = Lent { stream: Some(stream), back: Arc::clone(&back) };
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    match client_async_tls_with_config(request, lent, Some(config), connector).await {
        Ok((socket, response)) => {
            let protocol = response.headers().get("sec-websocket-protocol");
            let protocol = protocol.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            Ok(Dialled { socket, headers: table(response.headers()), protocol })
        }
        Err(Error::Http(response)) => Err(answer(&response, url.scheme() == "ws", &back).await),
        Err(Error::Tls(error)) => Err(Refused::Broken(format!("no connection: {error}"))),
        // What is wrong with TLS comes as an error of the socket.
        Err(Error::Io(error)) if is_about_tls(&error) => {
            Err(Refused::Broken(format!("no connection: {}", trust::reason(error.to_string()))))
        }
        Err(error) => Err(Refused::Broken(format!("the handshake failed: {}", why(&error)))),
    }
}

fn is_about_tls(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

/// Why a socket could not be opened, without addresses.
fn refused(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "it was refused".to_owned(),
        io::ErrorKind::ConnectionReset => "it was reset".to_owned(),
        _ => error.to_string(),
    }
}

/// The answer that refuses a handshake. The rest of its body may still be on its way.
async fn answer(response: &Response<Option<Vec<u8>>>, is_plain: bool, back: &Return) -> Refused {
    let mut body = response.body().clone().unwrap_or_default();
    let told = response.headers().get(http::header::CONTENT_LENGTH);
    let length = told.and_then(|value| value.to_str().ok()?.parse::<usize>().ok()).unwrap_or(0).min(REFUSAL);
    let stream = back.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(stream) = stream.filter(|_| is_plain && body.len() < length) {
        let rest = length.saturating_sub(body.len()) as u64;
        let _ = stream.take(rest).read_to_end(&mut body).await;
    }
    body.truncate(REFUSAL);
    let mut text = String::from_utf8_lossy(&body).into_owned();
    if body.len() == REFUSAL {
        // What came after it is not known.
        text.push('…');
    }
    Refused::Answer { status: response.status().as_u16(), headers: table(response.headers()), body: text }
}

/// Headers by name, sorted; several values of one name joined, bytes that are no UTF-8 replaced.
fn table(headers: &HeaderMap) -> Value {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let values = |name| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    };
    Value::Object(names.into_iter().map(|name| (name.to_string(), values(name).into())).collect())
}

type Return = Arc<Mutex<Option<TcpStream>>>;

/// A stream that goes back to its owner when it is dropped: the library keeps that of a refused handshake to itself.
pub struct Lent {
    stream: Option<TcpStream>,
    back: Return,
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl Lent {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, into)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
