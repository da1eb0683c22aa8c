//! JSON as programs write it: with a byte order mark, with unpaired surrogates, and with numbers that no
//! machine type can represent. Such a number is kept as its source text, in a mapping with the one key
//! [`EXACT`].

mod reader;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Number};

use super::variables::as_text;
use crate::value::{Value, nested};
use reader::JsonFault;

/// Key of a number that is kept as its source text.
const EXACT: &str = "$exact number";

/// Most levels of lists and mappings in an answer. Recursive code with this depth fits on the stack.
const DEEPEST: usize = 256;

/// Levels that may be added around a part of an answer.
const AROUND: usize = 8;

/// Why text cannot be read, as the end of a sentence: `the body is not JSON: …`.
#[derive(Debug)]
pub enum JsonError {
    /// Lists and mappings are nested deeper than this number of levels.
    Deep(usize),
    /// It is not JSON.
    Wrong(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep(most) => write!(f, "is {}, too deep to be read", nested(*most)),
            Self::Wrong(error) => write!(f, "is not JSON: {error}"),
        }
    }
}

/// Parses JSON text. Unpaired surrogates become `U+FFFD`.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    within(text, DEEPEST, number)
}

/// Parses JSON text that becomes a part of an answer.
pub fn parse_part(text: &str) -> Result<Value, JsonError> {
    within(text, DEEPEST - AROUND, number)
}

/// Parses JSON text and keeps the source text of every number that would change (`1.10`, `1e3`, `2.0`).
pub fn parse_as_written(text: &str) -> Result<Value, JsonError> {
    within(text, DEEPEST, as_written)
}

fn within(text: &str, most: usize, number: fn(&str) -> Option<Value>) -> Result<Value, JsonError> {
    let text = text.trim_start_matches('\u{FEFF}');
    let stop = match reader::read(text, most, number) {
        Ok(value) => return Ok(value),
        Err(stop) => stop,
    };
    let again = match whole_pairs(text) {
        Cow::Owned(whole) if stop == JsonFault::Wrong => reader::read(&whole, most, number),
        _ => Err(stop),
    };
    again.map_err(|stop| match stop {
        JsonFault::Deep => JsonError::Deep(most),
        // The message of the library has the reason and the position.
        JsonFault::Wrong => JsonError::Wrong(
            serde_json::from_str::<Value>(text)
                .err()
                .unwrap_or_else(|| serde::de::Error::custom("syntax error")),
        ),
    })
}

fn as_written(literal: &str) -> Option<Value> {
    let number = number(literal)?;
    Some(if as_text(&number) == literal { number } else { kept(literal) })
}

fn kept(literal: &str) -> Value {
    Value::Object(Map::from_iter([(EXACT.to_owned(), Value::String(literal.to_owned()))]))
}

/// The number `literal`; `None` if it is not a JSON number.
pub fn number(literal: &str) -> Option<Value> {
    static NUMBER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$").ok());
    let Ok(number) = serde_json::from_str::<Number>(literal) else {
        // For example `1e400`, which is larger than any machine number.
        let is_number = NUMBER.as_ref().is_some_and(|number| number.is_match(literal));
        return is_number.then(|| kept(literal));
    };
    if is_short(literal) || Decimal::read(&number.to_string()) == Decimal::read(literal) {
        return Some(Value::Number(number));
    }
    Some(kept(literal))
}

/// Whether a machine number can certainly represent it: at most 15 digits and no exponent.
fn is_short(literal: &str) -> bool {
    literal.len() <= 15 && !literal.contains(['e', 'E'])
}

/// The whole number that YAML reads in `written`: leading zeros are ignored, and any size is exact. `None`
/// if it is not a decimal whole number.
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

/// The source text of a number that is kept exactly.
pub fn literal(value: &Value) -> Option<&str> {
    let table = value.as_object().filter(|table| table.len() == 1)?;
    table.get(EXACT)?.as_str()
}

/// JSON text with exact numbers.
pub fn text(value: &Value) -> String {
    if has_exact(value) { exact_text(value) } else { value.to_string() }
}

