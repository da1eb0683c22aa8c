//! The step type `request`: HTTP requests to the target. Each scenario has its own client, which reuses
//! connections and shares nothing with other scenarios.

mod charset;
mod clients;
mod connections;
mod curl;
mod decoded;
mod events;
mod request;
mod step_type;

use clients::{ClientSettings, Clients};
use curl::{BodyShown, FormShown};
use decoded::DecodeError;
pub use request::{Content, EventLimit, FormPart, HttpRequest, Redirects};
pub use step_type::TYPE;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use regex::Regex;
use reqwest::cookie::Jar;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, multipart};
use serde_json::json;

use crate::clock::{Clock, Sleep};
use crate::scenario::answer::{HttpAnswer, SentRecord, StepAnswer, StepOutcome, StructuredResponse};
use crate::scenario::network::errors::describe;
use crate::scenario::network::tls;
use crate::scenario::network::{TargetUrl, Tls};
use crate::scenario::values::credentials;
use crate::scenario::values::json as written;
use crate::scenario::values::variables::as_text;
use crate::scenario::values::{Excerpt, KeptContent, Variables, WrittenDuration};
use crate::value::Value;

/// Most bytes kept of a body; the rest is counted and digested.
const KEPT: usize = 1 << 20;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// HTTP client of one scenario, with its own connections and cookies.
pub struct HttpClient {
    target: TargetUrl,
    /// Trusted certificates, in PEM with placeholders; empty for those of the machine.
    trust: String,
    /// TLS settings of the user.
    tls: Tls,
    /// Name of a secret and value of `Authorization`, for requests without this header.
    authorization: Option<(String, HeaderValue)>,
    /// Cookies by actor.
    jars: Mutex<BTreeMap<String, Arc<Jar>>>,
    /// Clients by their settings, created on first use.
    clients: Mutex<BTreeMap<ClientKey, Clients>>,
}

/// Settings that need separate clients.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct ClientKey {
    redirects: Redirects,
    jar: Option<String>,
    trust: String,
}

/// A request that is ready to be sent.
pub struct PreparedRequest {
    clients: Clients,
    request: reqwest::Request,
    /// Path, if a URL would change it.
    path: Option<String>,
    /// Body for the record.
    body: BodyShown,
    /// Name of the secret in the header `Authorization`.
    authorization: Option<String>,
    /// The user's TLS settings that concern this request.
    tls: Option<Tls>,
    events: Option<EventLimit>,
}

impl HttpClient {
    /// A client for `target`: no proxy, and redirects are followed only within the target.
    pub fn new(target: &str) -> Result<Self, String> {
        let target = TargetUrl::parse(target)?;
        tls::install();
        Ok(Self {
            target,
            trust: String::new(),
            tls: Tls::default(),
            authorization: None,
            jars: Mutex::default(),
            clients: Mutex::default(),
        })
    }

    /// The client with the trusted certificates `trust`, unless empty, instead of those of the machine.
    #[must_use]
    pub fn trusting(self, trust: &str) -> Self {
        Self { trust: trust.to_owned(), ..self }
    }

    /// The client with the TLS settings of the user.
    #[must_use]
    pub fn secured(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// The client with a header `Authorization` for requests without one.
    #[must_use]
    pub fn authorized(self, authorization: Option<(String, HeaderValue)>) -> Self {
        Self { authorization, ..self }
    }

    fn clients(&self, request: &HttpRequest, variables: &Variables) -> Result<Clients, String> {
        let jar = request.jar.as_ref().map(|actor| variables.fill(actor).into_owned());
        let trust = variables.fill(&self.trust).into_owned();
        let kind = ClientKey { redirects: request.redirects, jar, trust };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&kind) {
            return Ok(known.clone());
        }
        let made = Clients::new(ClientSettings {
            target: self.target.clone(),
            redirects: kind.redirects,
            jar: kind.jar.as_deref().map(|actor| self.jar(actor)),
            tls: self.tls.clone(),
            trust: kind.trust.clone(),
        })?;
        clients.insert(kind, made.clone());
        Ok(made)
    }

