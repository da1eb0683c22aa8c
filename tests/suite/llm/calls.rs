//! Answers with tool calls, in every published wire format.

use serde_json::{Value, json};

use super::server::{Act, named, openai_chunk, openai_close};
use super::wire::{gemini_event, response, responses_event};

/// A call: id, tool, and text of its input.
pub type Call<'a> = (&'a str, &'a str, &'a str);

/// An answer with `text` and tool calls, in the format of `kind`.
pub fn act(kind: &str, text: &str, calls: &[Call<'_>]) -> Act {
    match kind {
        "openai" => Act::Stream(openai(text, calls)),
        "openai_responses" => Act::Stream(responses(text, calls)),
        "anthropic" => Act::Stream(anthropic(text, calls)),
        "gemini" => Act::Stream(gemini(text, calls)),
        "ollama" => Act::Lines(ollama(text, calls)),
        other => panic!("{other}"),
    }
}

/// A text in two pieces.
fn halves(text: &str) -> [&str; 2] {
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    [a, b]
}

fn parsed(input: &str) -> Value {
    serde_json::from_str(input).unwrap()
}

/// Chat completions.
pub fn openai(text: &str, calls: &[Call<'_>]) -> String {
    let mut stream = openai_chunk(&json!({"role": "assistant", "content": text}), &Value::Null);
    for (index, (id, name, input)) in calls.iter().enumerate() {
        let first = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
        stream += &openai_chunk(&json!({"tool_calls": [first]}), &Value::Null);
        for piece in halves(input) {
            let more = json!({"index": index, "function": {"arguments": piece}});
            stream += &openai_chunk(&json!({"tool_calls": [more]}), &Value::Null);
        }
    }
    stream + &openai_close("tool_calls")
}

/// Messages.
pub fn anthropic(text: &str, calls: &[Call<'_>]) -> String {
    let usage = json!({"input_tokens": 100, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 700, "output_tokens": 1});
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": "claude-x-2026", "stop_reason": null, "stop_sequence": null, "usage": usage}}),
    ];
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(
            deltas
                .into_iter()
                .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
        index += 1;
    };
    if !text.is_empty() {
        block(json!({"type": "text", "text": ""}), vec![json!({"type": "text_delta", "text": text})]);
    }
    for (id, name, input) in calls {
        let pieces = halves(input).map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
        block(json!({"type": "tool_use", "id": id, "name": name, "input": {}}), pieces.to_vec());
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 100}}));
    events.push(json!({"type": "message_stop"}));
    events.iter().map(named).collect()
}

/// Responses.
pub fn responses(text: &str, calls: &[Call<'_>]) -> String {
    let usage = json!({"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 0}, "output_tokens": 100,
        "output_tokens_details": {"reasoning_tokens": 60}, "total_tokens": 1100});
    let mut events =
        vec![json!({"type": "response.created", "response": response(&json!({"status": "in_progress"}))})];
    if !text.is_empty() {
        events.push(json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
            "delta": text, "logprobs": []}));
    }
    let mut output = Vec::new();
    for (n, (id, name, input)) in calls.iter().enumerate() {
        let item = |status: &str, input: &str| json!({"id": format!("fc_{n}"), "type": "function_call", "status": status, "arguments": input, "call_id": id, "name": name});
        let place = |kind: &str, more: (&str, &str)| json!({"type": kind, "item_id": format!("fc_{n}"), "output_index": n + 1, "name": name, more.0: more.1});
        events.push(json!({"type": "response.output_item.added", "output_index": n + 1, "item": item("in_progress", "")}));
        events.extend(
            halves(input).map(|piece| place("response.function_call_arguments.delta", ("delta", piece))),
        );
        events.push(place("response.function_call_arguments.done", ("arguments", input)));
        events.push(json!({"type": "response.output_item.done", "output_index": n + 1, "item": item("completed", input)}));
        output.push(item("completed", input));
    }
    let last = response(&json!({"status": "completed", "usage": usage, "output": output}));
    events.push(json!({"type": "response.completed", "response": last}));
    events.iter().map(responses_event).collect()
}

/// Gemini, whose calls are complete and have a signature.
pub fn gemini(text: &str, calls: &[Call<'_>]) -> String {
    let call = |(n, (_, name, input)): (usize, &Call<'_>)| {
        let mut part = json!({"functionCall": {"name": name, "args": parsed(input)}});
        if n == 0 {
            part["thoughtSignature"] = json!("c2lnbmVk");
        }
        part
    };
    let said = (!text.is_empty()).then(|| json!({ "text": text }));
    let parts: Value = said.into_iter().chain(calls.iter().enumerate().map(call)).collect();
    gemini_event(&parts, &Value::Null) + &gemini_event(&json!([{"text": ""}]), &json!("STOP"))
}

/// Ollama, whose calls are complete and have no ids.
pub fn ollama(text: &str, calls: &[Call<'_>]) -> String {
    let head = |message: Value, done: bool| json!({"model": "small:1b", "created_at": "2026-11-20T10:00:00.1Z", "message": message, "done": done});
    let calls: Value = calls
        .iter()
        .map(|(_, name, input)| json!({"function": {"name": name, "arguments": parsed(input)}}))
        .collect();
    let first = head(json!({"role": "assistant", "content": text, "tool_calls": calls}), false);
    let mut last = head(json!({"role": "assistant", "content": ""}), true);
    let figures = json!({"done_reason": "stop", "total_duration": 5, "load_duration": 1, "prompt_eval_count": 1000,
        "prompt_eval_duration": 2, "eval_count": 100, "eval_duration": 2});
    last.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
    format!("{first}\n{last}\n")
}
