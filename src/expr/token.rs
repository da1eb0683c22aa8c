//! Cutting expression text into tokens, each with its exact place.

use std::ops::Range;

use super::fault::{Fault, FaultKind};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// Quoted text, unescaped.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64`.
    Big(u64),
    /// A number with a point or an exponent.
    Float(f64),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// A token and its bytes.
pub(super) type Spanned = (Token, Range<usize>);

/// Where the tokens of an expression end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// At the end of the text.
    End,
    /// At `}}`.
    Braces,
    /// At `%}`.
    Block,
}

/// The tokens of one expression or tag.
#[derive(Debug)]
pub(super) struct Tokens {
    /// The tokens, in order.
    pub list: Vec<Spanned>,
    /// Where the closing delimiter begins.
    pub close: usize,
    /// Where the text goes on after it.
    pub next: usize,
    /// `-` or `+` written before the closing delimiter.
    pub mark: Option<char>,
}

const SIGNS: [&str; 29] = [
    "??", "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "|", ".", ",", ":", "(", ")",
    "[", "]", "{", "}", "<", ">", "=", "!", "&", "?",
];

/// The tokens of `text` from byte `at` on.
pub(super) fn tokens(text: &str, at: usize, until: Until) -> Result<Tokens, Fault> {
    let mut list = Vec::new();
    let mut depth = 0usize;
    let mut at = at;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            return match until {
                Until::End => Ok(Tokens { list, close: at, next: at, mark: None }),
                Until::Braces => Err(open(text, "}}")),
                Until::Block => Err(open(text, "%}")),
            };
        };
        if depth == 0
            && let Some((mark, length)) = closing(rest, until)
        {
            return Ok(Tokens { list, close: at, next: at + length, mark });
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = token(text, at, first)?;
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => depth = depth.saturating_sub(1),
            _ => {}
        }
        list.push((token, at..at + length));
        at += length;
    }
}

fn open(text: &str, closing: &str) -> Fault {
    Fault::new(FaultKind::Syntax, text.len()..text.len(), format!("`{closing}` is missing"))
}

fn closing(rest: &str, until: Until) -> Option<(Option<char>, usize)> {
    let delimiter = match until {
        Until::End => return None,
        Until::Braces => "}}",
        Until::Block => "%}",
    };
    if rest.starts_with(delimiter) {
        return Some((None, 2));
    }
    let mark = rest.chars().next().filter(|c| matches!(c, '-' | '+'))?;
    rest[1..].starts_with(delimiter).then_some((Some(mark), 3))
}

fn token(text: &str, at: usize, first: char) -> Result<(Token, usize), Fault> {
    let rest = &text[at..];
    if first.is_ascii_alphabetic() || first == '_' {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if first == '"' || first == '\'' {
        return quoted(rest, at, first);
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(&sign @ ("!" | "&" | "?")) => {
            let help = match sign {
                "!" => "write `not`",
                "&" => "write `and`",
                _ => "write `a if condition else b`",
            };
            Err(Fault::new(FaultKind::Syntax, at..at + 1, format!("`{sign}` has no meaning here")).help(help))
        }
        Some(sign) => Ok((Token::Sign(sign), sign.len())),
        None => Err(Fault::new(
            FaultKind::Syntax,
            at..at + first.len_utf8(),
            format!("`{first}` has no meaning in an expression"),
        )),
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Fault> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .map_or(rest.len(), |length| from + length)
    };
    let byte = |i: usize| rest.as_bytes().get(i).copied().unwrap_or(0);
    let mut end = digits(0);
    let mut float = false;
    if byte(end) == b'.' && byte(end + 1).is_ascii_digit() {
        float = true;
        end = digits(end + 1);
    }
    if matches!(byte(end), b'e' | b'E') {
        let sign = usize::from(matches!(byte(end + 1), b'+' | b'-'));
        if byte(end + 1 + sign).is_ascii_digit() {
            float = true;
            end = digits(end + 1 + sign);
        }
    }
    let wrong = |end: usize, why: &str| Err(Fault::new(FaultKind::Syntax, at..at + end, why));
    if byte(end).is_ascii_alphabetic() || byte(end) == b'_' {
        return wrong(end + 1, "a number cannot be followed by a letter");
    }
    let plain = rest[..end].replace('_', "");
    let token = if float {
        plain.parse().ok().filter(|number: &f64| number.is_finite()).map(Token::Float)
    } else {
        plain.parse().map(Token::Int).or_else(|_| plain.parse().map(Token::Big)).ok()
    };
    match token {
        Some(token) => Ok((token, end)),
        None => wrong(end, "this number is too large"),
    }
}

fn quoted(rest: &str, at: usize, quote: char) -> Result<(Token, usize), Fault> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Text(text), i + 1));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some((j, escaped)) = chars.next() else { break };
        match escaped {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '"' | '\'' | '\\' | '/' => text.push(escaped),
            'u' => {
                let unit = rest.get(j + 1..j + 5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let Some(c) = unit.and_then(char::from_u32) else {
                    let help = "write four hexadecimal digits, or the character itself";
                    return Err(Fault::new(
                        FaultKind::Syntax,
                        at + i..at + j + 1,
                        "`\\u` names no character",
                    )
                    .help(help));
                };
                text.push(c);
                for _ in 0..4 {
                    chars.next();
                }
            }
            // A backslash before anything else is a backslash, so that patterns like `'\d+'` read as written.
            other => text.extend(['\\', other]),
        }
    }
    Err(Fault::new(FaultKind::Syntax, at..at + rest.len(), "this text has no closing quote"))
}
