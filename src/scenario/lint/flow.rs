use std::collections::HashSet;
use std::time::Duration;

use super::{Linter, actions_of};
use crate::diag::Code;
use crate::scenario::Lapse;
use crate::scenario::yaml::{Kind, Node};

/// What can be seen from the order of steps: hidden captures, sockets that nothing opened, steps that are never run.
pub fn check(linter: &mut Linter<'_>, root: &Node) {
    let lists = ["setup", "steps"].into_iter().flat_map(|list| items(root, list));
    let steps: Vec<&Node> = lists.collect();
    shadows(linter, &steps);
    sockets(linter, &steps);
    unreachable(linter, root, &steps);
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match node.get(key) {
        Some(Node { kind: Kind::List(items), .. }) => items,
        _ => &[],
    }
}

fn shadows(linter: &mut Linter<'_>, steps: &[&Node]) {
    let mut known = HashSet::new();
    for name in steps.iter().flat_map(|step| items(step, "capture")).filter_map(|capture| capture.get("name"))
    {
        let Some(text) = name.scalar_text() else { continue };
        if !known.insert(text.clone()) {
            linter.say(Code::LintShadow, name, format!("`{text}` hides an earlier capture of the same name"));
        }
    }
}

fn sockets(linter: &mut Linter<'_>, steps: &[&Node]) {
    let mut open = HashSet::new();
    for (_, socket) in steps.iter().flat_map(|step| actions_of(step)).filter(|(word, _)| *word == "ws") {
        let id = socket.get("id").and_then(Node::scalar_text).unwrap_or_else(|| "default".to_owned());
        if socket.get("url").is_some() {
            open.insert(id);
        } else if !open.contains(&id) && matches!(socket.kind, Kind::Table(_)) {
            linter.say(
                Code::LintWsUrl,
                socket,
                format!("nothing has opened the WebSocket `{id}`: `url` is missing"),
            );
        }
    }
}

fn length(node: Option<&Node>) -> Option<Duration> {
    node.and_then(Node::scalar_text).and_then(|text| Lapse::parse(&text).ok()).map(|lapse| lapse.0)
}

/// Steps whose turn comes when the time of the scenario is over, by the pauses alone.
fn unreachable(linter: &mut Linter<'_>, root: &Node, steps: &[&Node]) {
    let Some(timeout) = length(root.get("timeout")) else { return };
    let mut waited = Duration::ZERO;
    for step in steps {
        if waited >= timeout {
            let message = format!(
                "the pauses before this step take {}, the scenario has {}",
                Lapse(waited),
                Lapse(timeout)
            );
            linter.say(Code::LintUnreachable, step, message);
        }
        waited += length(step.get("delay")).unwrap_or_default();
    }
}
