//! Finds parts of secrets where a text was shortened.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use regex::bytes::Regex;

use super::decoded::DecodedText;

/// Fewest characters of a secret that are masked at a cut; fewer also occur in other words.
const LEAST: usize = 3;

/// Fewest characters that are masked on a screen, which has no marks for cuts; half of the value if that is
/// less.
const ENOUGH: usize = 6;

/// Fewest letters, of which only the first may be a capital; fewer could be an ordinary word on a screen.
const WORD: usize = 12;

/// Most bytes between a part of a secret and the cut: the rest of the lines of a dump.
const NEAR: usize = 160;

/// Most bytes between a part of a secret and the cut on a screen: the rest of a number.
const NEXT: usize = 8;

/// Most bytes of an escape.
const ESCAPE: usize = 12;

/// Most marks with, and without, a count that are checked; shortened texts have few.
const MOST: usize = 1_000;

/// Bytes of the longest mark without a count.
const SHORT: usize = 6;

/// Replacement for a character that was cut.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Pattern for marks of omitted text, also inside JSON: an ellipsis, alone or around a count.
static MARK: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:…|\\u2026)(?: [0-9]+ bytes (?:left out|cut) (?:…|\\u2026))?").ok());

/// A position in a text at which something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// More followed here.
    End(usize),
    /// More came before.
    Start(usize),
    /// More may have followed here, on a screen.
    Bottom(usize),
    /// More may have come before, on a screen.
    Top(usize),
    /// What is between these places may be a part of more, on a screen.
    Piece(usize, usize),
}

/// Positions in `text` at which something was omitted.
pub(super) fn edges(text: &[u8]) -> Vec<Edge> {
    let marks = MARK.iter().flat_map(|mark| mark.find_iter(text));
    let mut looked_at = [0; 2];
    marks
        .filter(|mark| {
            let looked_at = &mut looked_at[usize::from(mark.len() > SHORT)];
            *looked_at += 1;
            *looked_at <= MOST
        })
        .flat_map(|mark| {
            let before = without_frame_behind(&text[..mark.start()]).len();
            let behind = text.len() - without_frame_before(&text[mark.end()..]).len();
            [Edge::End(before), Edge::Start(behind)]
        })
        .collect()
}

/// `text` without the bracket, line break and quote before a mark.
fn without_frame_behind(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"[").unwrap_or(text);
    let text = match (text.strip_suffix(b"\n"), text.strip_suffix(b"\\n")) {
        (Some(rest), _) => rest,
        (_, Some(rest)) => &rest[..rest.len() - rest.iter().rev().take_while(|byte| **byte == b'\\').count()],
        _ => text,
    };
    match text {
        [rest @ .., b'"' | b'\'' | b'`'] => rest,
        _ => text,
    }
}

/// `text` without the bracket and line break after a mark.
fn without_frame_before(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(b"]").unwrap_or(text);
    let escape = text.iter().take_while(|byte| **byte == b'\\').count();
    match text.get(escape) {
        Some(b'\n') if escape == 0 => &text[1..],
        Some(b'n') if escape > 0 => &text[escape + 1..],
        _ => text,
    }
}

/// Indexes of texts, and positions in them.
type TextPositions = Vec<(u32, u32)>;

/// Finds beginnings and ends of secrets.
pub(super) struct Partial {
    texts: Vec<Vec<u8>>,
    per_byte: usize,
    /// Positions of all byte triples in the texts; created on first use.
    triples: OnceLock<HashMap<[u8; 3], TextPositions>>,
}

impl Partial {
    /// A finder for `texts`, in which `per_byte` bytes encode one byte.
    pub(super) fn of(texts: Vec<Vec<u8>>, per_byte: usize) -> Self {
        Self { texts, per_byte, triples: OnceLock::new() }
    }

    /// The length of the longest text.
    pub(super) fn longest(&self) -> usize {
        self.texts.iter().map(Vec::len).max().unwrap_or_default()
    }

    /// The part of a secret at `edge` of `text`, decoded by `view`.
    pub(super) fn at(&self, edge: Edge, text: &[u8], view: &DecodedText) -> Option<(usize, usize)> {
        let is_screen = matches!(edge, Edge::Bottom(_) | Edge::Top(_));
        let near = if is_screen { NEXT } else { NEAR };
        match edge {
            Edge::End(end) | Edge::Bottom(end) => {
                let mut whole = &text[..end];
                while let Some(rest) = whole.strip_suffix(REPLACEMENT) {
                    whole = rest;
                }
                let (start, last) =
                    self.begins(view, view.upto(whole.len()), LEAST * self.per_byte, is_screen)?;
                (end <= last + near).then_some((start, end))
            }
            Edge::Start(start) | Edge::Top(start) => {
                let mut rest = &text[start..];
                while let Some(behind) = rest.strip_prefix(REPLACEMENT) {
                    rest = behind;
                }
                let (first, end) = self.ends(view, view.before(text.len() - rest.len()), is_screen)?;
                (first <= start + near).then_some((start, end))
            }
            Edge::Piece(start, end) => {
                let piece = view.bytes.get(view.before(start)..view.upto(end))?;
                self.is_inside(piece).then_some((start, end))
            }
        }
    }

