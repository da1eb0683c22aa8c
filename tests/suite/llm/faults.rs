//! Failures of providers, and their outcomes.

use std::time::Duration;

use atoll::llm::CassetteMode;
use atoll::verb::{Class, Failure};
use serde_json::json;

use super::server::{self, Act, KEY, Server};
use super::{Step, meter, wire};

async fn failure(model: &str, act: Act) -> Failure {
    let server = Server::start([act]).await;
    let with = json!({"model": model, "prompt": "hi"});
    Step::new().run(&server.models(&CassetteMode::Off), with).await.unwrap_err()
}

fn plain(status: u16, body: &str) -> Act {
    Act::Plain(status, vec![("content-type", "application/json")], body.to_owned())
}

const GEMINI_QUOTA: &str = r#"{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}"#;
const GEMINI_KEY: &str = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#;
const GEMINI_BUSY: &str = r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#;

fn responses_fault(code: &str) -> Act {
    let event = json!({"type": "error", "code": code, "message": "something went wrong", "param": null});
    Act::Stream(wire::responses_event(&event))
}

fn responses_failure(code: &str) -> Act {
    let error = json!({"code": code, "message": "something went wrong"});
    let response = wire::response(&json!({"status": "failed", "error": error}));
    Act::Stream(wire::responses_event(&json!({"type": "response.failed", "response": response})))
}

#[tokio::test]
async fn every_fault_has_its_class_and_says_what_to_do() {
    let unknown = r#"{"error":{"message":"The model `gpt-4.1-mimi` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#;
    let quota = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long for the context window"}}"#;
    judged([
        ("gpt-5", plain(500, "{}"), Class::Transient, "openai answered 500", None),
        ("claude-haiku-4-5", plain(529, ""), Class::Transient, "anthropic answered 529", None),
        ("claude-haiku-4-5", plain(403, "{}"), Class::Auth, "403", Some("ANTHROPIC_API_KEY")),
        ("gpt-5", plain(429, quota), Class::Auth, "exceeded your current quota", Some("exhausted")),
        ("gpt-5", plain(402, ""), Class::Auth, "402", Some("exhausted")),
        (
            "openai/gpt-4.1-mimi",
            plain(404, unknown),
            Class::Permanent,
            "does not exist",
            Some("did you mean `gpt-4.1-mini`?"),
        ),
        ("claude-haiku-4-5", plain(400, long), Class::Permanent, "too long", Some("too long")),
        ("gpt-5", plain(200, "<html>"), Class::Transient, "not JSON", None),
        ("gpt-5", Act::Stream("data: {\"choices\": [}\n\n".to_owned()), Class::Transient, "not JSON", None),
        ("gpt-5", Act::Stream(String::new()), Class::Transient, "was interrupted", None),
    ])
    .await;
}

