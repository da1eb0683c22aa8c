//! Undocumented and unusual behaviour of servers, in every wire format in which it can occur.

use atoll::llm::CassetteMode;
use atoll::verb::{Class, Failure, Output};
use serde_json::{Value, json};

use super::server::{Act, Server, anthropic, named, openai, openai_chunk, openai_open};
use super::wire::{gemini, gemini_event, ollama, response, responses, responses_event, responses_open};
use super::{Step, verdict};

pub(super) const OPENAI: &str = "gpt-4.1-mini";
pub(super) const ANTHROPIC: &str = "claude-haiku-4-5";
pub(super) const GEMINI: &str = "gemini-2.5-pro";
pub(super) const RESPONSES: &str = "openai-responses/gpt-5";
pub(super) const OLLAMA: &str = "ollama/x";

/// The outcome of a request to `model` at a server with this behaviour, and the server.
pub(super) async fn asked(
    model: &str,
    acts: impl IntoIterator<Item = Act>,
    more: Value,
) -> (Result<Output<Value>, Failure>, Server, Step) {
    asked_for(Step::new(), model, acts, more).await
}

pub(super) async fn asked_for(
    step: Step,
    model: &str,
    acts: impl IntoIterator<Item = Act>,
    more: Value,
) -> (Result<Output<Value>, Failure>, Server, Step) {
    let server = Server::start(acts).await;
    let mut with = json!({"model": model, "prompt": "greet"});
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let out = step.run(&server.models(&CassetteMode::Off), with).await;
    (out, server, step)
}

#[expect(clippy::needless_pass_by_value, reason = "all are made where they are passed")]
fn chunk(delta: Value, finish: Value) -> String {
    openai_chunk(&delta, &finish)
}

fn done(events: &[String]) -> Act {
    Act::Stream(events.concat() + "data: [DONE]\n\n")
}

fn data(event: &Value) -> String {
    format!("data: {event}\n\n")
}

fn whole(body: &Value) -> Act {
    Act::Plain(200, vec![("content-type", "application/json")], body.to_string())
}

