use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Names a text in [`SourceMap`].
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
pub struct SourceText {
    /// Its path as people know it.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    /// Where its lines begin, once that has been asked for.
    lines: OnceLock<Vec<usize>>,
    /// What of it is never shown, in order.
    hidden: Vec<Range<usize>>,
}

impl SourceText {
    /// Where the lines of the text begin.
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        })
    }

    /// The number of the line with byte `offset`, from 0.
    fn line_of(&self, offset: usize) -> usize {
        self.lines().partition_point(|start| *start <= offset) - 1
    }

    /// The bytes of the line with byte `offset`, without its line break.
    pub fn line(&self, offset: usize) -> Range<usize> {
        let line = self.line_of(offset.min(self.text.len()));
        let end = self.lines().get(line + 1).map_or(self.text.len(), |next| next - 1);
        self.lines()[line]..end
    }

    /// What of the bytes `range` is never shown.
    pub fn hidden_in(&self, range: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.hidden.partition_point(|hidden| hidden.end <= range.start);
        let end = range.end;
        self.hidden[first..].iter().take_while(move |hidden| hidden.start < end).cloned()
    }

    /// Byte `offset`, or the nearest one before it at which a character begins; past the end means the end.
    pub fn boundary(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        (0..=offset).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
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
pub struct SourceMap(Vec<SourceText>);

impl SourceMap {
    /// No texts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        self.0.push(SourceText {
            name: name.into(),
            text: text.into(),
            lines: OnceLock::new(),
            hidden: Vec::new(),
        });
        SourceId(u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX))
    }

    /// The text named by `id`.
    pub fn get(&self, id: SourceId) -> &SourceText {
        &self.0[id.0 as usize]
    }

    /// Notes bytes of the text named by `id` that are never shown: credentials. They are on character boundaries.
    pub fn hide(&mut self, id: SourceId, ranges: impl IntoIterator<Item = Range<usize>>) {
        let hidden = &mut self.0[id.0 as usize].hidden;
        hidden.extend(ranges.into_iter().filter(|range| !range.is_empty()));
        hidden.sort_unstable_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(hidden.len());
        for range in hidden.drain(..) {
            match apart.last_mut().filter(|last| range.start <= last.end) {
                Some(last) => last.end = last.end.max(range.end),
                None => apart.push(range),
            }
        }
        *hidden = apart;
    }

    /// All texts.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &SourceText)> {
        (0..).map(SourceId).zip(&self.0)
    }

    /// A span over `range` of `id`.
    pub fn span(&self, id: SourceId, range: Range<usize>) -> Span {
        Span { source: id, start: range.start, end: range.end }
    }

    /// Where byte `offset` of `id` stands; past the end means the end.
    pub fn position(&self, id: SourceId, offset: usize) -> Position {
        let source = self.get(id);
        let offset = source.boundary(offset);
        let line = source.line_of(offset);
        let before = &source.text[source.lines()[line]..offset];
        Position { line: line + 1, column: before.chars().count() + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let mut sources = SourceMap::new();
        let id = sources.add("x.toml", "a = 1\nü = '✓x'\n");
        assert_eq!(sources.position(id, 6), Position { line: 2, column: 1 });
        assert_eq!(sources.position(id, 15), Position { line: 2, column: 7 });
        assert_eq!(sources.position(id, 999), Position { line: 3, column: 1 });
        let source = sources.get(id);
        assert_eq!((source.line(0), source.line(8), source.line(999)), (0..5, 6..17, 18..18));
    }

    #[test]
    fn hidden_parts_are_kept_apart_and_in_order() {
        let mut sources = SourceMap::new();
        let id = sources.add("x.yaml", "0123456789");
        sources.hide(id, [7..9, 1..3, 2..4, 5..5]);
        let hidden = |range| sources.get(id).hidden_in(&range).collect::<Vec<_>>();
        assert_eq!(hidden(0..10), [1..4, 7..9]);
        assert_eq!((hidden(4..8).len(), &hidden(4..8)[0]), (1, &(7..9)));
        assert_eq!((hidden(3..4).len(), &hidden(3..4)[0]), (1, &(1..4)));
        assert!(hidden(4..7).is_empty());
    }
}
