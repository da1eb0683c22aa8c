//! `atoll validate`: a run of the pipeline of that name, its inputs as options, its outputs as a report.
#![expect(clippy::disallowed_methods, reason = "writes reports where the command line says")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Format;
use super::events::stream;
use super::evidence::{EvidenceDir, attach};
use super::follow::Stream;
use super::given::{self, Given};
use super::past::Past;
use super::run::{Carry, Means, Showing, conduct, fresh, tell, whole};
use super::{Desk, Done, Exit, Files, Stop, granted, house, loading};
use crate::diag::{Diagnostic, Sources};
use crate::id::Address;
use crate::plan::check_inputs;
use crate::report::Paint;
use crate::report::diagnostics;
use crate::report::outcome::Ending;
use crate::report::units::rfc3339;
use crate::report::validation::{Validation, render_github, render_json, render_junit, render_text};
use crate::store::Store;
use crate::value::Value;
use crate::view::{Board, Status};
use crate::visible;

/// `atoll validate`.
#[derive(Debug, Args)]
pub struct Ask {
    /// Inputs of the pipeline `validate` and options of its run; `atoll validate --help` lists them
    #[arg(value_name = "--scenarios DIR --target URL", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct Options {
    /// Format of the report on standard output
    #[arg(long, default_value = "text")]
    format: Form,
    /// Also write the report to a file; can be repeated: `--report junit=report.xml --report json=report.json`
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = report_file)]
    reports: Vec<(Form, PathBuf)>,
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
    means: Means,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text for people.
    Text,
    /// One JSON object.
    Json,
    /// JUnit XML, for the test reports of CI systems.
    Junit,
    /// GitHub Actions annotations.
    Github,
}

/// `FORMAT=FILE`.
fn report_file(text: &str) -> Result<(Form, PathBuf), String> {
    let (form, file) = text.split_once('=').ok_or("write FORMAT=FILE, for example junit=report.xml")?;
    let form = Form::from_str(form, false)
        .map_err(|_| format!("unknown format `{form}`: text, json, junit or github"))?;
    if file.is_empty() { Err("the file is missing".to_owned()) } else { Ok((form, file.into())) }
}

/// Where a report goes to.
struct Reports {
    form: Form,
    files: Vec<(Form, PathBuf)>,
    evidence: Option<EvidenceDir>,
}

impl Reports {
    /// The outputs with the evidence that is written of them.
    fn attached(&self, desk: &Desk, store: &dyn Store, outputs: Value) -> Result<Value, Stop> {
        let (outputs, left_out) = attach(outputs, store, self.evidence.as_ref())?;
        if left_out > 0 {
            desk.face.say(&format!("the evidence is too large: {left_out} files were not written"));
        }
        Ok(outputs)
    }
}

/// Validates, or reports on what was validated before.
pub fn serve(desk: &Desk, _ask: &Ask, arguments: &[OsString]) -> Done {
    let Given { desk, pipeline, options, inputs } = given::of::<Options>(desk, "validate", arguments)?;
    let Options { format, of, means, reports, evidence, .. } = options;
    let files = reports.into_iter().map(|(form, file)| (form, desk.settings.here.join(file))).collect();
    let evidence = evidence.map(|shown| EvidenceDir { path: desk.settings.here.join(&shown), shown });
    let reports = Reports { form: format, files, evidence };
    if let Some(run) = of {
        return again(&desk, &run, &reports);
    }
    let plain = if format == Form::Text { Format::Text } else { Format::Json };
    let carry = Carry { format: plain, means };
    granted::introduce(&desk, &pipeline)?;
    let inputs = match check_inputs(&pipeline.plan, &inputs, &Files::new(&desk.settings)?) {
        Ok(inputs) => inputs,
        Err(found) => return Err(refuse(&desk, &found, &pipeline.sources, format)?),
    };
    let stream = stream(&carry)?;
    let to_stdout = matches!(stream, Stream::Out);
    let mut house = carry.means.house(&desk)?;
    granted::prepare(&desk, &mut house, (&pipeline.plan, &pipeline.bundle), &inputs)?;
    let job = fresh(&house, &pipeline, inputs)?;
    let showing = Showing { carry: &carry, stream };
    let (board, outcome, broken) = conduct(&desk, &house, job, showing)?;

    let exit = Exit::of_standing(&outcome.standing);
    let outputs = reports.attached(&desk, house.store.as_ref(), (*outcome.outputs).clone())?;
    let outputs = Some(&outputs);
    let ending = Ending { board: &board, code: exit.code(), outputs, now: house.clock.now() };
    report(&desk, &reports, !to_stdout, &ending)?;
    tell(&desk, &ending);
    whole(exit, carry.means.events.clone(), broken)
}

