use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Identifies a text in [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u32);

/// Bytes `start..end` of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// Index of the first byte.
    pub start: usize,
    /// Index after the last byte.
    pub end: usize,
}

impl Span {
    /// The byte range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// A part of this span; `range` is relative to its start.
    #[must_use]
    pub fn part(self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end, ..self }
    }
}

/// A text with its name.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// Path for display.
    pub name: String,
    /// Content.
    pub text: Arc<str>,
    /// Start offsets of its lines, computed on first use.
    lines: OnceLock<Vec<usize>>,
    /// Byte ranges that are never shown, in order.
    hidden: Vec<Range<usize>>,
}

impl SourceText {
    /// The start offsets of the lines.
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        })
    }

    /// The index of the line that contains byte `offset`, from 0.
    fn line_of(&self, offset: usize) -> usize {
        self.lines().partition_point(|start| *start <= offset) - 1
    }

    /// The byte range of the line that contains byte `offset`, without its line break.
    pub fn line(&self, offset: usize) -> Range<usize> {
        let line = self.line_of(offset.min(self.text.len()));
        let end = self.lines().get(line + 1).map_or(self.text.len(), |next| next - 1);
        self.lines()[line]..end
    }

    /// The hidden ranges within the bytes `range`.
    pub fn hidden_in(&self, range: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.hidden.partition_point(|hidden| hidden.end <= range.start);
        let end = range.end;
        self.hidden[first..].iter().take_while(move |hidden| hidden.start < end).cloned()
    }

    /// `offset`, or the nearest character boundary before it; at most the length of the text.
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

/// All texts that spans refer to.
#[derive(Clone, Debug, Default)]
pub struct SourceMap(Vec<SourceText>);

impl SourceMap {
    /// An empty map.
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

    /// Hides bytes of the text `id`, such as credentials. The range is on character boundaries.
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

    /// The position of byte `offset` of `id`; at most its end.
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
