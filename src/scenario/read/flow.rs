//! What can be seen from the order of steps: placeholders before their capture, captures that hide others, steps that
//! nobody can judge. Warnings all.

use std::collections::HashSet;

use super::{Reader, given, keys};
use crate::diag::{Code, Severity, Span, nearest};
use crate::scenario::variables::placeholders;
use crate::scenario::yaml::{Kind, Node};
use crate::scenario::{Step, tui};

/// Reviews a scenario whose steps have been read.
pub fn review(reader: &mut Reader<'_>, node: &Node, setup: &[Step], steps: &[Step]) {
    let captured: HashSet<&str> = setup
        .iter()
        .chain(steps)
        .flat_map(|step| &step.capture)
        .map(|capture| capture.name.as_str())
        .collect();
    let mut set: HashSet<String> = HashSet::new();
    for list in ["setup", "steps"] {
        let Some(Node { kind: Kind::List(items), .. }) = given(node, list) else { continue };
        for item in items {
            for key in keys::ACTIONS {
                if let Some(action) = given(item, key) {
                    walk(reader, action, &set, &captured, matches!(*key, "exec" | "tui"));
                }
            }
            captures(reader, item, &mut set);
            for key in ["expect", "assert"] {
                if let Some(words) = given(item, key) {
                    walk(reader, words, &set, &captured, true);
                }
            }
            if list == "steps" {
                unjudged(reader, item);
            }
        }
    }
}

fn unjudged(reader: &mut Reader<'_>, step: &Node) {
    if matches!(step.kind, Kind::Table(_))
        && given(step, "expect").is_none()
        && given(step, "assert").is_none()
        && given(step, "tui").is_none_or(|tui| tui::assertions(tui).is_empty())
    {
        reader.complain(Code::ScenarioUnjudged, step, "this step has neither `expect` nor `assert`");
    }
}

fn captures(reader: &mut Reader<'_>, step: &Node, set: &mut HashSet<String>) {
    let Some(Node { kind: Kind::List(items), .. }) = given(step, "capture") else { return };
    for name in items.iter().filter_map(|item| given(item, "name")) {
        let Some(text) = name.scalar_text() else { continue };
        if set.contains(&text) {
            let message = format!("`{text}` hides an earlier capture of the same name");
            reader.complain(Code::ScenarioShadow, name, message);
        }
        set.insert(text);
    }
}

/// Looks at every text under `node`. Where braces are common for other reasons (`free`: shell, prose), only names that
/// are captured somewhere, or nearly, are taken for placeholders.
fn walk(reader: &mut Reader<'_>, node: &Node, set: &HashSet<String>, captured: &HashSet<&str>, free: bool) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| walk(reader, item, set, captured, free)),
        Kind::Table(entries) => entries.iter().for_each(|(key, value)| {
            walk(reader, key, set, captured, free);
            walk(reader, value, set, captured, free);
        }),
        Kind::Scalar(_) => {
            let text = node.text().unwrap_or_default();
            for (start, end, name) in placeholders(text) {
                if text[..start].ends_with('$') {
                    continue;
                }
                let span = inner(reader, node, text, start, end);
                let near = nearest(name, captured.iter().copied());
                if set.contains(name) {
                    if text[start..].starts_with("{{") {
                        let message = format!("`{{{{{name}}}}}` is read as `{{{name}}}`");
                        reader.complain_at(Code::ScenarioBraces, span, message);
                    }
                } else if !free || near.is_some() {
                    unset(reader, span, name, near.filter(|near| set.contains(*near)));
                }
            }
        }
    }
}

fn unset(reader: &mut Reader<'_>, span: Span, name: &str, near: Option<&str>) {
    let message = format!("`{{{name}}}` stays as it is: no earlier step captures `{name}`");
    let complaint = reader.complain_at(Code::ScenarioUnset, span, message);
    complaint.help = near.map(|near| format!("did you mean `{{{near}}}`?"));
    debug_assert_eq!(complaint.severity, Severity::Warning);
}

/// The bytes of a placeholder, where the text stands in the file as it is; else those of the whole text.
fn inner(reader: &Reader<'_>, node: &Node, text: &str, start: usize, end: usize) -> Span {
    let span = reader.span(node);
    let written = &reader.sources.get(reader.source).text;
    let Some(found) = written.get(node.at.clone()).and_then(|raw| raw.find(&text[start..end])) else {
        return span;
    };
    span.part(found..found + (end - start))
}
