//! Coding agents that are external programs, as data: how each is started, and the meaning of its output.
//! This module does not know what they are asked to do. The data is in `agents.toml`, which is embedded and
//! extended by the tables `[agents.NAME]` of the user's `models.toml` and the project's `atoll.toml`: a new
//! program needs no new code. Start with [`CodingAgents::find`], then [`CodingAgent::launch`] for its
//! command and [`EventParser`] for its events.

mod entries;
mod event_parser;
mod launch;

pub use entries::{AgentLimit, CodingAgent, CodingAgents, PromptDelivery, requests};
pub use event_parser::{AgentEnd, EventParser};
pub use launch::{Launch, LaunchRequest};
