//! Refusals of providers: optional options are omitted, causes are reported, and there is a wait for a
//! model that is being loaded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use atoll::clock::{Clock, Millis, Sleep};
use atoll::llm::CassetteMode;
use atoll::meter::Meter;
use atoll::verb::{BudgetSource, Class, Failure};
use serde_json::{Value, json};

use super::behaviours::{ANTHROPIC, GEMINI, OLLAMA, OPENAI, RESPONSES, asked, asked_for};
use super::server::{Act, Server, anthropic, openai};
use super::wire::{self, gemini, ollama, responses};
use super::{Step, verdict};

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[tokio::test]
async fn an_option_that_is_refused_is_left_out_and_that_is_said() {
    let refusal = |status: u16, body: Value| {
        Act::Plain(status, vec![("content-type", "application/json")], body.to_string())
    };
    let complaint =
        |text: &str| refusal(400, json!({"error": {"message": text, "type": "invalid_request_error"}}));
    let extra = refusal(
        422,
        json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
    );
    let more = json!({"max_tokens": 9_000, "temperature": 0.5, "seed": 7});
    for (model, act, gone, instead, told) in [
        (
            OPENAI,
            complaint("Unrecognized request argument supplied: stream_options"),
            "/stream_options",
            None,
            "stream_options = false",
        ),
        (OPENAI, extra, "/stream_options", None, "stream_options = false"),
        (
            OPENAI,
            complaint(
                "Unsupported parameter: 'max_completion_tokens' is not supported. Use 'max_tokens' instead.",
            ),
            "/max_completion_tokens",
            Some(("/max_tokens", json!(9000))),
            "max_tokens_field = \"max_tokens\"",
        ),
        (
            OPENAI,
            complaint(
                "max_completion_tokens is too large: 9000. This model supports at most 4096 completion tokens",
            ),
            "/none",
            Some(("/max_completion_tokens", json!(4096))),
            "max_output = 4096",
        ),
        (
            OPENAI,
            complaint("Unsupported value: 'temperature' does not support 0.5 with this model."),
            "/temperature",
            None,
            "temperature = false",
        ),
        (OPENAI, complaint("unknown field `seed`"), "/seed", None, "seed = false"),
        (
            ANTHROPIC,
            complaint("max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens"),
            "/none",
            Some(("/max_tokens", json!(8192))),
            "max_output = 8192",
        ),
        (
            ANTHROPIC,
            complaint("`temperature` is deprecated for this model."),
            "/temperature",
            None,
            "temperature = false",
        ),
        (
            GEMINI,
            complaint("Unknown name \"seed\" at 'generation_config'"),
            "/generationConfig/seed",
            None,
            "seed = false",
        ),
    ] {
        let good = || match model {
            OPENAI => Act::Stream(openai("hello", "stop")),
            ANTHROPIC => Act::Stream(anthropic("hello", "end_turn")),
            _ => Act::Stream(gemini("hello", "STOP")),
        };
        let server = Server::start([act, good(), good()]).await;
        let (models, step) = (server.models(&CassetteMode::Off), Step::new());
        let mut with = json!({"model": model, "prompt": "greet"});
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let output =
            step.run(&models, with.clone()).await.unwrap_or_else(|failure| panic!("{told}: {failure}"));
        assert_eq!(output.value["text"], "hello", "{told}");
        assert_eq!(server.body(1).pointer(gone), None, "{told}");
        if let Some((place, value)) = instead {
            assert_eq!(server.body(1).pointer(place), Some(&value), "{told}");
        }
        let lines = step.said().0;
        assert!(lines.contains("repeated the request") && lines.contains(told), "{told}: {lines}");
        // The refusal is known from then on, and reported once.
        step.run(&models, with).await.unwrap();
        assert_eq!((server.seen().len(), server.body(2).pointer(gone)), (3, None), "{told}");
        assert_eq!(step.said().0.matches("repeated the request").count(), 1, "{told}");
    }
}

/// A step with a budget of `dollars`, and its reservations.
pub(super) fn purse(dollars: f64) -> (Step, Arc<Mutex<Vec<f64>>>) {
    let (mut step, claims): (_, Arc<Mutex<Vec<f64>>>) = (Step::new(), Arc::default());
    let asked = claims.clone();
    step.cx.budget = BudgetSource::new(Meter::new(), move |more| {
        let mut asked = asked.lock().unwrap();
        let fits = asked.iter().sum::<f64>() + more.get("usd") <= dollars;
        if fits {
            asked.push(more.get("usd"));
        }
        Box::pin(async move { if fits { Ok(()) } else { Err(Failure::new(Class::Budget, "too much")) } })
    });
    (step, claims)
}

