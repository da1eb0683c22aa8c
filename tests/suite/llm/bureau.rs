//! A batch server on loopback with the published APIs of OpenAI, Anthropic and Gemini, controlled by tests.
#![expect(clippy::disallowed_methods, reason = "a server of the tests' own")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use atoll::llm::{CassetteMode, Models};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::paper::{self, Rule};
use super::server;

pub use super::paper::{Batch, Ending, Lot};

/// Answer to the call that creates a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// As published.
    Well,
    /// The batch is created, and there is no answer.
    Mute,
    /// The batch is created, and the answer is 500.
    Broken,
    /// No batch is created, and the answer is 500.
    Failed,
    /// No batch is created, and the answer is 401.
    Locked,
}

struct Desk {
    base: String,
    files: Vec<String>,
    batches: Vec<Batch>,
    endings: VecDeque<Ending>,
    makings: VecDeque<Making>,
    /// Batches end at the first poll, unless they are held.
    held: bool,
    /// Number of further polls that do not find a batch.
    hidden: usize,
    /// Invalid lines before all results.
    strays: &'static [&'static str],
    rule: Rule,
    calls: Vec<String>,
}

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Created batches.
    pub made: usize,
    /// Polls of a batch.
    pub looks: usize,
    /// Calls for results, if they are separate.
    pub fetched: usize,
    /// Calls of any kind.
    pub calls: usize,
}

/// The server, which ends with the test.
#[derive(Clone)]
pub struct Bureau {
    pub base: String,
    desk: Arc<Mutex<Desk>>,
    counts: watch::Sender<Counts>,
}

impl Bureau {
    /// A server whose answers repeat the request: `to: …`.
    pub async fn start() -> Self {
        Self::ruled(|text| Lot::Answer(format!("to: {text}"), "stop")).await
    }

    /// A server in which `rule` decides the outcome of a request by its last text.
    pub async fn ruled(rule: impl Fn(&str) -> Lot + Send + Sync + 'static) -> Self {
        Self::judging(move |_, text| rule(text)).await
    }

