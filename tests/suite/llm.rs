//! The verb `llm` with its client, against servers with the published formats of the providers.

mod batch;
mod batch_options;
mod behaviours;
pub mod bureau;
pub mod calls;
mod cassette;
mod dialects;
mod edits;
mod faults;
mod gates;
mod gathering;
mod keys;
mod paper;
mod refusals;
pub mod server;
mod tools;
mod unfinished;
pub mod wire;
mod witness;

use std::sync::{Arc, Mutex};

use atoll::clock::ManualClock;
use atoll::llm::{CassetteMode, Models};
use atoll::meter::Meter;
use atoll::schema::Schema;
use atoll::value::Value;
use atoll::verb::{Class, Context, CursorSink, DynVerb, Failure, Note, Output, Progress};
use atoll::verbs::llm::Llm;
use serde_json::json;

use server::{Act, KEY, Server, anthropic, openai, openai_chunk};

/// One step with a request.
struct Step {
    cx: Context,
    notes: Arc<Mutex<Vec<Note>>>,
    clock: ManualClock,
}

impl Step {
    fn new() -> Self {
        let clock = ManualClock::at(1);
        let mut cx = Context::for_test(".".into(), Arc::new(clock.clone()));
        let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
        let sink = notes.clone();
        cx.progress = Progress::new(move |note| sink.lock().unwrap().push(note));
        Self { cx, notes, clock }
    }

    fn with_schema(schema: Value) -> Self {
        let mut step = Self::new();
        step.cx.schema = Some(Arc::new(Schema::compile("schemas/verdict.json", schema).unwrap()));
        step
    }

    async fn run(&self, models: &Models, with: Value) -> Result<Output<Value>, Failure> {
        DynVerb::run(&Llm::new(models.clone()), with, self.cx.clone()).await
    }

    /// Reported lines and chunks.
    fn said(&self) -> (String, String) {
        let (mut lines, mut chunks) = (String::new(), String::new());
        for note in self.notes.lock().unwrap().iter() {
            match note {
                Note::Line { text } => lines = lines + text + "\n",
                Note::Chunk { text } => chunks += text,
                Note::Count { .. } => {}
            }
        }
        (lines, chunks)
    }
}

fn verdict() -> Value {
    json!({"type": "object", "required": ["score"], "additionalProperties": false,
        "properties": {"score": {"type": "integer", "minimum": 0}}})
}

fn meter(units: &[(&str, f64)]) -> Meter {
    units.iter().fold(Meter::new(), |meter, (unit, sum)| meter.with(unit, *sum))
}

#[tokio::test]
async fn chat_completions_go_over_the_wire_as_published() {
    let server = Server::start([Act::Stream(openai("Grüße, Welt", "stop"))]).await;
    let step = Step::new();
    let with = json!({"model": "gpt-4.1-mini", "system": "be kind", "prompt": "greet", "temperature": 0.5,
        "max_tokens": 64, "seed": 7, "stop": ["END"]});
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(
        output.value,
        json!({"text": "Grüße, Welt", "model": "openai/gpt-x-2026", "stop": "end",
            "usage": {"tokens_in": 1000, "tokens_out": 100, "cache_read": 400, "cache_write": 0}})
    );
    // 600 at 0.40 $, 400 cached at 0.10 $, 100 written at 1.60 $ a million
    let spent = [("calls", 1.0), ("tokens_in", 1000.0), ("tokens_out", 100.0), ("tokens_cached", 400.0)];
    assert_eq!(output.spent.plain(), meter(&spent).with("usd", 0.000_44));
    assert_eq!(&*output.spent.shares()[0].to, "openai/gpt-4.1-mini");
    assert_eq!(
        server.body(0),
        json!({"model": "gpt-4.1-mini",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "greet"}],
            "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 64,
            "temperature": 0.5, "seed": 7, "stop": ["END"]})
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v1/chat/completions");
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert!(seen.headers["idempotency-key"].to_str().unwrap().starts_with("test-0-"));
    let (lines, chunks) = step.said();
    assert_eq!(chunks, "Grüße, Welt");
    assert!(lines.contains("asking openai/gpt-4.1-mini: 2 messages, 12 bytes, at most 64 tokens"), "{lines}");
    assert!(!lines.contains("greet"), "sizes are logged, contents are not");
}

