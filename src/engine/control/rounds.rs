use std::sync::Arc;

use super::super::evaluate::{Evaluated, brief};
use super::super::frame::{FrameId, Spot};
use super::super::history::{self, History};
use super::super::node::Node;
use super::super::run::{Work, sums};
use super::super::scope::eval_failure;
use super::super::slot::{INLINE, INLINE_ITEM, bounded};
use super::super::{Change, Changes, Fact, Mismatch, Opening, Payload, Run, STATUS_RUNNING};
use super::{Control, compute, inner_failure, whole_number};
use crate::clock::Millis;
use crate::expr::{Allowance, Data, EvalError, Expr, Ref, Scope, Step as Key};
use crate::id::Instance;
use crate::plan::{Action, Loop, Step};
use crate::value::Value;
use crate::verb::Failure;

/// A loop that has opened.
#[derive(Debug)]
pub(in super::super) struct Rounds {
    /// The round that is open, or the last one once the loop has a status.
    pub(super) frame: Option<FrameId>,
    max: u32,
    over: Option<Data>,
    round: u32,
    state: Vec<(String, Data)>,
    history: Arc<History>,
    status: Option<String>,
    /// What `result` sees of the steps of the round that closed last, kept if it may be asked for before the end.
    last: Option<Scope>,
}

/// What the fact that closes a round says.
pub(super) struct Closed<'a> {
    pub(super) round: u32,
    pub(super) lets: &'a Payload,
    pub(super) changes: &'a Changes,
    pub(super) rule: Option<&'a str>,
    pub(super) exit: Option<&'a str>,
}

impl Run {
    pub(super) fn loop_opening(&mut self, spot: Spot) -> Evaluated<Opening> {
        let scope = self.scope_at(spot)?;
        let of_plan = self.plan_step(spot);
        let opening = move |scope: &Scope| opening(looping_of(&of_plan)?, scope);
        let (max, over, state) = self.evaluate("state", &scope, opening)?;
        let over = over.map(|over| over.to_value());
        let over = over.map(|over| self.keep(over, INLINE));
        Ok(Opening::Loop { max, over, state: self.keep(object(state), INLINE) })
    }

