//! The inside of control steps: how they open, what their facts change, how they go on and end.
//! They must never know what the leaf steps in them do.
//! Start with [`Control`]; one file per control verb.

mod call;
mod compute;
mod each;
mod hold;
mod rounds;

pub(super) use call::{end, end_of};
pub use compute::Computation;

use std::sync::Arc;

use super::evaluate::Evaluated;
use super::frame::{FrameId, Spot};
use super::node::{Node, Tries};
use super::results::Results;
use super::scope::eval_failure;
use super::{Fact, Mismatch, Opening, Question, Record, Run};
use crate::clock::{Millis, millis};
use crate::expr::{Data, Expr, Scope, Tree};
use crate::id::{Address, Instance};
use crate::plan::{Action, Sees, Step};
use crate::value::Value;
use crate::verb::Failure;

/// The most bytes that a person is shown with a question.
const MOST_SHOWN: usize = 256 * 1024;

/// A control step that has opened.
#[derive(Debug)]
pub(super) enum Control {
    Loop(rounds::Rounds),
    Each(each::Items),
    Hold(hold::Holding),
    Call { frame: FrameId, tries: Tries },
}

impl Control {
    /// The frames of its inside that are in memory.
    pub(super) fn frames(&self) -> Vec<FrameId> {
        match self {
            Self::Loop(rounds) => rounds.frame.into_iter().collect(),
            Self::Each(items) => items.open.values().copied().collect(),
            Self::Hold(holding) => vec![holding.body],
            Self::Call { frame, .. } => vec![*frame],
        }
    }

    /// How often a `call` was made, if it is one.
    pub(super) fn tries(&self) -> Option<&Tries> {
        match self {
            Self::Call { tries, .. } => Some(tries),
            _ => None,
        }
    }

    /// The body of a `hold` that has not let go.
    pub(super) fn held_body(&self) -> Option<FrameId> {
        match self {
            Self::Hold(holding) if !holding.released => Some(holding.body),
            _ => None,
        }
    }

    /// Whether a resource is being released.
    pub(super) fn is_releasing(&self) -> bool {
        matches!(self, Self::Hold(holding) if holding.ordered && !holding.released)
    }

    /// The results of an `each`.
    pub(super) fn into_results(self) -> Option<Arc<Results>> {
        match self {
            Self::Each(items) => Some(Arc::new(items.results)),
            _ => None,
        }
    }
}

/// Whether a fact is about the inside of a control step.
pub(super) fn owns(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Opened { .. }
            | Fact::RoundClosed { .. }
            | Fact::ItemClosed { .. }
            | Fact::Acquired { .. }
            | Fact::Released { .. }
            | Fact::Lost
    )
}

impl Run {
    /// Applies a fact about the inside of a control step.
    pub(super) fn apply_to_control(
        &mut self,
        spot: Spot,
        instance: Instance,
        record: &Record,
    ) -> Result<(), String> {
        match (&record.fact, instance) {
            (Fact::Opened { with }, Instance::Only) => self.apply_opened(spot, with),
            (Fact::RoundClosed { lets, changes, rule, exit, .. }, Instance::Round(round)) => {
                let closed =
                    rounds::Closed { round, lets, changes, rule: rule.as_deref(), exit: exit.as_deref() };
                self.apply_round_closed(spot, &closed)
            }
            (Fact::ItemClosed { result, failed, .. }, Instance::Item(index)) => {
                self.apply_item_closed(spot, index, result, *failed)
            }
            (Fact::Acquired { held }, Instance::Only) => self.apply_acquired(spot, held),
            (Fact::Released { held }, Instance::Only) => self.apply_released(spot, held),
            (Fact::Lost, Instance::Only) => self.apply_lost(spot, record.at),
            (other, _) => Err(format!("{} cannot stand at this address", other.word())),
        }
    }

