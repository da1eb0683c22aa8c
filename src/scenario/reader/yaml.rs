//! YAML as a tree in which every node has its byte range in the text.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use crate::scenario::values::json;
use crate::scenario::values::variables::as_text;
use crate::value::{MAX_READ_DEPTH, Value, nested};

/// Stack size for parsing, in bytes: the library needs tens of kilobytes for each level.
const STACK: usize = 32 << 20;

thread_local! {
    /// Number of open lists and mappings in the text that this thread parses.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// A node and its position in the text.
#[derive(Clone, Debug)]
pub struct YamlNode {
    /// Bytes of the scalar; the first byte of a list or mapping.
    pub at: Range<usize>,
    /// Content.
    pub kind: NodeKind,
    /// Source text of a scalar that YAML does not read as text: `1.10`, `0x1F`, `~`.
    pub written: Option<String>,
    /// Position of that text, which differs from `at` for an alias.
    defined: Range<usize>,
}

/// Content of a node.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A scalar, as JSON: text, number, boolean or null. Dates stay text.
    Scalar(Value),
    /// A list.
    List(Vec<YamlNode>),
    /// A mapping, in the order in which it was written.
    Table(Vec<(YamlNode, YamlNode)>),
}

/// Syntax error in YAML.
#[derive(Debug)]
pub struct YamlError {
    /// Position, if it is known.
    pub at: Range<usize>,
    /// Message of the parser.
    pub message: String,
}

/// The documents of `text` that are not empty. Text that is nested too deeply is refused.
pub fn parse(text: &str) -> Result<Vec<YamlNode>, YamlError> {
    std::thread::scope(|threads| {
        let reading = std::thread::Builder::new().stack_size(STACK).spawn_scoped(threads, || documents(text));
        match reading {
            Ok(reading) => reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                Err(YamlError { at: 0..0, message: format!("the YAML parser could not start: {error}") })
            }
        }
    })
}

fn documents(text: &str) -> Result<Vec<YamlNode>, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 100_000, max_depth: MAX_READ_DEPTH },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        with_snippet: false,
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        emit_comments: false,
    };
    let mut documents: Vec<YamlNode> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| broken(text, &error))?;
    documents.iter_mut().for_each(|node| node.note_written(text));
    Ok(documents)
}

fn broken(text: &str, error: &Error) -> YamlError {
    let at = error.location().map_or(0..0, |location| match bytes(location) {
        known if known.start > 0 => known,
        _ => offset(text, location),
    });
    let mut cause = error.without_snippet();
    while let Error::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    let is_deep =
        matches!(cause, Error::Budget { breach: serde_saphyr::budget::BudgetBreach::Depth { .. }, .. });
    if is_deep {
        return YamlError { at: clamp(at, text.len()), message: nested(MAX_READ_DEPTH) };
    }
    // The message of the library includes the position, which the diagnostic shows anyway.
    let message = cause.to_string();
    let message = message.lines().next().unwrap_or_default();
    let message = place_words().map_or(message.into(), |words| words.replace_all(message, ""));
    YamlError { at: clamp(at, text.len()), message: message.trim().to_owned() }
}

fn place_words() -> Option<regex::Regex> {
    regex::Regex::new(r"(^error: )|(\s*(\(| )?(at )?line \d+,? column \d+\)?:?)").ok()
}

/// The byte offset of a line and column, for locations without an offset.
fn offset(text: &str, location: Location) -> Range<usize> {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    let lines = text.split_inclusive('\n').take(number(location.line()));
    let start = lines.map(str::len).sum::<usize>().min(text.len());
    let line = text[start..].lines().next().unwrap_or_default();
    let column = line.char_indices().nth(number(location.column())).map_or(line.len(), |(at, _)| at);
    start + column..start + column
}

fn clamp(at: Range<usize>, len: usize) -> Range<usize> {
    let start = at.start.min(len);
    start..at.end.clamp(start, len)
}

fn bytes(location: Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let length = span.byte_len().and_then(|len| usize::try_from(len).ok()).unwrap_or(0);
    start..start + length
}

impl YamlNode {
    /// A mapping that is built from parts of another one.
    pub fn table(at: Range<usize>, entries: Vec<(Self, Self)>) -> Self {
        Self { defined: at.clone(), at, kind: NodeKind::Table(entries), written: None }
    }

    /// A list at a position.
    pub fn list(at: Range<usize>, items: Vec<Self>) -> Self {
        Self { defined: at.clone(), at, kind: NodeKind::List(items), written: None }
    }

    /// A text at a position.
    pub fn word(at: Range<usize>, text: impl Into<String>) -> Self {
        Self { defined: at.clone(), at, kind: NodeKind::Scalar(Value::String(text.into())), written: None }
    }

    /// Null at a position.
    pub fn null(at: Range<usize>) -> Self {
        Self { defined: at.clone(), at, kind: NodeKind::Scalar(Value::Null), written: None }
    }

