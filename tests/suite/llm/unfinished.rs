//! Failed and incomplete answers: their usage is booked, and their tool calls are not carried out. Also
//! unusual forms of answers.
#![expect(clippy::disallowed_methods, reason = "a server of the tests' own")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atoll::clock::{Clock as _, ManualClock};
use atoll::llm::{CallContext, CassetteMode, StopReason};
use atoll::verb::Class;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::behaviours::{ANTHROPIC, GEMINI, OLLAMA, OPENAI, RESPONSES, asked};
use super::calls::{self, act};
use super::server::{Act, Server, anthropic, anthropic_open, named, openai, openai_chunk, openai_open};
use super::tools::{self, MODELS};
use super::wire::{self, gemini_event, ollama, response, responses_event, responses_open};
use super::{Step, server};

fn data(event: &Value) -> String {
    format!("data: {event}\n\n")
}

#[tokio::test]
async fn usage_that_is_said_after_a_failure_is_booked() {
    let usage = json!({"prompt_tokens": 100_000, "completion_tokens": 50_000});
    let last = data(&json!({"choices": [], "usage": usage})) + "data: [DONE]\n\n";
    let half = || openai_open("half");
    let reason = |word: &str| openai_chunk(&json!({}), &json!(word));
    let error = json!({"error": {"message": "dead", "code": 500}});
    let big = json!({"input_tokens": 100_000, "output_tokens": 50_000});
    let failed =
        json!({"status": "failed", "error": {"code": "server_error", "message": "boom"}, "usage": big});
    let cancelled = json!({"type": "message_delta", "delta": {"stop_reason": "error"}, "usage": big});
    let gemini_usage = json!({"promptTokenCount": 100_000, "candidatesTokenCount": 50_000});
    let figures = json!({"error": "dead", "prompt_eval_count": 100_000, "eval_count": 50_000});
    for (what, model, act) in [
        ("a failing reason", OPENAI, Act::Stream(half() + &reason("error") + &last)),
        ("another", OPENAI, Act::Stream(half() + &reason("network_error") + &last)),
        ("an error", OPENAI, Act::Stream(half() + &data(&error) + &last)),
        ("an event called error", OPENAI, Act::Stream(half() + "event: error\ndata: {}\n\n" + &last)),
        ("no JSON", OPENAI, Act::Stream(half() + "data: <html>\n\n" + &last)),
        (
            "without an end",
            OPENAI,
            Act::Stream(half() + &reason("error") + &last.replace("data: [DONE]\n\n", "")),
        ),
        (
            "one that says nothing more",
            OPENAI,
            Act::Plain(200, vec![("content-type", "application/json")], half() + &reason("error") + &last),
        ),
        (
            "a whole one",
            OPENAI,
            Act::Plain(
                200,
                vec![("content-type", "application/json")],
                json!({"error": {"message": "x"}, "usage": usage}).to_string(),
            ),
        ),
        (
            "a refused one",
            OPENAI,
            Act::Plain(500, vec![], json!({"error": {"message": "x"}, "usage": usage}).to_string()),
        ),
        ("a failing reason", ANTHROPIC, Act::Stream(anthropic_open("half") + &named(&cancelled))),
        (
            "an error before its response",
            RESPONSES,
            Act::Stream(
                responses_open("half")
                    + &responses_event(&json!({"type": "error", "code": "server_error", "message": "boom"}))
                    + &responses_event(&json!({"type": "response.failed", "response": response(&failed)})),
            ),
        ),
        (
            "beside an error",
            GEMINI,
            Act::Stream(data(
                &json!({"error": {"code": 500, "message": "x"}, "usageMetadata": gemini_usage}),
            )),
        ),
        ("beside an error", OLLAMA, Act::Lines(format!("{figures}\n"))),
    ] {
        let (out, _, _) = asked(model, [act], json!({"unknown_cost": "count"})).await;
        let failure = out.expect_err(what);
        assert_eq!(failure.class, Class::Transient, "{model}: {what}: {failure}");
        let spent = |unit: &str| failure.spent.get(unit).to_string();
        let all = (spent("tokens_in"), spent("tokens_out"), spent("estimated"));
        assert_eq!(all, ("100000".into(), "50000".into(), "0".into()), "{model}: {what}: {failure}");
    }
}

