//! Wire format of Anthropic messages.

use serde_json::{Map, json};

use super::dialect::{self, Interrupted, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::{reasons, shape};
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{ChatMessage, Effort, ModelRequest, PartialToolCall, StopReason};
use crate::value::Value;

/// Wire format of Anthropic messages.
pub struct AnthropicDialect;

impl WireFormat for AnthropicDialect {
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model.id));
        body.insert("max_tokens".to_owned(), json!(model.limit(request.max_tokens)));
        body.insert("stream".to_owned(), json!(true));
        // The mark covers everything before it: the system text if there is one, otherwise the first message.
        let marks = request.cache_prompt && model.features.cache_marks;
        if let Some(system) = &request.system {
            body.insert("system".to_owned(), json!([block(system, marks)]));
        }
        let mark_message = marks && request.system.is_none();
        // A conversation with tools is sent again at every turn, so a second mark covers all of it.
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
        } else if let Some(shape) =
            request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Tool)
        {
            body.insert("tools".to_owned(), json!([tool(&shape.name, "Gives the answer.", &shape.schema)]));
            body.insert("tool_choice".to_owned(), json!({"type": "tool", "name": shape.name}));
        }
        let base = &model.provider.base_url;
        // The SDKs of the vendor use the address without the version, ours include it: both are supported.
        let url =
            if base.ends_with("/v1") { format!("{base}/messages") } else { format!("{base}/v1/messages") };
        ProviderCall {
            url,
            headers: vec![("anthropic-version", "2023-06-01".to_owned())],
            body: Value::Object(body),
        }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        ("x-api-key", key.to_owned())
    }

    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        match event["type"].as_str().unwrap_or_default() {
            "error" => {
                draft.figures.take(Figures::anthropic(&event["usage"]));
                return Err(Interrupted(event["error"].clone()));
            }
            "message_start" => {
                draft.model = text("/message/model").map(str::to_owned);
                // Output tokens are counted at the end; here they are not final.
                let begun = Figures::anthropic(&event["message"]["usage"]);
                draft.figures.take(Figures { written: 0, ..begun });
            }
            "content_block_start" => return Ok(begin(draft, event)),
            "content_block_delta" => return Ok(go_on(draft, event)),
            "message_delta" => {
                draft.figures.take(Figures::anthropic(&event["usage"]));
                stop(draft, &event["delta"])?;
            }
            "message_stop" => draft.closed = true,
            _ => dialect::error(event)?,
        }
        Ok(None)
    }

    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted> {
        draft.figures.take(Figures::anthropic(&body["usage"]));
        if body["type"] == "error" {
            return Err(Interrupted(body["error"].clone()));
        }
        draft.model = body["model"].as_str().map(str::to_owned);
        for block in body["content"].as_array().into_iter().flatten() {
            begin(draft, &json!({ "content_block": block }));
        }
        stop(draft, body)
    }
}

/// Handles the start of a block, which may be complete; returns its text.
fn begin(draft: &mut PartialResponse, event: &Value) -> Option<String> {
    let block = &event["content_block"];
    // An input that follows in deltas is an empty object here.
    let input =
        block["input"].as_object().filter(|input| !input.is_empty()).map(|_| block["input"].to_string());
    match block["type"].as_str().unwrap_or_default() {
        "text" => draft.say(block["text"].as_str().unwrap_or_default()),
        "tool_use" if draft.tools => {
            let place = event["index"].as_u64();
            let at_once = input.is_some();
            draft.calls.push(PartialToolCall { place, at_once, ..calling(block, input.unwrap_or_default()) });
            None
        }
        "tool_use" => {
            let name = block["name"].as_str().unwrap_or_default();
            draft.give(event["index"].as_u64(), name, &input.unwrap_or_default())
        }
        "thinking" | "redacted_thinking" => {
            draft.thoughts += 1 + block["thinking"].as_str().map_or(0, str::len);
            None
        }
        _ => None,
    }
}

/// Handles the continuation of a block; returns the added text.
fn go_on(draft: &mut PartialResponse, event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    draft.thoughts += text("/delta/thinking").map_or(0, str::len);
    if let Some(input) = text("/delta/partial_json") {
        if !draft.tools {
            // The only possible tool is the one whose input is the answer.
            return draft.give(event["index"].as_u64(), "", input);
        }
        let place = event["index"].as_u64();
        let own = draft.calls.iter().rposition(|call| call.place == place);
        let last = draft.calls.len().checked_sub(1);
        if let Some(call) = own.or(last).and_then(|at| draft.calls.get_mut(at)) {
            if std::mem::take(&mut call.at_once) && !input.is_empty() {
                call.input.clear();
            }
            call.input.push_str(input);
        }
        return None;
    }
    draft.say(text("/delta/text").unwrap_or_default())
}

fn block(text: &str, marked: bool) -> Value {
    let mut block = json!({"type": "text", "text": text});
    if marked {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    block
}

fn calling(block: &Value, input: String) -> PartialToolCall {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    PartialToolCall { id: text("id"), name: text("name"), input, ..PartialToolCall::default() }
}

/// A message. Text blocks may not be empty if there are other blocks.
fn turn(message: &ChatMessage, marked: bool) -> Value {
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

fn output_config(request: &ModelRequest, model: &Model) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(effort) = request.effort.filter(|_| model.features.effort) {
        let word = if effort == Effort::Minimal { "low" } else { effort.word() };
        config.insert("effort".to_owned(), json!(word));
    }
    if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Native)
        && let Some(schema) = shape::narrowed(&shape.schema)
    {
        config.insert("format".to_owned(), json!({"type": "json_schema", "schema": schema}));
    }
    config
}

/// Reads the stop reason from `said`, the end of the answer.
fn stop(draft: &mut PartialResponse, said: &Value) -> Result<(), Interrupted> {
    let Some(reason) = said["stop_reason"].as_str().filter(|reason| !reason.is_empty()) else {
        return Ok(());
    };
    draft.stop = Some(match reason {
        "end_turn" | "tool_use" => StopReason::End,
        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
        "stop_sequence" => StopReason::StopText,
        "refusal" => StopReason::Refusal,
        // Only with tools of the provider, which are not used.
        "pause_turn" => {
            let message = "the model paused before its answer was complete (`pause_turn`)";
            return Err(Interrupted(json!({ "message": message })));
        }
        other => reasons::stop(other).ok_or_else(|| {
            let message = format!("the answer ended with stop_reason `{reason}`");
            Interrupted(json!({"code": 502, "message": message}))
        })?,
    });
    reason.clone_into(&mut draft.reason);
    Ok(())
}
