//! Options that a provider refuses and that are not essential: the request is repeated without them, and
//! later requests omit them.

use std::sync::Arc;

use serde_json::json;

use super::{ModelRequest, bounds, provider_error};
use crate::llm::registry::{Model, Provider, ProviderKind, SchemaMode};
use crate::value::Value;

/// A refused option, and the alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RefusedOption {
    /// Usage in a stream.
    Figures,
    /// A strict schema: it is sent as a non-strict one.
    Strict,
    /// A schema for the answer: it is requested with a tool or in words.
    Schema,
    /// The tool for a schema: it is requested in words.
    Tool,
    /// An optional feature.
    Wish(&'static str),
    /// The name of the token limit: this is the right one, or there is none.
    Limit(Option<&'static str>),
    /// A token limit above this one.
    Most(u64),
    /// The token limit for this request: this number fits, or it is unknown. Other requests may have more.
    Room(Option<u64>),
}

/// Error answer of a provider.
pub(super) struct ProviderReply<'a> {
    pub(super) status: u16,
    pub(super) body: &'a str,
    /// Body of the call.
    pub(super) sent: &'a Value,
}

/// Words of errors about unsupported options.
const REFUSALS: [&str; 21] = [
    "unsupported",
    "unrecognized",
    "unknown",
    "not supported",
    "not permitted",
    "not support",
    "doesn't support",
    "unexpected",
    "extra input",
    "extra field",
    "extra_forbidden",
    "not allowed",
    "deprecated",
    "no longer",
    "not available",
    "failed to",
    "invalid",
    "not implemented",
    "cannot",
    "can't",
    "too large",
];
/// Words of errors about numbers.
const SIZES: [&str; 14] = [
    "too large",
    "too high",
    "too big",
    "exceed",
    "at most",
    "maximum",
    "less than",
    "greater than",
    "more than",
    "range",
    "between",
    " > ",
    "<=",
    "limit",
];
/// Words for an answer schema.
const SCHEMAS: [&str; 13] = [
    "response_format",
    "json_schema",
    "json schema",
    "json mode",
    "grammar",
    "guided",
    "structured output",
    "structured_output",
    "text.format",
    "output_config",
    "output format",
    "response_schema",
    "responsejsonschema",
];
/// Optional features, with their words in requests and errors.
const WISHES: [(&str, &[&str]); 4] = [
    ("temperature", &["temperature"]),
    ("effort", &["reasoning_effort", "reasoning.effort", "reasoning effort", "thinking", "effort"]),
    ("seed", &["seed"]),
    ("cache_marks", &["cache_control"]),
];

impl RefusedOption {
    /// The refused option of `request` to `model`, if there is one.
    pub(super) fn in_answer(
        answered: &ProviderReply<'_>,
        request: &ModelRequest,
        model: &Model,
    ) -> Option<Self> {
        if !matches!(answered.status, 400 | 404 | 422 | 500 | 501) {
            return None;
        }
        let complaint = LowercaseError::new(answered);
        // llama.cpp returns this for features that it does not support, or only with a start option.
        if answered.status == 500 && !["grammar", "requires --"].iter().any(|word| complaint.says(word)) {
            return None;
        }
        complaint
            .figures()
            .or_else(|| complaint.limit(request, model))
            .or_else(|| complaint.schema(request, model).or_else(|| complaint.wish(request, model)))
    }

    /// `model` without the option.
    pub(super) fn applied(&self, model: &Model) -> Model {
        let mut model = model.clone();
        let can = &mut model.features;
        match self {
            Self::Figures => can.stream_options = false,
            Self::Strict => can.strict = false,
            Self::Schema => can.json_schema = false,
            Self::Tool => can.tools = false,
            Self::Wish(feature) => match *feature {
                "temperature" => can.temperature = false,
                "effort" => can.effort = false,
                "seed" => can.seed = false,
                _ => can.cache_marks = false,
            },
            Self::Limit(field) => {
                let max_tokens_field = field.unwrap_or_default().to_owned();
                model.provider = Arc::new(Provider { max_tokens_field, ..(*model.provider).clone() });
            }
            Self::Room(None) => return Self::Limit(None).applied(&model),
            Self::Most(most) | Self::Room(Some(most)) => {
                model.max_output = Some(model.max_output.map_or(*most, |known| known.min(*most)));
            }
        }
        model
    }

