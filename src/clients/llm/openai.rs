//! Chat completions, as OpenAI, llama.cpp, vLLM, Ollama, LM Studio and OpenRouter speak them.

use serde_json::{Map, json};

use super::dialect::{Call, Dialect, Draft, Interrupted, number};
use super::shape;
use crate::clients::llm::{Calling, Effort, Message, Request, Shape, Stop, Tool, ToolCall, Usage};
use crate::clients::registry::{Means, Model};
use crate::value::Value;

/// The dialect.
pub struct OpenAi;

impl Dialect for OpenAi {
    fn call(&self, request: &Request, model: &Model) -> Call {
        let mut body = head(request, model, turns);
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
            Some((Means::Tool, shape)) if request.tools.is_empty() => {
                put("tools", Some(tools(shape)));
                put("tool_choice", Some(json!({"type": "function", "function": {"name": shape.name}})));
            }
            Some((Means::Words | Means::Tool, _)) | None => {}
        }
        if !request.tools.is_empty() {
            put("tools", Some(request.tools.iter().map(function).collect()));
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
        if draft.tools {
            listed(&choice["delta"]).for_each(|call| take_call(draft, call));
        }
        // The one tool there can be otherwise is the one whose arguments are the answer.
        let said = ["/delta/content", "/delta/tool_calls/0/function/arguments"];
        let said = said.iter().take(if draft.tools { 1 } else { 2 });
        let added: String = said.filter_map(|place| choice.pointer(place).and_then(Value::as_str)).collect();
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
            if draft.tools {
                listed(&choice["message"]).for_each(|call| take_call(draft, call));
            } else {
                draft.text.push_str(text("/message/tool_calls/0/function/arguments"));
            }
            draft.refusal.push_str(text("/message/refusal"));
        }
        Ok(())
    }
}

/// What a body begins with: the model, the system's words and the turns as messages, and that they are to be streamed.
pub(super) fn head(
    request: &Request,
    model: &Model,
    turns: fn(&Message) -> Vec<Value>,
) -> Map<String, Value> {
    let system = request.system.iter().map(|text| json!({"role": "system", "content": text}));
    let messages: Value = system.chain(request.messages.iter().flat_map(turns)).collect();
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

/// A message, with a message before it for the result of each call.
fn turns(message: &Message) -> Vec<Value> {
    let brought = |id: &str, text: &str| json!({"role": "tool", "tool_call_id": id, "content": text});
    let mut turns: Vec<Value> = message.results.iter().map(|r| brought(&r.id, &r.text)).collect();
    let silent = message.content.is_empty() && message.images.is_empty();
    if !message.calls.is_empty() {
        let function = |call: &ToolCall| json!({"name": call.name, "arguments": call.object().to_string()});
        let calls: Value = message
            .calls
            .iter()
            .map(|call| json!({"id": call.id, "type": "function", "function": function(call)}))
            .collect();
        let mut said = if silent { json!({"role": message.role.word()}) } else { turn(message) };
        said["tool_calls"] = calls;
        turns.push(said);
    } else if turns.is_empty() || !silent {
        turns.push(turn(message));
    }
    turns
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

/// A tool as this vendor and its imitators describe one.
pub(super) fn function(tool: &Tool) -> Value {
    let Tool { name, description, schema } = tool;
    json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema}})
}

fn listed(said: &Value) -> impl Iterator<Item = &Value> {
    said["tool_calls"].as_array().into_iter().flatten()
}

/// Takes in a piece of a call. A new one has an id, or a place that none had before.
fn take_call(draft: &mut Draft, piece: &Value) {
    let text = |pointer: &str| piece.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (id, name) = (text("/id"), text("/function/name"));
    let place = piece["index"].as_u64().and_then(|place| usize::try_from(place).ok());
    let known = match place.and_then(|place| draft.calls.get(place)) {
        Some(call) => id.is_empty() || call.id == id,
        None => id.is_empty() && name.is_empty() && !draft.calls.is_empty(),
    };
    if !known {
        draft.calls.push(Calling { id: id.to_owned(), name: name.to_owned(), ..Calling::default() });
    }
    let last = draft.calls.len().saturating_sub(1);
    let place = place.filter(|place| known && *place <= last).unwrap_or(last);
    if let Some(call) = draft.calls.get_mut(place) {
        // Some servers send the input as what it is and not as text.
        match piece.pointer("/function/arguments") {
            Some(Value::String(more)) => call.input.push_str(more),
            Some(whole @ Value::Object(_)) => call.input = whole.to_string(),
            _ => {}
        }
    }
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
