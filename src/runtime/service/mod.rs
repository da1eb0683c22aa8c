//! Services from file trees, and the two runtimes that build and run them: Docker, and local processes in a
//! sandbox. This module does not know pipelines, scenarios or models. Start with [`Runtimes`], then
//! [`RunningService`]; `docker/` and `process/` are the runtimes behind them.

mod bounds;
mod complaint;
mod copied;
mod dockerfile;
mod environment;
mod health;
mod ignored;
mod images;
mod log;
mod owner;
mod port_forward;
mod running;
mod runtimes;
mod spec;
mod tunnel;
mod warm_pool;

pub use bounds::CONFIG_LIMIT;
pub use copied::{BuildContext, Copied, MOST_COPIED};
pub use dockerfile::{
    BuildStage, CommandForm, CopyInstruction, Dockerfile, Healthcheck, Instruction, InstructionKind, expand,
    parse, parse_trigger,
};
pub use environment::{Disorder, Environment, EnvironmentService, own_port, same_port, start_stages};
pub use ignored::Ignored;
pub use images::Images;
pub use log::Log;
pub use owner::ProcessIdentity;
pub use port_forward::PortForward;
pub use running::{Backend, BackendFuture, Boot, RunningService, ServiceExit};
pub use runtimes::{Leftovers, Reaped, Runtimes};
pub use spec::{
    BuildOptions, BuildReport, OwnerTag, Placed, PlacedAs, ReadinessCheck, RuntimeKind, RuntimeSettings,
    ServiceLinks, ServiceSpec, VolumeMount,
};
pub use warm_pool::WarmPoolSize;

pub(in crate::runtime) use copied::pattern;

pub use crate::relay::{ExecReport, ExecSpec, TerminalHandle, TerminalInput, TerminalOutput, TerminalSpec};