    /// Whether it also applies to later requests.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self, Self::Room(_))
    }

    /// Message for the user, with the setting that avoids the repetition.
    pub(super) fn told(&self, model: &Model) -> String {
        let (name, provider) = (model.full_name(), &model.provider.name);
        let feature = |what: &str, feature: &str, instead: &str| {
            format!(
                "{name} does not support {what}: repeated the request {instead}; to avoid this, set in atoll.toml: [models.\"{name}\"] features = {{ {feature} = false }}"
            )
        };
        let old = &model.provider.max_tokens_field;
        match self {
            Self::Figures => {
                feature("`stream_options`", "stream_options", "without it; missing usage is estimated")
            }
            Self::Strict => feature("a strict schema", "strict", "with a schema that is not strict"),
            Self::Schema => feature("a schema for its answer", "json_schema", "in another way"),
            Self::Tool => feature("a tool for its answer", "tools", "in words"),
            Self::Wish(wish) => feature(wish, wish, "without"),
            Self::Limit(Some(field)) => format!(
                "{name} does not support `{old}`: repeated the request with `{field}`; to avoid this, set in atoll.toml: [providers.{provider}] max_tokens_field = \"{field}\""
            ),
            Self::Limit(None) => format!(
                "{name} does not support `{old}`: repeated the request without a token limit; to avoid this, set in atoll.toml: [providers.{provider}] max_tokens_field = \"\""
            ),
            Self::Room(Some(room)) => {
                format!(
                    "the context of {name} has room for {room} tokens after this request: repeated the request with this limit"
                )
            }
            Self::Room(None) => {
                format!("{name} refuses this token limit: repeated the request without one")
            }
            Self::Most(most) => format!(
                "{name} writes at most {most} tokens: repeated the request with this limit; to avoid this, set in atoll.toml: [models.\"{name}\"] max_output = {most}"
            ),
        }
    }
}

/// An error message, in lower case.
struct LowercaseError<'a> {
    text: String,
    /// Message text.
    message: String,
    /// Named parameter.
    param: String,
    sent: &'a Value,
}

impl<'a> LowercaseError<'a> {
    fn new(answered: &ProviderReply<'a>) -> Self {
        let body: Value = serde_json::from_str(answered.body).unwrap_or_default();
        let body = body.get(0).unwrap_or(&body);
        let param = [&body["error"]["param"], &body["param"]].into_iter().find_map(Value::as_str);
        let (text, param) = (answered.body.to_lowercase(), param.unwrap_or_default().to_lowercase());
        let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
        let message = Some(provider_error::said(error)).filter(|said| !said.is_empty());
        let message = message.map_or_else(|| text.clone(), |said| said.to_lowercase());
        Self { text, message, param, sent: answered.sent }
    }

    fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    fn refuses(&self) -> bool {
        REFUSALS.iter().any(|word| self.says(word))
    }

    /// Whether it is about `field`, if that was sent.
    fn is_about(&self, field: &str) -> bool {
        self.param == field || (self.param.is_empty() || self.param.starts_with(field)) && self.says(field)
    }

    fn figures(&self) -> Option<RefusedOption> {
        let about = self.sent.get("stream_options").is_some() && self.is_about("stream_options");
        (about && self.refuses()).then_some(RefusedOption::Figures)
    }

