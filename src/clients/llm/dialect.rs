use crate::clients::llm::{Answer, Calling, Request, Stop, Usage};
use crate::clients::registry::{Kind, Model};
use crate::value::Value;
use crate::verb::Failure;

/// One wire format: what to send and how to read what comes back. Pure, so that a batch can use it as well.
pub trait Dialect: Send + Sync + 'static {
    /// The call that asks `request` of `model`, as a stream.
    fn call(&self, request: &Request, model: &Model) -> Call;

    /// The header that carries the key.
    fn key_header(&self, key: &str) -> (&'static str, String);

    /// Takes in one event of a stream; the text it adds is returned.
    fn event(&self, draft: &mut Draft, event: &Value) -> Result<Option<String>, Interrupted>;

    /// Takes in a whole answer, for servers that do not stream.
    fn whole(&self, draft: &mut Draft, body: &Value) -> Result<(), Interrupted>;
}

/// What to send, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Where to.
    pub url: String,
    /// Headers beside the key and the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Value,
}

/// The error object that a provider sent instead of (the rest of) an answer.
#[derive(Clone, Debug)]
pub struct Interrupted(pub Value);

/// An answer while it comes in.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The text so far.
    pub text: String,
    /// What the model said instead of an answer.
    pub refusal: String,
    /// Why it ended, once it has.
    pub stop: Option<Stop>,
    /// Whether the end of the stream was announced.
    pub closed: bool,
    /// What the provider counted so far.
    pub usage: Option<Usage>,
    /// The model as the provider calls it.
    pub model: Option<String>,
    /// Whether tools were offered: else the input of the one tool there can be is the answer.
    pub tools: bool,
    /// Calls of tools, the last of them perhaps still coming in.
    pub calls: Vec<Calling>,
}

impl Draft {
    /// Nothing yet of the answer to `request`.
    pub fn of(request: &Request) -> Self {
        Self { tools: !request.tools.is_empty(), ..Self::default() }
    }

    /// Usage as counted, or an estimate.
    pub fn usage(&self, request: &Request) -> Usage {
        self.usage.unwrap_or_else(|| Usage::estimate(request.size(), self.size()))
    }

    /// Length in bytes of what has come in.
    pub fn size(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.name.len() + call.input.len()).sum::<usize>();
        self.text.len() + self.refusal.len() + calls
    }

    /// The answer, if it came to its end.
    pub fn finish(self, request: &Request, model: &Model) -> Result<Answer, Failure> {
        let usage = self.usage(request);
        let stop = match self.stop {
            _ if !self.refusal.is_empty() => Stop::Refusal,
            Some(Stop::End | Stop::Other) if !self.calls.is_empty() => Stop::Tools,
            Some(stop) => stop,
            None if self.closed && !self.calls.is_empty() => Stop::Tools,
            None if self.closed && !self.text.is_empty() => Stop::End,
            None => return Err(cut(&self, request, model, "the connection closed")),
        };
        let text = if self.text.is_empty() && stop == Stop::Refusal { self.refusal } else { self.text };
        let calls = self.calls.into_iter().enumerate().map(|(place, call)| call.whole(place)).collect();
        Ok(Answer {
            text,
            calls,
            stop,
            usage,
            model: self.model.unwrap_or_else(|| model.id.clone()),
            provider: model.provider.name.clone(),
            replayed: false,
        })
    }
}

/// The failure of an answer that broke off; what had come in was paid for and is counted.
pub(super) fn cut(draft: &Draft, request: &Request, model: &Model, why: &str) -> Failure {
    let failure = Failure::transient(format!(
        "the answer of {} broke off after {} bytes: {why}",
        model.full_name(),
        draft.size()
    ));
    if draft.usage.is_none() && draft.size() == 0 {
        return failure;
    }
    failure.spent(model.meter(&draft.usage(request)))
}

/// The dialect that `kind` stands for.
pub(super) fn of(kind: Kind) -> &'static dyn Dialect {
    match kind {
        Kind::Openai => &super::openai::OpenAi,
        Kind::OpenaiResponses => &super::responses::Responses,
        Kind::Anthropic => &super::anthropic::Anthropic,
        Kind::Gemini => &super::gemini::Gemini,
        Kind::Ollama => &super::ollama::Ollama,
    }
}

/// The number at `pointer`, zero where there is none.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}
