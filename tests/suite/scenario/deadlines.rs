//! Steps that exceed their time limit.
#![expect(clippy::disallowed_methods, reason = "tests open sockets")]

use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::peers::Peer;
use super::{brief, play_on, read, told};

/// Most milliseconds for a step with a time limit below a second, on a busy machine; far less than its own
/// waits.
const SOON: u64 = 20_000;

/// A peer that sends `bytes` as the beginning of an answer and then nothing more.
async fn quiet(bytes: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            open.push(stream);
        }
    });
    url
}

async fn play(text: &str, url: &str) -> Observation {
    let seen = play_on(&read(text), Some(url), None, &SystemClock, "").await;
    assert!(seen.duration_ms < SOON, "{} ms: {}", seen.duration_ms, told(&seen));
    seen
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";

#[tokio::test]
async fn events_end_with_the_time_of_the_scenario() {
    let url = quiet(EVENTS).await;
    let step =
        "{ request: { method: GET, path: /, events: { count: 2, timeout: 60s } }, assert: { count: 2 } }";
    let seen = play(&format!("id: a\ntimeout: 400ms\nsteps: [{step}]\n"), &url).await;
    let error = seen.steps[0].error.as_deref();
    assert_eq!(
        error,
        Some("the 400ms of the scenario were over before it came to an end"),
        "{}",
        told(&seen)
    );
    // The received events are kept, and are enough for a step that expects no more.
    let step = step.replace("assert: { count: 2 }", "assert: { count: 1 }");
    let seen = play(&format!("id: a\ntimeout: 400ms\nsteps: [{step}]\n"), &url).await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", told(&seen));
}

#[tokio::test]
async fn events_end_with_the_time_of_the_request_and_of_what_repeats_it() {
    let url = quiet(EVENTS).await;
    let request = |more: &str| {
        format!("request: {{ method: GET, path: /, {more}events: {{ count: 2, timeout: 60s }} }}")
    };
    for step in [
        format!("{{ {}, assert: {{ count: 2 }} }}", request("timeout: 400ms, ")),
        format!("{{ {}, until: {{ count: 2, within: 400ms, every: 10ms }} }}", request("")),
        format!("{{ {}, retry: {{ attempts: 3, timeout: 400ms }}, assert: {{ count: 2 }} }}", request("")),
    ] {
        let seen = play(&format!("id: a\nsteps: [{step}]\n"), &url).await;
        let only = &seen.steps[0];
        assert_eq!(
            (only.decided, only.assertions[0].actual.as_u64()),
            (StepDecision::Failed, Some(1)),
            "{}",
            brief(only)
        );
    }
}

#[tokio::test]
async fn a_delay_ends_with_the_time_of_the_scenario() {
    let text = "id: a\ntimeout: 300ms\nsteps:\n  - { delay: 60s, request: { method: GET, path: / }, assert: { status: 200 } }\n";
    let seen = play(text, &quiet("").await).await;
    let error = seen.steps[0].error.as_deref();
    assert_eq!(error, Some("not run: the 300ms of the scenario were over before its `delay` was"));
}

#[tokio::test]
async fn all_waits_of_a_socket_together_end_with_the_time_of_the_scenario() {
    let Some(peer) = Peer::start("ws_server.py", "all_waits_of_a_socket_together").await else { return };
    let url = format!("http://127.0.0.1:{}", peer.port);
    let step = "{ ws: { url: /silent, send: x, receive: { count: 2, timeout: 60s }, close: true, timeout: 60s }, assert: { count: 2 } }";
    let seen = play(&format!("id: a\ntimeout: 1s\nsteps: [{step}]\n"), &url).await;
    let error = seen.steps[0].error.as_deref();
    assert_eq!(error, Some("the 1s of the scenario were over before it came to an end"), "{}", told(&seen));
}