/// A token costs one dollar, and an answer has at most 8192 tokens.
const DEAR: &str = "[providers.dear]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                    price = { input = 0, output = 1000000 }\n[models.\"dear/m\"]\ncontext = 100000\nmax_output = 8192\n";

#[tokio::test]
async fn a_call_without_a_limit_is_paid_for_with_the_longest_answer() {
    let with = json!({"model": "dear/m", "prompt": "hi", "max_tokens": 200});
    let refusal = || {
        let body = json!({"error": {"message": "Unrecognized request argument supplied: max_tokens"}});
        Act::Plain(400, vec![("content-type", "application/json")], body.to_string())
    };
    let good = || Act::Stream(openai("hello", "stop"));

    // It turns out that token limits are not supported.
    let server = Server::start([refusal(), good(), good()]).await;
    let models = server.models_with(DEAR);
    let (step, claims) = purse(250.0);
    let failure = step.run(&models, with.clone()).await.unwrap_err();
    assert_eq!((failure.class, server.seen().len()), (Class::Budget, 1), "{failure}");
    assert!(failure.spent.is_empty() && failure.unsettled.is_empty(), "a refused call costs nothing");
    assert_eq!(*claims.lock().unwrap(), [200.0]);
    // This is known from then on.
    let (step, claims) = purse(9_000.0);
    step.run(&models, with.clone()).await.unwrap();
    assert_eq!((claims.lock().unwrap().clone(), server.seen().len()), (vec![8192.0], 2));
    assert!(step.said().0.contains("at most 200 tokens") || step.said().0.contains("at most 8192 tokens"));

    let server = Server::start([refusal(), good()]).await;
    let (step, claims) = purse(9_000.0);
    let output = step.run(&server.models_with(DEAR), with.clone()).await.unwrap();
    assert_eq!((claims.lock().unwrap().clone(), server.seen().len()), (vec![200.0, 7992.0], 2));
    assert_eq!(output.spent.get("calls").to_bits(), 1.0_f64.to_bits());

    // The settings say that no limit is sent.
    for (more, most) in [("max_output = 8192", 8192.0), ("", 100_000.0)] {
        let facts =
            DEAR.replace("price", "max_tokens_field = \"\"\nprice").replace("max_output = 8192", more);
        let server = Server::start([good()]).await;
        let models = server.models_with(&facts);
        let (step, _) = purse(most - 1.0);
        let failure = step.run(&models, with.clone()).await.unwrap_err();
        assert_eq!((failure.class, server.seen().len()), (Class::Budget, 0), "{failure}");
        let (step, claims) = purse(most);
        step.run(&models, with.clone()).await.unwrap();
        assert_eq!(*claims.lock().unwrap(), [most]);
        assert_eq!(server.body(0).get("max_tokens"), None);
    }
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
#[tokio::test]
async fn a_schema_that_is_refused_is_asked_for_by_other_means() {
    let complaint = |text: &str| {
        Act::Plain(
            400,
            vec![("content-type", "application/json")],
            json!({"error": {"message": text}}).to_string(),
        )
    };
    let grammar = || complaint("Failed to initialize samplers: failed to parse grammar");
    let answer = "{\"score\": 7}";
    let arguments = wire::openai_tool("verdict", answer);
    for (model, acts, calls) in [
        (
            OPENAI,
            vec![
                complaint("Invalid schema for response_format 'verdict': strict"),
                Act::Stream(openai(answer, "stop")),
            ],
            2,
        ),
        (OPENAI, vec![grammar(), Act::Stream(arguments)], 2),
        (
            OPENAI,
            vec![grammar(), complaint("tool_choice is not supported"), Act::Stream(openai(answer, "stop"))],
            3,
        ),
        (
            OPENAI,
            vec![
                grammar(),
                complaint(
                    "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
                ),
                Act::Stream(openai(answer, "stop")),
            ],
            3,
        ),
        (
            OPENAI,
            vec![
                grammar(),
                Act::Plain(
                    500,
                    vec![],
                    "{\"error\": {\"message\": \"tools param requires --jinja flag\"}}".to_owned(),
                ),
                Act::Stream(openai(answer, "stop")),
            ],
            3,
        ),
        (
            RESPONSES,
            vec![
                complaint("text.format is not supported with this model"),
                Act::Stream(responses(answer, "")),
            ],
            2,
        ),
        (
            GEMINI,
            vec![complaint("Unknown name \"responseJsonSchema\""), Act::Stream(gemini(answer, "STOP"))],
            2,
        ),
        (
            ANTHROPIC,
            vec![
                complaint("output_config.format: Extra inputs are not permitted"),
                Act::Stream(wire::anthropic_tool("verdict", answer)),
            ],
            2,
        ),
        (
            OLLAMA,
            vec![
                Act::Plain(500, vec![], "{\"error\": \"failed to parse grammar\"}".to_owned()),
                Act::Lines(ollama(answer, "stop")),
            ],
            2,
        ),
    ] {
        let (out, server, _) = asked_for(Step::with_schema(verdict()), model, acts, json!({})).await;
        let output = out.unwrap_or_else(|failure| panic!("{model}: {failure}"));
        assert_eq!((&output.value, server.seen().len()), (&json!({"score": 7}), calls), "{model}");
    }
}

#[tokio::test]
async fn a_refusal_names_its_cause() {
    let error = |message: &str| json!({"error": {"message": message, "code": null}});
    let flagged = json!({"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged", "metadata": {"reasons": ["violence"]}}});
    for (status, body, class, hint) in [
        (403, flagged, Class::Refused, Some("reword")),
        (
            403,
            json!({"error": {"message": "The prompt was flagged as potentially violating our usage policy.", "code": "invalid_prompt"}}),
            Class::Refused,
            Some("reword"),
        ),
        (403, error("This request has been blocked by our content filters."), Class::Refused, Some("reword")),
        (403, error("Content violates usage policies"), Class::Refused, Some("reword")),
        (
            403,
            json!({"error": {"message": "no", "type": "moderation_error"}}),
            Class::Refused,
            Some("reword"),
        ),
        (200, error("Your request was flagged by our content policy"), Class::Refused, Some("reword")),
        (403, error("API key does not have moderation permission"), Class::Auth, Some("OPENAI_API_KEY")),
        (403, error("Your account was flagged for violating our usage policies"), Class::Auth, None),
        (403, error("this key may not use this"), Class::Auth, Some("OPENAI_API_KEY")),
        (400, error("Model is not loaded"), Class::Permanent, None),
        (
            400,
            error("Unsupported value: the model `gpt-x` is not supported with this endpoint"),
            Class::Permanent,
            None,
        ),
        (404, error("No endpoints found matching your data policy for this model"), Class::Permanent, None),
        (404, error("The model `gpt-4.1-mimi` does not exist"), Class::Permanent, Some("has no model")),
        (400, error("x is not a valid model ID"), Class::Permanent, Some("has no model")),
        (500, json!({"error": {"message": {"detail": "CUDA out of memory"}}}), Class::Transient, None),
        (422, json!({"detail": [{"loc": ["body", "top_k"], "msg": "wrong"}]}), Class::Permanent, None),
    ] {
        let act = Act::Plain(status, vec![("content-type", "application/json")], body.to_string());
        let (out, server, _) = asked(OPENAI, [act], json!({})).await;
        let failure = out.unwrap_err();
        assert_eq!((failure.class, server.seen().len()), (class, 1), "{body}: {failure}");
        let told = failure.hint.clone().unwrap_or_default();
        match hint {
            Some(hint) => assert!(told.contains(hint), "{body}: {told}"),
            None => {
                assert!(!told.contains("did you mean") && !told.contains("has no model"), "{body}: {told}");
            }
        }
    }
}