    pub(super) fn open_loop(
        &mut self,
        spot: Spot,
        max: u32,
        over: Option<&Payload>,
        state: &Payload,
    ) -> Result<(), String> {
        let over = over.map(|over| self.payload_data(over)).transpose()?;
        let state = self.payload_data(state)?;
        let state = state.entries().unwrap_or_default();
        let history = History::begin(&state);
        let rounds = Rounds { frame: None, max, over, round: 0, state, history, status: None, last: None };
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Open(Box::new(Control::Loop(rounds)));
        }
        self.begin_round(spot);
        Ok(())
    }

    /// Opens the next round, or gives the loop the status with which it ends.
    fn begin_round(&mut self, spot: Spot) {
        let Ok(Control::Loop(rounds)) = self.control_mut(spot) else { return };
        if rounds.round >= rounds.max {
            rounds.status = Some(if rounds.over.is_some() { "done" } else { "exhausted" }.to_owned());
            self.work.push_back(Work::Advance(spot));
            return;
        }
        rounds.round += 1;
        let (round, last) = (rounds.round, rounds.frame.take());
        if let Some(last) = last {
            self.close_frame(last);
        }
        let names = self.round_names(spot, round);
        let frame = self.frame(spot.0);
        let (plan, body) = (frame.plan.clone(), frame.body);
        let Action::Loop(looping) = &plan.bodies[body.0].steps[spot.1].action else { return };
        let place = (Some(spot), Instance::Round(round), self.address(spot).round(round));
        let frame = self.open_frame(plan.clone(), looping.body, place, names);
        if let Ok(Control::Loop(rounds)) = self.control_mut(spot) {
            rounds.frame = Some(frame);
        }
    }

    /// What every expression inside a round sees.
    fn round_names(&self, spot: Spot, round: u32) -> Scope {
        let frame = self.frame(spot.0);
        let (Node::Open(control), Action::Loop(looping)) = (&frame.nodes[spot.1], &frame.step(spot.1).action)
        else {
            return frame.names.clone();
        };
        let Control::Loop(rounds) = control.as_ref() else { return frame.names.clone() };
        let number = |n: u32| Data::from_value(&n.into());
        let history = rounds.history.view(self.shelf());
        let mut names = frame
            .names
            .with("state", Data::table(rounds.state.iter().cloned()))
            .with("loop", Data::table([("index", number(round)), ("history", history)]));
        if let Some(over) = &rounds.over {
            let index = round.saturating_sub(1);
            let place =
                if looping.item == "item" { "index".to_owned() } else { format!("{}_index", looping.item) };
            let item = over.at(index as usize).unwrap_or_else(Data::none);
            names = names.with(&looping.item, item).with(&place, number(index));
        }
        names
    }

    pub(super) fn apply_round_closed(&mut self, spot: Spot, closed: &Closed<'_>) -> Result<(), String> {
        let Control::Loop(rounds) = self.control_mut(spot)? else {
            return Err("the step has no rounds".to_owned());
        };
        if rounds.round != closed.round || rounds.status.is_some() {
            return Err(format!("round {} is not open", closed.round));
        }
        let (frame, mut state) = (rounds.frame, std::mem::take(&mut rounds.state));
        for (name, change) in closed.changes {
            self.change(&mut state, name, change)?;
        }
        let spent = frame.and_then(|frame| self.frames.get(&frame)?.account.as_ref());
        let spent = sums(&spent.map(|account| account.spent.clone()).unwrap_or_default());
        let last = frame.and_then(|frame| self.seen_by_result(spot, frame));
        let Control::Loop(rounds) = self.control_mut(spot)? else { return Ok(()) };
        rounds.last = last;
        let text = |text: Option<&str>| text.map(str::to_owned);
        let kept = history::Closed {
            lets: closed.lets.clone(),
            rule: text(closed.rule),
            exit: text(closed.exit),
            spent,
        };
        rounds.history.close(kept, closed.changes, &state);
        rounds.state = state;
        if let Some(exit) = closed.exit {
            rounds.status = Some(exit.to_owned());
            self.work.push_back(Work::Advance(spot));
        } else {
            self.begin_round(spot);
        }
        Ok(())
    }

    /// What `result` sees of the steps of a round, if it reads any: it may be asked for before the loop has ended.
    fn seen_by_result(&self, spot: Spot, round: FrameId) -> Option<Scope> {
        let outer = self.frame(spot.0);
        let Action::Loop(looping) = &outer.step(spot.1).action else { return None };
        let result = looping.result.as_ref()?;
        let of_steps = |r: &Ref| matches!(r.path.first(), Some(Key::Key(root)) if root == "steps");
        if result.refs().iter().any(of_steps) { self.scope(round, &looping.sees).ok() } else { None }
    }

    /// What the output of the loop at `spot` is so far, with the status `running`: its `so_far` in the round that is open, or
    /// its result after the last closed round. `None` if there is neither, or it is no open loop.
    pub(in super::super) fn loop_so_far(&self, spot: Spot, within: &Arc<Allowance>) -> Option<Value> {
        let frame = self.frame(spot.0);
        let (Node::Open(control), Action::Loop(looping)) = (&frame.nodes[spot.1], &frame.step(spot.1).action)
        else {
            return None;
        };
        let Control::Loop(rounds) = control.as_ref() else { return None };
        let open = rounds.frame.filter(|_| rounds.status.is_none());
        let partly = open
            .and_then(|frame| self.result_so_far(frame, (looping.so_far.as_ref(), &looping.sees), within));
        match partly {
            Some(partly) => Some(rounds.output(partly)),
            None if rounds.history.len() == 0 => None,
            None => self.output_so_far(spot, (looping, rounds), Some(within)),
        }
    }

    /// What the output of the open loop at `spot` was after its last closed round, with the status `failed`.
    pub(in super::super) fn loop_at_failure(&self, spot: Spot) -> Option<Data> {
        let frame = self.frames.get(&spot.0)?;
        let (Node::Open(control), Action::Loop(looping)) = (&frame.nodes[spot.1], &frame.step(spot.1).action)
        else {
            return None;
        };
        let Control::Loop(rounds) = control.as_ref() else { return None };
        if rounds.history.len() == 0 {
            return None;
        }
        let mut output = self.output_so_far(spot, (looping, rounds), None)?;
        output["status"] = "failed".into();
        Some(Data::from_value(&output))
    }

    /// Makes a recorded change in a state.
    fn change(&self, state: &mut Vec<(String, Data)>, name: &str, change: &Change) -> Result<(), String> {
        let value = match change {
            Change::Set(payload) => self.payload_data(payload)?,
            Change::Append(payload) => {
                let more = super::super::load(payload, self.shelf().as_ref()).map_err(|e| e.to_string())?;
                let more = more.as_array().ok_or("what is added to a list is no list")?;
                let list = state.iter().find(|(known, _)| known == name).map(|(_, value)| value);
                list.ok_or_else(|| format!("there is no list `{name}`"))?.appended(more)
            }
        };
        compute::set(state, name.to_owned(), value);
        Ok(())
    }

    /// What has to be recorded of `new` values, so that `old` ones become them.
    fn changes(&mut self, old: &[(String, Data)], new: Vec<(String, Data)>) -> Changes {
        let mut changes = Changes::new();
        for (name, new) in new {
            let old = old.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            let change = match old.and_then(|old| new.added_to(old)) {
                Some(added) if added.is_empty() => continue,
                Some(added) => Change::Append(self.keep(Value::Array(added), INLINE_ITEM)),
                None if old.is_some_and(|old| new.is_same(old)) => continue,
                None => Change::Set(self.keep(new.to_value(), INLINE_ITEM)),
            };
            changes.insert(name, change);
        }
        changes
    }

    /// The fact that closes the round in `frame`.
    fn closing(&mut self, owner: Spot, frame: FrameId, looping: &Loop) -> Evaluated<Fact> {
        let scope = self.scope(frame, &looping.sees)?;
        let of_plan = self.plan_step(owner);
        let closing = move |scope: &Scope| closing(looping_of(&of_plan)?, scope);
        let Moved { lets, old, state, rule, exit } = self.evaluate("next", &scope, closing)?;
        let lets = self.keep(object(lets), INLINE);
        let changes = self.changes(&old, state);
        Ok(Fact::RoundClosed { lets, changes, state: None, rule, exit })
    }

    /// What `result` of the loop at `spot` sees, once a round is closed.
    fn result_scope(&self, spot: Spot, looping: &Loop, rounds: &Rounds) -> Result<Scope, Failure> {
        // A round that is still open says nothing about the result.
        let closed = rounds.frame.filter(|_| rounds.status.is_some());
        let round = u32::try_from(rounds.history.len()).unwrap_or(u32::MAX);
        let names = self.round_names(spot, round);
        let scope = match (closed, &rounds.last) {
            (Some(frame), _) => self.scope(frame, &looping.sees)?,
            (None, Some(last)) => brief(last.clone()),
            (None, None) => brief(names.clone()),
        };
        let lets = rounds.history.last_lets(&self.shelf()).transpose().map_err(Failure::from)?;
        let scope = ["state", "loop"].iter().fold(scope, |scope, name| match names.get(name) {
            Some(data) => scope.with(name, data.clone()),
            None => scope,
        });
        Ok(match lets {
            Some(lets) => scope.with_let(lets),
            None if scope.get("let").is_none() => scope.with("let", Data::none()),
            None => scope,
        })
    }

    fn rounds(&self, spot: Spot) -> Option<&Rounds> {
        match &self.frame(spot.0).nodes[spot.1] {
            Node::Open(control) => match control.as_ref() {
                Control::Loop(rounds) => Some(rounds),
                _ => None,
            },
            _ => None,
        }
    }

    /// The output of a loop that has its status.
    fn loop_output(&mut self, spot: Spot, looping: &Loop) -> Evaluated<Value> {
        let Some(rounds) = self.rounds(spot) else { return Ok(Value::Null) };
        let Some(result) = looping.result.clone() else {
            return Ok(rounds.output(object(rounds.state.clone())));
        };
        let scope = self.result_scope(spot, looping, rounds)?;
        let result = self.evaluate("result", &scope, move |scope| result_in(&result, scope))?;
        Ok(self.rounds(spot).map(|rounds| rounds.output(result)).unwrap_or_default())
    }

    /// The same of a loop that is open, if it takes no more than `within`.
    fn output_so_far(
        &self,
        spot: Spot,
        (looping, rounds): (&Loop, &Rounds),
        within: Option<&Arc<Allowance>>,
    ) -> Option<Value> {
        let result = match &looping.result {
            None => object(rounds.state.clone()),
            Some(result) => {
                let mut scope = self.result_scope(spot, looping, rounds).ok()?;
                if let Some(within) = within {
                    scope = scope.within(within.clone());
                }
                result_in(result, &scope).ok()?
            }
        };
        Some(rounds.output(result))
    }
}

