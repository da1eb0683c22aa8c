//! The step type `tui`: a program under a pseudo-terminal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::Outcome;
use super::observation::Sent;
use super::read::{Reader, given};
use super::yaml::Node;
use super::{Lapse, Stage, Variables};

/// Something done in a terminal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tui {
    /// How long it may take.
    pub timeout: Lapse,
}

/// Every key it has in a file.
pub const KEYS: &[&str] = &["timeout"];

/// Reads it from a file.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Tui> {
    reader.table(node, "`tui`", KEYS)?;
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Tui { timeout: timeout.unwrap_or(Lapse::secs(5)) })
}

/// What the `tui` steps of one scenario share.
#[derive(Default)]
pub struct Player {}

impl Player {
    /// Plays one step, for at most `left` where a retry limits it.
    pub async fn play(
        &mut self,
        _step: &Tui,
        _stage: &Stage<'_>,
        _variables: &Variables,
        _left: Option<std::time::Duration>,
    ) -> (Option<Sent>, Outcome) {
        std::future::ready(()).await;
        (None, Outcome::error("`tui` steps cannot be run yet"))
    }

    /// Ends whatever is still open at the end of the scenario.
    pub async fn end(self) {
        std::future::ready(()).await;
    }
}
