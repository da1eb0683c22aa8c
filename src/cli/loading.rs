//! From the name of a pipeline to its plan, with every complaint shown.

use std::sync::Arc;

use super::args::Format;
use super::{Desk, Stop, Texts, house};
use crate::diag::{Diagnostic, Sources};
use crate::plan::{self, Bundle, Loaded, Plan};
use crate::report::diagnostics;

/// A pipeline without a mistake.
pub struct Pipeline {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// What it was made from.
    pub bundle: Bundle,
    /// The texts that diagnostics point into.
    pub sources: Sources,
    /// Its warnings.
    warnings: Vec<Diagnostic>,
}

impl Pipeline {
    /// Writes its warnings to standard error.
    pub fn warn(&self, desk: &Desk) {
        if !desk.face.quiet {
            say(desk, &self.warnings, &self.sources);
        }
    }
}

/// Loads the pipeline `name` with `sets` laid over it, without a word.
pub fn load(desk: &Desk, name: &str, sets: &[String]) -> Result<Loaded, Stop> {
    Ok(plan::load(name, &Texts::new(&desk.settings), &house::listing(&desk.settings)?, sets))
}

/// Loads the pipeline `name`. With mistakes there is no pipeline: they go to standard error, or to standard output as JSON.
pub fn sound(desk: &Desk, name: &str, sets: &[String], format: Format) -> Result<Pipeline, Stop> {
    settle(desk, load(desk, name, sets)?, format)
}

/// What `loaded` brought, or its mistakes shown.
pub fn settle(desk: &Desk, loaded: Loaded, format: Format) -> Result<Pipeline, Stop> {
    let Loaded { plan, diagnostics, sources, bundle } = loaded;
    match plan {
        Some(plan) => Ok(Pipeline { plan, bundle, sources, warnings: diagnostics }),
        None => Err(refuse(desk, &diagnostics, &sources, format)?),
    }
}

/// Shows mistakes and ends the command.
pub fn refuse(desk: &Desk, found: &[Diagnostic], sources: &Sources, format: Format) -> Result<Stop, Stop> {
    match format {
        Format::Json => desk.face.print_raw_line(&diagnostics::render_json(found, sources))?,
        Format::Text => say(desk, found, sources),
    }
    Ok(Stop::told(super::Exit::WRONG))
}

fn say(desk: &Desk, found: &[Diagnostic], sources: &Sources) {
    if found.is_empty() {
        return;
    }
    desk.face.say(&diagnostics::render_text(found, sources, desk.face.err.is_on()));
}
