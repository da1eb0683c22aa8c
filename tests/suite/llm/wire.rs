//! Published forms of answers: streams of Responses, Gemini and Ollama, tool calls, and complete answers as
//! in batches.

use serde_json::{Value, json};

use super::server::{named, openai_chunk, openai_close};

/// Responses: `text` in two deltas; `reason` is why it is incomplete, or empty.
pub fn responses(text: &str, reason: &str) -> String {
    let (status, details) = match reason {
        "" => ("completed", Value::Null),
        reason => ("incomplete", json!({ "reason": reason })),
    };
    let usage = json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0}, "output_tokens": 100,
        "output_tokens_details": {"reasoning_tokens": 60}, "total_tokens": 1100});
    let last = json!({"status": status, "incomplete_details": details, "usage": usage, "output": [message("completed", text)]});
    responses_open(text)
        + &responses_event(&json!({"type": format!("response.{status}"), "response": response(&last)}))
}

/// The beginning of [`responses`], up to the end of the text.
pub(super) fn responses_open(text: &str) -> String {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    let place = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let at = |kind: &str, more: Value| {
        let mut event = place.clone();
        event["type"] = json!(kind);
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let part = |text: &str| json!({"part": {"type": "output_text", "text": text, "annotations": [], "logprobs": []}});
    [
        json!({"type": "response.created", "response": response(&json!({"status": "in_progress"}))}),
        json!({"type": "response.in_progress", "response": response(&json!({"status": "in_progress"}))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message("in_progress", "")}),
        at("response.content_part.added", part("")),
        at("response.output_text.delta", json!({"delta": a, "logprobs": []})),
        at("response.output_text.delta", json!({"delta": b, "logprobs": []})),
        at("response.output_text.done", json!({"text": text, "logprobs": []})),
        at("response.content_part.done", part(text)),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message("completed", text)}),
    ]
    .iter()
    .map(responses_event)
    .collect()
}

/// One event, with the number that every event has.
pub fn responses_event(event: &Value) -> String {
    let mut event = event.clone();
    event["sequence_number"] = json!(1);
    named(&event)
}

/// A response inside an event, with the additional fields `more`.
pub fn response(more: &Value) -> Value {
    let mut response = json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-x-2026", "error": null,
        "incomplete_details": null, "instructions": null, "metadata": {}, "output": [], "parallel_tool_calls": true,
        "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "usage": null});
    response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    response
}

fn message(status: &str, text: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let content = if text.is_empty() { json!([]) } else { json!([part]) };
    json!({"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content})
}

/// Gemini: a thought, then `text` in two pieces, the second with the reason.
pub fn gemini(text: &str, reason: &str) -> String {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    gemini_event(&json!([{"text": "hm", "thought": true}]), &Value::Null)
        + &gemini_event(&json!([{ "text": a }]), &Value::Null)
        + &gemini_event(&json!([{ "text": b }]), &json!(reason))
}

/// One event with these parts.
pub fn gemini_event(parts: &Value, reason: &Value) -> String {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if !reason.is_null() {
        candidate["finishReason"] = reason.clone();
    }
    let event = json!({"candidates": [candidate], "modelVersion": "gemini-x-2026", "responseId": "r1",
        "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 40, "thoughtsTokenCount": 60,
            "cachedContentTokenCount": 400, "totalTokenCount": 1100}});
    format!("data: {event}\r\n\r\n")
}

/// Ollama: a thought, then `text` in two lines, then the usage.
pub fn ollama(text: &str, reason: &str) -> String {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    let head = |message: Value| json!({"model": "small:1b", "created_at": "2026-11-20T10:00:00.1Z", "message": message, "done": false});
    let mut last = head(json!({"role": "assistant", "content": ""}));
    let figures = json!({"done": true, "done_reason": reason, "total_duration": 5, "load_duration": 1, "prompt_eval_count": 1000,
        "prompt_eval_duration": 2, "eval_count": 100, "eval_duration": 2});
    last.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
    let thought = head(json!({"role": "assistant", "content": "", "thinking": "hm"}));
    let piece = |text: &str| head(json!({"role": "assistant", "content": text}));
    [thought, piece(a), piece(b), last].iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
}

/// Chat completions whose answer is the arguments of a tool call.
pub fn openai_tool(name: &str, arguments: &str) -> String {
    let call = |function: Value| json!({"tool_calls": [{"index": 0, "function": function}]});
    let mut first = call(json!({"name": name, "arguments": ""}));
    first["tool_calls"][0]["id"] = json!("call_1");
    first["tool_calls"][0]["type"] = json!("function");
    openai_chunk(&first, &Value::Null)
        + &openai_chunk(&call(json!({"arguments": arguments})), &Value::Null)
        + &openai_close("tool_calls")
}

/// Messages whose answer is the input of a tool call.
pub fn anthropic_tool(name: &str, input: &str) -> String {
    let usage = json!({"input_tokens": 100, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 700, "output_tokens": 1});
    let block = json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": {}});
    let piece = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": text}});
    [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": "claude-x-2026", "stop_reason": null, "stop_sequence": null, "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        piece(""),
        piece(input),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 100}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(named)
    .collect()
}

/// A complete chat completion.
pub fn openai_body(text: &str, stop: &str) -> Value {
    let (content, refusal) =
        if stop == "refusal" { (Value::Null, json!(text)) } else { (json!(text), Value::Null) };
    let finish = if stop == "refusal" { "stop" } else { stop };
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-x-2026", "choices": [{"index": 0,
        "logprobs": null, "finish_reason": finish, "message": {"role": "assistant", "content": content, "refusal": refusal}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
            "prompt_tokens_details": {"cached_tokens": 400}}})
}

/// A complete response.
pub fn responses_body(text: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let message = json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]});
    let usage = json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0},
        "output_tokens": 100, "output_tokens_details": {"reasoning_tokens": 60}, "total_tokens": 1100});
    response(&json!({"status": "completed", "usage": usage, "output": [message]}))
}

/// A complete message.
pub fn anthropic_body(text: &str, stop: &str) -> Value {
    let reason = match stop {
        "length" => "max_tokens",
        "refusal" => "refusal",
        _ => "end_turn",
    };
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-2026", "stop_reason": reason,
        "stop_sequence": null, "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 100,
            "cache_creation_input_tokens": 200, "cache_read_input_tokens": 700, "output_tokens": 100}})
}

/// A complete answer of Gemini.
pub fn gemini_body(text: &str, stop: &str) -> Value {
    let reason = match stop {
        "length" => "MAX_TOKENS",
        "refusal" => "SAFETY",
        _ => "STOP",
    };
    let candidate = json!({"content": {"role": "model", "parts": [{ "text": text }]}, "index": 0, "finishReason": reason});
    json!({"candidates": [candidate], "modelVersion": "gemini-x-2026", "responseId": "r1",
        "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 40, "thoughtsTokenCount": 60,
            "cachedContentTokenCount": 400, "totalTokenCount": 1100}})
}
