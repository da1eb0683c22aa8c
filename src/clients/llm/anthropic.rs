//! Anthropic messages.

use serde_json::{Map, json};

use super::dialect::{Call, Dialect, Draft, Interrupted};
use super::shape;
use crate::clients::llm::{Calling, Effort, Message, Request, Stop, Usage};
use crate::clients::registry::{Means, Model};
use crate::value::Value;

/// The dialect.
pub struct Anthropic;

impl Dialect for Anthropic {
    fn call(&self, request: &Request, model: &Model) -> Call {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model.id));
        body.insert("max_tokens".to_owned(), json!(model.limit(request.max_tokens)));
        body.insert("stream".to_owned(), json!(true));
        // The mark covers everything up to it: the system text where there is one, else the first message.
        let marks = request.cache_prompt && model.features.cache_marks;
        if let Some(system) = &request.system {
            body.insert("system".to_owned(), json!([block(system, marks)]));
        }
        let mark_message = marks && request.system.is_none();
        // A conversation with tools is read again at every turn: a second mark covers all that has been said.
        let last = request.messages.len().checked_sub(1).filter(|_| marks && !request.tools.is_empty());
        let turns = request
            .messages
            .iter()
            .enumerate()
            .map(|(i, message)| turn(message, mark_message && i == 0 || Some(i) == last));
        body.insert("messages".to_owned(), turns.collect());
        if let Some(temperature) = request.temperature.filter(|_| model.features.temperature) {
            body.insert("temperature".to_owned(), json!(temperature.clamp(0.0, 1.0)));
        }
        if !request.stop.is_empty() {
            body.insert("stop_sequences".to_owned(), json!(request.stop));
        }
        let config = output_config(request, model);
        if !config.is_empty() {
            body.insert("output_config".to_owned(), Value::Object(config));
        }
        let tool = |name: &str, about: &str, schema: &Value| json!({"name": name, "description": about, "input_schema": schema});
        if !request.tools.is_empty() {
            let tools = request.tools.iter().map(|t| tool(&t.name, &t.description, &t.schema));
            body.insert("tools".to_owned(), tools.collect());
        } else if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == Means::Tool)
        {
            body.insert("tools".to_owned(), json!([tool(&shape.name, "Gives the answer.", &shape.schema)]));
            body.insert("tool_choice".to_owned(), json!({"type": "tool", "name": shape.name}));
        }
        let base = &model.provider.base_url;
        // The vendor's SDKs take the address without the version, ours carry it: both are right.
        let url =
            if base.ends_with("/v1") { format!("{base}/messages") } else { format!("{base}/v1/messages") };
        Call { url, headers: vec![("anthropic-version", "2023-06-01".to_owned())], body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("x-api-key", key.to_owned())
    }

    fn event(&self, draft: &mut Draft, event: &Value) -> Result<Option<String>, Interrupted> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        match event["type"].as_str().unwrap_or_default() {
            "error" => return Err(Interrupted(event["error"].clone())),
            "message_start" => {
                draft.model = text("/message/model").map(str::to_owned);
                usage(draft, &event["message"]["usage"]);
            }
            "content_block_start" if draft.tools && event["content_block"]["type"] == "tool_use" => {
                draft.calls.push(calling(&event["content_block"], String::new()));
            }
            "content_block_delta" => {
                if let (true, Some(input)) = (draft.tools, text("/delta/partial_json")) {
                    draft.calls.last_mut().into_iter().for_each(|call| call.input.push_str(input));
                    return Ok(None);
                }
                // The one tool there can be is the one whose input is the answer.
                if let Some(text) = text("/delta/text").or_else(|| text("/delta/partial_json")) {
                    draft.text.push_str(text);
                    return Ok(Some(text.to_owned()));
                }
            }
            "message_delta" => {
                draft.stop = text("/delta/stop_reason").map(stop).or(draft.stop);
                usage(draft, &event["usage"]);
            }
            "message_stop" => draft.closed = true,
            _ => {}
        }
        Ok(None)
    }

    fn whole(&self, draft: &mut Draft, body: &Value) -> Result<(), Interrupted> {
        if body["type"] == "error" {
            return Err(Interrupted(body["error"].clone()));
        }
        draft.model = body["model"].as_str().map(str::to_owned);
        draft.stop = body["stop_reason"].as_str().map(stop);
        usage(draft, &body["usage"]);
        for block in body["content"].as_array().into_iter().flatten() {
            match block["type"].as_str().unwrap_or_default() {
                "text" => draft.text.push_str(block["text"].as_str().unwrap_or_default()),
                "tool_use" if draft.tools => draft.calls.push(calling(block, block["input"].to_string())),
                "tool_use" => draft.text.push_str(&block["input"].to_string()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn block(text: &str, marked: bool) -> Value {
    let mut block = json!({"type": "text", "text": text});
    if marked {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    block
}

fn calling(block: &Value, input: String) -> Calling {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    Calling { id: text("id"), name: text("name"), input, signature: None }
}

/// A block without text is refused, where there is something else to say.
fn turn(message: &Message, marked: bool) -> Value {
    let image = |data: &str, kind: &str| json!({"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}});
    let results = message.results.iter().map(
        |r| json!({"type": "tool_result", "tool_use_id": r.id, "content": r.text, "is_error": r.failed}),
    );
    let images = message.images.iter().map(|shown| image(&shown.data, &shown.media_type));
    let calls = message
        .calls
        .iter()
        .map(|call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()}));
    let alone = message.results.is_empty() && message.calls.is_empty();
    let text = (alone || !message.content.is_empty()).then(|| block(&message.content, false));
    let mut content: Vec<Value> = results.chain(images).chain(text).chain(calls).collect();
    if let Some(last) = content.last_mut().filter(|_| marked) {
        last["cache_control"] = json!({"type": "ephemeral"});
    }
    json!({"role": message.role.word(), "content": content})
}

fn output_config(request: &Request, model: &Model) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(effort) = request.effort.filter(|_| model.features.effort) {
        let word = if effort == Effort::Minimal { "low" } else { effort.word() };
        config.insert("effort".to_owned(), json!(word));
    }
    if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == Means::Native)
        && let Some(schema) = shape::narrowed(&shape.schema)
    {
        config.insert("format".to_owned(), json!({"type": "json_schema", "schema": schema}));
    }
    config
}

/// Figures are running totals, given at the start and again at the end: the latest of each counts. What was read
/// from or written to the cache is not part of this dialect's `input_tokens`, but of ours.
fn usage(draft: &mut Draft, figures: &Value) {
    if !figures.is_object() {
        return;
    }
    let old = draft.usage.unwrap_or_default();
    let figure = |name: &str, old: u64| figures[name].as_u64().unwrap_or(old);
    let cache_read = figure("cache_read_input_tokens", old.cache_read);
    let cache_write = figure("cache_creation_input_tokens", old.cache_write);
    let plain = figure("input_tokens", old.tokens_in - old.cache_read - old.cache_write);
    draft.usage = Some(Usage {
        tokens_in: plain.saturating_add(cache_read).saturating_add(cache_write),
        tokens_out: figure("output_tokens", old.tokens_out),
        cache_read,
        cache_write,
        estimated: false,
    });
}

fn stop(reason: &str) -> Stop {
    match reason {
        "end_turn" | "tool_use" => Stop::End,
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "stop_sequence" => Stop::StopText,
        "refusal" => Stop::Refusal,
        _ => Stop::Other,
    }
}