    fn apply_opened(&mut self, spot: Spot, with: &Opening) -> Result<(), String> {
        let plan = self.frame(spot.0).plan.clone();
        let step = &plan.bodies[self.frame(spot.0).body.0].steps[spot.1];
        let tries = match &self.frame(spot.0).nodes[spot.1] {
            Node::Waiting => Tries::default(),
            Node::Resting { tries, .. } if matches!(step.action, Action::Call(_)) => tries.clone(),
            _ => return Err("a step that has begun cannot open".to_owned()),
        };
        match (with, &step.action) {
            (Opening::Loop { max, over, state }, Action::Loop(_)) => {
                self.open_loop(spot, *max, over.as_ref(), state)
            }
            (Opening::Each { over, parallel, max_failures, keys }, Action::Each(_)) => {
                self.open_each(spot, (over, keys.as_ref()), *parallel, *max_failures)
            }
            (Opening::Call { inputs, at_start }, Action::Call(call)) => {
                self.open_call((spot, tries), &call.plan, inputs, at_start)
            }
            _ => Err("the step is another control verb now".to_owned()),
        }
    }

    /// The control state at `spot`.
    pub(super) fn control_mut(&mut self, spot: Spot) -> Result<&mut Control, String> {
        match self.node_mut(spot) {
            Some(Node::Open(control)) => Ok(control),
            _ => Err("the step is not open".to_owned()),
        }
    }

    /// Reads a payload for expressions.
    pub(super) fn payload_data(&self, payload: &super::Payload) -> Result<Data, String> {
        super::slot::load(payload, self.shelf().as_ref()).map(Data::from_arc).map_err(|e| e.to_string())
    }

    /// What the body in `frame` leaves behind: `result`, or the output of its only sink, or an object of sinks.
    pub(super) fn result_of(
        &mut self,
        frame: FrameId,
        result: Option<&Expr>,
        sees: &Sees,
    ) -> Evaluated<Value> {
        if let Some(result) = result.cloned() {
            let scope = self.scope(frame, sees)?;
            return self.evaluate("result", &scope, move |scope| {
                Ok(result.eval(scope).map_err(|e| eval_failure("result", &e))?.to_value())
            });
        }
        let frame = self.frame(frame);
        let output = |place: &usize| match &frame.nodes[*place] {
            Node::Done(slot) => slot.data(&self.shelf()).map(|data| data.to_value()).map_err(Failure::from),
            _ => Ok(Value::Null),
        };
        match frame.body().sinks.as_slice() {
            [only] => Ok(output(only)?),
            sinks => {
                let mut table = serde_json::Map::new();
                for place in sinks {
                    table.insert(frame.step(*place).id.to_string(), output(place)?);
                }
                Ok(Value::Object(table))
            }
        }
    }
}

/// Opens the control step at `spot`, all of whose conditions hold.
pub(super) fn open(run: &mut Run, now: Millis, spot: Spot, step: &Step) -> Result<(), Mismatch> {
    let opening = match &step.action {
        Action::Loop(_) => run.loop_opening(spot),
        Action::Each(each) => run.each_opening(spot, each),
        Action::Call(call) => return call::begin(run, now, spot, call),
        Action::Compute(_) => return run.compute(now, spot),
        Action::Ask(_) => {
            return match run.question(now, spot) {
                Ok(question) => run.ask(now, spot, question),
                Err(unready) => run.unready(now, spot, unready),
            };
        }
        Action::Verb { .. } | Action::Hold(_) => {
            run.queue(spot);
            return Ok(());
        }
    };
    match opening {
        Ok(with) => run.emit(now, run.address(spot), 0, Fact::Opened { with }),
        Err(unready) => run.unready(now, spot, unready),
    }
}

impl Run {
    fn question(&mut self, now: Millis, spot: Spot) -> Evaluated<Question> {
        let scope = self.scope_at(spot)?;
        let (step, address) = (self.plan_step(spot), self.address(spot));
        let rendered = move |scope: &Scope| Ok(rendered_question(now, &step, scope)?.sealed(&address));
        self.evaluate("ask", &scope, rendered)
    }
}

