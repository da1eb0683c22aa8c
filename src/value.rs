//! Values that flow between steps: JSON, its canonical form, and digests of it.

mod extent;
mod seal;
mod toml;

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

pub use self::seal::Seal;
pub use self::toml::{parse_toml, too_deep};
pub use extent::{
    Extent, MAX_DEPTH, MAX_READ_DEPTH, MAX_SIZE, is_deeper, nested, parse, shallow, unrecordable,
};

/// A value that steps exchange: JSON that preserves the order of keys.
pub type Value = serde_json::Value;

/// BLAKE3 of some bytes. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(*blake3::hash(bytes.as_ref()).as_bytes())
    }

    /// Digest of the canonical form of `value`: the same for equal values, whatever the order of keys.
    pub fn of_value(value: &Value) -> Self {
        Self::of(canonical(value))
    }

    /// Parses 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(*blake3::Hash::from_hex(text).ok()?.as_bytes()))
    }

    /// The first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// The first eight bytes as a number: a seed for reproducible choices.
    pub fn seed(&self) -> u64 {
        u64::from_be_bytes([
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7],
        ])
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a digest is 64 hexadecimal digits"))
    }
}

/// Reference to content in a blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlobRef {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl BlobRef {
    /// The reference to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// Fewest digits that can be a secret together.
const FEWEST_DIGITS: usize = 6;

/// Longest text in a list that can be a number.
const LONGEST_NUMBER: usize = 24;

/// Replaces every text in `value` by `change` of it, including field names and numbers. A changed number
/// becomes a text, and so does a list of numbers that is changed as a whole.
pub fn change_texts(value: &mut Value, change: &dyn Fn(&str) -> String) {
    change_each(value, change);
    change_together(value, &|text| Some(change(text)).filter(|changed| changed != text));
}

fn change_each(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| change_each(item, change)),
        Value::Object(table) => {
            for (name, mut item) in std::mem::take(table) {
                change_each(&mut item, change);
                table.insert(change(&name), item);
            }
        }
        Value::Number(number) => {
            let text = number.to_string();
            let changed = change(&text);
            if changed != text {
                *value = changed.into();
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Like [`change_texts`], but `change` returns `None` for unchanged texts, which are not copied. Single
/// numbers are included only with `numbers`.
pub fn replace_texts(value: &mut Value, numbers: bool, change: &dyn Fn(&str) -> Option<String>) {
    replace_each(value, numbers, change);
    change_together(value, change);
}

fn replace_each(value: &mut Value, numbers: bool, change: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(changed) = change(text) {
                *text = changed;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_each(item, numbers, change)),
        Value::Object(table) => {
            table.values_mut().for_each(|item| replace_each(item, numbers, change));
            if table.keys().any(|name| change(name).is_some()) {
                *table = std::mem::take(table)
                    .into_iter()
                    .map(|(name, item)| (change(&name).unwrap_or(name), item))
                    .collect();
            }
        }
        Value::Number(number) if numbers => {
            if let Some(changed) = change(&number.to_string()) {
                *value = changed.into();
            }
        }
        Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Turns each list or table in `value` that `change` changes only as a whole into a text, because its
/// numbers together contain something to change.
fn change_together(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
    let changed = |value: &Value| {
        let mut text = String::new();
        write_numbers(value, &mut text);
        let digits = text.bytes().filter(u8::is_ascii_digit).take(FEWEST_DIGITS).count();
        (digits == FEWEST_DIGITS).then(|| change(&text)).flatten()
    };
    if !matches!(value, Value::Array(_) | Value::Object(_)) || changed(value).is_none() {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change_together(item, change)),
        Value::Object(table) => table.values_mut().for_each(|item| change_together(item, change)),
        _ => {}
    }
    if let Some(numbers) = changed(value) {
        *value = change(&value.to_string()).unwrap_or(numbers).into();
    }
}

/// Writes `value` as JSON, without parts that cannot be numbers.
fn write_numbers(value: &Value, text: &mut String) {
    let mut put = |part: &str| {
        if part.len() <= LONGEST_NUMBER {
            text.push_str(part);
        }
        text.push(',');
    };
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => put(&number.to_string()),
        Value::String(string) => put(string),
        Value::Array(items) => items.iter().for_each(|item| write_numbers(item, text)),
        Value::Object(table) => {
            for (name, item) in table {
                if name.len() <= LONGEST_NUMBER {
                    text.push_str(name);
                }
                text.push(':');
                write_numbers(item, text);
            }
        }
    }
}

/// JSON text of `value` without white space and with the keys of every object sorted by code point.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    DigestPart::Value(value).write(&mut text);
    text
}