/// A provider that hangs after a failure does not delay the step for long.
#[tokio::test]
async fn what_follows_a_failure_is_read_within_bounds() {
    let start = openai_open("half") + &openai_chunk(&json!({}), &json!("error"));
    let server = Server::start([Act::Hang(start)]).await;
    let (models, clock, heard) =
        (server.models(&CassetteMode::Off), ManualClock::at(1), AtomicBool::new(false));
    let (request, on_chunk) = (tools::first(OPENAI), |_: &str| heard.store(true, Ordering::Relaxed));
    let asking = CallContext {
        batch: None,
        at: "step@1.0",
        idempotency_key: "k",
        on_chunk: &on_chunk,
        say: &|_| {},
        sent: &|| {},
        waits: &(),
        budget: &(),
        elsewhere: false,
        clock: &clock,
    };
    let mut call = Box::pin(models.ask(&request, asking));
    let failure = loop {
        if let std::task::Poll::Ready(out) = futures_util::poll!(&mut call) {
            break out.unwrap_err();
        }
        tokio::task::yield_now().await;
        if heard.load(Ordering::Relaxed) {
            clock.advance(Duration::from_millis(10));
        }
    };
    assert!(failure.message.contains("finish_reason `error`"), "{failure}");
    assert!(failure.spent.get("tokens_out") > 0.0 && clock.now() < 60_000, "{}", clock.now());
}

#[tokio::test]
async fn tools_are_called_only_by_answers_that_are_whole() {
    let calls = [("id_1", "read", "{\"path\": \"a\"}")];
    let replaced = |kind: &str, from: &str, to: &str| match act(kind, "I look.", &calls) {
        Act::Stream(text) => Act::Stream(text.replace(from, to)),
        Act::Lines(text) => Act::Lines(text.replace(from, to)),
        other => other,
    };
    let words = |kind: &str| match kind {
        "openai" => {
            ("\"finish_reason\":\"tool_calls\"", "\"finish_reason\":", "repetition unknown error null")
        }
        "anthropic" => ("\"stop_reason\":\"tool_use\"", "\"stop_reason\":", "repetition pause_turn error"),
        "gemini" => (
            "\"finishReason\":\"STOP\"",
            "\"finishReason\":",
            "MALFORMED_FUNCTION_CALL OTHER MALFORMED_RESPONSE TOO_MANY_TOOL_CALLS UNEXPECTED_TOOL_CALL NEW_ONE",
        ),
        "ollama" => ("\"done_reason\":\"stop\"", "\"done_reason\":", "load error repetition"),
        _ => ("\"status\":\"completed\"", "\"status\":", "failed cancelled incomplete"),
    };
    for (kind, model) in MODELS {
        let (whole, key, reasons) = words(kind);
        let server = Server::start([act(kind, "I look.", &calls)]).await;
        let (answer, _) = tools::ask(&server.models(&CassetteMode::Off), &tools::first(model)).await.unwrap();
        assert_eq!((answer.stop, answer.calls.len()), (StopReason::Tools, 1), "{model}");
        for reason in reasons.split_whitespace() {
            let broken = replaced(kind, whole, &format!("{key}\"{reason}\""));
            let server = Server::start([broken]).await;
            match tools::ask(&server.models(&CassetteMode::Off), &tools::first(model)).await {
                Ok((answer, _)) => {
                    assert_eq!(
                        (answer.stop, answer.calls.len()),
                        (StopReason::Other, 0),
                        "{model}: {reason}"
                    );
                }
                Err(failure) => assert_eq!(failure.class, Class::Transient, "{model}: {reason}: {failure}"),
            }
        }
    }
}

#[tokio::test]
async fn an_error_in_any_form_is_no_part_of_a_whole_answer() {
    let end = || openai_chunk(&json!({}), &json!("stop")) + "data: [DONE]\n\n";
    let error = json!({"error": {"code": 503, "message": "overloaded"}});
    for (what, model, act) in [
        ("in a list", OPENAI, Act::Stream(openai_open("half") + &data(&json!([error])) + &end())),
        (
            "second in a list",
            OPENAI,
            Act::Stream(openai_open("half") + &data(&json!([{"choices": []}, error])) + &end()),
        ),
        (
            "as a field",
            OPENAI,
            Act::Stream(
                openai_open("half") + "error: {\"code\": 503, \"message\": \"overloaded\"}\n\n" + &end(),
            ),
        ),
        ("as a field of words", OPENAI, Act::Stream(openai_open("half") + "error: overloaded\n\n" + &end())),
        ("as a bare line", OPENAI, Act::Stream(format!("{}{error}\n\n{}", openai_open("half"), end()))),
        (
            "without a type",
            ANTHROPIC,
            Act::Stream(
                anthropic("half", "end_turn")
                    .replace("event: ping\ndata: {\"type\":\"ping\"}", &format!("data: {error}")),
            ),
        ),
        (
            "without a type",
            RESPONSES,
            Act::Stream(responses_open("half") + &data(&error) + &wire::responses("half", "")),
        ),
        ("in a list", GEMINI, Act::Stream(data(&json!([error])) + &wire::gemini("half", "STOP"))),
        ("in a list", OLLAMA, Act::Lines(format!("[{error}]\n{}", ollama("half", "stop")))),
    ] {
        let (out, _, _) = asked(model, [act], json!({})).await;
        let failure = out.expect_err(what);
        assert_eq!(failure.class, Class::Transient, "{model}: {what}: {failure}");
        assert!(failure.message.contains("overloaded"), "{model}: {what}: {failure}");
    }
}

