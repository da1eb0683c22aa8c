use std::collections::BTreeMap;

use serde_json::json;

use super::figures::Figures;
use super::{reasons, surrogates};
use crate::llm::registry::{Model, ProviderKind, SchemaMode};
use crate::llm::{ModelRequest, ModelResponse, PartialToolCall, StopReason, TokenUsage, without_thoughts};
use crate::meter::Meter;
use crate::value::Value;
use crate::verb::{Cause, Failure};
use crate::visible;

/// A wire format: builds calls and parses answers. Pure, so that batches can use it as well.
pub trait WireFormat: Send + Sync + 'static {
    /// The streaming call for `request` to `model`.
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall;

    /// Header with the key.
    fn key_header(&self, key: &str) -> (&'static str, String);

    /// Processes one event of a stream; returns the added text.
    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted>;

    /// Processes a complete answer, for servers that do not stream.
    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted>;
}

/// A call without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderCall {
    /// Address.
    pub url: String,
    /// Headers in addition to the key and the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Value,
}

/// The error object that a provider sent instead of an answer or its rest.
#[derive(Clone, Debug)]
pub struct Interrupted(pub Value);

/// An answer that is being received.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the stream")]
#[derive(Clone, Debug, Default)]
pub struct PartialResponse {
    /// Received text.
    pub text: String,
    /// Received inputs of the answer tool, if no tools were offered: they are the answer. Several calls are
    /// separated by a line break.
    pub given: String,
    /// Name of the answer tool.
    answer_tool: Option<String>,
    /// Index of the call whose input is being received, and whether it calls the answer tool.
    giving: Option<(Option<u64>, bool)>,
    /// Received bytes of thoughts.
    pub thoughts: usize,
    /// Text of a refusal.
    pub refusal: String,
    /// Stop reason, once it has ended.
    pub stop: Option<StopReason>,
    /// Stop reason in the words of the provider.
    pub reason: String,
    /// Whether the reason means that the answer is incomplete.
    pub broken: bool,
    /// Whether the end of the stream was announced.
    pub closed: bool,
    /// Reported usage.
    pub figures: Figures,
    /// Name of the model at the provider.
    pub model: Option<String>,
    /// Whether it was received in pieces.
    pub pieces: bool,
    /// Whether tools were offered; otherwise the input of the answer tool is the answer.
    pub tools: bool,
    /// Tool calls; the last ones may be incomplete.
    pub calls: Vec<PartialToolCall>,
    /// Complete texts by their position in the answer, for servers that do not send pieces.
    pub whole: BTreeMap<(u64, u64), String>,
    /// Whether it contains unpaired surrogates.
    pub halves: bool,
}

impl PartialResponse {
    /// An empty answer to `request`.
    pub fn of(request: &ModelRequest) -> Self {
        let answer_tool = request.schema.as_ref().map(|shape| shape.name.clone());
        Self { tools: !request.tools.is_empty(), answer_tool, ..Self::default() }
    }

    /// Processes a piece of the input of a call if no tools were offered except perhaps the answer tool.
    /// The name is in the first piece. Returns the added text.
    pub(super) fn give(&mut self, place: Option<u64>, name: &str, input: &str) -> Option<String> {
        let goes_on = self.giving.is_some_and(|(at, _)| at == place && (place.is_some() || name.is_empty()));
        if !goes_on {
            let is_answer = name.is_empty() || self.answer_tool.as_deref() == Some(name);
            self.giving = Some((place, is_answer));
            if is_answer && !self.given.is_empty() {
                self.given.push('\n');
            }
        }
        if input.is_empty() || !self.giving.is_some_and(|(_, is_answer)| is_answer) {
            return None;
        }
        self.given.push_str(input);
        Some(input.to_owned())
    }

    /// Reported usage, or an estimate.
    pub fn usage(&self, request: &ModelRequest) -> TokenUsage {
        self.figures.usage(TokenUsage::estimate(request.size(), self.size()), self.stop.is_none())
    }

