//! Leaf verbs and resources, one file each: typed input, typed output, what they do, an example in TOML.
//! They must never know each other or the engine.
//! Start with `set.rs`, the smallest; `catalog()` lists them all.

pub mod docker_build;
pub mod files;
pub mod http;
mod lapse;
pub mod llm;
mod place;
pub mod read;
pub mod scenario;
pub mod scenario_load;
pub mod service;
mod set;
pub mod write;
pub mod shell;

pub use files::Files;
pub use http::Http;
pub use read::Read;
pub use set::Set;
pub use write::Write;
