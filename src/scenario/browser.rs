//! The step type `browser`: a real Chromium, one context per scenario.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::http::Outcome;
use super::observation::Sent;
use super::read::{Reader, given};
use super::yaml::Node;
use super::{Lapse, Stage, Variables};

/// Something done in a browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// How long it may take.
    pub timeout: Lapse,
}

/// Every action it has.
pub const ACTIONS: &[&str] = &["navigate", "click", "fill", "assert"];

/// Every key it has in a file.
pub const KEYS: &[&str] = &["timeout"];

/// Reads it from a file.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Browser> {
    reader.table(node, "`browser`", KEYS)?;
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Browser { timeout: timeout.unwrap_or(Lapse::secs(5)) })
}

/// What the `browser` steps of one scenario share.
#[derive(Default)]
pub struct Player {}

impl Player {
    /// Plays one step, for at most `left` where a retry limits it.
    pub async fn play(
        &mut self,
        _step: &Browser,
        _stage: &Stage<'_>,
        _variables: &Variables,
        _left: Option<std::time::Duration>,
    ) -> (Option<Sent>, Outcome) {
        std::future::ready(()).await;
        (None, Outcome::error("`browser` steps cannot be run yet"))
    }

    /// Ends whatever is still open at the end of the scenario.
    pub async fn end(self) {
        std::future::ready(()).await;
    }
}
