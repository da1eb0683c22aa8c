//! Coding agents that are programs of their own, as data: how each is started, and what the lines mean that it prints.
//! It must never know what they are asked to do. The facts stand in `agents.toml`, embedded here and extended by the
//! tables `[agents.NAME]` of the user's `models.toml` and the project's `atoll.toml`: a new program needs no new code.
//! Start with [`Coders::find`], then [`Coder::launch`] for its command and [`Heard`] for its events.

mod entries;
mod heard;
mod launch;

pub use entries::{Coder, Coders, Limit, Prompt, requests};
pub use heard::{End, Heard};
pub use launch::{Launch, Wish};
