//! Chat completions, as OpenAI, llama.cpp, vLLM, Ollama, LM Studio and OpenRouter speak them.

use serde_json::{Map, json};

use super::dialect::{Call, Dialect, Draft, Interrupted, number};
use super::shape;
use crate::clients::llm::{Effort, Message, Request, Shape, Stop, Usage};
use crate::clients::registry::{Means, Model};
use crate::value::Value;

/// The dialect.
pub struct OpenAi;

impl Dialect for OpenAi {
    fn call(&self, request: &Request, model: &Model) -> Call {
        let mut body = head(request, model, turn);
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        let most = model.limit(request.max_tokens);
        body.insert(model.provider.max_tokens_field.clone(), json!(most));
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        let can = model.features;
        put("temperature", request.temperature.filter(|_| can.temperature).map(|t| json!(t)));
        put("reasoning_effort", request.effort.filter(|_| can.effort).map(|e| json!(effort(e))));
        put("seed", request.seed.filter(|_| can.seed).map(|s| json!(s)));
        put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
        match request.schema.as_ref().map(|shape| (model.means(shape), shape)) {
            Some((Means::Native, shape)) => put("response_format", Some(format(shape))),
            Some((Means::Tool, shape)) => {
                put("tools", Some(tools(shape)));
                put("tool_choice", Some(json!({"type": "function", "function": {"name": shape.name}})));
            }
            Some((Means::Words, _)) | None => {}
        }
        let url = format!("{}/chat/completions", model.provider.base_url);
        Call { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        bearer(key)
    }

    fn event(&self, draft: &mut Draft, event: &Value) -> Result<Option<String>, Interrupted> {
        if event.as_str() == Some("[DONE]") {
            draft.closed = true;
            return Ok(None);
        }
        error(event)?;
        take(draft, event);
        let Some(choice) = event.pointer("/choices/0") else { return Ok(None) };
        stop(draft, choice);
        if let Some(refusal) = choice.pointer("/delta/refusal").and_then(Value::as_str) {
            draft.refusal.push_str(refusal);
        }
        // The one tool there can be is the one whose arguments are the answer.
        let said = ["/delta/content", "/delta/tool_calls/0/function/arguments"];
        let added: String =
            said.iter().filter_map(|place| choice.pointer(place).and_then(Value::as_str)).collect();
        draft.text.push_str(&added);
        Ok(Some(added).filter(|text| !text.is_empty()))
    }

    fn whole(&self, draft: &mut Draft, body: &Value) -> Result<(), Interrupted> {
        error(body)?;
        take(draft, body);
        if let Some(choice) = body.pointer("/choices/0") {
            stop(draft, choice);
            let text = |pointer| choice.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            draft.text.push_str(text("/message/content"));
            draft.text.push_str(text("/message/tool_calls/0/function/arguments"));
            draft.refusal.push_str(text("/message/refusal"));
        }
        Ok(())
    }
}

/// What a body begins with: the model, the system's words and the turns as messages, and that they are to be streamed.
pub(super) fn head(request: &Request, model: &Model, turn: fn(&Message) -> Value) -> Map<String, Value> {
    let system = request.system.iter().map(|text| json!({"role": "system", "content": text}));
    let messages: Value = system.chain(request.messages.iter().map(turn)).collect();
    Map::from_iter([
        ("model".to_owned(), json!(model.id)),
        ("messages".to_owned(), messages),
        ("stream".to_owned(), json!(true)),
    ])
}

/// This vendor's word for it: it has no more than `high`.
pub(super) fn effort(effort: Effort) -> &'static str {
    if effort == Effort::Max { "high" } else { effort.word() }
}

/// The header of a key that is handed over as it is.
pub(super) fn bearer(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}

/// Text alone goes as text, which every server understands.
fn turn(message: &Message) -> Value {
    if message.images.is_empty() {
        return json!({"role": message.role.word(), "content": message.content});
    }
    let images =
        message.images.iter().map(|image| json!({"type": "image_url", "image_url": {"url": image.url()}}));
    let parts: Value = images.chain([json!({"type": "text", "text": message.content})]).collect();
    json!({"role": message.role.word(), "content": parts})
}

fn format(shape: &Shape) -> Value {
    let strict = shape::is_strict(&shape.schema);
    json!({"type": "json_schema", "json_schema": {"name": shape.name, "schema": shape.schema, "strict": strict}})
}

fn tools(shape: &Shape) -> Value {
    let about = "Gives the answer.";
    json!([{"type": "function", "function": {"name": shape.name, "description": about, "parameters": shape.schema}}])
}

fn error(event: &Value) -> Result<(), Interrupted> {
    match event.get("error") {
        Some(error) if !error.is_null() => Err(Interrupted(error.clone())),
        _ => Ok(()),
    }
}

fn take(draft: &mut Draft, event: &Value) {
    if let Some(model) = event.get("model").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        draft.model = Some(model.to_owned());
    }
    if let Some(usage) = event.get("usage").filter(|usage| usage.is_object()) {
        draft.usage = Some(Usage {
            tokens_in: number(usage, "/prompt_tokens"),
            tokens_out: number(usage, "/completion_tokens"),
            cache_read: number(usage, "/prompt_tokens_details/cached_tokens"),
            cache_write: number(usage, "/prompt_tokens_details/cache_write_tokens"),
            ..Usage::default()
        });
    }
}

fn stop(draft: &mut Draft, choice: &Value) {
    if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
        draft.stop = Some(match reason {
            "stop" | "tool_calls" => Stop::End,
            "length" => Stop::Length,
            "content_filter" => Stop::ContentFilter,
            _ => Stop::Other,
        });
    }
}
