//! The pieces of a text that may be JSON values, in order.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::value::{MAX_READ_DEPTH, Value, is_deeper, nested};

/// The maximum number of bytes examined in one text; bytes that are examined again count again.
const WORK: usize = 32 << 20;
/// The maximum number of characters of a name, and of an excerpt that shows where a value is malformed.
const NAME: usize = 64;
const SHOWN: usize = 40;

/// A part of a text that is, or looks like, a JSON value.
#[derive(Debug, PartialEq)]
pub(super) enum JsonPiece {
    /// A value; `repeats` a name in one object with another value.
    Value { value: Value, repeats: bool },
    /// A malformed value: the first name in it, and the position of the error.
    Malformed { name: Option<String>, why: String },
    /// An incomplete value at the end of the text, and the first name in it.
    Unfinished { name: Option<String> },
}

/// The objects and lists in a text.
#[derive(Debug, Default)]
pub(super) struct JsonPieces {
    pub(super) list: Vec<JsonPiece>,
    /// Their positions.
    pub(super) places: Vec<Range<usize>>,
    /// The text was too long to examine all of it.
    pub(super) cut: bool,
}

/// The piece that begins at a position, its length, and how many bytes were examined to find it.
struct PieceRead {
    piece: Option<JsonPiece>,
    length: usize,
    work: usize,
}

/// The value of `text`, if it is exactly one value.
pub(super) fn whole(text: &str) -> Option<JsonPiece> {
    let text = text.trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Some(whole_value(value, repeats(text)));
    }
    let length = extent(text, true).filter(|length| *length == text.len())?;
    let value = repaired(&text[..length])?;
    Some(whole_value(value, false))
}

/// A value, unless it is nested too deeply.
fn whole_value(value: Value, repeats: bool) -> JsonPiece {
    if !is_deeper(&value, MAX_READ_DEPTH) {
        return JsonPiece::Value { value, repeats };
    }
    let name = value.as_object().and_then(|table| table.keys().next()).cloned();
    JsonPiece::Malformed { name, why: format!("the JSON is {}", nested(MAX_READ_DEPTH)) }
}

/// The objects and lists in `text`, except those inside others.
pub(super) fn pieces(text: &str) -> JsonPieces {
    let mut found = JsonPieces::default();
    let (mut at, mut work) = (0, 0);
    while let Some(start) = text[at..].find(['{', '[']) {
        let start = at + start;
        let PieceRead { piece, length, work: done } = read(text, start);
        work += done;
        let last = matches!(piece, Some(JsonPiece::Unfinished { .. }));
        if let Some(piece) = piece {
            found.list.push(piece);
            found.places.push(start..start + length);
        }
        // The rest is inside an incomplete piece: a value found there is not the answer.
        if last {
            break;
        }
        if work > WORK {
            found.cut = true;
            break;
        }
        at = start + length.max(1);
    }
    found
}

fn read(text: &str, start: usize) -> PieceRead {
    let rest = &text[start..];
    let name = name(rest);
    if name.is_none() && !may_begin(rest) {
        return PieceRead { piece: None, length: 1, work: 1 };
    }
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let error = match values.next() {
        Some(Ok(value)) => {
            let length = values.byte_offset();
            let repeats = repeats(&rest[..length]);
            return PieceRead { piece: Some(whole_value(value, repeats)), length, work: 2 * length };
        }
        Some(Err(error)) => error,
        None => return PieceRead { piece: None, length: 1, work: 1 },
    };
    if error.is_eof() {
        return PieceRead {
            piece: Some(JsonPiece::Unfinished { name }),
            length: rest.len(),
            work: rest.len(),
        };
    }
    let broken = offset(rest, &error);
    let (inside, outside) = (extent(rest, true), extent(rest, false));
    let work = broken + 2 * inside.max(outside).unwrap_or(rest.len());
    if let Some((length, value)) = inside.and_then(|length| Some((length, repaired(&rest[..length])?))) {
        return PieceRead { piece: Some(whole_value(value, false)), length, work };
    }
    let why = complaint(text, start + broken, &error);
    let piece = name.map(|name| JsonPiece::Malformed { name: Some(name), why });
    PieceRead { piece, length: inside.max(outside).unwrap_or(1), work }
}

/// Whether a value can begin like this: prose has brackets as well.
fn may_begin(rest: &str) -> bool {
    let next = rest[1..].trim_start().chars().next();
    match next {
        None => true,
        Some(c) if rest.starts_with('{') => matches!(c, '"' | '}'),
        Some(c) => matches!(c, '{' | '[' | '"' | ']' | '-' | 't' | 'f' | 'n') || c.is_ascii_digit(),
    }
}

/// The first name in the object that begins here, however it is quoted.
fn name(rest: &str) -> Option<String> {
    let rest = rest.strip_prefix('{')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let rest = quote.map_or(rest, |_| &rest[1..]);
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$') || (quote.is_some() && c == ' ');
    let end = rest.find(|c| !plain(c)).filter(|end| (1..=NAME).contains(end))?;
    let after = rest[end..].strip_prefix(quote.map_or("", |q| if q == '"' { "\"" } else { "'" }))?;
    after.trim_start().starts_with(':').then(|| rest[..end].to_owned())
}

