//! HTTP client for the batch API of a provider.

use std::sync::Arc;
use std::time::Duration;

use reqwest::multipart::{Form as Parts, Part};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use super::BatchContext;
use super::api::{self, BatchApi};
use crate::llm::registry::{Provider, ProviderKind};
use crate::llm::{dialect, provider_error, sse, transport};
use crate::verb::{Failure, SecretText};

/// Time limit of one call.
const LIMIT: Duration = Duration::from_secs(900);
/// Most bytes of an answer that is read completely, and of an error.
const LONGEST: usize = 256 << 20;
const LONGEST_COMPLAINT: usize = 64 << 10;

/// A client for the provider of a batch.
pub(super) struct BatchClient<'a> {
    pub(super) context: &'a BatchContext,
    pub(super) form: &'static dyn BatchApi,
    key: Option<SecretText>,
}

impl<'a> BatchClient<'a> {
    /// A client with the key of the provider.
    pub(super) async fn open(context: &'a BatchContext) -> Result<Self, Failure> {
        let provider = &context.model.provider;
        let key = context.models.key(provider).await?;
        Ok(Self { context, form: api::of(provider.kind), key })
    }

    pub(super) fn provider(&self) -> &Arc<Provider> {
        &self.context.model.provider
    }

    /// Sends a GET request to `url`.
    pub(super) async fn get(&self, url: &str) -> Result<Value, Failure> {
        self.json(self.context.models.client(self.provider())?.get(url)).await
    }

    /// Posts `body` to `url` with the idempotency key `name`.
    pub(super) async fn post(&self, url: &str, body: &Value, name: &str) -> Result<Value, Failure> {
        let call = self.context.models.client(self.provider())?.post(url).json(body);
        self.json(call.header("idempotency-key", name)).await
    }

    /// Uploads `text` to `url` as the file `name`.
    pub(super) async fn file(&self, url: &str, name: &str, text: String) -> Result<Value, Failure> {
        let part = Part::text(text).file_name(format!("{name}.jsonl"));
        let part = part.mime_str("application/jsonl").map_err(|e| Failure::permanent(e.to_string()))?;
        let parts = Parts::new().text("purpose", "batch").part("file", part);
        self.json(self.context.models.client(self.provider())?.post(url).multipart(parts)).await
    }

    /// Calls `each` for every JSON line at `url` until it returns false. Fails at the end if a line was
    /// invalid.
    pub(super) async fn lines(
        &self,
        url: &str,
        mut each: impl FnMut(Value) -> bool + Send,
    ) -> Result<(), Failure> {
        let reading = async {
            let mut response = self.send(self.context.models.client(self.provider())?.get(url)).await?;
            let mut events = sse::EventBuffer::of_lines();
            let mut unread = None;
            loop {
                let piece =
                    response.chunk().await.map_err(|e| provider_error::unreachable(&e, self.provider()))?;
                let (lines, last) = match piece {
                    Some(piece) => (events.take(&piece).map_err(|_| self.endless())?, false),
                    None => (events.end().into_iter().collect(), true),
                };
                for line in lines {
                    match serde_json::from_str(&line.data).map(Value::Object) {
                        Ok(object) => {
                            if !each(object) {
                                return Ok(());
                            }
                        }
                        Err(error) => drop(unread.get_or_insert_with(|| self.no_json(&error))),
                    }
                }
                if last {
                    return unread.map_or(Ok(()), Err);
                }
            }
        };
        self.within(reading).await
    }

    async fn json(&self, call: RequestBuilder) -> Result<Value, Failure> {
        let reading = async {
            let response = self.send(call).await?;
            let body = self.body(response, LONGEST).await?;
            serde_json::from_slice(&body).map_err(|e| self.no_json(&e))
        };
        self.within(reading).await
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = call => done,
            () = self.context.clock.sleep(LIMIT) => Err(Failure::transient(format!(
                "{} did not answer within {} s", self.provider().name, LIMIT.as_secs()
            ))),
        }
    }

    /// Sends `call` when the rate limiter allows it, and checks the status of the answer.
    async fn send(&self, mut call: RequestBuilder) -> Result<Response, Failure> {
        let provider = self.provider();
        if provider.kind == ProviderKind::Anthropic {
            call = call.header("anthropic-version", "2023-06-01");
        }
        call = transport::keyed(call, dialect::of(provider.kind), provider, self.key.as_ref())?;
        let clock = &*self.context.clock;
        let pass = self.context.models.gate(provider).enter(clock, false, &|_| {}).await?;
        let mut outcome = self.answered(call).await;
        provider_error::tell(&pass, &mut outcome, clock.now());
        outcome
    }

    async fn answered(&self, call: RequestBuilder) -> Result<Response, Failure> {
        let response = call.send().await.map_err(|e| provider_error::unreachable(&e, self.provider()))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response, LONGEST_COMPLAINT).await.unwrap_or_default();
        let (models, model) = (&self.context.models, &self.context.model);
        let text = String::from_utf8_lossy(&body);
        Err(provider_error::status(
            status.as_u16(),
            &headers,
            &text,
            model,
            models.registry(),
            self.context.clock.now(),
        ))
    }

    async fn body(&self, mut response: Response, most: usize) -> Result<Vec<u8>, Failure> {
        let mut body: Vec<u8> = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|e| provider_error::unreachable(&e, self.provider()))?
        {
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Err(self.endless());
            }
        }
        Ok(body)
    }

    fn endless(&self) -> Failure {
        Failure::permanent(format!("{} sent a batch answer that is too large", self.provider().name))
    }

    fn no_json(&self, error: &serde_json::Error) -> Failure {
        let name = &self.provider().name;
        Failure::transient(format!("{name} sent a batch answer that is not JSON: {error}"))
    }
}
