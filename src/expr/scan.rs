//! Cutting a template into text, outputs and tags, with white space settled.
//!
//! As in Jinja with `trim_blocks` and `lstrip_blocks`: a tag or a comment on a line of its own leaves no line behind;
//! `-` inside a delimiter takes all white space on its side, `+` keeps it. The last line break stays.

use std::ops::Range;

use super::fault::{Fault, FaultKind};
use super::token::{Spanned, Token, Tokens, Until, tokens};

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Piece {
    /// Text, taken as it is.
    Text(Range<usize>),
    /// `{{ … }}`.
    Output(Tokens, Range<usize>),
    /// `{% name … %}`; the tokens are those after the name.
    Tag(Tag),
}

/// A tag and what stands in it.
#[derive(Debug)]
pub(super) struct Tag {
    pub name: String,
    pub name_span: Range<usize>,
    pub tokens: Tokens,
    pub span: Range<usize>,
}

/// What the end of a delimiter does to the text behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trim {
    Nothing,
    Break,
    All,
}

/// The pieces of `source`.
pub(super) fn scan(source: &str) -> Result<Vec<Piece>, Fault> {
    let mut scanner = Scanner { source, at: 0, trim: Trim::Nothing, pieces: Vec::new() };
    while scanner.step()? {}
    Ok(scanner.pieces)
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    trim: Trim,
    pieces: Vec<Piece>,
}

impl Scanner<'_> {
    fn step(&mut self) -> Result<bool, Fault> {
        let rest = &self.source[self.at..];
        let found = rest
            .match_indices('{')
            .map(|(i, _)| i)
            .find(|i| matches!(rest.as_bytes().get(i + 1), Some(b'{' | b'%' | b'#')));
        let Some(open) = found.map(|i| self.at + i) else {
            self.text(self.source.len(), Trim::Nothing);
            return Ok(false);
        };
        let kind = self.source.as_bytes()[open + 1];
        let mark = self.source[open + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
        let before = trim(mark, kind != b'{');
        self.text(open, before);
        let inner = open + 2 + mark.map_or(0, char::len_utf8);
        match kind {
            b'{' => self.output(open, inner)?,
            b'%' => self.tag(open, inner)?,
            _ => self.comment(open, inner)?,
        }
        Ok(true)
    }

    /// Takes up the text before `end`, trimmed on both sides.
    fn text(&mut self, end: usize, after: Trim) {
        let start = self.at;
        let text = &self.source[start..end];
        let from = start
            + match self.trim {
                Trim::Nothing => 0,
                Trim::All => text.len() - text.trim_start().len(),
                Trim::Break if text.starts_with("\r\n") => 2,
                Trim::Break => usize::from(text.starts_with('\n')),
            };
        let to = match after {
            Trim::Nothing => end,
            Trim::All => start + text.trim_end().len(),
            Trim::Break => {
                // What stands before this text on its line is the end of a delimiter, so the line begins in it or is not blank.
                let line = text.rfind('\n').map(|at| start + at + 1).or((start == 0).then_some(0));
                line.filter(|line| self.source[*line..end].chars().all(char::is_whitespace)).unwrap_or(end)
            }
        };
        if from < to {
            self.pieces.push(Piece::Text(from..to));
        }
    }

    fn output(&mut self, open: usize, inner: usize) -> Result<(), Fault> {
        let tokens =
            tokens(self.source, inner, Until::Braces).map_err(|fault| opened(fault, self.source, open))?;
        self.go_on(tokens.next, trim(tokens.mark, false));
        let span = open..tokens.next;
        self.pieces.push(Piece::Output(tokens, span));
        Ok(())
    }

    fn tag(&mut self, open: usize, inner: usize) -> Result<(), Fault> {
        let mut tokens =
            tokens(self.source, inner, Until::Block).map_err(|fault| opened(fault, self.source, open))?;
        self.go_on(tokens.next, trim(tokens.mark, true));
        let span = open..tokens.next;
        if tokens.list.is_empty() {
            return Err(Fault::new(FaultKind::Syntax, span, "this tag is empty"));
        }
        let (name, name_span): Spanned = tokens.list.remove(0);
        let Token::Word(name) = name else {
            return Err(Fault::new(FaultKind::Syntax, name_span, "a tag begins with its name"));
        };
        if name == "raw" {
            return self.raw(&span);
        }
        self.pieces.push(Piece::Tag(Tag { name, name_span, tokens, span }));
        Ok(())
    }

    fn comment(&mut self, open: usize, inner: usize) -> Result<(), Fault> {
        let Some(close) = self.source[inner..].find("#}").map(|i| inner + i) else {
            return Err(Fault::new(FaultKind::Syntax, open..open + 2, "this comment has no `#}`"));
        };
        let mark = self.source[inner..close].chars().next_back().filter(|c| matches!(c, '-' | '+'));
        self.go_on(close + 2, trim(mark, true));
        Ok(())
    }

    fn raw(&mut self, span: &Range<usize>) -> Result<(), Fault> {
        let mut from = self.at;
        while let Some(open) = self.source[from..].find("{%").map(|i| from + i) {
            let mark = self.source[open + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let inner = open + 2 + usize::from(mark.is_some());
            let word = self.source[inner..].trim_start();
            let end = word.strip_prefix("endraw").map(str::trim_start).and_then(|rest| {
                let (close, rest) = match rest.chars().next() {
                    Some(c @ ('-' | '+')) => (Some(c), &rest[1..]),
                    _ => (None, rest),
                };
                rest.strip_prefix("%}").map(|rest| (close, self.source.len() - rest.len()))
            });
            if let Some((close, next)) = end {
                self.text(open, trim(mark, true));
                self.go_on(next, trim(close, true));
                return Ok(());
            }
            from = open + 2;
        }
        Err(Fault::new(FaultKind::Syntax, span.clone(), "this `raw` has no `{% endraw %}`"))
    }

    fn go_on(&mut self, at: usize, trim: Trim) {
        (self.at, self.trim) = (at, trim);
    }
}

fn trim(mark: Option<char>, block: bool) -> Trim {
    match mark {
        Some('-') => Trim::All,
        None if block => Trim::Break,
        _ => Trim::Nothing,
    }
}

/// A missing closing delimiter is told where the opening one stands.
fn opened(fault: Fault, source: &str, open: usize) -> Fault {
    if fault.range.start < source.len() { fault } else { Fault { range: open..open + 2, ..fault } }
}
