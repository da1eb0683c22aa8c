//! Lists the models of a provider.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{dialect, ollama, provider_error, transport};
use crate::clock::Clock;
use crate::llm::registry::{Model, Provider, ProviderKind, Registry};
use crate::verb::{Failure, SecretText};

/// Time limit for the whole list.
const LIMIT: Duration = Duration::from_secs(60);
/// Most pages of a list, and most bytes of a page.
const PAGES: usize = 50;
const LONGEST: usize = 16 << 20;

/// A model in the list of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Served {
    /// Name at the provider.
    pub id: String,
    /// Context size in tokens, if listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// Maximum output in tokens, if listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
}

/// Context of a listing request.
struct ListingRequest<'a> {
    client: &'a reqwest::Client,
    registry: &'a Registry,
    provider: &'a Provider,
    key: Option<&'a SecretText>,
    clock: &'a dyn Clock,
}

/// Requests the list of `provider`.
pub(super) async fn ask(
    client: &reqwest::Client,
    registry: &Registry,
    provider: &Provider,
    key: Option<&SecretText>,
    clock: &dyn Clock,
) -> Result<Vec<Served>, Failure> {
    let asking = ListingRequest { client, registry, provider, key, clock };
    tokio::select! {
        biased;
        served = asking.pages() => served,
        () = clock.sleep(LIMIT) => Err(Failure::transient(format!(
            "{} did not list its models within {} s", provider.name, LIMIT.as_secs()
        ))),
    }
}

impl ListingRequest<'_> {
    async fn pages(&self) -> Result<Vec<Served>, Failure> {
        let mut served = Vec::new();
        let mut next = None;
        for _ in 0..PAGES {
            let page = self.page(&address(self.provider, next.as_deref())).await?;
            served.extend(entries(self.provider.kind, &page));
            next = following(self.provider.kind, &page);
            if next.is_none() {
                break;
            }
        }
        served.sort_by(|a: &Served, b| a.id.cmp(&b.id));
        served.dedup_by(|a, b| a.id == b.id);
        Ok(served)
    }

    async fn page(&self, url: &str) -> Result<Value, Failure> {
        let provider = self.provider;
        let mut call = self.client.get(url);
        if provider.kind == ProviderKind::Anthropic {
            call = call.header("anthropic-version", "2023-06-01");
        }
        let call = transport::keyed(call, dialect::of(provider.kind), provider, self.key)?;
        let failed = |e: reqwest::Error| provider_error::unreachable(&e, provider);
        let mut response = call.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body: Vec<u8> = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST {
                return Err(Failure::permanent(format!("the list of {} is too long", provider.name)));
            }
        }
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            let model = Model::unlisted("", &std::sync::Arc::new(provider.clone()));
            return Err(provider_error::status(
                status.as_u16(),
                &headers,
                &text,
                &model,
                self.registry,
                self.clock.now(),
            ));
        }
        serde_json::from_str(&text)
            .map_err(|e| Failure::transient(format!("the list of {} is not JSON: {e}", provider.name)))
    }
}

fn address(provider: &Provider, after: Option<&str>) -> String {
    let base = &provider.base_url;
    let after = |name: &str| {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        after.map(|after| format!("&{name}={}", encoded(after))).unwrap_or_default()
    };
    match provider.kind {
        ProviderKind::Openai | ProviderKind::OpenaiResponses => format!("{base}/models"),
        ProviderKind::Anthropic if base.ends_with("/v1") => {
            format!("{base}/models?limit=1000{}", after("after_id"))
        }
        ProviderKind::Anthropic => format!("{base}/v1/models?limit=1000{}", after("after_id")),
        ProviderKind::Gemini => format!("{base}/models?pageSize=1000{}", after("pageToken")),
        ProviderKind::Ollama => format!("{}/api/tags", ollama::root(base)),
    }
}

fn following(kind: ProviderKind, page: &Value) -> Option<String> {
    let text = |key: &str| page[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match kind {
        ProviderKind::Anthropic if page["has_more"] == true => text("last_id"),
        ProviderKind::Gemini => text("nextPageToken"),
        _ => None,
    }
}

fn entries(kind: ProviderKind, page: &Value) -> Vec<Served> {
    let list = if matches!(kind, ProviderKind::Gemini | ProviderKind::Ollama) { "models" } else { "data" };
    let name = if matches!(kind, ProviderKind::Gemini | ProviderKind::Ollama) { "name" } else { "id" };
    let first = |entry: &Value, places: &[&str]| {
        places.iter().find_map(|place| entry.pointer(place).and_then(Value::as_u64))
    };
    let answers = |entry: &&Value| {
        let methods = entry["supportedGenerationMethods"].as_array();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "generateContent"))
    };
    let entries = page[list].as_array().into_iter().flatten().filter(answers);
    entries
        .filter_map(|entry| {
            Some(Served {
                id: entry[name].as_str()?.trim_start_matches("models/").to_owned(),
                // Names of Gemini, Anthropic, OpenRouter, vLLM and llama.cpp.
                context: first(
                    entry,
                    &[
                        "/inputTokenLimit",
                        "/max_input_tokens",
                        "/context_length",
                        "/max_model_len",
                        "/meta/n_ctx",
                    ],
                ),
                max_output: first(
                    entry,
                    &["/outputTokenLimit", "/max_tokens", "/top_provider/max_completion_tokens"],
                ),
            })
        })
        .collect()
}
