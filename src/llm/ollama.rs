//! Wire format of Ollama's native chat, which, unlike its OpenAI-compatible interface, supports the context
//! size.

use serde_json::{Map, json};

use super::dialect::{self, Interrupted, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::openai::{bearer, function, head};
use super::reasons;
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{ChatMessage, Effort, ModelRequest, PartialToolCall, StopReason};
use crate::value::Value;

/// Wire format of Ollama's native chat.
pub struct OllamaDialect;

impl WireFormat for OllamaDialect {
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall {
        let mut body = head(request, model, turns);
        if let Some(effort) = request.effort.filter(|_| model.features.effort) {
            body.insert("think".to_owned(), think(effort, model));
        }
        if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Native)
        {
            body.insert("format".to_owned(), json!(shape.schema));
        }
        if !request.tools.is_empty() {
            body.insert("tools".to_owned(), request.tools.iter().map(function).collect());
        }
        body.insert("options".to_owned(), Value::Object(options(request, model)));
        let url = format!("{}/api/chat", root(&model.provider.base_url));
        ProviderCall { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        bearer(key)
    }

    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
        draft.figures.take(Figures::ollama(event));
        dialect::error(event)?;
        if let Some(model) = event["model"].as_str() {
            draft.model = Some(model.to_owned());
        }
        draft.thoughts += event.pointer("/message/thinking").and_then(Value::as_str).map_or(0, str::len);
        let added = draft.say(event.pointer("/message/content").and_then(Value::as_str).unwrap_or_default());
        if draft.tools {
            let calls = event.pointer("/message/tool_calls").and_then(Value::as_array);
            draft.calls.extend(calls.into_iter().flatten().map(calling));
        }
        if event["done"] == json!(true) {
            draft.closed = true;
            let reason = event["done_reason"].as_str().filter(|reason| !reason.is_empty()).unwrap_or("stop");
            let stop = if reason == "stop" { Some(StopReason::End) } else { reasons::stop(reason) };
            draft.stop = Some(stop.unwrap_or(StopReason::Other));
            // The model was only loaded or unloaded.
            draft.broken = stop.is_none() || matches!(reason, "load" | "unload");
            reason.clone_into(&mut draft.reason);
        }
        Ok(added)
    }

    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted> {
        self.event(draft, body).map(drop)
    }
}

/// Base address of the native API; addresses for the OpenAI-compatible interface end in `/v1`.
pub(super) fn root(base: &str) -> &str {
    base.strip_suffix("/v1").unwrap_or(base)
}

/// Parses a tool call, which is always complete and has no id.
fn calling(call: &Value) -> PartialToolCall {
    let name = call.pointer("/function/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let input = call.pointer("/function/arguments").map(Value::to_string).unwrap_or_default();
    PartialToolCall { name, input, ..PartialToolCall::default() }
}

/// The messages for a turn: one for the result of each call, then the text.
fn turns(message: &ChatMessage) -> Vec<Value> {
    let brought = |name: &str, text: &str| json!({"role": "tool", "tool_name": name, "content": text});
    let mut turns: Vec<Value> = message.results.iter().map(|r| brought(&r.name, &r.text)).collect();
    if turns.is_empty() || !message.content.is_empty() || !message.images.is_empty() {
        let mut said = turn(message);
        if !message.calls.is_empty() {
            let function = |name: &str, input: Value| json!({"function": {"name": name, "arguments": input}});
            said["tool_calls"] =
                message.calls.iter().map(|call| function(&call.name, call.object())).collect();
        }
        turns.push(said);
    }
    turns
}

fn turn(message: &ChatMessage) -> Value {
    let mut turn = json!({"role": message.role.word(), "content": message.content});
    if !message.images.is_empty() {
        turn["images"] = message.images.iter().map(|image| json!(image.data)).collect();
    }
    turn
}

/// The thinking setting: only one family of models takes a keyword, the others a boolean.
fn think(effort: Effort, model: &Model) -> Value {
    match effort {
        Effort::Minimal => json!(false),
        _ if !model.id.contains("gpt-oss") => json!(true),
        Effort::Low => json!("low"),
        Effort::Medium => json!("medium"),
        Effort::High | Effort::Max => json!("high"),
    }
}

/// Options with the context size. Without it, the server uses its default and silently truncates longer
/// requests.
fn options(request: &ModelRequest, model: &Model) -> Map<String, Value> {
    let mut options = Map::new();
    options.insert("num_predict".to_owned(), json!(model.limit(request.max_tokens)));
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(key.to_owned(), value);
        }
    };
    let can = model.features;
    put("num_ctx", model.context.map(|tokens| json!(tokens)));
    put("temperature", request.temperature.filter(|_| can.temperature).map(|t| json!(t)));
    put("seed", request.seed.filter(|_| can.seed).map(|s| json!(s)));
    put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    options
}
