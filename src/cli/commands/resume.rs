//! `atoll resume RUN`: resumes a run from its journal.

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::execution::flags::RunFlags;
use crate::cli::execution::resume;

/// `atoll resume`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Start a new run with the current pipeline and input files, and reuse every recorded result whose verb, input
    /// and schema are unchanged
    #[arg(long)]
    replan: bool,
    #[command(flatten)]
    flags: RunFlags,
}

/// Resumes a run.
pub fn run(app: &App, args: &Args) -> CommandResult {
    resume::resume(app, &args.run, args.replan, &args.flags, None)
}
