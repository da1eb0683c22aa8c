use super::Linter;
use crate::diag::Code;
use crate::scenario::Selector;
use crate::scenario::capture::sources;
use crate::scenario::variables::is_name;
use crate::scenario::yaml::{Kind, Node};

/// The captures of a step of type `kind`.
pub fn check(linter: &mut Linter<'_>, step: &Node, kind: &str) {
    match step.get("capture") {
        None => {}
        Some(node) if node.is_null() => {}
        Some(Node { kind: Kind::List(items), .. }) => {
            items.iter().for_each(|item| capture(linter, item, kind));
        }
        Some(node) => {
            linter.say(Code::LintCaptures, node, format!("`capture` is a list, not {}", node.type_name()));
        }
    }
}

fn capture(linter: &mut Linter<'_>, node: &Node, kind: &str) {
    if !matches!(node.kind, Kind::Table(_)) {
        linter.say(Code::LintCapture, node, format!("a capture is a mapping, not {}", node.type_name()));
        return;
    }
    match node.get("name") {
        None => _ = linter.say(Code::LintCaptureName, node, "a capture needs `name`"),
        Some(name) => {
            let text = name.scalar_text().unwrap_or_default();
            if text.trim().is_empty() {
                linter.say(Code::LintCaptureEmpty, name, "`name` is empty");
            } else if !is_name(&text) {
                linter.say(Code::LintCaptureWord, name, format!("`{text}` cannot stand in a placeholder"));
            }
        }
    }
    let (path, source) = (node.get("jsonpath"), node.get("source"));
    if path.is_none() && source.is_none() {
        linter.say(Code::LintCaptureWhat, node, "a capture needs `jsonpath` or `source`");
    }
    if let Some(node) = path {
        let text = node.scalar_text().unwrap_or_default();
        if !text.contains('{')
            && let Err(reason) = Selector::parse(&text)
        {
            linter.say(Code::LintPathForm, node, format!("`{text}` is {reason}"));
        }
    }
    if let Some(node) = source.filter(|_| !kind.is_empty()) {
        known(linter, node, kind);
    }
}

fn known(linter: &mut Linter<'_>, node: &Node, kind: &str) {
    let text = node.scalar_text().unwrap_or_default();
    let known = sources(kind);
    let prefix = ["header:", "trailer:"].into_iter().find(|prefix| text.starts_with(prefix));
    if known.contains(&prefix.unwrap_or(&text)) {
        return;
    }
    let code = if known.is_empty() { Code::LintNoSource } else { Code::LintSource };
    linter.unknown(code, node, format!("`{kind}` has no source `{text}`"), &text, known);
}
