//! Decoded views of a text, with escapes resolved, or without quotes or separators. Each byte has its
//! position in the original text.

use regex::bytes::Regex;

use super::escape::escape;

/// Quotes and backslashes of shells and other languages.
pub(super) const QUOTES: &[u8] = b"'\"\\";

/// A text with the original position of each byte.
pub(super) struct DecodedText {
    pub(super) bytes: Vec<u8>,
    places: Vec<(u32, u32)>,
}

impl DecodedText {
    pub(super) fn empty(room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), places: Vec::with_capacity(room) }
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let places = (0..bytes.len()).map(|at| (place(at), place(at + 1))).collect();
        Self { bytes: bytes.to_vec(), places }
    }

    /// The text without zero bytes, so that ASCII in UTF-16 or UTF-32 is as in UTF-8; `None` if it has none.
    pub(super) fn without_zeros(&self) -> Option<Self> {
        self.bytes.contains(&0).then(|| self.without(|byte| byte == 0))
    }

    fn without(&self, left_out: impl Fn(u8) -> bool) -> Self {
        let mut view = Self::empty(self.bytes.len());
        for (byte, place) in self.bytes.iter().zip(&self.places).filter(|(byte, _)| !left_out(**byte)) {
            view.push(&[*byte], *place);
        }
        view
    }

    pub(super) fn push(&mut self, bytes: &[u8], place: (u32, u32)) {
        self.bytes.extend_from_slice(bytes);
        self.places.extend(bytes.iter().map(|_| place));
    }

    pub(super) fn push_byte(&mut self, byte: u8, place: (u32, u32)) {
        self.bytes.push(byte);
        self.places.push(place);
    }

    /// Adds the bytes of `other` from `from` up to `to`.
    pub(super) fn push_all(&mut self, other: &Self, from: usize, to: usize) {
        self.bytes.extend_from_slice(&other.bytes[from..to]);
        self.places.extend_from_slice(&other.places[from..to]);
    }

    /// Removes the last `length` bytes.
    pub(super) fn shorten(&mut self, length: usize) {
        self.bytes.truncate(self.bytes.len() - length);
        self.places.truncate(self.bytes.len());
    }

    /// Original span of the bytes from `from` up to `to`.
    pub(super) fn place(&self, from: usize, to: usize) -> (u32, u32) {
        (self.places[from].0, self.places[to - 1].1)
    }

    pub(super) fn find(&self, pattern: &Regex, spans: &mut Vec<(usize, usize)>) {
        spans.extend(pattern.find_iter(&self.bytes).filter(|found| !found.is_empty()).map(|found| {
            let (from, to) = self.place(found.start(), found.end());
            (from as usize, to as usize)
        }));
    }

    /// The text with escapes of URLs, JSON, HTML and shells resolved once; `None` if it has none.
    pub(super) fn unescaped(&self) -> Option<Self> {
        if !self.bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
            return None;
        }
        let mut view = Self::empty(self.bytes.len());
        let (mut at, mut changed) = (0, false);
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            if let Some((bytes, length)) = escape(rest) {
                view.push(&bytes, self.place(at, at + length));
                (at, changed) = (at + length, true);
            } else {
                view.push(&rest[..1], self.places[at]);
                at += 1;
            }
        }
        changed.then_some(view)
    }

    /// Its hexadecimal digits in lower case, without separators and prefixes; anything else is a zero byte.
    pub(super) fn hex_digits(&self) -> Self {
        const MARKS: [&[u8]; 8] = [b"0x", b"0X", b"\\x", b"\\u00", b"&#x", b"\\n", b"\\r", b"\\t"];
        let mut view = Self::empty(self.bytes.len() / 2);
        let mut at = 0;
        while at < self.bytes.len() {
            let (rest, byte) = (&self.bytes[at..], self.bytes[at]);
            if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(mark)) {
                at += mark.len();
                continue;
            }
            if byte.is_ascii_hexdigit() {
                view.push(&[byte.to_ascii_lowercase()], self.places[at]);
            } else if !byte.is_ascii_whitespace()
                && !b":,;_-%'\"".contains(&byte)
                && view.bytes.last() != Some(&0)
            {
                view.push(&[0], self.places[at]);
            }
            at += 1;
        }
        view
    }

    /// Number of its bytes that come completely from the first `at` bytes of the text.
    pub(super) fn upto(&self, at: usize) -> usize {
        self.places.partition_point(|(_, end)| *end as usize <= at)
    }

    /// Number of its bytes that come at least in part from before position `at` of the text.
    pub(super) fn before(&self, at: usize) -> usize {
        self.places.partition_point(|(start, _)| (*start as usize) < at)
    }

    /// The text without quotes and backslashes, because shells, SQL and tables escape quotes differently.
    pub(super) fn unquoted(&self) -> Self {
        self.without(|byte| QUOTES.contains(&byte))
    }

    /// The text without line breaks, for terminals that wrap long words; `None` if it has none.
    pub(super) fn joined(&self) -> Option<Self> {
        let is_break = |byte: u8| matches!(byte, b'\n' | b'\r');
        self.bytes.iter().any(|byte| is_break(*byte)).then(|| self.without(is_break))
    }

    /// The text without the bytes at `places`, which are sorted.
    pub(super) fn without_places(&self, places: &[usize]) -> Self {
        let mut view = Self::empty(self.bytes.len());
        for (byte, place) in self.bytes.iter().zip(&self.places) {
            if places.binary_search(&(place.0 as usize)).is_err() {
                view.push(&[*byte], *place);
            }
        }
        view
    }

    /// The text without white space, with URL-safe base64 letters replaced by standard ones.
    pub(super) fn letters(&self) -> Self {
        let mut view = Self::empty(self.bytes.len());
        for (byte, place) in
            self.bytes.iter().zip(&self.places).filter(|(byte, _)| !byte.is_ascii_whitespace())
        {
            let byte = match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            };
            view.push(&[byte], *place);
        }
        view
    }
}
