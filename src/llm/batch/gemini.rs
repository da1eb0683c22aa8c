//! Gemini batches: requests and answers are sent with the batch itself. The alternative, files, allows
//! larger batches but needs several calls, of which only the last has our tag. Here, one call creates the
//! batch, and requests that do not fit go into another batch.

use serde_json::json;

use super::api::{
    BatchApi, BatchEnd, BatchEntries, BatchResult, BatchStatus, ResultsLocation, encoded, moment, taken,
};
use crate::llm::registry::{Model, Provider};
use crate::value::Value;

/// Batch API of Gemini.
pub(super) struct GeminiBatches;

impl BatchApi for GeminiBatches {
    fn entry(&self, id: &str, body: Value) -> Value {
        json!({"request": body, "metadata": {"key": id}})
    }

    fn creation(&self, model: &Model, batch_tag: &str, entries: BatchEntries) -> (String, Value) {
        let entries = match entries {
            BatchEntries::Here(entries) => entries,
            BatchEntries::File(_) => Vec::new(),
        };
        let body =
            json!({"batch": {"displayName": batch_tag, "inputConfig": {"requests": {"requests": entries}}}});
        (format!("{}/models/{}:batchGenerateContent", model.provider.base_url, model.id), body)
    }

    fn look(&self, provider: &Provider, batch: &str) -> String {
        let id = batch.strip_prefix("batches/").unwrap_or(batch);
        format!("{}/batches/{}", provider.base_url, encoded(id))
    }

    fn state(&self, batch: &Value) -> BatchStatus {
        let about = &batch["metadata"];
        let word = about["state"].as_str().unwrap_or_default();
        let ended = match word.rsplit('_').next().unwrap_or_default() {
            "SUCCEEDED" => Some("its batch has no result for it"),
            "CANCELLED" => Some("its batch was cancelled"),
            "EXPIRED" => Some("its batch expired"),
            "FAILED" => Some("its batch failed"),
            _ => (batch["done"] == true).then_some("its batch has no result for it"),
        };
        let count = |key: &str| int64(&about["batchStats"][key]);
        BatchStatus {
            id: batch["name"].as_str().unwrap_or_default().to_owned(),
            batch_tag: about["displayName"].as_str().map(str::to_owned),
            made_at: moment(about["createTime"].as_str()),
            done: count("successfulRequestCount") + count("failedRequestCount"),
            total: count("requestCount"),
            ended: ended.map(|rest| BatchEnd {
                rest: rest.to_owned(),
                all: complaint(batch, word),
                ..BatchEnd::default()
            }),
        }
    }

    fn results(&self, _: &Provider, batch: &Value) -> Vec<ResultsLocation> {
        let places = ["/response", "/metadata/output"];
        let inlined = places.iter().find_map(|place| {
            batch.pointer(place)?.pointer("/inlinedResponses/inlinedResponses")?.as_array()
        });
        inlined.cloned().map(ResultsLocation::Here).into_iter().collect()
    }

    /// Some answers have no key; then they are in the order of the requests.
    fn result(&self, mut result: Value) -> (Option<String>, BatchResult) {
        let id = result["metadata"]["key"].as_str().map(str::to_owned);
        let outcome = match (taken(&mut result, "/response"), taken(&mut result, "/error")) {
            (Value::Null, Value::Null) => BatchResult::Unasked("its batch has no result for it".to_owned()),
            (Value::Null, error) => refused(error),
            (response, _) => BatchResult::Answered(response),
        };
        (id, outcome)
    }

    fn list(&self, provider: &Provider, after: Option<&str>) -> String {
        let after = after.map(|token| format!("&pageToken={}", encoded(token))).unwrap_or_default();
        format!("{}/batches?pageSize=100{after}", provider.base_url)
    }

    fn listed(&self, page: &Value) -> (Vec<BatchStatus>, Option<String>) {
        let batches =
            page["operations"].as_array().into_iter().flatten().map(|batch| self.state(batch)).collect();
        let next = page["nextPageToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned);
        (batches, next)
    }
}

/// The error of a batch as a whole. A cancelled batch has an error as well.
fn complaint(batch: &Value, word: &str) -> Option<BatchResult> {
    let error = batch.get("error").filter(|error| !error.is_null() && word.ends_with("FAILED"))?;
    Some(refused(error.clone()))
}

/// Errors have gRPC codes.
fn refused(error: Value) -> BatchResult {
    const CANCELLED: u64 = 1;
    let status = match error["code"].as_u64().unwrap_or_default() {
        CANCELLED => return BatchResult::Unasked("its batch was cancelled".to_owned()),
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        7 => 403,
        8 => 429,
        14 => 503,
        16 => 401,
        code @ 400..=599 => u16::try_from(code).unwrap_or(500),
        _ => 500,
    };
    BatchResult::Refused { status: Some(status), error }
}

/// Parses a number, which this vendor sends as text.
fn int64(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}
