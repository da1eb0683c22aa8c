//! Escape in typed text: a key by itself, or the beginning of a code that a terminal sends.

use std::sync::LazyLock;

use regex::Regex;

/// A complete code: CSI and SS3 as keys send them, or a string of a terminal answer.
const CODE: &str = r"^\x1b(?s:\[[0-?]*[ -/]*[@-~]|O[A-DFHMP-S]|[\]P_^X][^\x1b\x07]*(?:\x07|\x1b\\))";

/// Splits `text` into pieces that are each typed at once. A pause follows a piece that ends with Escape, so
/// that programs do not read it as one key with the next piece.
pub fn apart(text: &str) -> Vec<String> {
    static CODES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(CODE).ok());
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\x1b').map(|found| at + found) {
        let code = CODES.as_ref().and_then(|codes| codes.find(&text[found..]));
        at = found + code.map_or(1, |code| code.end());
        if code.is_none() {
            pieces.push(text[from..at].to_owned());
            from = at;
        }
    }
    if from < text.len() {
        pieces.push(text[from..].to_owned());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_is_typed_by_itself_and_codes_as_a_whole() {
        for (text, pieces) in [
            ("", vec![]),
            ("plain", vec!["plain"]),
            ("ihello\x1b:wq\r", vec!["ihello\x1b", ":wq\r"]),
            ("\x1b\x1bg\x1b", vec!["\x1b", "\x1b", "g\x1b"]),
            ("\x1b[A\x1b[1;5Dx", vec!["\x1b[A\x1b[1;5Dx"]),
            ("\x1b[<0;3;4M\x1bOP", vec!["\x1b[<0;3;4M\x1bOP"]),
            ("\x1bOnew line", vec!["\x1b", "Onew line"]),
            ("\x1b]11;rgb:0/0/0\x07\x1b", vec!["\x1b]11;rgb:0/0/0\x07\x1b"]),
            ("\x1b]é", vec!["\x1b", "]é"]),
        ] {
            assert_eq!(apart(text), pieces, "{text:?}");
        }
    }
}
