//! Finds secret values in text: as they are, and in the encodings in which programs commonly print them. Every pass reads the text
//! once: a program that prints almost a secret very often costs no more than any other.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

/// Shorter values are not redacted: removing `test` or `1234` everywhere would make every text unreadable.
const SHORTEST: usize = 6;

/// Lines of values of several lines that are shorter are not redacted by themselves.
const LONG: usize = 16;

/// Most bytes of a compiled pattern.
const LARGEST: usize = 256 << 20;

/// How often text may have been escaped.
const ESCAPED: usize = 3;

/// What replaces a secret.
const MASK: &str = "***";

/// Replaces secret values by `***`.
pub(super) struct Redactor {
    plain: Option<Regex>,
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
        let hex = texts.iter().map(|text| hex(text.as_bytes()));
        let base64 = texts.iter().flat_map(|text| {
            let twice = padded_base64(text.as_bytes());
            let shifts =
                |bytes: &[u8]| (0..3).filter_map(|shift| base64_inside(bytes, shift)).collect::<Vec<_>>();
            [shifts(text.as_bytes()), shifts(twice.as_bytes())].concat()
        });
        Self { plain: any_of(plain), hex: any_of(hex), base64: any_of(base64), numbers }
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
        let plain = self.plain.as_ref()?;
        let mut spans: Vec<(usize, usize)> =
            plain.find_iter(text.as_bytes()).map(|found| (found.start(), found.end())).collect();
        if text.len() >= SHORTEST {
            let mut view = View::of(text);
            self.find_encoded(&view, &mut spans);
            for _ in 0..ESCAPED {
                let Some(inner) = view.unescaped() else { break };
                view = inner;
                view.find(plain, &mut spans);
                self.find_encoded(&view, &mut spans);
            }
        }
        (!spans.is_empty()).then(|| masked(text, spans))
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

    fn of(text: &str) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let places = (0..text.len()).map(|at| (place(at), place(at + 1))).collect();
        Self { bytes: text.as_bytes().to_vec(), places }
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

/// A value, and the long lines of one of several lines, as logs print them one by one; lines such as `-----BEGIN` are not
/// secret.
fn parts(value: &str) -> Vec<&str> {
    let mut parts = vec![value, value.trim()];
    if value.contains('\n') {
        let lines = value.lines().map(str::trim);
        parts.extend(lines.filter(|line| line.len() >= LONG && !line.starts_with("---")));
    }
    parts.retain(|part| part.trim().len() >= SHORTEST);
    parts
}

/// A pattern for any of `texts`, the longest first.
fn any_of(texts: impl Iterator<Item = String>) -> Option<Regex> {
    let mut texts: Vec<String> = texts.filter(|text| text.len() >= SHORTEST).collect();
    texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    texts.dedup();
    let any = texts.iter().map(|text| regex::escape(text)).collect::<Vec<_>>().join("|");
    // A pattern of escaped literals is always valid; the limit is what could fail, for very many megabytes of secrets.
    (!any.is_empty()).then(|| RegexBuilder::new(&any).size_limit(LARGEST).build().ok()).flatten()
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn padded_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The letters that `bytes` become inside a longer base64 text in which they begin `shift` bytes after a multiple of
/// three; letters that their neighbours have a part in are left out.
fn base64_inside(bytes: &[u8], shift: usize) -> Option<String> {
    let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
    let bit = |i: usize| padded[i / 8] >> (7 - i % 8) & 1;
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    let letters: String = (first..last)
        .map(|letter| (0..6).fold(0, |sum, i| sum << 1 | bit(letter * 6 + i)))
        .map(|index| char::from(ALPHABET[usize::from(index)]))
        .collect();
    (letters.len() >= SHORTEST).then_some(letters)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    const KEY: &str = "sk-live+key/with?\"marks\" & ünï";

    fn redact(text: &str) -> String {
        Redactor::new([KEY]).redact(text).unwrap_or_else(|| text.to_owned())
    }

    fn hexed(with: &str, between: &str) -> String {
        KEY.bytes().map(|byte| format!("{with}{byte:02x}")).collect::<Vec<_>>().join(between)
    }

    #[test]
    fn every_common_encoding_is_found() {
        let standard = base64::engine::general_purpose::STANDARD;
        let encoded = |text: &str| standard.encode(text);
        let wrapped = |text: &str| {
            let letters: Vec<char> = text.chars().collect();
            letters.chunks(20).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\n")
        };
        let json = serde_json::to_string(KEY).unwrap();
        let html =
            KEY.replace('&', "&amp;").replace('"', "&quot;").replace('ü', "&#252;").replace('ï', "&#xEF;");
        let form: String = form_urlencoded::byte_serialize(KEY.as_bytes()).collect();
        let all = [
            KEY.to_owned(),
            serde_json::to_string(&json).unwrap(),
            json,
            html,
            form.replace('%', "%25"),
            form.replace('+', "%20").to_ascii_lowercase(),
            form,
            "sk-live+key\\/with?\\\"marks\\\" & \\u00fcn\\u00EF".to_owned(),
            hexed("", ""),
            hexed("", "").to_uppercase(),
            hexed("", ":"),
            hexed("0x", ", "),
            hexed("\\x", ""),
            hexed("%", ""),
            hexed("\\u00", ""),
            encoded(KEY),
            encoded(&format!("x:{KEY}")),
            encoded(&format!("me:{KEY}")),
            wrapped(&encoded(&format!("{{\"token\": \"{KEY}\", \"more\": 1}}"))),
            wrapped(&encoded(KEY)).replace('\n', "\\n"),
            encoded(KEY).replace('+', "%2B").replace('/', "%2F"),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(KEY),
            encoded(&encoded(KEY)),
        ];
        for form in all {
            let shown = redact(&format!("Authorization: {form}, end"));
            let left = shown.replace("Authorization: ", "").replace(", end", "");
            assert!(left.contains("***"), "{form} → {shown}");
            assert!(left.len() < 24 || form.starts_with("eyJ0b2tlbi"), "{form} → {shown}");
        }
    }

    #[test]
    fn other_text_stays() {
        for text in
            ["", "sk-live", "sk-livekey/with", "aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91", "73 6b 2d 6c", "***"]
        {
            assert_eq!(redact(text), text);
        }
        assert!(Redactor::new(["", "short", "     x     "]).is_empty());
    }

    #[test]
    fn a_long_value_comes_before_one_that_it_contains() {
        let both = Redactor::new(["open-sesame", "open-sesame-and-more"]);
        assert_eq!(both.redact("<open-sesame-and-more>").as_deref(), Some("<***>"));
        assert_eq!(both.redact("<open-sesame>").as_deref(), Some("<***>"));
        assert!(Redactor::new(["7315591466"]).numbers() && !both.numbers());
    }

    #[test]
    fn many_long_secrets_are_found_in_much_text() {
        let values: Vec<String> =
            (0..40).map(|n| format!("{}-{n}-{}", "Aa9_".repeat(40), "z/+".repeat(10))).collect();
        let redactor = Redactor::new(values.iter().map(String::as_str));
        let text = format!("{}{}", "Aa9_".repeat(20_000), values[39]);
        assert!(redactor.redact(&text).is_some_and(|shown| shown.ends_with("***")));
    }
}
