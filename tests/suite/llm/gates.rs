//! The rate limiter and circuit breaker of a provider, which all steps of a run share.

use std::time::Duration;

use atoll::llm::CassetteMode;
use atoll::verb::Class;
use serde_json::json;

use super::server::{Act, Server, openai};
use super::{Step, server};

fn status(status: u16, headers: &[(&'static str, &'static str)]) -> Act {
    Act::Plain(status, headers.to_vec(), "{}".to_owned())
}

/// Advances the clock by `span` once the step has reported `words`.
async fn after(step: &Step, words: &str, span: Duration) {
    while !step.said().0.contains(words) {
        tokio::task::yield_now().await;
    }
    step.clock.advance(span);
}

#[tokio::test]
async fn the_next_call_waits_as_long_as_the_one_before_was_told() {
    let server =
        Server::start([status(429, &[("retry-after", "7")]), Act::Stream(openai("here", "stop"))]).await;
    let (models, step) = (server.models(&CassetteMode::Off), Step::new());
    let with = json!({"model": "gpt-5", "prompt": "hi"});
    let failure = step.run(&models, with.clone()).await.unwrap_err();
    assert_eq!((failure.class, failure.retry_after_ms), (Class::RateLimited, Some(7_000)));

    let waiting = after(&step, "): waiting 7 s", Duration::from_secs(7));
    let (output, ()) = tokio::join!(step.run(&models, with.clone()), waiting);
    assert_eq!(output.unwrap().value["text"], "here");
    assert_eq!(server.seen().len(), 2);
    // Other providers are not affected.
    let failure = step.run(&models, json!({"model": "claude-haiku-4-5", "prompt": "hi"})).await.unwrap_err();
    assert_eq!(failure.class, Class::Permanent, "the script is at its end: {failure}");
}

#[tokio::test]
async fn who_asks_for_an_hour_is_not_asked_meanwhile_and_another_answers() {
    let server = Server::start([
        status(429, &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1h0m0s")]),
        Act::Stream(openai("second", "stop")),
    ])
    .await;
    let (models, step) = (server.models(&CassetteMode::Off), Step::new());
    let with = json!({"model": ["gpt-5", "local/second"], "prompt": "hi"});
    let output = step.run(&models, with.clone()).await.unwrap();
    assert_eq!((&output.value["text"], &output.value["switched"]), (&json!("second"), &json!(["gpt-5"])));
    let failure = step.run(&models, json!({"model": "gpt-5", "prompt": "hi"})).await.unwrap_err();
    assert_eq!((failure.class, failure.retry_after_ms), (Class::RateLimited, Some(3_600_000)));
    assert_eq!(server.seen().len(), 2, "there was no second request");
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_and_tried_again() {
    let down = std::iter::repeat_n(status(500, &[]), 5);
    let acts = [Act::Stream(openai("other", "stop")), status(502, &[]), Act::Stream(openai("back", "stop"))];
    let server = Server::start(down.chain(acts)).await;
    let (models, step) = (server.models(&CassetteMode::Off), Step::new());
    let with = json!({"model": "gpt-5", "prompt": "hi"});
    for _ in 0..5 {
        assert_eq!(step.run(&models, with.clone()).await.unwrap_err().class, Class::Transient);
    }
    // A step with another model uses it at once.
    let both = json!({"model": ["gpt-5", "local/other"], "prompt": "hi"});
    let output = step.run(&models, both).await.unwrap();
    assert_eq!((&output.value["text"], &output.value["switched"]), (&json!("other"), &json!(["gpt-5"])));
    assert_eq!(server.seen().len(), 6);
    let said = step.said().0;
    assert!(
        said.contains("openai failed 5 times in a row, the last time with `openai answered 500: ")
            && said.contains("the next attempt is in 5 s"),
        "{said}"
    );
    // A step without one waits.
    for (words, seconds) in [(": waiting 5 s", 5), ("openai answered 502: {}`: waiting 10 s", 10)] {
        let waiting = after(&step, words, Duration::from_secs(seconds));
        let (output, ()) = tokio::join!(step.run(&models, with.clone()), waiting);
        if seconds == 10 {
            assert_eq!(output.unwrap().value["text"], "back");
        }
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_given_up() {
    let half = server::openai_open("half an ans");
    for (act, words, heard) in [
        // A line without an end.
        (
            Act::Hang(half[..half.len() - 40].to_owned()),
            "was interrupted after 5 bytes: it sent nothing for 300 s",
            "half ",
        ),
        (Act::Mute, "openai does not answer: it sent nothing for 300 s", ""),
    ] {
        let server = Server::start([act]).await;
        let (models, step) = (server.models(&CassetteMode::Off), Step::new());
        let asked = async {
            while server.seen().is_empty() || step.said().1 != heard {
                tokio::task::yield_now().await;
            }
            assert!(step.clock.advance_to_next());
        };
        let with = json!({"model": "gpt-4.1-mini", "prompt": "hi"});
        let (out, ()) = tokio::join!(step.run(&models, with), asked);
        let failure = out.unwrap_err();
        assert_eq!(failure.class, Class::Transient, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let server = Server::start([Act::Stream(format!("data: {}", "x".repeat(17 << 20)))]).await;
    let with = json!({"model": "gpt-5", "prompt": "hi"});
    let failure = Step::new().run(&server.models(&CassetteMode::Off), with).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("an event is too large"), "{failure}");
}
