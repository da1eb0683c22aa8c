use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::closing::CloseSent;
use super::dial::{OpenSocket, Socket};
use super::frame::WsMessage;
use crate::value::Value;

/// Most messages in the buffer, and most bytes of them. While a step receives, further messages wait in the
/// network; otherwise they are dropped and counted, so that pings are still answered.
const WAITING: usize = 10_000;
const BYTES: usize = 16 << 20;

/// The code of a connection that ended without a close frame.
pub const VANISHED: u16 = 1006;

/// The code of a close frame without a code.
const NONE: u16 = 1005;

/// A connection. It receives messages and answers pings also while no step reads. Dropping it closes it.
pub struct WsConnection {
    /// Headers of the handshake, by lower-case name.
    pub headers: Value,
    /// Negotiated subprotocol.
    pub protocol: Option<String>,
    inbox: Arc<ReceiveBuffer>,
    sink: SplitSink<Socket, Message>,
    reader: JoinHandle<()>,
}

/// End of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsEnd {
    /// Code that the peer sent; [`VANISHED`] if there was no close frame.
    pub code: u16,
    /// Reason that the peer sent, or a description of the end.
    pub reason: String,
}

/// Next event of a connection.
pub enum NextFrame {
    /// A message.
    Message(WsMessage),
    /// The connection has ended.
    Ended(WsEnd),
}

#[derive(Default)]
struct ReceiveBuffer {
    received: Mutex<Received>,
    news: Notify,
    room: Notify,
}

#[derive(Default)]
struct Received {
    /// Whether a step is receiving.
    is_read: bool,
    waiting: VecDeque<WsMessage>,
    bytes: usize,
    dropped: u64,
    end: Option<WsEnd>,
}

impl WsConnection {
    /// Starts to receive on an open connection.
    pub fn new(dialled: OpenSocket) -> Self {
        let OpenSocket { socket, said, headers, protocol } = dialled;
        let (sink, stream) = socket.split();
        let inbox = Arc::new(ReceiveBuffer::default());
        let reader = tokio::spawn(take_in(stream, said, inbox.clone()));
        Self { headers, protocol, inbox, sink, reader }
    }

    /// Starts receiving: while the value exists, no message is dropped.
    pub fn receiving(&self) -> Receiving {
        self.inbox.lock().is_read = true;
        Receiving(self.inbox.clone())
    }

    /// The next event. Nothing is lost if the future is dropped.
    pub async fn next(&self) -> NextFrame {
        loop {
            if let Some(next) = self.inbox.take() {
                return next;
            }
            self.inbox.news.notified().await;
        }
    }

    /// Number of messages that were dropped since the last call because the buffer was full.
    pub fn dropped(&self) -> u64 {
        std::mem::take(&mut self.inbox.lock().dropped)
    }

    /// The end, if it has ended.
    pub fn end(&self) -> Option<WsEnd> {
        self.inbox.lock().end.clone()
    }

    /// Sends a message.
    pub async fn send(&mut self, frame: WsMessage) -> Result<(), String> {
        self.sink
            .send(frame.into())
            .await
            .map_err(|e| self.end().map_or_else(|| why(&e), |end| end.to_string()))
    }

    /// Sends a close frame and waits for that of the peer.
    pub async fn close(&mut self, code: u16, reason: &str) -> WsEnd {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        // A connection that is already closed is handled below.
        let _ = self.sink.send(Message::Close(Some(frame))).await;
        loop {
            if let Some(end) = self.end() {
                return end;
            }
            self.inbox.news.notified().await;
        }
    }

    /// Sends a close frame without waiting for an answer.
    pub fn part(mut self) {
        let _ = self.sink.send(Message::Close(None)).now_or_never();
    }
}

/// A step that receives.
pub struct Receiving(Arc<ReceiveBuffer>);

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.lock().is_read = false;
        self.0.room.notify_one();
    }
}

impl Drop for WsConnection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl ReceiveBuffer {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<NextFrame> {
        let mut received = self.lock();
        match received.waiting.pop_front() {
            Some(frame) => {
                received.bytes -= frame.length();
                self.room.notify_one();
                Some(NextFrame::Message(frame))
            }
            None => received.end.clone().map(NextFrame::Ended),
        }
    }

    /// Adds a message to the buffer, once there is room.
    async fn put(&self, frame: WsMessage) {
        while !self.has_place(&frame) {
            self.room.notified().await;
        }
        let mut received = self.lock();
        if received.has_room(&frame) {
            received.bytes += frame.length();
            received.waiting.push_back(frame);
        } else {
            received.dropped += 1;
        }
        drop(received);
        self.news.notify_one();
    }

    /// Whether there is no need to wait: there is room, or no step reads.
    fn has_place(&self, frame: &WsMessage) -> bool {
        let received = self.lock();
        !received.is_read || received.has_room(frame)
    }

    fn finish(&self, end: WsEnd) {
        self.lock().end.get_or_insert(end);
        self.news.notify_one();
    }
}

impl Received {
    fn has_room(&self, frame: &WsMessage) -> bool {
        let fits = self.bytes + frame.length() <= BYTES || self.waiting.is_empty();
        fits && self.waiting.len() < WAITING
    }
}

/// Receives messages until the connection ends. Reading also answers pings and close frames.
async fn take_in(mut stream: SplitStream<Socket>, said: CloseSent, inbox: Arc<ReceiveBuffer>) {
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => inbox.put(WsMessage::Text(text.as_str().to_owned())).await,
            Ok(Message::Binary(bytes)) => inbox.put(WsMessage::Binary(bytes.to_vec())).await,
            Ok(Message::Close(frame)) => inbox.finish(WsEnd::of(frame, said.get())),
            Ok(_) => {}
            Err(error) => inbox.finish(WsEnd { code: VANISHED, reason: why(&error) }),
        }
    }
    inbox.finish(WsEnd { code: VANISHED, reason: "the connection was lost".to_owned() });
}

impl WsEnd {
    /// The end for the close `frame` of the library; `said` is the frame as the peer sent it.
    fn of(frame: Option<CloseFrame>, said: Option<&(u16, String)>) -> Self {
        match (frame, said) {
            (_, Some((code, reason))) => Self { code: *code, reason: reason.clone() },
            (Some(frame), None) => Self { code: frame.code.into(), reason: frame.reason.as_str().to_owned() },
            (None, None) => Self { code: NONE, reason: String::new() },
        }
    }
}

impl std::fmt::Display for WsEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the connection is closed with code {}", self.code)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// A message for an error that does not depend on the point of failure.
fn why(error: &Error) -> String {
    match error {
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing) => {
            "the connection was lost".to_owned()
        }
        Error::Capacity(_) => "a message is longer than 16 MiB".to_owned(),
        Error::Utf8(_) => "a text message is not UTF-8".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_dropped_while_a_step_receives() {
        let inbox = Arc::new(ReceiveBuffer::default());
        let large = || WsMessage::Binary(vec![0; 1 << 20]);
        for _ in 0..20 {
            inbox.put(large()).await;
        }
        let counts = |received: &Received| (received.waiting.len(), received.dropped);
        assert_eq!(counts(&inbox.lock()), (16, 4), "no step is receiving");
        inbox.lock().is_read = true;
        let receiving = Receiving(inbox.clone());
        let puts = inbox.clone();
        let sender = tokio::spawn(async move {
            for _ in 0..50 {
                puts.put(large()).await;
            }
        });
        for _ in 0..60 {
            while inbox.take().is_none() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(inbox.lock().dropped, 4);
        drop(receiving);
        sender.await.unwrap();
        assert_eq!(inbox.lock().waiting.len(), 6);
    }
}
