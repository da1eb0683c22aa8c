//! A provider on loopback that takes batches as OpenAI, Anthropic and Gemini publish it, and does with them what a test
//! says.
#![expect(clippy::disallowed_methods, reason = "a server of the tests' own")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use atoll::clients::llm::{Mode, Models};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::server;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Lot {
    /// This answer, and why it ended in the words of chat completions: `stop`, `length`, `refusal`.
    Answer(String, &'static str),
    /// A complaint.
    Error(u16, &'static str),
    /// It was not asked in time, which is said of it.
    Expired,
    /// Nothing at all is said of it.
    Missing,
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Expired,
    Cancelled,
    /// Its second line is at fault.
    Faulty,
    /// The account has too much waiting already.
    Crowded,
}

/// How the call that makes a batch is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// As published.
    Well,
    /// The batch is made, and the answer never comes.
    Mute,
    /// The batch is made, and the answer is 500.
    Broken,
    /// No batch is made, and the answer is 500.
    Failed,
    /// No batch is made, and the answer is 401.
    Locked,
}

/// A batch as it lies there.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: String,
    /// Whose wire format it was made in.
    pub kind: &'static str,
    /// What made it.
    pub body: Value,
    /// Its requests by name.
    pub entries: Vec<(String, Value)>,
    ending: Ending,
    over: bool,
    /// Where its results are.
    results: String,
}

type Rule = Arc<dyn Fn(&str) -> Lot + Send + Sync>;

struct Desk {
    base: String,
    files: Vec<String>,
    batches: Vec<Batch>,
    endings: VecDeque<Ending>,
    makings: VecDeque<Making>,
    /// Batches end when they are looked at for the first time, unless they are held.
    held: bool,
    rule: Rule,
    calls: Vec<String>,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches that were made.
    pub made: usize,
    /// Looks at a batch.
    pub looks: usize,
    /// Calls of any kind.
    pub calls: usize,
}

/// The server; it ends with the test.
#[derive(Clone)]
pub struct Bureau {
    pub base: String,
    desk: Arc<Mutex<Desk>>,
    counts: watch::Sender<Counts>,
}

impl Bureau {
    /// A bureau whose answers repeat the request: `to: …`.
    pub async fn start() -> Self {
        Self::ruled(|text| Lot::Answer(format!("to: {text}"), "stop")).await
    }