fn result_in(result: &Expr, scope: &Scope) -> Result<Value, Failure> {
    Ok(result.eval(scope).map_err(|e| eval_failure("result", &e))?.to_value())
}

fn looping_of(step: &Step) -> Result<&Loop, Failure> {
    match &step.action {
        Action::Loop(looping) => Ok(looping),
        _ => Err(super::super::scope::bug("no `loop`")),
    }
}

type Entries = Vec<(String, Data)>;

/// The most rounds of a loop, its items, and its first state.
fn opening(looping: &Loop, scope: &Scope) -> Result<(u32, Option<Data>, Entries), Failure> {
    let mut max = match &looping.max {
        None => u32::MAX,
        Some(max) => {
            let value = max.eval(scope).map_err(|e| eval_failure("max", &e))?;
            whole_number("max", &value, u32::MAX)?
        }
    };
    let over = looping.over.as_ref().map(|over| over.eval(scope)).transpose();
    let over = over.map_err(|e| eval_failure("over", &e))?;
    if let Some(over) = &over {
        let length = over.len_hint().filter(|_| over.is_list());
        let length =
            length.ok_or_else(|| Failure::permanent(format!("`over` is {}, not a list", over.noun())))?;
        max = max.min(u32::try_from(length).unwrap_or(u32::MAX));
    }
    let state = compute::table(&looping.state, scope).map_err(|e| eval_failure("state", &e))?;
    bounded("the state", state.iter().map(|(_, value)| value))?;
    Ok((max, over, state))
}

