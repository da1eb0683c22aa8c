//! `atoll check PIPELINE`: reports all errors of a pipeline at once.

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::DiagnosticsFormat;
use crate::cli::loading;
use crate::plan::Loaded;

/// `atoll check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline: a name, or the path of a TOML file
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Format of the diagnostics
    #[arg(long, default_value = "text")]
    format: DiagnosticsFormat,
}

/// Checks.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let Loaded { plan, diagnostics, sources, .. } = loading::load(app, &args.pipeline, &args.set)?;
    args.format.print(app.terminal, &args.pipeline, &diagnostics, &sources)?;
    Ok(if plan.is_some() { ExitStatus::REACHED } else { ExitStatus::WRONG })
}
