use std::ops::Range;

use crate::diag::{SourceMap, Span};

/// A key with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The key.
    pub text: String,
    /// Position of the key.
    pub span: Span,
}

/// A string value with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The string, escapes resolved.
    pub text: String,
    /// Position, including quotes if there are any.
    pub span: Span,
    /// Whether the position is a TOML value; otherwise it is the text itself, as in a separate file.
    pub quoted: bool,
}

impl Text {
    /// Span in the file of the bytes `range` of the string, which differ because of quotes and escapes.
    pub fn part(&self, range: &Range<usize>, sources: &SourceMap) -> Span {
        Parts::of(self, sources).place(range)
    }
}

/// Mapping from the bytes of a string to the file, for many lookups.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Span of the whole string.
    pub span: Span,
    /// Number of bytes at the span; `None` if the span is not in the text.
    length: Option<usize>,
    /// Pairs of byte offsets in the string and in the file; between two pairs, both advance equally.
    jumps: Vec<(usize, usize)>,
}

impl Parts {
    /// The mapping for `text`.
    pub fn of(text: &Text, sources: &SourceMap) -> Self {
        let raw = sources.get(text.span.source).text.get(text.span.range());
        let jumps = match raw {
            Some(raw) if text.quoted => jumps(raw),
            _ => vec![(0, 0)],
        };
        Self { span: text.span, length: raw.map(str::len), jumps }
    }

    /// Span in the file of the bytes `range` of the string.
    pub fn place(&self, range: &Range<usize>) -> Span {
        let Some(length) = self.length else { return self.span };
        let locate = |at: usize| {
            let (decoded, written) =
                self.jumps[self.jumps.partition_point(|(decoded, _)| *decoded <= at) - 1];
            (written + (at - decoded)).min(length)
        };
        let (start, end) = (locate(range.start), locate(range.end));
        self.span.part(start..end.max(start))
    }
}

/// Offset pairs for the TOML value `raw`.
fn jumps(raw: &str) -> Vec<(usize, usize)> {
    let multi = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let quotes = match (multi, raw.starts_with(['"', '\''])) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => 0,
    };
    let body = &raw[quotes..raw.len().saturating_sub(quotes).max(quotes)];
    let skipped = match (multi, body) {
        (true, text) if text.starts_with("\r\n") => 2,
        (true, text) if text.starts_with('\n') => 1,
        _ => 0,
    };
    let start = quotes + skipped;
    let mut jumps = vec![(0, start)];
    if !raw.starts_with('"') {
        return jumps;
    }
    let body = &body[skipped..];
    let (mut done, mut decoded) = (0, 0);
    while let Some(at) = body[done..].find('\\') {
        let (taken, given) = unit(&body[done + at..]);
        decoded += at + given;
        done += at + taken;
        // A line continuation produces no bytes: the next byte comes after it.
        jumps.push((decoded, start + done));
    }
    jumps
}

/// Number of bytes of the next character of a basic string in the file, and in the string.
fn unit(body: &str) -> (usize, usize) {
    let Some(rest) = body.strip_prefix('\\') else {
        let width = body.chars().next().map_or(1, char::len_utf8);
        return (width, width);
    };
    let code = |digits: usize| {
        let scalar = rest.get(1..=digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        (2 + digits, scalar.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    match rest.as_bytes().first() {
        Some(b'x') => code(2),
        Some(b'u') => code(4),
        Some(b'U') => code(8),
        Some(b' ' | b'\t' | b'\n' | b'\r') => (1 + rest.len() - rest.trim_start().len(), 0),
        Some(_) => (2, 1),
        None => (1, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Node, Raw};

    /// The text in the file for the bytes of the string that contain `needle`.
    fn shown(toml: &str, needle: &str) -> String {
        let mut sources = SourceMap::new();
        let id = sources.add("x.toml", format!("a = {toml}\n"));
        let node = Node::parse(&sources, id).unwrap();
        let Raw::Table(table) = node.value else { panic!() };
        let text = table["a"].node.text().unwrap();
        let at = text.text.find(needle).unwrap();
        sources.get(id).text[text.part(&(at..at + needle.len()), &sources).range()].to_owned()
    }

    #[test]
    fn a_part_of_a_string_is_found_behind_quotes_and_escapes() {
        assert_eq!(shown(r#""steps.a""#, "a"), "a");
        assert_eq!(shown("'steps.a'", "a"), "a");
        assert_eq!(shown(r#""\"x\" == \u00e9 and \tabc""#, "abc"), "abc");
        assert_eq!(shown(r#""\"x\" == \u00e9 and \tabc""#, "é"), r"\u00e9");
        assert_eq!(shown("\"\"\"\n  first \\\n     second\"\"\"", "second"), "second");
        assert_eq!(shown("'''\nüber abc'''", "abc"), "abc");
        assert_eq!(shown("'abc'", "abc"), "abc");
    }
}