/// The length of the value that begins here, by its brackets; `strings` says whether those inside strings are
/// skipped.
fn extent(rest: &str, strings: bool) -> Option<usize> {
    let (mut depth, mut inside, mut escaped) = (0_usize, false, false);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' if strings => inside = !inside,
            _ if inside => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The value of `text` after repair: commas before a closing bracket are removed; line breaks, other control
/// characters and unpaired surrogates in strings are escaped.
fn repaired(text: &str) -> Option<Value> {
    let mut good = String::with_capacity(text.len() + 16);
    let (mut inside, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        let ends = || text[at + 1..].trim_start().starts_with(['}', ']']);
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ',' if !inside && ends() => continue,
            c if inside && c.is_control() && u32::from(c) < 0x20 => {
                let _ = write!(good, "\\u{:04x}", u32::from(c));
                continue;
            }
            _ => {}
        }
        good.push(c);
    }
    serde_json::from_str(&good).ok()
}

/// The length of the part of `rest` that could be read.
fn offset(rest: &str, error: &serde_json::Error) -> usize {
    let lines = rest.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len);
    let mut at = (lines.sum::<usize>() + error.column().saturating_sub(1)).min(rest.len());
    while !rest.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn complaint(text: &str, at: usize, error: &serde_json::Error) -> String {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let near: String = text[at..].chars().take(SHOWN).collect();
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    format!("the JSON breaks in line {line}, column {column}, at {near:?}: {what}")
}

/// Whether an object in `text`, which is JSON, has two different values for the same name.
fn repeats(text: &str) -> bool {
    serde_json::from_str::<UniqueKeys>(text).is_err()
}

/// A value whose objects have each name once, or several times with equal values.
struct UniqueKeys(Value);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeysVisitor).map(Self)
    }
}

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(UniqueKeys(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut table: HashMap<String, Value> = HashMap::new();
        while let Some((name, UniqueKeys(value))) = fields.next_entry::<String, UniqueKeys>()? {
            if table.get(&name).is_some_and(|before| *before != value) {
                return Err(Error::custom(format!("`{name}` has two values")));
            }
            table.insert(name, value);
        }
        Ok(Value::Object(table.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        let values = pieces(text).list.into_iter();
        values
            .filter_map(|piece| if let JsonPiece::Value { value, .. } = piece { Some(value) } else { None })
            .collect()
    }

    #[test]
    fn values_are_found_among_prose_and_not_inside_of_others() {
        let text = "See [1] for {the rules} [as {asked}]. {\"a\": {\"b\": 1}} and [{\"c\": 2}], {} too";
        assert_eq!(values(text), [json!([1]), json!({"a": {"b": 1}}), json!([{"c": 2}]), json!({})]);
        assert_eq!(
            values("{\"a\": \"he said \"{\"b\": 1}\" twice\"}"),
            Vec::<Value>::new(),
            "inside a malformed value"
        );
    }

    #[test]
    fn small_slips_are_put_right() {
        let text = "{\"a\": \"one\ntwo\tthree\", \"b\": [1, 2, ], }";
        assert_eq!(values(text), [json!({"a": "one\ntwo\tthree", "b": [1, 2]})]);
        assert_eq!(whole(text), Some(JsonPiece::Value { value: values(text).remove(0), repeats: false }));
        assert_eq!(whole("{\"a\": 1} and"), None);
    }

    #[test]
    fn what_is_no_value_says_where_it_breaks() {
        let list = pieces("Well:\n{\"score\": 7 \"why\": \"fine\"}").list;
        let [JsonPiece::Malformed { name: Some(name), why }] = &list[..] else { panic!("{list:?}") };
        assert_eq!(name, "score");
        assert!(why.starts_with("the JSON breaks in line 2, column 13, at \"\\\"why\\\""), "{why}");
        for text in ["{score: 7}", "{'score': 7}"] {
            assert!(
                matches!(&pieces(text).list[..], [JsonPiece::Malformed { name: Some(name), .. }] if name == "score")
            );
        }
        assert_eq!(
            pieces("{\"list\": [{\"a\": 7}, {\"b").list,
            [JsonPiece::Unfinished { name: Some("list".to_owned()) }]
        );
    }

    #[test]
    fn a_name_with_two_values_is_seen() {
        let repeats = |text: &str| matches!(whole(text), Some(JsonPiece::Value { repeats: true, .. }));
        assert!(repeats("{\"score\": 0, \"score\": 100}") && repeats("[{\"a\": {\"b\": 1, \"b\": 2}}]"));
        assert!(!repeats("{\"score\": 0, \"why\": {\"score\": 100}, \"x\": null}"));
    }

    #[test]
    fn a_text_made_to_be_slow_is_not_looked_at_for_ever() {
        for text in ["[x", "{\"", "{\"a\":[", "[[", "{\"a\" ", "[1,", "{}[] "] {
            pieces(&text.repeat(200_000));
        }
        assert!(pieces(&"{\"a\" ".repeat(200_000)).cut);
    }
}
