//! Wire format of chat completions, as in OpenAI, llama.cpp, vLLM, Ollama, LM Studio and OpenRouter.

use serde_json::{Map, json};

use super::dialect::{Interrupted, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::{reasons, shape};
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{
    ChatMessage, Effort, ModelRequest, PartialToolCall, ResponseSchema, StopReason, Tool, ToolCall,
};
use crate::value::Value;

/// Wire format of chat completions.
pub struct ChatCompletionsDialect;

impl WireFormat for ChatCompletionsDialect {
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall {
        let mut body = head(request, model, turns);
        let can = model.features;
        if can.stream_options {
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        let (most, limit) = (model.limit(request.max_tokens), &model.provider.max_tokens_field);
        if !limit.is_empty() {
            body.insert(limit.clone(), json!(most));
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        put("temperature", request.temperature.filter(|_| can.temperature).map(|t| json!(t)));
        put("reasoning_effort", request.effort.filter(|_| can.effort).map(|e| json!(effort(e))));
        put("seed", request.seed.filter(|_| can.seed).map(|s| json!(s)));
        put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
        match request.schema.as_ref().map(|shape| (model.means(shape), shape)) {
            Some((SchemaMode::Native, shape)) => put("response_format", Some(format(shape, can.strict))),
            Some((SchemaMode::Tool, shape)) if request.tools.is_empty() => {
                put("tools", Some(tools(shape)));
                put("tool_choice", Some(json!({"type": "function", "function": {"name": shape.name}})));
            }
            Some((SchemaMode::Words | SchemaMode::Tool, _)) | None => {}
        }
        if !request.tools.is_empty() {
            put("tools", Some(request.tools.iter().map(function).collect()));
        }
        let url = format!("{}/chat/completions", model.provider.base_url);
        ProviderCall { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        bearer(key)
    }

    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
        if event.as_str() == Some("[DONE]") {
            draft.closed = true;
            return Ok(None);
        }
        // Events after the end do not belong to the answer.
        if draft.closed { Ok(None) } else { take(draft, event) }
    }

    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted> {
        take(draft, body).map(drop)
    }
}

/// Processes a piece of an answer or a complete one, which differ in the location of the message; returns
/// its text.
fn take(draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
    if let Some(model) = event.get("model").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        draft.model = Some(model.to_owned());
    }
    // One answer is requested; additional ones are ignored.
    let choices = event["choices"].as_array().into_iter().flatten();
    let choice = choices.into_iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0);
    count(draft, event, choice);
    error(event)?;
    let Some(choice) = choice else { return Ok(None) };
    error(choice)?;
    stop(draft, choice)?;
    match (&choice["delta"], &choice["message"]) {
        (delta, _) if says(delta) => {
            error(delta)?;
            draft.pieces = true;
            Ok(say(draft, delta))
        }
        // Some servers also send the whole message with each piece or at the end.
        (_, message) if says(message) => {
            error(message)?;
            Ok(if draft.pieces { rest(draft, message) } else { say(draft, message) })
        }
        _ => Ok(None),
    }
}

/// Whether a message or a piece of one has any content.
fn says(said: &Value) -> bool {
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    said.as_object().is_some_and(|said| said.iter().any(|(key, value)| key != "role" && is_something(value)))
}

/// Adds the part of a complete message that was not received in pieces.
fn rest(draft: &mut PartialResponse, message: &Value) -> Option<String> {
    let whole = content(&mut PartialResponse::default(), &message["content"]);
    let rest = whole.strip_prefix(&draft.text)?.to_owned();
    draft.say(&rest)
}

/// Reads the usage, which is in the event, in the choice (Moonshot), or under a vendor-specific name.
fn count(draft: &mut PartialResponse, event: &Value, choice: Option<&Value>) {
    let places =
        [event.get("usage"), choice.and_then(|choice| choice.get("usage")), event.pointer("/x_groq/usage")];
    for usage in places.into_iter().flatten().filter(|usage| usage.is_object()) {
        draft.figures.take(Figures::openai(usage));
    }
    if draft.figures == Figures::default()
        && let Some(timings) = event.get("timings")
    {
        draft.figures.take(Figures::timings(timings));
    }
}

/// Processes the content of a message or a piece of one.
fn say(draft: &mut PartialResponse, said: &Value) -> Option<String> {
    let thoughts = ["reasoning_content", "reasoning"].iter().find_map(|key| said[*key].as_str());
    draft.thoughts += thoughts.map_or(0, str::len);
    draft.refusal.push_str(said["refusal"].as_str().unwrap_or_default());
    let text = content(draft, &said["content"]);
    let added = draft.say(&text);
    let calls = said["tool_calls"].as_array().into_iter().flatten();
    if draft.tools {
        calls.for_each(|call| take_call(draft, call));
        if said["function_call"].is_object() {
            // The legacy form before tools: one call without an id.
            take_call(draft, &json!({"index": 0, "function": said["function_call"]}));
        }
        return added;
    }
    // Otherwise, the only possible tool is the one whose arguments are the answer.
    let old = Some((Some(0), &said["function_call"])).filter(|(_, function)| function.is_object());
    let inputs = calls.map(|call| (call["index"].as_u64(), &call["function"])).chain(old);
    let given = inputs.filter_map(|(place, function)| {
        let name = function["name"].as_str().unwrap_or_default();
        match &function["arguments"] {
            Value::String(text) => draft.give(place, name, text),
            table @ Value::Object(_) => draft.give(place, name, &table.to_string()),
            _ => draft.give(place, name, ""),
        }
    });
    given.reduce(|all, more| all + &more).or(added)
}

/// The text in `content`, which is a text, or a list of parts, some of which are thoughts.
fn content(draft: &mut PartialResponse, content: &Value) -> String {
    let parts = match content {
        Value::String(text) => return text.clone(),
        Value::Array(parts) => parts,
        _ => return String::new(),
    };
    let mut text = String::new();
    for part in parts {
        match part["type"].as_str().unwrap_or("text") {
            "thinking" | "reasoning" => draft.thoughts += part.to_string().len(),
            "refusal" => draft.refusal.push_str(part["refusal"].as_str().unwrap_or_default()),
            _ => text.push_str(part.as_str().or_else(|| part["text"].as_str()).unwrap_or_default()),
        }
    }
    text
}

/// The common beginning of a body: model, system text and turns as messages, and streaming.
pub(super) fn head(
    request: &ModelRequest,
    model: &Model,
    turns: fn(&ChatMessage) -> Vec<Value>,
) -> Map<String, Value> {
    let system = request.system.iter().map(|text| json!({"role": "system", "content": text}));
    let messages: Value = system.chain(request.messages.iter().flat_map(turns)).collect();
    Map::from_iter([
        ("model".to_owned(), json!(model.id)),
        ("messages".to_owned(), messages),
        ("stream".to_owned(), json!(true)),
    ])
}

/// The keyword of this vendor, whose maximum is `high`.
pub(super) fn effort(effort: Effort) -> &'static str {
    if effort == Effort::Max { "high" } else { effort.word() }
}

