//! The step type `request`: HTTP against the target, one client per scenario, so that connections are used again and
//! nothing is shared with other scenarios.

mod target;

pub use target::Target;

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, redirect};

use super::observation::Sent;
use super::{Answer, Excerpt, HttpAnswer, Kept, Lapse, Request, Variables};
use crate::clock::{Clock, Pause};
use crate::value::Value;

/// Most bytes kept of a body; the rest is counted and digested.
const KEPT: usize = 1 << 20;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// A client for one scenario.
pub struct Web {
    client: Client,
    target: Target,
}

/// A request that is ready to be sent.
pub struct Prepared {
    request: reqwest::Request,
    body: Option<String>,
}

/// What came of a request: an answer, an error, or both where an answer broke off.
#[derive(Default)]
pub struct Outcome {
    /// What came back, whole or in part.
    pub answer: Option<Answer>,
    /// Why there is no whole answer.
    pub error: Option<String>,
}

impl Outcome {
    /// Nothing but an error.
    pub fn error(error: impl Into<String>) -> Self {
        Self { answer: None, error: Some(error.into()) }
    }
}

impl Web {
    /// A client for `target`: no proxy, no cookies, redirects followed as long as they stay at the target.
    pub fn new(target: &str) -> Result<Self, String> {
        let target = Target::parse(target)?;
        // The second call in a process finds the provider installed, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = target.clone();
        let policy = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS {
                attempt.error(format!("more than {REDIRECTS} redirects"))
            } else if home.is_home_of(attempt.url()) {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let client = Client::builder().no_proxy().redirect(policy);
        // To read the machine's certificates takes longer than most requests, and nothing leaves a target without TLS.
        let client = if target.is_plain() { client.tls_certs_only([]) } else { client }.build();
        Ok(Self { client: client.map_err(|e| format!("no HTTP client: {}", describe(&e)))?, target })
    }

    /// The request with variables filled in.
    pub fn prepare(&self, request: &Request, variables: &Variables) -> Result<Prepared, String> {
        let url = self.target.join(&variables.fill(&request.path))?;
        let method = Method::from_bytes(request.method.to_uppercase().as_bytes())
            .map_err(|_| format!("`{}` is no HTTP method", request.method))?;
        let mut prepared = reqwest::Request::new(method, url);
        *prepared.headers_mut() = headers(&request.headers, variables)?;
        let body = match &request.body {
            Value::Null => None,
            Value::String(text) => Some(variables.fill(text).into_owned()),
            value => Some(variables.fill_json(value).to_string()),
        };
        if let Some(body) = &body {
            let json = HeaderValue::from_static("application/json");
            prepared.headers_mut().entry(CONTENT_TYPE).or_insert(json);
            *prepared.body_mut() = Some(body.clone().into());
        }
        Ok(Prepared { request: prepared, body })
    }

    /// Sends it and reads the answer to its end, for at most `timeout`.
    pub async fn send(&self, prepared: Prepared, timeout: Duration, clock: &dyn Clock) -> Outcome {
        let mut late = clock.sleep(timeout);
        let response = tokio::select! {
            response = self.client.execute(prepared.request) => response,
            () = &mut late => return Outcome::error(format!("no answer within {}", Lapse(timeout))),
        };
        match response {
            Ok(response) => read(response, timeout, late).await,
            Err(error) => Outcome::error(format!("no answer: {}", describe(&error))),
        }
    }
}

impl Prepared {
    /// What is recorded of it. The text leaves out the target, which differs from run to run.
    pub fn sent(&self) -> Sent {
        let url = self.request.url();
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let headers = table(self.request.headers());
        let body = self.body.as_deref().map(|body| Excerpt::of_text(body, SHOWN).text);
        let mut text = format!("{} {path}\n", self.request.method());
        for (name, value) in &headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        if let Some(body) = &body {
            let _ = write!(text, "\n{body}");
        }
        Sent {
            text: Excerpt::of_text(&text, SHOWN).text,
            method: Some(self.request.method().to_string()),
            url: Some(url.to_string()),
            headers: Some(headers.into_iter().collect()),
            body,
            ..Sent::default()
        }
    }
}

fn headers(written: &IndexMap<String, String>, variables: &Variables) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let value = variables.fill(value);
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            format!("the value of the header `{name}` holds a line break or control character")
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

async fn read(mut response: Response, timeout: Duration, mut late: Pause) -> Outcome {
    let mut body = Kept::new(KEPT);
    let error = loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = &mut late => {
                break Some(format!("the answer had not ended after {}; {} bytes had come", Lapse(timeout), body.length()));
            }
        };
        match chunk {
            Ok(Some(bytes)) => body.push(&bytes),
            Ok(None) => break None,
            Err(error) => {
                break Some(format!(
                    "the answer broke off after {} bytes: {}",
                    body.length(),
                    describe(&error)
                ));
            }
        }
    };
    let answer = HttpAnswer {
        status: response.status().as_u16(),
        headers: table(response.headers()),
        body,
        url: response.url().to_string(),
    };
    Outcome { answer: Some(Answer::Http(answer)), error }
}

/// Headers by name, sorted; several values of one name joined, bytes that are no UTF-8 replaced.
fn table(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut names: Vec<&HeaderName> = headers.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let value = |name| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    };
    names.into_iter().map(|name| (name.as_str().to_owned(), value(name))).collect()
}

/// The causes of an error, outermost first, without its URL.
fn describe(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}
