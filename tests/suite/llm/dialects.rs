//! The other wire formats, and what each of them can express.
#![expect(clippy::disallowed_methods, reason = "writes the pictures that are shown")]

use atoll::llm::CassetteMode;
use atoll::verb::Class;
use serde_json::{Value, json};

use super::server::{Act, KEY, Server, openai};
use super::wire::{self, anthropic_tool, gemini, ollama, openai_tool, responses};
use super::{Step, meter, verdict};

/// A request with all options.
fn everything(model: &str) -> Value {
    json!({"model": model, "system": "be kind", "prompt": "greet", "temperature": 0.5, "max_tokens": 64, "seed": 7,
        "stop": ["END"], "effort": "high"})
}

fn spent() -> [(&'static str, f64); 4] {
    [("calls", 1.0), ("tokens_in", 1000.0), ("tokens_out", 100.0), ("tokens_cached", 400.0)]
}

#[tokio::test]
async fn responses_go_over_the_wire_as_published() {
    let server = Server::start([Act::Stream(responses("Grüße, Welt", ""))]).await;
    let step = Step::new();
    let mut with = everything("openai-responses/gpt-4.1-mini");
    with.as_object_mut().unwrap().remove("stop");
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(
        output.value,
        json!({"text": "Grüße, Welt", "model": "openai-responses/gpt-x-2026", "stop": "end",
            "usage": {"tokens_in": 1000, "tokens_out": 100, "cache_read": 400, "cache_write": 0}})
    );
    // The price is that of the same model in the other interface.
    assert_eq!(output.spent.plain(), meter(&spent()).with("usd", 0.000_44));
    assert_eq!(
        server.body(0),
        json!({"model": "gpt-4.1-mini",
            "input": [{"role": "user", "content": "greet"}],
            "stream": true, "store": false, "max_output_tokens": 64, "instructions": "be kind", "temperature": 0.5})
    );
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.path.as_str(), &seen.headers["authorization"]),
        ("/v1/responses", &format!("Bearer {KEY}").parse().unwrap())
    );
    let (lines, chunks) = step.said();
    assert_eq!(chunks, "Grüße, Welt");
    assert!(lines.contains("not supported and removed: effort, seed"), "{lines}");
}

