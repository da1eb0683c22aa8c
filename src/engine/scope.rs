//! What expressions see: the names of their frame and the steps they were found to read, nothing else.

use super::Run;
use super::budget::spent_by_step;
use super::evaluate::brief;
use super::frame::{FrameId, Spot};
use super::node::Node;
use crate::expr::{Data, EvalError, Scope, Step as Key};
use crate::plan::{Action, Seen, Sees};
use crate::value::Value;
use crate::verb::{BlobError, Cause, Failure};

impl Run {
    /// The names of frame `id`, with `run` and the steps in `sees`.
    pub(super) fn scope(&self, id: FrameId, sees: &Sees) -> Result<Scope, Failure> {
        let frame = self.frame(id);
        let scope = brief(frame.names.with("run", self.run_names(id, None)));
        if sees.is_empty() {
            return Ok(scope);
        }
        let mut steps = Vec::with_capacity(sees.len());
        for seen in sees.iter() {
            steps.push(self.seen(id, *seen)?);
        }
        Ok(scope.with("steps", Data::table(steps)))
    }

    /// The frame that is so many bodies further out.
    pub(super) fn outward(&self, mut id: FrameId, up: usize) -> Result<FrameId, Failure> {
        for _ in 0..up {
            let owner =
                self.frame(id).owner.ok_or_else(|| bug("an expression sees further out than there is"))?;
            id = owner.0;
        }
        Ok(id)
    }

    fn seen(&self, id: FrameId, seen: Seen) -> Result<(String, Data), Failure> {
        let id = self.outward(id, seen.up)?;
        let data = self.entry((id, seen.step)).map_err(Failure::from)?;
        Ok((self.frame(id).step(seen.step).id.to_string(), Data::table(data)))
    }

    /// `steps.ID`: `{ok, skipped, failed, output?, error?, spent?}`; a loop that failed after a closed round has both. Of an
    /// `each` `failed` is the list of failed items, and there is `items` as well.
    pub(super) fn entry(&self, (id, place): Spot) -> Result<Vec<(&'static str, Data)>, BlobError> {
        let frame = self.frame(id);
        let (node, step) = (&frame.nodes[place], frame.step(place));
        let each = matches!(step.action, Action::Each(_));
        let flag = |on: bool| Data::from_value(&Value::Bool(on));
        let mut entry = vec![
            ("ok", flag(matches!(node, Node::Done(_)))),
            ("skipped", flag(matches!(node, Node::Skipped(_)))),
        ];
        if each {
            let (failed, items) = self.items(node);
            entry.extend([("failed", failed), ("items", items)]);
        } else {
            entry.push(("failed", flag(matches!(node, Node::Failed(..)))));
        }
        if step.tells_spent {
            let account = frame.accounts.get(&place).cloned().unwrap_or_default();
            entry.push(("spent", spent_by_step(&account)));
        }
        match node {
            Node::Done(slot) => entry.push(("output", slot.data(&self.shelf())?)),
            Node::Failed(failure, kept) => {
                entry.push(("error", failure_data(failure)));
                entry.extend(kept.output.iter().map(|output| ("output", output.clone())));
            }
            _ => {}
        }
        Ok(entry)
    }

    /// `failed` and `items` of an `each`. Where it failed before it had items, or for another reason than theirs, that is
    /// the only entry of `failed`.
    fn items(&self, node: &Node) -> (Data, Data) {
        let blobs = self.shelf();
        let (failed, items) = match node.results() {
            Some(results) => (results.failed(&blobs), results.all(&blobs)),
            None => (Data::list(Vec::new()), Data::list(Vec::new())),
        };
        match node {
            Node::Failed(failure, _) if failed.len_hint() == Some(0) => {
                let own = Data::table([
                    ("index", Data::none()),
                    ("key", Data::none()),
                    ("error", failure_data(failure)),
                ]);
                (Data::list(vec![own]), items)
            }
            _ => (failed, items),
        }
    }
}

/// A failure as expressions see it: `{class, message, hint, detail}`.
pub(super) fn failure_data(failure: &Failure) -> Data {
    Data::from_value(&serde_json::json!({
        "class": failure.class.word(),
        "message": failure.message,
        "hint": failure.hint,
        "detail": failure.detail,
    }))
}

/// The failure of a step one of whose expressions cannot be evaluated.
pub(super) fn eval_failure(what: &str, error: &EvalError) -> Failure {
    let mut failure = Failure::permanent(format!("{what} `{}`: {}", error.text, error.message));
    if let Some(step) = no_output(error) {
        failure = failure.cause(Cause::NoOutput).detail(serde_json::json!({ "step": step }));
    }
    match &error.hint {
        Some(hint) => failure.hint(hint.clone()),
        None => failure,
    }
}

/// The step whose output is missing, if that is why an expression cannot be evaluated.
fn no_output(error: &EvalError) -> Option<&str> {
    match error.missing.as_deref()? {
        [Key::Key(root), Key::Key(step), Key::Key(field)] if root == "steps" && field == "output" => {
            Some(step)
        }
        _ => None,
    }
}

pub(super) fn bug(message: impl Into<String>) -> Failure {
    Failure::new(crate::verb::Class::Bug, message)
}
