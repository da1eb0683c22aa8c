use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Browser, Exec, Grpc, HttpRequest, Parallel, StepAction, StepType, Tui, Ws};

/// Action of a step. One variant per step type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends an HTTP request to the target.
    Request(HttpRequest),
    /// Runs a command inside the held service.
    Exec(Exec),
    /// Acts in a browser.
    Browser(Browser),
    /// Calls a gRPC method.
    Grpc(Grpc),
    /// Sends and receives messages over a WebSocket.
    Ws(Ws),
    /// Uses a program in a terminal.
    Tui(Tui),
    /// Runs several actions at the same time.
    Parallel(Parallel),
}

/// The step in an action of any type.
macro_rules! step {
    ($action:expr) => {
        match $action {
            Action::Request(step) => step,
            Action::Exec(step) => step,
            Action::Browser(step) => step,
            Action::Grpc(step) => step,
            Action::Ws(step) => step,
            Action::Tui(step) => step,
            Action::Parallel(step) => step,
        }
    };
}

impl Action {
    /// The step as a trait object.
    pub(in crate::scenario) fn step(&self) -> &dyn StepAction {
        step!(self)
    }

    /// The step as a mutable trait object.
    pub(in crate::scenario) fn step_mut(&mut self) -> &mut dyn StepAction {
        step!(self)
    }

    /// Type of the step.
    pub(in crate::scenario) fn step_type(&self) -> &'static StepType {
        self.step().step_type()
    }

    /// Key of the step in a scenario file.
    pub fn word(&self) -> &'static str {
        self.step_type().word
    }

    /// The actions that are run: itself, or the members of a `parallel`.
    pub fn leaves(&self) -> &[Self] {
        match self.step().members() {
            [] => std::slice::from_ref(self),
            members => members,
        }
    }

    /// True if it needs the base URL of the program.
    pub fn needs_target(&self) -> bool {
        self.step().needs_target()
    }
}