#[tokio::test]
async fn messages_go_over_the_wire_as_published() {
    let server = Server::start([Act::Stream(anthropic("{\"score\": 90}", "end_turn"))]).await;
    let step = Step::with_schema(verdict());
    let with = json!({"model": "claude-sonnet-4-6", "system": "judge", "effort": "high", "cache_prompt": true,
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]});
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(output.value, json!({"score": 90}));
    // 100 at 3 $, 700 from the cache at 0.30 $, 200 into it at 3.75 $, 100 written at 15 $ a million
    assert_eq!(
        output.spent.plain(),
        meter(&[
            ("calls", 1.0),
            ("tokens_in", 1000.0),
            ("tokens_out", 100.0),
            ("tokens_cached", 700.0),
            ("usd", 0.002_76)
        ])
    );
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    assert_eq!(
        server.body(0),
        json!({"model": "claude-sonnet-4-6", "max_tokens": 16384, "stream": true,
            "system": [{"type": "text", "text": "judge", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": text("a")}, {"role": "assistant", "content": text("b")}, {"role": "user", "content": text("c")}],
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema":
                {"type": "object", "required": ["score"], "additionalProperties": false, "properties": {"score": {"type": "integer"}}}}}})
    );
    let headers = &server.seen()[0].headers;
    assert_eq!(
        (&headers["x-api-key"], &headers["anthropic-version"]),
        (&KEY.parse().unwrap(), &"2023-06-01".parse().unwrap())
    );
}

#[tokio::test]
async fn a_schema_goes_to_the_provider_and_the_answer_is_checked_all_the_same() {
    let server = Server::start([
        Act::Stream(openai("{\"score\": \"7\"}", "stop")),
        Act::Stream(openai("```json\n{\"score\": -1}\n```", "stop")),
        Act::Stream(openai("{\"score\": 3}", "stop")),
    ])
    .await;
    let models = server.models(&CassetteMode::Off);
    let step = Step::with_schema(verdict());
    let with = json!({"model": "gpt-5", "prompt": "judge", "temperature": 0.2, "seed": 1});
    let output = step.run(&models, with.clone()).await.unwrap();
    assert_eq!(output.value, json!({"score": 7}), "a number in a text, where the schema wants a number");
    let body = server.body(0);
    assert_eq!(
        body["response_format"]["json_schema"],
        json!({"name": "verdict", "schema": verdict(), "strict": true})
    );
    assert_eq!(body.get("temperature"), None, "this model does not support it");
    assert!(step.said().0.contains("not supported and removed: temperature"), "{}", step.said().0);

    let failure = step.run(&models, with).await.unwrap_err();
    assert_eq!(failure.class, Class::Rejected);
    assert!(failure.message.contains("/score: -1 is less than the minimum of 0"), "{failure}");
    assert_eq!(failure.detail["answer"], "```json\n{\"score\": -1}\n```");
    assert_eq!(
        (&failure.detail["stop"], failure.detail["violations"].as_array().unwrap().len()),
        (&json!("end"), 1)
    );
    assert!(failure.spent.get("usd") > 0.0, "a rejected answer was paid for");

    // For a provider without schemas, the schema is in the prompt.
    let with = json!({"model": "openrouter/x/y", "prompt": "judge", "unknown_cost": "count"});
    let output = step.run(&models, with).await.unwrap();
    assert!(output.spent.iter().all(|(unit, _)| unit != "usd"), "an unknown price is not zero");
    let body = server.body(2);
    assert_eq!(body.get("response_format"), None);
    assert!(body["messages"][0]["content"].as_str().unwrap().contains(r#""minimum":0"#), "{body}");
}

#[tokio::test]
async fn a_cut_off_answer_is_continued_until_it_is_whole() {
    let server = Server::start([
        Act::Stream(openai("{\"sco", "length")),
        Act::Stream(openai("re\": 4", "length")),
        Act::Stream(openai("2}", "stop")),
    ])
    .await;
    let step = Step::with_schema(verdict());
    let with = json!({"model": "gpt-4.1-mini", "prompt": "judge", "max_tokens": 2});
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(output.value, json!({"score": 42}));
    assert!(output.spent.get("calls") > 2.9);
    let body = server.body(2);
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": "{\"score\": 4"}));
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
    assert_eq!(body.get("response_format"), None, "the rest of a value is not a value");
}

