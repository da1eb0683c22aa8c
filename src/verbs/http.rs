//! `http`: sends one request and returns the answer.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::secret::{SecretName, TextOrSecret};
use crate::requests::{RedirectPolicy, is_local, redirects};
use crate::value::Value;
use crate::verb::{Cause, Class, Context, Failure, Output, Refusal, Traits, Verb, pointer};

/// The verb `http`.
#[derive(Default)]
pub struct Http {
    /// For targets on this machine, which are never reached through a proxy.
    direct: OnceLock<reqwest::Client>,
    /// For requests that carry a secret or stay in the machine's network.
    bound: OnceLock<reqwest::Client>,
    /// For all other requests.
    free: OnceLock<reqwest::Client>,
}

const MOST_BYTES: usize = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Input of `http`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpInput {
    /// `http://` or `https://` address, without a user name or password. Redirects are followed to other
    /// public hosts, but only within the same origin if the host is this machine or in its network (as every
    /// held service is), or if the request carries a secret. A redirect that is not followed is returned as
    /// the answer.
    pub url: String,
    /// Request method. Default: `GET`, or `POST` with `json` or `body`.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers by name: texts, or `{ secret = "NAME", prefix = "Bearer " }`.
    #[serde(default)]
    pub headers: BTreeMap<String, TextOrSecret>,
    /// User name and password for basic authentication.
    #[serde(default)]
    pub basic: Option<BasicAuth>,
    /// Query parameters, added to those of `url`. Numbers and booleans are written as text; `{ secret =
    /// "NAME" }` is replaced by the value of the secret.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// Value to send as JSON.
    #[serde(default)]
    pub json: Option<Value>,
    /// Text to send.
    #[serde(default)]
    pub body: Option<String>,
    /// Maximum duration, e.g. `10s`. Default: 60 s.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Whether every result is an output, including error statuses and failed connections. Otherwise a status
    /// of 400 or more is a failure: `transient` for 408, 425, 429 and from 500, else `permanent`. Default:
    /// `false`.
    #[serde(default)]
    pub observe: bool,
    /// Maximum size of the answer in bytes; the rest is dropped. Default: 8 MiB.
    #[serde(default)]
    pub max_bytes: Option<usize>,
}

/// Basic authentication.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User name: a text, or `{ secret = "NAME" }`.
    pub user: TextOrSecret,
    /// Password: `{ secret = "NAME" }`, or a text if it is not secret.
    #[serde(default)]
    pub password: Option<TextOrSecret>,
}

/// Output of `http`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct HttpOutput {
    /// Whether an answer was received with a status of 2xx or 3xx.
    pub ok: bool,
    /// HTTP status; 0 without an answer.
    pub status: u16,
    /// Headers by name in lower case; several of one name are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// Answer as text.
    pub body: String,
    /// Answer as JSON, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Whether the answer was longer than `max_bytes`.
    pub truncated: bool,
    /// Reason why there is no answer; only with `observe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Time from sending to the end of the answer, in milliseconds.
    pub duration_ms: u64,
}

impl Verb for Http {
    const NAME: &'static str = "http";
    const SUMMARY: &'static str = "send one HTTP request and return the answer";
    const TRAITS: Traits = Traits::once("http");
    const EXAMPLE: &'static str = r#"
[steps.health]
http = { url = "http://127.0.0.1:8080/health", query = { verbose = true }, timeout = "2s", observe = true }
"#;
    type With = HttpInput;
    type Out = HttpOutput;

    fn refusals(with: &HttpInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        found.extend(timeout(with.timeout.as_deref()).err().map(|failure| Refusal::of("/timeout", failure)));
        found.extend(address(&with.url).err().map(|failure| Refusal::of("/url", failure)));
        if with.json.is_some() && with.body.is_some() {
            let failure =
                Failure::permanent("`json` and `body` are both set").hint("give either json or body");
            found.push(Refusal::among(&["json", "body"], failure));
        }
        found.extend(method(with).err().map(|failure| Refusal::of("/method", failure)));
        for (name, value) in &with.query {
            let at = pointer("/query", name);
            match value.is_object().then(|| secret_of(name, value)) {
                Some(Err(failure)) => found.push(Refusal::of(at, failure)),
                Some(Ok(secret)) => found.extend(
                    TextOrSecret::Secret(secret).unusable(&at, &format!("the query parameter `{name}`")),
                ),
                None => {}
            }
        }
        if let Some(BasicAuth { user, password }) = &with.basic {
            found.extend(user.unusable("/basic/user", "`basic.user`"));
            let password = password.as_ref();
            found.extend(password.and_then(|text| text.unusable("/basic/password", "`basic.password`")));
        }
        for (name, value) in &with.headers {
            let at = pointer("/headers", name);
            let (key, text) = match value {
                TextOrSecret::Text(text) => (at.clone(), text),
                TextOrSecret::Secret(secret) => (pointer(&at, "prefix"), &secret.prefix),
            };
            found.extend(header(name, "").err().map(|failure| Refusal::key(at.clone(), failure)));
            found.extend(header("x", text).err().map(|_| Refusal::of(key, unsendable(name))));
            found.extend(value.unusable(&at, &format!("the header `{name}`")));
        }
        found
    }