    /// Span of the beginning of a secret, of at least `least` bytes, at the end of the first `length` bytes
    /// of `view`.
    pub(super) fn begins(
        &self,
        view: &DecodedText,
        length: usize,
        least: usize,
        is_screen: bool,
    ) -> Option<(usize, usize)> {
        let bytes = &view.bytes[..length];
        // The escape of its next character may be cut, too.
        let is_escape = |byte: u8| matches!(byte, b'%' | b'\\' | b'&' | 0);
        let cut = (1..=ESCAPE.min(length))
            .filter(|cut| is_escape(bytes[length - cut]) || (*cut == 1 && bytes[length - 1] == b'0'));
        let whole = std::iter::once(0).chain(cut).filter_map(|cut| {
            let bytes = &bytes[..length - cut];
            let longest = self.beginning(bytes, least, is_screen)?;
            Some(view.place(bytes.len() - longest, bytes.len()))
        });
        whole.min_by_key(|(start, _)| *start).map(|(start, end)| (start as usize, end as usize))
    }

    /// Span of the end of a secret at the beginning of the bytes of `view` from `from`.
    fn ends(&self, view: &DecodedText, from: usize, is_screen: bool) -> Option<(usize, usize)> {
        let bytes = &view.bytes[from..];
        // It may follow the rest of an escape.
        let is_escape = |byte: &&u8| byte.is_ascii_alphanumeric() || b"#;}\0".contains(byte);
        let escape = bytes.iter().take(ESCAPE).take_while(is_escape).count();
        let escape = if is_screen { 0 } else { escape };
        let ends = (0..=escape).filter_map(|cut| {
            let least = (LEAST + usize::from(cut > 0)) * self.per_byte;
            let longest = self.ending(&bytes[cut..], least, is_screen)?;
            Some(view.place(from + cut, from + cut + longest))
        });
        ends.max_by_key(|(_, end)| *end).map(|(start, end)| (start as usize, end as usize))
    }

    /// Length of the longest proper prefix of a secret that `bytes` end with.
    fn beginning(&self, bytes: &[u8], least: usize, is_screen: bool) -> Option<usize> {
        let fits = |text: &[u8], length: usize| {
            (least..text.len()).contains(&length)
                && bytes.ends_with(&text[..length])
                && (!is_screen || self.is_telling(text, &text[..length]))
        };
        let short = (least..LEAST).rev().find(|length| self.texts.iter().any(|text| fits(text, *length)));
        let last = bytes.last_chunk::<3>().map(|last| self.places(*last)).unwrap_or_default();
        let long = last.iter().map(|(text, at)| (&self.texts[*text as usize], *at as usize + LEAST));
        long.filter(|(text, length)| fits(text, *length)).map(|(_, length)| length).max().or(short)
    }

    /// Length of the longest proper suffix of a secret that `bytes` begin with; at least three.
    fn ending(&self, bytes: &[u8], least: usize, is_screen: bool) -> Option<usize> {
        let first = self.places(*bytes.first_chunk::<3>()?);
        let rests = first.iter().filter(|(_, at)| *at > 0);
        rests
            .map(|(text, at)| (&self.texts[*text as usize], *at as usize))
            .filter(|(text, at)| text.len() - at >= least && bytes.starts_with(&text[*at..]))
            .filter(|(text, at)| !is_screen || self.is_telling(text, &text[*at..]))
            .map(|(text, at)| text.len() - at)
            .max()
    }

    /// Whether `piece` is a characteristic part of a secret.
    fn is_inside(&self, piece: &[u8]) -> bool {
        let first = piece.first_chunk::<3>().map(|first| self.places(*first)).unwrap_or_default();
        first.iter().any(|(text, at)| {
            let text = &self.texts[*text as usize];
            text[*at as usize..].starts_with(piece) && self.is_telling(text, piece)
        })
    }

    /// Whether `piece` of `text` is characteristic, so that it rarely occurs in other texts.
    fn is_telling(&self, text: &[u8], piece: &[u8]) -> bool {
        let Self { per_byte, .. } = self;
        let least = (ENOUGH * per_byte).min(text.len().div_ceil(2)).max(LEAST * per_byte);
        let is_word = piece.iter().skip(1).all(u8::is_ascii_lowercase) && piece[0].is_ascii_alphabetic()
            || piece.iter().all(u8::is_ascii_uppercase);
        // A multi-line value is not shown as one, and has lines that are not secret.
        let is_one_line = !text.contains(&b'\n');
        is_one_line
            && !is_structured(text)
            && piece.len() >= least
            && (!is_word || piece.len() >= WORD * per_byte)
    }