    /// Number of received bytes.
    pub fn size(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.name.len() + call.input.len()).sum::<usize>();
        self.text.len() + self.given.len() + self.thoughts + self.refusal.len() + calls
    }

    /// Adds `text`; returns it unless it is empty.
    pub(super) fn say(&mut self, text: &str) -> Option<String> {
        self.text.push_str(text);
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    /// The answer, if it is complete and not empty.
    pub fn finish(mut self, request: &ModelRequest, model: &Model) -> Result<ModelResponse, Failure> {
        if self.halves {
            self.join_halves();
        }
        let usage = self.usage(request);
        let offered = request.schema.as_ref().is_some_and(|shape| model.means(shape) == SchemaMode::Tool);
        if !offered {
            // The input of a tool that was not offered is not an answer.
            self.given.clear();
        }
        if self.stop == Some(StopReason::Other) {
            if !self.broken && reasons::is_end(&self.reason) {
                self.stop = Some(StopReason::End);
            } else {
                // Calls of a possibly incomplete answer are not carried out.
                self.calls.clear();
            }
        }
        let ended = self.stop != Some(StopReason::Length);
        let stop = match self.stop {
            _ if !self.refusal.is_empty() => StopReason::Refusal,
            Some(StopReason::End) if !self.calls.is_empty() => StopReason::Tools,
            Some(stop) => stop,
            None if self.closed => {
                return Err(cut(&self, request, model, "it ended without a stop reason"));
            }
            None => return Err(cut(&self, request, model, "the connection closed")),
        };
        let withheld = matches!(stop, StopReason::Refusal | StopReason::ContentFilter);
        if !withheld && self.calls.is_empty() && self.is_silent() {
            return Err(empty(&self, stop, request, model));
        }
        if self.broken && !self.tools {
            let why = format!("the provider ended it with `{}`", self.reason);
            return Err(cut(&self, request, model, &why));
        }
        let text = match stop {
            StopReason::Refusal if self.text.is_empty() => self.refusal,
            _ if self.given.is_empty() => self.text,
            _ if visible::is_blank(&self.text) => self.given,
            // The text next to the call may be another answer.
            _ => format!("{}\n{}", self.text, self.given),
        };
        let calls =
            self.calls.into_iter().enumerate().map(|(place, call)| call.whole(place, ended)).collect();
        Ok(ModelResponse {
            text,
            calls,
            stop,
            usage,
            model: self.model.unwrap_or_else(|| model.id.clone()),
            provider: model.provider.name.clone(),
            replayed: false,
        })
    }

    /// Whether there is no text; thoughts do not count.
    fn is_silent(&self) -> bool {
        let said = [&self.text, &self.given];
        said.iter().all(|text| visible::is_blank(&without_thoughts(text)))
    }

    fn join_halves(&mut self) {
        let inputs = self.calls.iter_mut().map(|call| &mut call.input);
        for text in [&mut self.text, &mut self.given, &mut self.refusal].into_iter().chain(inputs) {
            if surrogates::are_in(text) {
                *text = surrogates::joined(text);
            }
        }
    }
}

/// The failure of an interrupted answer. The received part was paid for and is counted.
pub(super) fn cut(draft: &PartialResponse, request: &ModelRequest, model: &Model, why: &str) -> Failure {
    let failure = Failure::transient(format!(
        "the answer of {} was interrupted after {} bytes: {why}",
        model.full_name(),
        draft.size()
    ));
    failure.spent(paid(draft, request, model))
}

/// Marks the `failure` of a request that was sent and not answered, whose cost only the provider knows.
pub(super) fn unanswered(failure: Failure) -> Failure {
    failure.cause(Cause::Unanswered)
}

/// Whether `failure` is of a request that was sent and not answered.
pub fn is_unanswered(failure: &Failure) -> bool {
    failure.cause == Some(Cause::Unanswered)
}

