//! The text encoding of a body: from its byte order mark, its `Content-Type`, or a declaration in HTML or
//! XML; otherwise UTF-8.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use regex::Regex;

/// Length of the start of a document in which a declaration is searched, in bytes.
const DECLARED_WITHIN: usize = 1024;

/// The encoding that a media type names, if it is known.
pub fn of_type(media_type: &str) -> Option<&'static Encoding> {
    let parameters = media_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    Encoding::for_label(charsets.next()?.1.trim().trim_matches(['"', '\'']).as_bytes())
}

/// The encoding of a body that begins with `head`. A byte order mark takes precedence when the text is read.
pub fn of_body(media_type: &str, head: &[u8]) -> Option<&'static Encoding> {
    of_type(media_type).or_else(|| {
        let is_markup = ["html", "xml"].iter().any(|kind| media_type.to_ascii_lowercase().contains(kind));
        let head = String::from_utf8_lossy(&head[..head.len().min(DECLARED_WITHIN)]);
        let declared = r#"(?i)<(?:meta\s[^>]*?charset|\?xml\s[^>]*?encoding)\s*=\s*["']?\s*([a-z0-9_:.-]+)"#;
        let label = is_markup.then(|| Regex::new(declared).ok()?.captures(&head)?.get(1)).flatten()?;
        // A document that can be read as ASCII is not UTF-16, whatever it declares.
        let encoding = Encoding::for_label(label.as_str().as_bytes())?;
        Some(if [UTF_16LE, UTF_16BE].contains(&encoding) { UTF_8 } else { encoding })
    })
}

/// `text` in `encoding`. The error names a character that the encoding does not have.
pub fn encode(text: &str, encoding: &'static Encoding) -> Result<Vec<u8>, String> {
    if encoding == UTF_16LE {
        return Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    if encoding == UTF_16BE {
        return Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    let mut encoder = encoding.new_encoder();
    let mut bytes = Vec::with_capacity(
        encoder.max_buffer_length_from_utf8_without_replacement(text.len()).unwrap_or(text.len()),
    );
    match encoder.encode_from_utf8_to_vec_without_replacement(text, &mut bytes, true).0 {
        encoding_rs::EncoderResult::Unmappable(c) => Err(format!(
            "the body cannot be encoded as {}, which its `Content-Type` names: that encoding has no `{c}`",
            encoding.name()
        )),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_counts() {
        let name = |media_type: &str, head: &[u8]| of_body(media_type, head).map(Encoding::name);
        assert_eq!(name("text/html; charset=ISO-8859-1", b""), Some("windows-1252"));
        assert_eq!(name("text/plain;format=flowed; Charset=\"utf-16le\"", b""), Some("UTF-16LE"));
        assert_eq!(name("text/html", b"<!doctype html><meta charset=koi8-r>"), Some("KOI8-R"));
        let old = b"<META http-equiv=Content-Type content=\"text/html; charset=Shift_JIS\">";
        assert_eq!(name("text/html", old), Some("Shift_JIS"));
        assert_eq!(name("application/xml", b"<?xml version='1.0' encoding='latin1'?>"), Some("windows-1252"));
        assert_eq!(name("application/json", b"<meta charset=koi8-r>"), None);
        assert_eq!(name("text/plain; charset=nonsense", b""), None);
    }

    #[test]
    fn a_body_is_written_as_its_type_says() {
        assert_eq!(encode("caf\u{E9}", encoding_rs::WINDOWS_1252).unwrap(), b"caf\xE9");
        assert_eq!(encode("a", UTF_16BE).unwrap(), b"\0a");
        assert!(
            encode("\u{20BF}", encoding_rs::WINDOWS_1252).unwrap_err().ends_with("that encoding has no `₿`")
        );
    }
}
