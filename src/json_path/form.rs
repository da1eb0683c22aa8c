//! The form of a path, which determines its maximum work.

use regex::RegexBuilder;

/// Longest path, in bytes.
const MAX_BYTES: usize = 10_000;

/// Deepest nesting of brackets and parentheses. The parser tries each parenthesis in several ways.
const MAX_NESTING: usize = 16;

/// Largest compiled pattern, in bytes.
const MAX_PATTERN: usize = 1 << 18;

/// Work of compiling and matching a pattern once; it is compiled for each value that it is matched against.
const PATTERN_WORK: u64 = 100;

/// A query, the outermost one or one in a filter.
#[derive(Clone, Debug, Default)]
pub struct QueryForm {
    /// Whether it begins at the root (`$`) and not at the current value (`@`).
    is_absolute: bool,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    is_descendant: bool,
    selectors: u64,
    /// Whether its selectors are names and indexes only.
    is_plain: bool,
    /// The queries in its filters.
    queries: Vec<QueryForm>,
    /// Number of patterns in its filters.
    patterns: u64,
}

/// Refuses texts that a recursive parser should not see.
pub fn check_nesting(text: &str) -> Result<(), String> {
    if text.len() > MAX_BYTES {
        return Err("the path is longer than 10,000 bytes".to_owned());
    }
    let (mut depth, mut scanner) = (0_usize, QueryScanner { text: text.as_bytes(), at: 0 });
    while let Some(byte) = scanner.peek() {
        match byte {
            b'\'' | b'"' => {
                scanner.string();
                continue;
            }
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(format!("the path is nested more than {MAX_NESTING} levels deep"));
        }
        scanner.at += 1;
    }
    Ok(())
}

impl QueryForm {
    /// The form of a path with valid syntax.
    pub fn of(text: &str) -> Result<Self, String> {
        let mut scanner = QueryScanner { text: text.as_bytes(), at: 0 };
        scanner.blanks();
        scanner.query()
    }

    pub fn is_singular(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| segment.is_plain && segment.selectors == 1 && !segment.is_descendant)
    }

    /// An upper bound for the number of values visited in a value with `values` values and the depth `depth`.
    pub fn work(&self, values: u64, depth: u64) -> u64 {
        self.work_from(1, values, depth)
    }

    /// The work of beginning `times` at each value. A value is reached from one value without `..` and from
    /// at most `depth` values with it, so what is visited in total is bounded by a product over the
    /// segments, however filters are nested.
    fn work_from(&self, times: u64, values: u64, depth: u64) -> u64 {
        let (mut times, mut total) = (times, times.saturating_mul(values));
        for segment in &self.segments {
            times = times.saturating_mul(if segment.is_descendant { depth } else { 1 });
            let filtered = times.saturating_mul(values);
            for query in &segment.queries {
                let each = match (query.is_absolute, query.is_singular()) {
                    (true, true) => filtered,
                    (true, false) => filtered.saturating_mul(query.work(values, depth)),
                    (false, _) => query.work_from(times, values, depth),
                };
                total = total.saturating_add(each);
            }
            let patterns = segment.patterns.saturating_mul(PATTERN_WORK);
            total = total.saturating_add(filtered.saturating_mul(patterns));
            times = times.saturating_mul(segment.selectors);
            total = total.saturating_add(times.saturating_mul(values));
        }
        total
    }
}

/// Reads the form of a path with valid syntax.
struct QueryScanner<'t> {
    text: &'t [u8],
    at: usize,
}

impl QueryScanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a text in quotes, without the quotes. Escapes stay.
    fn string(&mut self) -> &[u8] {
        let quote = self.text[self.at];
        let start = self.at + 1;
        self.at = start;
        while let Some(byte) = self.peek().filter(|byte| *byte != quote) {
            self.at += if byte == b'\\' { 2 } else { 1 };
        }
        let end = self.at.min(self.text.len());
        self.at = end + 1;
        &self.text[start..end]
    }

    /// Reads a query that begins here with `$` or `@`.
    fn query(&mut self) -> Result<QueryForm, String> {
        let mut form = QueryForm { is_absolute: self.peek() == Some(b'$'), segments: Vec::new() };
        self.at += 1;
        loop {
            self.blanks();
            let dots =
                self.text[self.at.min(self.text.len())..].iter().take_while(|byte| **byte == b'.').count();
            self.at += dots;
            let mut segment = match self.peek() {
                Some(b'[') => self.brackets()?,
                Some(_) if dots > 0 => self.name(),
                _ => return Ok(form),
            };
            segment.is_descendant = dots > 1;
            form.segments.push(segment);
        }
    }

    /// Reads a name or `*` after a dot.
    fn name(&mut self) -> Segment {
        let is_plain = self.peek() != Some(b'*');
        self.at += 1;
        while is_plain
            && self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80)
        {
            self.at += 1;
        }
        Segment { selectors: 1, is_plain, ..Segment::default() }
    }

    fn brackets(&mut self) -> Result<Segment, String> {
        let mut segment = Segment { selectors: 1, is_plain: true, ..Segment::default() };
        // Nesting level of the arguments of `match` or `search`.
        let (mut parentheses, mut matching) = (0_usize, None);
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b']' => {
                    self.at += 1;
                    break;
                }
                b'\'' | b'"' => {
                    self.string();
                    continue;
                }
                b'$' | b'@' => {
                    segment.queries.push(self.query()?);
                    continue;
                }
                b'(' => {
                    parentheses += 1;
                    let before = &self.text[..self.at];
                    if before.ends_with(b"match") || before.ends_with(b"search") {
                        matching = Some(parentheses);
                    }
                }
                b')' => parentheses = parentheses.saturating_sub(1),
                b',' if matching == Some(parentheses) => {
                    self.at += 1;
                    self.pattern()?;
                    segment.patterns += 1;
                    matching = None;
                    continue;
                }
                b',' if parentheses == 0 => segment.selectors += 1,
                b'*' | b':' | b'?' => segment.is_plain = false,
                _ => {}
            }
            self.at += 1;
        }
        Ok(segment)
    }

    /// Checks the second argument of `match` and `search`.
    fn pattern(&mut self) -> Result<(), String> {
        self.blanks();
        if !matches!(self.peek(), Some(b'\'' | b'"')) {
            return Err("the pattern of `match` and `search` must be a literal text".to_owned());
        }
        let written = String::from_utf8_lossy(self.string()).replace("\\\\", "\\");
        match RegexBuilder::new(&written).size_limit(MAX_PATTERN).build() {
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("the pattern `{written}` is too large when compiled"))
            }
            _ => Ok(()),
        }
    }
}