#[tokio::test]
async fn responses_know_schemas_effort_and_history() {
    let server = Server::start([Act::Stream(responses("{\"score\": 3}", ""))]).await;
    let with = json!({"model": "openai-responses/gpt-5", "effort": "low", "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]});
    let output = Step::with_schema(verdict()).run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(output.value, json!({"score": 3}));
    let body = server.body(0);
    assert_eq!(body["input"][1], json!({"role": "assistant", "content": "b"}));
    assert_eq!(body["reasoning"], json!({"effort": "low"}));
    let format = json!({"type": "json_schema", "name": "verdict", "schema": verdict(), "strict": true});
    assert_eq!(body["text"], json!({ "format": format }));
}

#[tokio::test]
async fn gemini_goes_over_the_wire_as_published() {
    let server = Server::start([Act::Stream(gemini("Grüße, Welt", "STOP"))]).await;
    let step = Step::new();
    let output = step.run(&server.models(&CassetteMode::Off), everything("gemini-2.5-flash")).await.unwrap();
    assert_eq!(
        output.value,
        json!({"text": "Grüße, Welt", "model": "gemini/gemini-x-2026", "stop": "end",
            "usage": {"tokens_in": 1000, "tokens_out": 100, "cache_read": 400, "cache_write": 0}})
    );
    // 600 at 0.30 $, 400 cached at 0.03 $, 100 written and thought at 2.50 $ a million
    assert_eq!(output.spent.plain(), meter(&spent()).with("usd", 0.000_442));
    assert_eq!(
        server.body(0),
        json!({"contents": [{"role": "user", "parts": [{"text": "greet"}]}],
            "systemInstruction": {"parts": [{"text": "be kind"}]},
            "generationConfig": {"maxOutputTokens": 64, "temperature": 0.5, "seed": 7, "stopSequences": ["END"],
                "thinkingConfig": {"thinkingBudget": 16384}}})
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v1/models/gemini-2.5-flash:streamGenerateContent");
    assert_eq!(seen.query, "alt=sse");
    assert_eq!(seen.headers["x-goog-api-key"], KEY);
    assert_eq!(step.said().1, "Grüße, Welt", "thoughts are not part of the answer");
}

#[tokio::test]
async fn gemini_is_held_to_a_schema_in_its_own_words() {
    let server = Server::start([Act::Stream(gemini("[{\"score\": 3}]", "STOP"))]).await;
    let schema = json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "object", "required": ["score"],
        "properties": {"score": {"const": 3}, "why": {"type": "string", "minLength": 1}}}});
    let with = json!({"model": "gemini-3-pro-preview", "effort": "low", "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]});
    let output = Step::with_schema(schema).run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(output.value, json!([{"score": 3}]));
    let body = server.body(0);
    assert_eq!(body["contents"][1], json!({"role": "model", "parts": [{"text": "b"}]}));
    let config = &body["generationConfig"];
    assert_eq!(config["thinkingConfig"], json!({"thinkingLevel": "LOW"}));
    assert_eq!(config["responseMimeType"], "application/json");
    assert_eq!(
        config["responseJsonSchema"],
        json!({"type": "array", "minItems": 1, "items": {"type": "object", "required": ["score"],
            "properties": {"score": {"enum": [3]}, "why": {"type": "string"}}}})
    );
}

#[tokio::test]
async fn ollama_goes_over_the_wire_as_published() {
    let server = Server::start([
        Act::Lines(ollama("Grüße, Welt", "stop")),
        Act::Lines(ollama("{\"score\": 3}", "stop")),
    ])
    .await;
    let step = Step::new();
    let models = server.models(&CassetteMode::Off);
    let output = step.run(&models, everything("ollama/small:1b")).await.unwrap();
    assert_eq!(
        output.value,
        json!({"text": "Grüße, Welt", "model": "ollama/small:1b", "stop": "end",
            "usage": {"tokens_in": 1000, "tokens_out": 100, "cache_read": 0, "cache_write": 0}})
    );
    assert_eq!(output.spent.get("usd").to_bits(), 0.0_f64.to_bits(), "free, but counted");
    assert_eq!(
        server.body(0),
        json!({"model": "small:1b", "stream": true,
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "greet"}],
            "options": {"num_predict": 64, "temperature": 0.5, "seed": 7, "stop": ["END"]}})
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/api/chat", "an address that ends in /v1 is accepted");
    assert_eq!(seen.headers.get("authorization"), None);
    assert!(step.said().0.contains("not supported and removed: effort"), "{}", step.said().0);
    assert_eq!(step.said().1, "Grüße, Welt");

    let with = json!({"model": "ollama/small:1b", "prompt": "judge"});
    let output = Step::with_schema(verdict()).run(&models, with).await.unwrap();
    assert_eq!((output.value, &server.body(1)["format"]), (json!({"score": 3}), &verdict()));
}

#[tokio::test]
async fn the_context_that_is_known_is_asked_for() {
    let server = Server::start([Act::Lines(ollama("x", "stop"))]).await;
    let more = "[models.\"ollama/thinker\"]\ncontext = 32768\nfeatures = { effort = true }";
    let with = json!({"model": "ollama/thinker", "prompt": "hi", "effort": "low"});
    Step::new().run(&server.models_with(more), with).await.unwrap();
    let body = server.body(0);
    assert_eq!((&body["options"]["num_ctx"], &body["think"]), (&json!(32768), &json!(true)));
}

#[tokio::test]
async fn a_tool_call_is_the_answer_where_there_is_no_better_way() {
    let server = Server::start([
        Act::Stream(anthropic_tool("verdict", "{\"score\": 4}")),
        Act::Stream(openai_tool("verdict", "{\"score\": 5}")),
    ])
    .await;
    let models = server.models_with("[models.\"gpt-4o\"]\nfeatures = { json_schema = false }");
    let step = Step::with_schema(verdict());
    let output = step.run(&models, json!({"model": "claude-sonnet-4", "prompt": "judge"})).await.unwrap();
    assert_eq!((output.value, output.spent.get("tokens_in") > 999.0), (json!({"score": 4}), true));
    let body = server.body(0);
    let tool = json!({"name": "verdict", "description": "Gives the answer.", "input_schema": verdict()});
    assert_eq!(body["tools"], json!([tool]));
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "verdict"}));
    assert_eq!(body.get("output_config"), None);
    assert_eq!(body.get("system"), None, "the prompt contains no schema");

    let output = step.run(&models, json!({"model": "gpt-4o", "prompt": "judge"})).await.unwrap();
    assert_eq!(output.value, json!({"score": 5}));
    let body = server.body(1);
    assert_eq!(body["tools"][0]["function"]["parameters"], verdict());
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "verdict"}}));
    assert_eq!(body.get("response_format"), None);
}

