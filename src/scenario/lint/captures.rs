use crate::diag::Code;
use crate::scenario::checks::Selector;
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps::StepType;
use crate::scenario::values::variables::is_name;

/// The captures of a step, of type `kind` if it has one.
pub fn check(linter: &mut Linter<'_>, step: &YamlNode, kind: Option<&StepType>) {
    match step.get("capture") {
        None => {}
        Some(node) if node.is_null() => {}
        Some(YamlNode { kind: NodeKind::List(items), .. }) => {
            items.iter().for_each(|item| capture(linter, item, kind));
        }
        Some(node) => {
            linter.say(Code::LintCaptures, node, format!("`capture` is a list, not {}", node.type_name()));
        }
    }
}

fn capture(linter: &mut Linter<'_>, node: &YamlNode, kind: Option<&StepType>) {
    if !matches!(node.kind, NodeKind::Table(_)) {
        linter.say(Code::LintCapture, node, format!("a capture is a mapping, not {}", node.type_name()));
        return;
    }
    match node.get("name") {
        None => _ = linter.say(Code::LintCaptureName, node, "`name` is missing in this capture"),
        Some(name) => {
            let text = name.scalar_text().unwrap_or_default();
            if text.trim().is_empty() {
                linter.say(Code::LintCaptureEmpty, name, "`name` is empty");
            } else if !is_name(&text) {
                linter.say(Code::LintCaptureWord, name, format!("`{text}` cannot be used in a placeholder"));
            }
        }
    }
    let (path, source) = (node.get("jsonpath"), node.get("source"));
    if path.is_none() && source.is_none() {
        linter.say(Code::LintCaptureWhat, node, "`jsonpath` or `source` is missing in this capture");
    }
    if let Some(node) = path {
        let text = node.scalar_text().unwrap_or_default();
        if !text.contains('{')
            && let Err(reason) = Selector::parse(&text)
        {
            linter.say(Code::LintPathForm, node, format!("`{text}` is {reason}"));
        }
    }
    if let (Some(node), Some(kind)) = (source, kind) {
        known(linter, node, kind);
    }
}

fn known(linter: &mut Linter<'_>, node: &YamlNode, kind: &StepType) {
    let text = node.scalar_text().unwrap_or_default();
    let known = kind.sources;
    let prefix = ["header:", "trailer:"].into_iter().find(|prefix| text.starts_with(prefix));
    if known.contains(&prefix.unwrap_or(&text)) {
        return;
    }
    let code = if known.is_empty() { Code::LintNoSource } else { Code::LintSource };
    linter.unknown(code, node, format!("`{}` has no source `{text}`", kind.word), &text, known);
}
