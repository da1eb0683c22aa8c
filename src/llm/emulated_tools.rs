//! Tools for a model without tool calls that supports schemas: each answer is one JSON object with a text
//! and a tool call. For the caller it is an ordinary tool call.

use std::sync::Arc;

use serde_json::json;

use super::{
    ChatMessage, ModelRequest, ModelResponse, ResponseSchema, Role, StopReason, Tool, ToolCall,
    without_thoughts,
};
use crate::llm::registry::{Model, SchemaMode};
use crate::value::{Value, canonical};

/// Whether tool calls of `request` must be emulated for `model`.
pub(super) fn is_needed(request: &ModelRequest, model: &Model) -> bool {
    !request.tools.is_empty() && !model.features.tools && model.means(&shape(request)) == SchemaMode::Native
}

/// Size of `request` to `model` in bytes.
pub fn sent_bytes(request: &ModelRequest, model: &Model) -> usize {
    if !is_needed(request, model) {
        return request.size();
    }
    let spoken = spoken(request);
    spoken.size() + spoken.schema.map_or(0, |shape| shape.canonical.len())
}

/// `request` without tools: they are described in the system text, and the answer has a schema.
pub(super) fn spoken(request: &ModelRequest) -> ModelRequest {
    let words = words(request);
    let system = request.system.as_ref().map_or(words.clone(), |system| format!("{system}\n\n{words}"));
    ModelRequest {
        system: Some(system),
        messages: request.messages.iter().map(said).collect(),
        schema: Some(shape(request)),
        tools: Vec::new(),
        ..request.clone()
    }
}

/// Converts the JSON object of an answer into a tool call. Any other text, for example truncated JSON, is
/// unchanged.
pub(super) fn read(answer: &mut ModelResponse) {
    // Withheld or possibly incomplete answers contain no calls.
    if matches!(answer.stop, StopReason::Other | StopReason::Refusal | StopReason::ContentFilter) {
        return;
    }
    let Ok(Value::Object(mut object)) = crate::value::parse(without_thoughts(&answer.text).trim()) else {
        return;
    };
    let Some(said) = object.get("say").and_then(Value::as_str).map(str::to_owned) else { return };
    answer.text = said;
    let Some(Value::Object(mut call)) = object.remove("call") else { return };
    if let Some(Value::String(name)) = call.remove("tool") {
        let input = call.remove("input").unwrap_or_else(|| json!({}));
        answer.calls = vec![ToolCall { id: "call_0".to_owned(), name, input, signature: None }];
        answer.stop = StopReason::Tools;
    }
}

fn shape(request: &ModelRequest) -> ResponseSchema {
    let call = |tool: &Tool| {
        json!({
            "type": "object", "required": ["tool", "input"], "additionalProperties": false,
            "properties": {"tool": {"type": "string", "enum": [tool.name]}, "input": tool.schema},
        })
    };
    let mut calls: Vec<Value> = request.tools.iter().map(call).collect();
    if !request.must_call {
        calls.push(json!({"type": "null"}));
    }
    let schema = json!({
        "type": "object", "required": ["say", "call"], "additionalProperties": false,
        "properties": {"say": {"type": "string"}, "call": {"anyOf": calls}},
    });
    ResponseSchema {
        name: "answer".to_owned(),
        canonical: canonical(&schema).into(),
        schema: Arc::new(schema),
    }
}

fn words(request: &ModelRequest) -> String {
    let end = if request.must_call { "" } else { ", or null where you are done" };
    let tool = |tool: &Tool| {
        let Tool { name, description, schema } = tool;
        format!("\n- {name}: {description} Its input: {}", canonical(schema))
    };
    let tools: String = request.tools.iter().map(tool).collect();
    format!(
        "You have tools. Answer with one JSON object each time: {{\"say\": TEXT, \"call\": {{\"tool\": NAME, \"input\": INPUT}}}}. \
         In `say` think about what is to be done next, in a sentence or two; `call` is the one tool that does it{end}. \
         You are told what it brought before you answer again. The tools:{tools}"
    )
}