#[tokio::test]
async fn the_faults_of_every_dialect_have_their_class() {
    judged([
        (
            "gemini-2.5-pro",
            plain(429, GEMINI_QUOTA),
            Class::RateLimited,
            "exceeded your current quota",
            Some("the daily limit"),
        ),
        ("gemini-2.5-pro", plain(400, GEMINI_KEY), Class::Auth, "API key not valid", Some("GEMINI_API_KEY")),
        ("gemini-2.5-pro", plain(503, GEMINI_BUSY), Class::Transient, "overloaded", None),
        (
            "ollama/x:1b",
            plain(404, r#"{"error":"model 'x:1b' not found"}"#),
            Class::Permanent,
            "not found",
            Some("ollama pull x:1b"),
        ),
        (
            "ollama/x:1b",
            Act::Lines("{\"error\":\"an unknown error was encountered\"}\n".to_owned()),
            Class::Transient,
            "unknown error",
            None,
        ),
        ("openai-responses/gpt-5", responses_fault("server_error"), Class::Transient, "went wrong", None),
        (
            "openai-responses/gpt-5",
            responses_fault("rate_limit_exceeded"),
            Class::RateLimited,
            "went wrong",
            None,
        ),
        (
            "openai-responses/gpt-5",
            responses_failure("insufficient_quota"),
            Class::Auth,
            "went wrong",
            Some("exhausted"),
        ),
        (
            "openai-responses/gpt-5",
            responses_failure("invalid_prompt"),
            Class::Refused,
            "went wrong",
            Some("reword"),
        ),
        (
            "gemini-2.5-pro",
            Act::Stream(format!("data: {GEMINI_BUSY}\n\n")),
            Class::Transient,
            "overloaded",
            None,
        ),
    ])
    .await;
}

/// A model, the behaviour of its server, and the outcome: class, and parts of the message and the hint.
type Case = (&'static str, Act, Class, &'static str, Option<&'static str>);

async fn judged(cases: impl IntoIterator<Item = Case>) {
    for (model, act, class, words, hint) in cases {
        let with = if model.starts_with("openai/") { "count" } else { "refuse" };
        let server = Server::start([act]).await;
        let with = json!({"model": model, "prompt": "hi", "unknown_cost": with});
        let failure = Step::new().run(&server.models(&CassetteMode::Off), with).await.unwrap_err();
        assert_eq!(failure.class, class, "{model}: {failure}");
        assert!(failure.message.contains(words), "{model}: {failure}");
        assert!(
            hint.is_none_or(|hint| failure.hint.as_ref().is_some_and(|h| h.contains(hint))),
            "{:?}",
            failure.hint
        );
        // An unreadable answer was sent nevertheless.
        let garbled = failure.message.contains("is not JSON") && failure.message.contains("<html>");
        assert_eq!(failure.spent.is_empty(), !garbled, "{model}: {failure}");
    }
}

#[tokio::test]
async fn a_provider_that_asks_for_patience_names_the_time() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let act =
        Act::Plain(429, vec![("retry-after", "7"), ("content-type", "application/json")], body.to_owned());
    let failure = failure("claude-haiku-4-5", act).await;
    assert_eq!((failure.class, failure.retry_after_ms), (Class::RateLimited, Some(7000)));
}

#[tokio::test]
async fn no_time_at_all_is_no_time() {
    for header in [("retry-after", "0"), ("retry-after-ms", "0"), ("x-ratelimit-reset-tokens", "0s")] {
        let busy = || Act::Plain(429, vec![header], "{}".to_owned());
        let server = Server::start([busy(), busy()]).await;
        let (models, step) = (server.models(&CassetteMode::Off), Step::new());
        for wait in [1_000, 2_000] {
            let failure = step.run(&models, json!({"model": "gpt-5", "prompt": "hi"})).await.unwrap_err();
            assert_eq!(
                (failure.class, failure.retry_after_ms),
                (Class::RateLimited, Some(wait)),
                "{header:?}"
            );
            step.clock.advance(Duration::from_millis(wait));
        }
    }
}

#[tokio::test]
async fn every_provider_names_the_time_in_its_own_way() {
    let body = r#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
    let date = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");
    let anthropic = ("anthropic-ratelimit-requests-reset", "2026-11-20T10:00:09Z");
    for (model, headers, body, wait) in [
        ("gemini-2.5-pro", vec![], body, 34_500),
        ("claude-haiku-4-5", vec![date, anthropic], "{}", 9_000),
        (
            "gpt-5",
            vec![("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6.5s")],
            "{}",
            6_500,
        ),
        ("openrouter/x/y", vec![date, ("x-ratelimit-reset", "1795168815000")], "{}", 15_000),
    ] {
        let server = Server::start([Act::Plain(429, headers, body.to_owned())]).await;
        let with = json!({"model": model, "prompt": "hi", "unknown_cost": "count"});
        let failure = Step::new().run(&server.models(&CassetteMode::Off), with).await.unwrap_err();
        assert_eq!(
            (failure.class, failure.retry_after_ms),
            (Class::RateLimited, Some(wait)),
            "{model}: {failure}"
        );
    }
}

#[tokio::test]
async fn a_key_that_the_provider_repeats_is_not_shown() {
    let body = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "type": "invalid_request_error"}});
    let failure = failure("gpt-5", plain(401, &body.to_string())).await;
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("Incorrect API key provided: ***"), "{failure}");
    assert!(failure.hint.unwrap().contains("OPENAI_API_KEY"));
}