/// Two seconds pass at once, any other time never.
struct TwoSeconds;

impl Clock for TwoSeconds {
    fn now(&self) -> Millis {
        1
    }

    fn sleep(&self, span: Duration) -> Sleep {
        if span == Duration::from_secs(2) { Box::pin(async {}) } else { Box::pin(std::future::pending()) }
    }
}

#[tokio::test]
async fn a_limit_of_tokens_is_lowered_or_left_out_whatever_is_said_of_it() {
    let groq = "`max_completion_tokens` must be less than or equal to `100`, the maximum value for \
                `max_completion_tokens` is less than the `context_window` for this model";
    let vllm = "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum context length is 8150 \
                tokens and your request has 20 input tokens (9000 > 8150 - 20). (parameter=max_tokens, value=9000)";
    let old = "This model's maximum context length is 8192 tokens. However, you requested 9800 tokens (800 in the \
               messages, 9000 in the completion). Please reduce the length of the messages or completion.";
    let range = "Invalid max_completion_tokens value, the valid range of max_completion_tokens is [1, 8192]";
    let strange = "max_completion_tokens: no";
    let both = "input length and `max_tokens` exceed context limit: 198000 + 9000 > 200000, decrease input length or \
                `max_tokens` and try again";
    let gemini_range = "it has a maxOutputTokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive).";
    let field = "/max_completion_tokens";
    for (model, words, place, limit, next) in [
        (OPENAI, groq, field, Some(100), Some(100)),
        (OPENAI, vllm, field, Some(8130), Some(9000)),
        (OPENAI, old, field, Some(7392), Some(9000)),
        (OPENAI, range, field, Some(8192), Some(8192)),
        (OPENAI, strange, field, None, Some(9000)),
        (RESPONSES, "max_output_tokens: no", "/max_output_tokens", None, Some(9000)),
        (ANTHROPIC, both, "/max_tokens", Some(2000), Some(9000)),
        (GEMINI, gemini_range, "/generationConfig/maxOutputTokens", Some(8192), Some(8192)),
    ] {
        let refusal =
            json!({"error": {"message": words, "type": "BadRequestError", "code": 400}}).to_string();
        let good = || match model {
            OPENAI => Act::Stream(openai("hello", "stop")),
            RESPONSES => Act::Stream(responses("hello", "")),
            ANTHROPIC => Act::Stream(anthropic("hello", "end_turn")),
            _ => Act::Stream(gemini("hello", "STOP")),
        };
        let server = Server::start([Act::Plain(400, vec![], refusal), good(), good()]).await;
        let (models, step) = (server.models(&CassetteMode::Off), Step::new());
        let with = json!({"model": model, "prompt": "greet", "max_tokens": 9000});
        let output =
            step.run(&models, with.clone()).await.unwrap_or_else(|failure| panic!("{words}: {failure}"));
        assert_eq!(output.value["text"], "hello", "{words}");
        let sent = |call: usize| server.body(call).pointer(place).and_then(Value::as_u64);
        assert_eq!(sent(1), limit, "{words}");
        // The room in the context differs from request to request.
        step.run(&models, with).await.unwrap();
        assert_eq!(sent(2), next, "{words}");
        let said = step.said().0;
        assert_eq!(
            said.contains("to avoid this, set in atoll.toml"),
            next == limit && limit.is_some(),
            "{words}: {said}"
        );
    }

    let full = both.replace("198000", "250000");
    let refusal =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": full}}).to_string();
    let (out, server, _) =
        asked(ANTHROPIC, [Act::Plain(400, vec![], refusal)], json!({"max_tokens": 9000})).await;
    let failure = out.unwrap_err();
    assert_eq!((failure.class, server.seen().len()), (Class::Permanent, 1));
    assert!(failure.hint.unwrap().contains("lower `max_tokens`"));
}

