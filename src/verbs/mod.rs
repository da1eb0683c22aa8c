//! One file per verb: its input, its output, what it does, and a tested example.
//! Verbs must never know each other or the engine.
//! Start with any of them; they all look the same.

pub mod scenario;
pub mod scenario_load;
