//! Which steps may run because the run pauses.

use super::resolve::Resolver;
use super::steps::CONTROL;
use crate::diag::{Code, Diagnostic};
use crate::model::{self, Use};

impl Resolver<'_, '_> {
    /// Whether the step also runs when the run pauses. It then runs more than once, and while nothing may be paid.
    pub(super) fn on_pause(&mut self, step: &model::Step, used: Option<&Use>) -> bool {
        let Some(at) = step.on_pause else { return false };
        let Some(used) = used else { return true };
        let name = used.name.text.as_str();
        let verb = self.loader.catalog.find_verb(name).map(|verb| verb.traits());
        let refusal = match verb {
            _ if self.levels.len() > 1 => Some((
                format!("`{}` is inside a body, and only steps of the pipeline itself run at a pause", step.id.text),
                "put `on_pause` on a step outside, which reads what the body leaves: `steps.NAME.output`".to_owned(),
            )),
            None if name == "ask" => Some((
                "a question is not put because the run pauses".to_owned(),
                "remove `on_pause`: a run that waits for an answer pauses by itself".to_owned(),
            )),
            None if CONTROL.contains(&name) => Some((
                format!("a step with `{name}` cannot run at a pause"),
                "use a step with one verb that may be repeated and costs nothing, e.g. `deliver`, `write` or `set`"
                    .to_owned(),
            )),
            Some(traits) if traits.paid => Some((
                format!("a step with `{name}` may cost money, and a paused run spends nothing"),
                "use a verb that costs nothing, e.g. `deliver`, `write` or `set`".to_owned(),
            )),
            Some(traits) if !traits.idempotent && !step.idempotent => Some((
                format!("a step with `{name}` is not repeated without asking, but this one would run at every pause and at the end"),
                "if repeating it does no harm, add `idempotent = true`".to_owned(),
            )),
            _ => None,
        };
        if let Some((message, help)) = refusal {
            self.loader.found.push(Diagnostic::new(Code::OnPause, message).at(at, "").help(help));
        }
        true
    }
}
