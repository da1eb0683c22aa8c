use regex::Regex;

use super::frame::WsPayload;
use super::{Close, Receive, Ws, default_id, five_seconds, ten_seconds};
use crate::diag::Code;
use crate::scenario::reader::bytes::EncodedBytes;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given, keys};
use crate::scenario::values::Variables;
use crate::scenario::values::variables::placeholders;

/// Close code for a normal end.
const NORMAL: u16 = 1000;

/// Reads a `ws` step.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode, step: &YamlNode) -> Option<Ws> {
    let entries = reader.entries(node, "`ws`")?;
    if entries.is_empty() {
        reader.complain(Code::ScenarioMissing, node, "`ws` has no action").help =
            Some("start with `url: /path`".into());
    }
    let url = given(node, "url").and_then(|_| reader.required(node, "url", "a WebSocket"));
    if url.is_none() {
        for key in ["headers", "protocols"] {
            if let Some(value) = given(node, key) {
                let message = format!("`{key}` has an effect only if the step connects");
                reader.complain(Code::ScenarioValue, value, message).help = Some("add `url`".into());
            }
        }
    }
    let id = given(node, "id").and_then(|_| reader.required(node, "id", "a WebSocket"));
    let protocols = given(node, "protocols").map(|list| protocols(reader, list)).unwrap_or_default();
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    Some(Ws {
        url,
        id: id.unwrap_or_else(default_id),
        headers: reader.texts(given(node, "headers"), "`headers`"),
        protocols,
        may_be_refused: step.get("assert").is_some_and(|asserted| asserted.get("status").is_some()),
        send: payloads(reader, node),
        receive: given(node, "receive").and_then(|value| receive(reader, value)),
        close: given(node, "close").and_then(|value| close(reader, value)),
        timeout: timeout.unwrap_or_else(ten_seconds),
    })
}

fn protocols(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<String> {
    match &node.kind {
        NodeKind::List(items) => items.iter().filter_map(|item| reader.text(item, "a subprotocol")).collect(),
        _ => reader.text(node, "`protocols`").into_iter().collect(),
    }
}

fn payloads(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<WsPayload> {
    let (one, several) = (given(node, "send"), given(node, "messages"));
    if let (Some(_), Some(several)) = (one, several) {
        reader.complain(Code::ScenarioValue, several, "a step can have `send` or `messages`, not both");
    }
    let items = several.map(|list| reader.list(list, "`messages`")).unwrap_or_default();
    one.into_iter().chain(items).filter_map(|item| payload(reader, item)).collect()
}

/// Text, `{ base64: … }`, `{ hex: … }`, `{ bytes: … }` of these, what a file has, or any other value as JSON.
fn payload(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<WsPayload> {
    if let Some(text) = node.scalar_text() {
        return Some(WsPayload::Text(text));
    }
    let payload = match &node.kind {
        NodeKind::Table(entries) => match entries.as_slice() {
            [(key, value)] if key.text() == Some("bytes") && is_bytes(value) => {
                match EncodedBytes::read(reader, value, "`bytes`")? {
                    EncodedBytes::Base64(text) => WsPayload::Base64(text),
                    EncodedBytes::Hex(text) => WsPayload::Hex(text),
                }
            }
            [(key, value)] => match (key.text(), value.scalar_text()) {
                (Some("base64"), Some(text)) => WsPayload::Base64(text),
                (Some("hex"), Some(text)) => WsPayload::Hex(text),
                // The file name has already been replaced by the content of the file.
                (Some("file"), Some(text)) => WsPayload::File(text),
                _ => WsPayload::Json(node.to_json()),
            },
            _ => WsPayload::Json(node.to_json()),
        },
        _ => WsPayload::Json(node.to_json()),
    };
    if let WsPayload::Base64(text) | WsPayload::Hex(text) = &payload
        && placeholders(text).is_empty()
        && let Err(reason) = payload.fill(&Variables::default())
    {
        reader.complain(Code::ScenarioValue, node, reason);
    }
    (!node.is_null()).then_some(payload)
}

/// Whether a value has the form of bytes.
fn is_bytes(node: &YamlNode) -> bool {
    let NodeKind::Table(entries) = &node.kind else { return false };
    matches!(entries.as_slice(), [(key, _)] if key.text().is_some_and(|word| keys::BYTES.contains(&word)))
}

fn receive(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Receive> {
    reader.table(node, "`receive`", &["count", "timeout", "until", "closed"])?;
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    let until = given(node, "until").and_then(|value| reader.text(value, "`until`"));
    if let (Some(pattern), Some(value)) = (&until, given(node, "until"))
        && placeholders(pattern).is_empty()
        && let Err(error) = Regex::new(pattern)
    {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        reader.complain(Code::ScenarioPattern, value, format!("invalid regular expression: {reason}"));
    }
    let closed = match given(node, "closed").map(|value| (value, value.to_json().as_bool())) {
        None => false,
        Some((_, Some(closed))) => closed,
        Some((value, None)) => {
            reader.mistyped(value, "`closed`", "true or false");
            false
        }
    };
    let count = match given(node, "count") {
        None => (until.is_none() && !closed).then_some(1),
        Some(value) => count(reader, value),
    };
    Some(Receive { count, until, closed, timeout: timeout.unwrap_or_else(five_seconds) })
}

fn count(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<u64> {
    let count = node.to_json().as_u64().filter(|count| *count > 0);
    if count.is_none() {
        reader.mistyped(node, "`count`", "a whole number from 1");
    }
    count.or(Some(1))
}

/// `true`, a code, or a code and a reason.
fn close(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Close> {
    if let Some(flag) = node.to_json().as_bool() {
        return flag.then(|| Close { code: NORMAL, reason: String::new() });
    }
    if !matches!(node.kind, NodeKind::Table(_)) {
        return code(reader, node).map(|code| Close { code, reason: String::new() });
    }
    reader.table(node, "`close`", &["code", "reason"])?;
    let code = given(node, "code").map_or(Some(NORMAL), |value| code(reader, value))?;
    let reason = reader.optional(node, "reason");
    if let Some(value) = given(node, "reason").filter(|_| reason.len() > 123) {
        reader.complain(Code::ScenarioValue, value, "the reason of a close frame has at most 123 bytes");
    }
    Some(Close { code, reason })
}

fn code(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<u16> {
    let code = node.to_json().as_u64().and_then(|code| u16::try_from(code).ok());
    // Peers cannot send the other codes: they describe an end without a close frame.
    let code = code.filter(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
    if code.is_none() {
        let message = "a close code is one of 1000-1003, 1007-1014 and 3000-4999";
        reader.complain(Code::ScenarioValue, node, message).help =
            Some("write `close: true` for 1000".into());
    }
    code
}
