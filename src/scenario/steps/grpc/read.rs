use super::{Grpc, GrpcReceive, GrpcStream};
use crate::diag::Code;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::steps::thirty_seconds;
use crate::value::Value;

/// All keys in a file.
pub const KEYS: &[&str] = &["service", "method", "body", "headers", "timeout", "stream"];
/// `stream`.
pub const STREAM: &[&str] = &["id", "messages", "close", "receive"];
/// `receive`.
pub const RECEIVE: &[&str] = &["count", "timeout", "background"];

/// Reads a `grpc` step.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Grpc> {
    let stream = given(node, "stream").and_then(|value| stream(reader, value));
    let goes_on = given(node, "service").is_none() && stream.is_some();
    let (service, method) = if goes_on {
        going_on(reader, node, stream.as_ref());
        (Some(String::new()), Some(String::new()))
    } else {
        (reader.required(node, "service", "a gRPC call"), reader.required(node, "method", "a gRPC call"))
    };
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    Some(Grpc {
        service: service?,
        method: method?,
        body: node.get("body").map_or(Value::Null, YamlNode::to_json),
        headers: reader.texts(given(node, "headers"), "`headers`"),
        timeout: timeout.unwrap_or_else(thirty_seconds),
        stream,
    })
}

/// Checks a step without a service, which continues a stream: it has a stream name and no keys that only
/// start a stream.
fn going_on(reader: &mut NodeReader<'_>, node: &YamlNode, stream: Option<&GrpcStream>) {
    if stream.is_none_or(|stream| stream.id.is_empty()) {
        let message = "`service` is missing: a gRPC call needs it, or the `stream.id` of an earlier step";
        reader.complain(Code::ScenarioMissing, node, message);
    }
    for key in ["method", "body", "headers"] {
        if let Some(value) = given(node, key) {
            let message = format!("`{key}` has no effect without `service`");
            reader.complain(Code::ScenarioValue, value, message).help =
                Some("a step without `service` continues the stream that `stream.id` names".into());
        }
    }
}

fn stream(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<GrpcStream> {
    reader.table(node, "`stream`", STREAM)?;
    let messages = given(node, "messages")
        .map(|value| reader.list(value, "`messages`").iter().map(YamlNode::to_json).collect());
    let receive = given(node, "receive").and_then(|value| receive(reader, value));
    Some(GrpcStream {
        id: reader.optional(node, "id"),
        messages,
        close: flag(reader, node, "close"),
        receive,
    })
}

fn receive(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<GrpcReceive> {
    reader.table(node, "`receive`", RECEIVE)?;
    let count = given(node, "count").map_or(1, |value| count(reader, value));
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    Some(GrpcReceive { count, timeout, background: flag(reader, node, "background") })
}

/// Reads `count`. In this format, 0 or fewer messages mean the default.
fn count(reader: &mut NodeReader<'_>, node: &YamlNode) -> usize {
    let written = node.to_json().as_i64();
    if written.is_none() {
        reader.mistyped(node, "`count`", "a whole number");
    }
    written.and_then(|count| usize::try_from(count).ok()).unwrap_or(1).max(1)
}

fn flag(reader: &mut NodeReader<'_>, node: &YamlNode, key: &str) -> bool {
    match given(node, key) {
        None => false,
        Some(YamlNode { kind: NodeKind::Scalar(Value::Bool(flag)), .. }) => *flag,
        Some(value) => {
            reader.mistyped(value, &format!("`{key}`"), "true or false");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::reader::keys::assert_published;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        assert_published("/$defs/grpc/properties/stream/properties", STREAM);
        assert_published("/$defs/grpc/properties/stream/properties/receive/properties", RECEIVE);
    }
}
