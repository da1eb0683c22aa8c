//! Wire format of OpenAI's Responses.

use serde_json::{Map, json};

use super::dialect::{self, Interrupted, PartialResponse, ProviderCall, WireFormat};
use super::figures::Figures;
use super::openai::{bearer, effort};
use super::shape;
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{ChatMessage, ModelRequest, PartialToolCall, StopReason, Tool};
use crate::value::Value;

/// Wire format of OpenAI's Responses.
pub struct ResponsesDialect;

impl WireFormat for ResponsesDialect {
    fn call(&self, request: &ModelRequest, model: &Model) -> ProviderCall {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model.id));
        body.insert("input".to_owned(), request.messages.iter().flat_map(turns).collect());
        body.insert("stream".to_owned(), json!(true));
        // Responses are never requested by id, so the provider need not store them.
        body.insert("store".to_owned(), json!(false));
        if !model.provider.max_tokens_field.is_empty() {
            body.insert("max_output_tokens".to_owned(), json!(model.limit(request.max_tokens)));
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        let can = model.features;
        put("instructions", request.system.as_ref().map(|text| json!(text)));
        put("temperature", request.temperature.filter(|_| can.temperature).map(|t| json!(t)));
        let effort = request.effort.filter(|_| can.effort).map(effort);
        put("reasoning", effort.map(|effort| json!({ "effort": effort })));
        let shape = request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Native);
        put("text", shape.map(|shape| {
            let strict = can.strict && shape::is_strict(&shape.schema);
            json!({"format": {"type": "json_schema", "name": shape.name, "schema": shape.schema, "strict": strict}})
        }));
        put("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(function).collect()));
        let url = format!("{}/responses", model.provider.base_url);
        ProviderCall { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        bearer(key)
    }

    fn event(&self, draft: &mut PartialResponse, event: &Value) -> Result<Option<String>, Interrupted> {
        let delta = || event["delta"].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "error" => {
                draft.figures.take(Figures::openai(&event["usage"]));
                return Err(Interrupted(complaint(event)));
            }
            "response.created" => draft.model = event.pointer("/response/model").and_then(named),
            "response.output_text.delta" => return Ok(draft.say(delta())),
            "response.refusal.delta" => draft.refusal.push_str(delta()),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                draft.thoughts += delta().len();
            }
            "response.output_text.done" => {
                draft.whole.insert(place(event), event["text"].as_str().unwrap_or_default().to_owned());
            }
            "response.content_part.done" => part(draft, place(event), &event["part"]),
            "response.refusal.done" if draft.refusal.is_empty() => {
                event["refusal"].as_str().unwrap_or_default().clone_into(&mut draft.refusal);
            }
            "response.output_item.added" if is_call(draft, &event["item"]) => {
                draft.calls.push(PartialToolCall {
                    place: event["output_index"].as_u64(),
                    ..calling(&event["item"])
                });
            }
            "response.function_call_arguments.delta" if draft.tools => {
                if let Some(call) = announced(draft, event) {
                    call.input.push_str(delta());
                }
            }
            // The same as its pieces, if there were any.
            "response.function_call_arguments.done" if draft.tools => {
                let arguments = event["arguments"].as_str().filter(|text| !text.is_empty());
                if let (Some(whole), Some(call)) = (arguments, announced(draft, event)) {
                    whole.clone_into(&mut call.input);
                }
            }
            "response.output_item.done" => item(draft, event["output_index"].as_u64(), &event["item"]),
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                return end(draft, &event["response"]);
            }
            _ => dialect::error(event)?,
        }
        Ok(None)
    }

    fn whole(&self, draft: &mut PartialResponse, body: &Value) -> Result<(), Interrupted> {
        end(draft, body).map(drop)
    }
}

/// Position of a text in the answer.
fn place(event: &Value) -> (u64, u64) {
    let number = |key: &str| event[key].as_u64().unwrap_or(0);
    (number("output_index"), number("content_index"))
}

/// The call of `event`: the one at its index, or the last one.
fn announced<'a>(draft: &'a mut PartialResponse, event: &Value) -> Option<&'a mut PartialToolCall> {
    let at = event["output_index"].as_u64();
    let own = draft.calls.iter().rposition(|call| call.place == at);
    let own = own.or(draft.calls.len().checked_sub(1))?;
    draft.calls.get_mut(own)
}

/// Processes a complete part of a message. Several refusals are joined.
fn part(draft: &mut PartialResponse, place: (u64, u64), part: &Value) {
    if part["type"] == "reasoning_text" {
        draft.thoughts += 1;
    } else if let Some(text) = part["text"].as_str() {
        draft.whole.insert(place, text.to_owned());
    }
    let refusal = part["refusal"].as_str().unwrap_or_default();
    if !draft.refusal.contains(refusal) {
        draft.refusal.push_str(refusal);
    }
}

