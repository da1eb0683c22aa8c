use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::scenario::values::{Variables, json as written};
use crate::value::Value;

/// A message to send, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WsPayload {
    /// Text as it is.
    Text(String),
    /// A value, sent as JSON text.
    Json(Value),
    /// Bytes in base64.
    Base64(String),
    /// Bytes in hexadecimal digits.
    Hex(String),
    /// Content of a file, in base64: text if it is UTF-8, otherwise bytes. No variables are filled in.
    File(String),
}

/// A message as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WsMessage {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl WsPayload {
    /// The message with variables filled in.
    pub fn fill(&self, variables: &Variables) -> Result<WsMessage, String> {
        Ok(match self {
            Self::Text(text) => WsMessage::Text(variables.fill(text).into_owned()),
            Self::Json(value) => WsMessage::Text(written::text(&variables.fill_json(value))),
            Self::Base64(text) => WsMessage::Binary(from_base64(&variables.fill(text))?),
            Self::Hex(text) => WsMessage::Binary(from_hex(&variables.fill(text))?),
            Self::File(text) => match String::from_utf8(from_base64(text)?) {
                Ok(text) => WsMessage::Text(text),
                Err(bytes) => WsMessage::Binary(bytes.into_bytes()),
            },
        })
    }
}

impl WsMessage {
    /// Length in bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// The message as JSON: its JSON value, otherwise its text, or its bytes in base64.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => written::parse_part(text).unwrap_or_else(|_| text.as_str().into()),
            Self::Binary(bytes) => json!({ "base64": to_base64(bytes), "length": bytes.len() }),
        }
    }

    /// The form of a single message: its text, so that numbers in it are unchanged.
    pub fn alone(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Binary(_) => self.to_json().to_string(),
        }
    }
}

impl From<WsMessage> for Message {
    fn from(frame: WsMessage) -> Self {
        match frame {
            WsMessage::Text(text) => Self::text(text),
            WsMessage::Binary(bytes) => Self::binary(bytes),
        }
    }
}

impl fmt::Display for WsMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(bytes) => write!(f, "base64:{} ({} bytes)", to_base64(bytes), bytes.len()),
        }
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= group.len() { letter } else { '=' });
        }
    }
    text
}

/// Decodes base64, with or without padding, in either alphabet.
fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.trim().trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let letter = match letter {
            b'-' => b'+',
            b'_' => b'/',
            letter => letter,
        };
        let value = LETTERS.iter().position(|known| *known == letter);
        let value = value.and_then(|value| u32::try_from(value).ok());
        let value = value.ok_or_else(|| format!("`{}` is not a base64 character", char::from(letter)))?;
        bits = bits << 6 | value;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    if held == 6 { Err("the base64 text ends in the middle of a byte".to_owned()) } else { Ok(bytes) }
}

/// Decodes pairs of hexadecimal digits; blanks are ignored.
fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if digits.len() % 2 == 1 {
        return Err("a hexadecimal digit is missing: every byte has two".to_owned());
    }
    let digit = |c: char| {
        let value = c.to_digit(16).and_then(|value| u8::try_from(value).ok());
        value.ok_or_else(|| format!("`{c}` is not a hexadecimal digit"))
    };
    let byte = |pair: &[char]| Ok(digit(pair[0])? << 4 | digit(pair[1])?);
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_hex_read_back() {
        for (bytes, text) in
            [(&b""[..], ""), (b"M", "TQ=="), (b"Ma", "TWE="), (b"Man", "TWFu"), (&[0, 255, 1, 2], "AP8BAg==")]
        {
            assert_eq!((to_base64(bytes).as_str(), from_base64(text).as_deref()), (text, Ok(bytes)));
        }
        assert_eq!(from_base64("-_8"), from_base64("+/8="));
        assert_eq!(from_hex("00 ff 0A"), Ok(vec![0, 255, 10]));
        assert!(from_base64("A").is_err() && from_base64("!").is_err());
        assert!(from_hex("0").is_err() && from_hex("0g").is_err());
    }

    #[test]
    fn messages_are_json_where_they_can_be() {
        assert_eq!(WsMessage::Text("{\"a\": 1}".into()).to_json(), json!({"a": 1}));
        assert_eq!(WsMessage::Text("plain".into()).to_json(), json!("plain"));
        let binary = WsMessage::Binary(vec![0, 1, 2]);
        assert_eq!(binary.alone(), r#"{"base64":"AAEC","length":3}"#);
        assert_eq!(binary.to_string(), "base64:AAEC (3 bytes)");
    }

    #[test]
    fn variables_are_filled_in() {
        let mut variables = Variables::default();
        variables.set("name", json!("a\"b"));
        variables.set("bytes", json!("AAEC"));
        let fill = |payload: WsPayload| payload.fill(&variables).unwrap();
        assert_eq!(fill(WsPayload::Text("<{name}>".into())), WsMessage::Text("<a\"b>".into()));
        assert_eq!(fill(WsPayload::Json(json!({"n": "{name}"}))), WsMessage::Text(r#"{"n":"a\"b"}"#.into()));
        assert_eq!(fill(WsPayload::Base64("{bytes}".into())), WsMessage::Binary(vec![0, 1, 2]));
    }
}
