//! Finds secret values in text and other bytes: as they are, and in the encodings in which programs commonly print them. Every pass reads the text
//! once: a program that prints almost a secret very often costs no more than any other.

use regex::bytes::Regex;

use super::forms::{SHORTEST, any_of, base64_inside, foreign, hex, padded_base64, parts, utf16};
use super::gaps::Gaps;

/// How often text may have been escaped.
const ESCAPED: usize = 3;

/// What replaces a secret.
const MASK: &str = "***";

/// Replaces secret values by `***`.
pub(super) struct Redactor {
    plain: Option<Regex>,
    /// Values in UTF-16 and in windows-1252, which differ from UTF-8 by more than zero bytes.
    foreign: Option<Regex>,
    gaps: Gaps,
    hex: Option<Regex>,
    base64: Option<Regex>,
    /// Whether a value could be a JSON number.
    numbers: bool,
}

impl Redactor {
    /// Finds `values`.
    pub(super) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let texts: Vec<&str> = values.into_iter().flat_map(parts).collect();
        let numbers = texts.iter().any(|text| text.parse::<f64>().is_ok());
        let plain = texts.iter().flat_map(|text| [(*text).to_owned(), text.replace(' ', "+")]);
        let plain: Vec<String> = plain.collect();
        let foreign = texts.iter().filter(|text| !text.is_ascii()).flat_map(|text| foreign(text));
        let hex = texts.iter().flat_map(|text| {
            std::iter::once(text.as_bytes().to_vec()).chain(utf16(text)).map(|bytes| hex(&bytes))
        });
        let base64: Vec<String> = texts
            .iter()
            .flat_map(|text| {
                let twice = padded_base64(text.as_bytes()).into_bytes();
                let all = [text.as_bytes().to_vec(), twice].into_iter().chain(utf16(text));
                all.flat_map(|bytes| (0..3).filter_map(move |shift| base64_inside(&bytes, shift)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let gaps = Gaps::of(plain.iter().chain(&base64));
        let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes);
        Self {
            plain: any_of(bytes(plain)),
            foreign: any_of(foreign),
            gaps,
            hex: any_of(bytes(hex.collect())),
            base64: any_of(bytes(base64)),
            numbers,
        }
    }

    /// Whether there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_none()
    }

    /// Whether numbers have to be looked at too.
    pub(super) fn numbers(&self) -> bool {
        self.numbers
    }

    /// `text` without secrets; `None` if it has none.
    pub(super) fn redact(&self, text: &str) -> Option<String> {
        let spans = self.find(text.as_bytes());
        (!spans.is_empty()).then(|| masked(text, spans))
    }

    /// `bytes` without secrets; `None` if they have none. What is not UTF-8 is looked at byte by byte.
    pub(super) fn redact_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if let Ok(text) = std::str::from_utf8(bytes)
            && !bytes.contains(&0)
        {
            return self.redact(text).map(String::into_bytes);
        }
        let spans = self.find(bytes);
        (!spans.is_empty()).then(|| masked_bytes(bytes, spans))
    }

    /// Where secrets are.
    fn find(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let Some(plain) = &self.plain else { return Vec::new() };
        let mut spans: Vec<(usize, usize)> =
            plain.find_iter(bytes).map(|found| (found.start(), found.end())).collect();
        if let Some(foreign) = &self.foreign {
            spans.extend(foreign.find_iter(bytes).map(|found| (found.start(), found.end())));
        }
        self.gaps.find(bytes, &mut spans);
        if bytes.len() >= SHORTEST {
            let mut view = View::of(bytes);
            self.find_encoded(&view, &mut spans);
            self.find_wide(&view, plain, &mut spans);
            for _ in 0..ESCAPED {
                let Some(inner) = view.unescaped() else { break };
                view = inner;
                view.find(plain, &mut spans);
                self.find_encoded(&view, &mut spans);
                self.find_wide(&view, plain, &mut spans);
            }
        }
        spans
    }

    /// Finds what is written in UTF-16 or UTF-32: without their zero bytes, ASCII remains.
    fn find_wide(&self, view: &View, plain: &Regex, spans: &mut Vec<(usize, usize)>) {
        let Some(narrow) = view.without_zeros() else { return };
        narrow.find(plain, spans);
        self.find_encoded(&narrow, spans);
        if let Some(inner) = narrow.unescaped() {
            inner.find(plain, spans);
        }
    }

    fn find_encoded(&self, view: &View, spans: &mut Vec<(usize, usize)>) {
        if let Some(hex) = &self.hex {
            view.hex_digits().find(hex, spans);
        }
        if let Some(base64) = &self.base64 {
            view.letters().find(base64, spans);
        }
    }
}

/// A text with the place of each byte in the text that it was made from.
struct View {
    bytes: Vec<u8>,
    places: Vec<(u32, u32)>,
}

impl View {
    fn empty(room: usize) -> Self {
        Self { bytes: Vec::with_capacity(room), places: Vec::with_capacity(room) }
    }

