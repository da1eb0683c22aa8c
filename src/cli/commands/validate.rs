//! `atoll validate`: runs the pipeline `validate`, with its inputs as options and its outputs as a report.
#![expect(clippy::disallowed_methods, reason = "writes reports where the command line says")]

use std::path::PathBuf;

use crate::cli::app::App;
use crate::cli::dynamic_args;
use crate::cli::dynamic_args::DynamicArgs;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::evidence::{EvidenceDir, attach};
use crate::cli::execution::event_output::stream;
use crate::cli::execution::flags::{ExecutionFlags, RunFlags};
use crate::cli::execution::progress_thread::EventOutput;
use crate::cli::execution::{Presentation, execute, new_job, print_ending, require_events};
use crate::cli::exit::ExitStatus;
use crate::cli::format::{Format, ReportFormat};
use crate::cli::loading;
use crate::cli::permissions::run_grants;
use crate::cli::project::input_files::InputFiles;
use crate::cli::stored_run::StoredRun;
use crate::cli::wiring;
use crate::diag::{Diagnostic, SourceMap};
use crate::id::Address;
use crate::plan::check_inputs;
use crate::report::Paint;
use crate::report::outcome::RunEnding;
use crate::report::validation::Validation;
use crate::store::Store;
use crate::value::Value;
use crate::view::{Board, Status};

/// `atoll validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Inputs of the pipeline `validate` and options of its run; `atoll validate --help` lists them
    #[arg(value_name = "--scenarios DIR --target URL", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct ValidateOptions {
    /// Format of the report on standard output
    #[arg(long, default_value = "text")]
    format: ReportFormat,
    /// Also write the report to a file; can be repeated: `--report junit=report.xml --report json=report.json`
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = ReportFormat::with_file)]
    reports: Vec<(ReportFormat, PathBuf)>,
    /// Also write the evidence of failed steps to this directory: screenshots, responses, logs
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Write the report of an existing run instead: the beginning of its id, or `last`
    #[arg(long, value_name = "RUN")]
    of: Option<String>,
    /// Change the pipeline: `--set steps.verdicts.call.pipeline=my-judge`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    execution: ExecutionFlags,
}

/// The destination of a report.
struct Reports {
    format: ReportFormat,
    files: Vec<(ReportFormat, PathBuf)>,
    evidence: Option<EvidenceDir>,
}

impl Reports {
    /// The outputs, with the paths of the evidence that was written.
    fn attached(&self, app: &App, store: &dyn Store, outputs: Value) -> Result<Value, CommandError> {
        let (outputs, left_out) = attach(outputs, store, self.evidence.as_ref())?;
        if left_out > 0 {
            app.terminal.say(&format!("the evidence is too large: {left_out} files were not written"));
        }
        Ok(outputs)
    }
}

/// Validates, or writes the report of an earlier validation.
pub fn run(app: &App, _args: &Args) -> CommandResult {
    let DynamicArgs { app, pipeline, options, inputs } =
        dynamic_args::of::<ValidateOptions>(app, "validate")?;
    let ValidateOptions { format, of, execution, reports, evidence, .. } = options;
    let files = reports.into_iter().map(|(format, file)| (format, app.settings.here.join(file))).collect();
    let evidence = evidence.map(|shown| EvidenceDir { path: app.settings.here.join(&shown), shown });
    let reports = Reports { format, files, evidence };
    if let Some(run) = of {
        return again(&app, &run, &reports);
    }
    let plain = if format.is_text() { Format::Text } else { Format::Json };
    let flags = RunFlags { format: plain, execution };
    run_grants::print_changes(&app, &pipeline)?;
    let inputs = match check_inputs(&pipeline.plan, &inputs, &InputFiles::new(&app.settings)?) {
        Ok(inputs) => inputs,
        Err(found) => return Err(refuse(&app, &found, &pipeline.sources, format)?),
    };
    let stream = stream(&flags)?;
    let to_stdout = matches!(stream, EventOutput::Out);
    let mut runtime = flags.execution.runtime(&app)?;
    run_grants::grant(&app, &mut runtime, (&pipeline.plan, &pipeline.bundle), &inputs)?;
    let job = new_job(&runtime, &pipeline, inputs)?;
    let presentation = Presentation { flags: &flags, stream };
    let (board, outcome, broken) = execute(&app, &runtime, job, presentation)?;

    let exit = ExitStatus::of_standing(&outcome.status);
    let outputs = reports.attached(&app, runtime.store.as_ref(), (*outcome.outputs).clone())?;
    let outputs = Some(&outputs);
    let ending = RunEnding { board: &board, code: exit.code(), outputs, now: runtime.clock.now() };
    report(&app, &reports, !to_stdout, &ending)?;
    print_ending(&app, &ending);
    require_events(exit, flags.execution.events.clone(), broken)
}