/// What the end of a round comes to.
#[derive(Clone)]
struct Moved {
    lets: Entries,
    old: Entries,
    state: Entries,
    rule: Option<String>,
    exit: Option<String>,
}

/// `let` → `next` → the first rule → the first exit, in this order and no other.
fn closing(looping: &Loop, scope: &Scope) -> Result<Moved, Failure> {
    let failed = |what: &'static str| move |e: EvalError| eval_failure(what, &e);
    let mut lets = Entries::new();
    for (name, expr) in &looping.lets {
        let value = expr.eval(&scope.with_let(Data::table(lets.clone()))).map_err(failed("let"))?;
        lets.push((name.clone(), value));
    }
    let mut scope = scope.with_let(Data::table(lets.clone()));
    let old = scope.get("state").and_then(Data::entries).unwrap_or_default();
    let mut state = old.clone();
    for (name, value) in compute::table(&looping.next, &scope).map_err(failed("next"))? {
        compute::set(&mut state, name, value);
    }
    scope = scope.with("state", Data::table(state.clone()));
    let mut applied = None;
    for rule in &looping.rules {
        if rule.when.eval_bool(&scope).map_err(failed("rule"))? {
            for (name, value) in compute::table(&rule.set, &scope).map_err(failed("rule"))? {
                compute::set(&mut state, name, value);
            }
            scope = scope.with("state", Data::table(state.clone()));
            applied = Some(rule.name.clone());
            break;
        }
    }
    let mut exit = None;
    for candidate in &looping.exits {
        if candidate.when.eval_bool(&scope).map_err(failed("exit"))? {
            exit = Some(candidate.status.clone());
            break;
        }
    }
    bounded("what a round leaves", lets.iter().chain(&state).map(|(_, value)| value))?;
    Ok(Moved { lets, old, state, rule: applied, exit })
}

impl Rounds {
    /// A result with the status and the number of closed rounds.
    fn output(&self, result: Value) -> Value {
        let mut output = match result {
            Value::Object(table) => table,
            other => serde_json::Map::from_iter([("result".to_owned(), other)]),
        };
        let status = self.status.as_deref().unwrap_or(STATUS_RUNNING);
        output.insert("status".to_owned(), status.into());
        output.insert("rounds".to_owned(), self.history.len().into());
        Value::Object(output)
    }
}

/// Every step of a round has ended.
pub(super) fn close(run: &mut Run, now: Millis, owner: Spot, frame: FrameId) -> Result<(), Mismatch> {
    let plan = run.frame(owner.0).plan.clone();
    let Action::Loop(looping) = &plan.bodies[run.frame(owner.0).body.0].steps[owner.1].action else {
        return Ok(());
    };
    match run.control_mut(owner) {
        Ok(Control::Loop(rounds)) if rounds.status.is_none() && rounds.frame == Some(frame) => {}
        _ => return Ok(()),
    }
    let ours = run.frame(frame).unhandled().find(|(_, failure)| !looping.counts.contains(&failure.class));
    if let Some(failure) = ours.map(|(place, failure)| inner_failure(run, frame, place, failure)) {
        return run.fail(now, owner, failure);
    }
    match run.closing(owner, frame, looping) {
        Ok(fact) => run.emit(now, run.frame(frame).address.clone(), 0, fact),
        Err(unready) => run.unready(now, owner, unready),
    }
}

/// The loop has its status: works out its output.
pub(super) fn advance(run: &mut Run, now: Millis, spot: Spot) -> Result<(), Mismatch> {
    match run.control_mut(spot) {
        Ok(Control::Loop(rounds)) if rounds.status.is_some() => {}
        _ => return Ok(()),
    }
    let plan = run.frame(spot.0).plan.clone();
    let Action::Loop(looping) = &plan.bodies[run.frame(spot.0).body.0].steps[spot.1].action else {
        return Ok(());
    };
    match run.loop_output(spot, looping) {
        Ok(output) => run.succeed(now, spot, output),
        Err(unready) => run.unready(now, spot, unready),
    }
}

fn object(entries: Vec<(String, Data)>) -> Value {
    Value::Object(entries.into_iter().map(|(name, data)| (name, data.to_value())).collect())
}
