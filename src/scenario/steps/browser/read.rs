use super::{Browser, BrowserAction, WaitGoal, chord, pick, upload};
use crate::diag::Code;
use crate::scenario::checks::assert::{Assertion, AssertionRule, Subject};
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::values::WrittenDuration;
use crate::scenario::values::variables::placeholders;
use crate::value::Value;

/// All keys in a file.
pub const KEYS: &[&str] = &[
    "action",
    "url",
    "selector",
    "value",
    "files",
    "key",
    "text",
    "text_absent",
    "count",
    "hidden",
    "frame",
    "as",
    "within",
    "timeout",
];

/// Keys of every action, except that `navigate` and `screenshot` do not use `frame`.
const COMMON: [&str; 5] = ["action", "timeout", "within", "as", "frame"];

/// Every action and its keys.
const ACTIONS: &[(&str, &[&str])] = &[
    ("navigate", &["url"]),
    ("click", &["selector"]),
    ("fill", &["selector", "value"]),
    ("assert", &["selector", "text", "text_absent", "count"]),
    ("press", &["selector", "key"]),
    ("select", &["selector", "value"]),
    ("upload", &["selector", "files"]),
    ("hover", &["selector"]),
    ("check", &["selector"]),
    ("uncheck", &["selector"]),
    ("wait", &["selector", "hidden", "count", "text", "text_absent", "url"]),
    ("screenshot", &[]),
];

/// Names of all actions.
pub fn actions() -> Vec<&'static str> {
    ACTIONS.iter().map(|(word, _)| *word).collect()
}

/// The oldest actions of the format, which allow unused keys.
const OLD: [&str; 4] = ["navigate", "click", "fill", "assert"];
const OLD_KEYS: [&str; 6] = ["url", "selector", "value", "text", "text_absent", "count"];

/// Reads a `browser` step.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Browser> {
    let entries = reader.entries(node, "`browser`")?;
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    let word = reader.required(node, "action", "a browser step")?;
    let Some((word, uses)) = ACTIONS.iter().find(|(known, _)| *known == word) else {
        let value = given(node, "action").unwrap_or(node);
        let complaint =
            reader.complain(Code::ScenarioValue, value, format!("`{word}` is not a browser action"));
        *complaint = complaint.clone().suggest(&word, ACTIONS.iter().map(|(known, _)| *known));
        return None;
    };
    for (key, _) in entries {
        let name = key.text().unwrap_or_default();
        let harmless = OLD.contains(word) && OLD_KEYS.contains(&name);
        let common = COMMON.contains(&name) && !(name == "frame" && FRAMELESS.contains(word));
        if KEYS.contains(&name) && !common && !uses.contains(&name) && !harmless {
            let message = format!("`{word}` has no key `{name}`");
            reader.complain(Code::ScenarioValue, key, message).help = Some(if uses.is_empty() {
                "it has no keys".into()
            } else {
                format!("its keys are {}", uses.join(", "))
            });
        }
    }
    if *word == "assert" {
        check_asserted(reader, node);
    }
    let within = given(node, "within").and_then(|value| reader.duration(value, "`within`"));
    let frame = given(node, "frame").map(|value| frames(reader, value)).unwrap_or_default();
    let actor = given(node, "as").and_then(|_| reader.required(node, "as", "a browser step"));
    Some(Browser {
        action: deed(reader, node, word)?,
        timeout: timeout.unwrap_or(WrittenDuration::secs(10)),
        // A written timeout of the step applies to its assertions, too.
        within: within.or(timeout).unwrap_or(WrittenDuration::secs(5)),
        frame,
        actor: actor.unwrap_or_default(),
    })
}

/// Actions on a whole page.
const FRAMELESS: [&str; 2] = ["navigate", "screenshot"];

