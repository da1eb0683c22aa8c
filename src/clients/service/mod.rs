//! Services made from trees of files, and the two runtimes that build and run them: Docker, and local processes in a
//! sandbox. It must never know pipelines, scenarios or models.
//! Start with [`Runtimes`], then [`Running`]; `docker/` and `process/` are the runtimes behind them.

mod front;
mod health;
mod log;
mod owner;
mod running;
mod runtimes;
mod spec;

pub use front::Front;
pub use log::Log;
pub use owner::Owner;
pub use running::{Backend, Boot, Doing, Exit, Running};
pub use runtimes::{Leftovers, Reaped, Runtimes};
pub use spec::{BuildOptions, BuildReport, Kind, Ready, ServiceSpec, Settings, Tag};

pub use super::agent::{ExecReport, ExecSpec, Shown, Terminal, TerminalSpec, Typed};
