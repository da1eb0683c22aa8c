//! `atoll lint`: errors and likely problems in scenarios and a specification.

use std::path::PathBuf;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::DiagnosticsFormat;
use crate::cli::project::input_files::regular;
use crate::diag::{Severity, SourceMap};
use crate::report::units::hanging;
use crate::scenario::lint;
use crate::verbs::scenario_load::read_files;

/// `atoll lint`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory of scenarios
    #[arg(value_name = "DIR", required_unless_present = "spec")]
    scenarios: Option<PathBuf>,
    /// The specification, a Markdown file
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Format of the diagnostics
    #[arg(long, default_value = "text")]
    format: DiagnosticsFormat,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

/// Lints.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let (mut sources, mut found) = (SourceMap::new(), Vec::new());
    let mut unreadable: Vec<String> = Vec::new();
    let mut what = Vec::new();
    if let Some(dir) = &args.scenarios {
        let shown = dir.display().to_string();
        let (files, broken) = read_files(dir, shown.trim_end_matches('/'))
            .map_err(|failure| CommandError { hint: failure.hint, ..CommandError::wrong(failure.message) })?;
        (sources, found) = lint::scenarios(&files);
        unreadable = broken;
        what.push(shown);
    }
    if let Some(path) = &args.spec {
        let shown = path.display().to_string();
        let text = regular(path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string()))
            .map_err(|e| CommandError::wrong(format!("the specification {shown} cannot be read: {e}")))?;
        found.extend(lint::spec(&mut sources, shown.clone(), text));
        what.push(shown);
    }
    args.format.print(app.terminal, &what.join(", "), &found, &sources)?;
    for line in &unreadable {
        app.terminal.say(&hanging(line, "  "));
    }
    let counts = |severity| severity == Severity::Error || args.strict;
    let wrong = !unreadable.is_empty() || found.iter().any(|complaint| counts(complaint.severity));
    Ok(if wrong { ExitStatus::WRONG } else { ExitStatus::REACHED })
}
