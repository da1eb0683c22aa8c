//! `atoll pause RUN`: pauses a run in another process once its running steps have finished.

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::execution::send_signal;

/// `atoll pause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
}

/// Pauses a run once its running steps have finished.
pub fn run(app: &App, args: &Args) -> CommandResult {
    send_signal::stop(app, &args.run, "pause", "running steps are finished first")
}
