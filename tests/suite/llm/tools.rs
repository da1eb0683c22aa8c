//! Tool calls in every wire format.
#![expect(clippy::disallowed_methods, reason = "reads and writes tapes")]

use std::sync::{Arc, Mutex};

use atoll::clock::ManualClock;
use atoll::llm::{
    CallContext, CassetteMode, ChatMessage, ModelRequest, ModelResponse, Models, StopReason, Tool, ToolResult,
};
use atoll::meter::Meter;
use atoll::verb::{Class, Failure};
use serde_json::{Value, json};

use super::calls::{self, act};
use super::server::{Act, KEY, Server, openai};

/// A model of each format.
pub const MODELS: [(&str, &str); 5] = [
    ("openai", "gpt-4.1-mini"),
    ("openai_responses", "openai-responses/gpt-4.1-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama", "ollama/small:1b"),
];

fn tools() -> Vec<Tool> {
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"], "additionalProperties": false});
    ["read", "list"].map(|name| tool(name, &schema)).to_vec()
}

fn tool(name: &str, schema: &Value) -> Tool {
    Tool { name: name.to_owned(), description: format!("does {name}"), schema: Arc::new(schema.clone()) }
}

pub(super) async fn ask(models: &Models, request: &ModelRequest) -> Result<(ModelResponse, Meter), Failure> {
    heard(models, request, &|_| {}).await
}

async fn heard(
    models: &Models,
    request: &ModelRequest,
    on_chunk: &(dyn Fn(&str) + Send + Sync),
) -> Result<(ModelResponse, Meter), Failure> {
    let clock = ManualClock::at(1);
    let asking = CallContext {
        batch: None,
        at: "step@1.0",
        idempotency_key: "k",
        on_chunk,
        say: &|_| {},
        sent: &|| {},
        waits: &(),
        budget: &(),
        elsewhere: false,
        clock: &clock,
    };
    models.ask(request, asking).await
}

pub(super) fn first(model: &str) -> ModelRequest {
    ModelRequest {
        model: model.to_owned(),
        system: Some("be kind".to_owned()),
        messages: vec![ChatMessage::user("look")],
        tools: tools(),
        ..ModelRequest::default()
    }
}

/// The request with the results of the tools.
fn second(model: &str, answer: &ModelResponse) -> ModelRequest {
    let mut request = first(model);
    request
        .messages
        .push(ChatMessage { calls: answer.calls.clone(), ..ChatMessage::assistant(&answer.text) });
    let result = |(n, call): (usize, &atoll::llm::ToolCall)| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        text: format!("brought {n}"),
        failed: n == 1,
    };
    let results = answer.calls.iter().enumerate().map(result).collect();
    request.messages.push(ChatMessage { results, ..ChatMessage::user("") });
    request
}

