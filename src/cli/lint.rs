//! `atoll lint`: what is wrong with scenarios and a specification, or will be.

use std::path::PathBuf;

use clap::Args;

use super::check::{Format, tell};
use super::files::regular;
use super::{Desk, Done, Exit, Stop};
use crate::diag::{Severity, Sources};
use crate::report::units::hanging;
use crate::scenario::lint;
use crate::verbs::scenario_load::read_files;

/// `atoll lint`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The directory of scenarios
    #[arg(value_name = "DIR", required_unless_present = "spec")]
    scenarios: Option<PathBuf>,
    /// The specification, a Markdown file
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// Format of the diagnostics
    #[arg(long, default_value = "text")]
    format: Format,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

/// Lints.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let (mut sources, mut found) = (Sources::new(), Vec::new());
    let mut unreadable: Vec<String> = Vec::new();
    let mut what = Vec::new();
    if let Some(dir) = &ask.scenarios {
        let shown = dir.display().to_string();
        let (files, broken) = read_files(dir, shown.trim_end_matches('/'))
            .map_err(|failure| Stop { hint: failure.hint, ..Stop::wrong(failure.message) })?;
        (sources, found) = lint::scenarios(&files);
        unreadable = broken;
        what.push(shown);
    }
    if let Some(path) = &ask.spec {
        let shown = path.display().to_string();
        let text = regular(path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string()))
            .map_err(|e| Stop::wrong(format!("the specification {shown} cannot be read: {e}")))?;
        found.extend(lint::spec(&mut sources, shown.clone(), text));
        what.push(shown);
    }
    tell(desk, &what.join(", "), &found, &sources, ask.format)?;
    for line in &unreadable {
        desk.face.say(&hanging(line, "  "));
    }
    let counts = |severity| severity == Severity::Error || ask.strict;
    let wrong = !unreadable.is_empty() || found.iter().any(|complaint| counts(complaint.severity));
    Ok(if wrong { Exit::WRONG } else { Exit::REACHED })
}
