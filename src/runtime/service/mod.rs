//! Services made from trees of files, and the two runtimes that build and run them: Docker, and local processes in a
//! sandbox. It must never know pipelines, scenarios or models.
//! Start with [`Runtimes`], then [`Running`]; `docker/` and `process/` are the runtimes behind them.

mod bounds;
mod complaint;
mod copied;
mod dockerfile;
mod environment;
mod front;
mod health;
mod ignored;
mod images;
mod log;
mod owner;
mod passage;
mod running;
mod runtimes;
mod spares;
mod spec;

pub use bounds::CONFIG_LIMIT;
pub use copied::{BuildContext, Copied, MOST_COPIED};
pub use dockerfile::{
    Command, Copy, Dockerfile, Healthcheck, Order, Stage, Step, expand, parse, parse_trigger,
};
pub use environment::{Disorder, Environment, Member, own_port, same_port, waves};
pub use front::Front;
pub use ignored::Ignored;
pub use images::Images;
pub use log::Log;
pub use owner::Owner;
pub use running::{Backend, Boot, Doing, Exit, Running};
pub use runtimes::{Leftovers, Reaped, Runtimes};
pub use spares::Ahead;
pub use spec::{
    BuildOptions, BuildReport, Kind, Links, Mount, Placed, PlacedAs, Ready, ServiceSpec, Settings, Tag,
};

pub(in crate::runtime) use copied::pattern;

pub use crate::relay::{ExecReport, ExecSpec, Shown, Terminal, TerminalSpec, Typed};