    /// A server in which `rule` decides by the whole request.
    pub async fn judging(rule: impl Fn(&Value, &str) -> Lot + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let desk = Desk {
            base: base.clone(),
            files: Vec::new(),
            batches: Vec::new(),
            endings: VecDeque::new(),
            makings: VecDeque::new(),
            held: false,
            hidden: 0,
            strays: &[],
            rule: Arc::new(rule),
            calls: Vec::new(),
        };
        let bureau = Self { base, desk: Arc::new(Mutex::new(desk)), counts: watch::Sender::default() };
        let app = Router::new().fallback(serve).with_state(bureau.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        bureau
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    /// Sets the end of the next batches.
    pub fn ending(self, endings: impl IntoIterator<Item = Ending>) -> Self {
        self.desk().endings.extend(endings);
        self
    }

    /// Sets the answers to the next calls that create a batch.
    pub fn making(self, makings: impl IntoIterator<Item = Making>) -> Self {
        self.desk().makings.extend(makings);
        self
    }

    /// Holds batches, so that they do not end.
    pub fn hold(self) -> Self {
        self.desk().held = true;
        self
    }

    /// The next `looks` polls do not find a batch.
    pub fn hide(self, looks: usize) -> Self {
        self.desk().hidden = looks;
        self
    }

    /// Adds lines before the results.
    pub fn straying(self, strays: &'static [&'static str]) -> Self {
        self.desk().strays = strays;
        self
    }

    /// Releases held batches.
    pub fn let_go(&self) {
        self.desk().held = false;
    }

    pub fn batches(&self) -> Vec<Batch> {
        self.desk().batches.clone()
    }

    /// Methods and paths of all calls.
    pub fn calls(&self) -> Vec<String> {
        self.desk().calls.clone()
    }

    /// Waits until `enough` holds for the counters.
    pub async fn until(&self, enough: impl FnMut(&Counts) -> bool) -> Counts {
        *self.counts.subscribe().wait_for(enough).await.unwrap_or_else(|_| unreachable!("it is held here"))
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// The registry with the vendors at this server. A batch of `size` is closed at once, any other stays
    /// open.
    pub fn models(&self, size: usize, mode: &CassetteMode) -> Models {
        server::models_described(&terms(size), &self.base, mode)
    }
}

/// Provider settings by which a batch is closed exactly when it has `size` requests.
pub fn terms(size: usize) -> String {
    let terms = format!("batch = {{ gather = \"30s\", poll = [\"20ms\", \"50ms\"], requests = {size} }}\n");
    ["openai", "openai-responses", "anthropic", "gemini"]
        .map(|provider| format!("[providers.{provider}]\n{terms}"))
        .concat()
}

async fn serve(
    State(bureau): State<Bureau>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().trim_start_matches("/v1").to_owned();
    bureau.desk().calls.push(format!("{method} {path}"));
    bureau.counts.send_modify(|counts| counts.calls += 1);
    let authorized = headers.get("x-api-key").is_some_and(|key| key == server::KEY)
        || headers.get("x-goog-api-key").is_some_and(|key| key == server::KEY)
        || headers.get("authorization").is_some_and(|key| key == &format!("Bearer {}", server::KEY));
    if !authorized {
        return said(401, &json!({"error": {"type": "authentication_error", "message": "no such key"}}));
    }
    let gemini = headers.contains_key("x-goog-api-key");
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["files"]) => bureau.take_file(&headers, &body),
        ("GET", ["files", id, "content"]) => bureau.file(id),
        ("POST", ["batches"]) => bureau.make("openai", &body).await,
        ("POST", ["messages", "batches"]) => bureau.make("anthropic", &body).await,
        ("POST", ["models", model]) if model.ends_with(":batchGenerateContent") => {
            bureau.make("gemini", &body).await
        }
        ("GET", ["batches"]) => bureau.list(if gemini { "gemini" } else { "openai" }),
        ("GET", ["messages", "batches"]) => bureau.list("anthropic"),
        ("GET", ["batches", id] | ["messages", "batches", id]) => bureau.look(id),
        ("GET", ["messages", "batches", id, "results"]) => bureau.results(id),
        _ => said(404, &json!({"error": {"type": "not_found_error", "message": "no such page"}})),
    }
}

fn said(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}

fn lines(strays: &[&str], lines: impl IntoIterator<Item = Value>) -> Response<Body> {
    let lines = strays.iter().map(ToString::to_string).chain(lines.into_iter().map(|line| line.to_string()));
    let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    Response::builder().header("content-type", "application/binary").body(Body::from(text)).unwrap()
}

impl Bureau {
    fn take_file(&self, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let kind = headers["content-type"].to_str().unwrap();
        let boundary = format!("--{}", kind.split("boundary=").nth(1).unwrap().trim_matches('"'));
        let text = String::from_utf8(body.to_vec()).unwrap();
        let part = |name: &str| {
            let part = text.split(&boundary).find(|part| part.contains(&format!("name=\"{name}\"")));
            part.and_then(|part| part.split_once("\r\n\r\n")).map(|(_, rest)| rest.trim_end().to_owned())
        };
        assert_eq!(part("purpose").as_deref(), Some("batch"));
        let mut desk = self.desk();
        desk.files.push(part("file").unwrap());
        let id = format!("file-{}", desk.files.len());
        said(
            200,
            &json!({"id": id, "object": "file", "bytes": body.len(), "created_at": 1, "filename": "batch.jsonl",
                "purpose": "batch", "status": "processed"}),
        )
    }

    async fn make(&self, kind: &'static str, body: &[u8]) -> Response<Body> {
        let body: Value = serde_json::from_slice(body).unwrap();
        let making = self.desk().makings.pop_front().unwrap_or(Making::Well);
        match making {
            Making::Failed => return said(500, &json!({"error": {"message": "try again"}})),
            Making::Locked => {
                return said(401, &json!({"error": {"code": "invalid_api_key", "message": "who are you?"}}));
            }
            Making::Well | Making::Mute | Making::Broken => {}
        }
        let batch = self.desk().make(kind, body);
        let made = batch.shown(false);
        self.counts.send_modify(|counts| counts.made += 1);
        match making {
            Making::Mute => std::future::pending().await,
            Making::Broken => said(500, &json!({"error": {"message": "something broke"}})),
            _ => said(200, &made),
        }
    }

