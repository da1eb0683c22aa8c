use std::borrow::Cow;
use std::collections::VecDeque;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::value::Digest;
use crate::visible;

/// A shortened stream of bytes: its head and tail, within a limit, with the length and digest of the whole
/// stream.
#[derive(Clone, Debug)]
pub struct KeptContent {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    length: u64,
    hasher: Box<blake3::Hasher>,
    /// Text encoding; UTF-8 if unknown.
    encoding: Option<&'static Encoding>,
    /// UTF-32, which is not an encoding of the web.
    wide: Option<WideEncoding>,
}

/// Byte order of UTF-32.
#[derive(Clone, Copy, Debug)]
enum WideEncoding {
    Little,
    Big,
}

impl WideEncoding {
    /// Bytes per character.
    const UNIT: usize = 4;

    /// The encoding of the byte order mark at the beginning of `head`.
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0xFF, 0xFE, 0, 0, ..] => Some(Self::Little),
            [0, 0, 0xFE, 0xFF, ..] => Some(Self::Big),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let code = |unit: &[u8]| {
            let unit: [u8; Self::UNIT] = unit.try_into().ok()?;
            char::from_u32(match self {
                Self::Little => u32::from_le_bytes(unit),
                Self::Big => u32::from_be_bytes(unit),
            })
        };
        bytes.chunks(Self::UNIT).map(|unit| code(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

impl KeptContent {
    /// Empty content that keeps at most `cap` bytes.
    pub fn new(cap: usize) -> Self {
        let half = (cap / 2).max(1);
        let hasher = Box::default();
        Self { head: Vec::new(), tail: VecDeque::new(), half, length: 0, hasher, encoding: None, wide: None }
    }

    /// The first bytes.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The content with text in `encoding`, unless there is a byte order mark.
    #[must_use]
    pub fn in_encoding(self, encoding: Option<&'static Encoding>) -> Self {
        let marked = Encoding::for_bom(&self.head).map(|(encoding, _)| encoding);
        let encoding = marked.or(encoding.filter(|encoding| *encoding != UTF_8));
        Self { encoding, wide: WideEncoding::of(&self.head), ..self }
    }

    /// Content of `bytes`, limited to `cap`.
    pub fn of(bytes: &[u8], cap: usize) -> Self {
        let mut kept = Self::new(cap);
        kept.push(bytes);
        kept
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        let (head, rest) = bytes.split_at(bytes.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Total number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Digest of all bytes.
    pub fn digest(&self) -> Digest {
        // A BLAKE3 hash can always be parsed, so the fallback is never used.
        Digest::parse(&self.hasher.finalize().to_hex()).unwrap_or_else(|| Digest::of([]))
    }

    /// Whether the middle is missing.
    pub fn is_cut(&self) -> bool {
        self.length > (self.head.len() + self.tail.len()) as u64
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether invalid bytes in the encoding were replaced.
    pub fn is_lossy(&self) -> bool {
        self.stretches().iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER))
    }

    /// The content as bytes if nothing is missing, otherwise as text.
    pub fn content(&self) -> Vec<u8> {
        if self.is_cut() { self.text().into_owned().into_bytes() } else { self.joined() }
    }

    /// The content as text, with a note for missing bytes and `U+FFFD` for invalid bytes.
    pub fn text(&self) -> Cow<'_, str> {
        if !self.is_cut() {
            return self.decoded(&self.joined(), true).into();
        }
        let left_out = self.length - (self.head.len() + self.tail.len()) as u64;
        self.stretches().join(&gap(left_out)).into()
    }

    /// The contiguous parts of the content: one, or head and tail.
    pub fn stretches(&self) -> Vec<String> {
        if !self.is_cut() {
            return vec![self.decoded(&self.joined(), true)];
        }
        let mut tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.wide.is_some() {
            let before = self.length - tail.len() as u64;
            let broken = (WideEncoding::UNIT - usize::try_from(before % 4).unwrap_or(0)) % WideEncoding::UNIT;
            tail.drain(..broken.min(tail.len()));
            return vec![self.decoded(&self.head, true), self.decoded(&tail, false)];
        }
        if self.encoding.is_some() {
            if [Some(UTF_16LE), Some(UTF_16BE)].contains(&self.encoding)
                && (self.length - tail.len() as u64) % 2 == 1
            {
                tail.remove(0);
            }
            return vec![self.decoded(&self.head, true), self.decoded(&tail, false)];
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        vec![lossy(whole(&self.head)), lossy(whole_end(&tail))]
    }

    fn decoded(&self, bytes: &[u8], is_start: bool) -> String {
        if let Some(wide) = self.wide {
            return wide.decode(&bytes[if is_start { WideEncoding::UNIT.min(bytes.len()) } else { 0 }..]);
        }
        match self.encoding {
            Some(encoding) if is_start => encoding.decode(bytes).0.into_owned(),
            Some(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
            None => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    fn joined(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }
}

/// `bytes` without an incomplete character at the end.
fn whole(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// `bytes` without an incomplete character at the start.
fn whole_end(bytes: &[u8]) -> &[u8] {
    let rest = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    &bytes[rest..]
}

fn gap(bytes: u64) -> String {
    format!("\n… {bytes} bytes left out …\n")
}

/// A text shortened in its middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Head and tail with a note between them, or the whole text.
    pub text: String,
    /// True if something is missing.
    pub cut: bool,
}

impl Excerpt {
    /// An excerpt with escapes for invisible characters, for people and models.
    pub fn visible(text: &str, cap: usize) -> Self {
        let whole = Self::of_text(text, cap);
        match visible::escape(&whole.text) {
            Cow::Borrowed(_) => whole,
            Cow::Owned(shown) => Self { cut: whole.cut || shown.len() > cap, ..Self::of_text(&shown, cap) },
        }
    }

    /// At most `cap` bytes of `text`, with a note if something is missing.
    pub fn of_text(text: &str, cap: usize) -> Self {
        if text.len() <= cap {
            return Self { text: text.to_owned(), cut: false };
        }
        let boundary = |at: &usize| text.is_char_boundary(*at);
        let head = (0..=cap / 2).rev().find(boundary).unwrap_or(0);
        let tail = (text.len() - cap / 2..text.len()).find(boundary).unwrap_or(text.len());
        let left_out = (tail - head) as u64;
        Self { text: format!("{}{}{}", &text[..head], gap(left_out), &text[tail..]), cut: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_head_tail_length_and_digest() {
        let all: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let mut kept = KeptContent::new(64);
        all.chunks(777).for_each(|chunk| kept.push(chunk));
        assert_eq!(kept.length(), all.len() as u64);
        assert_eq!(kept.digest(), Digest::of(&all));
        let text = kept.text();
        assert!(
            text.starts_with("0\n1\n2\n") && text.ends_with("99999\n") && text.contains("bytes left out")
        );
        assert!(kept.is_cut() && !kept.is_lossy() && text.len() < 128);
    }

    #[test]
    fn what_fits_is_whole_and_invalid_text_is_flagged() {
        let kept = KeptContent::of("grüße".as_bytes(), 8);
        assert_eq!((kept.text().as_ref(), kept.is_cut(), kept.is_lossy()), ("grüße", false, false));
        let kept = KeptContent::of(b"a\xFFb", 16);
        assert_eq!((kept.text().as_ref(), kept.is_lossy()), ("a\u{FFFD}b", true));
        let kept = KeptContent::of("äääääääääää".as_bytes(), 7);
        assert!(kept.is_cut() && !kept.is_lossy(), "{}", kept.text());
    }

    #[test]
    fn text_is_read_in_its_encoding() {
        let latin = KeptContent::of(b"caf\xE9", 64).in_encoding(Some(encoding_rs::WINDOWS_1252));
        assert_eq!((latin.text().as_ref(), latin.is_lossy(), latin.length()), ("café", false, 4));
        let marked = KeptContent::of(b"\xFF\xFEa\0\xE9\0", 64).in_encoding(Some(encoding_rs::WINDOWS_1252));
        assert_eq!(marked.text(), "aé");
        assert_eq!(KeptContent::of(b"\xEF\xBB\xBF{}", 64).in_encoding(None).text(), "{}");
        let wide: Vec<u8> = "é".repeat(50).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cut = KeptContent::of(&wide, 14).in_encoding(Some(UTF_16LE));
        assert!(cut.is_cut() && cut.text().ends_with("ééé"), "{}", cut.text());
    }

    #[test]
    fn an_excerpt_never_splits_a_character() {
        let excerpt = Excerpt::of_text(&"ä".repeat(100), 21);
        assert!(excerpt.cut && excerpt.text.starts_with("äääää\n") && excerpt.text.ends_with("\näääää"));
        assert_eq!(Excerpt::of_text("short", 21).text, "short");
    }
}
