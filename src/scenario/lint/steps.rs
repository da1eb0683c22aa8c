use super::captures;
use crate::diag::Code;
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps;

/// The lists of steps and every step in them.
pub fn check(linter: &mut Linter<'_>, root: &YamlNode) {
    match root.get("steps") {
        None => _ = linter.say(Code::LintStepsMissing, root, "`steps` is missing"),
        Some(YamlNode { kind: NodeKind::List(items), .. }) if !items.is_empty() => {}
        Some(steps) => _ = linter.say(Code::LintSteps, steps, "`steps` is a list with at least one entry"),
    }
    for list in ["setup", "steps", "teardown"] {
        match root.get(list) {
            Some(YamlNode { kind: NodeKind::List(items), .. }) => {
                items.iter().for_each(|item| step(linter, item, list == "steps"));
            }
            Some(node) if list != "steps" && !node.is_null() => {
                linter.say(
                    Code::LintSetup,
                    node,
                    format!("`{list}` is a list of steps, not {}", node.type_name()),
                );
            }
            _ => {}
        }
    }
}

fn step(linter: &mut Linter<'_>, node: &YamlNode, judged: bool) {
    if !matches!(node.kind, NodeKind::Table(_)) {
        linter.say(Code::LintStep, node, format!("a step is a mapping, not {}", node.type_name()));
        return;
    }
    let found: Vec<_> = steps::actions_in(node).collect();
    match found.as_slice() {
        [] => {
            let known = steps::words().join(", ");
            linter.say(Code::LintAction, node, "this step has no action").help =
                Some(format!("a step has one of these actions: {known}"));
        }
        [(step_type, _, action)] => (step_type.lint)(linter, action),
        [(first, ..), (second, _, action), ..] => {
            let (first, second) = (first.word, second.word);
            let message = format!("a step has one action, but this one has `{first}` and `{second}`");
            linter.say(Code::LintActions, action, message).help = Some("split it into two steps".into());
        }
    }
    if judged {
        let blank = |key: &str| {
            node.get(key).is_none_or(|v| v.scalar_text().is_some_and(|t| t.trim().is_empty()) || v.is_null())
        };
        if ["expect", "assert", "until"].into_iter().all(blank) {
            linter.say(
                Code::LintExpect,
                node,
                "this step expects nothing: it has neither `expect` nor `assert`",
            );
        }
        if blank("description") {
            linter.say(Code::LintDescription, node, "this step has no description");
        }
    }
    captures::check(linter, node, found.first().map(|(step_type, ..)| *step_type));
}
