use std::time::Duration;

use super::step::{Check, TimeLimit};
use super::{Entry, Name, Node, Raw, Table, Text};
use crate::diag::{Code, Diagnostic, Span};
use crate::duration;
use crate::id::StepId;

/// Reads the keys of one table, each once. Reports wrong types, and at the end unknown keys.
pub(super) struct Fields<'a> {
    table: Table,
    at: Span,
    what: &'static str,
    known: Vec<&'static str>,
    /// Keys that are written, with any value.
    written: Vec<&'static str>,
    /// Whether the value is not a table.
    broken: bool,
    found: &'a mut Vec<Diagnostic>,
}

impl<'a> Fields<'a> {
    /// A reader for `node`, the value of the key at `at`. Messages use the name `what`.
    pub(super) fn new(node: Node, at: Span, what: &'static str, found: &'a mut Vec<Diagnostic>) -> Self {
        let broken = !matches!(node.value, Raw::Table(_));
        let table = if let Raw::Table(table) = node.value {
            table
        } else {
            let message = format!("{what} must be a table, but is {}", node.noun());
            let complaint = Diagnostic::new(Code::WrongType, message);
            found.push(complaint.at(node.span, "expected a table").help("write a table"));
            Table::new()
        };
        Self { table, at, what, known: Vec::new(), written: Vec::new(), broken, found }
    }

    /// Whether `key`, which was read before, exists or may exist: an invalid value has its own diagnostic.
    pub(super) fn has(&self, key: &str) -> bool {
        self.broken || self.written.contains(&key)
    }

    /// Whether the value is a table.
    pub(super) fn is_table(&self) -> bool {
        !self.broken
    }

    /// Diagnostics.
    pub(super) fn found(&mut self) -> &mut Vec<Diagnostic> {
        self.found
    }

    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry> {
        self.known.push(key);
        let entry = self.table.shift_remove(key)?;
        self.written.push(key);
        Some(entry)
    }

    pub(super) fn node(&mut self, key: &'static str) -> Option<Node> {
        self.entry(key).map(|entry| entry.node)
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str) -> Option<Text> {
        let node = self.node(key)?;
        let text = node.text();
        if text.is_none() {
            self.found.push(wrong(&node, key, "text"));
        }
        text
    }

    /// An expression: text, or a literal number or boolean.
    pub(super) fn expr(&mut self, key: &'static str) -> Option<Text> {
        let node = self.node(key)?;
        expression(&node, key, self.found)
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Text> {
        self.list(key, |item, key, found| {
            let text = item.text();
            if text.is_none() {
                found.push(wrong(item, key, "text"));
            }
            text
        })
    }

    /// A list of conditions, each an expression, or a table with a message for the failure.
    pub(super) fn checks(&mut self, key: &'static str) -> Vec<Check> {
        self.list(key, |item, key, found| {
            if !matches!(item.value, Raw::Table(_)) {
                return expression(item, key, found).map(|that| Check { that, otherwise: None });
            }
            let mut fields = Fields::new(item.clone(), item.span, "a check", found);
            let that = fields.expr("that");
            let that = fields.need("that", that, "write the condition: `that = \"output.ok\"`");
            let otherwise = fields.text("else");
            let hint = "write a message: `else = \"the sum is {{ output.sum }}\"`";
            let otherwise = fields.need("else", otherwise, hint);
            fields.finish();
            Some(Check { that: that?, otherwise })
        })
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node, &str, &mut Vec<Diagnostic>) -> Option<T>,
    ) -> Vec<T> {
        match self.node(key) {
            None => Vec::new(),
            Some(Node { value: Raw::List(items), .. }) => {
                items.iter().filter_map(|item| read(item, key, self.found)).collect()
            }
            Some(node) => {
                let hint = node.text().map(|text| format!("write `{key} = [\"{}\"]`", text.text));
                let mut complaint = wrong(&node, key, "a list");
                complaint.help = hint.or(complaint.help);
                self.found.push(complaint);
                Vec::new()
            }
        }
    }

    /// A table of expressions by name.
    pub(super) fn named_exprs(&mut self, key: &'static str) -> Vec<(Name, Text)> {
        let entries = self.named(key);
        entries
            .into_iter()
            .map(|(name, node)| {
                let text = expression(&node, &name.text, self.found).unwrap_or_else(|| anything(node.span));
                (name, text)
            })
            .collect()
    }