/// The smallest content that is recognized as PNG by its first bytes.
const PNG: &[u8] = &[0x89, b'P', b'N', b'G', 13, 10, 26, 10];
const PNG64: &str = "iVBORw0KGgo=";

#[tokio::test]
async fn pictures_are_shown_in_every_dialect() {
    let acts = || {
        let answer = super::server::anthropic("seen", "end_turn");
        [
            (
                "gpt-4.1-mini",
                Act::Stream(openai("seen", "stop")),
                "/messages/0/content/0",
                json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG64}")}}),
            ),
            (
                "openai-responses/gpt-4.1-mini",
                Act::Stream(responses("seen", "")),
                "/input/0/content/0",
                json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PNG64}"), "detail": "auto"}),
            ),
            (
                "claude-haiku-4-5",
                Act::Stream(answer),
                "/messages/0/content/0",
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG64}}),
            ),
            (
                "gemini-2.5-flash",
                Act::Stream(gemini("seen", "STOP")),
                "/contents/0/parts/0",
                json!({"inlineData": {"mimeType": "image/png", "data": PNG64}}),
            ),
            ("ollama/eye", Act::Lines(ollama("seen", "stop")), "/messages/0/images/0", json!(PNG64)),
        ]
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("shot.png"), PNG).unwrap();
    let mut step = Step::new();
    step.cx.workspace.project = dir.path().to_owned();
    let kept = step.cx.blobs.put(PNG).unwrap().digest;
    let evidence = json!({"name": "screenshot", "media_type": "image/png", "length": 8, "digest": kept});
    for (model, act, place, shown) in acts() {
        let server = Server::start([act]).await;
        let models = server.models_with("[models.\"ollama/eye\"]\nfeatures = { images = true }");
        let with = json!({"model": model, "prompt": "look", "images": ["shot.png", evidence]});
        let output = step.run(&models, with).await.unwrap();
        assert_eq!(output.value["text"], "seen");
        let body = server.body(0);
        assert_eq!(body.pointer(place), Some(&shown), "{model}: {body}");
        let second = place.trim_end_matches('0').to_owned() + "1";
        assert_eq!(body.pointer(&second), Some(&shown), "{model}: {body}");
    }
}

