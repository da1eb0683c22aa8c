use std::collections::BTreeMap;

use super::super::apply::lane_of;
use super::super::frame::{FrameId, Spot};
use super::super::node::Node;
use super::super::run::Work;
use super::super::scope::eval_failure;
use super::super::slot::{INLINE, INLINE_ITEM, Results, load};
use super::super::{Fact, Mismatch, Opening, Payload, Run};
use super::{Control, inner_failure};
use crate::clock::Millis;
use crate::expr::Data;
use crate::id::Instance;
use crate::meter::Meter;
use crate::plan::{Action, Each, OnError, Step};
use crate::value::Value;
use crate::verb::{Class, Failure};

/// How many items are open at once where the pipeline does not say.
const PARALLEL: u32 = 64;

/// An `each` that has opened.
#[derive(Debug)]
pub(in super::super) struct Items {
    pub(super) open: BTreeMap<u32, FrameId>,
    pub(super) results: Results,
    over: Data,
    count: u32,
    parallel: u32,
    next: u32,
    failed: u32,
    most: u32,
    first: Option<Box<Failure>>,
}

impl Items {
    fn has_stopped(&self) -> bool {
        self.failed > self.most
    }
}

impl Run {
    pub(super) fn each_opening(&mut self, spot: Spot, step: &Step, each: &Each) -> Result<Opening, Failure> {
        let scope = self.scope(spot.0, &step.sees)?;
        let over = each.over.eval(&scope).map_err(|e| eval_failure("over", &e))?;
        if !over.is_list() {
            return Err(Failure::permanent(format!("`over` is {}, not a list", over.noun())));
        }
        let number = |what: &str, expr: &Option<crate::expr::Expr>| match expr {
            None => Ok(None),
            Some(expr) => {
                let value = expr.eval(&scope).map_err(|e| eval_failure(what, &e))?;
                let number = value.as_i64().and_then(|n| u32::try_from(n).ok());
                number.map(Some).ok_or_else(|| {
                    Failure::permanent(format!("`{what}` is {}, not a whole number", value.noun()))
                })
            }
        };
        let parallel = number("parallel", &each.parallel)?.unwrap_or_else(|| self.room(spot, each)).max(1);
        let max_failures = number("max_failures", &each.max_failures)?;
        let over = self.keep(over.to_value(), INLINE);
        Ok(Opening::Each { over, parallel, max_failures })
    }

    /// How many items may be open where nobody says it: as many as the widest lane of their steps takes, and no fewer than
    /// [`PARALLEL`].
    fn room(&self, spot: Spot, each: &Each) -> u32 {
        let steps = &self.frame(spot.0).plan.bodies[each.body.0].steps;
        let widest = steps.iter().map(|step| self.width(lane_of(step))).max();
        widest.and_then(|width| u32::try_from(width).ok()).unwrap_or(PARALLEL).max(PARALLEL)
    }

