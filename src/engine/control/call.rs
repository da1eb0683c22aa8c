use std::sync::Arc;

use indexmap::IndexMap;

use super::super::evaluate::{Evaluated, Unready};
use super::super::frame::{FrameId, Spot};
use super::super::node::{Node, Tries};
use super::super::run::Work;
use super::super::scope::eval_failure;
use super::super::slot::INLINE;
use super::super::{Fact, Mismatch, Opening, Order, Payload, Run, RunStatus};
use super::{Control, compute, inner_failure};
use crate::clock::Millis;
use crate::expr::{Allowance, Data, Expr, Scope, Step as Key};
use crate::id::{Address, Instance, StepId};
use crate::plan::{Action, BodyId, Call, Input, Plan, convert};
use crate::value::Value;
use crate::verb::{Class, Failure};

type Inputs = serde_json::Map<String, Value>;
/// Inputs and the paths that they are read from.
type Paths = Vec<(String, Input, String)>;

impl Run {
    /// The inputs of a called pipeline, each as its declaration says, and the paths of those that have to be read.
    fn call_inputs(&mut self, spot: Spot, call: &Call) -> Evaluated<(Inputs, Paths)> {
        let scope = self.scope_at(spot)?;
        let of_plan = self.plan_step(spot);
        let given = move |scope: &Scope| match &of_plan.action {
            Action::Call(call) => compute::table(&call.with, scope).map_err(|e| eval_failure("with", &e)),
            _ => Err(super::super::scope::bug("no `call`")),
        };
        let given = self.evaluate("with", &scope, given)?;
        Ok(converted(call, &given)?)
    }

