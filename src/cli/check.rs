//! `atoll check PIPELINE`: all mistakes of a pipeline in one go.

use clap::{Args, ValueEnum};

use super::{Desk, Done, Exit, Stop, loading};
use crate::diag::{Diagnostic, Sources};
use crate::plan::Loaded;
use crate::report::diagnostics::{render_github, render_json, render_sarif, render_text};

/// `atoll check`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The pipeline: a name, or the path of a TOML file
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Format of the diagnostics
    #[arg(long, default_value = "text")]
    format: Format,
}

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text with the source lines, the wrong part underlined.
    Text,
    /// One JSON object: `{version, diagnostics[]}`.
    Json,
    /// SARIF, for code scanners.
    Sarif,
    /// GitHub Actions annotations.
    Github,
}

/// Prints what was found in `what`.
pub fn tell(
    desk: &Desk,
    what: &str,
    found: &[Diagnostic],
    sources: &Sources,
    format: Format,
) -> Result<(), Stop> {
    let text = match format {
        Format::Text => render_text(found, sources, desk.face.out.is_on()),
        Format::Json => render_json(found, sources),
        Format::Sarif => render_sarif(found, sources),
        Format::Github => render_github(found, sources),
    };
    if found.is_empty() {
        desk.face.say(&format!("{what}: no mistakes found"));
    }
    if !found.is_empty() || format != Format::Text {
        match format {
            Format::Text => desk.face.print_line(&text)?,
            Format::Json | Format::Sarif | Format::Github => desk.face.print_raw_line(&text)?,
        }
    }
    Ok(())
}

/// Checks.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let Loaded { plan, diagnostics, sources, .. } = loading::load(desk, &ask.pipeline, &ask.set)?;
    tell(desk, &ask.pipeline, &diagnostics, &sources, ask.format)?;
    Ok(if plan.is_some() { Exit::REACHED } else { Exit::WRONG })
}
