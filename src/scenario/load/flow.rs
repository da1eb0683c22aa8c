//! Checks of the order of steps. Errors: placeholders that never get a value. Warnings: placeholders before
//! their capture, captures that hide others, steps that cannot be judged.

use std::collections::HashSet;

use crate::diag::{Code, Span, nearest};
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::steps::actions_in;
use crate::scenario::values::generator::GENERATORS;
use crate::scenario::values::variables::placeholders;

/// Meaning of braces in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Braces {
    /// Placeholders in a text that is sent.
    Sent,
    /// Placeholders in a text that is expected.
    Expected,
    /// Braces often mean something else, as in commands and patterns: only a captured name is a placeholder.
    Free,
}

/// Variables that are known at a step.
struct KnownNames<'a> {
    /// Variables with a value at this step.
    set: &'a HashSet<String>,
    /// Variables of the rows of the step.
    rows: &'a HashSet<String>,
    /// Variables that any step captures, or that have a value from the start.
    captured: &'a HashSet<&'a str>,
    /// Whether no other variables can exist.
    complete: bool,
}

impl KnownNames<'_> {
    fn is_set(&self, name: &str) -> bool {
        self.set.contains(name) || self.rows.contains(name)
    }
}

/// Most diagnostics about placeholders in one text.
const COMPLAINTS: usize = 20;

/// Checks a scenario or a fixture. The variables `set` have values from the start; with `complete`, no
/// other variable can get a value from outside.
pub fn review(reader: &mut NodeReader<'_>, node: &YamlNode, mut set: HashSet<String>, complete: bool) {
    let lists = ["setup", "steps", "teardown"].map(|list| (list, items(node, list)));
    let captured: HashSet<String> = lists
        .iter()
        .flat_map(|(_, items)| items.iter().flat_map(captures))
        .filter_map(YamlNode::scalar_text)
        .chain(set.iter().cloned())
        .collect();
    let captured: HashSet<&str> = captured.iter().map(String::as_str).collect();
    for (list, items) in lists {
        for item in items {
            step(reader, item, &mut set, (&captured, complete));
            if list == "steps" {
                unjudged(reader, item);
            }
        }
    }
    if let Some(criteria) = given(node, "satisfaction_criteria") {
        let names = KnownNames { set: &set, rows: &HashSet::new(), captured: &captured, complete };
        walk(reader, criteria, &names, Braces::Expected);
    }
}

fn items<'n>(node: &'n YamlNode, list: &str) -> &'n [YamlNode] {
    match given(node, list) {
        Some(YamlNode { kind: NodeKind::List(items), .. }) => items,
        _ => &[],
    }
}

fn step(
    reader: &mut NodeReader<'_>,
    item: &YamlNode,
    set: &mut HashSet<String>,
    (captured, complete): (&HashSet<&str>, bool),
) {
    let rows = row_names(item);
    let names = KnownNames { set, rows: &rows, captured, complete };
    conditions(reader, item, &names);
    for (step_type, _, action) in actions_in(item) {
        let braces = if step_type.runs_commands { Braces::Free } else { Braces::Sent };
        walk(reader, action, &names, braces);
    }
    for name in captures(item) {
        let Some(text) = name.scalar_text() else { continue };
        if !set.insert(text.clone()) {
            let message = format!("`{text}` hides an earlier capture of the same name");
            reader.complain(Code::ScenarioShadow, name, message);
        }
    }
    let names = KnownNames { set, rows: &rows, captured, complete };
    for key in ["expect", "assert", "until"] {
        if let Some(words) = given(item, key) {
            walk(reader, words, &names, Braces::Expected);
        }
    }
}

/// Checks the variables in the condition of a step.
fn conditions(reader: &mut NodeReader<'_>, item: &YamlNode, names: &KnownNames<'_>) {
    let Some(YamlNode { kind: NodeKind::Table(entries), .. }) = given(item, "when") else { return };
    for (key, value) in entries {
        let name = key.scalar_text().unwrap_or_default();
        if !names.is_set(&name) && !names.captured.contains(name.as_str()) {
            let message = format!("no step captures `{name}`, which this step depends on");
            let near = nearest(&name, names.captured.iter().copied());
            reader.complain(Code::ScenarioUnset, key, message).help =
                near.map(|near| format!("did you mean `{near}`?"));
        }
        walk(reader, value, names, Braces::Free);
    }
}

/// The variables of the rows of a step.
fn row_names(step: &YamlNode) -> HashSet<String> {
    let mut names = HashSet::new();
    for row in items(step, "for_each") {
        match &row.kind {
            NodeKind::Table(entries) => names.extend(entries.iter().filter_map(|(key, _)| key.scalar_text())),
            _ => _ = names.insert("item".to_owned()),
        }
    }
    names
}

