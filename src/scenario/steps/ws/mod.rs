//! The step type `ws`: WebSocket connections by name. Start with [`Ws`] (the step as written), then
//! `play.rs` (how it runs). `line.rs` is one connection with its buffer, `dial.rs` opens it, `handshake.rs`
//! negotiates, `frame.rs` is one message.

mod closing;
mod dial;
mod frame;
mod handshake;
mod line;
mod play;
mod read;
mod step_type;

pub use frame::WsPayload;
pub use step_type::TYPE;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::values::WrittenDuration;

/// Actions on a WebSocket, carried out in the order of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ws {
    /// URL to connect to: a path on the target, or a complete `ws://` or `wss://` URL. Without it, the step
    /// uses the open connection.
    #[serde(default)]
    pub url: Option<String>,
    /// Name of the connection.
    #[serde(default = "default_id")]
    pub id: String,
    /// Headers of the handshake.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Offered subprotocols, in order of preference.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// True if a refused handshake is an answer: the step asserts the status.
    #[serde(default)]
    pub may_be_refused: bool,
    /// Messages to send.
    #[serde(default)]
    pub send: Vec<WsPayload>,
    /// Messages to wait for.
    #[serde(default)]
    pub receive: Option<Receive>,
    /// Close code and reason; null if the connection stays open.
    #[serde(default)]
    pub close: Option<Close>,
    /// Time limit for each of connecting, sending and closing.
    #[serde(default = "ten_seconds")]
    pub timeout: WrittenDuration,
}

/// Messages to wait for. Fewer messages in time are not an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// Maximum number of messages; null if another condition ends the wait.
    #[serde(default)]
    pub count: Option<u64>,
    /// Regular expression that must match the last message.
    #[serde(default)]
    pub until: Option<String>,
    /// True to wait until the connection is closed.
    #[serde(default)]
    pub closed: bool,
    /// Time limit; 5 seconds by default.
    #[serde(default = "five_seconds")]
    pub timeout: WrittenDuration,
}

/// Close code and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Close code to send.
    pub code: u16,
    /// Reason to send.
    #[serde(default)]
    pub reason: String,
}

/// All keys in a file.
const KEYS: &[&str] =
    &["url", "id", "headers", "protocols", "send", "messages", "receive", "close", "timeout"];

fn default_id() -> String {
    "default".to_owned()
}

fn ten_seconds() -> WrittenDuration {
    WrittenDuration::secs(10)
}

fn five_seconds() -> WrittenDuration {
    WrittenDuration::secs(5)
}