    async fn run(&self, with: HttpInput, cx: Context) -> Result<Output<HttpOutput>, Failure> {
        let limit = timeout(with.timeout.as_deref())?;
        let request = self.request(&with, &cx)?;
        let most = with.max_bytes.unwrap_or(MOST_BYTES);
        let begun = cx.clock.now();
        let answer = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => return Err(Failure::cancelled()),
            answer = exchange(request, most) => answer.map_err(|e| (Class::Transient, describe(&e))),
            () = cx.clock.sleep(limit) => Err((Class::Timeout, format!("no answer within {limit:?}"))),
        };
        let duration_ms = cx.clock.now().saturating_sub(begun);
        let method = with.method.as_deref().unwrap_or("request");
        let named = |what: &str| format!("{method} {}: {what}", with.url);
        match answer {
            Err((_, error)) if with.observe => {
                Ok(Output::free(HttpOutput { error: Some(error), duration_ms, ..HttpOutput::default() }))
            }
            Err((class, error)) => Err(Failure::new(class, named(&error))),
            Ok(answer) => {
                let retry_after = retry_after(&answer);
                let out = out(&answer, duration_ms, &cx);
                if with.observe || out.status < 400 {
                    return Ok(Output::free(out));
                }
                Err(failure(&out, retry_after, named(&format!("status {}", out.status)), &cx))
            }
        }
    }
}

struct HttpResponse {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    truncated: bool,
}

impl Http {
    /// The client for requests to `url`.
    fn client(&self, url: &reqwest::Url, carries_secret: bool) -> Result<&reqwest::Client, Failure> {
        let (local, reach) = (is_local(url), RedirectPolicy::of(url, carries_secret));
        let slot = match reach {
            RedirectPolicy::Origin if local => &self.direct,
            RedirectPolicy::Origin => &self.bound,
            RedirectPolicy::Public => &self.free,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        // Another part of the program may have installed a provider; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("atoll/", env!("CARGO_PKG_VERSION")))
            .redirect(redirects(reach));
        let built = if local { builder.no_proxy() } else { builder }.build();
        let client = built.map_err(|e| Failure::permanent(format!("no HTTP client: {}", describe(&e))))?;
        Ok(slot.get_or_init(|| client))
    }

    fn request(&self, with: &HttpInput, cx: &Context) -> Result<reqwest::RequestBuilder, Failure> {
        let (url, method) = (address(&with.url)?, method(with)?);
        let query = query(&with.query, cx)?;
        let basic = with.basic.as_ref();
        let carries_secret = with.headers.values().any(TextOrSecret::is_secret)
            || basic.is_some()
            || with.query.values().any(Value::is_object);
        let client = self.client(&url, carries_secret)?;
        let mut url = url;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = client.request(method, url);
        if let Some(BasicAuth { user, password }) = basic {
            let password =
                password.as_ref().map(|password| password.reveal("`basic.password`", cx)).transpose()?;
            request = request.basic_auth(user.reveal("`basic.user`", cx)?, password);
        }
        if let Some(value) = &with.json {
            request = request.json(value);
        }
        if let Some(body) = &with.body {
            request = request.body(body.clone());
        }
        Ok(request.headers(headers(&with.headers, cx)?))
    }
}

/// The address of a request.
fn address(url: &str) -> Result<reqwest::Url, Failure> {
    let parsed = reqwest::Url::parse(url)
        .map_err(|e| Failure::permanent(format!("{url:?} is not a valid address: {e}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // The message does not contain the address, which holds a password.
        return Err(Failure::permanent(
            "`url` contains a user name or password, which would be stored with the run",
        )
        .hint("pass it by name: `basic = { user = \"…\", password = { secret = \"NAME\" } }`"));
    }
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(Failure::permanent(format!("{url:?} is neither http nor https")));
    }
    Ok(parsed)
}

fn method(with: &HttpInput) -> Result<reqwest::Method, Failure> {
    let sends = with.json.is_some() || with.body.is_some();
    let method = with.method.as_deref().unwrap_or(if sends { "POST" } else { "GET" }).to_ascii_uppercase();
    reqwest::Method::from_bytes(method.as_bytes())
        .map_err(|_| Failure::permanent(format!("{method:?} is not a valid HTTP method")))
}

/// Query parameters as they are sent.
fn query(given: &BTreeMap<String, Value>, cx: &Context) -> Result<Vec<(String, String)>, Failure> {
    let pairs = given.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) => TextOrSecret::Secret(secret_of(name, value)?)
                .reveal(&format!("the query parameter `{name}`"), cx)?,
            other => other.to_string(),
        };
        Ok((name.clone(), text))
    });
    pairs.collect()
}

