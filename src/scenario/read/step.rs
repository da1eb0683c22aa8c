use super::{Reader, action, assertion, given, keys};
use crate::diag::Code;
use crate::scenario::assert::Subject;
use crate::scenario::capture::sources;
use crate::scenario::variables::is_name;
use crate::scenario::yaml::{Kind, Node};
use crate::scenario::{Action, Capture, Lapse, Retry, Selector, Step, tui};

/// Reads one step of `setup` or `steps`.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Step> {
    let all: Vec<&str> = [keys::ACTIONS, keys::STEP].concat();
    reader.table(node, "a step", &all)?;
    let mut action = the_action(reader, node);
    let kind = action.as_ref().map_or("", Action::word);
    let mut assert = given(node, "tui").map(tui::assertions).unwrap_or_default();
    if let Some(written) = given(node, "assert") {
        assert.extend(assertion::read(reader, written, kind));
    }
    if let Some(Action::Ws(ws)) = &mut action {
        ws.may_be_refused = assert.iter().any(|assertion| assertion.subject == Subject::Status);
    }
    let step = Step {
        description: reader.optional(node, "description"),
        expect: reader.optional(node, "expect"),
        delay: given(node, "delay").and_then(|value| reader.lapse(value, "`delay`")),
        retry: given(node, "retry").and_then(|value| retry(reader, value)),
        capture: captures(reader, node, kind),
        assert,
        line: reader.line(node),
        action: action?,
    };
    Some(step)
}

fn the_action(reader: &mut Reader<'_>, node: &Node) -> Option<Action> {
    let Kind::Table(entries) = &node.kind else { return None };
    let mut present = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.text() else { continue };
        if keys::ACTIONS.contains(&name) {
            present.push((name, key, value));
        }
    }
    match present.as_slice() {
        [] => {
            let known = |(key, _): &(Node, Node)| key.text().is_some_and(|name| keys::STEP.contains(&name));
            if entries.iter().all(known) {
                let message = "this step does nothing";
                reader.complain(Code::ScenarioAction, node, message).help =
                    Some(format!("a step has one of {}", keys::ACTIONS.join(", ")));
            }
            None
        }
        [(name, _, value)] => action::read(reader, name, value),
        [(first, ..), (second, key, _), ..] => {
            let message = format!("a step does one thing, this one has `{first}` and `{second}`");
            reader.complain(Code::ScenarioAction, key, message).help = Some("make two steps of it".into());
            None
        }
    }
}

fn retry(reader: &mut Reader<'_>, node: &Node) -> Option<Retry> {
    reader.table(node, "`retry`", keys::RETRY)?;
    let attempts = match given(node, "attempts") {
        None => 3,
        Some(value) => match value.to_json().as_i64() {
            // The format says that no attempts, or fewer, mean the default.
            Some(attempts) if attempts < 1 => 3,
            Some(attempts) => u32::try_from(attempts).unwrap_or(u32::MAX),
            None => {
                reader.mistyped(value, "`attempts`", "a whole number");
                3
            }
        },
    };
    let interval = given(node, "interval").and_then(|value| reader.lapse(value, "`interval`"));
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Retry { attempts, interval: interval.unwrap_or(Lapse::secs(1)), timeout })
}

fn captures(reader: &mut Reader<'_>, node: &Node, kind: &str) -> Vec<Capture> {
    let Some(list) = given(node, "capture") else { return Vec::new() };
    let items = reader.list(list, "`capture`");
    items.iter().filter_map(|item| capture(reader, item, kind)).collect()
}

fn capture(reader: &mut Reader<'_>, node: &Node, kind: &str) -> Option<Capture> {
    reader.table(node, "a capture", keys::CAPTURE)?;
    let name = reader.required(node, "name", "a capture");
    if let (Some(name), Some(value)) = (&name, given(node, "name"))
        && !name.is_empty()
        && !is_name(name)
    {
        let message = format!("`{name}` cannot stand in a placeholder: a name has letters, digits and `_`");
        reader.complain(Code::ScenarioCapture, value, message);
    }
    let (path, source) = (given(node, "jsonpath"), given(node, "source"));
    if path.is_none() && source.is_none() {
        let message = "a capture needs `jsonpath` or `source`";
        reader.complain(Code::ScenarioCapture, node, message);
    }
    let jsonpath = path.and_then(|value| json_path(reader, value));
    let source = source.and_then(|value| known_source(reader, value, kind));
    Some(Capture { name: name?, jsonpath, source })
}

/// A JSONPath that can be read; paths with placeholders are read when the values are known.
pub(super) fn json_path(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let path = reader.text(node, "a JSONPath")?;
    if !path.contains('{')
        && let Err(reason) = Selector::parse(&path)
    {
        reader.complain(Code::ScenarioPath, node, format!("`{path}` is {reason}"));
    }
    Some(path)
}

fn known_source(reader: &mut Reader<'_>, node: &Node, kind: &str) -> Option<String> {
    let source = reader.text(node, "`source`")?;
    let known = sources(kind);
    let named = ["header:", "trailer:"].into_iter().find(|word| source.starts_with(word));
    let fits = match named {
        Some(word) => known.contains(&word) && !source[word.len()..].trim().is_empty(),
        None => known.contains(&source.as_str()),
    };
    if !kind.is_empty() && !fits {
        let message = format!("`{kind}` has no source `{source}`");
        let complaint = reader.complain(Code::ScenarioCapture, node, message);
        *complaint = complaint.clone().suggest(&source, known.iter().copied());
    }
    Some(source)
}
