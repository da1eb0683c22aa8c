use std::sync::Arc;

use super::super::frame::{FrameId, Spot};
use super::super::node::{Node, Tries};
use super::super::run::Work;
use super::super::slot::INLINE;
use super::super::{Fact, Mismatch, Order, Payload, Run};
use super::{Control, inner_failure};
use crate::clock::Millis;
use crate::expr::Allowance;
use crate::id::{Address, Instance};
use crate::plan::Action;
use crate::value::Value;

/// A `hold` that has its resource.
#[derive(Debug)]
pub(in super::super) struct Holding {
    pub(super) body: FrameId,
    pub(super) released: bool,
    held: Payload,
    tries: Tries,
    pub(super) ordered: bool,
}

impl Run {
    pub(super) fn apply_acquired(&mut self, spot: Spot, held: &Payload) -> Result<(), String> {
        let tries = self.tries(spot);
        let frame = self.frame(spot.0);
        let Action::Hold(hold) = &frame.step(spot.1).action else {
            return Err("the step is no `hold` now".to_owned());
        };
        if !matches!(frame.nodes[spot.1], Node::Running(_)) {
            return Err("a resource can be acquired only by an attempt that is under way".to_owned());
        }
        let (plan, body) = (frame.plan.clone(), hold.body);
        let names = self.names_inside(spot).map_err(|failure| failure.message)?;
        let names = names.with("held", self.payload_data(held)?);
        let owned = self.frames.remove(&spot.0).ok_or("its surroundings have ended already")?;
        self.leave_lane(&owned, spot.1);
        self.frames.insert(spot.0, owned);
        let place = (Some(spot), Instance::Only, self.address(spot));
        let body = self.open_frame(plan, body, place, names);
        let holding = Holding { body, released: false, held: held.clone(), tries, ordered: false };
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Open(Box::new(Control::Hold(holding)));
        }
        Ok(())
    }

    pub(super) fn apply_released(&mut self, spot: Spot, held: &Payload) -> Result<(), String> {
        let Control::Hold(holding) = self.control_mut(spot)? else {
            return Err("the step holds nothing".to_owned());
        };
        holding.held = held.clone();
        holding.released = true;
        let was_ordered = holding.ordered;
        self.releasing -= usize::from(was_ordered);
        self.work.push_back(Work::Advance(spot));
        Ok(())
    }

    pub(super) fn apply_lost(&mut self, spot: Spot, at: Millis) -> Result<(), String> {
        let Control::Hold(holding) = self.control_mut(spot)? else {
            return Err("the step holds nothing".to_owned());
        };
        let (body, tries) = (holding.body, holding.tries.clone());
        self.releasing -= usize::from(holding.ordered && !holding.released);
        self.drop_frame(body);
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Resting { tries, until: at };
        }
        self.timers.insert((at, spot));
        Ok(())
    }
}

impl Run {
    /// What the output of the open `hold` at `spot` is so far: its result on what the steps of its body have left. `None` if that
    /// is not enough for one, or it is no open `hold`.
    pub(in super::super) fn hold_so_far(&self, spot: Spot, within: &Arc<Allowance>) -> Option<Value> {
        let frame = self.frame(spot.0);
        let (Node::Open(control), Action::Hold(hold)) = (&frame.nodes[spot.1], &frame.step(spot.1).action)
        else {
            return None;
        };
        let Control::Hold(holding) = control.as_ref() else { return None };
        let result = self.result_so_far(holding.body, (hold.result.as_ref(), &hold.sees), within)?;
        let held = super::super::slot::load(&holding.held, self.shelf().as_ref()).ok()?;
        Some(serde_json::json!({"held": held.as_ref(), "result": result}))
    }
}

/// The body has ended: orders the resource to be let go.
pub(super) fn let_go(run: &mut Run, spot: Spot) -> Result<(), Mismatch> {
    let address = run.address(spot);
    if let Ok(Control::Hold(holding)) = run.control_mut(spot)
        && !holding.released
        && !std::mem::replace(&mut holding.ordered, true)
    {
        run.releasing += 1;
        run.turn.orders.push(Order::Release(address));
    }
    Ok(())
}

/// The resource was let go; `None` where it was gone already.
pub(super) fn released(
    run: &mut Run,
    now: Millis,
    address: &Address,
    held: Option<Value>,
) -> Result<(), Mismatch> {
    let Some(spot) = run.locate(address) else { return Ok(()) };
    let before = match run.control_mut(spot) {
        Ok(Control::Hold(holding)) if !holding.released => holding.held.clone(),
        _ => return Ok(()),
    };
    let held = match held {
        Some(held) => run.keep(held, INLINE),
        None => before,
    };
    run.emit(now, address.clone(), 0, Fact::Released { held })
}

/// The resource is gone and the body has ended: so does the step.
pub(super) fn advance(run: &mut Run, now: Millis, spot: Spot) -> Result<(), Mismatch> {
    let Ok(Control::Hold(holding)) = run.control_mut(spot) else { return Ok(()) };
    if !holding.released {
        return Ok(());
    }
    let (body, held) = (holding.body, holding.held.clone());
    let failed =
        run.frame(body).unhandled().next().map(|(place, failure)| inner_failure(run, body, place, failure));
    let plan = run.frame(spot.0).plan.clone();
    let Action::Hold(hold) = &plan.bodies[run.frame(spot.0).body.0].steps[spot.1].action else {
        return Ok(());
    };
    let result = match failed {
        Some(failure) => Err(failure.into()),
        None => run.result_of(body, hold.result.as_ref(), &hold.sees),
    };
    match result {
        Ok(result) => {
            let held =
                super::super::slot::load(&held, run.shelf().as_ref()).map(|held| held.as_ref().clone());
            run.succeed(now, spot, serde_json::json!({"held": held.unwrap_or_default(), "result": result}))
        }
        Err(unready) => run.unready(now, spot, unready),
    }
}
