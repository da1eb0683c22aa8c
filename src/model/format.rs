//! The canonical form of a TOML file: one entry per line, aligned `=`, and no inline table that makes a
//! line too long.

use std::ops::Range;

use toml_edit::{Document, Item, Table, Value};

use super::{Node, Raw};
use crate::diag::SourceMap;

/// Inline tables that make a line longer than this become dotted keys.
const WIDTH: usize = 100;
/// Longest line with an aligned `=`.
const MOST_WIDTH: usize = 120;
/// Longest line for which comments are aligned.
const COMMENTED: usize = 60;

/// Why a file was not formatted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFormatted {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// The result would have another meaning. This is a bug of the formatter; the file is not changed.
    #[error("formatting would change the meaning of the file; please report this bug with the file")]
    Changed,
}

/// The canonical form of `text`, with the same meaning and comments.
pub fn formatted(text: &str) -> Result<String, NotFormatted> {
    let syntax = |error: toml_edit::TomlError| NotFormatted::Syntax(error.to_string().trim_end().to_owned());
    let document = Document::parse(text).map_err(syntax)?;
    let mut entries = Vec::new();
    gather(document.as_table(), text, &mut entries);
    entries.sort_by_key(|entry: &Entry| entry.lines.start);
    let made = written(&lines(text, entries));
    if same(text, &made) { Ok(made) } else { Err(NotFormatted::Changed) }
}

/// A line of the result that may still change.
enum Line {
    Blank,
    /// A comment or a header, as written.
    Text(String),
    Entry(Box<Entry>),
}

/// `key = value`, and a comment after it.
struct Entry {
    /// Byte range of its lines.
    lines: Range<usize>,
    key: String,
    value: String,
    /// The value, if it is an inline table that may be split.
    table: Option<Value>,
    comment: Option<String>,
}

/// Collects all entries of a table that are written on separate lines.
fn gather(table: &Table, text: &str, entries: &mut Vec<Entry>) {
    for (name, item) in table {
        match item {
            Item::Table(inner) => gather(inner, text, entries),
            Item::ArrayOfTables(inner) => inner.iter().for_each(|inner| gather(inner, text, entries)),
            Item::Value(value) => {
                let key = table.key(name).and_then(toml_edit::Key::span);
                entries.extend(key.zip(value.span()).map(|(key, value)| entry(text, &key, value)));
            }
            Item::None => {}
        }
    }
}

/// The entry whose last key and value are at these positions.
fn entry(text: &str, key: &Range<usize>, value: Range<usize>) -> Entry {
    let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[value.end..].find('\n').map_or(text.len(), |at| value.end + at);
    let comment = text[value.end..end].trim();
    let written = &text[value];
    let parsed = written.parse::<Value>().ok();
    let whole = parsed.filter(|value| !has_comments(value));
    let keeps_lines = written.contains('\n') && !written.starts_with('{');
    let canonical = whole.as_ref().filter(|_| !keeps_lines).map(canonical);
    Entry {
        lines: start..end,
        key: key_text(&text[start..key.end]),
        value: canonical.unwrap_or_else(|| written.to_owned()),
        table: whole.filter(|value| value.as_inline_table().is_some_and(|table| !table.is_empty())),
        comment: (!comment.is_empty()).then(|| comment.to_owned()),
    }
}

/// A dotted key without white space around its dots.
fn key_text(written: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    for c in written.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c.is_whitespace() => continue,
            _ => {}
        }
        text.push(c);
    }
    text
}

/// Whether a value contains a comment.
fn has_comments(value: &Value) -> bool {
    let says = |raw: Option<&toml_edit::RawString>| {
        raw.and_then(toml_edit::RawString::as_str).is_some_and(|text| text.contains('#'))
    };
    let around = |decor: &toml_edit::Decor| says(decor.prefix()) || says(decor.suffix());
    let inside = match value {
        Value::Array(array) => says(Some(array.trailing())) || array.iter().any(has_comments),
        Value::InlineTable(table) => {
            says(Some(table.trailing()))
                || table.get_values().iter().any(|(keys, value)| {
                    let keys = keys.iter().any(|key| around(key.leaf_decor()) || around(key.dotted_decor()));
                    keys || has_comments(value)
                })
        }
        _ => false,
    };
    inside || around(value.decor())
}

