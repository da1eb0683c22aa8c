use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use super::super::evaluate::{Evaluated, Unready};
use super::super::frame::{FrameId, Spot};
use super::super::node::Node;
use super::super::results::Results;
use super::super::run::Work;
use super::super::scope::eval_failure;
use super::super::slot::{INLINE, INLINE_ITEM, recordable};
use super::super::{Fact, Mismatch, Opening, Payload, Run};
use super::{Control, inner_failure, whole_number};
use crate::clock::Millis;
use crate::expr::{Allowance, Data, Expr, Scope};
use crate::id::Instance;
use crate::meter::Meter;
use crate::plan::{Action, Each, OnError};
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
    on_error: OnError,
    /// The most failures with which new items are still begun.
    most: u32,
}

impl Items {
    fn has_stopped(&self) -> bool {
        self.results.failures() > self.most
    }
}

impl Run {
    pub(super) fn each_opening(&mut self, spot: Spot, each: &Each) -> Evaluated<Opening> {
        let scope = self.scope_at(spot)?;
        let of_plan = self.plan_step(spot);
        let opening = move |scope: &Scope| match &of_plan.action {
            Action::Each(each) => opening(each, scope),
            _ => Err(super::super::scope::bug("no `each`")),
        };
        let (over, parallel, max_failures, keys) = self.evaluate("over", &scope, opening)?;
        let parallel = parallel.unwrap_or_else(|| self.room(spot, each)).max(1);
        let over = self.keep(over.to_value(), INLINE);
        let keys = keys.map(|keys| self.keep(keys, INLINE));
        Ok(Opening::Each { over, parallel, max_failures, keys })
    }

    /// How many items may be open where nobody says it: as many as the widest lane of their steps takes, and no fewer than
    /// [`PARALLEL`].
    fn room(&self, spot: Spot, each: &Each) -> u32 {
        let frame = self.frame(spot.0);
        let places = 0..frame.plan.bodies[each.body.0].steps.len();
        let widest = places.map(|place| self.width(frame.lane_in(each.body, place))).max();
        widest.and_then(|width| u32::try_from(width).ok()).unwrap_or(PARALLEL).max(PARALLEL)
    }

    pub(super) fn open_each(
        &mut self,
        spot: Spot,
        (over, keys): (&Payload, Option<&Payload>),
        parallel: u32,
        max_failures: Option<u32>,
    ) -> Result<(), String> {
        let over = self.payload_data(over)?;
        let keys = keys.map_or_else(|| Ok(Data::none()), |keys| self.payload_data(keys))?;
        let count = over.len_hint().and_then(|n| u32::try_from(n).ok()).ok_or("`over` is no list")?;
        let Action::Each(each) = &self.frame(spot.0).step(spot.1).action else {
            return Err("no `each`".to_owned());
        };
        let on_error = each.on_error;
        let most = if on_error == OnError::Stop { 0 } else { max_failures.unwrap_or(u32::MAX) };
        let results = Results::of(count, keys);
        // Found now, so that every item finds it.
        self.names_inside(spot).map_err(|failure| failure.message)?;
        let items = Items { open: BTreeMap::new(), results, over, count, parallel, next: 0, on_error, most };
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
        let names = self.names_inside(spot).unwrap_or_else(|_| frame.names.clone());
        let names = item_names(&names, each, item, index);
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
        let Control::Each(items) = self.control_mut(spot)? else {
            return Err("the step has no items".to_owned());
        };
        if items.results.is_closed(index) {
            return Err("the item has ended already".to_owned());
        }
        items.results.close(index, result, failed);
        if let Some(frame) = items.open.remove(&index) {
            self.close_frame(frame);
        }
        self.work.push_back(Work::Advance(spot));
        Ok(())
    }

    /// Whether the step at `spot` is an open `each`.
    pub(in super::super) fn is_open_each(&self, spot: Spot) -> bool {
        matches!(&self.frame(spot.0).nodes[spot.1], Node::Open(control) if matches!(**control, Control::Each(_)))
    }

    /// All items of the open `each` at `spot`, and those that failed. Of an item that has not ended, `output` is its result on
    /// what its steps have left so far, if that is enough for one. `None` if it is no open `each`.
    pub(in super::super) fn items_so_far(&self, spot: Spot, within: &Arc<Allowance>) -> Option<(Data, Data)> {
        let frame = self.frame(spot.0);
        let (Node::Open(control), Action::Each(each)) = (&frame.nodes[spot.1], &frame.step(spot.1).action)
        else {
            return None;
        };
        let Control::Each(items) = control.as_ref() else { return None };
        let entry = |index: u32| {
            let open = items.open.get(&index);
            let partly =
                open.and_then(|item| self.result_so_far(*item, (each.result.as_ref(), &each.sees), within));
            items.results.entry_so_far(index, partly, self.shelf().as_ref())
        };
        let failed = items.results.failed_so_far(self.shelf().as_ref());
        Some((Data::list((0..items.count).map(entry).collect()), failed))
    }

