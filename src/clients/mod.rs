//! Doors to the world: model providers, containers, processes, the clock, secrets.
//! They must never know prompts or pipelines.

pub mod clock;