    /// A table of any values by name; names that cannot be used in expressions are refused.
    pub(super) fn named(&mut self, key: &'static str) -> Vec<(Name, Node)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Raw::Table(table) = node.value else {
            self.found.push(wrong(&node, key, "a table"));
            return Vec::new();
        };
        let mut named = Vec::with_capacity(table.len());
        for (text, entry) in table {
            let name = Name { text, span: entry.key };
            if StepId::is_valid(&name.text) {
                named.push((name, entry.node));
                continue;
            }
            self.found.push(
                Diagnostic::new(Code::BadName, format!("`{}` cannot be a name under `{key}`", name.text))
                    .at(name.span, "")
                    .help("a name begins with a letter or `_`, then letters, digits, `_` and `-`"),
            );
        }
        named
    }

    pub(super) fn bool(&mut self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        if let Raw::Bool(truth) = node.value {
            return Some(truth);
        }
        self.found.push(wrong(&node, key, "`true` or `false`"));
        None
    }

    /// Span of a key whose value is `true`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<Span> {
        let Entry { key: at, node } = self.entry(key)?;
        if let Raw::Bool(truth) = node.value {
            return truth.then_some(at);
        }
        self.found.push(wrong(&node, key, "`true` or `false`"));
        None
    }

    /// A number.
    #[expect(clippy::cast_precision_loss, reason = "bounds of inputs; exact up to 2^53")]
    pub(super) fn number(&mut self, key: &'static str) -> Option<f64> {
        let node = self.node(key)?;
        match node.value {
            Raw::Int(number) => Some(number as f64),
            Raw::Float(number) => Some(number),
            _ => {
                self.found.push(wrong(&node, key, "a number"));
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn int(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        int(&node, key, range, self.found)
    }

    /// A duration.
    pub(super) fn span(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.text(key)?;
        let span = duration::parse(&text.text).ok();
        if span.is_none() {
            self.found.push(bad_span(&text));
        }
        span
    }

    /// A time limit, or an expression over inputs.
    pub(super) fn time_limit(&mut self, key: &'static str) -> Option<TimeLimit> {
        let written = self.table.get(key).map(|entry| &entry.node);
        if let Some(text) = written.and_then(Node::text).filter(|text| is_expression(&text.text)) {
            self.entry(key);
            return Some(TimeLimit::Expr(text));
        }
        let at = written.map(|node| node.span);
        let span = self.span(key);
        if let (Some(at), Some(Duration::ZERO)) = (at, span) {
            self.found.push(
                Diagnostic::new(Code::BadRange, format!("`{key}` is zero, so nothing could finish in time"))
                    .at(at, "")
                    .help("write a duration such as `30s`, or remove it"),
            );
        }
        span.map(TimeLimit::Span)
    }

    /// Reports a missing required key.
    pub(super) fn need<T>(&mut self, key: &'static str, value: Option<T>, hint: &str) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.found.push(
                Diagnostic::new(Code::MissingKey, format!("`{key}` is missing in {}", self.what))
                    .at(self.at, format!("add `{key}`"))
                    .help(hint),
            );
        }
        value
    }

    /// All entries that were not read.
    pub(super) fn rest(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }

    /// Reports keys that were not read.
    pub(super) fn finish(self) {
        for (key, entry) in &self.table {
            self.found.push(
                Diagnostic::new(Code::UnknownKey, format!("{} has no key `{key}`", self.what))
                    .at(entry.key, "unknown key")
                    .suggest(key, self.known.iter().copied()),
            );
        }
    }
}

/// A whole number within `range`.
pub(super) fn int(
    node: &Node,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
    found: &mut Vec<Diagnostic>,
) -> Option<i64> {
    match node.value {
        Raw::Int(number) if range.contains(&number) => Some(number),
        Raw::Int(number) => {
            let bounds = match *range.end() {
                i64::MAX => format!("it must be at least {}", range.start()),
                end => format!("it must be between {} and {end}", range.start()),
            };
            found.push(
                Diagnostic::new(Code::BadRange, format!("`{key}` cannot be {number}"))
                    .at(node.span, "")
                    .help(bounds),
            );
            None
        }
        _ => {
            found.push(wrong(node, key, "a whole number"));
            None
        }
    }
}

/// Whether a text that may be a plain word or duration is an expression, because it reads inputs or calls a
/// function.
pub(super) fn is_expression(text: &str) -> bool {
    duration::parse(text).is_err() && (text.contains("inputs") || text.contains(['(', '\'']))
}

fn expression(node: &Node, key: &str, found: &mut Vec<Diagnostic>) -> Option<Text> {
    let itself = |text: String| Some(Text { text, span: node.span, quoted: false });
    match &node.value {
        Raw::Text(text) => Some(Text { text: text.clone(), span: node.span, quoted: true }),
        Raw::Int(number) => itself(number.to_string()),
        Raw::Float(number) => itself(number.to_string()),
        Raw::Bool(truth) => itself(truth.to_string()),
        _ => {
            let mut complaint = wrong(node, key, "an expression");
            complaint.help =
                Some(format!("write it as an expression in quotes: \"{}\"", literal(&node.to_value())));
            found.push(complaint);
            None
        }
    }
}

/// An unknown expression in place of an invalid one, so that uses of the name are not errors.
pub(super) fn anything(span: Span) -> Text {
    Text { text: ANYTHING.to_owned(), span, quoted: false }
}

/// Text of an unknown expression.
pub const ANYTHING: &str = "'null' | fromjson";

/// The literal expression for `value`.
fn literal(value: &crate::value::Value) -> String {
    let text = value.to_string().replace('"', "'");
    if text.len() > 60 { "['a', 'b']".to_owned() } else { text }
}

pub(super) fn wrong(node: &Node, key: &str, expected: &str) -> Diagnostic {
    Diagnostic::new(Code::WrongType, format!("`{key}` must be {expected}, but is {}", node.noun()))
        .at(node.span, format!("expected {expected}"))
        .help(format!("write {expected}"))
}

pub(super) fn bad_span(text: &Text) -> Diagnostic {
    Diagnostic::new(Code::BadDuration, format!("`{}` is not a duration", text.text))
        .at(text.span, "")
        .help("write a number with a unit: `300ms`, `2s`, `1m30s`, `2h`")
}
