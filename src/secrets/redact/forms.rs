//! Encoded forms of secrets.

use std::fmt::Write as _;

use encoding_rs::WINDOWS_1252;
use regex::bytes::{Regex, RegexBuilder};

use super::cut::Partial;
use super::numbers::SecretBytes;

/// Fewest characters of masked values: masking `test` or `1234` everywhere would make texts unreadable.
pub(super) const SHORTEST: usize = 6;

/// Most bytes of a compiled pattern.
const LARGEST: usize = 256 << 20;

/// All secrets in one encoding.
pub(super) struct Forms {
    pub(super) pattern: Regex,
    pub(super) partial: Partial,
    /// Bytes that occur in them.
    pub(super) letters: SecretBytes,
}

impl Forms {
    /// A finder for `texts`, longest first. `per_byte` bytes encode at most one byte of a secret.
    pub(super) fn of(texts: impl Iterator<Item = Vec<u8>>, per_byte: usize) -> Option<Self> {
        let mut texts: Vec<Vec<u8>> = texts.filter(|text| text.len() >= SHORTEST).collect();
        texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        let any = texts.iter().map(|text| pattern(text)).collect::<Vec<_>>().join("|");
        // A pattern of escaped literals is always valid; only the size limit could fail, for very many
        // megabytes of secrets.
        let pattern =
            (!any.is_empty()).then(|| RegexBuilder::new(&any).size_limit(LARGEST).build().ok()).flatten()?;
        let mut letters = [false; 256];
        texts.iter().flatten().for_each(|byte| letters[usize::from(*byte)] = true);
        Some(Self { pattern, partial: Partial::of(texts, per_byte), letters })
    }
}

/// A pattern for exactly these bytes.
fn pattern(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => regex::escape(text),
        Err(_) => {
            bytes.iter().fold("(?-u:".to_owned(), |mut text, byte| {
                let _ = write!(text, "\\x{byte:02X}");
                text
            }) + ")"
        }
    }
}

/// `text` in UTF-16, in both byte orders.
pub(super) fn utf16(text: &str) -> [Vec<u8>; 2] {
    let units = || text.encode_utf16();
    [units().flat_map(u16::to_le_bytes).collect(), units().flat_map(u16::to_be_bytes).collect()]
}

/// `text` in encodings that differ from UTF-8 by more than zero bytes, also after such bytes were read as
/// UTF-8.
pub(super) fn foreign(text: &str) -> Vec<Vec<u8>> {
    let units = || text.chars().map(u32::from);
    let mut all = utf16(text).to_vec();
    all.push(units().flat_map(u32::to_le_bytes).collect());
    all.push(units().flat_map(u32::to_be_bytes).collect());
    let (_, _, unmappable) = WINDOWS_1252.encode(text);
    let exact = all.len() + usize::from(!unmappable);
    all.push(text.chars().map(western).collect());
    all.push(text.chars().map(|c| if c.is_ascii() { western(c) } else { b'?' }).collect());
    let lossy: Vec<_> =
        all.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned().into_bytes()).collect();
    // If characters are lost, enough others must be left.
    let is_enough = |bytes: &[u8]| {
        bytes.iter().filter(|byte| byte.is_ascii_graphic() && **byte != b'?').count() >= SHORTEST
    };
    let inexact = all.split_off(exact).into_iter().chain(lossy).filter(|bytes| is_enough(bytes));
    all.extend(inexact.collect::<Vec<_>>());
    all
}

/// `c` in windows-1252; a question mark if it has no such character.
fn western(c: char) -> u8 {
    let mut utf8 = [0; 4];
    let (bytes, _, unmappable) = WINDOWS_1252.encode(c.encode_utf8(&mut utf8));
    bytes.first().copied().filter(|_| !unmappable).unwrap_or(b'?')
}

/// The hexadecimal digits of `text` in UTF-8 and UTF-16.
pub(super) fn hexadecimal(text: &str) -> Vec<Vec<u8>> {
    let all = std::iter::once(text.as_bytes().to_vec()).chain(utf16(text));
    all.map(|bytes| hex(&bytes).into_bytes()).collect()
}

/// The bytes of `text` as in lists of numbers and dumps: in UTF-8, also without blanks, which a dump of
/// characters may omit; with seven bits; and as code units without zeros.
pub(super) fn listed(text: &str) -> Vec<Vec<u8>> {
    let without = |left_out: u8, bytes: &[u8]| {
        bytes.iter().copied().filter(|byte| *byte != left_out).collect::<Vec<_>>()
    };
    let mut all = vec![text.as_bytes().to_vec(), without(b' ', text.as_bytes())];
    if !text.is_ascii() {
        all.push(text.bytes().map(|byte| byte & 0x7F).collect());
        all.extend(utf16(text).map(|bytes| without(0, &bytes)));
    }
    all
}

/// Forms of `text` inside longer base64 texts: in UTF-8 and UTF-16, escaped as in JSON and in URLs, and
/// encoded twice.
pub(super) fn base64(text: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.trim_matches('"').as_bytes().to_vec();
    let url = form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().into_bytes();
    let escaped = [json, url].into_iter().filter(|escaped| escaped != text.as_bytes());
    let twice = shifted(text.as_bytes()).chain([padded_base64(text.as_bytes())]).map(String::into_bytes);
    let all = std::iter::once(text.as_bytes().to_vec()).chain(twice).chain(escaped).chain(utf16(text));
    all.flat_map(|bytes| shifted(&bytes).collect::<Vec<_>>()).map(String::into_bytes).collect()
}

/// Whether the bytes of `text` are an arithmetic or repeating series, as in harmless lists.
pub(super) fn is_series(text: &str) -> bool {
    let mut steps: Vec<i16> =
        text.as_bytes().windows(2).map(|pair| i16::from(pair[1]) - i16::from(pair[0])).collect();
    steps.sort_unstable();
    steps.dedup();
    steps.len() < 3
}

/// Forms of `bytes` inside a longer base64 text, for each alignment.
fn shifted(bytes: &[u8]) -> impl Iterator<Item = String> {
    (0..3).filter_map(|shift| base64_inside(bytes, shift))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn padded_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The letters of `bytes` inside a longer base64 text, `shift` bytes after a multiple of three, without
/// letters that depend on neighbouring bytes.
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
