//! Leftovers of dead processes: containers, images, sandboxes. Removed by `atoll gc`, and before a run
//! continues.

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::wiring;
use crate::plan::{Action, Plan};
use crate::runtime::service::Leftovers;
use crate::store::RunSummary;

/// Removes the leftovers of the run, if its plan has services, and reports it.
pub fn clear_for(app: &App, head: &RunSummary, plan: &Plan) -> Result<(), CommandError> {
    let holds = |action: &Action| matches!(action, Action::Hold(_));
    let any = plan.bodies.iter().flat_map(|body| &body.steps).any(|step| holds(&step.action));
    if any { clear(app, Leftovers::Of(&head.run)) } else { Ok(()) }
}

/// Removes the leftovers of all runs (images only of finished or deleted runs), and reports it.
pub fn clear_all(app: &App, heads: &[RunSummary]) -> Result<(), CommandError> {
    let open = heads.iter().filter(|head| head.finished_at.is_none());
    let open: Vec<_> = open.map(|head| head.run.clone()).collect();
    clear(app, Leftovers::AllBut(&open))
}

fn clear(app: &App, leftovers: Leftovers<'_>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CommandError::failed(format!("no thread for the cleanup: {e}")))?;
    let runtimes = wiring::runtimes(&app.settings, false)?;
    let reaped = runtime.block_on(runtimes.reap(leftovers));
    if !reaped.is_empty() {
        app.terminal.say(&format!("removed leftovers of dead processes: {reaped}"));
    }
    Ok(())
}