    fn jar(&self, actor: &str) -> Arc<Jar> {
        let mut jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        jars.entry(actor.to_owned()).or_default().clone()
    }

    /// The request with variables filled in.
    pub fn prepare(&self, request: &HttpRequest, variables: &Variables) -> Result<PreparedRequest, String> {
        let path = variables.fill(&request.path);
        let mut url = self.target.join(&path)?;
        let path = self.target.path_as_written(&path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs(&request.query, variables));
        }
        let method = Method::from_bytes(request.method.to_uppercase().as_bytes())
            .map_err(|_| format!("`{}` is not an HTTP method", request.method))?;
        let clients = self.clients(request, variables)?;
        let mut headers = headers(&request.headers, variables)?;
        if let Some(cookies) = cookies(&request.cookies, variables)? {
            headers.insert(COOKIE, cookies);
        }
        let authorization = self.authorization.as_ref().filter(|_| !headers.contains_key(AUTHORIZATION));
        if let Some((_, value)) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let authorization = authorization.map(|(name, _)| name.clone());
        let builder = clients.request(method, url).headers(headers.clone());
        let (builder, body) = fill_content(builder, &headers, &request.content, variables)?;
        let prepared = builder.build().map_err(|e| format!("the request is invalid: {}", describe(&e)))?;
        let tls = (!self.target.is_plain()).then(|| self.tls.clone());
        let events = request.events.clone();
        Ok(PreparedRequest { clients, request: prepared, path, body, authorization, tls, events })
    }

    /// Sends it and reads the answer to its end, for at most `timeout`.
    pub async fn send(prepared: PreparedRequest, timeout: Duration, clock: &dyn Clock) -> StepOutcome {
        let begun = clock.now();
        let mut late = clock.sleep(timeout);
        let response = tokio::select! {
            response = prepared.clients.execute(prepared.request, prepared.path) => response,
            () = &mut late => return StepOutcome::error(format!("no answer within {}", WrittenDuration(timeout))),
        };
        match response {
            Ok(response) => match prepared.events.filter(|_| is_stream(&response)) {
                Some(events) => {
                    let left =
                        timeout.saturating_sub(Duration::from_millis(clock.now().saturating_sub(begun)));
                    listen(response, &events, left, clock).await
                }
                None => read(response, timeout, late).await,
            },
            Err(error) => StepOutcome::error(format!("no answer: {error}")),
        }
    }
}

impl PreparedRequest {
    /// Record of the request, without the target, which differs from run to run.
    pub fn sent(&self) -> SentRecord {
        let path = with_query(self.path.as_deref().unwrap_or(self.request.url().path()), self.request.url());
        let path = credentials::recorded_url(&path);
        let mut headers = table(self.request.headers());
        for (name, value) in &mut headers {
            // The boundary of a form is random.
            if name == "content-type" && value.starts_with("multipart/form-data") {
                value.truncate("multipart/form-data".len());
            }
            *value = credentials::recorded(name, value);
        }
        let body = self.body.text().map(|body| Excerpt::of_text(body, SHOWN).text);
        let mut options = self.tls.as_ref().map(Tls::curl).unwrap_or_default().to_vec();
        let url = match &self.path {
            Some(path) => {
                let origin = self.request.url().origin().ascii_serialization();
                format!("{origin}{}", with_query(path, self.request.url()))
            }
            None => self.request.url().to_string(),
        };
        let url = credentials::recorded_url(&url).into_owned();
        options.extend(self.path.as_ref().map(|_| "--path-as-is".to_owned()));
        let curl = curl::command(&self.request, &url, &self.body, self.authorization.as_deref(), &options);
        let mut text = format!("{} {path}\n", self.request.method());
        for (name, value) in &headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        if let Some(body) = &body {
            let _ = write!(text, "\n{body}");
        }
        SentRecord {
            text: Excerpt::visible(&text, SHOWN).text,
            method: Some(self.request.method().to_string()),
            curl: Some(curl),
            url: Some(url),
            headers: Some(headers.into_iter().collect()),
            body,
            ..SentRecord::default()
        }
    }
}

