use std::num::NonZeroU16;

use regex::Regex;

use super::chord::{self, KeyChord};
use super::{Tui, WaitFor, five_seconds, tenth_of_a_second};
use crate::diag::{Code, nearest};
use crate::scenario::checks::assert::{Assertion, AssertionRule, Subject};
use crate::scenario::ports::TerminalSize;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::values::variables::placeholders;

/// Most columns and rows of a terminal.
const WIDEST: u16 = 1000;
const HIGHEST: u16 = 500;

/// Reads a `tui` step.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Tui> {
    let entries = reader.entries(node, "`tui`")?;
    if entries.is_empty() {
        reader.complain(Code::ScenarioMissing, node, "`tui` has no action").help =
            Some("start with `command: …`".into());
    }
    let command = given(node, "command").and_then(|_| reader.required(node, "command", "a terminal"));
    let mut send_keys = Vec::new();
    for key in given(node, "send_key").into_iter().chain(several(given(node, "send_keys"))) {
        send_keys.extend(pressed(reader, key));
    }
    let duration = |reader: &mut NodeReader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.duration(value, &format!("`{key}`")))
    };
    let settle = duration(reader, "settle").unwrap_or_else(tenth_of_a_second);
    let timeout = duration(reader, "timeout").unwrap_or_else(five_seconds);
    for key in ["assert_screen", "assert_absent"] {
        for text in several(given(node, key)) {
            reader.text(text, &format!("`{key}`"));
        }
    }
    Some(Tui {
        command,
        env: reader.texts(given(node, "env"), "`env`"),
        size: given(node, "size").and_then(|value| size(reader, value)),
        send_keys,
        send_text: reader.optional(node, "send_text"),
        paste: reader.optional(node, "paste"),
        wait_for: given(node, "wait_for").and_then(|value| wait_for(reader, value)),
        wait_exit: flag(reader, node, "wait_exit"),
        settle,
        styles: flag(reader, node, "styles"),
        timeout,
    })
}

/// The assertions of `assert_screen` and `assert_absent`.
pub fn assertions(node: &YamlNode) -> Vec<Assertion> {
    let mut out = Vec::new();
    for (key, rule) in
        [("assert_screen", AssertionRule::Contains), ("assert_absent", AssertionRule::NotContains)]
    {
        for text in several(given(node, key)).into_iter().filter_map(YamlNode::scalar_text) {
            out.push(Assertion { subject: Subject::Screen, path: None, rule, value: text.into() });
        }
    }
    out
}

/// No value, one value, or a list.
fn several(node: Option<&YamlNode>) -> Vec<&YamlNode> {
    match node.map(|node| (&node.kind, node)) {
        None => Vec::new(),
        Some((NodeKind::List(items), _)) => items.iter().collect(),
        Some((_, node)) => vec![node],
    }
}

fn pressed(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<String> {
    let text = reader.text(node, "a key")?;
    if placeholders(&text).is_empty()
        && let Err(reason) = KeyChord::parse(&text)
    {
        let near =
            nearest(&text.to_lowercase(), chord::names()).map(|near| format!("did you mean `{near}`?"));
        let example = "write a character, a name such as `enter`, or a chord such as `ctrl+c`";
        reader.complain(Code::ScenarioValue, node, reason).help = near.or_else(|| Some(example.into()));
    }
    Some(text)
}

fn size(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<TerminalSize> {
    reader.table(node, "`size`", &["columns", "rows"])?;
    let columns = side(reader, node, "columns", WIDEST);
    let rows = side(reader, node, "rows", HIGHEST);
    Some(TerminalSize { columns: columns?, rows: rows? })
}

fn side(reader: &mut NodeReader<'_>, node: &YamlNode, key: &str, most: u16) -> Option<NonZeroU16> {
    let Some(value) = given(node, key) else {
        reader.complain(Code::ScenarioMissing, node, format!("`{key}` is missing: `size` needs it"));
        return None;
    };
    let number = value.to_json().as_u64().and_then(|number| u16::try_from(number).ok());
    let side = number.filter(|number| (2..=most).contains(number)).and_then(NonZeroU16::new);
    if side.is_none() {
        let message = format!("`{key}` is a whole number from 2 to {most}");
        reader.complain(Code::ScenarioValue, value, message);
    }
    side
}

fn wait_for(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<WaitFor> {
    if !matches!(node.kind, NodeKind::Table(_)) {
        return reader.text(node, "`wait_for`").map(WaitFor::Text);
    }
    let entries = reader.table(node, "`wait_for`", &["matches", "gone"])?;
    let [(key, value)] = entries else {
        let message = "`wait_for` is a text, or has one of `matches` and `gone`";
        reader.complain(Code::ScenarioValue, node, message);
        return None;
    };
    let text = reader.text(value, "what is waited for")?;
    match key.text() {
        Some("gone") => Some(WaitFor::Gone(text)),
        Some("matches") => {
            if placeholders(&text).is_empty()
                && let Err(error) = Regex::new(&text)
            {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                reader.complain(
                    Code::ScenarioPattern,
                    value,
                    format!("invalid regular expression: {reason}"),
                );
            }
            Some(WaitFor::Matches(text))
        }
        _ => None,
    }
}

fn flag(reader: &mut NodeReader<'_>, node: &YamlNode, key: &str) -> bool {
    let Some(value) = given(node, key) else { return false };
    value.to_json().as_bool().unwrap_or_else(|| {
        reader.mistyped(value, &format!("`{key}`"), "true or false");
        false
    })
}