/// Says what is wrong with the inputs, before any run begins.
fn refuse(desk: &Desk, found: &[Diagnostic], sources: &Sources, format: Form) -> Result<Stop, Stop> {
    let plain = match format {
        Form::Json => Format::Json,
        Form::Text | Form::Junit => Format::Text,
        Form::Github => {
            desk.face.print_raw(&diagnostics::render_github(found, sources))?;
            Format::Text
        }
    };
    loading::refuse(desk, found, sources, plain)
}

/// Writes the report of a run that is on record, and ends as it did.
fn again(desk: &Desk, run: &str, reports: &Reports) -> Done {
    let past = Past::find(desk, run)?;
    let board = past.board()?;
    if board.pipeline != "validate" {
        return Err(Stop::usage(format!("run {} is one of `{}`", past.run(), board.pipeline))
            .hint("`--of` takes a run of `validate`; `atoll runs` lists them"));
    }
    let outputs = match &board.outputs {
        Some(payload) => past.value(payload, &Address::root())?,
        None => past.outputs_so_far(desk)?,
    };
    let outputs = reports.attached(desk, past.store.as_ref(), outputs)?;
    let exit = Exit::of_status(&board.status);
    let now = house::clock().now();
    let ending = Ending { board: &board, code: exit.code(), outputs: Some(&outputs), now };
    report(desk, reports, true, &ending)?;
    tell(desk, &ending);
    Ok(exit)
}

/// Writes the report to standard output (unless events go there) and to files: of a run that pauses, what is decided without what it waits for. One that did not come as far as
/// that has none but in JSON, which says how it stands.
fn report(desk: &Desk, reports: &Reports, to_stdout: bool, ending: &Ending<'_>) -> Result<(), Stop> {
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
    for (form, file) in &reports.files {
        let Some(text) = render(*form, found.as_ref(), ending, Paint::PLAIN)? else { continue };
        std::fs::write(file, text + "\n")
            .map_err(|e| Stop::failed(format!("cannot write the report {}: {e}", file.display())))?;
    }
    if !to_stdout {
        return Ok(());
    }
    match render(reports.form, found.as_ref(), ending, desk.face.out)? {
        Some(text) if matches!(reports.form, Form::Text | Form::Junit) => desk.face.print_line(&text),
        Some(text) => desk.face.print_raw_line(&text),
        None => Ok(()),
    }
}

fn render(
    form: Form,
    found: Option<&Validation>,
    ending: &Ending<'_>,
    paint: Paint,
) -> Result<Option<String>, Stop> {
    let text = match (form, found) {
        (Form::Json, _) => {
            let text = serde_json::to_string_pretty(&render_json(ending));
            visible::json(text.map_err(|e| Stop::failed(e.to_string()))?)
        }
        (_, None) => return Ok(None),
        (Form::Text, Some(found)) => render_text(found, paint),
        (Form::Junit, Some(found)) => {
            let at = ending.board.started_at.map(rfc3339);
            render_junit(found, at.as_deref()).map_err(Stop::failed)?
        }
        (Form::Github, Some(found)) => render_github(found),
    };
    Ok(Some(text))
}

fn finished(board: &Board) -> bool {
    matches!(board.status, Status::Finished { .. })
}

fn read(outputs: &Value) -> Result<Validation, Stop> {
    Validation::read(outputs).map_err(|error| {
        Stop::failed(format!("the outputs of the pipeline `validate` are no report: {error}"))
            .hint("docs/validate.md says which outputs a report is made of")
    })
}
