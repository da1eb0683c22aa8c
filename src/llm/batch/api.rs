use crate::clock::Millis;
use crate::llm::registry::{Model, Provider, ProviderKind};
use crate::value::Value;
use crate::verb::Failure;

/// How one provider takes batches: what to send, and how to read what comes back. Pure.
pub(super) trait BatchApi: Send + Sync + 'static {
    /// One request, whose body is as its dialect makes it, as the entry called `id`.
    fn entry(&self, id: &str, body: Value) -> Value;

    /// Where the file goes that holds the entries; `None` where they go with the batch itself.
    fn files(&self, _provider: &Provider) -> Option<String> {
        None
    }

    /// Where to, and what to send, so that there is a batch with `batch_tag`.
    fn creation(&self, model: &Model, batch_tag: &str, entries: BatchEntries) -> (String, Value);

    /// Where to look how far `batch` is.
    fn look(&self, provider: &Provider, batch: &str) -> String;

    /// What a batch says of itself, when it is made, looked at or listed.
    fn state(&self, batch: &Value) -> BatchStatus;

    /// Where the results of a batch that has ended are.
    fn results(&self, provider: &Provider, batch: &Value) -> Vec<ResultsLocation>;

    /// The name of the entry that a result belongs to, where it has one, and what became of it.
    fn result(&self, result: Value) -> (Option<String>, BatchResult);

    /// Where the list of batches is, or the page of it behind `after`.
    fn list(&self, provider: &Provider, after: Option<&str>) -> String;

    /// The batches on a page, and what leads to the next page.
    fn listed(&self, page: &Value) -> (Vec<BatchStatus>, Option<String>);
}

/// The entries of a batch that is about to be made.
pub(super) enum BatchEntries {
    /// Themselves.
    Here(Vec<Value>),
    /// The id of the file that holds them.
    File(String),
}

/// What a batch says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchStatus {
    /// What the provider calls it.
    pub(super) id: String,
    /// What we call it, where the provider keeps that.
    pub(super) batch_tag: Option<String>,
    /// When it was made, where that can be read.
    pub(super) made_at: Option<Millis>,
    /// How many of its requests have come to their end.
    pub(super) done: u64,
    /// How many it has.
    pub(super) total: u64,
    /// How it ended, once it has.
    pub(super) ended: Option<BatchEnd>,
}

impl BatchStatus {
    /// What the provider calls it, if that is a name.
    pub(super) fn named(&self) -> Option<String> {
        const LONGEST: usize = 256;
        Some(self.id.clone()).filter(|id| !id.is_empty() && id.len() <= LONGEST)
    }
}

/// How a batch ended.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchEnd {
    /// Why requests without a result have none.
    pub(super) rest: String,
    /// What became of single requests beside what its results say, by their number.
    pub(super) apart: Vec<(u32, BatchResult)>,
    /// What became of all others, where it is the same for them.
    pub(super) all: Option<BatchResult>,
}

/// Where results are.
pub(super) enum ResultsLocation {
    /// JSON Lines at an address, in any order.
    At(String),
    /// In the batch itself, in the order of its entries.
    Here(Vec<Value>),
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum BatchResult {
    /// The whole answer, as the provider gives it to a call that does not stream.
    Answered(Value),
    /// The provider's complaint about it, with the status of HTTP where it says one.
    Refused { status: Option<u16>, error: Value },
    /// It was not asked, and may be asked again: why.
    Unasked(String),
    /// Its batch could not be made or followed; `over` where there certainly is none.
    Failed { failure: Failure, over: bool },
}

/// The form of `kind`. Whatever has none is refused where the registry is read.
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

/// What stands at `pointer`, taken out of `value`; nothing where there is nothing.
pub(super) fn taken(value: &mut Value, pointer: &str) -> Value {
    value.pointer_mut(pointer).map(Value::take).unwrap_or_default()
}

/// `text` as it can stand in an address.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The moment that `text` names.
pub(super) fn moment(text: Option<&str>) -> Option<Millis> {
    let moment: jiff::Timestamp = text?.parse().ok()?;
    Millis::try_from(moment.as_millisecond()).ok()
}