#[tokio::test]
async fn what_was_answered_while_a_model_loads_is_not_lost() {
    let loading = json!({"error": {"code": 503, "message": "Loading model"}}).to_string();
    let server = Server::start([Act::Plain(503, vec![], loading)]).await;
    let (models, step) = (server.models(&CassetteMode::Off), Step::new());
    let mut call = Box::pin(step.run(&models, json!({"model": "gpt-4.1-mini", "prompt": "hi"})));
    while !step.said().0.contains("is loading its model") {
        assert!(futures_util::poll!(&mut call).is_pending());
        tokio::task::yield_now().await;
    }
    step.cx.cancel.cancel();
    let failure = call.await.unwrap_err();
    assert_eq!(failure.class, Class::Cancelled);
    assert!(failure.unsettled.is_empty() && failure.spent.is_empty(), "{:?}", failure.spent);
}

#[tokio::test]
async fn a_server_that_loads_its_model_is_waited_for() {
    let loading = || {
        Act::Plain(
            503,
            vec![("content-type", "application/json")],
            json!({"error": {"code": 503, "message": "Loading model"}}).to_string(),
        )
    };
    let acts = (0..12).map(|_| loading()).chain([Act::Stream(openai("hello", "stop"))]);
    let server = Server::start(acts).await;
    let (models, mut step) = (server.models(&CassetteMode::Off), Step::new());
    step.cx.clock = Arc::new(TwoSeconds);
    let out = step.run(&models, json!({"model": "local/x", "prompt": "hi"})).await;
    assert_eq!(server.seen().len(), 13);
    assert_eq!(out.unwrap().value["text"], "hello");
    assert_eq!(step.said().0.matches("is loading its model").count(), 1);
}