    /// Positions of these bytes in the texts.
    fn places(&self, triple: [u8; 3]) -> &[(u32, u32)] {
        let narrow = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        let triples = self.triples.get_or_init(|| {
            let mut all: HashMap<_, TextPositions> = HashMap::new();
            for (text, bytes) in self.texts.iter().enumerate() {
                for (at, triple) in bytes.windows(LEAST).enumerate() {
                    if let Ok(triple) = <[u8; 3]>::try_from(triple) {
                        all.entry(triple).or_default().push((narrow(text), narrow(at)));
                    }
                }
            }
            all
        });
        triples.get(&triple).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether most parts of a value are not secret: a URL, JSON, or names with values. Its secret parts are
/// separate values.
fn is_structured(text: &[u8]) -> bool {
    text.windows(3).any(|three| three == b"://")
        || text.starts_with(b"{")
        || text.contains(&b'=') && text.iter().any(|byte| b";&".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;

    const KEY: &str = "Tk-9f8e+7d6c/5bü4a'QQzz";

    fn forms() -> Vec<String> {
        use base64::Engine as _;
        let hexed =
            |between: &str| KEY.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between);
        vec![
            KEY.to_owned(),
            KEY.replace('\'', "'\\''"),
            KEY.replace('\'', "''"),
            form_urlencoded::byte_serialize(KEY.as_bytes()).collect(),
            KEY.replace('ü', "\\u00fc"),
            KEY.replace('\'', "&#39;"),
            hexed(""),
            hexed(" "),
            format!("0x{}", hexed(", 0x")),
            base64::engine::general_purpose::STANDARD.encode(KEY),
        ]
    }

    /// Length of the longest common substring of `shown` and `form`.
    fn left(shown: &str, form: &str) -> usize {
        let chars: Vec<char> = shown.chars().collect();
        let longest = |from: usize| {
            (from..=chars.len())
                .rev()
                .find(|to| form.contains(&chars[from..*to].iter().collect::<String>()))
                .unwrap_or(from)
                - from
        };
        (0..chars.len()).map(longest).max().unwrap_or_default()
    }

    #[test]
    fn a_secret_is_not_shown_wherever_a_text_is_cut() {
        let redactor = Redactor::new([KEY]);
        let shown = |text: &str| redactor.redact(text).unwrap_or_else(|| text.to_owned());
        for form in forms() {
            // Two and a half of three bytes are up to fifteen characters of `0x54, 0x6b, 0x2d`.
            let most = if form.starts_with("0x") { 15 } else { 8 };
            for at in (0..=form.len()).filter(|at| form.is_char_boundary(*at)) {
                let (head, tail) = form.split_at(at);
                for mark in ["\n[… 17 bytes left out …]\n", "\n… 17 bytes left out …\n", "…"] {
                    let text = format!("~~ ~~{head}{mark}{tail}~~ ~~");
                    let cut = shown(&text);
                    assert!(left(&cut.replace(mark, "~"), &form) <= most, "{text:?} → {cut:?}");
                    let json = shown(&serde_json::to_string(&text).unwrap());
                    assert!(left(&json.replace("17 bytes", "~"), &form) <= most, "{text:?} → {json:?}");
                }
                let text = format!("~~ ~~{head}");
                let cut = redactor.redact_head(&text).unwrap_or(text);
                assert!(left(&cut, &form) <= most, "{form} at {at} → {cut}");
            }
        }
    }

    #[test]
    fn plain_characters_of_a_cut_secret_are_masked_from_the_third_on() {
        let redactor = Redactor::new([KEY]);
        let head = |text: &str| redactor.redact_head(text);
        assert_eq!(head("is Tk-9f8e+7d6c/5bü4a'QQz").as_deref(), Some("is ***"));
        assert_eq!(head("is Tk-").as_deref(), Some("is ***"));
        assert_eq!(head("is Tk"), None);
        assert_eq!(head("is Tk-9f8e+7d6c/5b\u{fffd}").as_deref(), Some("is ***"));
        assert_eq!(redactor.redact("is Tk-9f8e"), None, "only where it was cut");
        assert_eq!(
            redactor.redact("… 9 bytes left out …\nQQzz, 1").as_deref(),
            Some("… 9 bytes left out …\n***, 1")
        );
    }

    #[test]
    fn a_text_is_cut_where_no_secret_is() {
        let redactor = Redactor::new(["correct horse battery"]);
        let cut = |text: &str| text[redactor.cut(text, text.len())..].to_owned();
        assert_eq!(cut("it is correct horse "), "correct horse ");
        assert_eq!(cut("it is correct hose"), "");
        assert_eq!(cut("it is 63 6f 72 72"), "63 6f 72 72");
        assert!(cut("x correct%20hor").starts_with("correct%20hor"));
        let whole = "it is (correct horse battery)";
        assert_eq!(&whole[redactor.cut(whole, whole.len() - 8)..], "correct horse battery)");
        assert_eq!(redactor.cut(whole, 3), 3);
    }
}