fn exact_text(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(exact_text).collect::<Vec<_>>().join(",")),
        Value::Object(table) => literal(value).map_or_else(
            || {
                let entry = |(key, value): (&String, &Value)| {
                    format!("{}:{}", Value::String(key.clone()), exact_text(value))
                };
                format!("{{{}}}", table.iter().map(entry).collect::<Vec<_>>().join(","))
            },
            str::to_owned,
        ),
        leaf => leaf.to_string(),
    }
}

/// The value with the nearest machine numbers, for paths, schemas and types, which support only those.
pub fn rounded(value: &Value) -> Cow<'_, Value> {
    if has_exact(value) { Cow::Owned(nearest(value)) } else { Cow::Borrowed(value) }
}

fn nearest(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(nearest).collect(),
        Value::Object(table) => match literal(value) {
            Some(literal) => serde_json::from_str(literal)
                .unwrap_or_else(|_| Value::from(if literal.starts_with('-') { f64::MIN } else { f64::MAX })),
            None => table.iter().map(|(key, value)| (key.clone(), nearest(value))).collect(),
        },
        leaf => leaf.clone(),
    }
}

fn has_exact(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_exact),
        Value::Object(table) => literal(value).is_some() || table.values().any(has_exact),
        _ => false,
    }
}

/// The text with `\uFFFD` for each unpaired surrogate.
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

/// Whether two numbers have the same value; `None` if one of them is not a number.
pub fn same_number(a: &Value, b: &Value) -> Option<bool> {
    let written = |value: &Value| match value {
        Value::Number(number) => Some(number.to_string()),
        value => literal(value).map(str::to_owned),
    };
    let (a, b) = (written(a)?, written(b)?);
    // Numbers with huge exponents are equal only if their source texts are equal.
    Some(a == b || Decimal::read(&a).is_some_and(|a| Some(a) == Decimal::read(&b)))
}

/// A number as decimal digits, without leading and trailing zeros.
#[derive(PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    /// Power of ten of the last digit.
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
        let is_zero = digits.is_empty();
        let power = if is_zero { 0 } else { power.parse::<i64>().ok()? };
        let exponent = power.checked_sub(behind)?.checked_add(zeros)?;
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
    fn numbers_beyond_all_machine_numbers_are_kept_beside_others() {
        let value = parse(r#"{"b": 1e400, "c": -2e400, "d": 1e-400, "e": 7, "z": 0e999}"#).unwrap();
        assert_eq!(
            (literal(&value["b"]), literal(&value["d"]), &value["e"]),
            (Some("1e400"), Some("1e-400"), &json!(7))
        );
        assert_eq!(rounded(&value)["b"], json!(f64::MAX));
        assert_eq!(rounded(&value)["c"], json!(f64::MIN));
        assert_eq!(same_number(&value["b"], &number("10.0e399").unwrap()), Some(true));
        assert_eq!(same_number(&value["b"], &number("1e401").unwrap()), Some(false));
        assert_eq!(same_number(&value["z"], &json!(0)), Some(true));
        let huge = |text: &str| number(text).unwrap();
        assert_eq!(
            same_number(&huge("1e99999999999999999999"), &huge("2e99999999999999999999")),
            Some(false)
        );
        assert_eq!(number("1e"), None);
        assert!(matches!(parse("[1e]"), Err(JsonError::Wrong(_))));
    }

    #[test]
    fn depth_has_a_limit_that_is_named() {
        let nest = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nest(DEEPEST)).is_ok());
        for text in [nest(DEEPEST + 1), "[".repeat(100_000), nest(DEEPEST + 1).replace("[]", "[\"\\ud800\"]")]
        {
            let error = parse(&text).unwrap_err().to_string();
            assert_eq!(error, "is nested more than 256 levels deep, too deep to be read");
        }
    }

    #[test]
    fn marks_and_halves_of_pairs_are_read() {
        assert_eq!(parse("\u{FEFF}{\"a\": 1}").unwrap(), json!({"a": 1}));
        let halves = parse(r#"["\ud800", "\udc00x", "\ud83d\ude00", "\\ud800", "\ud800\ud800"]"#).unwrap();
        assert_eq!(halves, json!(["\u{FFFD}", "\u{FFFD}x", "😀", "\\ud800", "\u{FFFD}\u{FFFD}"]));
        assert!(parse(r#"["\ud800", ]"#).is_err() && parse("{").is_err() && parse(r#"["\"#).is_err());
    }
}