const CALLS: [calls::Call<'static>; 2] =
    [("id_1", "read", "{\"path\": \"größe.md\"}"), ("id_2", "list", "{\"path\":\"src\"}")];

/// The answer to [`first`], and the next request.
pub async fn conversation(kind: &str, model: &str) -> (ModelResponse, Value, Value) {
    let done = if kind == "ollama" { super::wire::ollama("done", "stop") } else { String::new() };
    let last = match kind {
        "openai" => Act::Stream(openai("done", "stop")),
        "openai_responses" => Act::Stream(super::wire::responses("done", "")),
        "anthropic" => Act::Stream(super::server::anthropic("done", "end_turn")),
        "gemini" => Act::Stream(super::wire::gemini("done", "STOP")),
        _ => Act::Lines(done),
    };
    let server = Server::start([act(kind, "I look.", &CALLS), last]).await;
    let models = server.models(&CassetteMode::Off);
    let beats = Mutex::new(0);
    let (answer, spent) =
        heard(&models, &first(model), &|text| *beats.lock().unwrap() += usize::from(text.is_empty()))
            .await
            .unwrap();
    assert!(spent.get("tokens_out") > 99.0, "{model}");
    assert!(*beats.lock().unwrap() > 0, "{model}: that it goes on is heard");
    let (end, _) = ask(&models, &second(model, &answer)).await.unwrap();
    assert_eq!((end.text.as_str(), end.stop, end.calls.len()), ("done", StopReason::End, 0), "{model}");
    (answer, server.body(0), server.body(1))
}

#[tokio::test]
async fn calls_are_understood_in_every_format() {
    for (kind, model) in MODELS {
        let (answer, ..) = conversation(kind, model).await;
        assert_eq!((answer.text.as_str(), answer.stop), ("I look.", StopReason::Tools), "{model}");
        let said: Vec<_> = answer.calls.iter().map(|call| (call.name.as_str(), call.input.clone())).collect();
        assert_eq!(
            said,
            [("read", json!({"path": "größe.md"})), ("list", json!({"path": "src"}))],
            "{model}"
        );
        let ids: Vec<_> = answer.calls.iter().map(|call| call.id.as_str()).collect();
        let own = matches!(kind, "gemini" | "ollama");
        assert_eq!(ids, if own { ["call_0", "call_1"] } else { ["id_1", "id_2"] }, "{model}");
    }
}

#[tokio::test]
async fn tools_and_results_go_over_the_wire_as_published() {
    let schema = tools()[0].schema.clone();
    let function =
        |name: &str| json!({"name": name, "description": format!("does {name}"), "parameters": schema});
    let (_, asked, told) = conversation("openai", "gpt-4.1-mini").await;
    let wrapped = |name: &str| json!({"type": "function", "function": function(name)});
    assert_eq!(asked["tools"], json!([wrapped("read"), wrapped("list")]));
    let call = |id: &str, name: &str, input: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": input}});
    assert_eq!(
        told["messages"].as_array().unwrap()[2..],
        [
            json!({"role": "assistant", "content": "I look.",
                "tool_calls": [call("id_1", "read", "{\"path\":\"größe.md\"}"), call("id_2", "list", "{\"path\":\"src\"}")]}),
            json!({"role": "tool", "tool_call_id": "id_1", "content": "brought 0"}),
            json!({"role": "tool", "tool_call_id": "id_2", "content": "brought 1"}),
        ]
    );

    let (_, asked, told) = conversation("openai_responses", "openai-responses/gpt-4.1-mini").await;
    let mut flat = function("read");
    flat["type"] = json!("function");
    flat["strict"] = json!(false);
    assert_eq!(asked["tools"][0], flat);
    assert_eq!(
        told["input"].as_array().unwrap()[1..],
        [
            json!({"role": "assistant", "content": "I look."}),
            json!({"type": "function_call", "call_id": "id_1", "name": "read", "arguments": "{\"path\":\"größe.md\"}"}),
            json!({"type": "function_call", "call_id": "id_2", "name": "list", "arguments": "{\"path\":\"src\"}"}),
            json!({"type": "function_call_output", "call_id": "id_1", "output": "brought 0"}),
            json!({"type": "function_call_output", "call_id": "id_2", "output": "brought 1"}),
        ]
    );

    let (_, asked, told) = conversation("anthropic", "claude-haiku-4-5").await;
    assert_eq!(
        asked["tools"][1],
        json!({"name": "list", "description": "does list", "input_schema": schema})
    );
    assert_eq!(asked.get("tool_choice"), None);
    let used = |id: &str, name: &str, path: &str| json!({"type": "tool_use", "id": id, "name": name, "input": {"path": path}});
    let brought = |id: &str, text: &str, failed: bool| json!({"type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed});
    assert_eq!(
        told["messages"].as_array().unwrap()[1..],
        [
            json!({"role": "assistant", "content": [{"type": "text", "text": "I look."}, used("id_1", "read", "größe.md"), used("id_2", "list", "src")]}),
            json!({"role": "user", "content": [brought("id_1", "brought 0", false), brought("id_2", "brought 1", true)]}),
        ]
    );

    let (_, asked, told) = conversation("gemini", "gemini-2.5-flash").await;
    let mut words = schema.as_ref().clone();
    words["additionalProperties"] = json!(false);
    assert_eq!(
        asked["tools"][0]["functionDeclarations"][0],
        json!({"name": "read", "description": "does read", "parametersJsonSchema": words})
    );
    assert_eq!(
        told["contents"].as_array().unwrap()[1..],
        [
            json!({"role": "model", "parts": [{"text": "I look."},
                {"functionCall": {"name": "read", "args": {"path": "größe.md"}}, "thoughtSignature": "c2lnbmVk"},
                {"functionCall": {"name": "list", "args": {"path": "src"}}}]}),
            json!({"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": "brought 0"}}},
                {"functionResponse": {"name": "list", "response": {"error": "brought 1"}}}]}),
        ]
    );

    let (_, asked, told) = conversation("ollama", "ollama/small:1b").await;
    assert_eq!(asked["tools"][0], wrapped("read"));
    assert_eq!(
        told["messages"].as_array().unwrap()[2..],
        [
            json!({"role": "assistant", "content": "I look.", "tool_calls": [
                {"function": {"name": "read", "arguments": {"path": "größe.md"}}},
                {"function": {"name": "list", "arguments": {"path": "src"}}}]}),
            json!({"role": "tool", "tool_name": "read", "content": "brought 0"}),
            json!({"role": "tool", "tool_name": "list", "content": "brought 1"}),
        ]
    );
}

