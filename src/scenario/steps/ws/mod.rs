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

pub use frame::Payload;
pub use step_type::TYPE;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::values::Lapse;

/// Something done with a WebSocket, in the order of the fields.
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
    /// Whether a refused handshake is an answer like any other: the step asserts the status.
    #[serde(default)]
    pub may_be_refused: bool,
    /// Messages to send.
    #[serde(default)]
    pub send: Vec<Payload>,
    /// What to wait for.
    #[serde(default)]
    pub receive: Option<Receive>,
    /// Whether and how the connection is closed.
    #[serde(default)]
    pub close: Option<Close>,
    /// How long connecting, sending and closing may take each.
    #[serde(default = "ten_seconds")]
    pub timeout: Lapse,
}

/// Which messages are waited for. Fewer of them in time are no error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// How many at most; null where something else says when it is over.
    #[serde(default)]
    pub count: Option<u64>,
    /// The last one is one in which this regular expression finds something.
    #[serde(default)]
    pub until: Option<String>,
    /// All until the connection is closed.
    #[serde(default)]
    pub closed: bool,
    /// For how long.
    #[serde(default = "five_seconds")]
    pub timeout: Lapse,
}

/// How a connection is closed.
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

fn ten_seconds() -> Lapse {
    Lapse::secs(10)
}

fn five_seconds() -> Lapse {
    Lapse::secs(5)
}