#[tokio::test]
async fn pictures_are_no_part_of_a_tape_but_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.png"), PNG).unwrap();
    std::fs::write(dir.path().join("b.png"), [PNG, &[1]].concat()).unwrap();
    let tape = dir.path().join("run.jsonl");
    let server = Server::start([Act::Stream(openai("an a", "stop"))]).await;
    let mut step = Step::new();
    step.cx.workspace.project = dir.path().to_owned();
    let with = |picture: &str| json!({"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "look", "images": [picture]}]});
    step.run(&server.models(&CassetteMode::Record(tape.clone())), with("a.png")).await.unwrap();
    assert!(!std::fs::read_to_string(&tape).unwrap().contains(PNG64));
    let replaying = server.models(&CassetteMode::Replay(tape));
    assert_eq!(step.run(&replaying, with("a.png")).await.unwrap().value["text"], "an a");
    let failure = step.run(&replaying, with("b.png")).await.unwrap_err();
    assert_eq!(failure.detail["differs"], json!(["message 1"]), "{failure}");
}

#[tokio::test]
async fn what_a_model_cannot_be_given_is_refused_or_left_to_another() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.png"), PNG).unwrap();
    std::fs::write(dir.path().join("a.txt"), "text").unwrap();
    let server = Server::start([Act::Stream(openai("seen", "stop"))]).await;
    let models = server.models(&CassetteMode::Off);
    let mut step = Step::new();
    step.cx.workspace.project = dir.path().to_owned();
    for (with, words) in [
        (
            json!({"model": "ollama/blind", "prompt": "x", "images": ["a.png"]}),
            "ollama/blind does not support images",
        ),
        (json!({"model": "gpt-5", "prompt": "x", "stop": ["."]}), "openai/gpt-5 does not support stop"),
        (json!({"model": "gpt-4o", "prompt": "x", "images": ["a.txt"]}), "\"a.txt\" is not a picture"),
        (json!({"model": "gpt-4o", "prompt": "x", "images": ["none.png"]}), "\"none.png\" cannot be read"),
        (json!({"model": "gpt-4o", "prompt": "x", "images": [{"digest": "00".repeat(32)}]}), "`images`: "),
    ] {
        let failure = step.run(&models, with.clone()).await.unwrap_err();
        assert_eq!(failure.class, Class::Permanent, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    assert!(server.seen().is_empty());
    let with = json!({"model": ["ollama/blind", "gpt-4o"], "prompt": "x", "images": ["a.png"], "cache_prompt": true});
    let output = step.run(&models, with).await.unwrap();
    assert_eq!(
        (&output.value["text"], &output.value["switched"]),
        (&json!("seen"), &json!(["ollama/blind"]))
    );
    let said = step.said().0;
    assert!(said.contains("ollama/blind does not support images): calling gpt-4o instead"), "{said}");
    assert!(said.contains("not supported and removed: cache mark"), "{said}");
}

#[tokio::test]
async fn every_dialect_says_why_an_answer_ended() {
    let refusal = wire::responses_event(
        &json!({"type": "response.refusal.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "I won't"}),
    ) + &responses("", "");
    let blocked = "data: {\"promptFeedback\": {\"blockReason\": \"SAFETY\"}, \"usageMetadata\": {\"promptTokenCount\": 5}}\n\n";
    for (model, act, class) in [
        ("openai-responses/gpt-5", Act::Stream(refusal), Class::Refused),
        ("openai-responses/gpt-5", Act::Stream(responses("par", "content_filter")), Class::Refused),
        ("gemini-2.5-pro", Act::Stream(gemini("par", "SAFETY")), Class::Refused),
        ("gemini-2.5-pro", Act::Stream(blocked.to_owned()), Class::Refused),
    ] {
        let server = Server::start([act]).await;
        let failure = Step::new()
            .run(&server.models(&CassetteMode::Off), json!({"model": model, "prompt": "x"}))
            .await
            .unwrap_err();
        assert_eq!(failure.class, class, "{model}: {failure}");
        assert!(failure.spent.get("tokens_in") >= 5.0, "{model}");
    }
    for (model, act) in [
        ("openai-responses/gpt-5", Act::Stream(responses("a beg", "max_output_tokens"))),
        ("gemini-2.5-pro", Act::Stream(gemini("a beg", "MAX_TOKENS"))),
        ("ollama/x", Act::Lines(ollama("a beg", "length"))),
    ] {
        let server = Server::start([act]).await;
        let with = json!({"model": model, "prompt": "x", "max_tokens": 3});
        let output = Step::new().run(&server.models(&CassetteMode::Off), with).await.unwrap();
        assert_eq!(
            (&output.value["text"], &output.value["stop"]),
            (&json!("a beg"), &json!("length")),
            "{model}"
        );
    }
}

#[tokio::test]
async fn whole_answers_are_understood_in_every_dialect() {
    let response = wire::response(
        &json!({"status": "completed", "output": [{"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "whole", "annotations": []}]}],
        "usage": {"input_tokens": 5, "output_tokens": 2}}),
    );
    let generated = json!([{"candidates": [{"content": {"parts": [{"text": "who"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "le"}]}, "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}}]);
    let chat = json!({"model": "m", "message": {"role": "assistant", "content": "whole"}, "done": true, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2});
    for (model, body) in
        [("openai-responses/gpt-5", response), ("gemini-2.5-pro", generated), ("ollama/x", chat)]
    {
        let server =
            Server::start([Act::Plain(200, vec![("content-type", "application/json")], body.to_string())])
                .await;
        let output = Step::new()
            .run(&server.models(&CassetteMode::Off), json!({"model": model, "prompt": "x"}))
            .await
            .unwrap();
        assert_eq!(
            (&output.value["text"], &output.value["usage"]["tokens_in"]),
            (&json!("whole"), &json!(5)),
            "{model}"
        );
    }
}