#[tokio::test]
async fn input_that_is_no_json_is_kept_and_goes_back_as_an_object() {
    let broken = [("id_1", "read", "{\"path\": ")];
    for (kind, model, place) in [
        ("openai", "gpt-4.1-mini", "/messages/2/tool_calls/0/function/arguments"),
        ("openai_responses", "openai-responses/gpt-4.1-mini", "/input/1/arguments"),
        ("anthropic", "claude-haiku-4-5", "/messages/1/content/0/input"),
    ] {
        let server = Server::start([act(kind, "", &broken), Act::Plain(500, vec![], String::new())]).await;
        let models = server.models(&CassetteMode::Off);
        let (answer, _) = ask(&models, &first(model)).await.unwrap();
        assert_eq!(answer.calls[0].input, json!("{\"path\": "), "{model}");
        ask(&models, &second(model, &answer)).await.unwrap_err();
        let sent = server.body(1).pointer(place).cloned().unwrap();
        let sent = sent.as_str().map_or(sent.clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!(sent, json!({"malformed": "{\"path\": "}), "{model}");
    }
}

#[tokio::test]
async fn whole_answers_call_tools_as_well() {
    let chat = json!({"model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "read", "arguments": "{\"path\":\"x\"}"}}]}}]});
    let message = json!({"type": "message", "model": "m", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "a", "name": "read", "input": {"path": "x"}}], "usage": {"input_tokens": 1, "output_tokens": 1}});
    let response = super::wire::response(&json!({"status": "completed", "output": [
        {"type": "function_call", "id": "fc", "call_id": "a", "name": "read", "arguments": "{\"path\":\"x\"}", "status": "completed"}]}));
    let bodies =
        [("gpt-4.1-mini", chat), ("claude-haiku-4-5", message), ("openai-responses/gpt-4.1-mini", response)];
    for (model, body) in bodies {
        let plain = Act::Plain(200, vec![("content-type", "application/json")], body.to_string());
        let server = Server::start([plain]).await;
        let (answer, _) = ask(&server.models(&CassetteMode::Off), &first(model)).await.unwrap();
        assert_eq!(
            (answer.stop, &answer.calls[0].input),
            (StopReason::Tools, &json!({"path": "x"})),
            "{model}"
        );
        assert_eq!((answer.text.as_str(), answer.calls[0].id.as_str()), ("", "a"), "{model}");
    }
}