#[tokio::test]
async fn responses_are_read_where_only_the_whole_of_a_part_is_sent() {
    let at = |event: Value| {
        let mut event = event;
        event["output_index"] = json!(0);
        event["content_index"] = json!(0);
        responses_event(&event)
    };
    let end = |more: Value| {
        let mut last = json!({"status": "completed"});
        last.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        responses_event(&json!({"type": "response.completed", "response": response(&last)}))
    };
    let part = json!({"type": "output_text", "text": "hello"});
    let thought = json!({"type": "reasoning_text", "text": "hm"});
    for text in [
        at(json!({"type": "response.content_part.done", "part": part})),
        at(json!({"type": "response.output_text.done", "text": "hello"})),
        responses_event(
            &json!({"type": "response.content_part.done", "output_index": 7, "content_index": 0, "part": thought}),
        ) + &at(json!({"type": "response.content_part.done", "part": part})),
    ] {
        let (out, _, _) = asked(RESPONSES, [Act::Stream(text + &end(json!({})))], json!({})).await;
        assert_eq!(out.unwrap().value["text"], "hello");
    }
    for event in [
        json!({"type": "response.refusal.done", "refusal": "I will not."}),
        json!({"type": "response.content_part.done", "part": {"type": "refusal", "refusal": "I will not."}}),
    ] {
        let (out, _, _) = asked(RESPONSES, [Act::Stream(at(event) + &end(json!({})))], json!({})).await;
        assert_eq!(out.unwrap_err().class, Class::Refused);
    }

    let item = |arguments: &str| json!({"type": "function_call", "call_id": "a", "name": "read", "arguments": arguments});
    let announced = || at(json!({"type": "response.output_item.added", "item": item("")}));
    let whole = json!({"type": "response.function_call_arguments.done", "arguments": "{\"path\":\"x\"}"});
    for stream in [
        announced() + &at(whole.clone()) + &end(json!({})),
        announced() + &at(whole.clone()) + &end(json!({"output": [item("")]})),
        announced()
            + &at(json!({"type": "response.function_call_arguments.delta", "delta": "{\"path\""}))
            + &at(whole)
            + &at(json!({"type": "response.output_item.done", "item": item("")}))
            + &end(json!({"output": [item("{\"path\":\"x\"}")]})),
    ] {
        let server = Server::start([Act::Stream(stream)]).await;
        let request = tools::first("openai-responses/gpt-4.1-mini");
        let (answer, _) = tools::ask(&server.models(&CassetteMode::Off), &request).await.unwrap();
        assert_eq!((answer.calls.len(), &answer.calls[0].input), (1, &json!({"path": "x"})));
    }
}

#[tokio::test]
async fn a_date_to_wait_for_counts_without_the_date_of_the_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 1 << 14];
        let _ = peer.read(&mut bytes).await.unwrap();
        let answer = "HTTP/1.1 429 X\r\nretry-after: Thu, 01 Jan 1970 02:00:00 GMT\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        peer.write_all(answer.as_bytes()).await.unwrap();
        peer.shutdown().await.unwrap();
    });
    let models = server::models(&base, &CassetteMode::Off);
    let failure = Step::new().run(&models, json!({"model": OPENAI, "prompt": "hi"})).await.unwrap_err();
    serving.await.unwrap();
    assert_eq!(failure.class, Class::RateLimited);
    // The clock of the test is at 1 ms.
    assert_eq!(failure.retry_after_ms, Some(7_199_999), "{failure}");
}

#[tokio::test]
async fn a_call_that_the_limit_of_tokens_cut_off_has_no_input() {
    let text = calls::openai("", &[("id_1", "list", "")]).replace("\"tool_calls\"}]", "\"length\"}]");
    let text = text.replace("\"finish_reason\":\"tool_calls\"", "\"finish_reason\":\"length\"");
    let server = Server::start([Act::Stream(text), Act::Stream(openai("", "stop"))]).await;
    let (answer, _) =
        tools::ask(&server.models(&CassetteMode::Off), &tools::first("gpt-4.1-mini")).await.unwrap();
    assert_eq!((answer.stop, &answer.calls[0].input), (StopReason::Length, &json!("")));
    let parts = json!([{"functionCall": {"name": "list", "args": {}}}]);
    let server = Server::start([Act::Stream(gemini_event(&parts, &json!("MAX_TOKENS")))]).await;
    let (answer, _) =
        tools::ask(&server.models(&CassetteMode::Off), &tools::first("gemini-2.5-flash")).await.unwrap();
    assert_eq!((answer.stop, &answer.calls[0].input), (StopReason::Length, &json!({})));
}
