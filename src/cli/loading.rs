//! Loads a pipeline by name, and prints all diagnostics.

use std::sync::Arc;

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::project::text_layers::TextLayers;
use crate::cli::wiring;
use crate::diag::{Diagnostic, Severity, SourceMap};
use crate::plan::{self, Bundle, Loaded, Plan};
use crate::report::diagnostics;

/// A pipeline without errors.
pub struct LoadedPipeline {
    /// Plan of the pipeline.
    pub plan: Arc<Plan>,
    /// Bundle of its texts.
    pub bundle: Bundle,
    /// Texts that the spans of diagnostics refer to.
    pub sources: SourceMap,
    /// Warnings and notes.
    warnings: Vec<Diagnostic>,
}

impl LoadedPipeline {
    /// Writes its warnings to standard error; notes are printed only by `check`.
    pub fn warn(&self, app: &App) {
        if !app.terminal.quiet {
            let warnings = self.warnings.iter().filter(|found| found.severity == Severity::Warning);
            say(app, &warnings.cloned().collect::<Vec<_>>(), &self.sources);
        }
    }
}

/// Loads the pipeline `name` with the settings `sets`, without printing anything.
pub fn load(app: &App, name: &str, sets: &[String]) -> Result<Loaded, CommandError> {
    Ok(plan::load(name, &TextLayers::new(&app.settings), &wiring::listing(&app.settings)?, sets))
}

/// Loads the pipeline `name`. If it has errors, they are printed to standard error, or to standard output as
/// JSON.
pub fn load_valid(
    app: &App,
    name: &str,
    sets: &[String],
    format: Format,
) -> Result<LoadedPipeline, CommandError> {
    require_plan(app, load(app, name, sets)?, format)
}

/// The result of `loaded`, after its errors are printed.
pub fn require_plan(app: &App, loaded: Loaded, format: Format) -> Result<LoadedPipeline, CommandError> {
    let Loaded { plan, diagnostics, sources, bundle } = loaded;
    match plan {
        Some(plan) => Ok(LoadedPipeline { plan, bundle, sources, warnings: diagnostics }),
        None => Err(report_errors(app, &diagnostics, &sources, format)?),
    }
}

/// Prints errors and ends the command.
pub fn report_errors(
    app: &App,
    found: &[Diagnostic],
    sources: &SourceMap,
    format: Format,
) -> Result<CommandError, CommandError> {
    if format.is_text() {
        say(app, found, sources);
    } else {
        app.terminal.print_raw_line(&diagnostics::render_json(found, sources))?;
    }
    Ok(CommandError::told(ExitStatus::WRONG))
}

fn say(app: &App, found: &[Diagnostic], sources: &SourceMap) {
    if found.is_empty() {
        return;
    }
    app.terminal.say(&diagnostics::render_text(found, sources, app.terminal.err.is_on()));
}
