//! Where programs run: in Docker containers or in process sandboxes, built from a Dockerfile and started as services.
//! It must never know prompts or pipelines.
//! Start with `service`, which has what both runtimes share.

pub mod docker;
pub mod process;
pub mod service;
