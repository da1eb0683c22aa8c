//! Checks the nesting of TOML before it is parsed, because the parser is recursive.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::extent::{MAX_READ_DEPTH, nested};

/// Most open brackets: those of a value of the maximum depth, and some for mistakes.
const MOST_OPEN: usize = MAX_READ_DEPTH + 16;

/// Span in `text` at which too many brackets are open, and a message.
pub fn too_deep(text: &str) -> Option<(std::ops::Range<usize>, String)> {
    let mut open = 0_usize;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket => open += 1,
            TokenKind::RightCurlyBracket | TokenKind::RightSquareBracket => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MOST_OPEN {
            let span = token.span();
            let why = format!("this is {}; earlier brackets may not be closed", nested(MAX_READ_DEPTH));
            return Some((span.start()..span.end(), why));
        }
    }
    None
}

/// Parses TOML from outside.
pub fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    match too_deep(text) {
        Some((_, why)) => Err(serde::de::Error::custom(why)),
        None => toml::from_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_without_an_end_are_counted_over_all_lines() {
        for text in ["[steps.s]\nset={a=1\n", "x={a=1\n[t]\n", "a=[\n", "a={a={", "[[x]]\nb = [[\n"] {
            assert!(too_deep(&text.repeat(5_000)).is_some(), "{text}");
            assert!(parse_toml::<toml::Table>(&text.repeat(5_000)).is_err(), "{text}");
        }
        let fine = "[a.b]\nx = [1, { y = \"{{[[\" }]\nz = '''[[[\n{{{'''\n# {{{\n[[c]]\n".repeat(500);
        assert_eq!(too_deep(&fine), None);
        let deep = format!("a = {}{}", "[".repeat(60), "]".repeat(60));
        assert!(parse_toml::<toml::Table>(&deep).is_ok());
    }
}