    /// The node and everything in it at position `to`, because it comes from another text.
    #[must_use]
    pub fn moved(self, to: &Range<usize>) -> Self {
        let kind = match self.kind {
            NodeKind::Scalar(value) => NodeKind::Scalar(value),
            NodeKind::List(items) => NodeKind::List(items.into_iter().map(|item| item.moved(to)).collect()),
            NodeKind::Table(entries) => NodeKind::Table(
                entries.into_iter().map(|(key, value)| (key.moved(to), value.moved(to))).collect(),
            ),
        };
        Self { at: to.clone(), defined: to.clone(), kind, written: self.written }
    }

    fn note_written(&mut self, text: &str) {
        match &mut self.kind {
            NodeKind::Scalar(Value::String(_)) => {}
            NodeKind::Scalar(value) => {
                let written = text.get(self.defined.clone()).unwrap_or_default().trim();
                let is_null = matches!(written, "" | "~" | "null" | "Null" | "NULL");
                if let (Value::Number(_), Some(whole)) = (&*value, json::whole_number(written)) {
                    *value = whole;
                } else if value.is_null() && !is_null {
                    // Not a machine number: too large, too long, or infinite.
                    *value = json::number(written).unwrap_or_else(|| written.into());
                } else if let (Value::Number(_), Some(exact)) = (&*value, json::number(written)) {
                    *value = exact;
                }
                self.written = Some(written.to_owned());
            }
            NodeKind::List(items) => items.iter_mut().for_each(|item| item.note_written(text)),
            NodeKind::Table(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.note_written(text);
                value.note_written(text);
            }),
        }
    }

    /// Name of its type for messages.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(Value::Null) => "nothing",
            NodeKind::Scalar(Value::Bool(_)) => "true/false",
            NodeKind::Scalar(Value::String(_)) => "text",
            NodeKind::Scalar(_) => "a number",
            NodeKind::List(_) => "a list",
            NodeKind::Table(_) => "a mapping",
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Scalar(Value::Null))
    }

    /// The text, if it is a text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The source text of a scalar: `1.10`, `0x1F`, `~`. `None` for null.
    pub fn scalar_text(&self) -> Option<String> {
        match (&self.kind, &self.written) {
            (NodeKind::Scalar(_), Some(written)) => (!written.is_empty()).then(|| written.clone()),
            (NodeKind::Scalar(Value::String(text)), None) => Some(text.clone()),
            (NodeKind::Scalar(value), None) => (!value.is_null()).then(|| value.to_string()),
            (NodeKind::List(_) | NodeKind::Table(_), _) => None,
        }
    }

    /// A value that is used as text in the end: a scalar whose text would differ from its source is the
    /// source text.
    pub fn to_text_or_json(&self) -> Value {
        let json = self.to_json();
        match &self.written {
            Some(written) if as_text(&json) != *written => written.as_str().into(),
            _ => json,
        }
    }

    /// The value of the key `key` of a mapping.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        match &self.kind {
            NodeKind::Table(entries) => {
                entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The node as JSON. Keys that are not text become text.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeKind::Table(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| (key.scalar_text().unwrap_or_else(|| "null".into()), value.to_json()))
                    .collect(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<NodeKind>::deserialize(deserializer)?;
        let (at, defined) = (bytes(spanned.referenced), bytes(spanned.defined));
        Ok(Self { at, kind: spanned.value, written: None, defined })
    }
}

impl<'de> Deserialize<'de> for NodeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

/// An open list or mapping. Those that an alias repeats count, too.
struct NestingGuard;

impl NestingGuard {
    fn enter<E: de::Error>() -> Result<Self, E> {
        let open = OPEN.get() + 1;
        OPEN.set(open);
        let level = Self;
        if open > MAX_READ_DEPTH { Err(E::custom(nested(MAX_READ_DEPTH))) } else { Ok(level) }
    }
}

