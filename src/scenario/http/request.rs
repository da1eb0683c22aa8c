use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Code;
use crate::scenario::Lapse;
use crate::scenario::bytes::Bytes;
use crate::scenario::language::thirty_seconds;
use crate::scenario::read::{Reader, given, keys};
use crate::scenario::yaml::{Kind, Node};
use crate::value::Value;

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
    /// Whether the cookies of earlier such requests are sent and new ones kept.
    #[serde(default)]
    pub jar: bool,
    /// Cookies that are sent with this request alone.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub cookies: IndexMap<String, String>,
    /// What is sent.
    #[serde(default)]
    pub content: Content,
    /// Whether redirects are followed, as long as they stay at the target.
    #[serde(default = "yes")]
    pub redirects: bool,
    /// Reads server-sent events instead of a whole body.
    #[serde(default)]
    pub events: Option<Events>,
    /// How long to wait for the whole answer.
    #[serde(default = "thirty_seconds")]
    pub timeout: Lapse,
}

fn yes() -> bool {
    true
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
    reader.table(node, "`request`", keys::REQUEST)?;
    let method = reader.required(node, "method", "a request").map(|method| method.to_uppercase());
    if let (Some(method), Some(value)) = (&method, given(node, "method"))
        && !method.is_empty()
        && !keys::METHODS.contains(&method.as_str())
    {
        let complaint = reader.complain(Code::ScenarioValue, value, format!("`{method}` is no HTTP method"));
        *complaint = complaint.clone().suggest(method, keys::METHODS.iter().copied());
    }
    let path = reader.required(node, "path", "a request");
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    let (jar, cookies) = cookies(reader, node);
    let redirects = given(node, "redirects").and_then(|value| reader.flag(value, "`redirects`"));
    Some(Request {
        method: method?,
        path: path?,
        query: given(node, "query").map(|value| query(reader, value)).unwrap_or_default(),
        headers: reader.texts(given(node, "headers"), "`headers`"),
        jar,
        cookies,
        content: content(reader, node),
        redirects: redirects.unwrap_or(true),
        events: given(node, "events").and_then(|value| events(reader, value)),
        timeout: timeout.unwrap_or_else(thirty_seconds),
    })
}

fn query(reader: &mut Reader<'_>, node: &Node) -> IndexMap<String, Value> {
    let entries = reader.entries(node, "`query`").unwrap_or_default();
    entries.iter().map(|(key, value)| (key.scalar_text().unwrap_or_default(), value.to_json())).collect()
}

/// `cookies: true` uses the cookies of the scenario, a mapping adds to them for this request.
fn cookies(reader: &mut Reader<'_>, node: &Node) -> (bool, IndexMap<String, String>) {
    match given(node, "cookies") {
        None => (false, IndexMap::new()),
        Some(value) if matches!(value.kind, Kind::Table(_)) => (true, reader.texts(Some(value), "`cookies`")),
        Some(value) => (reader.flag(value, "`cookies`").unwrap_or_default(), IndexMap::new()),
    }
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
        "body" => Content::Body(value.to_json()),
        "form" => Content::Form(reader.texts(Some(value), "`form`")),
        "multipart" => {
            let items = reader.list(value, "`multipart`");
            Content::Multipart(items.iter().filter_map(|item| part(reader, item)).collect())
        }
        _ => Bytes::read(reader, value).map(Content::Bytes).unwrap_or_default(),
    }
}

fn part(reader: &mut Reader<'_>, node: &Node) -> Option<Part> {
    reader.table(node, "a part of `multipart`", keys::PART)?;
    let name = reader.required(node, "name", "a part of `multipart`");
    let text = |reader: &mut Reader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.text(value, &format!("`{key}`")))
    };
    Some(Part {
        value: reader.optional(node, "value"),
        bytes: given(node, "bytes").and_then(|value| Bytes::read(reader, value)),
        filename: text(reader, "filename"),
        media_type: text(reader, "type"),
        name: name?,
    })
}

fn events(reader: &mut Reader<'_>, node: &Node) -> Option<Events> {
    reader.table(node, "`events`", keys::EVENTS)?;
    let count = given(node, "count").and_then(|value| reader.number(value, "`count`"));
    let until = given(node, "until").and_then(|value| reader.pattern(value, "`until`"));
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Events { count, until, timeout: timeout.unwrap_or(Lapse::secs(5)) })
}
