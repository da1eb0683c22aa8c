//! Files next to a scenario file. `{ file: NAME }` can be used for rows, bytes, messages, standard input
//! and schemas; it is replaced by the content of the file before anything else is read. This module does
//! not know where the files are stored.

use std::fmt::Debug;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::diag::{Code, Diagnostic, SourceId, SourceMap};
use crate::scenario::reader::yaml::{self, NodeKind, YamlNode};

/// Access to files that scenarios name.
pub trait Attachments: Debug + Send + Sync {
    /// The content of the file `name` below the directory of the scenario file `file`.
    fn read(&self, file: &str, name: &str) -> Result<Vec<u8>, String>;

    /// Whether another scenario file has referred to the file `name`, which has the name of a scenario file.
    fn is_named(&self, name: &str) -> bool;
}

/// Most bytes from files in the steps of one scenario file, counting all rows.
const MOST: usize = 64 << 20;

/// Most rows that are read here; the reader of the rows reports larger tables.
const ROWS: usize = 1_001;

/// Replaces all references in the scenario or fixture `node`, and reports those that cannot be read.
pub fn expand(
    node: &mut YamlNode,
    (sources, source): (&SourceMap, SourceId),
    files: Option<&dyn Attachments>,
) -> Vec<Diagnostic> {
    let mut expander = Expander { sources, source, files, complaints: Vec::new() };
    expander.scenario(node);
    expander.complaints
}

struct Expander<'s> {
    sources: &'s SourceMap,
    source: SourceId,
    files: Option<&'s dyn Attachments>,
    complaints: Vec<Diagnostic>,
}