    /// A bureau where `rule` says what becomes of a request by its last text.
    pub async fn ruled(rule: impl Fn(&str) -> Lot + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let desk = Desk {
            base: base.clone(),
            files: Vec::new(),
            batches: Vec::new(),
            endings: VecDeque::new(),
            makings: VecDeque::new(),
            held: false,
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

    /// How the next batches end.
    pub fn ending(self, endings: impl IntoIterator<Item = Ending>) -> Self {
        self.desk().endings.extend(endings);
        self
    }

    /// How the next calls that make a batch are answered.
    pub fn making(self, makings: impl IntoIterator<Item = Making>) -> Self {
        self.desk().makings.extend(makings);
        self
    }

    /// Batches go on and on.
    pub fn hold(self) -> Self {
        self.desk().held = true;
        self
    }

    /// They end.
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

    /// Waits until `enough` holds of what was counted.
    pub async fn until(&self, enough: impl FnMut(&Counts) -> bool) -> Counts {
        *self.counts.subscribe().wait_for(enough).await.unwrap_or_else(|_| unreachable!("it is held here"))
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// The registry with the vendors moved here, where every batch of `size` is closed at once and any other stays open.
    pub fn models(&self, size: usize, mode: &Mode) -> Models {
        server::models_described(&terms(size), &self.base, mode)
    }
}

/// Facts about providers by which a batch is closed when it has `size` requests, and not before.
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
        ("GET", ["batches", id]) | ("GET", ["messages", "batches", id]) => bureau.look(id),
        ("GET", ["messages", "batches", id, "results"]) => bureau.results(id),
        _ => said(404, &json!({"error": {"type": "not_found_error", "message": "no such page"}})),
    }
}

fn said(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}

fn lines(lines: impl IntoIterator<Item = Value>) -> Response<Body> {
    let text: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
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
        let rule = desk.rule.clone();
        let shown = desk.batches.iter_mut().find(|batch| batch.is(id)).map(|batch| {
            batch.over |= !held;
            let mut shown = batch.shown(batch.over);
            if batch.over {
                batch.outcome(&rule, &mut shown);
            }
            shown
        });
        drop(desk);
        self.counts.send_modify(|counts| counts.looks += 1);
        shown.map_or_else(|| said(404, &json!({"error": {"message": "no such batch"}})), |shown| said(200, &shown))
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
                _ => json!({"object": "list", "data": all, "has_more": false, "first_id": ends[0], "last_id": ends[1]}),
            },
        )
    }

    fn file(&self, id: &str) -> Response<Body> {
        let desk = self.desk();
        let (what, batch) = id.split_once('-').unwrap();
        let Some(batch) = desk.batches.iter().find(|other| other.id == batch) else { return said(404, &json!({})) };
        lines(batch.files(&desk.rule)[usize::from(what == "errors")].clone())
    }

    fn results(&self, id: &str) -> Response<Body> {
        let desk = self.desk();
        match desk.batches.iter().find(|batch| batch.id == id && batch.over) {
            Some(batch) => lines(batch.told(&desk.rule)),
            None => said(404, &json!({"type": "error", "error": {"type": "not_found_error", "message": "no results"}})),
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
                let lines = self.files[file - 1].lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
                lines.map(|line| (text(&line["custom_id"]), line)).collect()
            }
            "anthropic" => {
                list("/requests").into_iter().map(|line| (text(&line["custom_id"]), line)).collect()
            }
            _ => {
                let all = list("/batch/inputConfig/requests/requests").into_iter();
                all.map(|line| (line["metadata"]["key"].as_str().unwrap_or_default().to_owned(), line)).collect()
            }
        };
        let id = match kind {
            "openai" => format!("batch_{number}"),
            "anthropic" => format!("msgbatch_{number}"),
            _ => format!("batches/g{number}"),
        };
        let ending = self.endings.pop_front().unwrap_or(Ending::Completed);
        let results = format!("{}/messages/batches/{id}/results", self.base);
        self.batches.push(Batch { id, kind, body, entries, ending, over: false, results });
        self.batches[number - 1].clone()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Batch {
    fn is(&self, id: &str) -> bool {
        self.id == id || self.id.strip_prefix("batches/") == Some(id)
    }

    /// The batch as it is shown to whoever asks for it.
    fn shown(&self, over: bool) -> Value {
        let all = self.entries.len();
        let done = if over { all } else { 0 };
        match self.kind {
            "openai" => {
                let status = match (over, self.ending) {
                    (false, _) => "in_progress",
                    (_, Ending::Completed) => "completed",
                    (_, Ending::Expired) => "expired",
                    (_, Ending::Cancelled) => "cancelled",
                    (_, Ending::Faulty | Ending::Crowded) => "failed",
                };
                json!({"id": self.id, "object": "batch", "endpoint": self.body["endpoint"], "errors": null,
                    "input_file_id": self.body["input_file_id"], "completion_window": "24h", "status": status,
                    "output_file_id": null, "error_file_id": null, "created_at": 4_000_000_000_u64,
                    "request_counts": {"total": all, "completed": done, "failed": 0}, "metadata": self.body["metadata"]})
            }
            "anthropic" => {
                let counts = json!({"processing": all - done, "succeeded": done, "errored": 0, "canceled": 0, "expired": 0});
                json!({"id": self.id, "type": "message_batch", "processing_status": if over { "ended" } else { "in_progress" },
                    "request_counts": counts, "created_at": "2096-10-02T07:06:40Z", "expires_at": "2096-10-03T07:06:40Z",
                    "ended_at": over.then_some("2096-10-02T08:00:00Z"), "archived_at": null, "cancel_initiated_at": null,
                    "results_url": over.then_some(&self.results)})
            }
            _ => {
                let word = match (over, self.ending) {
                    (false, _) => "RUNNING",
                    (_, Ending::Completed) => "SUCCEEDED",
                    (_, Ending::Expired) => "EXPIRED",
                    (_, Ending::Cancelled) => "CANCELLED",
                    (_, Ending::Faulty | Ending::Crowded) => "FAILED",
                };
                json!({"name": self.id, "done": over, "metadata": {
                    "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
                    "model": "models/gemini-x", "displayName": self.body["batch"]["displayName"], "name": self.id,
                    "createTime": "2096-10-02T07:06:40.5Z", "updateTime": "2096-10-02T07:06:40.5Z",
                    "batchStats": {"requestCount": all.to_string(), "successfulRequestCount": done.to_string()},
                    "state": format!("BATCH_STATE_{word}")}})
            }
        }
    }

    /// What is shown more of one that is over.
    fn outcome(&self, rule: &Rule, shown: &mut Value) {
        let crowded = json!({"code": "token_limit_exceeded", "line": null, "param": null,
            "message": "Enqueued token limit reached for gpt-x. Please try again once some batches have completed."});
        let faulty = json!({"code": "invalid_request", "line": 2, "param": "body", "message": "line 2 is no request"});
        match (self.kind, self.ending) {
            ("openai", Ending::Faulty) => shown["errors"] = json!({"object": "list", "data": [faulty]}),
            ("openai", Ending::Crowded) => shown["errors"] = json!({"object": "list", "data": [crowded]}),
            ("openai", _) => {
                let [output, errors] = self.files(rule);
                shown["request_counts"]["completed"] = json!(output.len());
                shown["request_counts"]["failed"] = json!(errors.len());
                // Where there is no such file some say nothing and some an empty name.
                shown["output_file_id"] =
                    if output.is_empty() { json!("") } else { json!(format!("output-{}", self.id)) };
                if !errors.is_empty() {
                    shown["error_file_id"] = json!(format!("errors-{}", self.id));
                }
            }
            ("gemini", Ending::Crowded) => {
                shown["error"] = json!({"code": 8, "message": "Resource has been exhausted (e.g. check quota)."});
            }
            ("gemini", _) => {
                let told = self.told(rule);
                if self.ending == Ending::Completed {
                    shown["response"] = json!({"@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput",
                        "inlinedResponses": {"inlinedResponses": told}});
                    shown["metadata"]["output"] = json!({"inlinedResponses": {"inlinedResponses": told}});
                } else {
                    shown["error"] = json!({"code": 1, "message": "the batch did not end by itself"});
                }
            }
            _ => {}
        }
    }

    fn lot(&self, rule: &Rule, request: &Value) -> Lot {
        let places = ["/body/messages", "/body/input", "/params/messages", "/request/contents"];
        let turns = places.iter().find_map(|place| request.pointer(place)?.as_array()).unwrap();
        let last = turns.last().unwrap();
        let said = ["/content", "/content/0/text", "/parts/0/text"];
        rule(said.iter().find_map(|place| last.pointer(place)?.as_str()).unwrap())
    }

    /// The lines of the output file and of the error file; the last request comes first.
    fn files(&self, rule: &Rule) -> [Vec<Value>; 2] {
        let mut files = [Vec::new(), Vec::new()];
        for (name, request) in self.entries.iter().rev() {
            let line = |response: Value, error: Value| json!({"id": format!("batch_req_{name}"), "custom_id": name, "response": response, "error": error});
            let response = |status: u16, body: Value| json!({"status_code": status, "request_id": "req_1", "body": body});
            let expired = json!({"code": "batch_expired", "message": "This request could not be executed before the completion window expired."});
            match self.lot(rule, request) {
                _ if self.ending == Ending::Cancelled => {
                    let error = json!({"code": "batch_cancelled", "message": "The batch was cancelled."});
                    files[1].push(line(Value::Null, error));
                }
                Lot::Answer(text, stop) => {
                    let body = match request["url"].as_str().unwrap() {
                        "/v1/responses" => super::batch::responses_body(&text),
                        _ => super::batch::openai_body(&text, stop),
                    };
                    files[0].push(line(response(200, body), Value::Null));
                }
                Lot::Error(status, message) => {
                    let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
                    files[1].push(line(response(status, json!({ "error": error })), Value::Null));
                }
                Lot::Expired => files[1].push(line(Value::Null, expired)),
                Lot::Missing => {}
            }
        }
        files
    }

    /// Results as Anthropic and Gemini give them; Anthropic's in another order than the requests, Gemini's in the same and
    /// without their names.
    fn told(&self, rule: &Rule) -> Vec<Value> {
        let result = |(name, request): &(String, Value)| {
            let lot = self.lot(rule, request);
            if self.kind == "gemini" {
                return Some(match lot {
                    Lot::Answer(text, stop) => json!({"response": super::batch::gemini_body(&text, stop)}),
                    Lot::Error(_, message) => json!({"error": {"code": 3, "message": message}}),
                    Lot::Expired | Lot::Missing => json!({}),
                });
            }
            let result = match (lot, self.ending) {
                (_, Ending::Cancelled) => json!({"type": "canceled"}),
                (Lot::Expired, _) | (_, Ending::Expired) => json!({"type": "expired"}),
                (Lot::Answer(text, stop), _) => {
                    json!({"type": "succeeded", "message": super::batch::anthropic_body(&text, stop)})
                }
                (Lot::Error(_, message), _) => json!({"type": "errored", "error": {"type": "error", "request_id": "req_1",
                    "error": {"type": "invalid_request_error", "message": message}}}),
                (Lot::Missing, _) => return None,
            };
            Some(json!({"custom_id": name, "result": result}))
        };
        let told = self.entries.iter().filter_map(result);
        if self.kind == "gemini" { told.collect() } else { told.rev().collect() }
    }
}
