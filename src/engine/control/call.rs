use std::sync::Arc;

use super::super::frame::{FrameId, Spot};
use super::super::node::Node;
use super::super::run::Work;
use super::super::scope::eval_failure;
use super::super::slot::INLINE;
use super::super::{Fact, Mismatch, Opening, Order, Payload, Run, SkipReason, Standing};
use super::{Control, compute, inner_failure};
use crate::clock::Millis;
use crate::expr::{Data, Expr, Scope, Step as Key};
use crate::id::{Address, Instance, StepId};
use crate::plan::{Action, BodyId, Call, Input, InputKind, Plan, Step, convert};
use crate::value::Value;
use crate::verb::{Class, Failure};

type Inputs = serde_json::Map<String, Value>;
/// Inputs and the paths that they are read from.
type Paths = Vec<(String, Input, String)>;

impl Run {
    /// The inputs of a called pipeline, each as its declaration says, and the paths of those that have to be read.
    fn call_inputs(&self, spot: Spot, step: &Step, call: &Call) -> Result<(Inputs, Paths), Failure> {
        let scope = self.scope(spot.0, &step.sees)?;
        let given = compute::table(&call.with, &scope).map_err(|e| eval_failure("with", &e))?;
        let (mut inputs, mut paths) = (Inputs::new(), Paths::new());
        for (name, input) in &call.plan.inputs {
            let value = given.iter().find(|(known, _)| known == name).map(|(_, data)| data.to_value());
            let value = value.filter(|value| !value.is_null()).unwrap_or_else(|| input.default.clone());
            if input.required && value.is_null() {
                return Err(Failure::permanent(format!("`{}` needs its input `{name}`", call.plan.name)));
            }
            let value = match (&input.kind, value) {
                (_, Value::Null) => Value::Null,
                (InputKind::File | InputKind::Dir | InputKind::Path, Value::String(path)) => {
                    paths.push((name.clone(), input.clone(), path));
                    Value::Null
                }
                (InputKind::File | InputKind::Dir | InputKind::Path, value) if value.is_object() => value,
                (InputKind::File | InputKind::Dir | InputKind::Path, value) => {
                    let message = format!("`{name}` of `{}` must be a path, this is {value}", call.plan.name);
                    return Err(Failure::permanent(message));
                }
                (_, value) => convert(name, input, &value, false).map_err(|(_, message)| {
                    Failure::permanent(format!("an input of `{}`: {message}", call.plan.name))
                })?,
            };
            inputs.insert(name.clone(), value);
        }
        Ok((inputs, paths))
    }

    pub(super) fn open_call(&mut self, spot: Spot, plan: &Arc<Plan>, inputs: &Payload) -> Result<(), String> {
        let names = Scope::new().with("inputs", self.payload_data(inputs)?);
        let place = (Some(spot), Instance::Only, self.address(spot));
        let frame = self.open_frame(plan.clone(), BodyId::ROOT, place, names);
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Open(Box::new(Control::Call(frame)));
        }
        Ok(())
    }

    /// The outputs of the pipeline whose body is `frame`; `null` for those that cannot be evaluated because a
    /// step failed.
    fn outputs(&self, frame: FrameId, lenient: bool) -> Result<Value, Failure> {
        let plan = &self.frame(frame).plan;
        let scope = self.scope(frame, &plan.sees)?;
        let mut outputs = serde_json::Map::new();
        for (name, expr) in &plan.outputs {
            let value = match expr.eval(&scope) {
                Ok(data) => data.to_value(),
                Err(_) if lenient => Value::Null,
                Err(e) => {
                    let failure = eval_failure(&format!("output `{name}`"), &e);
                    return Err(match self.absence(frame, expr) {
                        Some(cause) => {
                            Failure { message: format!("{cause}; so {}", failure.message), ..failure }
                        }
                        None => failure,
                    });
                }
            };
            outputs.insert(name.clone(), value);
        }
        Ok(Value::Object(outputs))
    }
}

impl Run {
    /// Why a step that `expr` reads has no output: what failed first.
    fn absence(&self, frame: FrameId, expr: &Expr) -> Option<String> {
        let frame_of = self.frame(frame);
        let places = expr.refs().iter().filter_map(|r| match r.path.as_slice() {
            [Key::Key(root), Key::Key(name), ..] if root == "steps" => {
                frame_of.body().names.get(&StepId::new(name)).copied()
            }
            _ => None,
        });
        for mut place in places {
            let mut skipped = Vec::new();
            loop {
                let step = frame_of.step(place);
                match &frame_of.nodes[place] {
                    Node::Failed(failure, _) => {
                        return Some(format!("`{}` failed: {}", step.id, failure.message));
                    }
                    Node::Skipped if skipped.len() <= frame_of.nodes.len() => {
                        skipped.push(step.id.to_string());
                        let Some(
                            SkipReason::AfterFailure { step: culprit }
                            | SkipReason::AfterSkip { step: culprit },
                        ) = self.culprit((frame, place), step)
                        else {
                            return Some(format!("`{}` was skipped by its condition", step.id));
                        };
                        match frame_of.body().names.get(&StepId::new(&culprit)) {
                            Some(next) => place = *next,
                            None => break,
                        }
                    }
                    _ => break,
                }
            }
        }
        None
    }
}

