//! The parts of a text that a diagnostic shows. The cost is independent of the length of the text: of long
//! lines only the surroundings of a span are shown, and distant spans are shown separately. Hidden parts are
//! masked.

use std::borrow::Cow;
use std::ops::Range;

use crate::diag::{Diagnostic, SourceId, SourceMap, SourceText, Span};

/// The maximum size of a part that is shown unchanged, and of one line in it, in bytes.
const WHOLE: usize = 16 << 10;
const LINE: usize = 2_000;

/// For longer texts: the number of bytes before the span, of the span itself, and after it.
const BEFORE: usize = 120;
const MARKED: usize = 400;
const BEHIND: usize = 200;

/// The maximum number of spans of one diagnostic in one text.
const PLACES: usize = 20;

/// The replacements of a credential, and of the rest of a long line.
const MASK: &str = "***";
const CUT: &str = "… ";

/// A part of a text, with spans in it.
pub(super) struct Window<'a> {
    /// Content of the part.
    pub text: Cow<'a, str>,
    /// Number of its first line, from 1.
    pub line: usize,
    /// Byte ranges in the part, by label of the diagnostic.
    pub places: Vec<(usize, Range<usize>)>,
    /// Line and column of the span, if the columns of the part differ from those of the text.
    pub moved: Option<(usize, usize)>,
}

/// The parts of `source` for `diagnostic`.
pub(super) fn windows<'a>(
    diagnostic: &Diagnostic,
    source: SourceId,
    sources: &'a SourceMap,
) -> Vec<Window<'a>> {
    let text = sources.get(source);
    let labels = diagnostic.labels.iter().enumerate().filter(|(_, label)| label.span.source == source);
    let places: Vec<(usize, Range<usize>)> =
        labels.take(PLACES).map(|(at, label)| (at, within(label.span, text))).collect();
    let start = places.iter().map(|(_, place)| place.start).min().unwrap_or(0);
    let end = places.iter().map(|(_, place)| place.end).max().unwrap_or(0);
    let whole = text.line(start).start..next_line(text, end);
    if whole.len() <= WHOLE && text.text[whole.clone()].lines().all(|line| line.len() <= LINE) {
        let hides = text.hidden_in(&whole).next().is_some();
        if !hides {
            let line = sources.position(source, whole.start).line;
            let places = places.into_iter().map(|(at, place)| (at, moved(&place, whole.start))).collect();
            return vec![Window { text: Cow::Borrowed(&text.text[whole]), line, places, moved: None }];
        }
    }
    places.iter().map(|(at, place)| around(*at, place, source, sources)).collect()
}

fn moved(place: &Range<usize>, back: usize) -> Range<usize> {
    place.start - back..place.end - back
}

/// The start of the line after the one that contains byte `offset`.
fn next_line(text: &SourceText, offset: usize) -> usize {
    (text.line(offset).end + 1).min(text.text.len())
}

/// The surroundings of one span.
fn around<'a>(label: usize, place: &Range<usize>, source: SourceId, sources: &'a SourceMap) -> Window<'a> {
    let text = sources.get(source);
    let end = text.boundary(place.end.min(place.start + MARKED));
    let (first, last) = (text.line(place.start), text.line(end));
    let from =
        if place.start - first.start <= BEFORE { first.start } else { text.boundary(place.start - BEFORE) };
    let to = if last.end.saturating_sub(end) <= BEHIND {
        next_line(text, end)
    } else {
        text.boundary(end + BEHIND)
    };
    let mut shown = String::new();
    if from > first.start {
        shown.push_str(CUT);
    }
    // Maps a byte of the text to a byte of the shown part; each entry holds up to the next one.
    let mut marks = Vec::new();
    let mut done = from;
    for hidden in text.hidden_in(&(from..to)) {
        let hidden = hidden.start.max(done)..hidden.end.min(to);
        marks.push((done, shown.len(), true));
        shown.push_str(&text.text[done..hidden.start]);
        marks.push((hidden.start, shown.len(), false));
        shown.push_str(MASK);
        done = hidden.end;
    }
    marks.push((done, shown.len(), true));
    shown.push_str(&text.text[done..to]);
    if to < last.end {
        shown.push_str(CUT.trim_end());
    }
    let at = |byte: usize, behind: usize| {
        let mark = marks.iter().rev().find(|(start, ..)| *start <= byte);
        mark.map_or(0, |(start, at, plain)| at + if *plain { byte - start } else { behind })
    };
    let start = at(place.start, 0);
    let places = vec![(label, start..at(end, MASK.len()).max(start))];
    let position = sources.position(source, place.start);
    let (line, moved) = (position.line, Some((position.line, position.column)));
    Window { text: Cow::Owned(shown), line, places, moved }
}

/// The span on character boundaries, with at least one byte if the text has one there.
fn within(span: Span, text: &SourceText) -> Range<usize> {
    let (start, end) = (text.boundary(span.start), text.boundary(span.end));
    let rest = &text.text[start..];
    let width = rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    start..end.max(start + width)
}
