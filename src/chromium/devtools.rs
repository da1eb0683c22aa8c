//! The DevTools protocol over a pipe: JSON texts, each followed by a zero byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

use crate::value::Value;

/// Longest message in bytes; longer ones are skipped.
const MOST: u64 = 64 << 20;

/// Name of the event that all listeners receive when the browser has ended.
const GONE: &str = "Browser.gone";

/// Receives the events of a page: name and parameters. Must not block.
pub type EventHandler = Arc<dyn Fn(&str, &Value) + Send + Sync>;

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The process has ended or closed the connection.
    #[error("the browser ended")]
    Gone,
    /// The browser returned an error.
    #[error("{0}")]
    Refused(String),
}

/// One connection. Cheap to clone.
#[derive(Clone)]
pub struct DevTools {
    sends: mpsc::UnboundedSender<Vec<u8>>,
    desk: Arc<Mutex<ConnectionState>>,
}

/// Pending calls and listeners.
#[derive(Default)]
struct ConnectionState {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<Value, CallError>>>,
    ears: HashMap<String, EventHandler>,
    gone: bool,
}

/// A pending call, which is removed when dropped.
struct PendingCall<'w> {
    wire: &'w DevTools,
    id: u64,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.wire.desk().waiting.remove(&self.id);
    }
}

impl DevTools {
    /// Opens a connection that writes to `to` and reads from `from`, until either ends.
    pub fn new(
        mut to: impl AsyncWrite + Unpin + Send + 'static,
        from: impl AsyncRead + Unpin + Send + 'static,
    ) -> Self {
        let (sends, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if to.write_all(&message).await.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
        });
        let wire = Self { sends, desk: Arc::default() };
        // The reader has no sender, so the pipe closes with the last clone of the connection.
        let (desk, sends) = (wire.desk.clone(), wire.sends.downgrade());
        tokio::spawn(async move {
            read(from, |message| {
                if let Some(sends) = sends.upgrade() {
                    Self { sends, desk: desk.clone() }.take(message);
                }
            })
            .await;
            end(&desk);
        });
        wire
    }

    fn desk(&self) -> MutexGuard<'_, ConnectionState> {
        lock(&self.desk)
    }

    /// Whether the other end is closed.
    pub fn is_gone(&self) -> bool {
        self.desk().gone
    }

    /// Sends the events of `session` to `ear`.
    pub fn listen(&self, session: &str, ear: EventHandler) {
        self.desk().ears.insert(session.to_owned(), ear);
    }

    /// Removes the listener of `session`.
    pub fn forget(&self, session: &str) {
        self.desk().ears.remove(session);
    }

    /// Calls a method of the browser or of a session and waits for the result.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let waiting = {
            let mut desk = self.desk();
            if desk.gone {
                return Err(CallError::Gone);
            }
            desk.last += 1;
            let id = desk.last;
            desk.waiting.insert(id, answer);
            PendingCall { wire: self, id }
        };
        self.send(waiting.id, session, method, &parameters);
        answered.await.unwrap_or(Err(CallError::Gone))
    }

    /// Calls a method without waiting for the result.
    pub fn tell(&self, session: Option<&str>, method: &str, parameters: &Value) {
        let id = {
            let mut desk = self.desk();
            desk.last += 1;
            desk.last
        };
        self.send(id, session, method, parameters);
    }

    fn send(&self, id: u64, session: Option<&str>, method: &str, parameters: &Value) {
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        // If the other end is closed, the reader fails all pending calls.
        let _ = self.sends.send(bytes);
    }

    fn take(&self, message: &[u8]) {
        let Ok(mut message) = serde_json::from_slice::<Value>(message) else { return };
        if let Some(id) = message["id"].as_u64() {
            let waiting = self.desk().waiting.remove(&id);
            if let Some(waiting) = waiting {
                let _ = waiting.send(result(&mut message));
            }
            return;
        }
        let Some(method) = message["method"].as_str() else { return };
        // The end of a page is not reported in its own session.
        let session = match method {
            "Target.detachedFromTarget" => message["params"]["sessionId"].as_str(),
            _ => message["sessionId"].as_str(),
        };
        let Some(session) = session else { return };
        if method == "Page.javascriptDialogOpening" {
            // A page with an open dialog answers no calls.
            let accept = json!({ "accept": true, "promptText": message["params"]["defaultPrompt"] });
            self.tell(Some(session), "Page.handleJavaScriptDialog", &accept);
        }
        let ear = self.desk().ears.get(session).cloned();
        if let Some(ear) = ear {
            ear(method, &message["params"]);
        }
    }
}

