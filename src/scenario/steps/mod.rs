//! The step types, with a folder for each. This module does not know scenarios: a step is one [`Action`] on
//! a [`TestEnvironment`]. A new type has a folder with its [`StepType`] and [`StepAction`], a variant of
//! [`Action`], and a line in [`TYPES`].

mod action;
mod connections;
mod stage;
mod step_type;

mod browser;
mod exec;
mod grpc;
mod http;
mod parallel;
mod tui;
mod ws;

pub use action::Action;
pub use browser::{Browser, BrowserAction, Hosts, Upload, WaitGoal, read_hosts};
pub use connections::{ConnectionSettings, Connections, StepRunner};
pub use exec::Exec;
pub use grpc::{Grpc, GrpcReceive, GrpcStream};
pub use http::{HttpClient, HttpRequest};
pub use parallel::Parallel;
pub use stage::{ServiceEndpoint, TestEnvironment};
pub use step_type::{Played, StepAction, StepContext, StepType};
pub use tui::Tui;
pub use ws::Ws;

use super::reader::yaml::{NodeKind, YamlNode};
use super::values::WrittenDuration;

/// Every step type, in the order in which messages list them.
pub static TYPES: [&StepType; 7] =
    [&http::TYPE, &exec::TYPE, &browser::TYPE, &grpc::TYPE, &ws::TYPE, &tui::TYPE, &parallel::TYPE];

/// The keys of all step types.
pub fn words() -> Vec<&'static str> {
    TYPES.iter().map(|known| known.word).collect()
}

/// The step type with the key `word`.
pub fn step_type(word: &str) -> Option<&'static StepType> {
    TYPES.into_iter().find(|known| known.word == word)
}

/// True if steps of the type `word` run commands in the held service.
pub fn runs_commands(word: &str) -> bool {
    step_type(word).is_some_and(|known| known.runs_commands)
}

/// The keys of a step that are step types, each with its value; a correct step has one.
pub fn actions_in(step: &YamlNode) -> impl Iterator<Item = (&'static StepType, &YamlNode, &YamlNode)> {
    let entries: &[(YamlNode, YamlNode)] =
        if let NodeKind::Table(entries) = &step.kind { entries } else { &[] };
    entries.iter().filter_map(|(key, value)| Some((step_type(key.text()?)?, key, value)))
}

fn thirty_seconds() -> WrittenDuration {
    WrittenDuration::secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::reader::keys::{STEP, assert_published};

    #[test]
    fn the_published_schema_has_exactly_the_step_types_and_their_keys() {
        assert_published("/$defs/step/properties", &[STEP, &words()].concat());
        for known in TYPES.iter().filter(|known| !known.keys.is_empty()) {
            assert_published(&format!("/$defs/{}/properties", known.word), known.keys);
        }
    }
}
