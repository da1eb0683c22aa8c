//! `http`: one request, and what came back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::value::Value;
use crate::verb::{Class, Context, Failure, Output, Traits, Verb};

/// The verb `http`.
#[derive(Default)]
pub struct Http {
    direct: OnceLock<reqwest::Client>,
    proxied: OnceLock<reqwest::Client>,
}

const MOST_BYTES: usize = 8 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Input of `http`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// `http://` or `https://` address.
    pub url: String,
    /// Method; `GET`, or `POST` where there is a `json` or `body`.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Header>,
    /// Query parameters, added to those of `url`; numbers and booleans are written as text.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// A value to send as JSON.
    #[serde(default)]
    pub json: Option<Value>,
    /// A text to send.
    #[serde(default)]
    pub body: Option<String>,
    /// How long the answer may take, e.g. `10s`; 60 s where it is not given.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Any answer, and no answer at all, is an output and no failure.
    #[serde(default)]
    pub observe: bool,
    /// The largest answer that is kept, in bytes; 8 MiB where it is not given.
    #[serde(default)]
    pub max_bytes: Option<usize>,
}

/// A header's value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Header {
    /// As it stands.
    Text(String),
    /// From a secret.
    Secret {
        /// Name of the secret.
        secret: String,
        /// What stands before it, e.g. `Bearer ` with the space.
        #[serde(default)]
        prefix: String,
    },
}

/// Output of `http`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Out {
    /// Whether an answer came and its status is 2xx or 3xx.
    pub ok: bool,
    /// Status, 0 where no answer came.
    pub status: u16,
    /// Headers by name in lower case; several of one name are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The answer as text.
    pub body: String,
    /// The answer as JSON, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Whether the answer was longer than `max_bytes`.
    pub truncated: bool,
    /// Why no answer came; only with `observe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From sending to the end of the answer, in milliseconds.
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
    type With = With;
    type Out = Out;

    async fn run(&self, with: With, cx: Context) -> Result<Output<Out>, Failure> {
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
        let named = |what: &str| cx.secrets.redact(&format!("{method} {}: {what}", with.url));
        match answer {
            Err((_, error)) if with.observe => {
                let error = Some(cx.secrets.redact(&error));
                Ok(Output::free(Out { error, duration_ms, ..Out::default() }))
            }
            Err((class, error)) => Err(Failure::new(class, named(&error))),
            Ok(answer) => {
                let retry_after = retry_after(&answer);
                let out = out(&answer, duration_ms, &cx);
                if with.observe { Ok(Output::free(out)) } else { judge(out, retry_after, &named) }
            }
        }
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    truncated: bool,
}

impl Http {
    /// The client for `url`: targets on this machine are never reached through a proxy.
    fn client(&self, url: &reqwest::Url) -> Result<&reqwest::Client, Failure> {
        let local = url.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        let slot = if local { &self.direct } else { &self.proxied };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        // Another part of the program may have installed it already: any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().user_agent(concat!("atoll/", env!("CARGO_PKG_VERSION")));
        let built = if local { builder.no_proxy() } else { builder }.build();
        let client = built.map_err(|e| Failure::permanent(format!("no HTTP client: {}", describe(&e))))?;
        Ok(slot.get_or_init(|| client))
    }

    fn request(&self, with: &With, cx: &Context) -> Result<reqwest::RequestBuilder, Failure> {
        let url = reqwest::Url::parse(&with.url)
            .map_err(|e| Failure::permanent(format!("{:?} is no address: {e}", with.url)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::permanent(format!("{:?} is neither http nor https", with.url)));
        }
        let sends = with.json.is_some() || with.body.is_some();
        if with.json.is_some() && with.body.is_some() {
            return Err(Failure::permanent("`http` sends one content").hint("give either json or body"));
        }
        let method =
            with.method.as_deref().unwrap_or(if sends { "POST" } else { "GET" }).to_ascii_uppercase();
        let method = reqwest::Method::from_bytes(method.as_bytes())
            .map_err(|_| Failure::permanent(format!("{method:?} is no HTTP method")))?;
        let client = self.client(&url)?;
        let mut url = url;
        if !with.query.is_empty() {
            let pairs = with.query.iter().filter(|(_, value)| !value.is_null());
            url.query_pairs_mut().extend_pairs(pairs.map(|(name, value)| (name, plain(value))));
        }
        let mut request = client.request(method, url);
        if let Some(value) = &with.json {
            request = request.json(value);
        }
        if let Some(body) = &with.body {
            request = request.body(body.clone());
        }
        Ok(request.headers(headers(&with.headers, cx)?))
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn headers(given: &BTreeMap<String, Header>, cx: &Context) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::permanent(format!("{name:?} is no name of a header")))?;
        let (text, secret) = match value {
            Header::Text(text) => (text.clone(), false),
            Header::Secret { secret, prefix } => {
                let Some(found) = cx.secrets.get(secret) else {
                    return Err(Failure::new(Class::Auth, format!("there is no secret {secret:?}"))
                        .hint(format!("set it in the environment: {secret}=…")));
                };
                (format!("{prefix}{}", found.expose_secret()), true)
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Failure::permanent(format!("the value of the header {name:?} cannot be sent")))?;
        value.set_sensitive(secret);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn timeout(given: Option<&str>) -> Result<Duration, Failure> {
    let Some(text) = given else { return Ok(TIMEOUT) };
    let span =
        text.trim().parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.filter(|span| !span.is_zero()).ok_or_else(|| {
        Failure::permanent(format!("the timeout {text:?} is no duration"))
            .hint("write it like 500ms, 10s or 2m")
    })
}

async fn exchange(request: reqwest::RequestBuilder, most: usize) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let mut answer = Answer {
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

fn out(answer: &Answer, duration_ms: u64, cx: &Context) -> Out {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &answer.headers {
        let value = cx.secrets.redact(&String::from_utf8_lossy(value.as_bytes()));
        match headers.get_mut(name.as_str()) {
            Some(earlier) => *earlier = format!("{earlier}, {value}"),
            None => drop(headers.insert(name.as_str().to_owned(), value)),
        }
    }
    let body = cx.secrets.redact(&String::from_utf8_lossy(&answer.body));
    let json = if answer.truncated { None } else { serde_json::from_str(&body).ok() };
    let (status, truncated) = (answer.status, answer.truncated);
    Out { ok: (200..400).contains(&status), status, headers, body, json, truncated, error: None, duration_ms }
}

/// Whether the answer will do for somebody who does not only look.
fn judge(
    out: Out,
    retry_after: Option<Duration>,
    named: &dyn Fn(&str) -> String,
) -> Result<Output<Out>, Failure> {
    let class = match out.status {
        429 => Class::RateLimited,
        500.. => Class::Transient,
        _ => return Ok(Output::free(out)),
    };
    let head: String = out.body.chars().take(2_000).collect();
    let failure = Failure::new(class, named(&format!("status {}", out.status)))
        .detail(json!({ "status": out.status, "body": head }));
    Err(match retry_after {
        Some(span) => failure.retry_after(span),
        None => failure,
    })
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The whole chain of causes: the outermost one alone says only that sending failed.
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