/// Reads the selector of a frame, or those of nested frames.
fn frames(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<String> {
    let items = match &node.kind {
        NodeKind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut frames = Vec::new();
    for item in items {
        let Some(text) = reader.text(item, "`frame`") else { continue };
        if !text.contains('{')
            && let Err(reason) = pick::parse(&text)
        {
            reader.complain(Code::ScenarioValue, item, reason);
        }
        frames.push(text);
    }
    frames
}

fn deed(reader: &mut NodeReader<'_>, node: &YamlNode, word: &str) -> Option<BrowserAction> {
    let what = format!("`{word}`");
    Some(match word {
        "navigate" => BrowserAction::Navigate { url: reader.required(node, "url", &what)? },
        "click" => BrowserAction::Click { selector: selector(reader, node, &what)? },
        "hover" => BrowserAction::Hover { selector: selector(reader, node, &what)? },
        "check" => BrowserAction::Check { selector: selector(reader, node, &what)? },
        "uncheck" => BrowserAction::Uncheck { selector: selector(reader, node, &what)? },
        "fill" => {
            let (selector, value) = (selector(reader, node, &what), value(reader, node, &what));
            BrowserAction::Fill { selector: selector?, value: value? }
        }
        "select" => {
            let (selector, value) = (selector(reader, node, &what), value(reader, node, &what));
            BrowserAction::Select { selector: selector?, value: value? }
        }
        "upload" => {
            let (selector, files) = (selector(reader, node, &what), upload::read(reader, node));
            BrowserAction::Upload { selector: selector?, files: files? }
        }
        "press" => {
            let keys = keys(reader, node);
            let selector = given(node, "selector").and_then(|_| selector(reader, node, &what));
            BrowserAction::Press { keys: keys?, selector }
        }
        "wait" => BrowserAction::Wait(goal(reader, node)?),
        "assert" => BrowserAction::Assert { selector: selector(reader, node, &what)? },
        _ => BrowserAction::Screenshot {},
    })
}

/// Reads a selector. One with placeholders is checked when they are known.
fn selector(reader: &mut NodeReader<'_>, node: &YamlNode, what: &str) -> Option<String> {
    let text = reader.required(node, "selector", what)?;
    if !text.contains('{')
        && let Err(reason) = pick::parse(&text)
    {
        let value = given(node, "selector").unwrap_or(node);
        reader.complain(Code::ScenarioValue, value, reason).help =
            Some("write CSS, `role=button[name=\"Save\"]` or `text=Save`".into());
    }
    Some(text)
}

/// Reads the key `value`, which may be an empty text.
fn value(reader: &mut NodeReader<'_>, node: &YamlNode, what: &str) -> Option<String> {
    let Some(value) = given(node, "value") else {
        reader.complain(Code::ScenarioMissing, node, format!("`value` is missing: {what} needs it"));
        return None;
    };
    reader.text(value, "`value`")
}

fn keys(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Vec<String>> {
    let Some(value) = given(node, "key") else {
        reader.complain(Code::ScenarioMissing, node, "`key` is missing: `press` needs it").help =
            Some("write `key: Enter`, `key: Control+A`, or a list of them".into());
        return None;
    };
    let items = match &value.kind {
        NodeKind::List(items) => items.iter().collect(),
        _ => vec![value],
    };
    let mut keys = Vec::new();
    for item in items {
        let text = reader.text(item, "`key`")?;
        if !text.contains('{')
            && let Err(reason) = chord::parse(&text)
        {
            reader.complain(Code::ScenarioValue, item, reason);
        }
        keys.push(text);
    }
    Some(keys)
}

fn goal(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<WaitGoal> {
    let optional = |reader: &mut NodeReader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.text(value, &format!("`{key}`")))
    };
    let number = |value: &YamlNode| value.scalar_text().and_then(|text| text.trim().parse::<u64>().ok());
    let count = given(node, "count").and_then(|value| {
        let count = number(value);
        if count.is_none() {
            reader.mistyped(value, "`count`", "a number");
        }
        count
    });
    let hidden = given(node, "hidden").is_some_and(|value| {
        let flag = value.to_json().as_bool();
        if flag.is_none() {
            reader.mistyped(value, "`hidden`", "true or false");
        }
        flag.unwrap_or_default()
    });
    let goal = WaitGoal {
        selector: given(node, "selector").and_then(|_| selector(reader, node, "`wait`")),
        hidden,
        count,
        text: optional(reader, "text"),
        text_absent: optional(reader, "text_absent"),
        url: optional(reader, "url"),
    };
    if goal == (WaitGoal { hidden, count, ..WaitGoal::default() }) {
        let message = "`wait` has no condition: write `selector`, `text`, `text_absent` or `url`";
        reader.complain(Code::ScenarioMissing, node, message);
        return None;
    }
    Some(goal)
}

/// Reports keys of an `assert` action that do not fit.
fn check_asserted(reader: &mut NodeReader<'_>, node: &YamlNode) {
    for key in ["text", "text_absent"] {
        if let Some(value) = given(node, key) {
            reader.text(value, &format!("`{key}`"));
        }
    }
    if let Some(value) = given(node, "count") {
        let number = |text: &String| text.trim().parse::<u64>().is_ok() || !placeholders(text).is_empty();
        if !value.scalar_text().is_some_and(|text| number(&text)) {
            reader.mistyped(value, "`count`", "a number");
        }
    }
}

/// Assertions that the keys of an `assert` action imply.
pub fn implied(node: &YamlNode) -> Vec<Assertion> {
    if given(node, "action").and_then(YamlNode::text) != Some("assert") {
        return Vec::new();
    }
    let asserted = [
        ("text", Subject::Text, AssertionRule::Contains),
        ("text_absent", Subject::Text, AssertionRule::NotContains),
        ("count", Subject::Count, AssertionRule::Amount),
    ];
    let asserted = asserted.into_iter().filter_map(|(key, subject, rule)| {
        let text = given(node, key)?.scalar_text().unwrap_or_default();
        Some(Assertion { subject, path: None, rule, value: Value::from(text) })
    });
    asserted.collect()
}