/// The cost of an incomplete answer; zero if nothing was received.
pub(super) fn paid(draft: &PartialResponse, request: &ModelRequest, model: &Model) -> Meter {
    if draft.figures == Figures::default() && draft.size() == 0 {
        return Meter::new();
    }
    model.meter(&draft.usage(request))
}

/// The failure of an empty answer. Unless the token limit is the cause, the request can be repeated.
fn empty(draft: &PartialResponse, stop: StopReason, request: &ModelRequest, model: &Model) -> Failure {
    let (usage, limit) = (draft.usage(request), model.most_output(request.max_tokens));
    let at_limit = stop == StopReason::Length || usage.tokens_out >= limit;
    let thought = draft.thoughts > 0 || !visible::is_blank(&draft.text);
    let what = if thought { "returned only thoughts and no answer" } else { "returned an empty answer" };
    let why = match (at_limit, draft.reason.as_str()) {
        (true, _) => format!(", and reached its limit of {limit} tokens"),
        (false, "") => String::new(),
        (false, reason) => format!(" (it ended with `{reason}`)"),
    };
    let failure = Failure::rejected(format!("{} {what}{why}", model.full_name()));
    let failure = failure.spent(model.meter(&usage)).detail(
        json!({"empty": true, "at_limit": at_limit, "thought": thought, "stop": stop, "reason": draft.reason}),
    );
    if at_limit {
        failure.hint("raise `max_tokens`, or reduce thinking with `effort`")
    } else {
        failure.cause(Cause::Empty)
    }
}

/// Whether `failure` is of an empty answer for which a repetition may succeed.
pub fn is_worth_asking_again(failure: &Failure) -> bool {
    failure.cause == Some(Cause::Empty)
}

/// The wire format of `kind`.
pub(super) fn of(kind: ProviderKind) -> &'static dyn WireFormat {
    match kind {
        ProviderKind::Openai => &super::openai::ChatCompletionsDialect,
        ProviderKind::OpenaiResponses => &super::responses::ResponsesDialect,
        ProviderKind::Anthropic => &super::anthropic::AnthropicDialect,
        ProviderKind::Gemini => &super::gemini::GeminiDialect,
        ProviderKind::Ollama => &super::ollama::OllamaDialect,
    }
}

/// Returns the error in `event`, if there is one.
pub(super) fn error(event: &Value) -> Result<(), Interrupted> {
    match event.get("error") {
        Some(error) if !error.is_null() => Err(Interrupted(error.clone())),
        _ => Ok(()),
    }
}

/// The number at `pointer`; zero if there is none.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pieces: &[(Option<u64>, &str, &str)]) -> String {
        let mut draft =
            PartialResponse { answer_tool: Some("answer".to_owned()), ..PartialResponse::default() };
        for (place, name, input) in pieces {
            draft.give(*place, name, input);
        }
        draft.given
    }

    #[test]
    fn the_inputs_of_all_calls_of_the_answer_s_tool_are_read_and_of_no_other() {
        let (first, second) = (Some(0), Some(1));
        let stream =
            [(first, "answer", ""), (first, "", "{\"a\""), (first, "", ":1}"), (second, "answer", "{}")];
        assert_eq!(given(&stream), "{\"a\":1}\n{}");
        assert_eq!(given(&[(None, "answer", "1"), (None, "answer", "2")]), "1\n2");
        assert_eq!(given(&[(None, "answer", "1"), (None, "", "2")]), "12");
        assert_eq!(given(&[(first, "answer", "1"), (first, "answer", "2")]), "12", "a name that is repeated");
        assert_eq!(given(&[(first, "other", "1"), (first, "", "2"), (second, "answer", "3")]), "3");
        assert_eq!(given(&[(first, "answer", "1"), (second, "other", "2")]), "1");
    }
}