/// An Anthropic stream with one block, its pieces and the stop reason.
fn messages(block: &Value, pieces: &[Value], end: &Value) -> String {
    let start = json!({"type": "message_start", "message": {"model": "claude-x", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}}});
    let begin = json!({"type": "content_block_start", "index": 0, "content_block": block});
    let pieces =
        pieces.iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    let end = json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 9}});
    let close = [json!({"type": "content_block_stop", "index": 0}), end, json!({"type": "message_stop"})];
    [start, begin].into_iter().chain(pieces).chain(close).map(|event| named(&event)).collect()
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[tokio::test]
async fn an_answer_that_broke_off_is_none_and_was_paid_for() {
    let half = || openai_open("half of it");
    let failed = json!({"status": "failed", "error": {"code": "server_error", "message": "boom"}});
    let text = json!({"type": "text", "text": "half"});
    let cases = [
        ("reason error", OPENAI, done(&[half(), chunk(json!({}), json!("error"))])),
        ("no resources", OPENAI, done(&[half(), chunk(json!({}), json!("insufficient_system_resource"))])),
        (
            "an error in the choice",
            OPENAI,
            done(&[
                half(),
                data(
                    &json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "reset"}}]}),
                ),
            ]),
        ),
        (
            "an error of its own kind",
            OPENAI,
            done(&[half(), data(&json!({"object": "error", "message": "dead", "code": 500}))]),
        ),
        (
            "an event called error",
            OPENAI,
            done(&[half(), "event: error\ndata: {\"message\": \"dead\"}\n\n".to_owned()]),
        ),
        ("an incomplete one", OPENAI, done(&[half(), chunk(json!({}), json!("incomplete"))])),
        ("too much to do", OPENAI, done(&[half(), chunk(json!({}), json!("engine_overloaded"))])),
        (
            "errors",
            OPENAI,
            done(&[half(), data(&json!({"errors": [{"message": "x"}]})), chunk(json!({}), json!("stop"))]),
        ),
        (
            "a complaint",
            OPENAI,
            done(&[half(), data(&json!({"detail": "overloaded"})), chunk(json!({}), json!("stop"))]),
        ),
        (
            "an error in a piece",
            OPENAI,
            done(&[
                half(),
                chunk(json!({"error": {"message": "x"}}), Value::Null),
                chunk(json!({}), json!("stop")),
            ]),
        ),
        ("an error", ANTHROPIC, Act::Stream(messages(&text, &[], &json!({"stop_reason": "error"})))),
        (
            "a reason error",
            OLLAMA,
            Act::Lines(
                "{\"message\": {\"content\": \"half\"}, \"done\": true, \"done_reason\": \"error\"}\n"
                    .to_owned(),
            ),
        ),
        ("an end without a reason", OPENAI, done(&[half()])),
        ("an end with an empty reason", OPENAI, done(&[half(), chunk(json!({}), json!(""))])),
        (
            "a whole answer without a reason",
            OPENAI,
            whole(&json!({"choices": [{"message": {"content": "half"}}]})),
        ),
        ("a complaint as an answer", OPENAI, whole(&json!({"detail": "model is overloaded"}))),
        ("no reason", ANTHROPIC, Act::Stream(messages(&text, &[], &json!({"stop_reason": null})))),
        ("a pause", ANTHROPIC, Act::Stream(messages(&text, &[], &json!({"stop_reason": "pause_turn"})))),
        ("another reason", GEMINI, Act::Stream(gemini("half", "OTHER"))),
        ("no reason", GEMINI, Act::Stream(gemini_event(&json!([{"text": "half"}]), &Value::Null))),
        (
            "a failure",
            RESPONSES,
            Act::Stream(
                responses_open("half")
                    + &responses_event(&json!({"type": "response.failed", "response": response(&failed)})),
            ),
        ),
        (
            "a stop",
            RESPONSES,
            Act::Stream(
                responses_open("half")
                    + &responses_event(
                        &json!({"type": "response.cancelled", "response": response(&json!({"status": "cancelled"}))}),
                    ),
            ),
        ),
        ("no end", RESPONSES, Act::Stream(responses_open("half"))),
        ("an unknown reason", RESPONSES, Act::Stream(responses("half", "something"))),
        (
            "an error",
            OLLAMA,
            Act::Lines(
                "{\"message\": {\"content\": \"half\"}, \"done\": false}\n{\"error\": \"terminated\"}\n"
                    .to_owned(),
            ),
        ),
        (
            "no end",
            OLLAMA,
            Act::Lines("{\"message\": {\"content\": \"half\"}, \"done\": false}\n".to_owned()),
        ),
    ];
    for (what, model, act) in cases {
        let (out, _, _) = asked(model, [act], json!({})).await;
        let failure = out.expect_err(what);
        assert_eq!(failure.class, Class::Transient, "{model}: {what}: {failure}");
        let free = what == "a complaint as an answer";
        assert_eq!(
            failure.spent.get("tokens_out") > 0.9,
            !free,
            "{model}: {what}: {failure} {:?}",
            failure.spent
        );
    }
}

#[tokio::test]
async fn an_empty_answer_is_asked_for_again_and_rejected_if_it_stays_so() {
    let silent = || messages(&json!({"type": "text", "text": ""}), &[], &json!({"stop_reason": "end_turn"}));
    let malformed = json!({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "print(x("}],
        "usageMetadata": {"promptTokenCount": 10}});
    let loaded = "{\"message\": {\"content\": \"\"}, \"done\": true, \"done_reason\": \"load\"}\n";
    let thought = "{\"message\": {\"content\": \"\", \"thinking\": \"{}\"}, \"done\": true, \"done_reason\": \"stop\"}\n";
    let call = json!({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "x", "arguments": "{}"}}]});
    let unasked = chunk(call, json!("tool_calls"));
    let cases = [
        (
            OPENAI,
            Act::Stream(openai("", "stop")),
            Act::Stream(openai("hello", "stop")),
            "empty answer (it ended with `stop`)",
        ),
        (OPENAI, Act::Stream(openai(" \n", "stop")), Act::Stream(openai("hello", "stop")), "empty answer"),
        (
            OPENAI,
            Act::Stream(openai("\u{200b}\u{feff}", "stop")),
            Act::Stream(openai("hello", "stop")),
            "empty answer",
        ),
        // A call of a tool that was not offered.
        (OPENAI, done(&[unasked]), Act::Stream(openai("hello", "stop")), "`tool_calls`"),
        (
            OPENAI,
            Act::Stream(openai("<think>hm</think>\n", "stop")),
            Act::Stream(openai("hello", "stop")),
            "returned only thoughts and no answer",
        ),
        (ANTHROPIC, Act::Stream(silent()), Act::Stream(anthropic("hello", "end_turn")), "`end_turn`"),
        (GEMINI, Act::Stream(gemini("", "STOP")), Act::Stream(gemini("hello", "STOP")), "only thought"),
        (
            GEMINI,
            Act::Stream(data(&malformed)),
            Act::Stream(gemini("hello", "STOP")),
            "MALFORMED_FUNCTION_CALL: print(x(",
        ),
        (
            RESPONSES,
            Act::Stream(responses("", "")),
            Act::Stream(responses("hello", "")),
            "empty answer (it ended with `completed`)",
        ),
        (OLLAMA, Act::Lines(loaded.to_owned()), Act::Lines(ollama("hello", "stop")), "`load`"),
        (OLLAMA, Act::Lines(thought.to_owned()), Act::Lines(ollama("hello", "stop")), "only thought"),
    ];
    for (model, empty, good, words) in cases {
        let (out, server, step) = asked(model, [empty.clone(), good], json!({})).await;
        let output = out.unwrap_or_else(|failure| panic!("{model} {words}: {failure}"));
        assert_eq!((&output.value["text"], server.seen().len()), (&json!("hello"), 2), "{model} {words}");
        assert!(output.spent.get("calls") > 1.9, "both were paid for");
        assert!(step.said().0.contains("asking again"), "{}", step.said().0);
        let keys: Vec<_> = server.seen().iter().map(|seen| seen.headers["idempotency-key"].clone()).collect();
        assert_ne!(keys[0], keys[1], "the same key could return the same answer");

        let (out, server, _) = asked(model, [empty.clone(), empty], json!({})).await;
        let failure = out.unwrap_err();
        assert_eq!((failure.class, server.seen().len()), (Class::Rejected, 2), "{model}: {failure}");
        assert!(failure.message.contains(words), "{model} {words}: {failure}");
        assert!(failure.spent.get("calls") > 1.9, "{model} {words}");
    }
}

