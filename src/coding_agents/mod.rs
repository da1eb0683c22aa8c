//! Coding agents that are programs of their own, as data: how each is started, and what the lines mean that it prints.
//! It must never know what they are asked to do. The facts stand in `agents.toml`, embedded here and extended by the
//! tables `[agents.NAME]` of the user's `models.toml` and the project's `atoll.toml`: a new program needs no new code.
//! Start with [`CodingAgents::find`], then [`CodingAgent::launch`] for its command and [`EventParser`] for its events.

mod entries;
mod event_parser;
mod launch;

pub use entries::{AgentLimit, CodingAgent, CodingAgents, PromptDelivery, requests};
pub use event_parser::{AgentEnd, EventParser};
pub use launch::{Launch, LaunchRequest};