#[tokio::test]
async fn the_beginning_of_an_answer_is_not_paid_for_again() {
    let server = Server::start([
        Act::Stream(openai("{\"score\": 4", "length")),
        Act::Plain(500, vec![], "down".to_owned()),
        Act::Stream(openai("2}", "stop")),
        Act::Stream(openai("{\"sco", "length")),
        Act::Stream(openai("pe\": 42}", "stop")),
    ])
    .await;
    let models = server.models(&CassetteMode::Off);
    let with = json!({"model": "gpt-4.1-mini", "prompt": "judge", "max_tokens": 2});
    let saved: Arc<Mutex<Vec<Value>>> = Arc::default();
    let attempt = |number: u32| {
        let mut step = Step::with_schema(verdict());
        let sink = saved.clone();
        step.cx.cursors = CursorSink::new(move |cursor| {
            sink.lock().unwrap().push(cursor);
            Box::pin(async { Ok(()) })
        });
        step.cx.attempt = number;
        step.cx.cursor = saved.lock().unwrap().last().cloned();
        step
    };
    let failure = attempt(1).run(&models, with.clone()).await.unwrap_err();
    assert_eq!((failure.class, failure.spent.get("calls") > 0.9), (Class::Transient, true), "{failure}");
    assert_eq!(saved.lock().unwrap()[0]["spent"]["calls"], 1, "and it is booked from then on");
    let output = attempt(2).run(&models, with.clone()).await.unwrap();
    assert_eq!(output.value, json!({"score": 42}));
    assert!(output.spent.get("calls") < 1.1, "only the rest was asked for: {:?}", output.spent);
    let told = server.body(2)["messages"].clone();
    assert_eq!(told[1], json!({"role": "assistant", "content": "{\"score\": 4"}));

    saved.lock().unwrap().clear();
    let failure = attempt(1).run(&models, with).await.unwrap_err();
    assert_eq!(failure.class, Class::Rejected, "{failure}");
    let saved = saved.lock().unwrap();
    assert_eq!(saved.last().unwrap()["begun"], json!({}), "a rejected answer is requested again");
}

#[tokio::test]
async fn files_are_never_half_and_plain_text_keeps_its_limit() {
    let head = "=== FILE: main.py ===\nprint('a long enough line of code')\nprint(";
    let server = Server::start([
        Act::Stream(anthropic(head, "max_tokens")),
        // This model repeats the end of its text.
        Act::Stream(anthropic(
            "print('a long enough line of code')\nprint(2)\n=== END FILE ===\n",
            "end_turn",
        )),
        Act::Stream(anthropic("a beginning", "max_tokens")),
        Act::Stream(anthropic("a", "max_tokens")),
        Act::Stream(anthropic("b", "max_tokens")),
        Act::Stream(anthropic("c", "max_tokens")),
        Act::Stream(anthropic("d", "max_tokens")),
    ])
    .await;
    let models = server.models(&CassetteMode::Off);
    let ask = |format: &str| json!({"model": "claude-haiku-4-5", "prompt": "write", "format": format, "max_tokens": 9});
    let output = Step::new().run(&models, ask("files")).await.unwrap();
    let text = output.value["text"].as_str().unwrap();
    assert!(text.ends_with("=== END FILE ===\n"), "{text}");
    assert_eq!(output.value["usage"]["tokens_out"], 200);

    let output = Step::new().run(&models, ask("text")).await.unwrap();
    assert_eq!((&output.value["text"], &output.value["stop"]), (&json!("a beginning"), &json!("length")));

    let failure = Step::new().run(&models, ask("files")).await.unwrap_err();
    assert_eq!(failure.class, Class::Rejected);
    assert!(failure.message.contains("truncated"), "{failure}");
    assert_eq!(failure.detail["answer"], "abcd");
    assert!(failure.spent.get("calls") > 3.9);
}

