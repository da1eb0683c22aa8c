//! Secrets on the screen of a terminal, where they may be wrapped in a frame or with an indentation, or
//! partly scrolled out of view.

use super::Redactor;
use super::cut::Edge;
use super::decoded::DecodedText;

/// Characters that are a frame if they are alone.
const FRAMES: &[char] = &['*', '#', '>', ':', '!'];

/// A piece of a row between frames and gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RowPiece {
    from: usize,
    to: usize,
    /// Columns of the piece.
    left: usize,
    right: usize,
}

impl Redactor {
    /// Spans of secrets and characteristic parts of them on a screen. `text` has its rows; the line breaks
    /// at `wraps` are line wraps.
    pub(in super::super) fn on_screen(&self, text: &str, wraps: &[usize]) -> Vec<(usize, usize)> {
        if self.is_empty() {
            return Vec::new();
        }
        let bytes = text.as_bytes();
        let rows = DecodedText::of(bytes);
        let lines = (!wraps.is_empty()).then(|| rows.without_places(wraps));
        let mut spans = Vec::new();
        for view in std::iter::once(rows).chain(lines) {
            for column in columns(&String::from_utf8_lossy(&view.bytes)) {
                spans.extend(self.in_column(&column, &view, bytes));
            }
            spans.extend(self.find_in(view, bytes, &[Edge::Top(0), Edge::Bottom(bytes.len())]));
        }
        merged(spans)
    }

    /// Spans in `column` of `rows`, without the text next to the column.
    fn in_column(&self, column: &[RowPiece], rows: &DecodedText, text: &[u8]) -> Vec<(usize, usize)> {
        let mut view = DecodedText::empty(0);
        let mut places = Vec::new();
        let mut edges = Vec::new();
        for piece in column {
            view.push_all(rows, piece.from, piece.to);
            let (from, to) = rows.place(piece.from, piece.to);
            let (from, to) = (from as usize, to as usize);
            edges.extend([Edge::Top(from), Edge::Bottom(to), Edge::Piece(from, to)]);
            places.push((from, to));
        }
        let found = self.find_in(view, text, &edges);
        let parts = found.iter().flat_map(|(from, to)| {
            places.iter().map(|(start, end)| (*start.max(from), *end.min(to))).filter(|(from, to)| from < to)
        });
        parts.collect()
    }
}

/// `spans` in order, without overlaps.
fn merged(mut spans: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    spans.sort_unstable();
    let mut all: Vec<(usize, usize)> = Vec::new();
    for (from, to) in spans {
        match all.last_mut().filter(|last| from < last.1) {
            Some(last) => last.1 = last.1.max(to),
            None => all.push((from, to)),
        }
    }
    all
}

/// Pieces of the rows of `text`, grouped into columns.
fn columns(text: &str) -> Vec<Vec<RowPiece>> {
    let mut columns: Vec<Vec<RowPiece>> = Vec::new();
    let mut above: Vec<usize> = Vec::new();
    let mut start = 0;
    for row in text.split('\n') {
        let mut next = Vec::new();
        for piece in pieces(row, start) {
            let fits = |column: &usize| {
                columns[*column].last().is_some_and(|last| piece.left < last.right && last.left < piece.right)
            };
            let found = above.iter().position(fits).map(|at| above.remove(at));
            let column = found.unwrap_or_else(|| {
                columns.push(Vec::new());
                columns.len() - 1
            });
            columns[column].push(piece);
            next.push(column);
        }
        above = next;
        start += row.len() + 1;
    }
    columns
}

/// Pieces of a row that begins at `start`.
fn pieces(row: &str, start: usize) -> Vec<RowPiece> {
    let row = row.trim_end();
    // Mark of editors for a wrapped line.
    let row = row.strip_suffix('\\').unwrap_or(row);
    let chars: Vec<(usize, char)> = row.char_indices().collect();
    let at = |column: usize| chars.get(column).map(|(_, c)| *c);
    let is_blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let is_mark = |column: usize| {
        let before = column.checked_sub(1).and_then(at);
        let (is_first, is_last) = (is_blank(before), is_blank(at(column + 1)));
        at(column).is_some_and(|c| {
            is_frame(c) || c == '|' && (is_first || is_last) || FRAMES.contains(&c) && is_first && is_last
        })
    };
    let is_edge = |column: usize| is_blank(at(column)) || is_mark(column);
    // A single blank belongs to a text.
    let is_between = |column: usize| {
        let is_single = || column > 0 && !is_edge(column - 1) && !is_edge(column + 1);
        is_mark(column) || is_blank(at(column)) && !is_single()
    };
    let mut pieces: Vec<RowPiece> = Vec::new();
    for (column, (byte, c)) in chars.iter().enumerate() {
        if is_between(column) {
            continue;
        }
        let (from, to) = (start + byte, start + byte + c.len_utf8());
        match pieces.last_mut().filter(|piece| piece.right == column) {
            Some(piece) => (piece.to, piece.right) = (to, column + 1),
            None => pieces.push(RowPiece { from, to, left: column, right: column + 1 }),
        }
    }
    pieces
}

/// Whether `c` draws frames or arrows.
fn is_frame(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{21FF}' | '\u{2500}'..='\u{259F}' | '»')
}