/// `path` with the query of `url`.
fn with_query(path: &str, url: &reqwest::Url) -> String {
    url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

fn headers(written: &IndexMap<String, String>, variables: &Variables) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let value = variables.fill(value);
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            format!("the value of the header `{name}` contains a line break or control character")
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn pairs(query: &IndexMap<String, Value>, variables: &Variables) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in query {
        let name = variables.fill(name).into_owned();
        match variables.fill_json(value) {
            Value::Array(items) => pairs.extend(items.iter().map(|item| (name.clone(), as_text(item)))),
            value => pairs.push((name, as_text(&value))),
        }
    }
    pairs
}

fn cookies(cookies: &IndexMap<String, String>, variables: &Variables) -> Result<Option<HeaderValue>, String> {
    if cookies.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<String> =
        cookies.iter().map(|(name, value)| format!("{name}={}", variables.fill(value))).collect();
    let value = HeaderValue::from_str(&pairs.join("; "));
    value.map(Some).map_err(|_| "a cookie contains a line break or control character".into())
}

/// Adds the content to a request. Also returns how the body is shown.
fn fill_content(
    builder: reqwest::RequestBuilder,
    headers: &HeaderMap,
    content: &Content,
    variables: &Variables,
) -> Result<(reqwest::RequestBuilder, BodyShown), String> {
    let typed = |builder: reqwest::RequestBuilder, media_type: &'static str| {
        if headers.contains_key(CONTENT_TYPE) { builder } else { builder.header(CONTENT_TYPE, media_type) }
    };
    Ok(match content {
        Content::None | Content::Body(Value::Null) => (builder, BodyShown::None),
        Content::Body(value) => {
            let text = match value {
                Value::String(text) => variables.fill(text).into_owned(),
                value => written::text(&variables.fill_json(value)),
            };
            let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let bytes = match media_type.and_then(charset::of_type) {
                Some(encoding) => charset::encode(&text, encoding)?,
                None => text.clone().into_bytes(),
            };
            (typed(builder, "application/json").body(bytes), BodyShown::Text(text))
        }
        Content::Form(fields) => {
            let filled = fields.iter().map(|(name, value)| (name.as_str(), variables.fill(value)));
            let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(filled).finish();
            (typed(builder, "application/x-www-form-urlencoded").body(text.clone()), BodyShown::Text(text))
        }
        Content::Bytes(bytes) => {
            let bytes = bytes.decode()?;
            let shown = format!("({} bytes)", bytes.len());
            (builder.body(bytes), BodyShown::Bytes(shown))
        }
        Content::Multipart(parts) => {
            // Names are written as browsers do: `name*=` is for downloads, and servers do not read it in
            // forms.
            let mut form = multipart::Form::new().percent_encode_noop();
            let mut shown = FormShown::default();
            for part in parts {
                let (name, built) = build_part(part, variables, &mut shown)?;
                form = form.part(form_name(&name), built);
            }
            (builder.multipart(form), BodyShown::Form(shown))
        }
    })
}

/// The name of a field as browsers write it in a form.
fn form_name(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn build_part(
    part: &FormPart,
    variables: &Variables,
    shown: &mut FormShown,
) -> Result<(String, multipart::Part), String> {
    let name = variables.fill(&part.name).into_owned();
    let filename = part.filename.as_ref().map(|filename| variables.fill(filename).into_owned());
    let media_type = part.media_type.as_deref();
    let mut built = if let Some(bytes) = &part.bytes {
        let bytes = bytes.decode()?;
        shown.push(&name, Err(bytes.len()), filename.as_deref(), media_type);
        multipart::Part::bytes(bytes)
    } else {
        let value = variables.fill(&part.value).into_owned();
        shown.push(&name, Ok(&value), filename.as_deref(), media_type);
        multipart::Part::text(value)
    };
    if let Some(filename) = filename {
        built = built.file_name(filename);
    }
    if let Some(media_type) = media_type {
        built = built.mime_str(media_type).map_err(|_| format!("`{media_type}` is not a media type"))?;
    }
    Ok((name, built))
}

/// Whether the answer is an event stream.
fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("text/event-stream")
}

