//! Doors to the world: models, containers, processes, the clock, secrets.
//! They must never know prompts or pipelines.
//! Start with the door you need: `llm` for models, `registry` for what is known about them, `secrets` for keys.

pub mod agent;
pub mod browser;
pub mod clock;
pub mod coder;
pub mod confine;
pub mod docker;
pub mod llm;
pub mod process;
pub mod registry;
pub mod requests;
pub mod secrets;
pub mod service;
