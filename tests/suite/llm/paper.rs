//! JSON forms of a batch at a provider.

use std::sync::Arc;

use serde_json::{Value, json};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Lot {
    /// An answer, with the stop reason of chat completions: `stop`, `length`, `refusal`.
    Answer(String, &'static str),
    /// An error.
    Error(u16, &'static str),
    /// It was not processed in time, and the result says so.
    Expired,
    /// There is no result.
    Missing,
}

/// End of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Completed,
    Expired,
    Cancelled,
    /// Its second line is invalid.
    Faulty,
    /// The account has too many pending requests.
    Crowded,
}

/// A stored batch.
#[derive(Clone, Debug)]
pub struct Batch {
    pub id: String,
    /// Provider kind.
    pub kind: &'static str,
    /// The call that created it.
    pub body: Value,
    /// Requests by name.
    pub entries: Vec<(String, Value)>,
    /// Outcome of each request.
    pub(super) lots: Vec<Lot>,
    pub(super) ending: Ending,
    pub(super) over: bool,
    /// Address of its results.
    pub(super) results: String,
}

pub(super) type Rule = Arc<dyn Fn(&Value, &str) -> Lot + Send + Sync>;

/// Outcome of a request in either wire format.
pub(super) fn lot(rule: &Rule, request: &Value) -> Lot {
    let places = ["/body/messages", "/body/input", "/params/messages", "/request/contents"];
    let turns = places.iter().find_map(|place| request.pointer(place)?.as_array()).unwrap();
    let last = turns.last().unwrap();
    let said = ["/content", "/content/0/text", "/parts/0/text"];
    rule(request, said.iter().find_map(|place| last.pointer(place)?.as_str()).unwrap())
}

impl Batch {
    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id || self.id.strip_prefix("batches/") == Some(id)
    }

    /// The batch object in the API.
    pub(super) fn shown(&self, over: bool) -> Value {
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

    /// Additional fields of a finished batch.
    pub(super) fn outcome(&self, shown: &mut Value) {
        let crowded = json!({"code": "token_limit_exceeded", "line": null, "param": null,
            "message": "Enqueued token limit reached for gpt-x. Please try again once some batches have completed."});
        let faulty =
            json!({"code": "invalid_request", "line": 2, "param": "body", "message": "line 2 is no request"});
        match (self.kind, self.ending) {
            ("openai", Ending::Faulty) => shown["errors"] = json!({"object": "list", "data": [faulty]}),
            ("openai", Ending::Crowded) => shown["errors"] = json!({"object": "list", "data": [crowded]}),
            ("openai", _) => {
                let [output, errors] = self.files();
                shown["request_counts"]["completed"] = json!(output.len());
                shown["request_counts"]["failed"] = json!(errors.len());
                // If there is no such file, some omit the name and some send an empty one.
                shown["output_file_id"] =
                    if output.is_empty() { json!("") } else { json!(format!("output-{}", self.id)) };
                if !errors.is_empty() {
                    shown["error_file_id"] = json!(format!("errors-{}", self.id));
                }
            }
            ("gemini", Ending::Crowded) => {
                shown["error"] =
                    json!({"code": 8, "message": "Resource has been exhausted (e.g. check quota)."});
            }
            ("gemini", _) => {
                let told = self.told();
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

    /// The lines of the output file and of the error file; the last request comes first.
    pub(super) fn files(&self) -> [Vec<Value>; 2] {
        let mut files = [Vec::new(), Vec::new()];
        for ((name, request), lot) in self.entries.iter().zip(&self.lots).rev() {
            let line = |response: Value, error: Value| json!({"id": format!("batch_req_{name}"), "custom_id": name, "response": response, "error": error});
            let response = |status: u16, body: Value| json!({"status_code": status, "request_id": "req_1", "body": body});
            let expired = json!({"code": "batch_expired", "message": "This request could not be executed before the completion window expired."});
            match lot.clone() {
                _ if self.ending == Ending::Cancelled => {
                    let error = json!({"code": "batch_cancelled", "message": "The batch was cancelled."});
                    files[1].push(line(Value::Null, error));
                }
                Lot::Answer(text, stop) => {
                    let body = match request["url"].as_str().unwrap() {
                        "/v1/responses" => super::wire::responses_body(&text),
                        _ => super::wire::openai_body(&text, stop),
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

    /// Results of Anthropic and Gemini: those of Anthropic are in another order than the requests, those of
    /// Gemini in the same order and without names.
    pub(super) fn told(&self) -> Vec<Value> {
        let result = |((name, _), lot): (&(String, Value), &Lot)| {
            let lot = lot.clone();
            if self.kind == "gemini" {
                return Some(match lot {
                    Lot::Answer(text, stop) => json!({"response": super::wire::gemini_body(&text, stop)}),
                    Lot::Error(_, message) => json!({"error": {"code": 3, "message": message}}),
                    Lot::Expired | Lot::Missing => json!({}),
                });
            }
            let result = match (lot, self.ending) {
                (_, Ending::Cancelled) => json!({"type": "canceled"}),
                (Lot::Expired, _) | (_, Ending::Expired) => json!({"type": "expired"}),
                (Lot::Answer(text, stop), _) => {
                    json!({"type": "succeeded", "message": super::wire::anthropic_body(&text, stop)})
                }
                (Lot::Error(_, message), _) => {
                    json!({"type": "errored", "error": {"type": "error", "request_id": "req_1",
                    "error": {"type": "invalid_request_error", "message": message}}})
                }
                (Lot::Missing, _) => return None,
            };
            Some(json!({"custom_id": name, "result": result}))
        };
        let told = self.entries.iter().zip(&self.lots).filter_map(result);
        if self.kind == "gemini" { told.collect() } else { told.rev().collect() }
    }
}