/// The header for a plain key.
pub(super) fn bearer(key: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {key}"))
}

/// The messages for a turn: one for the result of each call, then the text.
fn turns(message: &ChatMessage) -> Vec<Value> {
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

/// A message. Plain text is sent as text, which every server supports.
fn turn(message: &ChatMessage) -> Value {
    if message.images.is_empty() {
        return json!({"role": message.role.word(), "content": message.content});
    }
    let images =
        message.images.iter().map(|image| json!({"type": "image_url", "image_url": {"url": image.url()}}));
    let parts: Value = images.chain([json!({"type": "text", "text": message.content})]).collect();
    json!({"role": message.role.word(), "content": parts})
}

fn format(shape: &ResponseSchema, may_be_strict: bool) -> Value {
    let strict = may_be_strict && shape::is_strict(&shape.schema);
    json!({"type": "json_schema", "json_schema": {"name": shape.name, "schema": shape.schema, "strict": strict}})
}

fn tools(shape: &ResponseSchema) -> Value {
    let about = "Gives the answer.";
    json!([{"type": "function", "function": {"name": shape.name, "description": about, "parameters": shape.schema}}])
}

/// A tool in the form of this vendor and compatible servers.
pub(super) fn function(tool: &Tool) -> Value {
    let Tool { name, description, schema } = tool;
    json!({"type": "function", "function": {"name": name, "description": description, "parameters": schema}})
}

/// Processes a piece of a tool call. A new call has an id or a new index.
fn take_call(draft: &mut PartialResponse, piece: &Value) {
    let text = |pointer: &str| piece.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (id, name) = (text("/id"), text("/function/name"));
    let place = piece["index"].as_u64().and_then(|place| usize::try_from(place).ok());
    let known = match place.and_then(|place| draft.calls.get(place)) {
        Some(call) => id.is_empty() || call.id == id,
        None => id.is_empty() && name.is_empty() && !draft.calls.is_empty(),
    };
    if !known {
        draft.calls.push(PartialToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            ..PartialToolCall::default()
        });
    }
    let last = draft.calls.len().saturating_sub(1);
    let place = place.filter(|place| known && *place <= last).unwrap_or(last);
    if let Some(call) = draft.calls.get_mut(place) {
        // Some servers send the input as JSON instead of text.
        match piece.pointer("/function/arguments") {
            Some(Value::String(more)) => call.input.push_str(more),
            Some(whole @ Value::Object(_)) => call.input = whole.to_string(),
            _ => {}
        }
    }
}

/// Returns the error in `event`, if there is one. Some servers put it into the event itself.
fn error(event: &Value) -> Result<(), Interrupted> {
    match event.get("error") {
        Some(error) if !error.is_null() => Err(Interrupted(error.clone())),
        _ if event["object"] == "error" || event["type"] == "error" => Err(Interrupted(event.clone())),
        _ => match &event["errors"] {
            Value::Array(errors) if !errors.is_empty() => Err(Interrupted(errors[0].clone())),
            // An error without an error field (FastAPI).
            _ if event["detail"].is_string() && event.get("choices").is_none() => {
                Err(Interrupted(event.clone()))
            }
            _ => Ok(()),
        },
    }
}

/// Reads the stop reason. An empty reason counts as missing.
fn stop(draft: &mut PartialResponse, choice: &Value) -> Result<(), Interrupted> {
    let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !matches!(*reason, "" | "null"))
    else {
        return Ok(());
    };
    let stop = match reason.to_ascii_lowercase().as_str() {
        "stop" | "tool_calls" | "function_call" => StopReason::End,
        other => reasons::stop(other).ok_or_else(|| {
            let own = choice["native_finish_reason"].as_str().filter(|own| *own != reason);
            let own = own.map(|own| format!(" ({own})")).unwrap_or_default();
            let message = format!("the answer ended with finish_reason `{reason}`{own}");
            Interrupted(json!({"code": 502, "message": message}))
        })?,
    };
    draft.stop = Some(stop);
    reason.clone_into(&mut draft.reason);
    Ok(())
}