/// A message in the emulated form.
fn said(message: &ChatMessage) -> ChatMessage {
    let content = match message.role {
        Role::Assistant => {
            let call = |call: &ToolCall| json!({"tool": call.name, "input": call.object()});
            let mut calls: Vec<Value> = message.calls.iter().map(call).collect();
            if calls.is_empty() {
                calls.push(Value::Null);
            }
            let answers = calls.into_iter().enumerate().map(|(n, call)| {
                json!({"say": if n == 0 { message.content.as_str() } else { "" }, "call": call}).to_string()
            });
            answers.collect::<Vec<_>>().join("\n")
        }
        Role::User => {
            let brought = message.results.iter().map(|result| {
                let how = if result.failed { "went wrong" } else { "brought" };
                format!("{} {how}:\n{}", result.name, result.text)
            });
            let words = Some(message.content.clone()).filter(|text| !text.is_empty());
            brought.chain(words).collect::<Vec<_>>().join("\n\n")
        }
    };
    ChatMessage { images: message.images.clone(), ..ChatMessage::said(message.role, content) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{TokenUsage, ToolResult};

    fn answer(text: &str) -> ModelResponse {
        let mut answer = ModelResponse {
            text: text.to_owned(),
            stop: StopReason::End,
            calls: Vec::new(),
            usage: TokenUsage::default(),
            model: "m".to_owned(),
            provider: "p".to_owned(),
            replayed: false,
        };
        read(&mut answer);
        answer
    }

    #[test]
    fn a_call_is_read_and_everything_else_stays_text() {
        let called = answer(r#"{"say": "I look.", "call": {"tool": "read", "input": {"path": "a"}}}"#);
        assert_eq!((called.text.as_str(), called.stop), ("I look.", StopReason::Tools));
        assert_eq!((called.calls[0].name.as_str(), &called.calls[0].input), ("read", &json!({"path": "a"})));
        let done = answer(r#"{"say": "Done.", "call": null}"#);
        assert_eq!((done.text.as_str(), done.stop, done.calls.len()), ("Done.", StopReason::End, 0));
        let mut unfinished = answer("");
        unfinished.text =
            r#"{"say": "I look.", "call": {"tool": "read", "input": {"path": "a"}}}"#.to_owned();
        unfinished.stop = StopReason::Other;
        read(&mut unfinished);
        assert_eq!((unfinished.stop, unfinished.calls.len()), (StopReason::Other, 0));
        for text in [r#"{"say": "cut o"#, "I cannot.", "[]", r#"{"call": {"tool": "read"}}"#] {
            assert_eq!((answer(text).text.as_str(), answer(text).calls.len()), (text, 0));
        }
    }

    #[test]
    fn a_conversation_is_told_as_it_was_spoken() {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: format!("Does {name}."),
            schema: Arc::new(json!({"type": "object"})),
        };
        let call =
            ToolCall { id: "1".into(), name: "read".into(), input: json!({"path": "a"}), signature: None };
        let result =
            |failed| ToolResult { id: "1".into(), name: "read".into(), text: "nothing".into(), failed };
        let request = ModelRequest {
            system: Some("Be kind.".to_owned()),
            messages: vec![
                ChatMessage::user("Look."),
                ChatMessage { calls: vec![call.clone(), call], ..ChatMessage::assistant("I look.") },
                ChatMessage { results: vec![result(false), result(true)], ..ChatMessage::user("Go on.") },
                ChatMessage::assistant("Done."),
            ],
            tools: vec![tool("read"), tool("list")],
            ..ModelRequest::default()
        };
        let told = spoken(&request);
        let texts: Vec<&str> = told.messages.iter().map(|message| message.content.as_str()).collect();
        let call =
            |say: &str| format!(r#"{{"say":"{say}","call":{{"tool":"read","input":{{"path":"a"}}}}}}"#);
        assert_eq!(
            texts,
            [
                "Look.",
                &format!("{}\n{}", call("I look."), call("")),
                "read brought:\nnothing\n\nread went wrong:\nnothing\n\nGo on.",
                r#"{"say":"Done.","call":null}"#,
            ]
        );
        let system = told.system.unwrap();
        assert!(system.starts_with("Be kind.\n\nYou have tools."), "{system}");
        assert!(system.ends_with("- list: Does list. Its input: {\"type\":\"object\"}"), "{system}");
        assert!(told.tools.is_empty());
        let choices = |request: &ModelRequest| {
            shape(request).schema["properties"]["call"]["anyOf"].as_array().unwrap().len()
        };
        assert_eq!(
            (choices(&request), choices(&ModelRequest { must_call: true, ..request.clone() })),
            (3, 2)
        );
    }
}
