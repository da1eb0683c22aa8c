//! The one place that talks to a provider: sends a dialect's call, reads the answer as it comes in.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::dialect::{self, Dialect, Draft};
use super::{fault, sse};
use crate::clients::llm::{Answer, Request};
use crate::clients::registry::{Model, Registry};
use crate::verb::{Failure, SecretText};

/// What goes into one exchange beside the request.
pub(super) struct Line<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) registry: &'a Registry,
    pub(super) model: &'a Model,
    pub(super) key: Option<&'a SecretText>,
    pub(super) idempotency_key: &'a str,
    pub(super) on_chunk: &'a (dyn Fn(&str) + Send + Sync),
}

/// A client with our one TLS provider. Costs a few milliseconds: made when the first call is.
pub(super) fn client() -> Result<reqwest::Client, Failure> {
    // Fails only where one is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .user_agent(concat!("atoll/", env!("CARGO_PKG_VERSION")))
        // A followed redirect would carry the key to wherever it leads.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .tcp_keepalive(Duration::from_secs(30))
        .build()
        .map_err(|e| Failure::permanent(format!("cannot set up HTTP: {e}")))
}

/// Asks `request` over `line`.
pub(super) async fn ask(request: &Request, line: &Line<'_>) -> Result<Answer, Failure> {
    let dialect = dialect::of(line.model.provider.kind);
    let response = send(dialect, request, line).await?;
    let code = response.status();
    if !code.is_success() {
        let headers = response.headers().clone();
        let body = response.text().await.unwrap_or_default();
        return Err(fault::status(code.as_u16(), &headers, &body, line.model, line.registry));
    }
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let draft = if kind.starts_with("application/json") {
        whole(dialect, response, line).await?
    } else {
        stream(dialect, response, request, line).await?
    };
    draft.finish(request, line.model)
}

async fn send(dialect: &dyn Dialect, request: &Request, line: &Line<'_>) -> Result<Response, Failure> {
    let call = dialect.call(request, line.model);
    let mut post =
        line.client.post(&call.url).json(&call.body).header("idempotency-key", line.idempotency_key);
    for (name, value) in call.headers {
        post = post.header(name, value);
    }
    if let Some(key) = line.key {
        let (name, value) = dialect.key_header(key.expose_secret());
        let mut value = reqwest::header::HeaderValue::from_str(&value).map_err(|_| {
            let name = line.model.provider.key_env.as_deref().unwrap_or("the key");
            Failure::new(crate::verb::Class::Auth, format!("{name} has characters that no key can have"))
                .hint("look for a line break or a space at its end")
        })?;
        value.set_sensitive(true);
        post = post.header(name, value);
    }
    post.send().await.map_err(|e| fault::unreachable(&e, line.model))
}

async fn whole(dialect: &dyn Dialect, response: Response, line: &Line<'_>) -> Result<Draft, Failure> {
    let body = response.text().await.map_err(|e| fault::unreachable(&e, line.model))?;
    let body: Value = serde_json::from_str(&body).map_err(|e| no_json(line.model, &body, &e))?;
    let mut draft = Draft { closed: true, ..Draft::default() };
    dialect
        .whole(&mut draft, &body)
        .map_err(|error| fault::interrupted(&error.0, line.model, line.registry))?;
    Ok(draft)
}

async fn stream(
    dialect: &dyn Dialect,
    response: Response,
    request: &Request,
    line: &Line<'_>,
) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let mut events = sse::Events::default();
    let mut bytes = response.bytes_stream();
    while !draft.closed {
        let (data, last) = match bytes.next().await {
            Some(Ok(piece)) => {
                let cut = |_| dialect::cut(&draft, request, line.model, "an event beyond all bounds");
                (events.take(&piece).map_err(cut)?, false)
            }
            Some(Err(e)) if draft.stop.is_none() => {
                let why = std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source()).last();
                let why = why.map(ToString::to_string).unwrap_or_default();
                return Err(dialect::cut(&draft, request, line.model, &why));
            }
            Some(Err(_)) | None => (events.end().into_iter().collect(), true),
        };
        for data in data {
            take(dialect, &mut draft, &data, line).map_err(|failure| {
                let paid = dialect::cut(&draft, request, line.model, "").spent;
                failure.spent(paid)
            })?;
        }
        if last {
            break;
        }
    }
    Ok(draft)
}

fn take(dialect: &dyn Dialect, draft: &mut Draft, data: &str, line: &Line<'_>) -> Result<(), Failure> {
    let event = if data == "[DONE]" {
        Value::String(data.to_owned())
    } else {
        serde_json::from_str(data).map_err(|e| no_json(line.model, data, &e))?
    };
    let added = dialect
        .event(draft, &event)
        .map_err(|error| fault::interrupted(&error.0, line.model, line.registry))?;
    if let Some(text) = added {
        (line.on_chunk)(&text);
    }
    Ok(())
}

fn no_json(model: &Model, text: &str, error: &serde_json::Error) -> Failure {
    let start: String = text.chars().take(120).collect();
    Failure::transient(format!("{} sent something that is no JSON ({error}): {start}", model.provider.name))
}
