//! JSON as programs write it: with a byte order mark, with halves of surrogate pairs, with numbers that no machine number
//! holds. Such a number is kept as it is written, in a mapping with the one key [`EXACT`].

use std::borrow::Cow;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use serde_json::{Map, Number};

use super::variables::as_text;
use crate::value::Value;

/// The key of a number that is kept as it is written.
const EXACT: &str = "$exact number";

/// Most levels of lists and mappings.
const DEEPEST: usize = crate::value::MAX_READ_DEPTH;

/// Reads JSON text. Halves of surrogate pairs, which no text can hold, become `U+FFFD`.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    let text = text.trim_start_matches('\u{FEFF}');
    let read = |text: &str| -> Result<Value, serde_json::Error> {
        let value = crate::value::parse(text)?;
        Ok(if has_long_number(text) { exact(text, value, number) } else { value })
    };
    read(text).or_else(|error| match whole_pairs(text) {
        Cow::Owned(mended) => read(&mended).map_err(|_| error),
        Cow::Borrowed(_) => Err(error),
    })
}

/// The same, with every number whose text would change (`1.10`, `1e3`, `2.0`) kept as it is written.
pub fn parse_as_written(text: &str) -> Result<Value, serde_json::Error> {
    let value = parse(text)?;
    if !text.contains(['.', 'e', 'E']) {
        return Ok(value);
    }
    let text = text.trim_start_matches('\u{FEFF}');
    Ok(exact(&whole_pairs(text), value, as_written))
}

fn as_written(literal: &str) -> Option<Value> {
    let number = number(literal)?;
    Some(if as_text(&number) == literal { number } else { kept(literal) })
}

fn kept(literal: &str) -> Value {
    Value::Object(Map::from_iter([(EXACT.to_owned(), Value::String(literal.to_owned()))]))
}

/// The number that is written as `literal`; `None` if it is no JSON number.
pub fn number(literal: &str) -> Option<Value> {
    let number: Number = serde_json::from_str(literal).ok()?;
    if Decimal::read(&number.to_string()) == Decimal::read(literal) {
        return Some(Value::Number(number));
    }
    Some(kept(literal))
}

/// The whole number that YAML reads in `written`: zeros in front mean nothing, and it stays whole however large it is. `None` if
/// it is none in decimal digits.
pub fn whole_number(written: &str) -> Option<Value> {
    let digits = written.trim_start_matches(['+', '-']);
    let signs = written.len() - digits.len();
    if signs > 1 || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let literal = match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits if written.starts_with('-') => format!("-{digits}"),
        digits => digits.to_owned(),
    };
    number(&literal).map(|number| if number.is_f64() { kept(&literal) } else { number })
}

/// The literal of a number that is kept as it is written.
pub fn literal(value: &Value) -> Option<&str> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    table.get(EXACT)?.as_str()
}

/// JSON text, numbers as they are written.
pub fn text(value: &Value) -> String {
    if !has_exact(value) {
        return value.to_string();
    }
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
        Value::Object(table) => literal(value).map_or_else(
            || {
                let entry = |(key, value): (&String, &Value)| {
                    format!("{}:{}", Value::String(key.clone()), text(value))
                };
                format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(","))
            },
            str::to_owned,
        ),
        leaf => leaf.to_string(),
    }
}

/// The same with the nearest machine numbers, for what knows no others: paths, schemas and types.
pub fn rounded(value: &Value) -> Cow<'_, Value> {
    if !has_exact(value) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(match value {
        Value::Array(items) => items.iter().map(|item| rounded(item).into_owned()).collect(),
        Value::Object(table) => match literal(value) {
            Some(literal) => serde_json::from_str(literal).unwrap_or(Value::Null),
            None => table.iter().map(|(key, value)| (key.clone(), rounded(value).into_owned())).collect(),
        },
        leaf => leaf.clone(),
    })
}

fn has_exact(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_exact),
        Value::Object(table) => literal(value).is_some() || table.values().any(has_exact),
        _ => false,
    }
}

/// Whether there may be a number in it that no machine number holds: one of more than 15 digits.
fn has_long_number(text: &str) -> bool {
    let mut digits = 0;
    text.bytes().any(|byte| {
        digits = if byte.is_ascii_digit() || digits > 0 && byte == b'.' { digits + 1 } else { 0 };
        digits > 15
    })
}

