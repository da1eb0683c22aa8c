//! A server on loopback with all published wire formats, which answers from a script.
#![expect(clippy::disallowed_methods, reason = "a server of the tests' own")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use atoll::llm::registry::Registry;
use atoll::llm::{Cassette, CassetteMode, Models};
use atoll::secrets::EnvSecrets;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

pub const KEY: &str = "sk-test-0123456789";

/// Behaviour of the server for one call.
#[derive(Clone, Debug)]
pub enum Act {
    /// A stream of events, sent in small pieces.
    Stream(String),
    /// Lines of JSON, sent in small pieces.
    Lines(String),
    /// A stream of events, and then the connection is lost.
    Cut(String),
    /// A status, headers and a body.
    Plain(u16, Vec<(&'static str, &'static str)>, String),
    /// Headers and this body, and then nothing forever.
    Hang(String),
    /// Nothing forever.
    Mute,
}

/// A received call.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// The server, which ends with the test.
#[derive(Clone)]
pub struct Server {
    pub base: String,
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        let server = Self { base, script, seen: Arc::default() };
        let app = Router::new().fallback(serve).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The body of call number `i`, from 0.
    pub fn body(&self, i: usize) -> Value {
        self.seen()[i].body.clone()
    }

    /// The registry with the vendors at this server.
    pub fn models(&self, mode: &CassetteMode) -> Models {
        models(&self.base, mode)
    }

    /// The registry with more model settings.
    pub fn models_with(&self, facts: &str) -> Models {
        let registry = Registry::extended("atoll.toml", facts).unwrap();
        models_of(&registry, &self.base, &CassetteMode::Off)
    }
}

/// Models of vendors that are all at `base`.
pub fn models(base: &str, mode: &CassetteMode) -> Models {
    models_of(&Registry::embedded().unwrap(), base, mode)
}

/// Models with a cassette that includes timing.
pub(super) fn timed_models(base: &str, mode: &CassetteMode) -> Models {
    models_on(&Registry::embedded().unwrap(), base, Cassette::open(mode).unwrap().timed())
}

/// The registry with more provider settings.
pub(super) fn models_described(facts: &str, base: &str, mode: &CassetteMode) -> Models {
    models_of(&Registry::extended("atoll.toml", facts).unwrap(), base, mode)
}

fn models_of(registry: &Registry, base: &str, mode: &CassetteMode) -> Models {
    models_on(registry, base, Cassette::open(mode).unwrap())
}

fn models_on(registry: &Registry, base: &str, cassette: Cassette) -> Models {
    let moved = |name: &str| name.ends_with("_BASE_URL").then(|| base.to_owned());
    let registry = registry.with_base_urls(moved);
    let keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "GEMINI_API_KEY"];
    let secrets = EnvSecrets::from_values(keys.map(|name| (name.to_owned(), KEY.to_owned())));
    Models::new(registry, Arc::new(secrets), cassette)
}

async fn serve(State(server): State<Server>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    server.seen.lock().unwrap().push(Seen { path, query, headers, body });
    let act = server.script.lock().unwrap().pop_front();
    match act.unwrap_or_else(|| Act::Plain(418, vec![], "the script is at its end".to_owned())) {
        Act::Stream(text) => pieces(&text, "text/event-stream; charset=utf-8", false),
        Act::Lines(text) => pieces(&text, "application/x-ndjson", false),
        Act::Cut(text) => pieces(&text, "text/event-stream; charset=utf-8", true),
        Act::Plain(status, headers, text) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(text)).unwrap()
        }
        Act::Hang(text) => {
            let begin = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
            let stream = begin.chain(futures_util::stream::pending());
            let response = Response::builder().header("content-type", "text/event-stream");
            response.body(Body::from_stream(stream)).unwrap()
        }
        Act::Mute => std::future::pending().await,
    }
}

fn pieces(text: &str, kind: &str, cut: bool) -> Response<Body> {
    let pieces: Vec<_> = text.as_bytes().chunks(37).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let end = cut.then(|| Err(std::io::Error::other("the line is down")));
    let stream = futures_util::stream::iter(pieces.into_iter().chain(end));
    let response = Response::builder().header("content-type", kind);
    response.body(Body::from_stream(stream)).unwrap()
}

/// Chat completions: `text` in two pieces, then `finish_reason`, usage and `[DONE]`.
pub fn openai(text: &str, finish: &str) -> String {
    openai_open(text) + &openai_close(finish)
}

/// The beginning of [`openai`], up to the end of the text.
pub fn openai_open(text: &str) -> String {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    [json!({"role": "assistant", "content": ""}), json!({"content": a}), json!({"content": b})]
        .iter()
        .map(|delta| openai_chunk(delta, &Value::Null))
        .collect()
}

pub fn openai_chunk(delta: &Value, finish: &Value) -> String {
    let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x-2026",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null});
    format!("data: {chunk}\n\n")
}

pub fn openai_close(finish: &str) -> String {
    let usage = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x-2026", "choices": [],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 400}}});
    openai_chunk(&json!({}), &json!(finish)) + &format!("data: {usage}\n\ndata: [DONE]\n\n")
}

/// Messages: `text` in one delta, then the stop reason.
pub fn anthropic(text: &str, stop: &str) -> String {
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
        "usage": {"output_tokens": 100}});
    anthropic_open(text)
        + &named(&json!({"type": "content_block_stop", "index": 0}))
        + &named(&delta)
        + &named(&json!({"type": "message_stop"}))
}

/// The beginning of [`anthropic`], up to the end of the text.
pub(super) fn anthropic_open(text: &str) -> String {
    let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "content": [], "model": "claude-x-2026", "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 100, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 700, "output_tokens": 1}}});
    let block =
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let delta =
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    named(&start) + &named(&block) + &named(&json!({"type": "ping"})) + &named(&delta)
}

pub fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}
