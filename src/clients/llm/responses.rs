//! OpenAI's Responses.

use serde_json::{Map, json};

use super::dialect::{Call, Dialect, Draft, Interrupted, number};
use super::openai::{bearer, effort};
use super::shape;
use crate::clients::llm::{Message, Request, Stop, Usage};
use crate::clients::registry::{Means, Model};
use crate::value::Value;

/// The dialect.
pub struct Responses;

impl Dialect for Responses {
    fn call(&self, request: &Request, model: &Model) -> Call {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model.id));
        body.insert("input".to_owned(), request.messages.iter().map(turn).collect());
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
            "response.completed" | "response.incomplete" | "response.failed" => {
                end(draft, &event["response"])?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn whole(&self, draft: &mut Draft, body: &Value) -> Result<(), Interrupted> {
        let messages =
            body["output"].as_array().into_iter().flatten().filter(|item| item["type"] == "message");
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