impl Expander<'_> {
    fn complain(&mut self, code: Code, at: &Range<usize>, message: String) {
        let span = self.sources.span(self.source, at.clone());
        self.complaints.push(Diagnostic::new(code, message).at(span, ""));
    }

    fn scenario(&mut self, node: &mut YamlNode) {
        // Each row becomes a scenario with all steps.
        let (rows, _) = self.rows(node);
        let rows = rows.max(1);
        let mut held = 0_usize;
        for key in ["setup", "steps", "teardown"] {
            for step in list(node, key) {
                held = held.saturating_add(self.step(step));
            }
        }
        if held.saturating_mul(rows) > MOST {
            let message = format!("the files of all steps and rows have more than {MOST} bytes");
            let at = node.at.clone();
            self.complain(Code::ScenarioValue, &at, message);
        }
    }

    /// Expands a step. Returns the bytes from files in all of its rows.
    fn step(&mut self, step: &mut YamlNode) -> usize {
        let (rows, table) = self.rows(step);
        let mut held = self.action(step);
        for member in list(step, "parallel") {
            held = held.saturating_add(self.action(member));
        }
        if let Some(ws) = get(step, "ws") {
            if let Some(message) = get(ws, "send") {
                held = held.saturating_add(self.message(message));
            }
            for message in list(ws, "messages") {
                held = held.saturating_add(self.message(message));
            }
        }
        if let Some(browser) = get(step, "browser") {
            for file in list(browser, "files") {
                held = held.saturating_add(self.bytes(file));
            }
        }
        if let Some(assert) = get(step, "assert") {
            held = held.saturating_add(self.assertions(assert));
        }
        if let Some(until) = get(step, "until") {
            held = held.saturating_add(self.assertions(until));
        }
        held.saturating_mul(rows.max(1)).saturating_add(table)
    }

    /// Expands an action, which may be a member of `parallel`.
    fn action(&mut self, step: &mut YamlNode) -> usize {
        if let Some(request) = get(step, "request") {
            return self.request(request);
        }
        if let Some(exec) = get(step, "exec") {
            return get(exec, "stdin").map_or(0, |stdin| self.encoded(stdin, "base64"));
        }
        let Some(grpc) = get(step, "grpc") else { return 0 };
        let mut held = get(grpc, "body").map_or(0, |body| self.value(body));
        if let Some(stream) = get(grpc, "stream") {
            for message in list(stream, "messages") {
                held = held.saturating_add(self.value(message));
            }
        }
        held
    }

    /// Expands a WebSocket message: a file, or `{ bytes: … }` of a file.
    fn message(&mut self, message: &mut YamlNode) -> usize {
        let is_alone = matches!(&message.kind, NodeKind::Table(entries) if entries.len() == 1);
        let Some(bytes) = get(message, "bytes").filter(|_| is_alone) else {
            return self.encoded(message, "file");
        };
        let held = self.encoded(bytes, "base64");
        if bytes.is_null() {
            *message = YamlNode::null(message.at.clone());
        }
        held
    }

    fn request(&mut self, request: &mut YamlNode) -> usize {
        let mut held = self.bytes(request);
        for part in list(request, "multipart") {
            held = held.saturating_add(self.bytes(part));
        }
        held
    }

    fn assertions(&mut self, node: &mut YamlNode) -> usize {
        match &mut node.kind {
            NodeKind::List(items) => items.iter_mut().map(|item| self.assertions(item)).sum(),
            NodeKind::Table(_) => get(node, "json").map_or(0, |json| self.schemas(json)),
            NodeKind::Scalar(_) => 0,
        }
    }

    /// Expands the schemas of a `json` assertion: a list of entries, one entry, or a mapping by path.
    fn schemas(&mut self, json: &mut YamlNode) -> usize {
        if get(json, "path").is_some() {
            return self.schema(json);
        }
        match &mut json.kind {
            NodeKind::List(items) => items.iter_mut().map(|entry| self.schema(entry)).sum(),
            NodeKind::Table(entries) => entries.iter_mut().map(|(_, rules)| self.schema(rules)).sum(),
            NodeKind::Scalar(_) => 0,
        }
    }

    fn schema(&mut self, rules: &mut YamlNode) -> usize {
        get(rules, "schema").map_or(0, |schema| self.value(schema))
    }

    /// Expands a value that may come from a JSON or YAML file.
    fn value(&mut self, value: &mut YamlNode) -> usize {
        let Some(name) = reference(value) else { return 0 };
        let at = value.at.clone();
        let Some(text) = self.text(&at, &name) else { return 0 };
        if let Some(made) = self.document(&at, &name, &text) {
            *value = made;
        }
        text.len()
    }

    fn bytes(&mut self, holder: &mut YamlNode) -> usize {
        get(holder, "bytes").map_or(0, |bytes| self.encoded(bytes, "base64"))
    }

    /// Replaces a reference by a mapping with the key `key` and the content of the file in base64.
    fn encoded(&mut self, value: &mut YamlNode, key: &str) -> usize {
        let Some(name) = reference(value) else { return 0 };
        let at = value.at.clone();
        let Some(bytes) = self.content(&at, &name) else {
            *value = YamlNode::null(at);
            return 0;
        };
        let text = STANDARD.encode(bytes);
        let held = text.len();
        *value =
            YamlNode::table(at.clone(), vec![(YamlNode::word(at.clone(), key), YamlNode::word(at, text))]);
        held
    }

    /// Expands rows. Returns their number and the bytes of the file they come from.
    fn rows(&mut self, holder: &mut YamlNode) -> (usize, usize) {
        let Some(value) = get(holder, "for_each") else { return (0, 0) };
        let mut held = 0;
        if let Some(name) = reference(value) {
            let at = value.at.clone();
            let is_csv = name.to_lowercase().ends_with(".csv");
            let made = self.text(&at, &name).and_then(|text| {
                held = text.len();
                if is_csv { self.table(&at, &name, &text) } else { self.document(&at, &name, &text) }
            });
            if let Some(made) = made {
                *value = made;
            }
        }
        let rows = if let NodeKind::List(items) = &value.kind { items.len() } else { 0 };
        (rows, held)
    }

    /// The rows of a CSV file. The first line has the column names; values are text.
    fn table(&mut self, at: &Range<usize>, name: &str, text: &str) -> Option<YamlNode> {
        match rows_of(text) {
            Ok(rows) => {
                let cell =
                    |(key, value)| (YamlNode::word(at.clone(), key), YamlNode::word(at.clone(), value));
                let row = |row: Vec<(String, String)>| {
                    YamlNode::table(at.clone(), row.into_iter().map(cell).collect())
                };
                Some(YamlNode::list(at.clone(), rows.into_iter().map(row).collect()))
            }
            Err(why) => {
                self.complain(Code::ScenarioSyntax, at, format!("{name} is not a valid CSV table: {why}"));
                None
            }
        }
    }

    /// The first document of a JSON or YAML file.
    fn document(&mut self, at: &Range<usize>, name: &str, text: &str) -> Option<YamlNode> {
        let why = match yaml::parse(text) {
            Ok(documents) => match documents.into_iter().next() {
                Some(document) => return Some(document.moved(at)),
                None => "it is empty".to_owned(),
            },
            Err(broken) => {
                let line = text.get(..broken.at.start).unwrap_or(text).matches('\n').count() + 1;
                format!("line {line}: {}", broken.message)
            }
        };
        self.complain(Code::ScenarioSyntax, at, format!("{name} is not valid JSON or YAML: {why}"));
        None
    }

    fn text(&mut self, at: &Range<usize>, name: &str) -> Option<String> {
        let bytes = self.content(at, name)?;
        let text = String::from_utf8(bytes);
        if text.is_err() {
            self.complain(Code::ScenarioFile, at, format!("{name} is not UTF-8 text"));
        }
        text.ok().map(|text| text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    fn content(&mut self, at: &Range<usize>, name: &str) -> Option<Vec<u8>> {
        let file = &self.sources.get(self.source).name;
        let read = match self.files {
            Some(files) => files.read(file, name),
            None => Err("files cannot be used here".to_owned()),
        };
        match read {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.complain(Code::ScenarioFile, at, format!("the file `{name}` cannot be read: {why}"));
                None
            }
        }
    }
}