/// Processes the complete item at `place`.
fn item(draft: &mut PartialResponse, place: Option<u64>, item: &Value) {
    match item["type"].as_str().unwrap_or_default() {
        "message" => {
            for (said, n) in item["content"].as_array().into_iter().flatten().zip(0..) {
                part(draft, (place.unwrap_or(0), n), said);
            }
        }
        "function_call" if draft.tools => {
            // The announced call is now complete.
            let mut whole = PartialToolCall { place, ..calling(item) };
            let is_it = |call: &&mut PartialToolCall| {
                call.id == whole.id && (!call.id.is_empty() || call.place == place)
            };
            match draft.calls.iter_mut().find(is_it) {
                Some(call) => {
                    if whole.input.trim().is_empty() {
                        whole.input = std::mem::take(&mut call.input);
                    }
                    *call = whole;
                }
                None => draft.calls.push(whole),
            }
        }
        "reasoning" => draft.thoughts += 1,
        _ => {}
    }
}

fn named(model: &Value) -> Option<String> {
    model.as_str().map(str::to_owned)
}

/// The error object of an event of type `error`, which has code and message itself or, in older versions,
/// in an object.
fn complaint(event: &Value) -> Value {
    match &event["error"] {
        Value::Null => json!({"code": event["code"], "message": event["message"]}),
        error => error.clone(),
    }
}

fn is_call(draft: &PartialResponse, item: &Value) -> bool {
    draft.tools && item["type"] == "function_call"
}

fn calling(item: &Value) -> PartialToolCall {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    PartialToolCall {
        id: text("call_id"),
        name: text("name"),
        input: text("arguments"),
        ..PartialToolCall::default()
    }
}

/// A tool. It is not strict, because that would make every property required.
fn function(tool: &Tool) -> Value {
    let Tool { name, description, schema } = tool;
    json!({"type": "function", "name": name, "description": description, "parameters": schema, "strict": false})
}

/// The items of a message: results of calls, text, and calls.
fn turns(message: &ChatMessage) -> Vec<Value> {
    let brought =
        |id: &str, text: &str| json!({"type": "function_call_output", "call_id": id, "output": text});
    let results = message.results.iter().map(|r| brought(&r.id, &r.text));
    let alone = message.results.is_empty() && message.calls.is_empty();
    let said = alone || !message.content.is_empty() || !message.images.is_empty();
    let calls = message.calls.iter().map(|call| {
        let input = call.object().to_string();
        json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": input})
    });
    results.chain(said.then(|| turn(message))).chain(calls).collect()
}

/// A message. Plain text is sent as text; otherwise messages of the model would need their id.
fn turn(message: &ChatMessage) -> Value {
    if message.images.is_empty() {
        return json!({"role": message.role.word(), "content": message.content});
    }
    let image = |url: String| json!({"type": "input_image", "image_url": url, "detail": "auto"});
    let images = message.images.iter().map(|shown| image(shown.url()));
    let text = json!({"type": "input_text", "text": message.content});
    json!({"role": message.role.word(), "content": images.chain([text]).collect::<Value>()})
}

/// Processes the final response; returns the text that was not received in pieces.
fn end(draft: &mut PartialResponse, response: &Value) -> Result<Option<String>, Interrupted> {
    draft.figures.take(Figures::openai(&response["usage"]));
    draft.model = response.get("model").and_then(named).or(draft.model.take());
    if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
        return Err(Interrupted(error.clone()));
    }
    for (part, n) in response["output"].as_array().into_iter().flatten().zip(0..) {
        item(draft, Some(n), part);
    }
    let (status, why) =
        (response["status"].as_str().unwrap_or_default(), &response["incomplete_details"]["reason"]);
    let (stop, reason) = match (status, why.as_str()) {
        ("completed", _) => (StopReason::End, status),
        ("incomplete", Some(reason @ "max_output_tokens")) => (StopReason::Length, reason),
        ("incomplete", Some(reason @ "content_filter")) => (StopReason::ContentFilter, reason),
        ("incomplete", reason) => (StopReason::Other, reason.unwrap_or(status)),
        (status, _) => {
            let message = format!("the response ended as `{status}`");
            return Err(Interrupted(json!({ "message": message })));
        }
    };
    draft.broken = stop == StopReason::Other;
    (draft.stop, draft.reason, draft.closed) = (Some(stop), reason.to_owned(), true);
    let whole: String = std::mem::take(&mut draft.whole).into_values().collect();
    let rest = whole.strip_prefix(draft.text.as_str()).map(str::to_owned);
    Ok(match rest {
        Some(rest) => draft.say(&rest),
        None if whole.is_empty() => None,
        None => {
            draft.text = whole;
            None
        }
    })
}