impl Drop for NestingGuard {
    fn drop(&mut self) {
        OPEN.set(OPEN.get() - 1);
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = NodeKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(json::number(&value.to_string()).unwrap_or_default()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(json::number(&value.to_string()).unwrap_or_default()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeKind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeKind, A::Error> {
        let _level = NestingGuard::enter()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(NodeKind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeKind, A::Error> {
        let _level = NestingGuard::enter()?;
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(NodeKind::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(node: &YamlNode, text: &str, out: &mut Vec<(String, usize)>) {
        out.push((text[node.at.clone()].to_owned(), node.at.start));
        match &node.kind {
            NodeKind::Scalar(_) => {}
            NodeKind::List(items) => items.iter().for_each(|item| places(item, text, out)),
            NodeKind::Table(entries) => entries.iter().for_each(|(key, value)| {
                places(key, text, out);
                places(value, text, out);
            }),
        }
    }

    #[test]
    fn every_node_knows_where_it_stands() {
        let text = "id: ä-x\nsteps:\n  - weight: 2\n    body: {a: [1, \"two\"], when: 2024-01-02}\n";
        let node = parse(text).map_err(|e| e.message).unwrap().remove(0);
        let mut out = Vec::new();
        places(&node, text, &mut out);
        for (word, _) in [("id", 0), ("ä-x", 4), ("weight", 0), ("2", 0), ("2024-01-02", 0)] {
            assert!(out.iter().any(|(found, _)| found == word), "{word}: {out:?}");
        }
        assert_eq!(
            node.to_json().to_string(),
            r#"{"id":"ä-x","steps":[{"weight":2,"body":{"a":[1,"two"],"when":"2024-01-02"}}]}"#
        );
    }

    #[test]
    fn scalars_are_known_as_they_are_written() {
        let plain = [
            "1.10",
            "07030",
            "1.0",
            "1e3",
            "0x1F",
            "0o17",
            ".5",
            "1_000",
            "yes",
            "no",
            "on",
            "~",
            "null",
            "True",
            "+1",
            "-0",
            ".inf",
            "-.INF",
            ".nan",
            "1e999",
            "2024-01-02",
            "12:30:00",
            "1.",
            "123456789012345678901234567890",
            "99999999999999999999999999999999999999999999",
            "0.1000000000000000055511",
        ];
        for written in plain {
            for text in
                [format!("[{written}]"), format!("- {written}  # a note\n"), format!("[&x {written}]")]
            {
                let node = parse(&text).map_err(|e| e.message).unwrap().remove(0);
                let NodeKind::List(items) = &node.kind else { unreachable!() };
                assert_eq!(items[0].scalar_text().as_deref(), Some(written), "{text}");
                let value = items[0].to_text_or_json();
                assert_eq!(as_text(&value), written, "{text}: {value}");
            }
        }
        let node =
            parse("{a: &x 1.10, b: *x, 2.0: c, d: '1.10', e: !!str 1.10, f: , g: 3}").map_err(|e| e.message);
        let node = node.unwrap().remove(0);
        let text = |key: &str| node.get(key).unwrap().scalar_text();
        assert_eq!(["a", "b", "d", "e"].map(|key| text(key).unwrap()), ["1.10"; 4].map(str::to_owned));
        assert_eq!((text("f"), text("g")), (None, Some("3".to_owned())));
        assert_eq!(node.to_json()["2.0"], "c");
        assert_eq!(
            (node.get("a").unwrap().to_json(), node.get("g").unwrap().to_text_or_json()),
            (1.1.into(), 3.into())
        );
    }

    #[test]
    fn json_keeps_its_types_and_big_numbers() {
        let text = "[1.10, 0x1F, 1e3, true, ~, 9007199254740993, 18446744073709551615, 123456789012345678901234567890, 07030, -07, 00, +1, 100000000000000000000]";
        let node = parse(text).map_err(|e| e.message).unwrap().remove(0);
        assert_eq!(
            json::text(&node.to_json()),
            "[1.1,31,1000.0,true,null,9007199254740993,18446744073709551615,123456789012345678901234567890,7030,-7,0,1,100000000000000000000]"
        );
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused_in_every_style_and_never_overflows_the_stack() {
        let block = |levels: usize| {
            let line = |level: usize| format!("{}a:\n", " ".repeat(level));
            (0..levels).map(line).collect::<String>()
        };
        let dashes = |levels: usize| format!("{}1\n", "- ".repeat(levels));
        let lists = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let tables = |levels: usize| format!("{}1{}", "{a: ".repeat(levels), "}".repeat(levels));
        let keys = |levels: usize| format!("{}1\n", "? - ".repeat(levels / 2));
        for levels in [10, 60, 64] {
            for text in [block(levels), dashes(levels), lists(levels), tables(levels), keys(levels)] {
                assert!(parse(&text).is_ok(), "{levels}: {text:.40}");
            }
        }
        for levels in [66, 100, 127, 130, 5_000] {
            for text in [block(levels), dashes(levels), lists(levels), tables(levels), keys(levels)] {
                assert!(parse(&text).is_err(), "{levels}: {text:.40}");
            }
        }
        let broken = parse(&block(70)).unwrap_err();
        assert_eq!(broken.message, "nested more than 64 levels deep");
        assert!(broken.at.start > 1_000, "it has a position: {:?}", broken.at);
        // An alias inside a list is one level deeper than what it repeats.
        let levels = |first: usize| {
            let wrap = |inner: &str| format!("{}{inner}{}", "[".repeat(first), "]".repeat(first));
            format!("a: &a {}\nb: &b {}\nc: {}\n", wrap("1"), wrap("*a"), wrap("*b"))
        };
        assert!(parse(&levels(20)).is_ok());
        assert_eq!(parse(&levels(30)).unwrap_err().message, "nested more than 64 levels deep");
    }

    #[test]
    fn broken_text_says_where_and_what() {
        for (text, at) in [("id: [1, 2\nsteps: x\n", 11), ("a: 1\na: 2\n", 5), ("a: b: c\n", 4)] {
            let broken = parse(text).expect_err(text);
            assert!(!broken.message.is_empty() && !broken.message.contains("line"), "{}", broken.message);
            assert!(broken.at.start.abs_diff(at) <= 8, "{text:?} {:?} {}", broken.at, broken.message);
        }
    }
}
