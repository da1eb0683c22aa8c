//! Wire format of Gemini's `generateContent`.

use serde_json::{Map, json};

use super::dialect::{self, Interrupted, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::shape;
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{ChatMessage, Effort, ModelRequest, PartialToolCall, Role, StopReason, Tool};
use crate::value::Value;

/// Wire format of Gemini's `generateContent`.
pub struct GeminiDialect;

impl WireFormat for GeminiDialect {
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall {
        let mut body = Map::new();
        body.insert("contents".to_owned(), request.messages.iter().map(turn).collect());
        if let Some(system) = &request.system {
            body.insert("systemInstruction".to_owned(), json!({"parts": [{"text": system}]}));
        }
        body.insert("generationConfig".to_owned(), Value::Object(config(request, model)));
        if !request.tools.is_empty() {
            let declared: Value = request.tools.iter().map(declared).collect();
            body.insert("tools".to_owned(), json!([{ "functionDeclarations": declared }]));
        }
        let base = &model.provider.base_url;
        let url = format!("{base}/models/{}:streamGenerateContent?alt=sse", model.id);
        ProviderCall { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("x-goog-api-key", key.to_owned())
    }

    /// A stream has no final event: the last event has a reason, and then the connection is closed.
    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
        draft.figures.take(Figures::gemini(&event["usageMetadata"]));
        dialect::error(event)?;
        if let Some(model) = event["modelVersion"].as_str() {
            draft.model = Some(model.to_owned());
        }
        if let Some(reason) = event.pointer("/promptFeedback/blockReason").filter(|reason| !reason.is_null())
        {
            draft.stop = Some(StopReason::ContentFilter);
            reason.as_str().unwrap_or_default().clone_into(&mut draft.reason);
        }
        let Some(candidate) = event.pointer("/candidates/0") else { return Ok(None) };
        if let Some(reason) = candidate["finishReason"].as_str() {
            let stop = stop(reason);
            draft.stop = Some(stop);
            draft.broken = stop == StopReason::Other;
            draft.reason = match candidate["finishMessage"].as_str() {
                Some(message) => format!("{reason}: {message}"),
                None => reason.to_owned(),
            };
        }
        let parts = || candidate.pointer("/content/parts").and_then(Value::as_array).into_iter().flatten();
        if draft.tools {
            draft.calls.extend(parts().filter_map(calling));
        }
        let (thoughts, said): (Vec<_>, Vec<_>) = parts().partition(|part| part["thought"] == json!(true));
        let text = |parts: Vec<&Value>| {
            parts.into_iter().filter_map(|part| part["text"].as_str()).collect::<String>()
        };
        draft.thoughts += text(thoughts).len();
        Ok(draft.say(&text(said)))
    }

    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted> {
        // A server without event streams sends the events as a list.
        match body {
            Value::Array(events) => events.iter().try_for_each(|event| self.event(draft, event).map(drop)),
            event => self.event(draft, event).map(drop),
        }
    }
}

/// Parses a tool call, which is always complete.
fn calling(part: &Value) -> Option<PartialToolCall> {
    let call = part.get("functionCall")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(PartialToolCall {
        id: text(&call["id"]),
        name: text(&call["name"]),
        input: call.get("args").map(Value::to_string).unwrap_or_default(),
        signature: part["thoughtSignature"].as_str().map(str::to_owned),
        ..PartialToolCall::default()
    })
}

fn declared(tool: &Tool) -> Value {
    let schema = shape::in_words(&tool.schema, &shape::GEMINI);
    json!({"name": tool.name, "description": tool.description, "parametersJsonSchema": schema})
}

fn turn(message: &ChatMessage) -> Value {
    let role = if message.role == Role::User { "user" } else { "model" };
    let images = message
        .images
        .iter()
        .map(|image| json!({"inlineData": {"mimeType": image.media_type, "data": image.data}}));
    let results = message.results.iter().map(|r| {
        let key = if r.failed { "error" } else { "output" };
        json!({"functionResponse": {"name": r.name, "response": { key: r.text }}})
    });
    let calls = message.calls.iter().map(|call| {
        let mut part = json!({"functionCall": {"name": call.name, "args": call.object()}});
        if let Some(signature) = &call.signature {
            part["thoughtSignature"] = json!(signature);
        }
        part
    });
    let alone = message.results.is_empty() && message.calls.is_empty();
    let text = (alone || !message.content.is_empty()).then(|| json!({"text": message.content}));
    let parts: Value = results.chain(images).chain(text).chain(calls).collect();
    json!({"role": role, "parts": parts})
}

fn config(request: &ModelRequest, model: &Model) -> Map<String, Value> {
    let mut config = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    let can = model.features;
    put("maxOutputTokens", Some(json!(model.limit(request.max_tokens))));
    put("temperature", request.temperature.filter(|_| can.temperature).map(|t| json!(t)));
    put("seed", request.seed.filter(|_| can.seed).map(|s| json!(s)));
    put("stopSequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
    let effort = request.effort.filter(|_| can.effort);
    put("thinkingConfig", effort.map(|effort| thinking(effort, model)));
    if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Native) {
        put("responseMimeType", Some(json!("application/json")));
        put("responseJsonSchema", Some(shape::in_words(&shape.schema, &shape::GEMINI)));
    }
    config
}

/// The thinking setting: models before 3 take a number of tokens, later ones a keyword.
fn thinking(effort: Effort, model: &Model) -> Value {
    if model.id.starts_with("gemini-2") {
        let budget = match effort {
            Effort::Minimal => 512,
            Effort::Low => 1_024,
            Effort::Medium => 8_192,
            Effort::High => 16_384,
            Effort::Max => 24_576,
        };
        return json!({ "thinkingBudget": budget });
    }
    json!({"thinkingLevel": match effort {
        Effort::Minimal | Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::Max => "HIGH",
    }})
}

fn stop(reason: &str) -> StopReason {
    match reason {
        "STOP" => StopReason::End,
        "MAX_TOKENS" => StopReason::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "MODEL_ARMOR" => {
            StopReason::ContentFilter
        }
        image if image.starts_with("IMAGE_") => StopReason::ContentFilter,
        // `OTHER`, `MALFORMED_FUNCTION_CALL`, …: the answer is incomplete.
        _ => StopReason::Other,
    }
}
