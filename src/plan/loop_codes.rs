//! How a run ends by the status of a loop: an exit of a loop may name the exit code.

use super::compile::Wanted;
use super::resolve::Resolver;
use super::scope::{Sight, Site};
use super::types::Exit;
use crate::diag::{Code, Diagnostic};
use crate::model::{self, Name, Pipeline, Raw, Text};

/// A status that a loop of the pipeline's own body may end with.
pub(super) struct LoopStatus {
    step: Name,
    status: Name,
    code: Option<i32>,
    /// Whether an output or an exit of the pipeline reads the status of the loop.
    is_read: bool,
}

/// The statuses that authors give to the loops of the pipeline.
pub(super) fn statuses(pipeline: &Pipeline) -> Vec<LoopStatus> {
    let mut all = Vec::new();
    let outputs = pipeline.outputs.iter().map(|(_, text)| &text.text);
    let texts: Vec<&String> = outputs.chain(pipeline.exits.iter().map(|exit| &exit.when.text)).collect();
    for step in &pipeline.steps {
        let looped = step.uses.iter().find(|used| used.name.text == "loop");
        let exits = looped.and_then(|used| used.with.table()?.get("exits")?.node.table());
        let Some(exits) = exits else { continue };
        let read = format!("steps.{}.output.status", step.id.text);
        let is_read = texts.iter().any(|text| text.contains(&read));
        for (name, entry) in exits {
            let code = entry.node.table().and_then(|exit| match exit.get("code")?.node.value {
                Raw::Int(code) => i32::try_from(code).ok(),
                _ => None,
            });
            let status = Name { text: name.clone(), span: entry.key };
            all.push(LoopStatus { step: step.id.clone(), status, code, is_read });
        }
    }
    all
}

impl Resolver<'_, '_> {
    /// The exits that follow from loops, for a run that no exit of its pipeline decides; a warning for each status that is
    /// read and that no exit names, though exits name others.
    pub(super) fn loop_exits(
        &mut self,
        exits: &[model::Exit],
        statuses: &[LoopStatus],
        sight: &mut Sight,
    ) -> Vec<Exit> {
        let decides = !exits.is_empty() || statuses.iter().any(|status| status.code.is_some());
        let mut made = Vec::new();
        for LoopStatus { step, status, code, is_read } in statuses.iter().filter(|_| decides) {
            if exits.iter().any(|exit| exit.status.text == status.text || says(&exit.when, &status.text)) {
                continue;
            }
            let Some(code) = *code else {
                self.loader.found.extend(is_read.then(|| no_exit(step, status)));
                continue;
            };
            let plain = step.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let read = if plain { format!("steps.{}", step.text) } else { format!("steps['{}']", step.text) };
            let text = format!("{read}.ok and {read}.output.status == '{}'", status.text);
            let text = Text { text, span: status.span, quoted: false };
            let when = self.expr(&text, Wanted::Condition, &Site::default(), sight);
            made.extend(when.map(|when| Exit { status: status.text.clone(), when, code }));
        }
        made
    }
}

/// Whether an expression has the text `word` in it.
fn says(when: &Text, word: &str) -> bool {
    when.text.contains(&format!("'{word}'")) || when.text.contains(&format!("\"{word}\""))
}

fn no_exit(step: &Name, status: &Name) -> Diagnostic {
    let message = format!("a run that `{}` ends as `{}` has exit code 0", step.text, status.text);
    Diagnostic::new(Code::NoExitCode, message).at(status.span, "no exit of the pipeline names it").help(
        format!(
            "give it a code, `{0} = {{ when = \"…\", code = 4 }}`, or add `{0}` to `[exits]`",
            status.text
        ),
    )
}