#[tokio::test]
async fn thoughts_that_reach_the_limit_are_no_answer_and_not_asked_for_again() {
    let reasoned = |key: &str| chunk(json!({ key: "let me think" }), Value::Null);
    let block = json!({"type": "thinking", "thinking": ""});
    let spent = json!({"status": "completed", "output": [{"type": "reasoning", "summary": []}, {"type": "message", "content": []}],
        "usage": {"input_tokens": 10, "output_tokens": 32768}});
    let thought = "{\"message\": {\"content\": \"\", \"thinking\": \"hm\"}, \"done\": true, \"done_reason\": \"length\", \"eval_count\": 50}\n";
    for (model, act) in [
        (OPENAI, done(&[reasoned("reasoning_content"), chunk(json!({}), json!("length"))])),
        (OPENAI, done(&[reasoned("reasoning"), chunk(json!({}), json!("length"))])),
        (OPENAI, Act::Stream(openai("<think>hm, let me", "length"))),
        (
            ANTHROPIC,
            Act::Stream(messages(
                &block,
                &[json!({"type": "thinking_delta", "thinking": "hm"})],
                &json!({"stop_reason": "max_tokens"}),
            )),
        ),
        (GEMINI, Act::Stream(gemini_event(&json!([{"text": "hm", "thought": true}]), &json!("MAX_TOKENS")))),
        (
            RESPONSES,
            Act::Stream(responses_event(
                &json!({"type": "response.completed", "response": response(&spent)}),
            )),
        ),
        (OLLAMA, Act::Lines(thought.to_owned())),
    ] {
        for format in ["text", "files"] {
            let (out, server, _) =
                asked(model, [act.clone()], json!({"max_tokens": 50, "format": format})).await;
            let failure = out.unwrap_err();
            assert_eq!((failure.class, server.seen().len()), (Class::Rejected, 1), "{model}: {failure}");
            assert!(
                failure
                    .message
                    .contains("returned only thoughts and no answer, and reached its limit of 50 tokens"),
                "{model}: {failure}"
            );
            assert!(failure.hint.unwrap().contains("max_tokens"));
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[tokio::test]
async fn an_answer_is_read_in_every_form() {
    let part = |kind: &str, text: &str| json!({"type": kind, "text": text});
    let thinking = json!({"type": "thinking", "thinking": [part("text", "hm")]});
    let parts = |content: Value| chunk(json!({ "content": content }), Value::Null);
    let end = || chunk(json!({}), json!("stop"));
    let item = json!({"type": "message", "content": [part("output_text", "hello")]});
    let last = |output: Value| {
        responses_event(
            &json!({"type": "response.completed", "response": response(&json!({"status": "completed", "output": output}))}),
        )
    };
    let item_done =
        responses_event(&json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    let text_done = responses_event(
        &json!({"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "hello"}),
    );
    let other = json!({"choices": [{"index": 1, "delta": {"content": "OTHER"}, "finish_reason": null}]});
    let plain = openai("hello", "stop");
    let so_far = |piece: &str, whole: &str, reason: Value| {
        data(
            &json!({"choices": [{"index": 0, "delta": {"content": piece}, "message": {"role": "assistant", "content": whole},
            "finish_reason": reason}]}),
        )
    };
    for (what, model, act) in [
        (
            "all of it so far with each piece",
            OPENAI,
            done(&[
                so_far("hel", "hel", Value::Null),
                so_far("lo", "hello", Value::Null),
                so_far("", "hello", json!("stop")),
            ]),
        ),
        (
            "all of it at the end",
            OPENAI,
            done(&[so_far("hel", "", Value::Null), so_far("", "hello", json!("stop"))]),
        ),
        (
            "parts",
            OPENAI,
            done(&[
                parts(json!([thinking])),
                parts(json!([part("text", "hel")])),
                parts(json!([part("text", "lo")])),
                end(),
            ]),
        ),
        (
            "whole parts",
            OPENAI,
            whole(
                &json!({"choices": [{"message": {"content": [thinking, part("text", "hello")]}, "finish_reason": "stop"}]}),
            ),
        ),
        (
            "empty reasons",
            OPENAI,
            done(&[
                chunk(json!({"content": "hel"}), json!("")),
                chunk(json!({"content": "lo"}), json!("stop")),
                chunk(json!({}), json!("")),
            ]),
        ),
        (
            "another choice",
            OPENAI,
            done(&[chunk(json!({"content": "hello"}), Value::Null), data(&other), end()]),
        ),
        ("a mark at the beginning", OPENAI, Act::Stream(format!("\u{feff}{plain}"))),
        (
            "a stream that calls itself JSON",
            OPENAI,
            Act::Plain(200, vec![("content-type", "application/json")], plain.clone()),
        ),
        (
            "a JSON value that calls itself a stream",
            OPENAI,
            Act::Stream(
                json!({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}).to_string(),
            ),
        ),
        ("thoughts in the text", OPENAI, Act::Stream(openai("<think>banana</think>\n\nhello", "stop"))),
        (
            "text at once",
            ANTHROPIC,
            Act::Stream(messages(&part("text", "hello"), &[], &json!({"stop_reason": "end_turn"}))),
        ),
        (
            "text at once and more",
            ANTHROPIC,
            Act::Stream(messages(
                &part("text", "hel"),
                &[json!({"type": "text_delta", "text": "lo"})],
                &json!({"stop_reason": "end_turn"}),
            )),
        ),
        ("no pieces", RESPONSES, Act::Stream(last(json!([item])))),
        ("no pieces, and an item", RESPONSES, Act::Stream(item_done.clone() + &last(json!([item])))),
        ("an item alone", RESPONSES, Act::Stream(item_done + &last(json!([])))),
        ("a text alone", RESPONSES, Act::Stream(text_done + &last(json!([])))),
        ("thoughts in the text", GEMINI, Act::Stream(gemini("<think>hm</think>hello", "STOP"))),
        ("thoughts in the text", OLLAMA, Act::Lines(ollama("hm\n</think>\nhello", "stop"))),
    ] {
        let (out, server, _) = asked(model, [act], json!({})).await;
        let output = out.unwrap_or_else(|failure| panic!("{model}: {what}: {failure}"));
        assert_eq!((&output.value["text"], server.seen().len()), (&json!("hello"), 1), "{model}: {what}");
    }
}

#[tokio::test]
async fn what_comes_after_the_end_is_no_part_of_the_answer() {
    let late = done(&[
        openai_open("hello"),
        chunk(json!({}), json!("stop")),
        "data: [DONE]\n\n".to_owned(),
        openai_open(" late"),
    ]);
    let (out, ..) = asked(OPENAI, [late], json!({})).await;
    assert_eq!(out.unwrap().value["text"], "hello");
}

#[tokio::test]
async fn a_character_that_is_cut_in_two_is_one() {
    let raw = |text: &str, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{reason}}}]}}\n\n"
        )
    };
    let act = done(&[raw("ok \\ud83d", "null"), raw("\\ude00!", "\"stop\"")]);
    let (out, server, step) = asked(OPENAI, [act], json!({})).await;
    assert_eq!((&out.unwrap().value["text"], server.seen().len()), (&json!("ok 😀!"), 1));
    assert_eq!(step.said().1, "ok 😀!");
    let alone = done(&[raw("ok \\ud83d", "\"stop\"")]);
    assert_eq!(asked(OPENAI, [alone], json!({})).await.0.unwrap().value["text"], "ok \u{fffd}");
}

