use crate::clock::Millis;
use crate::llm::registry::{Model, Provider, ProviderKind};
use crate::value::Value;
use crate::verb::Failure;

/// Batch API of a provider: requests to send, and parsers for answers. Pure.
pub(super) trait BatchApi: Send + Sync + 'static {
    /// The entry `id` for a request with this body.
    fn entry(&self, id: &str, body: Value) -> Value;

    /// Address for uploading the file of entries; `None` if entries are sent with the batch.
    fn files(&self, _provider: &Provider) -> Option<String> {
        None
    }

    /// Address and body for creating a batch with `batch_tag`.
    fn creation(&self, model: &Model, batch_tag: &str, entries: BatchEntries) -> (String, Value);

    /// Address of the status of `batch`.
    fn look(&self, provider: &Provider, batch: &str) -> String;

    /// Parses a batch object after creation, polling or listing.
    fn state(&self, batch: &Value) -> BatchStatus;

    /// Locations of the results of a finished batch.
    fn results(&self, provider: &Provider, batch: &Value) -> Vec<ResultsLocation>;

    /// Parses a result: the name of its entry, if it has one, and the outcome.
    fn result(&self, result: Value) -> (Option<String>, BatchResult);

    /// Address of the list of batches, or of the page after `after`.
    fn list(&self, provider: &Provider, after: Option<&str>) -> String;

    /// Parses a page of batches. Also returns the cursor of the next page.
    fn listed(&self, page: &Value) -> (Vec<BatchStatus>, Option<String>);
}

/// Entries of a new batch.
pub(super) enum BatchEntries {
    /// The entries themselves.
    Here(Vec<Value>),
    /// Id of the file with the entries.
    File(String),
}

/// Status of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchStatus {
    /// Id at the provider.
    pub(super) id: String,
    /// Our tag, if the provider stores it.
    pub(super) batch_tag: Option<String>,
    /// Time of creation, if known.
    pub(super) made_at: Option<Millis>,
    /// Number of finished requests.
    pub(super) done: u64,
    /// Total number of requests.
    pub(super) total: u64,
    /// End of the batch, once it has ended.
    pub(super) ended: Option<BatchEnd>,
}

impl BatchStatus {
    /// Id of the provider, if it is valid.
    pub(super) fn named(&self) -> Option<String> {
        const LONGEST: usize = 256;
        Some(self.id.clone()).filter(|id| !id.is_empty() && id.len() <= LONGEST)
    }
}

/// End of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchEnd {
    /// Reason for requests without a result.
    pub(super) rest: String,
    /// Additional outcomes of single requests, by index.
    pub(super) apart: Vec<(u32, BatchResult)>,
    /// Outcome of all other requests, if it is the same.
    pub(super) all: Option<BatchResult>,
}

/// Location of results.
pub(super) enum ResultsLocation {
    /// JSON Lines at an address, in any order.
    At(String),
    /// In the batch itself, in the order of its entries.
    Here(Vec<Value>),
}

/// Outcome of a request.
#[derive(Clone, Debug)]
pub(super) enum BatchResult {
    /// The complete answer, as for a call without streaming.
    Answered(Value),
    /// Error of the provider, with the HTTP status if there is one.
    Refused { status: Option<u16>, error: Value },
    /// The request was not processed and may be repeated, for this reason.
    Unasked(String),
    /// The batch could not be created or polled; `over` if it certainly does not exist.
    Failed { failure: Failure, over: bool },
}

/// The batch API of `kind`. Kinds without one are refused when the registry is read.
pub(super) fn of(kind: ProviderKind) -> &'static dyn BatchApi {
    match kind {
        ProviderKind::Openai | ProviderKind::Ollama => {
            &super::openai::OpenAiBatches { path: "/v1/chat/completions" }
        }
        ProviderKind::OpenaiResponses => &super::openai::OpenAiBatches { path: "/v1/responses" },
        ProviderKind::Anthropic => &super::anthropic::AnthropicBatches,
        ProviderKind::Gemini => &super::gemini::GeminiBatches,
    }
}

/// Takes the value at `pointer` out of `value`; null if it is missing.
pub(super) fn taken(value: &mut Value, pointer: &str) -> Value {
    value.pointer_mut(pointer).map(Value::take).unwrap_or_default()
}

/// `text` encoded for a URL.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Parses a timestamp.
pub(super) fn moment(text: Option<&str>) -> Option<Millis> {
    let moment: jiff::Timestamp = text?.parse().ok()?;
    Millis::try_from(moment.as_millisecond()).ok()
}
