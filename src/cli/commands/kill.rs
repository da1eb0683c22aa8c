//! `atoll kill RUN`: stops a run in another process at once.

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::execution::send_signal;

/// `atoll kill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
}

/// Stops a run at once.
pub fn run(app: &App, args: &Args) -> CommandResult {
    send_signal::stop(app, &args.run, "kill", "running steps are stopped")
}
