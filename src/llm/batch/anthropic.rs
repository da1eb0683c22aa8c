//! Anthropic batches: requests are sent with the batch, answers are returned as JSON Lines. A batch does
//! not have our tag, and the names of its requests are available only after its end.

use serde_json::json;

use super::api::{
    BatchApi, BatchEnd, BatchEntries, BatchResult, BatchStatus, ResultsLocation, encoded, moment, taken,
};
use crate::llm::dialect::number;
use crate::llm::registry::{Model, Provider};
use crate::value::Value;

/// Batch API of Anthropic.
pub(super) struct AnthropicBatches;

impl BatchApi for AnthropicBatches {
    fn entry(&self, id: &str, mut body: Value) -> Value {
        if let Some(body) = body.as_object_mut() {
            body.remove("stream");
        }
        json!({"custom_id": id, "params": body})
    }

    fn creation(&self, model: &Model, _: &str, entries: BatchEntries) -> (String, Value) {
        let entries = match entries {
            BatchEntries::Here(entries) => entries,
            BatchEntries::File(_) => Vec::new(),
        };
        (home(&model.provider), json!({ "requests": entries }))
    }

    fn look(&self, provider: &Provider, batch: &str) -> String {
        format!("{}/{}", home(provider), encoded(batch))
    }

    fn state(&self, batch: &Value) -> BatchStatus {
        let count = |key: &str| number(batch, &format!("/request_counts/{key}"));
        let done = ["succeeded", "errored", "canceled", "expired"].map(count).iter().sum();
        let rest = || BatchEnd { rest: "its batch has no result for it".to_owned(), ..BatchEnd::default() };
        BatchStatus {
            id: batch["id"].as_str().unwrap_or_default().to_owned(),
            batch_tag: None,
            made_at: moment(batch["created_at"].as_str()),
            done,
            total: done + count("processing"),
            ended: (batch["processing_status"] == "ended").then(rest),
        }
    }

    /// The address is built and not read from the batch, so that the key is sent nowhere else.
    fn results(&self, provider: &Provider, batch: &Value) -> Vec<ResultsLocation> {
        let id = batch["id"].as_str().unwrap_or_default();
        vec![ResultsLocation::At(format!("{}/results", self.look(provider, id)))]
    }

    fn result(&self, mut result: Value) -> (Option<String>, BatchResult) {
        let id = result["custom_id"].as_str().map(str::to_owned);
        let mut result = taken(&mut result, "/result");
        let outcome = match result["type"].as_str().unwrap_or_default() {
            "succeeded" => BatchResult::Answered(taken(&mut result, "/message")),
            "expired" => BatchResult::Unasked("its batch expired".to_owned()),
            "canceled" => BatchResult::Unasked("its batch was cancelled".to_owned()),
            _ => {
                let mut outer = taken(&mut result, "/error");
                let error = match taken(&mut outer, "/error") {
                    Value::Null => outer,
                    error => error,
                };
                BatchResult::Refused { status: None, error }
            }
        };
        (id, outcome)
    }

    fn list(&self, provider: &Provider, after: Option<&str>) -> String {
        let after = after.map(|id| format!("&after_id={}", encoded(id))).unwrap_or_default();
        format!("{}?limit=100{after}", home(provider))
    }

    fn listed(&self, page: &Value) -> (Vec<BatchStatus>, Option<String>) {
        let batches = page["data"].as_array().into_iter().flatten().map(|batch| self.state(batch)).collect();
        let last = page["last_id"].as_str().map(str::to_owned);
        (batches, last.filter(|_| page["has_more"] == true))
    }
}

fn home(provider: &Provider) -> String {
    let base = provider.base_url.strip_suffix("/v1").unwrap_or(&provider.base_url);
    format!("{base}/v1/messages/batches")
}
