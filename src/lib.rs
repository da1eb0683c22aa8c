//! Atoll: a declarative pipeline engine for software factories.
//!
//! The rooms, each using only what stands above it: see `ARCHITECTURE.md`.

pub mod clock;
pub mod id;
pub mod json_path;
pub mod meter;
pub mod rooted_fs;
pub mod value;
pub mod visible;

pub mod diag;
pub mod expr;
pub mod schema;

pub mod model;
pub mod verb;

pub mod tree;

pub mod engine;
pub mod plan;

pub mod driver;
pub mod store;

pub mod clients;
pub mod scenario;
pub mod verbs;

pub mod cli;
pub mod report;
pub mod view;
