use std::collections::BTreeMap;

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Code;
use crate::scenario::reader::bytes::EncodedBytes;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::steps::thirty_seconds;
use crate::scenario::values::WrittenDuration;
use crate::value::Value;

/// Keys of `request`.
pub const KEYS: &[&str] = &[
    "method",
    "path",
    "query",
    "headers",
    "cookies",
    "body",
    "form",
    "multipart",
    "bytes",
    "redirects",
    "as",
    "events",
    "timeout",
];
/// Keys of a part of `multipart`.
pub const PART: &[&str] = &["name", "value", "bytes", "filename", "type"];
/// Keys of `events`.
pub const EVENTS: &[&str] = &["count", "until", "timeout"];
/// HTTP methods.
pub const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Method, in upper case.
    pub method: String,
    /// Path and query, joined to the target.
    pub path: String,
    /// Entries to add to the query, encoded; each item of a list becomes an entry.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub query: IndexMap<String, Value>,
    /// Headers. Values may contain variables, names may not.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Actor whose cookies are sent and stored; empty for the scenario itself, null for no cookies.
    #[serde(default)]
    pub jar: Option<String>,
    /// Cookies for this request only.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub cookies: IndexMap<String, String>,
    /// Content of the request.
    #[serde(default)]
    pub content: Content,
    /// Redirects to follow within the target: false for none, true for all, or a number; the next redirect
    /// after that is the answer.
    #[serde(default)]
    pub redirects: Redirects,
    /// Reads server-sent events instead of a whole body.
    #[serde(default)]
    pub events: Option<EventLimit>,
    /// Time limit for the whole answer; 30 seconds by default.
    #[serde(default = "thirty_seconds")]
    pub timeout: WrittenDuration,
}

/// Redirects to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Redirects {
    /// All redirects, or none.
    Flag(bool),
    /// At most this number.
    Most(usize),
}

impl Default for Redirects {
    fn default() -> Self {
        Self::Flag(true)
    }
}

/// Content of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// No content.
    #[default]
    None,
    /// Text as it is, anything else as JSON.
    Body(Value),
    /// A URL-encoded form.
    Form(#[schemars(with = "BTreeMap<String, String>")] IndexMap<String, String>),
    /// A multipart form, which may contain files.
    Multipart(Vec<FormPart>),
    /// Bytes as they are.
    Bytes(EncodedBytes),
}

/// Part of a multipart form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormPart {
    /// The name of the field.
    pub name: String,
    /// Content as text, if there are no bytes.
    #[serde(default)]
    pub value: String,
    /// Content as bytes.
    #[serde(default)]
    pub bytes: Option<EncodedBytes>,
    /// File name to send.
    #[serde(default)]
    pub filename: Option<String>,
    /// Media type.
    #[serde(default, rename = "type")]
    pub media_type: Option<String>,
}

/// Conditions for having received enough server-sent events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventLimit {
    /// Number of events.
    #[serde(default)]
    pub count: Option<u64>,
    /// Regular expression that must match the data of the last event.
    #[serde(default)]
    pub until: Option<String>,
    /// Time limit. Fewer events than requested are not an error.
    pub timeout: WrittenDuration,
}

/// Reads a `request`.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<HttpRequest> {
    let method = reader.required(node, "method", "a request").map(|method| method.to_uppercase());
    if let (Some(method), Some(value)) = (&method, given(node, "method"))
        && !method.is_empty()
        && !METHODS.contains(&method.as_str())
    {
        let complaint =
            reader.complain(Code::ScenarioValue, value, format!("`{method}` is not an HTTP method"));
        *complaint = complaint.clone().suggest(method, METHODS.iter().copied());
    }
    let path = reader.required(node, "path", "a request");
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    let (jar, cookies) = cookies(reader, node);
    let redirects = given(node, "redirects").and_then(|value| redirects(reader, value));
    let events = given(node, "events").and_then(|value| events(reader, value));
    // Events have a separate time limit; a written limit for the request applies to them, too.
    let usual = WrittenDuration(
        thirty_seconds().0 + events.as_ref().map_or(Duration::ZERO, |events| events.timeout.0),
    );
    Some(HttpRequest {
        method: method?,
        path: path?,
        query: given(node, "query").map(|value| query(reader, value)).unwrap_or_default(),
        headers: reader.texts(given(node, "headers"), "`headers`"),
        jar,
        cookies,
        content: content(reader, node),
        redirects: redirects.unwrap_or_default(),
        events,
        timeout: timeout.unwrap_or(usual),
    })
}