#[tokio::test]
async fn calls_are_on_tape_without_secrets_and_come_back_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("run.jsonl");
    let input = format!("{{\"path\": \"{KEY}\"}}");
    let acts = [act("openai", "", &[("id_1", "read", &input)]), Act::Stream(openai("done", "stop"))];
    let server = Server::start(acts).await;
    let recording = server.models(&CassetteMode::Record(tape.clone()));
    let model = "gpt-4.1-mini";
    let (answer, _) = ask(&recording, &first(model)).await.unwrap();
    assert_eq!(answer.calls[0].input, json!({"path": "***"}));
    ask(&recording, &second(model, &answer)).await.unwrap();
    assert!(!std::fs::read_to_string(&tape).unwrap().contains(KEY));

    let replaying = server.models(&CassetteMode::Replay(tape.clone()));
    let (again, _) = ask(&replaying, &first(model)).await.unwrap();
    assert_eq!((again.replayed, &again.calls, again.stop), (true, &answer.calls, StopReason::Tools));
    assert_eq!(ask(&replaying, &second(model, &again)).await.unwrap().0.text, "done");
    assert_eq!(server.seen().len(), 2);
    let mut other = second(model, &again);
    other.messages[2].results[0].text = "something else".to_owned();
    other.tools.pop();
    let replaying = server.models(&CassetteMode::Replay(tape));
    let failure = ask(&replaying, &other).await.unwrap_err();
    assert_eq!(failure.detail["differs"], json!(["message 3", "tools"]), "{failure}");
}

#[tokio::test]
async fn a_model_without_tools_is_not_asked_and_a_cut_off_call_is_paid() {
    let server = Server::start([Act::Cut(
        calls::openai("", &CALLS).split("[DONE]").next().unwrap()[..600].to_owned(),
    )])
    .await;
    let failure = ask(&server.models(&CassetteMode::Off), &first("openrouter/x")).await.unwrap_err();
    assert_eq!((failure.class, &failure.detail["lacks"]), (Class::Permanent, &json!(["tools"])));
    let failure = ask(&server.models(&CassetteMode::Off), &first("gpt-4.1-mini")).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.spent.get("usd") > 0.0, "{failure}");
}

#[tokio::test]
async fn a_model_without_tools_that_keeps_to_schemas_calls_them_all_the_same() {
    let call = r#"{"say": "I look.", "call": {"tool": "read", "input": {"path": "größe.md"}}}"#;
    let done = r#"{"say": "done", "call": null}"#;
    let server = Server::start([call, done].map(|text| Act::Stream(openai(text, "stop")))).await;
    let models =
        server.models_with("[models.\"openai/plain\"]\nfeatures = { tools = false, json_schema = true }\n");
    let (answer, _) = ask(&models, &first("openai/plain")).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("I look.", StopReason::Tools));
    assert_eq!(
        (answer.calls[0].name.as_str(), &answer.calls[0].input),
        ("read", &json!({"path": "größe.md"}))
    );
    let (end, _) = ask(&models, &second("openai/plain", &answer)).await.unwrap();
    assert_eq!((end.text.as_str(), end.stop, end.calls.len()), ("done", StopReason::End, 0));

    let (asked, told) = (server.body(0), server.body(1));
    assert_eq!(asked.get("tools"), None);
    let choices = &asked["response_format"]["json_schema"]["schema"]["properties"]["call"]["anyOf"];
    assert_eq!(choices[0]["properties"]["tool"]["enum"], json!(["read"]));
    assert_eq!(
        (&choices[1]["properties"]["input"], &choices[2]),
        (&*tools()[1].schema, &json!({"type": "null"}))
    );
    let system = told["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("be kind\n\nYou have tools."), "{system}");
    assert_eq!(told["messages"][3], json!({"role": "user", "content": "read brought:\nbrought 0"}));
}

#[tokio::test]
async fn a_long_conversation_is_marked_for_the_cache_at_its_end() {
    let server = Server::start([act("anthropic", "", &CALLS), Act::Plain(500, vec![], String::new())]).await;
    let models = server.models(&CassetteMode::Off);
    let marked = ModelRequest { cache_prompt: true, ..first("claude-haiku-4-5") };
    let (answer, _) = ask(&models, &marked).await.unwrap();
    let more = ModelRequest { cache_prompt: true, ..second("claude-haiku-4-5", &answer) };
    ask(&models, &more).await.unwrap_err();
    let body = server.body(1);
    let mark = json!({"type": "ephemeral"});
    assert_eq!(body["system"][0]["cache_control"], mark);
    assert_eq!(body["messages"][2]["content"][1]["cache_control"], mark);
    assert_eq!(body.to_string().matches("cache_control").count(), 2);
}