#[tokio::test]
async fn usage_is_counted_wherever_it_stands_or_estimated() {
    let plain = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    let thinking = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 1015, "completion_tokens_details": {"reasoning_tokens": 1000}});
    let text = |usage: Value| {
        done(&[
            chunk(json!({"content": "hello"}), json!("stop")),
            data(&json!({"choices": [], "usage": usage})),
        ])
    };
    let in_choice = data(
        &json!({"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop", "usage": plain}]}),
    );
    let groq = data(&json!({"choices": [], "x_groq": {"usage": plain}}));
    let timings = data(&json!({"choices": [], "timings": {"prompt_n": 4, "cache_n": 6, "predicted_n": 5}}));
    let said = || chunk(json!({"content": "hello"}), json!("stop"));
    let gemini_total = json!({"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 1015}});
    for (what, model, act, figures) in [
        ("as published", OPENAI, text(plain.clone()), (10, 5, false)),
        ("thoughts beside", OPENAI, text(thinking), (10, 1005, false)),
        ("as texts", OPENAI, text(json!({"prompt_tokens": "10", "completion_tokens": "5"})), (10, 5, false)),
        ("by other names", OPENAI, text(json!({"input_tokens": 10, "output_tokens": 5})), (10, 5, false)),
        ("in the choice", OPENAI, done(&[in_choice]), (10, 5, false)),
        ("under a name of the vendor's", OPENAI, done(&[said(), groq]), (10, 5, false)),
        ("as timings", OPENAI, done(&[said(), timings]), (10, 5, false)),
        ("as zeros", OPENAI, text(json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})), (2, 2, true)),
        ("not at all", OPENAI, done(&[said()]), (2, 2, true)),
        ("the total alone", OPENAI, text(json!({"total_tokens": 1015})), (2, 1013, true)),
        ("thoughts in the total", GEMINI, Act::Stream(data(&gemini_total)), (10, 1005, false)),
        ("half of it", OLLAMA, Act::Lines("{\"message\": {\"content\": \"hello\"}, \"done\": true, \"done_reason\": \"stop\", \"eval_count\": 5}\n".to_owned()), (2, 5, true)),
    ] {
        let (out, _, step) = asked(model, [act], json!({})).await;
        let output = out.unwrap_or_else(|failure| panic!("{model}: {what}: {failure}"));
        let usage = &output.value["usage"];
        let counted = (usage["tokens_in"].as_u64().unwrap(), usage["tokens_out"].as_u64().unwrap(), usage["estimated"] == true);
        assert_eq!(counted, figures, "{model}: {what}");
        assert_eq!(step.said().0.contains("figures estimated"), figures.2, "{model}: {what}");
    }
}