/// The name in `{ file: NAME }`.
fn reference(node: &YamlNode) -> Option<String> {
    let NodeKind::Table(entries) = &node.kind else { return None };
    let [(key, value)] = entries.as_slice() else { return None };
    if key.text() == Some("file") { value.scalar_text() } else { None }
}

fn get<'n>(node: &'n mut YamlNode, key: &str) -> Option<&'n mut YamlNode> {
    let NodeKind::Table(entries) = &mut node.kind else { return None };
    entries.iter_mut().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
}

fn list<'n>(node: &'n mut YamlNode, key: &str) -> &'n mut [YamlNode] {
    match get(node, key).map(|value| &mut value.kind) {
        Some(NodeKind::List(items)) => items,
        _ => &mut [],
    }
}

/// Parses a CSV table into rows of names and values.
fn rows_of(text: &str) -> Result<Vec<Vec<(String, String)>>, String> {
    if let Some(line) = unclosed_quote(text) {
        return Err(format!("the quote that is opened in line {line} is not closed"));
    }
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map_err(|e| e.to_string())?.iter().map(|name| name.trim().to_owned()).collect();
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(format!("two columns have the name `{}`", twice.1));
    }
    let record = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.map_err(|e| e.to_string())?;
        Ok(names.iter().cloned().zip(record.iter().map(str::to_owned)).collect())
    };
    reader.records().take(ROWS).map(record).collect()
}

/// The line of an unclosed quote, if there is one: the rest of the file would be part of that value.
fn unclosed_quote(text: &str) -> Option<usize> {
    let (mut line, mut begun, mut is_start) = (1, None, true);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (begun, c) {
            // Two quotes are an escaped quote.
            (Some(_), '"') if rest.next_if_eq(&'"').is_some() => {}
            (Some(_), '"') => begun = None,
            (None, '"') if is_start => begun = Some(line),
            _ => {}
        }
        is_start = begun.is_none() && matches!(c, ',' | '\n' | '\r');
        line += usize::from(c == '\n');
    }
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_is_an_error() {
        let error = |text: &str| rows_of(text).unwrap_err();
        assert_eq!(error("n,v\n1,\"a\n2,b\n3,c\n"), "the quote that is opened in line 2 is not closed");
        assert!(error("n,\"v\n1,a\n").contains("line 1"));
        assert!(error("n,v\n1,\"a\"\"\n2,b\n").contains("line 2"));
        for fine in [
            "n,v\n1,\"a\nb\"\n",
            "n,v\n1,a\"b\n",
            "n,v\n1,\"\"\n",
            "n\n\"a\"\"b\"\n\"\"\"\"\n",
            "n\r\n\"a\"\r\n",
        ] {
            assert!(rows_of(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_csv_table_has_names_in_its_first_line() {
        let rows = rows_of("name,price\n\"Bolt, long\",1.10\nNut,07\n").unwrap();
        let row = |values: [(&str, &str); 2]| values.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        assert_eq!(rows[0], row([("name", "Bolt, long"), ("price", "1.10")]));
        assert_eq!(rows[1], row([("name", "Nut"), ("price", "07")]));
        assert!(rows_of("a,b\n1\n").is_err() && rows_of("a,a\n1,2\n").unwrap_err().contains("`a`"));
        assert!(rows_of("").unwrap().is_empty());
        assert_eq!(rows_of(&format!("a\n{}", "1\n".repeat(5_000))).unwrap().len(), ROWS);
    }
}
