use indexmap::IndexMap;
use toml::de::{DeTable, DeValue};

use super::Text;
use crate::diag::{Code, Diagnostic, SourceId, SourceMap, Span};
use crate::value::{MAX_READ_DEPTH, Value, nested, too_deep};

/// A TOML value with its position.
#[derive(Clone, Debug)]
pub struct Node {
    /// Position.
    pub span: Span,
    /// The value.
    pub value: Raw,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A date or time, as it is written.
    Date(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A TOML table, in the order of the file.
pub type Table = IndexMap<String, Entry>;

/// A value in a table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Position of its key.
    pub key: Span,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Parses the source `id` as TOML, or returns all its syntax errors in order.
    pub fn parse(sources: &SourceMap, id: SourceId) -> Result<Self, Vec<Diagnostic>> {
        let text = sources.get(id).text.clone();
        if let Some((range, why)) = too_deep(&text) {
            let help = "close each `{` and `[`, or move the content to another file and read it with `read`";
            return Err(vec![Diagnostic::new(Code::Syntax, why).at(sources.span(id, range), "").help(help)]);
        }
        let (root, errors) = DeTable::parse_recoverable(&text);
        let mut found: Vec<Diagnostic> = errors
            .iter()
            .map(|error| {
                let range = error.span().unwrap_or(0..0);
                Diagnostic::new(Code::Syntax, error.message().replace('\n', ", "))
                    .at(sources.span(id, range), "")
                    .help("strings need quotes; tables are written `[name]`, lists `[a, b]`")
            })
            .collect();
        let span = sources.span(id, 0..0);
        let place = |range| sources.span(id, range);
        let node = Self { span, value: Raw::Table(table(root.get_ref(), &place, 1, &mut found)) };
        found.sort_by_key(Diagnostic::span);
        if found.is_empty() { Ok(node) } else { Err(found) }
    }

    /// Merges `over` into this value: tables are merged key by key, anything else is replaced.
    pub fn merge(&mut self, over: Self) {
        match (&mut self.value, over) {
            (Raw::Table(table), Self { value: Raw::Table(over), .. }) => {
                for (key, entry) in over {
                    if let Some(old) = table.get_mut(&key) {
                        old.key = entry.key;
                        old.node.merge(entry.node);
                    } else {
                        table.insert(key, entry);
                    }
                }
            }
            (_, over) => *self = over,
        }
    }

    /// The string, if it is one.
    pub fn text(&self) -> Option<Text> {
        match &self.value {
            Raw::Text(text) => Some(Text { text: text.clone(), span: self.span, quoted: true }),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Raw::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value as JSON; dates become text.
    pub fn to_value(&self) -> Value {
        match &self.value {
            Raw::Text(text) | Raw::Date(text) => Value::from(text.as_str()),
            Raw::Int(number) => Value::from(*number),
            Raw::Float(number) => Value::from(*number),
            Raw::Bool(truth) => Value::from(*truth),
            Raw::List(items) => items.iter().map(Self::to_value).collect(),
            Raw::Table(table) => {
                Value::Object(table.iter().map(|(key, entry)| (key.clone(), entry.node.to_value())).collect())
            }
        }
    }

    /// Name of its type with an article: `text`, `a number`, …
    pub fn noun(&self) -> &'static str {
        match self.value {
            Raw::Text(_) => "text",
            Raw::Int(_) => "a whole number",
            Raw::Float(_) => "a number",
            Raw::Bool(_) => "a boolean",
            Raw::Date(_) => "a date",
            Raw::List(_) => "a list",
            Raw::Table(_) => "a table",
        }
    }
}

type Place<'a> = dyn Fn(std::ops::Range<usize>) -> Span + 'a;

fn table(table: &DeTable<'_>, place: &Place<'_>, depth: usize, found: &mut Vec<Diagnostic>) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let node = Node {
                span: place(value.span()),
                value: raw(value.get_ref(), (place(value.span()), depth), place, found),
            };
            (key.get_ref().to_string(), Entry { key: place(key.span()), node })
        })
        .collect()
}

/// Converts the value at `span`, at the given nesting level.
fn raw(
    value: &DeValue<'_>,
    (span, depth): (Span, usize),
    place: &Place<'_>,
    found: &mut Vec<Diagnostic>,
) -> Raw {
    if depth >= MAX_READ_DEPTH && matches!(value, DeValue::Array(_) | DeValue::Table(_)) {
        found.push(
            Diagnostic::new(Code::Syntax, format!("this is {}", nested(MAX_READ_DEPTH)))
                .at(span, "")
                .help("move the content to another file and read it with `read`"),
        );
        return Raw::Bool(false);
    }
    let mut bad = |what: &str| {
        found.push(
            Diagnostic::new(Code::Syntax, format!("{what} is too large"))
                .at(span, "")
                .help("write it as text"),
        );
    };
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            Raw::Int(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or_else(|_| {
                bad("the number");
                0
            }))
        }
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) if number.is_finite() => Raw::Float(number),
            _ => {
                bad("the number");
                Raw::Float(0.0)
            }
        },
        DeValue::Boolean(truth) => Raw::Bool(*truth),
        DeValue::Datetime(date) => Raw::Date(date.to_string()),
        DeValue::Array(items) => Raw::List(
            items
                .iter()
                .map(|item| {
                    let span = place(item.span());
                    Node { span, value: raw(item.get_ref(), (span, depth + 1), place, found) }
                })
                .collect(),
        ),
        DeValue::Table(inner) => Raw::Table(table(inner, place, depth + 1, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_merge_and_all_syntax_errors_are_reported() {
        let mut sources = SourceMap::new();
        let base = sources.add("a.toml", "x = 1\n[t]\na = 1\nb = [1]\n");
        let over = sources.add("b.toml", "[t]\nb = [2, 3]\nc = 'n'\n");
        let mut node = Node::parse(&sources, base).unwrap();
        node.merge(Node::parse(&sources, over).unwrap());
        assert_eq!(node.to_value(), json!({"x": 1, "t": {"a": 1, "b": [2, 3], "c": "n"}}));
        for (nested, fits) in [
            (format!("x = {}1{}", "[".repeat(63), "]".repeat(63)), true),
            (format!("x = {}1{}", "[".repeat(64), "]".repeat(64)), false),
            (format!("x = {}1{}", "[".repeat(5_000), "]".repeat(5_000)), false),
            (format!("[x{0}]\ny{0} = [[[1]]]", ".a".repeat(40)), false),
        ] {
            let text = sources.add("deep.toml", nested);
            let read = Node::parse(&sources, text);
            assert_eq!(read.is_ok(), fits);
            assert!(fits || read.unwrap_err().iter().all(|error| error.span().is_some()));
        }
        let bad = sources.add("c.toml", "a = \nb = 1 2\nc = 99999999999999999999\n");
        let errors = Node::parse(&sources, bad).unwrap_err();
        assert!(errors.len() >= 3, "{errors:?}");
        assert!(errors.is_sorted_by_key(Diagnostic::span));
    }
}