    pub(super) fn open_each(
        &mut self,
        spot: Spot,
        over: &Payload,
        parallel: u32,
        max_failures: Option<u32>,
    ) -> Result<(), String> {
        let over = self.payload_data(over)?;
        let count = over.len_hint().and_then(|n| u32::try_from(n).ok()).ok_or("`over` is no list")?;
        let Action::Each(each) = &self.frame(spot.0).step(spot.1).action else {
            return Err("no `each`".to_owned());
        };
        let most = match each.on_error {
            OnError::Stop => 0,
            OnError::Keep => max_failures.unwrap_or(u32::MAX),
        };
        let items = Items {
            open: BTreeMap::new(),
            results: Results::of(count),
            over,
            count,
            parallel,
            next: 0,
            failed: 0,
            most,
            first: None,
        };
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Open(Box::new(Control::Each(items)));
        }
        self.work.push_back(Work::Advance(spot));
        Ok(())
    }

    /// Opens items in source order until item `index` is open: a journal speaks of an item only after all
    /// before it were opened.
    pub(in super::super) fn open_items_up_to(&mut self, spot: Spot, index: u32) {
        while let Ok(Control::Each(items)) = self.control_mut(spot) {
            if items.next > index || items.next >= items.count {
                break;
            }
            self.open_item(spot);
        }
    }

    fn open_item(&mut self, spot: Spot) {
        let Ok(Control::Each(items)) = self.control_mut(spot) else { return };
        let index = items.next;
        items.next += 1;
        let item = items.over.at(index as usize).unwrap_or_else(Data::none);
        let frame = self.frame(spot.0);
        let (plan, body) = (frame.plan.clone(), frame.body);
        let Action::Each(each) = &plan.bodies[body.0].steps[spot.1].action else { return };
        let place = if each.item == "item" { "index".to_owned() } else { format!("{}_index", each.item) };
        let names = frame.names.with(&each.item, item).with(&place, Data::from_value(&index.into()));
        let address = self.address(spot).item(index);
        let frame =
            self.open_frame(plan.clone(), each.body, (Some(spot), Instance::Item(index), address), names);
        if let Ok(Control::Each(items)) = self.control_mut(spot) {
            items.open.insert(index, frame);
        }
    }

    pub(super) fn apply_item_closed(
        &mut self,
        spot: Spot,
        index: u32,
        result: &Payload,
        failed: bool,
    ) -> Result<(), String> {
        let failure = if failed { Some(self.item_failure(index, result)?) } else { None };
        let Control::Each(items) = self.control_mut(spot)? else {
            return Err("the step has no items".to_owned());
        };
        if items.results.is_closed(index) {
            return Err("the item has ended already".to_owned());
        }
        items.results.close(index, result);
        items.failed += u32::from(failed);
        if items.first.is_none() {
            items.first = failure;
        }
        if let Some(frame) = items.open.remove(&index) {
            self.drop_frame(frame);
        }
        self.work.push_back(Work::Advance(spot));
        Ok(())
    }

    fn item_failure(&self, index: u32, result: &Payload) -> Result<Box<Failure>, String> {
        let result = load(result, self.shelf().as_ref()).map_err(|e| e.to_string())?;
        let error = &result["error"];
        let class = error["class"].as_str().and_then(Class::parse).unwrap_or(Class::Permanent);
        let message = error["message"].as_str().unwrap_or("failed");
        Ok(Box::new(Failure::new(class, format!("item {index}: {message}"))))
    }

    fn failed_item(&self, each: &Each, frame: FrameId, index: u32, failure: &Failure) -> Value {
        let key = each.key.as_ref().and_then(|key| {
            let scope = self.scope(frame, &each.sees).ok()?;
            key.eval(&scope).ok().map(|key| key.to_value())
        });
        serde_json::json!({
            "ok": false,
            "index": index,
            "key": key,
            "error": {"class": failure.class.word(), "message": failure.message, "hint": failure.hint},
        })
    }
}

/// Every step of an item has ended.
pub(super) fn close(
    run: &mut Run,
    now: Millis,
    owner: Spot,
    (frame, index): (FrameId, u32),
) -> Result<(), Mismatch> {
    let plan = run.frame(owner.0).plan.clone();
    let Action::Each(each) = &plan.bodies[run.frame(owner.0).body.0].steps[owner.1].action else {
        return Ok(());
    };
    let failed =
        run.frame(frame).unhandled().next().map(|(place, failure)| inner_failure(run, frame, place, failure));
    let result = failed.map_or_else(|| run.result_of(frame, each.result.as_ref(), &each.sees), Err);
    let (value, failed) = match result {
        Ok(value) => (value, false),
        Err(failure) => (run.failed_item(each, frame, index, &failure), true),
    };
    let result = run.keep(value, INLINE_ITEM);
    run.emit(now, run.address(owner).item(index), 0, Fact::ItemClosed { result, failed })
}

/// Opens as many items as may be open, and ends the step after the last.
pub(super) fn advance(run: &mut Run, now: Millis, spot: Spot) -> Result<(), Mismatch> {
    while let Ok(Control::Each(items)) = run.control_mut(spot) {
        let room = u32::try_from(items.open.len()).unwrap_or(u32::MAX) < items.parallel;
        if !room || items.next >= items.count || items.has_stopped() {
            break;
        }
        run.open_item(spot);
    }
    let Ok(Control::Each(items)) = run.control_mut(spot) else { return Ok(()) };
    if !items.open.is_empty() {
        return Ok(());
    }
    if items.has_stopped() {
        let failure = match items.first.take() {
            Some(first) if items.most == 0 => *first,
            first => {
                let class = first.map_or(Class::Permanent, |first| first.class);
                Failure::new(
                    class,
                    format!("{} items failed, more than the {} allowed", items.failed, items.most),
                )
            }
        };
        return run.fail(now, spot, failure);
    }
    let output = Payload::Items(items.count);
    run.emit(now, run.address(spot), 0, Fact::Succeeded { output, spent: Meter::new(), cached: false })
}
