use std::ops::Range;

use crate::diag::{SourceMap, Span};

/// A key, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The key.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A string value, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The string, escapes resolved.
    pub text: String,
    /// Its place, with the quotes where it has some.
    pub span: Span,
    /// Whether the place holds a TOML value; otherwise it holds the text itself, as in a file of its own.
    pub quoted: bool,
}

impl Text {
    /// The place of bytes `range` of the string. Quotes and escapes make the two differ.
    pub fn part(&self, range: &Range<usize>, sources: &SourceMap) -> Span {
        Parts::of(self, sources).place(range)
    }
}

/// Where the bytes of a string are written: read once, it finds each of many places at once.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The place of the whole string.
    pub span: Span,
    /// How many bytes are written there; none if the place is not in the text.
    length: Option<usize>,
    /// Bytes of the string and the bytes of the file that they come from: between two of them, both count alike.
    jumps: Vec<(usize, usize)>,
}

impl Parts {
    /// Those of `text`.
    pub fn of(text: &Text, sources: &SourceMap) -> Self {
        let raw = sources.get(text.span.source).text.get(text.span.range());
        let jumps = match raw {
            Some(raw) if text.quoted => jumps(raw),
            _ => vec![(0, 0)],
        };
        Self { span: text.span, length: raw.map(str::len), jumps }
    }

    /// The place of bytes `range` of the string.
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

/// Where a byte of the string of the TOML value `raw`, and those up to the next such byte, come from.
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
        // A line ended by a backslash gives nothing: what is looked for stands behind it.
        jumps.push((decoded, start + done));
    }
    jumps
}

/// How many bytes the next character of a basic string takes in the file, and how many it gives.
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

    /// What the bytes of the string that hold `needle` look like in the file.
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
