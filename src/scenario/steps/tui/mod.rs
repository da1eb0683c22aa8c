//! The step type `tui`: a program in a pseudo-terminal inside the held service, read through a terminal
//! emulator. Start with [`Tui`] (the step as written), then `play.rs` and `session.rs` (how it runs).
//! `chord.rs` has the codes of keys, `emulator.rs` the screen.

mod charset;
mod chord;
mod emulator;
mod escape;
mod play;
mod read;
mod session;
mod step_type;

pub use step_type::TYPE;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::ports::TerminalSize;
use crate::scenario::values::WrittenDuration;

/// All keys in a file.
const KEYS: &[&str] = &[
    "command",
    "env",
    "size",
    "send_key",
    "send_keys",
    "send_text",
    "paste",
    "wait_for",
    "wait_exit",
    "settle",
    "styles",
    "assert_screen",
    "assert_absent",
    "timeout",
];

/// Actions in a terminal, carried out in the order of the fields. The program runs until the scenario ends
/// or another program is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tui {
    /// Command line to start with `sh -c`; ends the program of an earlier step first.
    #[serde(default)]
    pub command: Option<String>,
    /// Environment variables of the command.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: IndexMap<String, String>,
    /// New size of the terminal.
    #[serde(default)]
    pub size: Option<TerminalSize>,
    /// Keys to press, such as `enter` or `ctrl+left`.
    #[serde(default)]
    pub send_keys: Vec<String>,
    /// Text to type as it is.
    #[serde(default)]
    pub send_text: String,
    /// Text to paste.
    #[serde(default)]
    pub paste: String,
    /// Text that the screen must show.
    #[serde(default)]
    pub wait_for: Option<WaitFor>,
    /// True if the program must exit.
    #[serde(default)]
    pub wait_exit: bool,
    /// Time without output before the screen is read.
    #[serde(default = "tenth_of_a_second")]
    pub settle: WrittenDuration,
    /// True if colours and attributes are part of the JSON.
    #[serde(default)]
    pub styles: bool,
    /// Time limit of the step.
    #[serde(default = "five_seconds")]
    pub timeout: WrittenDuration,
}

/// Condition on the screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// The screen shows this text.
    Text(String),
    /// A regular expression matches the screen.
    Matches(String),
    /// The screen no longer shows this text.
    Gone(String),
}

impl WaitFor {
    /// Whether an empty screen meets the condition.
    pub fn is_for_absence(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

fn tenth_of_a_second() -> WrittenDuration {
    WrittenDuration(std::time::Duration::from_millis(100))
}

fn five_seconds() -> WrittenDuration {
    WrittenDuration::secs(5)
}
