//! What dead processes left over: containers, images, sandboxes. Removed by `atoll gc`, and before a run goes on.

use super::{Desk, Stop, house};
use crate::plan::{Action, Plan};
use crate::runtime::service::Leftovers;
use crate::store::Head;

/// Removes what is left of the run, where its plan has services at all, and says so.
pub fn clear_for(desk: &Desk, head: &Head, plan: &Plan) -> Result<(), Stop> {
    let holds = |action: &Action| matches!(action, Action::Hold(_));
    let any = plan.bodies.iter().flat_map(|body| &body.steps).any(|step| holds(&step.action));
    if any { clear(desk, Leftovers::Of(&head.run)) } else { Ok(()) }
}

/// Removes what is left of all runs, images only of those that are finished or gone, and says so.
pub fn clear_all(desk: &Desk, heads: &[Head]) -> Result<(), Stop> {
    let open = heads.iter().filter(|head| head.finished_at.is_none());
    let open: Vec<_> = open.map(|head| head.run.clone()).collect();
    clear(desk, Leftovers::AllBut(&open))
}

fn clear(desk: &Desk, leftovers: Leftovers<'_>) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Stop::failed(format!("no thread to clean up on: {e}")))?;
    let runtimes = house::runtimes(&desk.settings, false)?;
    let reaped = runtime.block_on(runtimes.reap(leftovers));
    if !reaped.is_empty() {
        desk.face.say(&format!("removed what dead processes left over: {reaped}"));
    }
    Ok(())
}