/// A value in one line, if none of its texts has several.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(array) => {
            let items: Vec<String> = array.iter().map(canonical).collect();
            format!("[{}]", items.join(", "))
        }
        Value::InlineTable(table) if table.is_empty() => "{}".to_owned(),
        Value::InlineTable(table) => {
            let entries = table.get_values();
            let entry = |(keys, value): &(Vec<&toml_edit::Key>, &Value)| {
                format!("{} = {}", dotted(keys), canonical(value))
            };
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.clone().decorated("", "").to_string(),
    }
}

fn dotted(keys: &[&toml_edit::Key]) -> String {
    keys.iter().map(|key| key.display_repr().into_owned()).collect::<Vec<_>>().join(".")
}

/// The lines of the file, with parsed entries.
fn lines(text: &str, entries: Vec<Entry>) -> Vec<Line> {
    let (mut lines, mut at) = (Vec::new(), 0);
    for entry in entries {
        between(text.get(at..entry.lines.start).unwrap_or_default(), &mut lines);
        at = (entry.lines.end + 1).min(text.len());
        lines.push(Line::Entry(Box::new(entry)));
    }
    between(&text[at..], &mut lines);
    while matches!(lines.last(), Some(Line::Blank)) {
        lines.pop();
    }
    lines
}

/// Adds comments, headers and blank lines. Several blank lines become one.
fn between(text: &str, lines: &mut Vec<Line>) {
    for line in text.lines().map(str::trim) {
        if !line.is_empty() {
            lines.push(Line::Text(header(line).unwrap_or_else(|| line.to_owned())));
        } else if !matches!(lines.last(), None | Some(Line::Blank)) {
            lines.push(Line::Blank);
        }
    }
}

/// A header without white space in its brackets.
fn header(line: &str) -> Option<String> {
    let brackets = if line.starts_with("[[") { 2 } else { 1 };
    let inner = line.strip_prefix(&"[["[..brackets])?;
    let mut quote = None;
    let end = inner.find(|c: char| {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => return quote.is_none() && c == ']',
        }
        false
    })?;
    let rest = inner.get(end + brackets..)?.trim();
    let rest = if rest.is_empty() { String::new() } else { format!("  {rest}") };
    Some(format!("{}{}{}{rest}", &"[["[..brackets], key_text(&inner[..end]), &"]]"[..brackets]))
}

fn written(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut block = Vec::new();
    for line in lines {
        let line = match line {
            Line::Entry(entry) => {
                block.push(entry.as_ref());
                continue;
            }
            Line::Blank => "",
            Line::Text(line) => line,
        };
        text.push_str(&aligned(&std::mem::take(&mut block)));
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&aligned(&block));
    text
}

/// Formats consecutive entries with aligned `=` and comments. Tables that are too long are split.
fn aligned(block: &[&Entry]) -> String {
    let rows = block.iter().map(|entry| Row {
        key: entry.key.clone(),
        value: entry.value.clone(),
        table: entry.table.clone(),
        comment: entry.comment.clone(),
    });
    let mut rows: Vec<Row> = rows.collect();
    let width = |text: &str| text.chars().count();
    loop {
        let keys = rows.iter().map(|row| width(&row.key)).max().unwrap_or(0);
        let too_long = |row: &Row| {
            let value = width(&row.value) + 3;
            row.value.contains('\n') || width(&row.key) + value > WIDTH || keys + value > MOST_WIDTH
        };
        let Some(at) = rows.iter().position(|row| row.table.is_some() && too_long(row)) else { break };
        let row = rows.remove(at);
        rows.splice(at..at, row.apart());
    }
    let keys = rows.iter().map(|row| width(&row.key)).max().unwrap_or(0);
    let starts: Vec<String> = rows
        .iter()
        .map(|row| format!("{}{} = {}", row.key, " ".repeat(keys - width(&row.key)), row.value))
        .collect();
    let last_width = |text: &String| width(text.rsplit('\n').next().unwrap_or_default());
    let commented = starts.iter().zip(&rows).filter(|(_, row)| row.comment.is_some());
    let widths = commented.map(|(start, _)| last_width(start));
    let column = widths.filter(|width| *width <= COMMENTED).max().unwrap_or(0);
    let mut text = String::new();
    for (start, row) in starts.iter().zip(&rows) {
        text.push_str(start);
        if let Some(comment) = &row.comment {
            text.push_str(&" ".repeat(column.saturating_sub(last_width(start)) + 2));
            text.push_str(comment);
        }
        text.push('\n');
    }
    text
}

