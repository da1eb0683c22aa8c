//! Anthropic: the requests go with the batch, the answers come as JSON Lines. A batch carries no name of ours, and says
//! what its requests are called only once it has ended.

use serde_json::json;

use super::form::{Ended, Entries, Fate, Form, Results, State, encoded, moment, taken};
use crate::llm::dialect::number;
use crate::llm::registry::{Model, Provider};
use crate::value::Value;

/// The form.
pub(super) struct Anthropic;

impl Form for Anthropic {
    fn entry(&self, id: &str, mut body: Value) -> Value {
        if let Some(body) = body.as_object_mut() {
            body.remove("stream");
        }
        json!({"custom_id": id, "params": body})
    }

    fn creation(&self, model: &Model, _: &str, entries: Entries) -> (String, Value) {
        let entries = match entries {
            Entries::Here(entries) => entries,
            Entries::File(_) => Vec::new(),
        };
        (home(&model.provider), json!({ "requests": entries }))
    }

    fn look(&self, provider: &Provider, batch: &str) -> String {
        format!("{}/{}", home(provider), encoded(batch))
    }

    fn state(&self, batch: &Value) -> State {
        let count = |key: &str| number(batch, &format!("/request_counts/{key}"));
        let done = ["succeeded", "errored", "canceled", "expired"].map(count).iter().sum();
        let rest = || Ended { rest: "its batch has no result for it".to_owned(), ..Ended::default() };
        State {
            id: batch["id"].as_str().unwrap_or_default().to_owned(),
            mark: None,
            made_at: moment(batch["created_at"].as_str()),
            done,
            total: done + count("processing"),
            ended: (batch["processing_status"] == "ended").then(rest),
        }
    }

    /// The address is built and not taken from the batch: a key goes nowhere else.
    fn results(&self, provider: &Provider, batch: &Value) -> Vec<Results> {
        let id = batch["id"].as_str().unwrap_or_default();
        vec![Results::At(format!("{}/results", self.look(provider, id)))]
    }

    fn result(&self, mut result: Value) -> (Option<String>, Fate) {
        let id = result["custom_id"].as_str().map(str::to_owned);
        let mut result = taken(&mut result, "/result");
        let fate = match result["type"].as_str().unwrap_or_default() {
            "succeeded" => Fate::Answered(taken(&mut result, "/message")),
            "expired" => Fate::Unasked("its batch expired".to_owned()),
            "canceled" => Fate::Unasked("its batch was cancelled".to_owned()),
            _ => {
                let mut outer = taken(&mut result, "/error");
                let error = match taken(&mut outer, "/error") {
                    Value::Null => outer,
                    error => error,
                };
                Fate::Refused { status: None, error }
            }
        };
        (id, fate)
    }

    fn list(&self, provider: &Provider, after: Option<&str>) -> String {
        let after = after.map(|id| format!("&after_id={}", encoded(id))).unwrap_or_default();
        format!("{}?limit=100{after}", home(provider))
    }

    fn listed(&self, page: &Value) -> (Vec<State>, Option<String>) {
        let batches = page["data"].as_array().into_iter().flatten().map(|batch| self.state(batch)).collect();
        let last = page["last_id"].as_str().map(str::to_owned);
        (batches, last.filter(|_| page["has_more"] == true))
    }
}

fn home(provider: &Provider) -> String {
    let base = provider.base_url.strip_suffix("/v1").unwrap_or(&provider.base_url);
    format!("{base}/v1/messages/batches")
}
