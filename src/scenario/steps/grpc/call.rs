//! An open call. A separate task reads its messages, so that a stream continues while other steps run. If
//! too many messages wait to be read, the program has to wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use prost::bytes::{Buf, BufMut, Bytes};
use prost_reflect::MethodDescriptor;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::reply::MessageBody;
use crate::clock::Sleep;
use crate::scenario::checks::assert::GRPC_STATUSES;
use crate::scenario::values::WrittenDuration;

/// Longest message that is accepted, in bytes.
pub const LONGEST: usize = 16 << 20;

/// Reason for the end of a call whose connection was lost.
pub const LOST: &str = "the connection was lost";

/// Most messages that wait to be read.
const WAITING: usize = 1024;

/// Most bytes that wait to be read, in units of [`UNIT`] bytes.
const ROOM: u32 = 32 << 10;

/// Unit of [`ROOM`], in bytes.
const UNIT: usize = 1 << 10;

/// Codec that passes messages as bytes. They are decoded elsewhere, with our own error messages.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The messages of a request. The connection polls for the first one when it has sent the headers.
pub struct MessageSender {
    messages: mpsc::UnboundedReceiver<Bytes>,
    sent: Option<oneshot::Sender<()>>,
}

impl MessageSender {
    /// Sends the messages from `messages`.
    pub fn of(messages: mpsc::UnboundedReceiver<Bytes>) -> Self {
        Self { messages, sent: None }
    }
}

impl Stream for MessageSender {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = self.messages.poll_recv(context);
        if !matches!(next, Poll::Ready(Some(_)))
            && let Some(sent) = self.sent.take()
        {
            // A dropped call does not wait for this.
            let _ = sent.send(());
        }
        next
    }
}

/// Starts a call of `path`. All kinds of methods are the same on the wire.
pub async fn open(
    channel: Channel,
    path: PathAndQuery,
    request: Request<MessageSender>,
) -> Result<(MetadataMap, Streaming<Bytes>), CallEnd> {
    let mut client = Grpc::new(channel).max_decoding_message_size(LONGEST);
    client.ready().await.map_err(|_| CallEnd::Broken(LOST.to_owned()))?;
    let response = client.streaming(request, path, RawCodec).await.map_err(|status| CallEnd::of(&status))?;
    let (metadata, stream, _) = response.into_parts();
    Ok((metadata, stream))
}

/// End of a call.
#[derive(Clone, Debug)]
pub enum CallEnd {
    /// With a status: that of the program, or `DEADLINE_EXCEEDED` after the time limit.
    Status {
        /// Name of the status.
        code: &'static str,
        /// Message of the status.
        message: String,
        /// Trailer metadata.
        trailer: MetadataMap,
    },
    /// Without a status, for this reason.
    Broken(String),
}

impl CallEnd {
    /// The end for a `status` of the library, which the program has not always sent.
    pub fn of(status: &Status) -> Self {
        let text = status.message();
        if std::error::Error::source(status).is_some() {
            return Self::Broken(LOST.to_owned());
        }
        if status.code() == Code::OutOfRange && text.starts_with("Error, decoded message length too large") {
            return Self::Broken(format!("a message is longer than the limit of {} MiB", LONGEST >> 20));
        }
        if text.starts_with("grpc-status header missing") {
            return Self::Broken("the answer is plain HTTP without a gRPC status".to_owned());
        }
        let foreign = ["protocol error: ", "Unexpected EOF decoding stream", "Error decompressing"];
        if foreign.iter().any(|words| text.starts_with(words)) {
            return Self::Broken("the answer ended before its gRPC status had come".to_owned());
        }
        let (code, message, trailer) = (name(status.code()), text.to_owned(), status.metadata().clone());
        Self::Status { code, message, trailer }
    }

    /// The end after the time limit.
    pub fn late(limit: std::time::Duration) -> Self {
        let message = format!("no whole answer within {}", WrittenDuration(limit));
        Self::Status { code: name(Code::DeadlineExceeded), message, trailer: MetadataMap::new() }
    }
}

/// The name of a status.
pub fn name(code: Code) -> &'static str {
    usize::try_from(i32::from(code)).ok().and_then(|code| GRPC_STATUSES.get(code)).unwrap_or(&"UNKNOWN")
}

/// Event from the task that reads.
enum CallEvent {
    Begun(MetadataMap),
    Message(Bytes, OwnedSemaphorePermit),
    Ended(CallEnd),
}

/// Reason to stop waiting for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveEnd {
    /// Enough messages were received, or the call has ended.
    Done,
    /// The time limit for messages is over, but the call is not.
    Impatient,
    /// The end after the time limit.
    Late,
}

/// A call; dropping it cancels it.
pub struct GrpcCall {
    method: MethodDescriptor,
    outbox: Option<mpsc::UnboundedSender<Bytes>>,
    inbox: mpsc::Receiver<CallEvent>,
    /// Resolves when the request and its first messages have been sent.
    sent: Option<oneshot::Receiver<()>>,
    header: Option<MetadataMap>,
    /// Number of messages that steps have received.
    received: usize,
    end: Option<CallEnd>,
    task: JoinHandle<()>,
}

impl Drop for GrpcCall {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GrpcCall {
    /// Starts a call of `method` with the metadata and deadline of `request`.
    pub fn start(channel: Channel, method: MethodDescriptor, request: Request<()>) -> Self {
        let (outbox, messages) = mpsc::unbounded_channel();
        let (sends, sent) = oneshot::channel();
        let (events, inbox) = mpsc::channel(WAITING);
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let request = request.map(|()| MessageSender { messages, sent: Some(sends) });
        let task = tokio::spawn(async move {
            let end = read(channel, path, request, &events).await;
            let _ = events.send(CallEvent::Ended(end)).await;
        });
        Self {
            method,
            outbox: Some(outbox),
            inbox,
            sent: Some(sent),
            header: None,
            received: 0,
            end: None,
            task,
        }
    }