/// Reads events until there are enough, the stream ends, or the time limit of the events or the request is
/// over. None of these is an error.
async fn listen(
    mut response: Response,
    wanted: &EventLimit,
    left: Duration,
    clock: &dyn Clock,
) -> StepOutcome {
    let until = match wanted.until.as_deref().map(Regex::new).transpose() {
        Ok(until) => until,
        Err(error) => return StepOutcome::error(format!("`until` is not a regular expression: {error}")),
    };
    let span = wanted.timeout.0.min(left);
    let mut late = clock.sleep(span);
    let mut stream = events::SseParser::default();
    let ended = loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = &mut late => break if span < wanted.timeout.0 {
                // The time that was left differs from run to run, so it is not shown.
                "more was waited for until the time of the step was over".to_owned()
            } else {
                format!("more was waited for until {} were over", wanted.timeout)
            },
        };
        match chunk {
            Ok(Some(bytes)) if stream.push(&bytes, wanted.count, until.as_ref()) => {
                break "enough came".into();
            }
            Ok(Some(_)) => {}
            Ok(None) => break "the stream ended".into(),
            Err(error) => match DecodeError::of(&error) {
                Some(fault) => break format!("the stream cannot be decompressed: {fault}"),
                None => break format!("the stream was interrupted: {}", describe(&error)),
            },
        }
    };
    let (status, count) = (response.status().as_u16(), stream.count());
    let events: Value = stream.into_events().into();
    let mut text = format!("HTTP {status}\n{count} events; {ended}\n");
    for event in events.as_array().into_iter().flatten() {
        let _ = writeln!(text, "{}: {}", as_text(&event["event"]), as_text(&event["data"]));
    }
    let headers: Value = table(response.headers())
        .into_iter()
        .map(|(name, value)| (name, Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let told = StructuredResponse {
        text,
        main: ("events", KeptContent::of(written::text(&events).as_bytes(), KEPT)),
        parts: [("status", json!(status)), ("header", headers), ("count", json!(count))]
            .into_iter()
            .collect(),
        evidence: Vec::new(),
    };
    StepOutcome { answer: Some(StepAnswer::Told(Box::new(told))), error: None }
}

async fn read(mut response: Response, timeout: Duration, mut late: Sleep) -> StepOutcome {
    let mut body = KeptContent::new(KEPT);
    let error = loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = &mut late => {
                break Some(format!("the answer had not ended after {}; {} bytes had come", WrittenDuration(timeout), body.length()));
            }
        };
        match chunk {
            Ok(Some(bytes)) => body.push(&bytes),
            Ok(None) => break None,
            Err(error) => {
                let length = body.length();
                break Some(match DecodeError::of(&error) {
                    Some(fault) => format!("the body cannot be decompressed after {length} bytes: {fault}"),
                    None => format!("the answer was interrupted after {length} bytes: {}", describe(&error)),
                });
            }
        }
    };
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let encoding = charset::of_body(media_type.unwrap_or_default(), body.head());
    let answer = HttpAnswer {
        status: response.status().as_u16(),
        headers: table(response.headers()),
        body: body.in_encoding(encoding),
        url: response.url().to_string(),
    };
    StepOutcome { answer: Some(StepAnswer::Http(answer)), error }
}

/// Headers by name, sorted; several values of one name joined. Bytes that are not UTF-8 are read as ISO
/// 8859-1, as in older HTTP.
fn table(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let value = |name| {
        let values = headers.get_all(name).iter().map(|value| {
            let old = || value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
            std::str::from_utf8(value.as_bytes()).map_or_else(|_| old(), str::to_owned)
        });
        values.collect::<Vec<String>>().join(", ")
    };
    names.into_iter().map(|name| (name.as_str().to_owned(), value(name))).collect()
}