    fn look(&self, id: &str) -> Response<Body> {
        let mut desk = self.desk();
        let held = desk.held;
        let hidden = desk.hidden > 0;
        desk.hidden = desk.hidden.saturating_sub(1);
        let shown = desk.batches.iter_mut().find(|batch| batch.is(id) && !hidden).map(|batch| {
            batch.over |= !held;
            let mut shown = batch.shown(batch.over);
            if batch.over {
                batch.outcome(&mut shown);
            }
            shown
        });
        drop(desk);
        self.counts.send_modify(|counts| counts.looks += 1);
        shown.map_or_else(
            || said(404, &json!({"error": {"message": "no such batch"}})),
            |shown| said(200, &shown),
        )
    }

    fn list(&self, kind: &str) -> Response<Body> {
        let desk = self.desk();
        let all = desk.batches.iter().rev().filter(|batch| batch.kind == kind);
        let all: Vec<Value> = all.map(|batch| batch.shown(batch.over)).collect();
        let ends = [all.first(), all.last()].map(|batch| batch.map(|batch| batch["id"].clone()));
        said(
            200,
            &match kind {
                "gemini" => json!({ "operations": all }),
                _ => {
                    json!({"object": "list", "data": all, "has_more": false, "first_id": ends[0], "last_id": ends[1]})
                }
            },
        )
    }

    fn file(&self, id: &str) -> Response<Body> {
        self.counts.send_modify(|counts| counts.fetched += 1);
        let desk = self.desk();
        let (what, batch) = id.split_once('-').unwrap();
        let Some(batch) = desk.batches.iter().find(|other| other.id == batch) else {
            return said(404, &json!({}));
        };
        lines(desk.strays, batch.files()[usize::from(what == "errors")].clone())
    }

    fn results(&self, id: &str) -> Response<Body> {
        self.counts.send_modify(|counts| counts.fetched += 1);
        let desk = self.desk();
        match desk.batches.iter().find(|batch| batch.id == id && batch.over) {
            Some(batch) => lines(desk.strays, batch.told()),
            None => said(
                404,
                &json!({"type": "error", "error": {"type": "not_found_error", "message": "no results"}}),
            ),
        }
    }
}

impl Desk {
    fn make(&mut self, kind: &'static str, body: Value) -> Batch {
        let number = self.batches.len() + 1;
        let list = |pointer: &str| body.pointer(pointer).unwrap().as_array().unwrap().clone();
        let entries: Vec<(String, Value)> = match kind {
            "openai" => {
                let file: usize = body["input_file_id"].as_str().unwrap()[5..].parse().unwrap();
                let lines =
                    self.files[file - 1].lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
                lines.map(|line| (text(&line["custom_id"]), line)).collect()
            }
            "anthropic" => {
                list("/requests").into_iter().map(|line| (text(&line["custom_id"]), line)).collect()
            }
            _ => {
                let all = list("/batch/inputConfig/requests/requests").into_iter();
                all.map(|line| (line["metadata"]["key"].as_str().unwrap_or_default().to_owned(), line))
                    .collect()
            }
        };
        let id = match kind {
            "openai" => format!("batch_{number}"),
            "anthropic" => format!("msgbatch_{number}"),
            _ => format!("batches/g{number}"),
        };
        let ending = self.endings.pop_front().unwrap_or(Ending::Completed);
        let lots = entries.iter().map(|(_, request)| paper::lot(&self.rule, request)).collect();
        let results = format!("{}/messages/batches/{id}/results", self.base);
        self.batches.push(Batch { id, kind, body, entries, lots, ending, over: false, results });
        self.batches[number - 1].clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
