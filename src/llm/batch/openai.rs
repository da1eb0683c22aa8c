//! OpenAI batches: requests, answers and errors are in separate files.

use serde_json::json;

use super::api::{
    BatchApi, BatchEnd, BatchEntries, BatchResult, BatchStatus, ResultsLocation, encoded, taken,
};
use crate::llm::dialect::number;
use crate::llm::registry::{Model, Provider};
use crate::value::Value;

/// Metadata key with our tag.
const MARK: &str = "atoll";

/// Batch API of OpenAI.
pub(super) struct OpenAiBatches {
    /// Endpoint of the requests in the batch.
    pub(super) path: &'static str,
}

impl BatchApi for OpenAiBatches {
    fn entry(&self, id: &str, mut body: Value) -> Value {
        if let Some(body) = body.as_object_mut() {
            body.remove("stream");
            body.remove("stream_options");
        }
        json!({"custom_id": id, "method": "POST", "url": self.path, "body": body})
    }

    fn files(&self, provider: &Provider) -> Option<String> {
        Some(format!("{}/files", provider.base_url))
    }

    fn creation(&self, model: &Model, batch_tag: &str, entries: BatchEntries) -> (String, Value) {
        let file = match entries {
            BatchEntries::File(id) => id,
            BatchEntries::Here(_) => String::new(),
        };
        let body = json!({"input_file_id": file, "endpoint": self.path, "completion_window": "24h",
            "metadata": {MARK: batch_tag}});
        (format!("{}/batches", model.provider.base_url), body)
    }

    fn look(&self, provider: &Provider, batch: &str) -> String {
        format!("{}/batches/{}", provider.base_url, encoded(batch))
    }

    fn state(&self, batch: &Value) -> BatchStatus {
        let text = |key: &str| batch[key].as_str();
        let ended = match text("status").unwrap_or_default() {
            "completed" => {
                Some(BatchEnd { rest: "its batch has no result for it".to_owned(), ..BatchEnd::default() })
            }
            "expired" => Some(BatchEnd { rest: "its batch expired".to_owned(), ..BatchEnd::default() }),
            "cancelled" => {
                Some(BatchEnd { rest: "its batch was cancelled".to_owned(), ..BatchEnd::default() })
            }
            "failed" => Some(failed(batch)),
            _ => None,
        };
        BatchStatus {
            id: text("id").unwrap_or_default().to_owned(),
            batch_tag: batch["metadata"][MARK].as_str().map(str::to_owned),
            made_at: batch["created_at"].as_u64().map(|seconds| seconds.saturating_mul(1_000)),
            done: number(batch, "/request_counts/completed") + number(batch, "/request_counts/failed"),
            total: number(batch, "/request_counts/total"),
            ended,
        }
    }

    fn results(&self, provider: &Provider, batch: &Value) -> Vec<ResultsLocation> {
        let file = |key: &str| batch[key].as_str().filter(|id| !id.is_empty());
        let at =
            |id: &str| ResultsLocation::At(format!("{}/files/{}/content", provider.base_url, encoded(id)));
        ["output_file_id", "error_file_id"].into_iter().filter_map(file).map(at).collect()
    }

    fn result(&self, mut result: Value) -> (Option<String>, BatchResult) {
        let id = result["custom_id"].as_str().map(str::to_owned);
        let error = taken(&mut result, "/error");
        let status = result.pointer("/response/status_code").and_then(Value::as_u64);
        let mut body = taken(&mut result, "/response/body");
        let outcome = match (status, error["code"].as_str()) {
            (Some(200), _) => BatchResult::Answered(body),
            (None, Some("batch_expired")) => BatchResult::Unasked("its batch expired".to_owned()),
            (None, Some("batch_cancelled")) => BatchResult::Unasked("its batch was cancelled".to_owned()),
            (None, _) => BatchResult::Refused { status: Some(500), error },
            (Some(status), _) => {
                let error = match taken(&mut body, "/error") {
                    Value::Null => body,
                    error => error,
                };
                BatchResult::Refused { status: u16::try_from(status).ok(), error }
            }
        };
        (id, outcome)
    }

    fn list(&self, provider: &Provider, after: Option<&str>) -> String {
        let after = after.map(|id| format!("&after={}", encoded(id))).unwrap_or_default();
        format!("{}/batches?limit=100{after}", provider.base_url)
    }

    fn listed(&self, page: &Value) -> (Vec<BatchStatus>, Option<String>) {
        let batches: Vec<BatchStatus> =
            page["data"].as_array().into_iter().flatten().map(|batch| self.state(batch)).collect();
        let last = batches.last().map(|batch| batch.id.clone());
        (batches, last.filter(|_| page["has_more"] == true))
    }
}

/// A batch whose file was refused: errors with a line are for that request, others for all.
fn failed(batch: &Value) -> BatchEnd {
    let mut ended = BatchEnd {
        rest: "its batch was refused because of another request".to_owned(),
        ..BatchEnd::default()
    };
    for error in batch["errors"]["data"].as_array().into_iter().flatten() {
        // The account has too many pending requests, which is temporary.
        let crowded = error["code"].as_str().is_some_and(|code| code.contains("limit_exceeded"));
        let status = Some(if crowded { 429 } else { 400 });
        let outcome = BatchResult::Refused { status, error: error.clone() };
        match error["line"].as_u64().and_then(|line| u32::try_from(line).ok()?.checked_sub(1)) {
            Some(entry) => ended.apart.push((entry, outcome)),
            None => ended.all = ended.all.or(Some(outcome)),
        }
    }
    ended
}