/// The secret that the query parameter `name` stands for.
fn secret_of(name: &str, value: &Value) -> Result<SecretName, Failure> {
    serde_json::from_value::<SecretName>(value.clone()).map_err(|e| {
        Failure::permanent(format!("the query parameter `{name}` is neither a text nor a secret: {e}"))
    })
}

fn headers(given: &BTreeMap<String, TextOrSecret>, cx: &Context) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let (key, mut sent) = header(name, &value.reveal(&format!("the header `{name}`"), cx)?)?;
        sent.set_sensitive(value.is_secret());
        headers.insert(key, sent);
    }
    Ok(headers)
}

fn header(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let key = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Failure::permanent(format!("{name:?} is not a valid header name")))?;
    let value = HeaderValue::from_str(text).map_err(|_| unsendable(name))?;
    Ok((key, value))
}

fn unsendable(header: &str) -> Failure {
    Failure::permanent(format!("the value of the header {header:?} cannot be sent"))
}

fn timeout(given: Option<&str>) -> Result<Duration, Failure> {
    let Some(text) = given else { return Ok(TIMEOUT) };
    crate::duration::parse(text).ok().filter(|span| !span.is_zero()).ok_or_else(|| {
        Failure::permanent(format!("the timeout {text:?} is not a duration"))
            .hint("write it like 500ms, 10s or 2m")
    })
}

async fn exchange(request: reqwest::RequestBuilder, most: usize) -> Result<HttpResponse, reqwest::Error> {
    let mut response = request.send().await?;
    let mut answer = HttpResponse {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: Vec::new(),
        truncated: false,
    };
    while let Some(chunk) = response.chunk().await? {
        let room = most - answer.body.len();
        answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            answer.truncated = true;
            break;
        }
    }
    Ok(answer)
}

fn out(answer: &HttpResponse, duration_ms: u64, cx: &Context) -> HttpOutput {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(earlier) => *earlier = format!("{earlier}, {value}"),
            None => drop(headers.insert(name.as_str().to_owned(), value)),
        }
    }
    let mut body = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.truncated {
        body = cx.secrets.redact_head(&body);
    }
    let json = if answer.truncated { None } else { crate::value::parse(&body).ok() };
    let (status, truncated) = (answer.status, answer.truncated);
    HttpOutput {
        ok: (200..400).contains(&status),
        status,
        headers,
        body,
        json,
        truncated,
        error: None,
        duration_ms,
    }
}

/// The failure for an answer with an error status.
fn failure(out: &HttpOutput, retry_after: Option<Duration>, message: String, cx: &Context) -> Failure {
    let class = match out.status {
        408 | 425 | 429 | 500.. => Class::Transient,
        _ => Class::Permanent,
    };
    // Secrets are removed before a text is shortened: half of one would not be recognized.
    let head: String = cx.secrets.redact(&out.body).chars().take(2_000).collect();
    let failure = Failure::new(class, message)
        .cause(Cause::Status(out.status))
        .detail(json!({ "status": out.status, "body": head }));
    let failure = match class {
        Class::Permanent => failure.hint("set `observe = true` if such an answer is expected"),
        _ => failure,
    };
    match retry_after {
        Some(span) => failure.retry_after(span),
        None => failure,
    }
}

fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The whole chain of causes: the outermost one says only that sending failed.
fn describe(error: &reqwest::Error) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
