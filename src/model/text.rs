use std::ops::Range;

use crate::diag::{Sources, Span};

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
    pub fn part(&self, range: &Range<usize>, sources: &Sources) -> Span {
        let raw = &sources.get(self.span.source).text;
        let Some(raw) = raw.get(self.span.range()) else { return self.span };
        if !self.quoted {
            return self.span.part(range.start.min(raw.len())..range.end.min(raw.len()));
        }
        let (start, end) = (locate(raw, range.start), locate(raw, range.end));
        self.span.part(start..end.max(start))
    }
}

/// The byte of the TOML value `raw` that byte `at` of its string comes from.
fn locate(raw: &str, at: usize) -> usize {
    let multi = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let quotes = match (multi, raw.starts_with(['"', '\''])) {
        (true, _) => 3,
        (false, true) => 1,
        (false, false) => return at.min(raw.len()),
    };
    let body = &raw[quotes..raw.len().saturating_sub(quotes).max(quotes)];
    let skipped = match (multi, body) {
        (true, text) if text.starts_with("\r\n") => 2,
        (true, text) if text.starts_with('\n') => 1,
        _ => 0,
    };
    let start = quotes + skipped;
    if raw.starts_with('\'') {
        return (start + at).min(raw.len());
    }
    let (mut from, mut decoded) = (0, 0);
    let body = &body[skipped..];
    while decoded < at && from < body.len() {
        let (taken, given) = unit(&body[from..]);
        from += taken;
        decoded += given;
    }
    // A line ended by a backslash gives nothing: what is looked for stands behind it.
    while from < body.len() && unit(&body[from..]).1 == 0 {
        from += unit(&body[from..]).0;
    }
    start + from
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
        let mut sources = Sources::new();
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
