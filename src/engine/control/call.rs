use std::sync::Arc;

use super::super::frame::{FrameId, Spot};
use super::super::node::Node;
use super::super::scope::eval_failure;
use super::super::slot::INLINE;
use super::super::{Fact, Mismatch, Opening, Payload, Run};
use super::{Control, compute, inner_failure};
use crate::clock::Millis;
use crate::expr::{Data, Scope};
use crate::id::{Address, Instance};
use crate::plan::{BodyId, Call, Plan, Step};
use crate::value::Value;
use crate::verb::{Class, Failure};

impl Run {
    pub(super) fn call_opening(&mut self, spot: Spot, step: &Step, call: &Call) -> Result<Opening, Failure> {
        let scope = self.scope(spot.0, &step.sees)?;
        let given = compute::table(&call.with, &scope).map_err(|e| eval_failure("with", &e))?;
        let mut inputs = serde_json::Map::new();
        for (name, input) in &call.plan.inputs {
            let value = given.iter().find(|(known, _)| known == name).map(|(_, data)| data.to_value());
            let value = value.filter(|value| !value.is_null()).unwrap_or_else(|| input.default.clone());
            if input.required && value.is_null() {
                return Err(Failure::permanent(format!("`{}` needs its input `{name}`", call.plan.name)));
            }
            inputs.insert(name.clone(), value);
        }
        let inputs = Value::Object(inputs);
        let refused = call.plan.refused(&inputs);
        if !refused.is_empty() {
            return Err(Failure::permanent(format!("`{}`: {}", call.plan.name, refused.join("; "))));
        }
        Ok(Opening::Call { inputs: self.keep(inputs, INLINE) })
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
                Err(e) => return Err(eval_failure(&format!("output `{name}`"), &e)),
            };
            outputs.insert(name.clone(), value);
        }
        Ok(Value::Object(outputs))
    }
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

/// The run's own body has ended: works out its outputs, status and exit code.
pub(super) fn finish(run: &mut Run, now: Millis, frame: FrameId) -> Result<(), Mismatch> {
    let failed = run.frame(frame).unhandled().next().map(|(_, failure)| failure.class);
    let (status, code, outputs) = match (failed, run.outputs(frame, failed.is_some())) {
        (Some(class), outputs) => ("failed".to_owned(), code_of(class), outputs.unwrap_or_default()),
        (None, Err(failure)) => ("failed".to_owned(), 1, serde_json::json!({"error": failure.message})),
        (None, Ok(outputs)) => match exit(run, frame, &outputs) {
            Ok(Some((status, code))) => (status, code, outputs),
            Ok(None) if run.frame(frame).kept > 0 => ("incomplete".to_owned(), 4, outputs),
            Ok(None) => ("succeeded".to_owned(), 0, outputs),
            Err(failure) => ("failed".to_owned(), 1, serde_json::json!({"error": failure.message})),
        },
    };
    let outputs = run.keep(outputs, INLINE);
    run.emit(now, Address::root(), 0, Fact::Finished { status, code, outputs })
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
