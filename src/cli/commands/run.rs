//! `atoll run PIPELINE`: starts a run and executes it.

use crate::cli::app::App;
use crate::cli::dynamic_args::{self, DynamicArgs};
use crate::cli::error::CommandResult;
use crate::cli::execution::event_output::stream;
use crate::cli::execution::flags::RunFlags;
use crate::cli::execution::{Presentation, execute_and_show, new_job};
use crate::cli::loading;
use crate::cli::permissions::run_grants;
use crate::cli::project::input_files::InputFiles;
use crate::plan::check_inputs;

/// `atoll run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: RunOptions,
    /// The pipeline, followed by its inputs; `atoll run PIPELINE --help` lists them
    #[arg(value_name = "PIPELINE [--INPUT VALUE]", required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct RunOptions {
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    flags: RunFlags,
}

/// Runs a pipeline.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let DynamicArgs { app, pipeline, options, inputs } =
        dynamic_args::read::<RunOptions>(app, "run", &args.words)?;
    let flags = options.flags;
    run_grants::print_changes(&app, &pipeline)?;
    let inputs = match check_inputs(&pipeline.plan, &inputs, &InputFiles::new(&app.settings)?) {
        Ok(inputs) => inputs,
        Err(found) => return Err(loading::report_errors(&app, &found, &pipeline.sources, flags.format)?),
    };
    let stream = stream(&flags)?;
    let mut runtime = flags.execution.runtime(&app)?;
    run_grants::grant(&app, &mut runtime, (&pipeline.plan, &pipeline.bundle), &inputs)?;
    let job = new_job(&runtime, &pipeline, inputs)?;
    execute_and_show(&app, &runtime, job, Presentation { flags: &flags, stream })
}