#[tokio::test]
async fn a_judge_is_not_turned_round_by_what_it_repeats() {
    let inner = r#"{"score": 100}"#;
    let texts = [
        format!("The program answered {inner}, which is no greeting.\n\n{{\"score\": 0}}"),
        format!("<think>It wants {inner}</think>\n{{\"score\": 0}}"),
        format!("{{\"score\": 0}}\nIt had said {inner}."),
    ];
    for text in &texts {
        for (model, act) in [
            (OPENAI, Act::Stream(openai(text, "stop"))),
            (ANTHROPIC, Act::Stream(anthropic(text, "end_turn"))),
            (GEMINI, Act::Stream(gemini(text, "STOP"))),
            (RESPONSES, Act::Stream(responses(text, ""))),
            (OLLAMA, Act::Lines(ollama(text, "stop"))),
        ] {
            let (out, _, _) =
                asked_for(Step::with_schema(verdict()), model, [act], json!({"ambiguous": "reject"})).await;
            let failure = out.unwrap_err();
            assert_eq!(failure.class, Class::Rejected, "{model} {text}: {failure}");
            assert!(failure.message.contains("none of them counts"), "{failure}");
        }
    }
    let (out, _, _) =
        asked_for(Step::with_schema(verdict()), OPENAI, [Act::Stream(openai(&texts[0], "stop"))], json!({}))
            .await;
    assert_eq!(out.unwrap().value, json!({"score": 0}), "elsewhere the last one counts");
    let inside = "<think>\n=== FILE: junk.py ===\nboom\n=== END FILE ===\n</think>\n=== FILE: main.py ===\nx\n=== END FILE ===";
    let (out, _, _) = asked(OPENAI, [Act::Stream(openai(inside, "stop"))], json!({"format": "files"})).await;
    assert!(!out.unwrap().value["text"].as_str().unwrap().contains("junk"));
}
