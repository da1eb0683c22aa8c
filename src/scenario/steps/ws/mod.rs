//! The step type `ws`: WebSocket connections by name.
//! Start with [`Ws`] (what a step says), then `play.rs` (what is done); `line.rs` is one connection and what it has
//! received, `dial.rs` how it is made, `handshake.rs` what is asked and agreed on then, `frame.rs` one message.

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
    /// Where to connect: a path at the target, or a whole `ws://` or `wss://` URL. Without it the step uses the
    /// connection that is open.
    #[serde(default)]
    pub url: Option<String>,
    /// The name of the connection.
    #[serde(default = "default_id")]
    pub id: String,
    /// Headers of the handshake.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Subprotocols that are offered, the best first.
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
    /// Time limit of connecting, of sending, and of closing, each.
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
    /// The last one is one in which this regular expression finds something.
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
    /// The code that is sent.
    pub code: u16,
    /// The reason that is sent.
    #[serde(default)]
    pub reason: String,
}

/// Every key it has in a file.
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