/// `value`, which was read from `text`, with every number as `number` makes it of its literal.
fn exact(text: &str, value: Value, number: fn(&str) -> Option<Value>) -> Value {
    fn of(raw: &RawValue, deep: usize, number: fn(&str) -> Option<Value>) -> Option<Value> {
        let text = raw.get();
        match text.as_bytes().first()? {
            b'{' if deep < DEEPEST => {
                let table: IndexMap<String, &RawValue> = serde_json::from_str(text).ok()?;
                table.into_iter().map(|(key, raw)| Some((key, of(raw, deep + 1, number)?))).collect()
            }
            b'[' if deep < DEEPEST => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                items.into_iter().map(|raw| of(raw, deep + 1, number)).collect()
            }
            b'-' | b'0'..=b'9' => number(text),
            _ => serde_json::from_str(text).ok(),
        }
    }
    let raw: Result<&RawValue, _> = serde_json::from_str(text);
    raw.ok().and_then(|raw| of(raw, 0, number)).unwrap_or(value)
}

/// The text with `\uFFFD` in the place of each half of a surrogate pair.
fn whole_pairs(text: &str) -> Cow<'_, str> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut whole = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = text[at..].find('\\').map(|found| at + found) {
        at = match unit(found) {
            Some(0xD800..=0xDBFF) if matches!(unit(found + 6), Some(0xDC00..=0xDFFF)) => found + 12,
            Some(0xD800..=0xDFFF) => {
                whole.push_str(&text[copied..found]);
                whole.push_str("\\ufffd");
                copied = found + 6;
                copied
            }
            Some(_) => found + 6,
            None => (found + 2..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len()),
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    whole.push_str(&text[copied..]);
    Cow::Owned(whole)
}

/// Whether two numbers have the same value; `None` if one of them is no number.
pub fn same_number(a: &Value, b: &Value) -> Option<bool> {
    let written = |value: &Value| match value {
        Value::Number(number) => Some(number.to_string()),
        value => literal(value).map(str::to_owned),
    };
    Some(Decimal::read(&written(a)?) == Decimal::read(&written(b)?))
}

/// A number by its decimal digits, without zeros on either side.
#[derive(PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    fn read(literal: &str) -> Option<Self> {
        let (sign, unsigned) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (mantissa, power) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let digits = significant.trim_end_matches('0');
        let zeros = i64::try_from(significant.len() - digits.len()).ok()?;
        let behind = i64::try_from(fraction.len()).ok()?;
        let exponent = power.parse::<i64>().ok()?.checked_sub(behind)?.checked_add(zeros)?;
        let is_zero = digits.is_empty();
        Some(Self {
            is_negative: sign && !is_zero,
            digits: digits.to_owned(),
            exponent: if is_zero { 0 } else { exponent },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_that_no_machine_number_holds_are_kept() {
        let big = "123456789012345678901234567890";
        let value =
            parse(&format!(r#"{{"a": {big}, "b": [18446744073709551615, 1.10, 1e25, 0.1]}}"#)).unwrap();
        assert_eq!(literal(&value["a"]), Some(big));
        assert_eq!(value["b"], json!([18_446_744_073_709_551_615_u64, 1.1, 1e25, 0.1]));
        assert_eq!(text(&value), format!(r#"{{"a":{big},"b":[18446744073709551615,1.1,1e+25,0.1]}}"#));
        assert_eq!(rounded(&value)["a"], json!(1.234_567_890_123_456_8e29));
        let other = number("123456789012345678901234567891").unwrap();
        assert_eq!(same_number(&value["a"], &other), Some(false));
        assert_eq!(same_number(&value["a"], &value["a"]), Some(true));
        assert_eq!(same_number(&json!(1.0), &json!(1)), Some(true));
        assert_eq!(same_number(&json!("1"), &json!(1)), None);
        assert_eq!(number("9007199254740993.0").as_ref().and_then(literal), Some("9007199254740993.0"));
        assert_eq!((number("07030"), number("1_000"), number(".5")), (None, None, None));
    }

    #[test]
    fn marks_and_halves_of_pairs_are_read() {
        assert_eq!(parse("\u{FEFF}{\"a\": 1}").unwrap(), json!({"a": 1}));
        let halves = parse(r#"["\ud800", "\udc00x", "\ud83d\ude00", "\\ud800", "\ud800\ud800"]"#).unwrap();
        assert_eq!(halves, json!(["\u{FFFD}", "\u{FFFD}x", "😀", "\\ud800", "\u{FFFD}\u{FFFD}"]));
        assert!(parse(r#"["\ud800", ]"#).is_err() && parse("{").is_err() && parse(r#"["\"#).is_err());
    }
}
