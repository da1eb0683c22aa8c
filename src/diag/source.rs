use std::ops::Range;
use std::sync::Arc;

/// Names a text in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u32);

/// Bytes `start..end` of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// A part of this span, `range` counted from its start.
    #[must_use]
    pub fn part(self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end, ..self }
    }
}

/// A text that somebody wrote.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path as people know it.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// All texts that spans point into.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// No texts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        self.0.push(Source { name: name.into(), text: text.into() });
        SourceId(u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX))
    }

    /// The text named by `id`.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.0[id.0 as usize]
    }

    /// All texts.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        (0..).map(SourceId).zip(&self.0)
    }

    /// A span over `range` of `id`.
    pub fn span(&self, id: SourceId, range: Range<usize>) -> Span {
        Span { source: id, start: range.start, end: range.end }
    }

    /// Where byte `offset` of `id` stands; past the end means the end.
    pub fn position(&self, id: SourceId, offset: usize) -> Position {
        let text = &self.get(id).text;
        let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let mut sources = Sources::new();
        let id = sources.add("x.toml", "a = 1\nü = '✓x'\n");
        assert_eq!(sources.position(id, 6), Position { line: 2, column: 1 });
        assert_eq!(sources.position(id, 15), Position { line: 2, column: 7 });
        assert_eq!(sources.position(id, 999), Position { line: 3, column: 1 });
    }
}