fn unjudged(reader: &mut NodeReader<'_>, step: &YamlNode) {
    if matches!(step.kind, NodeKind::Table(_))
        && given(step, "expect").is_none()
        && given(step, "assert").is_none()
        && given(step, "until").is_none()
        && actions_in(step).all(|(step_type, _, action)| (step_type.implied)(action).is_empty())
    {
        reader.complain(Code::ScenarioUnjudged, step, "this step has neither `expect` nor `assert`");
    }
}

/// The names of the captures of a step.
fn captures(step: &YamlNode) -> impl Iterator<Item = &YamlNode> {
    items(step, "capture").iter().filter_map(|item| given(item, "name"))
}

/// Parts of an assertion in which braces have another meaning.
const PATTERNS: [&str; 4] = ["matches", "schema", "schema_file", "path"];

/// Checks every text under `node`.
fn walk(reader: &mut NodeReader<'_>, node: &YamlNode, names: &KnownNames<'_>, braces: Braces) {
    match &node.kind {
        NodeKind::List(items) => items.iter().for_each(|item| walk(reader, item, names, braces)),
        NodeKind::Table(entries) => entries.iter().for_each(|(key, value)| {
            // `until` of events and messages is a pattern.
            let word = key.text().unwrap_or_default();
            let is_pattern = matches!(word, "events" | "receive")
                || braces == Braces::Expected && PATTERNS.contains(&word);
            walk(reader, key, names, braces);
            walk(reader, value, names, if is_pattern { Braces::Free } else { braces });
        }),
        NodeKind::Scalar(_) => {
            let text = node.text().unwrap_or_default();
            let (mut seen, before) = (HashSet::new(), reader.complaints.len());
            for (start, end, name) in placeholders(text) {
                // Each name is reported once, and only the first few of a text.
                if text[..start].ends_with('$') || !seen.insert(name) {
                    continue;
                }
                if reader.complaints.len() >= before + COMPLAINTS {
                    break;
                }
                let span = inner(reader, node, text, start, end);
                placeholder(reader, span, (&text[start..], name), names, braces);
            }
        }
    }
}

/// Reports the placeholder `name`, which `text` begins with, if it has no value.
fn placeholder(
    reader: &mut NodeReader<'_>,
    span: Span,
    (text, name): (&str, &str),
    names: &KnownNames<'_>,
    braces: Braces,
) {
    if let Some(made) = name.strip_prefix('$') {
        let word = made.split(':').next().unwrap_or_default();
        if !GENERATORS.contains(&word) && braces != Braces::Free {
            let near = nearest(word, GENERATORS.iter().copied());
            let message = format!("`{{{name}}}` has no value: `${word}` is not a generated value");
            reader.complain_at(Code::ScenarioUnset, span, message).help =
                near.map(|near| format!("did you mean `{{${near}}}`?"));
        }
        return;
    }
    if names.is_set(name) {
        if text.starts_with("{{") {
            let message = format!("`{{{{{name}}}}}` is read as `{{{name}}}`");
            reader.complain_at(Code::ScenarioBraces, span, message);
        }
    } else if braces != Braces::Free || nearest(name, names.captured.iter().copied()).is_some() {
        unset(reader, span, name, names, braces);
    }
}

fn unset(reader: &mut NodeReader<'_>, span: Span, name: &str, names: &KnownNames<'_>, braces: Braces) {
    let is_never_set = braces != Braces::Free && names.complete && !names.captured.contains(name);
    let near = nearest(name, names.captured.iter().copied());
    let near = near.filter(|near| is_never_set || names.is_set(near));
    let code = if is_never_set { Code::ScenarioNeverSet } else { Code::ScenarioUnset };
    let message = if is_never_set {
        format!("`{{{name}}}` never has a value: no step captures `{name}`, and there is no such variable")
    } else if braces == Braces::Free {
        format!("`{{{name}}}` is not replaced: no earlier step captures `{name}`")
    } else {
        format!("`{{{name}}}` has no value: no earlier step captures `{name}`")
    };
    let complaint = reader.complain_at(code, span, message);
    let literal = (braces != Braces::Free).then(|| {
        format!("write `\\{{{name}}}` for the literal text, or set the variable: `--variable {name}=VALUE`")
    });
    complaint.help = near.map(|near| format!("did you mean `{{{near}}}`?")).or(literal);
}

/// The span of a placeholder; of the whole text if the text is written with escapes.
fn inner(reader: &NodeReader<'_>, node: &YamlNode, text: &str, start: usize, end: usize) -> Span {
    let span = reader.span(node);
    let written = &reader.sources.get(reader.source).text;
    let Some(found) = written.get(node.at.clone()).and_then(|raw| raw.find(&text[start..end])) else {
        return span;
    };
    span.part(found..found + (end - start))
}