/// Appends the canonical form of `value` to `text`.
pub(crate) fn write_canonical(value: &Value, text: &mut String) {
    DigestPart::Value(value).write(text);
}

/// A field of an object whose digest is computed without creating the object.
pub enum DigestPart<'a> {
    /// A value.
    Value(&'a Value),
    /// Text in canonical form.
    Canonical(&'a str),
}

/// Digest of the object with these fields, equal to [`Digest::of_value`].
pub fn digest_of_fields<'a>(fields: impl IntoIterator<Item = (&'a str, DigestPart<'a>)>) -> Digest {
    let mut text = String::new();
    write_table(fields, &mut text);
    Digest::of(text)
}

impl DigestPart<'_> {
    fn write(&self, text: &mut String) {
        match self {
            Self::Canonical(written) => text.push_str(written),
            Self::Value(Value::String(words)) => write_text(words, text),
            Self::Value(Value::Array(items)) => {
                text.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        text.push(',');
                    }
                    DigestPart::Value(item).write(text);
                }
                text.push(']');
            }
            Self::Value(Value::Object(table)) => {
                write_table(
                    table.iter().map(|(name, value)| (name.as_str(), DigestPart::Value(value))),
                    text,
                );
            }
            Self::Value(leaf) => {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{leaf}");
            }
        }
    }
}

fn write_table<'a>(fields: impl IntoIterator<Item = (&'a str, DigestPart<'a>)>, text: &mut String) {
    let mut fields: Vec<(&str, DigestPart<'_>)> = fields.into_iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    text.push('{');
    for (i, (name, part)) in fields.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_text(name, text);
        text.push(':');
        part.write(text);
    }
    text.push('}');
}

/// Appends a JSON string. Most texts need no escapes; `serde_json` writes the others.
pub(crate) fn write_text(words: &str, text: &mut String) {
    if words.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // Serializing a string cannot fail.
        text.push_str(&serde_json::to_string(words).unwrap_or_default());
    } else {
        text.push('"');
        text.push_str(words);
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_change_a_digest() {
        let a = json!({"b": [1, {"y": 1, "x": "é\n"}], "a": null});
        let b = json!({"a": null, "b": [1, {"x": "é\n", "y": 1}]});
        assert_eq!(canonical(&a), r#"{"a":null,"b":[1,{"x":"é\n","y":1}]}"#);
        assert_eq!(Digest::of_value(&a), Digest::of_value(&b));
        assert_ne!(Digest::of_value(&a), Digest::of_value(&json!({"a": 0})));
        let fields = [("b", DigestPart::Value(&a["b"])), ("a", DigestPart::Canonical("null"))];
        assert_eq!(digest_of_fields(fields), Digest::of_value(&a));
    }

    #[test]
    fn every_text_is_changed_and_the_order_stays() {
        let mut value = json!({"b": ["key-1", 12_345.5, true], "key-2": {"a": null, "n": 7}});
        change_texts(&mut value, &|text| text.replace("key", "***").replace("2345", "***"));
        assert_eq!(value.to_string(), r#"{"b":["***-1","1***.5",true],"***-2":{"a":null,"n":7}}"#);
    }

    #[test]
    fn numbers_that_are_changed_together_become_a_text() {
        let change = |text: &str| text.replace("49,50,51", "***").replace("0x31,0x32", "***");
        let mut value =
            json!({"a": [1, [49, 50, 51, 7]], "b": ["0x31", "0x32"], "c": [49, 50, 52], "d": "49,50,5"});
        let mut other = value.clone();
        change_texts(&mut value, &change);
        // The simple `change` of this test does not find it in the JSON text of `b`.
        let changed = json!({"a": [1, "[***,7]"], "b": "***,", "c": [49, 50, 52], "d": "49,50,5"});
        assert_eq!(value, changed);
        replace_texts(&mut other, false, &|text| Some(change(text)).filter(|changed| changed != text));
        assert_eq!(other, changed);
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of("atoll");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(serde_json::from_value::<Digest>(serde_json::to_value(digest).unwrap()).unwrap(), digest);
        assert_eq!(Digest::parse("xyz"), None);
    }
}