#[tokio::test]
async fn a_redirect_does_not_carry_the_key_away() {
    let thief = Server::start([Act::Stream(server::openai("thanks", "stop"))]).await;
    let to: &'static str = Box::leak(format!("{}/chat/completions", thief.base).into_boxed_str());
    let failure = failure("gpt-5", Act::Plain(307, vec![("location", to)], String::new())).await;
    assert_eq!(failure.class, Class::Permanent, "{failure}");
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn what_came_in_before_the_line_broke_is_counted() {
    let broken = failure("claude-sonnet-4-6", Act::Cut(server::anthropic_open("half an ans"))).await;
    assert_eq!(broken.class, Class::Transient);
    assert!(broken.message.contains("was interrupted after 11 bytes"), "{broken}");
    // 100 at 3 $, 700 at 0.30 $, 200 at 3.75 $, and 11 bytes written, 4 tokens at 15 $ a million: the
    // provider had counted what it had read, and that something was written
    let spent = [
        ("calls", 1.0),
        ("tokens_in", 1000.0),
        ("tokens_out", 4.0),
        ("tokens_cached", 700.0),
        ("usd", 0.001_32),
    ];
    assert_eq!(broken.spent.plain(), meter(&spent));

    let quiet = failure("gpt-4.1-mini", Act::Stream(server::openai_open("half an ans"))).await;
    assert_eq!(quiet.class, Class::Transient, "an end without `[DONE]` and a reason is incomplete");
    assert!(quiet.spent.get("tokens_out") > 3.0, "estimated: 11 bytes at 3.5 per token");

    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let stream = server::anthropic_open("half") + &server::named(&overloaded);
    let broken = failure("claude-sonnet-4-6", Act::Stream(stream)).await;
    assert_eq!((broken.class, broken.spent.get("calls") > 0.9), (Class::Transient, true), "{broken}");
    assert!(broken.message.contains("Overloaded"), "{broken}");
}

#[tokio::test]
async fn nobody_there_is_passing_and_says_where() {
    let step = Step::new();
    // There is no server at port 9 (discard).
    let models = server::models("http://127.0.0.1:9/v1", &CassetteMode::Off);
    let failure = step.run(&models, json!({"model": "local/x", "prompt": "hi"})).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.starts_with("cannot reach local at http://127.0.0.1:9/v1: "), "{failure}");
    assert!(failure.hint.unwrap().contains("ATOLL_LOCAL_BASE_URL"));

    let models = server::models("no url", &CassetteMode::Off);
    let failure = step.run(&models, json!({"model": "local/x", "prompt": "hi"})).await.unwrap_err();
    assert_eq!(failure.class, Class::Permanent, "{failure}");
    assert!(failure.message.contains("is not a URL"), "{failure}");
}

#[tokio::test]
async fn a_call_that_ends_before_it_is_sent_costs_nothing() {
    for sent in [false, true] {
        let server = Server::start([Act::Mute]).await;
        let (models, step) = (server.models(&CassetteMode::Off), Step::new());
        let mut call = Box::pin(step.run(&models, json!({"model": "gpt-4.1-mini", "prompt": "hi"})));
        // Until it is connected.
        assert!(futures_util::poll!(&mut call).is_pending());
        while sent && server.seen().is_empty() {
            assert!(futures_util::poll!(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
        step.cx.cancel.cancel();
        let failure = call.await.unwrap_err();
        assert_eq!((failure.class, failure.unsettled.get("lost") > 0.0), (Class::Cancelled, sent));
        assert_eq!(failure.spent.is_empty(), !sent, "{:?}", failure.spent);
    }
}

#[tokio::test]
async fn time_and_cancellation_end_a_call_that_hangs() {
    let server = Server::start([Act::Hang(String::new()), Act::Hang(String::new())]).await;
    let models = server.models(&CassetteMode::Off);
    let with = json!({"model": "gpt-5", "prompt": "hi", "timeout": "5m"});

    let step = Step::new();
    let late = async {
        while server.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(step.clock.advance_to_next());
    };
    let (out, ()) = tokio::join!(step.run(&models, with.clone()), late);
    let failure = out.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Timeout, "no answer within 300 s"));

    let step = Step::new();
    let cancelling = async {
        while server.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
        step.cx.cancel.cancel();
    };
    let (out, ()) = tokio::join!(step.run(&models, with), cancelling);
    assert_eq!(out.unwrap_err().class, Class::Cancelled);
}
