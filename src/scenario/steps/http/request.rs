use std::collections::BTreeMap;

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Code;
use crate::scenario::reader::bytes::Bytes;
use crate::scenario::reader::yaml::{Kind, Node};
use crate::scenario::reader::{Reader, given};
use crate::scenario::steps::thirty_seconds;
use crate::scenario::values::Lapse;
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
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query, joined to the target.
    pub path: String,
    /// What is added to the query, encoded; a list makes one entry of each item.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub query: IndexMap<String, Value>,
    /// Headers; names are taken as they are, values may hold variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: IndexMap<String, String>,
    /// Whose cookies are sent and kept: those of an actor, of nobody in particular where it is empty. Null for none.
    #[serde(default)]
    pub jar: Option<String>,
    /// Cookies that are sent with this request alone.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub cookies: IndexMap<String, String>,
    /// What is sent.
    #[serde(default)]
    pub content: Content,
    /// How many redirects are followed, as long as they stay at the target: none, all within reason, or a number, after
    /// which the next one is the answer.
    #[serde(default)]
    pub redirects: Redirects,
    /// Reads server-sent events instead of a whole body.
    #[serde(default)]
    pub events: Option<Events>,
    /// How long to wait for the whole answer.
    #[serde(default = "thirty_seconds")]
    pub timeout: Lapse,
}

/// How many redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Redirects {
    /// All that there are, or none.
    Flag(bool),
    /// At most so many.
    Most(usize),
}

impl Default for Redirects {
    fn default() -> Self {
        Self::Flag(true)
    }
}

/// What a request sends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Nothing.
    #[default]
    None,
    /// Text as it is, anything else as JSON.
    Body(Value),
    /// A form, encoded like that of a page.
    Form(#[schemars(with = "BTreeMap<String, String>")] IndexMap<String, String>),
    /// A form with files.
    Multipart(Vec<Part>),
    /// Bytes as they are.
    Bytes(Bytes),
}

/// One part of a form with files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The name of the field.
    pub name: String,
    /// Its text, where it has no bytes.
    #[serde(default)]
    pub value: String,
    /// Its bytes.
    #[serde(default)]
    pub bytes: Option<Bytes>,
    /// The name of the file it is sent as.
    #[serde(default)]
    pub filename: Option<String>,
    /// Its media type.
    #[serde(default, rename = "type")]
    pub media_type: Option<String>,
}

/// When enough server-sent events have come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// After how many.
    #[serde(default)]
    pub count: Option<u64>,
    /// After one whose data this regular expression finds something in.
    #[serde(default)]
    pub until: Option<String>,
    /// After how long. Fewer events than asked for are no error.
    pub timeout: Lapse,
}

/// Reads a `request`.
pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Request> {
    let method = reader.required(node, "method", "a request").map(|method| method.to_uppercase());
    if let (Some(method), Some(value)) = (&method, given(node, "method"))
        && !method.is_empty()
        && !METHODS.contains(&method.as_str())
    {
        let complaint = reader.complain(Code::ScenarioValue, value, format!("`{method}` is no HTTP method"));
        *complaint = complaint.clone().suggest(method, METHODS.iter().copied());
    }
    let path = reader.required(node, "path", "a request");
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    let (jar, cookies) = cookies(reader, node);
    let redirects = given(node, "redirects").and_then(|value| redirects(reader, value));
    let events = given(node, "events").and_then(|value| events(reader, value));
    // Events have a time of their own, which a time that is written for the whole bounds as well.
    let usual = Lapse(thirty_seconds().0 + events.as_ref().map_or(Duration::ZERO, |events| events.timeout.0));
    Some(Request {
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

fn query(reader: &mut Reader<'_>, node: &Node) -> IndexMap<String, Value> {
    let entries = reader.entries(node, "`query`").unwrap_or_default();
    let value = |node: &Node| match &node.kind {
        Kind::List(items) => items.iter().map(written).collect(),
        _ => written(node),
    };
    entries.iter().map(|(key, node)| (key.scalar_text().unwrap_or_default(), value(node))).collect()
}

/// A scalar as it is written, anything else as JSON.
fn written(node: &Node) -> Value {
    match node.kind {
        Kind::Scalar(_) => node.scalar_text().unwrap_or_default().into(),
        Kind::List(_) | Kind::Table(_) => node.to_json(),
    }
}

/// `cookies: true` uses the cookies of the scenario, `as: NAME` those of an actor, a mapping adds to them for this request.
fn cookies(reader: &mut Reader<'_>, node: &Node) -> (Option<String>, IndexMap<String, String>) {
    let actor = given(node, "as").and_then(|_| reader.required(node, "as", "a request"));
    let anybody = actor.clone().unwrap_or_default();
    match given(node, "cookies") {
        None => (actor, IndexMap::new()),
        Some(value) if matches!(value.kind, Kind::Table(_)) => {
            (Some(anybody), reader.texts(Some(value), "`cookies`"))
        }
        Some(value) => {
            (reader.flag(value, "`cookies`").unwrap_or_default().then_some(anybody), IndexMap::new())
        }
    }
}

/// Most redirects that anybody has a use for.
const MOST_REDIRECTS: u64 = 100;

fn redirects(reader: &mut Reader<'_>, node: &Node) -> Option<Redirects> {
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

fn content(reader: &mut Reader<'_>, node: &Node) -> Content {
    const KINDS: [&str; 4] = ["body", "form", "multipart", "bytes"];
    let mut present = KINDS.into_iter().filter_map(|word| given(node, word).map(|value| (word, value)));
    let Some((word, value)) = present.next() else { return Content::None };
    if let Some((other, value)) = present.next() {
        let message = format!("a request sends one thing, this one has `{word}` and `{other}`");
        reader.complain(Code::ScenarioValue, value, message);
    }
    match word {
        "body" => Content::Body(written(value)),
        "form" => Content::Form(reader.texts(Some(value), "`form`")),
        "multipart" => {
            let items = reader.list(value, "`multipart`");
            Content::Multipart(items.iter().filter_map(|item| part(reader, item)).collect())
        }
        _ => Bytes::read(reader, value, "`bytes`").map(Content::Bytes).unwrap_or_default(),
    }
}

fn part(reader: &mut Reader<'_>, node: &Node) -> Option<Part> {
    reader.table(node, "a part of `multipart`", PART)?;
    let name = reader.required(node, "name", "a part of `multipart`");
    let text = |reader: &mut Reader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.text(value, &format!("`{key}`")))
    };
    Some(Part {
        value: reader.optional(node, "value"),
        bytes: given(node, "bytes").and_then(|value| Bytes::read(reader, value, "`bytes`")),
        filename: text(reader, "filename"),
        media_type: text(reader, "type"),
        name: name?,
    })
}

fn events(reader: &mut Reader<'_>, node: &Node) -> Option<Events> {
    reader.table(node, "`events`", EVENTS)?;
    let count = given(node, "count").and_then(|value| reader.number(value, "`count`"));
    let until = given(node, "until").and_then(|value| reader.pattern(value, "`until`"));
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Events { count, until, timeout: timeout.unwrap_or(Lapse::secs(5)) })
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
