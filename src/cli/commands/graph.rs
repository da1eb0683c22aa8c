//! `atoll graph PIPELINE`: draws a pipeline.

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::{Format, GraphFormat};
use crate::cli::loading;

/// `atoll graph`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline: a name, or the path of a TOML file
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Format of the graph
    #[arg(long, default_value = "mermaid")]
    format: GraphFormat,
}

/// Draws.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let pipeline = loading::load_valid(app, &args.pipeline, &args.set, Format::Text)?;
    pipeline.warn(app);
    args.format.print(app.terminal, &pipeline.plan)?;
    Ok(ExitStatus::REACHED)
}