    /// What is recorded of a failed item.
    fn failed_item(&mut self, owner: Spot, index: u32, failure: &Failure) -> Value {
        let key = match self.control_mut(owner) {
            Ok(Control::Each(items)) => items.results.key(index).to_value(),
            _ => Value::Null,
        };
        serde_json::json!({
            "index": index,
            "key": key,
            "error": {"class": failure.class.word(), "message": failure.message, "hint": failure.hint},
        })
    }

    /// The failure of an `each` whose items `failed`, the first of which names the cause.
    fn items_failed(&self, items: &Items) -> Failure {
        let (failed, count) = (items.results.failures(), items.count);
        let first = items.results.first_failure(self.shelf().as_ref()).unwrap_or_default();
        let error = &first["error"];
        let class = error["class"].as_str().and_then(Class::parse).unwrap_or(Class::Permanent);
        let mut message = format!("{failed} of {count} item{} failed", if count == 1 { "" } else { "s" });
        if items.has_stopped() && items.on_error != OnError::Stop {
            let _ = write!(message, ", more than the {} that `max_failures` allows", items.most);
        }
        if let left @ 1.. = items.results.unbegun() {
            let _ = write!(message, ", {left} not begun");
        }
        let key = match &first["key"] {
            Value::Null => String::new(),
            key => format!(" (`{}`)", text_of(key)),
        };
        let cause = error["message"].as_str().unwrap_or("failed");
        let failure = Failure::new(class, format!("{message}; item {}{key}: {cause}", first["index"]));
        match error["hint"].as_str() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

type Opened = (Data, Option<u32>, Option<u32>, Option<Value>);

/// The items of an `each`, how many are open at once, how many may fail, and their keys.
fn opening(each: &Each, scope: &Scope) -> Result<Opened, Failure> {
    let over = each.over.eval(scope).map_err(|e| eval_failure("over", &e))?;
    if !over.is_list() {
        return Err(Failure::permanent(format!("`over` is {}, not a list", over.noun())));
    }
    let number = |what: &str, expr: &Option<Expr>| match expr {
        None => Ok(None),
        Some(expr) => {
            let value = expr.eval(scope).map_err(|e| eval_failure(what, &e))?;
            whole_number(what, &value, u32::MAX).map(Some)
        }
    };
    let (parallel, failures) =
        (number("parallel", &each.parallel)?, number("max_failures", &each.max_failures)?);
    let keys = each.key.as_ref().map(|key| keys(each, key, &over, scope)).transpose()?;
    Ok((over, parallel, failures, keys))
}

/// A scope in which `item` is the item at `index`.
fn item_names(names: &Scope, each: &Each, item: Data, index: u32) -> Scope {
    let place = if each.item == "item" { "index".to_owned() } else { format!("{}_index", each.item) };
    names.with(&each.item, item).with(&place, Data::from_value(&index.into()))
}

/// The keys of all items. Each item has one, and no two have the same.
fn keys(each: &Each, key: &Expr, over: &Data, scope: &Scope) -> Result<Value, Failure> {
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut keys = Vec::new();
    for (index, item) in (0_u32..).zip(over.items().unwrap_or_default()) {
        let made = key.eval(&item_names(scope, each, item, index));
        let made = made.map_err(|e| {
            let failure = eval_failure("key", &e);
            Failure { message: format!("item {index}: {}", failure.message), ..failure }
        })?;
        if made.is_none() {
            return Err(Failure::permanent(format!("item {index} has no key: `{}` is none", key.text())));
        }
        let made = made.to_value();
        if let Some(other) = seen.insert(text_of(&made), index) {
            return Err(Failure::permanent(format!(
                "items {other} and {index} have the same key `{}`",
                text_of(&made)
            ))
            .hint(
                "a key names one item: add what tells them apart, e.g. `key = \"item.name ~ '-' ~ index\"`",
            ));
        }
        keys.push(made);
    }
    Ok(Value::Array(keys))
}

/// A key as people write it.
fn text_of(key: &Value) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
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
    let result = match failed {
        Some(failure) => Err(failure.into()),
        None => run
            .result_of(frame, each.result.as_ref(), &each.sees)
            .and_then(|value| recordable(value).map_err(Unready::from)),
    };
    let (value, failed) = match result {
        Ok(value) => (value, false),
        Err(Unready::Later) => return Ok(()),
        Err(Unready::Failed(failure)) => (run.failed_item(owner, index, &failure), true),
    };
    let result = run.keep(value, INLINE_ITEM);
    run.emit(now, run.address(owner).item(index), 0, Fact::ItemClosed { result, failed, skipped: false })
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
    let Node::Open(control) = &run.frame(spot.0).nodes[spot.1] else { return Ok(()) };
    let Control::Each(items) = control.as_ref() else { return Ok(()) };
    if !items.open.is_empty() {
        return Ok(());
    }
    let kept = items.on_error == OnError::Keep && !items.has_stopped();
    if items.results.failures() > 0 && !kept {
        let failure = run.items_failed(items);
        return run.fail(now, spot, failure);
    }
    let output = Payload::Items(items.count);
    run.emit(now, run.address(spot), 0, Fact::Succeeded { output, spent: Meter::new(), cached: false })
}