    fn of(bytes: &[u8]) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let places = (0..bytes.len()).map(|at| (place(at), place(at + 1))).collect();
        Self { bytes: bytes.to_vec(), places }
    }

    /// It without zero bytes; `None` if it has none.
    fn without_zeros(&self) -> Option<Self> {
        if !self.bytes.contains(&0) {
            return None;
        }
        let mut view = Self::empty(self.bytes.len());
        for (byte, place) in self.bytes.iter().zip(&self.places).filter(|(byte, _)| **byte != 0) {
            view.push(&[*byte], *place);
        }
        Some(view)
    }

    fn push(&mut self, bytes: &[u8], place: (u32, u32)) {
        self.bytes.extend_from_slice(bytes);
        self.places.extend(bytes.iter().map(|_| place));
    }

    /// The place of the bytes from `from` up to `to`.
    fn place(&self, from: usize, to: usize) -> (u32, u32) {
        (self.places[from].0, self.places[to - 1].1)
    }

    fn find(&self, pattern: &Regex, spans: &mut Vec<(usize, usize)>) {
        spans.extend(pattern.find_iter(&self.bytes).filter(|found| !found.is_empty()).map(|found| {
            let (from, to) = self.place(found.start(), found.end());
            (from as usize, to as usize)
        }));
    }

    /// The text with escapes of URLs, JSON, HTML and shells resolved once; `None` if it has none.
    fn unescaped(&self) -> Option<Self> {
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

    /// Its hexadecimal digits in small letters, without separators and marks; anything else is a zero byte.
    fn hex_digits(&self) -> Self {
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
                && !b":,;_-%".contains(&byte)
                && view.bytes.last() != Some(&0)
            {
                view.push(&[0], self.places[at]);
            }
            at += 1;
        }
        view
    }

    /// It without white space, with the letters of URL-safe base64 as those of standard base64.
    fn letters(&self) -> Self {
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

/// What the escape at the beginning of `rest` stands for, and its length.
fn escape(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    match rest {
        [b'%', high, low, ..] => Some((vec![byte_of(&[*high, *low])?], 3)),
        [b'\\', b'x', high, low, ..] => Some((vec![byte_of(&[*high, *low])?], 4)),
        [b'\\', b'u', b'{', ..] => braced(rest),
        [b'\\', b'u', ..] => unicode(rest),
        [b'\\', letter @ (b'n' | b'r' | b't'), ..] => {
            let byte = match letter {
                b'n' => b'\n',
                b'r' => b'\r',
                _ => b'\t',
            };
            Some((vec![byte], 2))
        }
        [b'\\', other, ..] if other.is_ascii_punctuation() || *other == b' ' => Some((vec![*other], 2)),
        [b'&', ..] => entity(rest),
        _ => None,
    }
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `\u{41}`.
fn braced(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b'}')?;
    let digits = std::str::from_utf8(rest.get(3..end)?).ok()?;
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    Some((c.to_string().into_bytes(), end + 1))
}

/// `\u0041`, or two of them for a character outside of the basic plane.
fn unicode(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = unit(rest)?;
    let both = rest.get(6..).and_then(unit).map(|second| [first, second]);
    let decoded =
        |units: &[u16]| String::from_utf16(units).ok().map(|text| (text.into_bytes(), units.len() * 6));
    decoded(&[first]).or_else(|| decoded(&both?))
}

/// `&amp;`, `&#43;` or `&#x2b;`.
fn entity(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&rest[1..end]).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((c.to_string().into_bytes(), end + 1))
}

/// `bytes` with `***` in the place of `spans`, of which some may overlap; with zero bytes between, where the secret has them, so
/// that what comes behind can still be read.
fn masked_bytes(bytes: &[u8], mut spans: Vec<(usize, usize)>) -> Vec<u8> {
    spans.sort_unstable();
    let (mut out, mut done) = (Vec::with_capacity(bytes.len()), 0);
    for (from, to) in spans {
        let to = to.min(bytes.len());
        if from >= done {
            out.extend_from_slice(&bytes[done..from]);
            out.extend(mask_like(&bytes[from..to]));
        }
        done = done.max(to);
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

/// The mask for `secret`, in units as wide as its own.
fn mask_like(secret: &[u8]) -> Vec<u8> {
    let is_zero = |byte: &&u8| **byte == 0;
    let leading = secret.iter().take_while(is_zero).count();
    let trailing = secret.iter().rev().take_while(is_zero).count();
    let zeros = secret.iter().filter(is_zero).count();
    let letters = (secret.len() - zeros).max(1);
    let between = (zeros + letters / 2) / letters;
    let mut mask = vec![0; leading];
    for (at, letter) in MASK.bytes().enumerate() {
        mask.extend(std::iter::repeat_n(0, if at == 0 { 0 } else { between }));
        mask.push(letter);
    }
    mask.extend(std::iter::repeat_n(0, trailing));
    mask
}

/// `text` with `***` in the place of `spans`, of which some may overlap.
fn masked(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    spans.sort_unstable();
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (from, to) in spans {
        let to = text.len().min((to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(to));
        if from >= done {
            let from = (0..=from).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0).max(done);
            out.push_str(&text[done..from]);
            out.push_str(MASK);
        }
        done = done.max(to);
    }
    out.push_str(&text[done..]);
    out
}

#[cfg(test)]
mod tests;