    /// The refused token limit, by its name or its size. The wording does not matter if the limit is named.
    fn limit(&self, request: &ModelRequest, model: &Model) -> Option<RefusedOption> {
        let field = match model.provider.kind {
            ProviderKind::Openai => model.provider.max_tokens_field.as_str(),
            ProviderKind::OpenaiResponses if model.provider.max_tokens_field.is_empty() => "",
            ProviderKind::OpenaiResponses => "max_output_tokens",
            ProviderKind::Anthropic => "max_tokens",
            ProviderKind::Gemini => "maxoutputtokens",
            ProviderKind::Ollama => "",
        };
        if field.is_empty() {
            return None;
        }
        let limit = model.limit(request.max_tokens);
        if let Some(room) = bounds::room(&self.message, limit) {
            return Some(RefusedOption::Room(Some(room)));
        }
        if !self.is_about(field) || self.is_about_another(field) {
            return None;
        }
        let sized = SIZES.iter().any(|word| self.message.contains(word));
        if sized && let Some(most) = bounds::most(&self.message, limit) {
            return Some(RefusedOption::Most(most));
        }
        let other = if field == "max_tokens" { "max_completion_tokens" } else { "max_tokens" };
        match model.provider.kind {
            ProviderKind::Openai if !sized && self.says(other) => Some(RefusedOption::Limit(Some(other))),
            ProviderKind::Openai | ProviderKind::OpenaiResponses if !sized && self.refuses() => {
                Some(RefusedOption::Limit(None))
            }
            ProviderKind::Openai | ProviderKind::OpenaiResponses => Some(RefusedOption::Room(None)),
            _ => None,
        }
    }

    /// Whether it names another sent option before `field`.
    fn is_about_another(&self, field: &str) -> bool {
        let Some(at) = self.message.find(field) else { return false };
        let sent = self.sent.as_object().into_iter().flat_map(serde_json::Map::keys);
        // Names that are ordinary words may be about anything.
        let options =
            sent.filter(|key| key.contains('_') || matches!(key.as_str(), "temperature" | "seed" | "tools"));
        let before =
            |key: &String| key != field && self.message.find(key.as_str()).is_some_and(|other| other < at);
        self.param != field && options.into_iter().any(before)
    }

    fn schema(&self, request: &ModelRequest, model: &Model) -> Option<RefusedOption> {
        let shape = request.schema.as_ref()?;
        match model.means(shape) {
            SchemaMode::Native => {
                let own = model.provider.kind == ProviderKind::Ollama && self.says("format");
                if !self.refuses() || !own && !SCHEMAS.iter().any(|word| self.says(word)) {
                    return None;
                }
                let strict = ["/response_format/json_schema/strict", "/text/format/strict"];
                let strict = strict.iter().any(|place| self.sent.pointer(place) == Some(&json!(true)));
                let about = ["strict", "additionalproperties", "'required'", "invalid schema"]
                    .iter()
                    .any(|word| self.says(word));
                Some(if strict && about { RefusedOption::Strict } else { RefusedOption::Schema })
            }
            // Any error about tools is about this one, because no other was sent.
            SchemaMode::Tool => {
                let about =
                    request.tools.is_empty() && ["tool", "function"].iter().any(|word| self.says(word));
                about.then_some(RefusedOption::Tool)
            }
            SchemaMode::Words => None,
        }
    }

    fn wish(&self, request: &ModelRequest, model: &Model) -> Option<RefusedOption> {
        let can = model.features;
        let sent = |feature: &str| match feature {
            "temperature" => request.temperature.is_some() && can.temperature,
            "effort" => request.effort.is_some() && can.effort,
            "seed" => request.seed.is_some() && can.seed,
            _ => request.cache_prompt && can.cache_marks,
        };
        let about = |(feature, words): &(&'static str, &[&str])| {
            sent(feature) && words.iter().any(|word| self.is_about(word))
        };
        WISHES
            .iter()
            .find(|wish| self.refuses() && about(wish))
            .map(|(feature, _)| RefusedOption::Wish(feature))
    }
}