/// Opens the `call` at `spot`, or has the files read first that its inputs name.
pub(super) fn begin(
    run: &mut Run,
    now: Millis,
    spot: Spot,
    (step, call): (&Step, &Call),
) -> Result<(), Mismatch> {
    if run.reading.contains_key(&spot) {
        return Ok(());
    }
    match run.call_inputs(spot, step, call) {
        Err(failure) => run.fail(now, spot, failure),
        Ok((inputs, paths)) if paths.is_empty() => opened(run, now, spot, &call.plan, inputs),
        Ok((inputs, paths)) => {
            run.reading.insert(spot, inputs);
            let (address, pipeline) = (run.address(spot), call.plan.name.clone());
            run.turn.orders.push(Order::Read { address, pipeline, paths });
            Ok(())
        }
    }
}

/// What its inputs name was read. That is on no record before the call is opened: after a stop or a crash it is
/// read again.
pub(super) fn read(
    run: &mut Run,
    now: Millis,
    address: &Address,
    values: Result<Vec<(String, Value)>, Failure>,
) -> Result<(), Mismatch> {
    let Some(spot) = run.locate(address) else { return Ok(()) };
    let Some(mut inputs) = run.reading.remove(&spot) else { return Ok(()) };
    let frame = run.frame(spot.0);
    let Action::Call(call) = &frame.step(spot.1).action else { return Ok(()) };
    if !frame.nodes[spot.1].is_waiting() {
        return Ok(());
    }
    if run.standing != Standing::Going {
        run.work.push_back(Work::Ready(spot));
        return Ok(());
    }
    let plan = call.plan.clone();
    match values {
        Ok(values) => {
            inputs.extend(values);
            opened(run, now, spot, &plan, inputs)
        }
        Err(failure) => run.fail(now, spot, failure),
    }
}

fn opened(run: &mut Run, now: Millis, spot: Spot, plan: &Plan, inputs: Inputs) -> Result<(), Mismatch> {
    let inputs = Value::Object(inputs);
    let refused = plan.refused(&inputs);
    if !refused.is_empty() {
        let failure = Failure::permanent(format!("`{}`: {}", plan.name, refused.join("; ")));
        return run.fail(now, spot, failure);
    }
    let with = Opening::Call { inputs: run.keep(inputs, INLINE) };
    run.emit(now, run.address(spot), 0, Fact::Opened { with })
}

/// The called pipeline's body has ended.
pub(super) fn close(run: &mut Run, now: Millis, owner: Spot, frame: FrameId) -> Result<(), Mismatch> {
    let failed =
        run.frame(frame).unhandled().next().map(|(place, failure)| inner_failure(run, frame, place, failure));
    match failed.map_or_else(|| run.outputs(frame, false), Err) {
        Ok(outputs) => run.succeed(now, owner, outputs),
        Err(failure) => run.fail(now, owner, failure),
    }
}

/// The run's own body has ended.
pub(super) fn finish(run: &mut Run, now: Millis, frame: FrameId) -> Result<(), Mismatch> {
    let (status, code, outputs) = end_of(run, frame);
    let outputs = run.keep(outputs, INLINE);
    let always_failed = run.failed_late(frame);
    run.emit(now, Address::root(), 0, Fact::Finished { status, code, outputs, always_failed })
}

/// The status with which a pipeline ends whose body has ended, its exit code and its outputs. Steps that run always change
/// nothing about them: they are not read, do not count as failed, and spend nothing.
pub(in crate::engine) fn end_of(run: &Run, frame: FrameId) -> (String, i32, Value) {
    let failed = run.frame(frame).unhandled().next().map(|(_, failure)| failure.class);
    match (failed, run.outputs(frame, failed.is_some())) {
        (Some(class), outputs) => ("failed".to_owned(), code_of(class), outputs.unwrap_or_default()),
        (None, Err(failure)) => ("failed".to_owned(), 1, serde_json::json!({"error": failure.message})),
        (None, Ok(outputs)) => match exit(run, frame, &outputs) {
            Ok(Some((status, code))) => (status, code, outputs),
            Ok(None) if run.frame(frame).kept > 0 => ("incomplete".to_owned(), 4, outputs),
            Ok(None) => ("succeeded".to_owned(), 0, outputs),
            Err(failure) => ("failed".to_owned(), 1, serde_json::json!({"error": failure.message})),
        },
    }
}

/// The first exit of the pipeline that applies.
fn exit(run: &Run, frame: FrameId, outputs: &Value) -> Result<Option<(String, i32)>, Failure> {
    let plan = run.frame(frame).plan.clone();
    let scope = run.scope(frame, &plan.sees)?.with("outputs", Data::from_value(outputs));
    for exit in &plan.exits {
        if exit.when.eval_bool(&scope).map_err(|e| eval_failure("exits", &e))? {
            return Ok(Some((exit.status.clone(), exit.code)));
        }
    }
    Ok(None)
}

fn code_of(class: Class) -> i32 {
    match class {
        Class::Budget => 5,
        Class::Barrier => 6,
        Class::Cancelled => 8,
        Class::Bug => 70,
        _ => 1,
    }
}