fn lock(desk: &Mutex<ConnectionState>) -> MutexGuard<'_, ConnectionState> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn result(message: &mut Value) -> Result<Value, CallError> {
    match message["error"]["message"].as_str() {
        Some(reason) => Err(CallError::Refused(reason.to_owned())),
        None => Ok(message["result"].take()),
    }
}

/// Fails all pending calls and notifies all listeners.
fn end(desk: &Mutex<ConnectionState>) {
    let ears: Vec<EventHandler> = {
        let mut desk = lock(desk);
        desk.gone = true;
        desk.waiting.clear();
        desk.ears.drain().map(|(_, ear)| ear).collect()
    };
    ears.iter().for_each(|ear| ear(GONE, &Value::Null));
}

/// Passes every message to `take` until the stream ends. Messages that are too long are skipped.
async fn read(from: impl AsyncRead + Unpin, take: impl Fn(&[u8])) {
    let mut from = BufReader::with_capacity(64 << 10, from);
    let mut message = Vec::new();
    let mut too_long = false;
    while let Ok(1..) = (&mut from).take(MOST).read_until(0, &mut message).await {
        let whole = message.pop_if(|last| *last == 0).is_some();
        if whole && !too_long {
            take(&message);
        }
        too_long = !whole;
        message.clear();
        message.shrink_to(1 << 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, and its other end for a test.
    fn pair() -> (DevTools, BufReader<tokio::io::DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(ours);
        (DevTools::new(write, read), BufReader::new(theirs))
    }

    #[tokio::test]
    async fn answers_find_their_call_and_events_their_ear() {
        let (wire, mut other) = pair();
        let (heard, mut events) = mpsc::unbounded_channel();
        wire.listen("s", Arc::new(move |method, _| drop(heard.send(method.to_owned()))));
        let call = wire.call(Some("s"), "A.b", json!({ "x": 1 }));
        let answer = async {
            let mut sent = Vec::new();
            other.read_until(0, &mut sent).await.unwrap();
            let sent: Value = serde_json::from_slice(&sent[..sent.len() - 1]).unwrap();
            assert_eq!((&sent["method"], &sent["sessionId"]), (&json!("A.b"), &json!("s")));
            let event = json!({ "method": "A.done", "params": {}, "sessionId": "s" });
            let noise = "{ no json";
            let answer = json!({ "id": sent["id"], "result": { "y": 2 } });
            let text = format!("{event}\0{noise}\0{answer}\0");
            other.get_mut().write_all(text.as_bytes()).await.unwrap();
        };
        let (result, ()) = tokio::join!(call, answer);
        assert_eq!(result, Ok(json!({ "y": 2 })));
        assert_eq!(events.recv().await.as_deref(), Some("A.done"));
        drop(other);
        assert_eq!(events.recv().await.as_deref(), Some(GONE));
        assert_eq!(wire.call(None, "A.c", json!({})).await, Err(CallError::Gone));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_is_passed_over() {
        let long = vec![b'x'; usize::try_from(MOST).unwrap() + 10];
        let mut stream = b"a\0".to_vec();
        stream.extend(&long);
        stream.extend(b"\0b\0");
        let taken = Mutex::new(Vec::new());
        read(stream.as_slice(), |message| taken.lock().unwrap().push(message.to_vec())).await;
        assert_eq!(taken.into_inner().unwrap(), [b"a".to_vec(), b"b".to_vec()]);
    }
}