#[tokio::test]
async fn samples_are_asked_together_and_voted_on() {
    let answers = [70, 90, 20].map(|score| Act::Stream(openai(&format!("{{\"score\": {score}}}"), "stop")));
    let open = json!({"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}});
    let with = json!({"model": "gpt-4.1-mini", "prompt": "judge", "samples": 3, "vote": "median", "vote_on": "score"});
    for (schema, fields) in [(open, 3), (verdict(), 1)] {
        let server = Server::start(answers.clone()).await;
        let step = Step::with_schema(schema);
        let output = step.run(&server.models(&CassetteMode::Off), with.clone()).await.unwrap();
        assert_eq!(output.value["score"], 70);
        assert_eq!(
            output.value.as_object().unwrap().len(),
            fields,
            "further fields only where the schema allows them"
        );
        assert!(output.spent.get("calls") > 2.9);
        let (lines, chunks) = step.said();
        assert!(
            lines.contains("3 samples, spread 70") && chunks.is_empty(),
            "pieces of three would be mixed: {lines}"
        );
        if fields == 3 {
            assert_eq!(output.value["spread"], 70.0);
            assert_eq!(output.value["samples"].as_array().unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn one_broken_sample_does_not_lose_the_others() {
    let server = Server::start([
        Act::Stream(openai("{\"score\": 1}", "stop")),
        Act::Stream(openai("no idea", "stop")),
        Act::Stream(openai("{\"score\": 1}", "stop")),
    ])
    .await;
    let with = json!({"model": "gpt-4.1-mini", "prompt": "judge", "samples": 3, "vote": "majority"});
    let step = Step::with_schema(verdict());
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(output.value, json!({"score": 1}));
    assert!(output.spent.get("calls") > 2.9, "the incomplete answer was paid for as well");
    assert!(step.said().0.contains("1 of 3 samples failed"), "{}", step.said().0);
}

#[tokio::test]
async fn the_next_model_answers_where_one_is_down() {
    let server = Server::start([
        Act::Plain(
            529,
            vec![],
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#.into(),
        ),
        Act::Stream(openai("here", "stop")),
    ])
    .await;
    let step = Step::new();
    let with = json!({"model": ["claude-sonnet-4-6", "gpt-4.1-mini"], "prompt": "hi"});
    let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(
        (&output.value["text"], &output.value["switched"]),
        (&json!("here"), &json!(["claude-sonnet-4-6"]))
    );
    let lines = step.said().0;
    assert!(lines.contains("claude-sonnet-4-6 failed (transient: anthropic answered 529: Overloaded): calling gpt-4.1-mini instead"), "{lines}");
}

#[tokio::test]
async fn a_switch_is_in_an_answer_that_allows_it() {
    let open = json!({"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}}});
    let with = json!({"model": ["gpt-5", "gpt-4.1-mini"], "prompt": "judge"});
    for (schema, value) in
        [(open, json!({"score": 1, "switched": ["gpt-5"]})), (verdict(), json!({"score": 1}))]
    {
        let answer = Act::Stream(openai("{\"score\": 1}", "stop"));
        let server = Server::start([Act::Plain(500, vec![], String::new()), answer]).await;
        let output =
            Step::with_schema(schema).run(&server.models(&CassetteMode::Off), with.clone()).await.unwrap();
        assert_eq!(output.value, value);
    }
}

#[tokio::test]
async fn a_refusal_is_refused_in_both_dialects() {
    let declined =
        openai_chunk(&json!({"role": "assistant", "content": null, "refusal": "I won't"}), &Value::Null);
    for (model, act) in [
        ("gpt-4.1-mini", declined + &server::openai_close("stop")),
        ("gpt-4.1-mini", openai("par", "content_filter")),
        ("claude-haiku-4-5", anthropic("", "refusal")),
    ] {
        let server = Server::start([Act::Stream(act)]).await;
        let failure = Step::new()
            .run(&server.models(&CassetteMode::Off), json!({"model": model, "prompt": "x"}))
            .await
            .unwrap_err();
        assert_eq!(failure.class, Class::Refused, "{failure}");
        assert!(failure.spent.get("tokens_in") > 999.0);
    }
}

#[tokio::test]
async fn servers_that_do_not_stream_or_count_are_understood() {
    let whole = json!({"id": "c", "object": "chat.completion", "model": "small",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "whole"}}]});
    let message = json!({"type": "message", "role": "assistant", "model": "claude-y", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "whole"}], "usage": {"input_tokens": 5, "output_tokens": 2}});
    let kind = || vec![("content-type", "application/json")];
    let server = Server::start([
        Act::Plain(200, kind(), whole.to_string()),
        Act::Plain(200, kind(), message.to_string()),
    ])
    .await;
    let models = server.models(&CassetteMode::Off);
    let step = Step::new();
    let output = step.run(&models, json!({"model": "local/small", "prompt": "seven b"})).await.unwrap();
    assert_eq!(output.value["text"], "whole");
    assert_eq!(
        output.value["usage"],
        json!({"tokens_in": 2, "tokens_out": 2, "cache_read": 0, "cache_write": 0, "estimated": true})
    );
    assert_eq!(server.seen()[0].headers.get("authorization"), None, "a local model needs no key");
    assert!(step.said().0.contains("figures estimated"));
    let output = step.run(&models, json!({"model": "claude-haiku-4-5", "prompt": "hi"})).await.unwrap();
    assert_eq!((&output.value["text"], &output.value["usage"]["tokens_in"]), (&json!("whole"), &json!(5)));
}

/// A real model, if one is served at the address in `ATOLL_LOCAL_LLM`, such as `http://127.0.0.1:8089/v1`, in the three formats of llama.cpp.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the tests' own switch")]
async fn a_real_local_model_answers_in_json() {
    let Ok(base) = std::env::var("ATOLL_LOCAL_LLM") else {
        println!("skipped: ATOLL_LOCAL_LLM is not set (the address of an OpenAI-compatible server)");
        return;
    };
    let models = server::models(&base, &CassetteMode::Off);
    let with = |model: &str| {
        json!({"model": model, "prompt": "Score the sum 2 + 2 = 4 from 0 to 100.", "max_tokens": 64, "temperature": 0,
            "unknown_cost": "count"})
    };
    let output = Step::with_schema(verdict()).run(&models, with("local/default")).await.unwrap();
    assert!(output.value["score"].is_u64(), "{}", output.value);
    assert!(output.spent.get("tokens_out") >= 1.0);
    // In its other formats, that server does not enforce schemas.
    for model in ["openai-responses/default", "anthropic/default"] {
        let output = Step::new().run(&models, with(model)).await.unwrap();
        assert!(!output.value["text"].as_str().unwrap().is_empty(), "{model}: {}", output.value);
        assert!(output.spent.get("tokens_out") >= 1.0, "{model}");
    }
}
