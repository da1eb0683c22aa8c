use std::collections::HashSet;
use std::time::Duration;

use crate::diag::Code;
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps::TYPES;
use crate::scenario::values::WrittenDuration;

/// Rules about the order of steps: hidden captures, steps that need an earlier step, steps that are never
/// run.
pub fn check(linter: &mut Linter<'_>, root: &YamlNode) {
    let lists = ["setup", "steps"].into_iter().flat_map(|list| items(root, list));
    let steps: Vec<&YamlNode> = lists.collect();
    shadows(linter, &steps);
    for step_type in TYPES {
        (step_type.lint_order)(linter, &steps);
    }
    unreachable(linter, root, &steps);
}

fn items<'n>(node: &'n YamlNode, key: &str) -> &'n [YamlNode] {
    match node.get(key) {
        Some(YamlNode { kind: NodeKind::List(items), .. }) => items,
        _ => &[],
    }
}

fn shadows(linter: &mut Linter<'_>, steps: &[&YamlNode]) {
    let mut known = HashSet::new();
    for name in steps.iter().flat_map(|step| items(step, "capture")).filter_map(|capture| capture.get("name"))
    {
        let Some(text) = name.scalar_text() else { continue };
        if !known.insert(text.clone()) {
            linter.say(Code::LintShadow, name, format!("`{text}` hides an earlier capture of the same name"));
        }
    }
}

fn length(node: Option<&YamlNode>) -> Option<Duration> {
    node.and_then(YamlNode::scalar_text)
        .and_then(|text| WrittenDuration::parse(&text).ok())
        .map(|duration| duration.0)
}

/// Finds steps that cannot start before the time limit of the scenario because of the pauses alone.
fn unreachable(linter: &mut Linter<'_>, root: &YamlNode, steps: &[&YamlNode]) {
    let Some(timeout) = length(root.get("timeout")) else { return };
    let mut waited = Duration::ZERO;
    for step in steps {
        if waited >= timeout {
            let message = format!(
                "the pauses before this step take {}, but the time limit of the scenario is {}",
                WrittenDuration(waited),
                WrittenDuration(timeout)
            );
            linter.say(Code::LintUnreachable, step, message);
        }
        waited += length(step.get("delay")).unwrap_or_default();
    }
}