fn query(reader: &mut NodeReader<'_>, node: &YamlNode) -> IndexMap<String, Value> {
    let entries = reader.entries(node, "`query`").unwrap_or_default();
    let value = |node: &YamlNode| match &node.kind {
        NodeKind::List(items) => items.iter().map(written).collect(),
        _ => written(node),
    };
    entries.iter().map(|(key, node)| (key.scalar_text().unwrap_or_default(), value(node))).collect()
}

/// A scalar as its source text, anything else as JSON.
fn written(node: &YamlNode) -> Value {
    match node.kind {
        NodeKind::Scalar(_) => node.scalar_text().unwrap_or_default().into(),
        NodeKind::List(_) | NodeKind::Table(_) => node.to_json(),
    }
}

/// Reads cookies: `cookies: true` uses those of the scenario, `as: NAME` those of an actor, and a mapping
/// adds cookies for this request.
fn cookies(reader: &mut NodeReader<'_>, node: &YamlNode) -> (Option<String>, IndexMap<String, String>) {
    let actor = given(node, "as").and_then(|_| reader.required(node, "as", "a request"));
    let anybody = actor.clone().unwrap_or_default();
    match given(node, "cookies") {
        None => (actor, IndexMap::new()),
        Some(value) if matches!(value.kind, NodeKind::Table(_)) => {
            (Some(anybody), reader.texts(Some(value), "`cookies`"))
        }
        Some(value) => {
            (reader.flag(value, "`cookies`").unwrap_or_default().then_some(anybody), IndexMap::new())
        }
    }
}

/// Highest allowed number of redirects.
const MOST_REDIRECTS: u64 = 100;

fn redirects(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Redirects> {
    let value = node.to_json();
    if let Some(flag) = value.as_bool() {
        return Some(Redirects::Flag(flag));
    }
    let most =
        value.as_u64().filter(|most| *most <= MOST_REDIRECTS).and_then(|most| usize::try_from(most).ok());
    if most.is_none() {
        reader.mistyped(
            node,
            "`redirects`",
            &format!("true, false or a whole number up to {MOST_REDIRECTS}"),
        );
    }
    most.map(Redirects::Most)
}

fn content(reader: &mut NodeReader<'_>, node: &YamlNode) -> Content {
    const KINDS: [&str; 4] = ["body", "form", "multipart", "bytes"];
    let mut present = KINDS.into_iter().filter_map(|word| given(node, word).map(|value| (word, value)));
    let Some((word, value)) = present.next() else { return Content::None };
    if let Some((other, value)) = present.next() {
        let message = format!("a request has one kind of content, but this one has `{word}` and `{other}`");
        reader.complain(Code::ScenarioValue, value, message);
    }
    match word {
        "body" => Content::Body(written(value)),
        "form" => Content::Form(reader.texts(Some(value), "`form`")),
        "multipart" => {
            let items = reader.list(value, "`multipart`");
            Content::Multipart(items.iter().filter_map(|item| part(reader, item)).collect())
        }
        _ => EncodedBytes::read(reader, value, "`bytes`").map(Content::Bytes).unwrap_or_default(),
    }
}

fn part(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<FormPart> {
    reader.table(node, "a part of `multipart`", PART)?;
    let name = reader.required(node, "name", "a part of `multipart`");
    let text = |reader: &mut NodeReader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.text(value, &format!("`{key}`")))
    };
    Some(FormPart {
        value: reader.optional(node, "value"),
        bytes: given(node, "bytes").and_then(|value| EncodedBytes::read(reader, value, "`bytes`")),
        filename: text(reader, "filename"),
        media_type: text(reader, "type"),
        name: name?,
    })
}

fn events(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<EventLimit> {
    reader.table(node, "`events`", EVENTS)?;
    let count = given(node, "count").and_then(|value| reader.number(value, "`count`"));
    let until = given(node, "until").and_then(|value| reader.pattern(value, "`until`"));
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    Some(EventLimit { count, until, timeout: timeout.unwrap_or(WrittenDuration::secs(5)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::reader::keys::assert_published;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        assert_published("/$defs/part/properties", PART);
        assert_published("/$defs/events/properties", EVENTS);
    }
}
