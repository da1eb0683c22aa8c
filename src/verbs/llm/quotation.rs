//! Whether a value in an answer is quoted from the request: a judge that repeats a product's output has not
//! judged.

use std::collections::HashSet;

use super::json_extract::differ;
use super::pieces::{self, JsonPiece};
use crate::llm::ModelRequest;
use crate::value::Value;

/// The number of consecutive words that are compared.
const WORDS_IN_A_ROW: usize = 3;
/// The maximum number of words of a value that are compared.
const MOST_WORDS: usize = 2000;

/// Whether `value`, which an answer contains as `text`, is part of the request: literally, as an equal value,
/// or in similar words.
pub(super) fn is_quoted(request: &ModelRequest, value: &Value, text: &str) -> bool {
    let text = squeezed(text);
    let said = QuotedWords::of(value);
    let contents = request.messages.iter().map(|message| message.content.as_str());
    contents.chain(request.system.as_deref()).any(|content| {
        let is_equal = |content: &str| {
            let mut pieces = pieces::pieces(content).list.into_iter();
            pieces.any(|piece| matches!(piece, JsonPiece::Value { value: whole, .. } if has(&whole, value)))
        };
        squeezed(content).contains(&text)
            || is_equal(content)
            || is_equal(&content.replace("\\\"", "\""))
            || said.is_in(content)
    })
}

/// Whether `value` is `whole` or a part of it.
fn has(whole: &Value, value: &Value) -> bool {
    let is_same = match (whole, value) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && b.keys().all(|key| a.contains_key(key)) && !differ(whole, value)
        }
        _ => !value.is_object() && !differ(whole, value),
    };
    is_same
        || match whole {
            Value::Object(table) => table.values().any(|part| has(part, value)),
            Value::Array(items) => items.iter().any(|part| has(part, value)),
            _ => false,
        }
}

/// `text` without differences of JSON escaping and line wrapping: white space, backslashes, and the letters
/// of escapes for white space.
fn squeezed(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => drop(characters.next_if(|next| matches!(next, 'n' | 'r' | 't'))),
            c if c.is_whitespace() => {}
            c => squeezed.push(c),
        }
    }
    squeezed
}

/// The words of a value, independent of their notation.
struct QuotedWords {
    /// Names and the values below them, as words.
    fields: Vec<Vec<String>>,
    /// The runs of words of its longer texts.
    runs: HashSet<Vec<String>>,
}

impl QuotedWords {
    fn of(value: &Value) -> Self {
        let mut said = Self { fields: Vec::new(), runs: HashSet::new() };
        said.add(None, value);
        said
    }

    fn add(&mut self, name: Option<&str>, value: &Value) {
        match value {
            Value::Object(table) => table.iter().for_each(|(name, value)| self.add(Some(name), value)),
            Value::Array(items) => items.iter().for_each(|item| self.add(name, item)),
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let mut of_value: Vec<String> = words(&text).take(MOST_WORDS).collect();
                if of_value.len() > WORDS_IN_A_ROW {
                    self.runs.extend(of_value.windows(WORDS_IN_A_ROW).map(<[_]>::to_vec));
                } else {
                    let mut field: Vec<String> = name.map(words).into_iter().flatten().collect();
                    field.append(&mut of_value);
                    self.fields.push(field);
                }
            }
        }
    }

    /// Whether `content` has the same words: each short field, and half of the word runs of the longer texts.
    fn is_in(&self, content: &str) -> bool {
        let is_short = self.fields.iter().map(Vec::len).sum::<usize>() <= WORDS_IN_A_ROW;
        if self.runs.is_empty() && is_short {
            return false;
        }
        let all: Vec<String> = words(content).collect();
        if self.runs.is_empty() {
            return self.fields.iter().all(|field| all.windows(field.len().max(1)).any(|run| run == field));
        }
        let there: HashSet<&[String]> = all.windows(WORDS_IN_A_ROW).collect();
        let known = self.runs.iter().filter(|run| there.contains(run.as_slice())).count();
        known * 2 >= self.runs.len()
    }
}

/// The words of `text`: letters and digits in lower case. JSON and HTML escapes are decoded; terminal codes
/// and invisible characters are removed.
fn words(text: &str) -> impl Iterator<Item = String> {
    let plain = unescaped(text).to_lowercase();
    let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (character, length) = escape(rest).unwrap_or((Some(c), c.len_utf8()));
        plain.extend(character.filter(|c| !is_invisible(*c)));
        rest = &rest[length..];
    }
    plain
}

/// The character of the escape at the beginning of `text`, if there is one, and the length of the escape.
fn escape(text: &str) -> Option<(Option<char>, usize)> {
    let bytes = text.as_bytes();
    match bytes {
        [b'\\', b'u', ..] => {
            let code = text.get(2..6)?;
            Some((Some(char::from_u32(u32::from_str_radix(code, 16).ok()?)?), 6))
        }
        [b'\\', b'n' | b't' | b'r', ..] => Some((Some(' '), 2)),
        [0x1b, b'[', ..] => {
            let end = bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte))?;
            Some((None, end + 3))
        }
        [b'&', ..] => {
            let end = text.bytes().take(12).position(|byte| byte == b';')?;
            let name = &text[1..end];
            let code = match name.strip_prefix('#') {
                Some(number) => match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                },
                None if matches!(name, "quot" | "amp" | "apos" | "lt" | "gt" | "nbsp") => 0x20,
                None => return None,
            };
            Some((Some(char::from_u32(code)?), end + 1))
        }
        _ => None,
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}