/// Reports errors in the inputs before a run starts.
fn refuse(
    app: &App,
    found: &[Diagnostic],
    sources: &SourceMap,
    format: ReportFormat,
) -> Result<CommandError, CommandError> {
    let plain = format.print_mistakes(app.terminal, found, sources)?;
    loading::report_errors(app, found, sources, plain)
}

/// Writes the report of a recorded run, and exits with its code.
fn again(app: &App, run: &str, reports: &Reports) -> CommandResult {
    let stored = StoredRun::find(app, run)?;
    let board = stored.board()?;
    if board.pipeline != "validate" {
        return Err(CommandError::usage(format!("run {} is a run of `{}`", stored.run(), board.pipeline))
            .hint("`--of` requires a run of `validate`; list them with `atoll runs --pipeline validate`"));
    }
    let outputs = match &board.outputs {
        Some(payload) => stored.value(payload, &Address::root())?,
        None => stored.outputs_so_far(app)?,
    };
    let outputs = reports.attached(app, stored.store.as_ref(), outputs)?;
    let exit = ExitStatus::of_status(&board.status);
    let now = wiring::clock().now();
    let ending = RunEnding { board: &board, code: exit.code(), outputs: Some(&outputs), now };
    report(app, reports, true, &ending)?;
    print_ending(app, &ending);
    Ok(exit)
}

/// Writes the report to standard output (unless events are written there) and to files. For a paused run, it
/// contains the results so far. A run without results has a report only in JSON, with its status.
fn report(app: &App, reports: &Reports, to_stdout: bool, ending: &RunEnding<'_>) -> Result<(), CommandError> {
    let board = ending.board;
    let waits = match &board.status {
        Status::Paused { message, .. } => Some(message.clone()),
        Status::Unborn | Status::Running | Status::Interrupted | Status::Finished { .. } => None,
    };
    let found = match ending.outputs.map(read) {
        Some(Err(error)) if finished(board) && board.status.word() != "failed" => return Err(error),
        Some(Ok(found)) if finished(board) || found.has_scenarios() => Some(found.waiting(waits)),
        _ => None,
    };
    for (format, file) in &reports.files {
        let Some(text) = format.render(found.as_ref(), ending, Paint::PLAIN)? else { continue };
        std::fs::write(file, text + "\n")
            .map_err(|e| CommandError::failed(format!("cannot write the report {}: {e}", file.display())))?;
    }
    if !to_stdout {
        return Ok(());
    }
    match reports.format.render(found.as_ref(), ending, app.terminal.out)? {
        Some(text) => reports.format.print(app.terminal, &text),
        None => Ok(()),
    }
}

fn finished(board: &Board) -> bool {
    matches!(board.status, Status::Finished { .. })
}

fn read(outputs: &Value) -> Result<Validation, CommandError> {
    Validation::read(outputs).map_err(|error| {
        CommandError::failed(format!("the outputs of the pipeline `validate` are not a report: {error}"))
            .hint("docs/validate.md lists the outputs that a report needs")
    })
}
