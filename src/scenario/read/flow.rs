//! What can be seen from the order of steps: placeholders before their capture, captures that hide others, steps that
//! nobody can judge. Warnings all.

use std::collections::HashSet;

use super::{Reader, given, keys};
use crate::diag::{Code, Severity, Span, nearest};
use crate::scenario::generator::GENERATORS;
use crate::scenario::tui;
use crate::scenario::variables::placeholders;
use crate::scenario::yaml::{Kind, Node};

/// Reviews a scenario, or a fixture, where the variables `set` are known from the beginning.
pub fn review(reader: &mut Reader<'_>, node: &Node, mut set: HashSet<String>) {
    let lists = ["setup", "steps", "teardown"].map(|list| (list, items(node, list)));
    let captured: HashSet<String> = lists
        .iter()
        .flat_map(|(_, items)| items.iter().flat_map(captures))
        .filter_map(Node::scalar_text)
        .chain(set.iter().cloned())
        .collect();
    let captured: HashSet<&str> = captured.iter().map(String::as_str).collect();
    for (list, items) in lists {
        for item in items {
            step(reader, item, &mut set, &captured);
            if list == "steps" {
                unjudged(reader, item);
            }
        }
    }
}

fn items<'n>(node: &'n Node, list: &str) -> &'n [Node] {
    match given(node, list) {
        Some(Node { kind: Kind::List(items), .. }) => items,
        _ => &[],
    }
}

fn step(reader: &mut Reader<'_>, item: &Node, set: &mut HashSet<String>, captured: &HashSet<&str>) {
    let rows = row_names(item);
    let seen: HashSet<String> = set.union(&rows).cloned().collect();
    conditions(reader, item, &seen, captured);
    for key in keys::ACTIONS {
        if let Some(action) = given(item, key) {
            walk(reader, action, &seen, captured, matches!(*key, "exec" | "tui"));
        }
    }
    for name in captures(item) {
        let Some(text) = name.scalar_text() else { continue };
        if !set.insert(text.clone()) {
            let message = format!("`{text}` hides an earlier capture of the same name");
            reader.complain(Code::ScenarioShadow, name, message);
        }
    }
    let seen: HashSet<String> = set.union(&rows).cloned().collect();
    for key in ["expect", "assert", "until"] {
        if let Some(words) = given(item, key) {
            walk(reader, words, &seen, captured, true);
        }
    }
}

/// The variables that the condition of a step is about.
fn conditions(reader: &mut Reader<'_>, item: &Node, set: &HashSet<String>, captured: &HashSet<&str>) {
    let Some(Node { kind: Kind::Table(entries), .. }) = given(item, "when") else { return };
    for (key, value) in entries {
        let name = key.scalar_text().unwrap_or_default();
        if !set.contains(&name) && !captured.contains(name.as_str()) {
            let message = format!("nothing in this scenario captures `{name}`, which this step depends on");
            let near = nearest(&name, captured.iter().copied());
            reader.complain(Code::ScenarioUnset, key, message).help =
                near.map(|near| format!("did you mean `{near}`?"));
        }
        walk(reader, value, set, captured, true);
    }
}

/// The names that the rows of a step have.
fn row_names(step: &Node) -> HashSet<String> {
    let mut names = HashSet::new();
    for row in items(step, "for_each") {
        match &row.kind {
            Kind::Table(entries) => names.extend(entries.iter().filter_map(|(key, _)| key.scalar_text())),
            _ => _ = names.insert("item".to_owned()),
        }
    }
    names
}

fn unjudged(reader: &mut Reader<'_>, step: &Node) {
    if matches!(step.kind, Kind::Table(_))
        && given(step, "expect").is_none()
        && given(step, "assert").is_none()
        && given(step, "until").is_none()
        && !asserts_itself(step)
        && given(step, "tui").is_none_or(|tui| tui::assertions(tui).is_empty())
    {
        reader.complain(Code::ScenarioUnjudged, step, "this step has neither `expect` nor `assert`");
    }
}

/// An `assert` action says by its own keys what has to be so.
fn asserts_itself(step: &Node) -> bool {
    given(step, "browser").is_some_and(|action| {
        given(action, "action").and_then(Node::text) == Some("assert")
            && ["text", "text_absent", "count"].iter().any(|key| given(action, key).is_some())
    })
}

/// The names of the captures of a step.
fn captures(step: &Node) -> impl Iterator<Item = &Node> {
    items(step, "capture").iter().filter_map(|item| given(item, "name"))
}

/// Looks at every text under `node`. Where braces are common for other reasons (`free`: shell, prose), only names that
/// are captured somewhere, or nearly, are taken for placeholders.
fn walk(reader: &mut Reader<'_>, node: &Node, set: &HashSet<String>, captured: &HashSet<&str>, free: bool) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| walk(reader, item, set, captured, free)),
        Kind::Table(entries) => entries.iter().for_each(|(key, value)| {
            // What events and messages are waited for is said by patterns.
            let is_pattern = matches!(key.text(), Some("events" | "receive"));
            walk(reader, key, set, captured, free);
            walk(reader, value, set, captured, free || is_pattern);
        }),
        Kind::Scalar(_) => {
            let text = node.text().unwrap_or_default();
            for (start, end, name) in placeholders(text) {
                if text[..start].ends_with('$') {
                    continue;
                }
                let span = inner(reader, node, text, start, end);
                if let Some(made) = name.strip_prefix('$') {
                    let word = made.split(':').next().unwrap_or_default();
                    if !GENERATORS.contains(&word) && !free {
                        let near = nearest(word, GENERATORS.iter().copied());
                        let message = format!("`{{{name}}}` has no value: nothing makes `${word}`");
                        reader.complain_at(Code::ScenarioUnset, span, message).help =
                            near.map(|near| format!("did you mean `{{${near}}}`?"));
                    }
                    continue;
                }
                let near = nearest(name, captured.iter().copied());
                if set.contains(name) {
                    if text[start..].starts_with("{{") {
                        let message = format!("`{{{{{name}}}}}` is read as `{{{name}}}`");
                        reader.complain_at(Code::ScenarioBraces, span, message);
                    }
                } else if !free || near.is_some() {
                    unset(reader, span, name, (near.filter(|near| set.contains(*near)), free));
                }
            }
        }
    }
}

fn unset(reader: &mut Reader<'_>, span: Span, name: &str, (near, free): (Option<&str>, bool)) {
    let becomes = if free { "stays as it is" } else { "has no value" };
    let message = format!("`{{{name}}}` {becomes}: no earlier step captures `{name}`");
    let complaint = reader.complain_at(Code::ScenarioUnset, span, message);
    let plain = (!free).then(|| format!("write `\\{{{name}}}` for the text itself"));
    complaint.help = near.map(|near| format!("did you mean `{{{near}}}`?")).or(plain);
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