    /// The outputs so far of the pipeline that the open `call` at `spot` runs.
    pub(in super::super) fn call_so_far(&self, spot: Spot, within: &Arc<Allowance>) -> Option<Value> {
        match &self.frame(spot.0).nodes[spot.1] {
            Node::Open(control) => match control.as_ref() {
                Control::Call { frame, .. } => Some(self.outputs_in(*frame, within)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn open_call(
        &mut self,
        (spot, tries): (Spot, Tries),
        plan: &Arc<Plan>,
        inputs: &Payload,
        at_start: &IndexMap<String, Value>,
    ) -> Result<(), String> {
        let inputs = self.payload_data(inputs)?;
        let settings = plan.at_start_recorded(at_start, &inputs);
        let names = Scope::new().with("inputs", inputs);
        let place = (Some(spot), Instance::Only, self.address(spot));
        let frame = self.open_frame(plan.clone(), BodyId::ROOT, place, names);
        self.settings_of(frame, Arc::new(settings));
        let tries = Tries { begun: tries.begun + 1, ..tries };
        if let Some(node) = self.node_mut(spot) {
            *node = Node::Open(Box::new(Control::Call { frame, tries }));
        }
        Ok(())
    }
}

/// The inputs of a called pipeline that were `given`, each as its declaration says, and the paths of those that are read.
fn converted(call: &Call, given: &[(String, Data)]) -> Result<(Inputs, Paths), Failure> {
    let (mut inputs, mut paths) = (Inputs::new(), Paths::new());
    for (name, input) in &call.plan.inputs {
        let value = given.iter().find(|(known, _)| known == name).map(|(_, data)| data.to_value());
        let value = value.filter(|value| !value.is_null()).unwrap_or_else(|| input.default.clone());
        if input.required && value.is_null() {
            return Err(Failure::permanent(format!("`{}` needs its input `{name}`", call.plan.name)));
        }
        let value = match (&input.kind, value) {
            (_, Value::Null) => Value::Null,
            (kind, Value::String(path)) if kind.is_read() => {
                paths.push((name.clone(), input.clone(), path));
                Value::Null
            }
            (kind, value) if kind.is_read() && value.is_object() => value,
            (kind, value) if kind.is_read() => {
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

/// The outputs of a pipeline, or the place of the first that cannot be evaluated. `null` for those where `lenient`, because
/// a step failed.
type Outputs = Result<Value, (usize, Failure)>;

fn outputs(plan: &Plan, scope: &Scope, lenient: bool) -> Outputs {
    let mut outputs = serde_json::Map::new();
    for (place, (name, expr)) in plan.outputs.iter().enumerate() {
        let value = match expr.eval(scope) {
            Ok(data) => data.to_value(),
            Err(_) if lenient => Value::Null,
            Err(e) => return Err((place, eval_failure(&format!("output `{name}`"), &e))),
        };
        outputs.insert(name.clone(), value);
    }
    Ok(Value::Object(outputs))
}

impl Run {
    /// The failure of the output at `place`, with its cause.
    fn no_output(&self, frame: FrameId, (place, failure): (usize, Failure)) -> Failure {
        let expr = self.frame(frame).plan.outputs.get(place).map(|(_, expr)| expr);
        match expr.and_then(|expr| self.absence(frame, expr)) {
            Some(cause) => Failure { message: format!("{cause}; so {}", failure.message), ..failure },
            None => failure,
        }
    }

    /// Why a step that `expr` reads has no output: what failed or was skipped first.
    fn absence(&self, frame: FrameId, expr: &Expr) -> Option<String> {
        let body = self.frame(frame).body();
        let mut places = expr.refs().iter().filter_map(|r| match r.path.as_slice() {
            [Key::Key(root), Key::Key(name), ..] if root == "steps" => {
                body.names.get(&StepId::new(name)).copied()
            }
            _ => None,
        });
        places.find_map(|place| {
            let (step, failure) = self.cause_of_absence((frame, place))?;
            Some(match failure {
                Some(failure) => format!("`{}` failed: {}", step.id, failure.message),
                None => format!("`{}` was skipped by its condition", step.id),
            })
        })
    }
}

/// Opens the `call` at `spot`, or has the files read first that its inputs name.
pub(super) fn begin(run: &mut Run, now: Millis, spot: Spot, call: &Call) -> Result<(), Mismatch> {
    if run.reading.contains_key(&spot) {
        return Ok(());
    }
    if let Some(inputs) = run.given.remove(&spot) {
        return opened(run, now, spot, &call.plan, inputs);
    }
    match run.call_inputs(spot, call) {
        Err(unready) => run.unready(now, spot, unready),
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
    if !matches!(frame.nodes[spot.1], Node::Waiting | Node::Resting { .. }) {
        return Ok(());
    }
    if run.status != RunStatus::Going {
        run.work.push_back(Work::Ready(spot));
        return Ok(());
    }
    let plan = call.plan.clone();
    match values {
        Ok(values) => {
            inputs.extend(values);
            let work = Work::Ready(spot);
            run.evaluations.begin(work);
            let opened = opened(run, now, spot, &plan, inputs);
            run.evaluations.end(work);
            opened
        }
        Err(failure) => run.fail(now, spot, failure),
    }
}

fn opened(run: &mut Run, now: Millis, spot: Spot, plan: &Arc<Plan>, inputs: Inputs) -> Result<(), Mismatch> {
    let inputs = Value::Object(inputs);
    match run.refusals(plan, &inputs) {
        Ok(refused) if refused.is_empty() => {}
        Ok(refused) => {
            let failure = Failure::permanent(format!("`{}`: {}", plan.name, refused.join("; ")));
            return run.fail(now, spot, failure);
        }
        Err(unready) => {
            if let (Unready::Later, Value::Object(inputs)) = (&unready, inputs) {
                run.given.insert(spot, inputs);
            }
            return run.unready(now, spot, unready);
        }
    }
    let at_start = match plan.at_start(&inputs) {
        Ok(at_start) => at_start.values,
        Err(unfit) => {
            let failure = Failure::permanent(format!("`{}`: {}", plan.name, unfit.message));
            return run.fail(now, spot, failure);
        }
    };
    let with = Opening::Call { inputs: run.keep(inputs, INLINE), at_start };
    run.emit(now, run.address(spot), 0, Fact::Opened { with })
}

/// The called pipeline's body has ended.
pub(super) fn close(run: &mut Run, now: Millis, owner: Spot, frame: FrameId) -> Result<(), Mismatch> {
    let failed =
        run.frame(frame).unhandled().next().map(|(place, failure)| inner_failure(run, frame, place, failure));
    if let Some(failure) = failed {
        return run.call_failed(now, owner, failure);
    }
    let outputs = run.called_outputs(frame).and_then(|outputs| {
        let again = run.again_until(owner, &outputs)?;
        Ok((outputs, again))
    });
    match outputs {
        Ok((outputs, None)) => run.succeed(now, owner, outputs),
        Ok((_, Some(failure))) => run.call_again(now, owner, failure),
        Err(unready) => run.unready(now, owner, unready),
    }
}

/// The run's own body has ended.
pub(super) fn finish(run: &mut Run, now: Millis, frame: FrameId) -> Result<(), Mismatch> {
    let Ok((status, code, outputs)) = end(run, frame) else { return Ok(()) };
    let outputs = run.keep(outputs, INLINE);
    let always_failed = run.failed_late(frame);
    run.emit(now, Address::root(), 0, Fact::Finished { status, code, outputs, always_failed })
}

/// The status with which a pipeline ends whose body has ended, its exit code and its outputs. Steps that run always change
/// nothing about them: they are not read, do not count as failed, and spend nothing. No value only where it comes later.
pub(in crate::engine) fn end(run: &mut Run, frame: FrameId) -> Evaluated<(String, i32, Value)> {
    let end = match run.end(frame) {
        Err(Unready::Later) => return Err(Unready::Later),
        Err(Unready::Failed(failure)) => Err(failure),
        Ok(end) => Ok(end),
    };
    Ok(run.told_end(frame, end))
}

/// The same where it cannot be waited for.
pub(in crate::engine) fn end_of(run: &Run, frame: FrameId) -> (String, i32, Value) {
    let plan = &run.frame(frame).plan;
    let lenient = run.frame(frame).unhandled().next().is_some();
    run.told_end(frame, run.scope(frame, &plan.sees).map(|scope| end_in(plan, &scope, lenient)))
}

/// What the expressions of a pipeline say about its end.
#[derive(Clone)]
struct End {
    outputs: Outputs,
    exit: Result<Option<(String, i32)>, Failure>,
}

fn end_in(plan: &Plan, scope: &Scope, lenient: bool) -> End {
    let outputs = outputs(plan, scope, lenient);
    let exit = match &outputs {
        Ok(outputs) if !lenient => exit(plan, &scope.with("outputs", Data::from_value(outputs))),
        _ => Ok(None),
    };
    End { outputs, exit }
}

impl Run {
    /// Why `plan` does not begin with `inputs`.
    fn refusals(&mut self, plan: &Arc<Plan>, inputs: &Value) -> Evaluated<Vec<String>> {
        if plan.refusals.is_empty() {
            return Ok(Vec::new());
        }
        let scope = Scope::new().with("inputs", Data::from_value(inputs));
        let plan = plan.clone();
        self.evaluate("refuse", &scope, move |scope| Ok(plan.refused_in(scope)))
    }

    fn called_outputs(&mut self, frame: FrameId) -> Evaluated<Value> {
        let plan = self.frame(frame).plan.clone();
        let scope = self.scope(frame, &plan.sees)?;
        let made = self.evaluate("outputs", &scope, move |scope| Ok(outputs(&plan, scope, false)))?;
        Ok(made.map_err(|missing| self.no_output(frame, missing))?)
    }

    fn end(&mut self, frame: FrameId) -> Evaluated<End> {
        let plan = self.frame(frame).plan.clone();
        let lenient = self.frame(frame).unhandled().next().is_some();
        let scope = self.scope(frame, &plan.sees)?;
        self.evaluate("outputs", &scope, move |scope| Ok(end_in(&plan, scope, lenient)))
    }

    fn told_end(&self, frame: FrameId, end: Result<End, Failure>) -> (String, i32, Value) {
        let failed = self.frame(frame).unhandled().next().map(|(_, failure)| failure.class);
        let error =
            |failure: Failure| ("failed".to_owned(), 1, serde_json::json!({"error": failure.message}));
        let outputs = end.and_then(|End { outputs, exit }| {
            Ok((outputs.map_err(|missing| self.no_output(frame, missing))?, exit))
        });
        match (failed, outputs) {
            (Some(class), outputs) => {
                let outputs = outputs.map(|(outputs, _)| outputs).unwrap_or_default();
                ("failed".to_owned(), code_of(class), outputs)
            }
            (None, Err(failure) | Ok((_, Err(failure)))) => error(failure),
            (None, Ok((outputs, Ok(Some((status, code)))))) => (status, code, outputs),
            (None, Ok((outputs, Ok(None)))) if self.frame(frame).kept > 0 => {
                ("incomplete".to_owned(), 4, outputs)
            }
            (None, Ok((outputs, Ok(None)))) => ("succeeded".to_owned(), 0, outputs),
        }
    }
}

/// The first exit of the pipeline that applies.
fn exit(plan: &Plan, scope: &Scope) -> Result<Option<(String, i32)>, Failure> {
    for exit in &plan.exits {
        if exit.when.eval_bool(scope).map_err(|e| eval_failure("exits", &e))? {
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
