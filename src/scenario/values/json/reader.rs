//! JSON parser without recursion, so that the depth is limited by a number and not by the stack.

use serde_json::Map;

use crate::value::Value;

/// Why text cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Lists and mappings are nested too deeply.
    Deep,
    /// It is not JSON.
    Wrong,
}

/// An unfinished list or mapping.
enum OpenValue {
    List(Vec<Value>),
    /// A mapping, with the key of the value that is being read.
    Table(Map<String, Value>, String),
}

/// Parses `text`, at most `most` levels deep. `number` converts the literal of every number.
pub fn read(text: &str, most: usize, number: fn(&str) -> Option<Value>) -> Result<Value, JsonFault> {
    let mut text = JsonText { text, at: 0 };
    let mut open = Vec::new();
    loop {
        let first = text.next();
        let begun = match first {
            Some(b'[' | b'{') if open.len() == most => return Err(JsonFault::Deep),
            Some(b'[') => (!text.opens_empty(b']')).then(|| Ok(OpenValue::List(Vec::new()))),
            Some(b'{') => {
                (!text.opens_empty(b'}')).then(|| text.key().map(|key| OpenValue::Table(Map::new(), key)))
            }
            _ => None,
        };
        if let Some(begun) = begun {
            open.push(begun?);
            continue;
        }
        let value = match first {
            Some(b'[') => Value::Array(Vec::new()),
            Some(b'{') => Value::Object(Map::new()),
            Some(b'"') => Value::String(text.string()?),
            Some(b'-' | b'0'..=b'9') => number(text.number()).ok_or(JsonFault::Wrong)?,
            _ => text.word()?,
        };
        if let Some(whole) = close(&mut text, &mut open, value)? {
            return if text.next().is_none() { Ok(whole) } else { Err(JsonFault::Wrong) };
        }
    }
}

/// Adds `value` to the innermost open list or mapping, and closes those that end. Returns the whole value
/// once all are closed.
fn close(
    text: &mut JsonText<'_>,
    open: &mut Vec<OpenValue>,
    mut value: Value,
) -> Result<Option<Value>, JsonFault> {
    loop {
        value = match open.pop() {
            None => return Ok(Some(value)),
            Some(OpenValue::List(mut items)) => {
                items.push(value);
                if text.takes(b',') {
                    open.push(OpenValue::List(items));
                    return Ok(None);
                }
                if !text.takes(b']') {
                    return Err(JsonFault::Wrong);
                }
                Value::Array(items)
            }
            Some(OpenValue::Table(mut table, key)) => {
                table.insert(key, value);
                if text.takes(b',') {
                    let key = text.key()?;
                    open.push(OpenValue::Table(table, key));
                    return Ok(None);
                }
                if !text.takes(b'}') {
                    return Err(JsonFault::Wrong);
                }
                Value::Object(table)
            }
        };
    }
}

/// Text with a read position.
struct JsonText<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> JsonText<'t> {
    fn left(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.left().iter().take_while(|byte| is_blank(byte)).count();
        self.left().first().copied()
    }

    /// Reads `byte` if it is next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Reads the next bracket, and `end` if it follows directly.
    fn opens_empty(&mut self, end: u8) -> bool {
        self.at += 1;
        self.takes(end)
    }

    fn take(&mut self, length: usize) -> &'t str {
        let from = self.at;
        self.at += length;
        &self.text[from..self.at]
    }

    fn key(&mut self) -> Result<String, JsonFault> {
        if self.next() != Some(b'"') {
            return Err(JsonFault::Wrong);
        }
        let key = self.string()?;
        if self.takes(b':') { Ok(key) } else { Err(JsonFault::Wrong) }
    }

    /// Reads the next string.
    fn string(&mut self) -> Result<String, JsonFault> {
        let bytes = self.left();
        let mut end = 1;
        while *bytes.get(end).ok_or(JsonFault::Wrong)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        serde_json::from_str(self.take(end + 1)).map_err(|_| JsonFault::Wrong)
    }

    fn number(&mut self) -> &'t str {
        let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.left().iter().take_while(is_part).count();
        self.take(length)
    }

    fn word(&mut self) -> Result<Value, JsonFault> {
        for (word, value) in [("true", true.into()), ("false", false.into()), ("null", Value::Null)] {
            if self.left().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(JsonFault::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Option<Value> {
        serde_json::from_str(text).ok().filter(Value::is_number)
    }

    #[test]
    fn the_same_is_read_as_by_the_library() {
        for text in [
            "{}",
            " [ ] ",
            "[[],{}]",
            "1",
            "-0.5e+3",
            "\"a\\\"b\\\\\"",
            "\"\\u00e9\u{e9}\"",
            "true",
            " null\n",
            r#"{"a": [1, 2, {"b": "]"}], "c": {"d": null}, "a": false}"#,
            "[true,false , null]",
            "",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "1 2",
            "tru",
            "truer",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"a\nb\"",
            "01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "[1}",
            "{\"a\":1]",
            "nan",
            "\"\\x\"",
            "[\"\u{e9}",
        ] {
            let library: Option<Value> = serde_json::from_str(text).ok();
            assert_eq!(read(text, 64, plain).ok(), library, "{text}");
        }
    }

    #[test]
    fn depth_is_a_number_and_not_the_stack() {
        let nest = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nest(500), 500, plain).is_ok());
        assert_eq!(read(&nest(501), 500, plain), Err(JsonFault::Deep));
        assert_eq!(read(&nest(1_000_000), 500, plain), Err(JsonFault::Deep));
        let tables = format!("{}1{}", "{\"a\":".repeat(501), "}".repeat(501));
        assert_eq!(read(&tables, 500, plain), Err(JsonFault::Deep));
        assert_eq!(read(&"[1,".repeat(400), 500, plain), Err(JsonFault::Wrong));
    }
}
