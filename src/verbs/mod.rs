//! Leaf verbs and resources, one file each: typed input, typed output, what they do, an example in TOML.
//! They must never know each other or the engine.
//! Start with `set.rs`, the smallest; `catalog()` lists them all.

pub mod llm;
mod set;

pub use set::Set;