    /// Waits until the program has accepted the call: headers were received, or the call has ended. Many
    /// programs send headers only with their first message, so it is also enough that the request was sent
    /// and `patience`, which starts then, is over. Returns false if none of this happens before `late`.
    pub async fn accepted(&mut self, patience: impl Future<Output = ()>, late: &mut Sleep) -> bool {
        let sent = self.sent.take();
        let waited = async {
            if let Some(sent) = sent {
                let _ = sent.await;
            }
            patience.await;
        };
        let event = tokio::select! {
            biased;
            event = self.inbox.recv() => event,
            () = waited => return true,
            () = late => return false,
        };
        // The first event is never a message.
        self.take(event, &mut MessageBody::none()).await;
        true
    }

    /// Whether the connection was lost before anything was received.
    pub fn is_lost(&self) -> bool {
        self.header.is_none() && matches!(&self.end, Some(CallEnd::Broken(reason)) if reason == LOST)
    }

    /// The method.
    pub fn method(&self) -> &MethodDescriptor {
        &self.method
    }

    /// Header metadata, once received.
    pub fn header(&self) -> Option<&MetadataMap> {
        self.header.as_ref()
    }

    /// Number of messages that steps have received.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The end of the call, if it was read.
    pub fn ended(&self) -> Option<&CallEnd> {
        self.end.as_ref()
    }

    /// Sets the end of the call.
    pub fn end(&mut self, end: CallEnd) {
        self.task.abort();
        self.end = Some(end);
    }

    /// Sends one more message.
    pub fn send(&mut self, message: Bytes) -> Result<(), String> {
        let outbox =
            self.outbox.as_ref().ok_or("our side of the stream is closed: nothing more can be sent")?;
        outbox.send(message).map_err(|_| "the stream has ended: nothing more can be sent".to_owned())
    }

    /// Closes the sending side.
    pub fn close(&mut self) {
        self.outbox = None;
    }

    /// Waits until `wanted` messages are in `body`, or until the call ends if `None`. The two pauses limit
    /// the wait: that of `receive`, and the deadline.
    pub async fn receive(
        &mut self,
        body: &mut MessageBody,
        wanted: Option<usize>,
        (patience, late): (Option<Sleep>, Option<&mut Sleep>),
    ) -> ReceiveEnd {
        let never = || Box::pin(std::future::pending()) as Sleep;
        let (mut patience, mut endless) = (patience.unwrap_or_else(never), never());
        let late = late.unwrap_or(&mut endless);
        while self.end.is_none() && wanted.is_none_or(|wanted| body.count() < wanted) {
            let event = tokio::select! {
                biased;
                () = &mut *late => return ReceiveEnd::Late,
                () = &mut patience => return ReceiveEnd::Impatient,
                event = self.inbox.recv() => event,
            };
            tokio::select! {
                biased;
                () = self.take(event, body) => {}
                () = &mut *late => return ReceiveEnd::Late,
                () = &mut patience => return ReceiveEnd::Impatient,
            }
        }
        ReceiveEnd::Done
    }

    async fn take(&mut self, event: Option<CallEvent>, body: &mut MessageBody) {
        match event {
            Some(CallEvent::Begun(header)) => self.header = Some(header),
            Some(CallEvent::Message(bytes, room)) => {
                self.received += 1;
                if let Err(error) = body.push(&self.method.output(), bytes).await {
                    self.end(CallEnd::Broken(error));
                }
                drop(room);
            }
            Some(CallEvent::Ended(end)) => self.end = Some(end),
            None => self.end = Some(CallEnd::Broken(LOST.to_owned())),
        }
        if self.end.is_some() {
            self.end = self.end.take().map(|end| body.check(end));
        }
    }
}

/// Reads a call to its end.
async fn read(
    channel: Channel,
    path: String,
    request: Request<MessageSender>,
    events: &mpsc::Sender<CallEvent>,
) -> CallEnd {
    let Ok(path) = PathAndQuery::try_from(path) else {
        return CallEnd::Broken("the name of the method cannot be part of a request".to_owned());
    };
    let (header, mut stream) = match open(channel, path, request).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    // A program that sends no message may send a single frame with the trailer.
    let (header, only) =
        if header.contains_key("grpc-status") { (MetadataMap::new(), Some(header)) } else { (header, None) };
    let room = Arc::new(Semaphore::new(ROOM as usize));
    let gone = || CallEnd::Broken("the call was dropped".to_owned());
    if events.send(CallEvent::Begun(header)).await.is_err() {
        return gone();
    }
    loop {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(status) => return CallEnd::of(&status),
        };
        let size = u32::try_from(message.len() / UNIT + 1).unwrap_or(ROOM).min(ROOM);
        let Ok(permit) = room.clone().acquire_many_owned(size).await else { return gone() };
        if events.send(CallEvent::Message(message, permit)).await.is_err() {
            return gone();
        }
    }
    match stream.trailers().await {
        Ok(trailer) => {
            let mut trailer = trailer.or(only).unwrap_or_default();
            let message = trailer.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default();
            let message = message.to_owned();
            for own in ["grpc-status", "grpc-message", "content-type"] {
                trailer.remove(own);
            }
            CallEnd::Status { code: name(Code::Ok), message, trailer }
        }
        Err(status) => CallEnd::of(&status),
    }
}
