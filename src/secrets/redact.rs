//! Finds secret values in text and other bytes: literally, and in the encodings that programs commonly
//! print. Every pass reads the text once, so that even a text with many near matches takes linear time.

mod cut;
mod decoded;
mod dumps;
mod escape;
mod forms;
mod mask;
mod numbers;
mod parts;
mod screen;

use cut::Edge;
use decoded::{DecodedText, QUOTES};
use forms::{Forms, SHORTEST, base64, foreign, hexadecimal, is_series, listed};
use mask::{masked, masked_bytes};
use parts::parts;

/// Most levels of escaping.
const ESCAPED: usize = 3;

/// Replaces secret values by `***`.
pub(super) struct Redactor {
    plain: Option<Forms>,
    /// Values with quotes, with the quotes removed.
    unquoted: Option<Forms>,
    /// Values in UTF-16 and in windows-1252, which differ from UTF-8 by more than zero bytes.
    foreign: Option<Forms>,
    hex: Option<Forms>,
    base64: Option<Forms>,
    /// Values that are not plain series, because harmless lists of numbers are series, too.
    bytes: Option<Forms>,
    /// Whether a value could be a JSON number.
    numbers: bool,
}

impl Redactor {
    /// A redactor for `values`.
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let texts: Vec<String> = values.into_iter().flat_map(parts).collect();
        let numbers = texts.iter().any(|text| text.parse::<f64>().is_ok());
        let plain = texts.iter().flat_map(|text| [text.clone(), text.replace(' ', "+")]);
        let without = |text: &String| text.bytes().filter(|byte| !QUOTES.contains(byte)).collect();
        let unquoted = texts.iter().filter(|text| text.contains(['\'', '"'])).map(without);
        let lists = texts.iter().filter(|text| !is_series(text)).flat_map(|text| listed(text));
        let other = texts.iter().filter(|text| !text.is_ascii()).flat_map(|text| foreign(text));
        Self {
            plain: Forms::of(plain.map(String::into_bytes), 1),
            unquoted: Forms::of(unquoted, 1),
            foreign: Forms::of(other, 1),
            hex: Forms::of(texts.iter().flat_map(|text| hexadecimal(text)), 2),
            base64: Forms::of(texts.iter().flat_map(|text| base64(text)), 1),
            bytes: Forms::of(lists, 1),
            numbers,
        }
    }

    /// Whether there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_none()
    }

    /// Whether numbers must be checked, too.
    pub(super) fn numbers(&self) -> bool {
        self.numbers
    }

    /// `text` without secrets; `None` if it contains none. Next to marks for omitted text, parts of secrets
    /// are found as well.
    pub(super) fn redact(&self, text: &str) -> Option<String> {
        let spans = self.find(text.as_bytes(), &cut::edges(text.as_bytes()));
        (!spans.is_empty()).then(|| masked(text, spans))
    }

    /// Like [`Redactor::redact`], for the beginning of a longer text.
    pub(super) fn redact_head(&self, text: &str) -> Option<String> {
        let mut edges = cut::edges(text.as_bytes());
        edges.push(Edge::End(text.len()));
        let spans = self.find(text.as_bytes(), &edges);
        (!spans.is_empty()).then(|| masked(text, spans))
    }

    /// `bytes` without secrets; `None` if they contain none. Invalid UTF-8 is checked byte by byte.
    pub(super) fn redact_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if let Ok(text) = std::str::from_utf8(bytes)
            && !bytes.contains(&0)
        {
            return self.redact(text).map(String::into_bytes);
        }
        let spans = self.find(bytes, &cut::edges(bytes));
        (!spans.is_empty()).then(|| masked_bytes(bytes, spans))
    }

    /// Spans of secrets in `text`.
    pub(super) fn places(&self, text: &str) -> Vec<(usize, usize)> {
        self.find(text.as_bytes(), &[])
    }

    /// Spans of secrets, and of parts of secrets at `edges`.
    fn find(&self, bytes: &[u8], edges: &[Edge]) -> Vec<(usize, usize)> {
        if self.is_empty() || (bytes.len() < SHORTEST && edges.is_empty()) {
            return Vec::new();
        }
        self.find_in(DecodedText::of(bytes), bytes, edges)
    }

    /// Spans for one decoded view of `bytes`.
    fn find_in(&self, view: DecodedText, bytes: &[u8], edges: &[Edge]) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        self.look(view, &mut |view, forms| {
            view.find(&forms.pattern, &mut spans);
            spans.extend(edges.iter().filter_map(|edge| forms.partial.at(*edge, bytes, view)));
        });
        spans
    }

    /// The last position, at most `at`, where `text` may be cut: no secret is cut there, and everything
    /// that could be the beginning of one is after it.
    pub(super) fn cut(&self, text: &str, at: usize) -> usize {
        let all = [&self.plain, &self.unquoted, &self.foreign, &self.hex, &self.base64, &self.bytes];
        let longest =
            all.into_iter().flatten().map(|forms| forms.partial.longest()).max().unwrap_or_default();
        // Every byte may be an escape of several characters.
        let from = text.len().saturating_sub(longest.saturating_mul(12) + 64);
        let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let mut cut = at;
        self.look(DecodedText::of(&text.as_bytes()[from..]), &mut |view, forms| {
            let begins = forms.partial.begins(view, view.bytes.len(), 1, false);
            cut = begins.map_or(cut, |(begins, _)| cut.min(from + begins));
        });
        let mut spans = self.find(text.as_bytes(), &[]);
        // From the last to the first, so that each position is checked once.
        spans.sort_unstable_by_key(|(_, to)| std::cmp::Reverse(*to));
        for (start, end) in spans {
            if start < cut && cut < end {
                cut = start;
            }
        }
        (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    }

    /// Calls `see` for each decoding of `view`, with the secrets in the matching form.
    fn look(&self, mut view: DecodedText, see: &mut dyn FnMut(&DecodedText, &Forms)) {
        for _ in 0..=ESCAPED {
            self.look_at(&view, see);
            if let Some(narrow) = view.without_zeros() {
                self.look_at(&narrow, see);
                if let Some(inner) = narrow.unescaped() {
                    self.look_at(&inner, see);
                }
            }
            let Some(inner) = view.unescaped() else { break };
            view = inner;
        }
    }

    fn look_at(&self, view: &DecodedText, see: &mut dyn FnMut(&DecodedText, &Forms)) {
        if let Some(plain) = &self.plain {
            see(view, plain);
            if let Some(joined) = view.joined() {
                see(&joined, plain);
            }
        }
        if let Some(foreign) = &self.foreign {
            see(view, foreign);
        }
        if let Some(unquoted) = &self.unquoted {
            see(&view.unquoted(), unquoted);
        }
        if let Some(hex) = &self.hex {
            see(&view.hex_digits(), hex);
        }
        if let Some(base64) = &self.base64 {
            see(&view.letters(), base64);
        }
        if let Some(bytes) = &self.bytes {
            view.numbers(&bytes.letters).iter().for_each(|numbers| see(numbers, bytes));
        }
    }
}

#[cfg(test)]
mod tests;