/// A line of a block.
struct Row {
    key: String,
    value: String,
    table: Option<Value>,
    comment: Option<String>,
}

impl Row {
    /// Splits the row into one row per entry of its table; the comment stays with the first.
    fn apart(self) -> Vec<Self> {
        let Self { key, table, mut comment, .. } = self;
        let Some(Value::InlineTable(table)) = table else { return Vec::new() };
        let row = |(keys, value): (Vec<&toml_edit::Key>, &Value)| {
            let inner = value.as_inline_table().is_some_and(|table| !table.is_empty());
            Self {
                key: format!("{key}.{}", dotted(&keys)),
                value: canonical(value),
                table: inner.then(|| value.clone()),
                comment: comment.take(),
            }
        };
        table.get_values().into_iter().map(row).collect()
    }
}

/// Whether both texts mean the same, in the same order, and have the same comments.
fn same(before: &str, after: &str) -> bool {
    let mut sources = SourceMap::new();
    let mut parse = |text: &str| {
        let id = sources.add("", text);
        Node::parse(&sources, id).ok()
    };
    let equal = parse(before).zip(parse(after)).is_some_and(|(before, after)| equal(&before, &after));
    equal && comments(before) == comments(after)
}

fn equal(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Raw::Text(one), Raw::Text(other)) | (Raw::Date(one), Raw::Date(other)) => one == other,
        (Raw::Int(one), Raw::Int(other)) => one == other,
        (Raw::Float(one), Raw::Float(other)) => one.to_bits() == other.to_bits(),
        (Raw::Bool(one), Raw::Bool(other)) => one == other,
        (Raw::List(one), Raw::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Raw::Table(one), Raw::Table(other)) => {
            let pairs = one.iter().zip(other);
            let mut equal =
                pairs.map(|((key, one), (name, other))| key == name && equal(&one.node, &other.node));
            one.len() == other.len() && equal.all(|equal| equal)
        }
        _ => false,
    }
}

/// All comments, in order.
fn comments(text: &str) -> Vec<&str> {
    let source = toml_parser::Source::new(text);
    let comment = |token: toml_parser::lexer::Token| {
        let span = token.span();
        (token.kind() == toml_parser::lexer::TokenKind::Comment)
            .then(|| text[span.start()..span.end()].trim_end())
    };
    source.lex().filter_map(comment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(text: &str) -> String {
        let once = formatted(text).unwrap();
        assert_eq!(formatted(&once).unwrap(), once, "not idempotent");
        once
    }

    #[test]
    fn entries_are_aligned_and_comments_stay() {
        let text = "# top\n\n\n\natoll=1 # version\n[ steps . \"a b\" ]   # step\nset={x=1,y = [1,2 , 3,]}\n  when =  'true'\n\n\n";
        let made = "# top\n\natoll = 1  # version\n[steps.\"a b\"]  # step\nset  = { x = 1, y = [1, 2, 3] }\nwhen = 'true'\n";
        assert_eq!(twice(text), made);
    }

    #[test]
    fn long_inline_tables_become_dotted_keys() {
        let long = "x".repeat(70);
        let text = format!(
            "[steps.a]\nretry = {{ max = 1 }}\nllm = {{ model = 'm', with.a = {{ b = '{long}', c = {{}} }}, p = \"{long}\" }} # why\n"
        );
        let made = format!(
            "[steps.a]\nretry        = {{ max = 1 }}\nllm.model    = 'm'  # why\nllm.with.a.b = '{long}'\nllm.with.a.c = {{}}\nllm.p        = \"{long}\"\n"
        );
        let got = twice(&text);
        assert!(got.lines().all(|line| line.len() <= 100), "{got}");
        assert_eq!(got, made);
    }

    #[test]
    fn what_has_lines_of_its_own_keeps_them() {
        let text = "a = [ # first\n  1, # one\n  2,\n]\nlong = '''\n  x = 1 # no comment\n'''\nb.c = \"\"\"\ny\"\"\" # end\n";
        let made = "a    = [ # first\n  1, # one\n  2,\n]\nlong = '''\n  x = 1 # no comment\n'''\nb.c  = \"\"\"\ny\"\"\"  # end\n";
        assert_eq!(twice(text), made);
        assert_eq!(twice(""), "");
        assert!(matches!(formatted("a = \n"), Err(NotFormatted::Syntax(_))));
    }
}