/// The question of an `ask`, not yet bound to a place.
fn rendered_question(now: Millis, step: &Step, scope: &Scope) -> Result<Question, Failure> {
    let Action::Ask(ask) = &step.action else { return Err(super::scope::bug("not a question")) };
    let failed = |e: crate::expr::EvalError| eval_failure("ask", &e);
    let choices = match &ask.choices {
        Some(choices) => match choices.render(scope).map_err(failed)? {
            Value::Array(choices) => choices,
            other => vec![other],
        },
        None => Vec::new(),
    };
    let value =
        |tree: &Option<Tree>| tree.as_ref().map(|tree| tree.render(scope)).transpose().map_err(failed);
    let show = value(&ask.show)?;
    if show.as_ref().is_some_and(|show| super::slot::weight(show, MOST_SHOWN) > MOST_SHOWN) {
        return Err(Failure::permanent(format!("`show` is larger than {} KiB", MOST_SHOWN / 1024))
            .hint("show a part of it, or a summary"));
    }
    let question = Question {
        text: ask.question.render_text(scope).map_err(failed)?,
        choices,
        answer: ask.answer,
        show,
        binds: value(&ask.binds)?,
        default: value(&ask.default)?,
        until: ask.deadline.map(|span| now + millis(span)),
        at_deadline: value(&ask.at_deadline)?,
        ..Question::default()
    };
    if ask.choices.is_some() && question.choices.is_empty() {
        return Err(Failure::permanent("`choices` is empty, so no answer would fit"));
    }
    if !question.choices.is_empty() {
        for (name, answer) in [("default", &question.default), ("at_deadline", &question.at_deadline)] {
            if let Some(why) = answer.as_ref().and_then(|answer| question.refuses(answer)) {
                return Err(Failure::permanent(format!("`{name}`: {why}")));
            }
        }
    }
    Ok(question)
}

/// A whole number from 0 to `most`.
fn whole_number(what: &str, value: &Data, most: u32) -> Result<u32, Failure> {
    let number = value.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= most);
    number.ok_or_else(|| {
        let shown =
            if value.as_f64().is_some() { value.to_value().to_string() } else { value.noun().to_owned() };
        Failure::permanent(format!("`{what}` is {shown}, not a whole number from 0 to {most}"))
    })
}

/// Every step of `frame` has ended.
pub(super) fn close(run: &mut Run, now: Millis, frame: FrameId) -> Result<(), Mismatch> {
    let Some(open) = run.frames.get(&frame) else { return Ok(()) };
    let Some(owner) = open.owner else { return call::finish(run, now, frame) };
    match open.instance {
        Instance::Round(_) => rounds::close(run, now, owner, frame),
        Instance::Item(index) => each::close(run, now, owner, (frame, index)),
        Instance::Only => match run.control_mut(owner) {
            Ok(Control::Hold(_)) => hold::let_go(run, owner),
            Ok(Control::Call { .. }) => call::close(run, now, owner, frame),
            _ => Ok(()),
        },
    }
}

/// The inside of the control step at `spot` has moved on.
pub(super) fn advance(run: &mut Run, now: Millis, spot: Spot) -> Result<(), Mismatch> {
    match run.control_mut(spot) {
        Ok(Control::Loop(_)) => rounds::advance(run, now, spot),
        Ok(Control::Each(_)) => each::advance(run, now, spot),
        Ok(Control::Hold(_)) => hold::advance(run, now, spot),
        Ok(Control::Call { .. }) | Err(_) => Ok(()),
    }
}

/// The driver read what the inputs of the `call` at `address` name.
pub(super) fn read(
    run: &mut Run,
    now: Millis,
    address: &Address,
    values: Result<Vec<(String, Value)>, Failure>,
) -> Result<(), Mismatch> {
    call::read(run, now, address, values)
}

/// The driver let go of the resource of the `hold` at `address`.
pub(super) fn released(
    run: &mut Run,
    now: Millis,
    address: &Address,
    held: Option<Value>,
) -> Result<(), Mismatch> {
    hold::released(run, now, address, held)
}

/// The failure of a control step, for one inside it.
pub(super) fn inner_failure(run: &Run, frame: FrameId, place: usize, failure: &Failure) -> Failure {
    let address = run.address((frame, place));
    let mut outer = Failure::new(failure.class, format!("`{address}` failed: {}", failure.message));
    outer.hint.clone_from(&failure.hint);
    outer
}
