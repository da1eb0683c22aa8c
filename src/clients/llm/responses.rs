//! OpenAI's Responses.

use serde_json::{Map, json};

use super::dialect::{Call, Dialect, Draft, Interrupted, number};
use super::openai::{bearer, effort};
use super::shape;
use crate::clients::llm::{Calling, Message, Request, Stop, Tool, Usage};
use crate::clients::registry::{Means, Model};
use crate::value::Value;

/// The dialect.
pub struct Responses;

impl Dialect for Responses {
    fn call(&self, request: &Request, model: &Model) -> Call {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model.id));
        body.insert("input".to_owned(), request.messages.iter().flat_map(turns).collect());
        body.insert("stream".to_owned(), json!(true));
        // Nothing is asked for again by its id, so nothing needs to be kept there.
        body.insert("store".to_owned(), json!(false));
        body.insert("max_output_tokens".to_owned(), json!(model.limit(request.max_tokens)));
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
        let shape = request.schema.as_ref().filter(|shape| model.means(shape) == Means::Native);
        put("text", shape.map(|shape| {
            let strict = shape::is_strict(&shape.schema);
            json!({"format": {"type": "json_schema", "name": shape.name, "schema": shape.schema, "strict": strict}})
        }));
        put("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(function).collect()));
        let url = format!("{}/responses", model.provider.base_url);
        Call { url, headers: Vec::new(), body: Value::Object(body) }
    }

    fn key_header(&self, key: &str) -> (&'static str, String) {
        bearer(key)
    }

    fn event(&self, draft: &mut Draft, event: &Value) -> Result<Option<String>, Interrupted> {
        let delta = || event["delta"].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "error" => return Err(Interrupted(complaint(event))),
            "response.created" => draft.model = event.pointer("/response/model").and_then(named),
            "response.output_text.delta" => {
                draft.text.push_str(delta());
                return Ok(Some(delta().to_owned()));
            }
            "response.refusal.delta" => draft.refusal.push_str(delta()),
            "response.output_item.added" if is_call(draft, &event["item"]) => {
                draft.calls.push(calling(&event["item"]));
            }
            "response.function_call_arguments.delta" if draft.tools => {
                draft.calls.last_mut().into_iter().for_each(|call| call.input.push_str(delta()));
            }
            "response.output_item.done" if is_call(draft, &event["item"]) => {
                // What was announced is whole now.
                let whole = calling(&event["item"]);
                draft.calls.retain(|call| call.id != whole.id);
                draft.calls.push(whole);
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                end(draft, &event["response"])?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn whole(&self, draft: &mut Draft, body: &Value) -> Result<(), Interrupted> {
        let items = || body["output"].as_array().into_iter().flatten();
        let calls: Vec<Calling> = items().filter(|item| is_call(draft, item)).map(calling).collect();
        draft.calls.extend(calls);
        let messages = items().filter(|item| item["type"] == "message");
        for part in messages.flat_map(|item| item["content"].as_array().into_iter().flatten()) {
            draft.text.push_str(part["text"].as_str().unwrap_or_default());
            draft.refusal.push_str(part["refusal"].as_str().unwrap_or_default());
        }
        end(draft, body)
    }
}

fn named(model: &Value) -> Option<String> {
    model.as_str().map(str::to_owned)
}

/// An event of type `error` holds its code and message itself, older ones in an object.
fn complaint(event: &Value) -> Value {
    match &event["error"] {
        Value::Null => json!({"code": event["code"], "message": event["message"]}),
        error => error.clone(),
    }
}

fn is_call(draft: &Draft, item: &Value) -> bool {
    draft.tools && item["type"] == "function_call"
}

fn calling(item: &Value) -> Calling {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    Calling { id: text("call_id"), name: text("name"), input: text("arguments"), signature: None }
}

/// Not strict: that would demand that every property is required.
fn function(tool: &Tool) -> Value {
    let Tool { name, description, schema } = tool;
    json!({"type": "function", "name": name, "description": description, "parameters": schema, "strict": false})
}

/// The results of calls, the message, and the calls that it makes, one after the other.
fn turns(message: &Message) -> Vec<Value> {
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

/// Text alone goes as text: what the model said would need its id otherwise.
fn turn(message: &Message) -> Value {
    if message.images.is_empty() {
        return json!({"role": message.role.word(), "content": message.content});
    }
    let image = |url: String| json!({"type": "input_image", "image_url": url, "detail": "auto"});
    let images = message.images.iter().map(|shown| image(shown.url()));
    let text = json!({"type": "input_text", "text": message.content});
    json!({"role": message.role.word(), "content": images.chain([text]).collect::<Value>()})
}

/// Takes in the response as it is at its end.
fn end(draft: &mut Draft, response: &Value) -> Result<(), Interrupted> {
    if let Some(figures) = response.get("usage").filter(|usage| usage.is_object()) {
        draft.usage = Some(Usage {
            tokens_in: number(figures, "/input_tokens"),
            tokens_out: number(figures, "/output_tokens"),
            cache_read: number(figures, "/input_tokens_details/cached_tokens"),
            cache_write: number(figures, "/input_tokens_details/cache_write_tokens"),
            ..Usage::default()
        });
    }
    draft.model = response.get("model").and_then(named).or(draft.model.take());
    if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
        return Err(Interrupted(error.clone()));
    }
    draft.stop = Some(match response["status"].as_str().unwrap_or_default() {
        "completed" => Stop::End,
        "incomplete" => match response.pointer("/incomplete_details/reason").and_then(Value::as_str) {
            Some("max_output_tokens") => Stop::Length,
            Some("content_filter") => Stop::ContentFilter,
            _ => Stop::Other,
        },
        _ => Stop::Other,
    });
    draft.closed = true;
    Ok(())
}
