//! Runtimes for programs: Docker containers or process sandboxes, built from a Dockerfile and started as
//! services. This module does not know prompts or pipelines. Start with `service`, which has the common
//! parts of both runtimes.

pub mod docker;
pub mod process;
pub mod service;
