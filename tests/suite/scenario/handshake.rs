//! WebSocket handshakes of different servers.

use atoll::clock::Clock as _;
use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;

use super::peers::Peer;
use super::{play_on, steps, told};

async fn talk(peer: &Peer, text: &str) -> Observation {
    let url = format!("http://me:p%40ss@127.0.0.1:{}", peer.port);
    play_on(&steps(text), Some(&url), None, &SystemClock, "").await
}

#[tokio::test]
async fn every_right_answer_is_taken() {
    let Some(peer) = Peer::start("raw_server.py", "every_right_answer_is_taken").await else { return };
    for path in ["several", "apart", "hints", "long"] {
        let text =
            format!("- ws: {{ url: /{path}, receive: {{}} }}\n  assert: {{ status: 101, messages: hi }}\n");
        let seen = talk(&peer, &text).await;
        assert_eq!(seen.steps[0].decided, StepDecision::Held, "{path}: {}", told(&seen));
    }
}

#[tokio::test]
async fn a_wrong_answer_is_refused_and_said_why() {
    let Some(peer) = Peer::start("raw_server.py", "a_wrong_answer_is_refused").await else { return };
    for (path, why) in [
        ("wrong", "the header `Sec-WebSocket-Accept` of the answer does not match the key that was sent"),
        ("closed", "the header `Connection` of the answer does not name `Upgrade`"),
        ("h2c", "the answer has no header `Upgrade: websocket`"),
        ("old", "the answer is HTTP/1.0, which does not support upgrades"),
        ("extended", "the server uses the extension `permessage-deflate`, which was not offered"),
        ("unasked", "the server chose a subprotocol that was not offered"),
        ("nonsense", "invalid HTTP version parsed"),
    ] {
        let seen = talk(&peer, &format!("- {{ ws: {{ url: /{path} }}, expect: x }}\n")).await;
        let error = seen.steps[0].error.as_deref().unwrap_or_default();
        assert_eq!(error, format!("the handshake failed: {why}"), "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_shown_with_what_came_of_its_body() {
    let Some(peer) = Peer::start("raw_server.py", "a_refusal_is_shown").await else { return };
    let seen = talk(
        &peer,
        "
- ws: { url: /chunked }
  assert: { status: 403 }
- { ws: { url: /half, timeout: 300ms }, expect: x }
- ws: { url: /moved }
  assert: { status: 302, header: { location: /several } }
",
    )
    .await;
    let text = |step: usize| &seen.steps[step].observed.as_ref().unwrap().text;
    assert_eq!(text(0), "The handshake was refused: HTTP 403\nnot here\n");
    assert_eq!(seen.steps[1].error.as_deref(), Some("the handshake was refused: HTTP 403"));
    assert_eq!(text(1), "The handshake was refused: HTTP 403\nnot here…\n");
    assert_eq!(seen.steps[2].decided, StepDecision::Held, "{}", told(&seen));
}

/// Some servers compare header names case-sensitively with those of browsers.
#[tokio::test]
async fn a_handshake_is_written_as_browsers_write_it() {
    let Some(peer) = Peer::start("raw_server.py", "a_handshake_is_written_as_browsers_write_it").await else {
        return;
    };
    let seen = talk(
        &peer,
        "
- ws: { url: '/a/../head?x=1', headers: { Origin: 'http://here', X-Note: ünï Sec-Websocket- }, receive: {} }
  expect: it is sent
- ws: { url: /head, headers: { Authorization: Bearer x, Host: other.example }, receive: {} }
  expect: the header counts
",
    )
    .await;
    let text = |step: usize| &seen.steps[step].observed.as_ref().unwrap().text;
    let port = &peer.port;
    for line in [
        "GET /a/../head?x=1 HTTP/1.1\n",
        &format!("\nHost: 127.0.0.1:{port}\n"),
        "\nConnection: Upgrade\n",
        "\nUpgrade: websocket\n",
        "\nSec-WebSocket-Version: 13\n",
        "\nSec-WebSocket-Key: ",
        "\nOrigin: http://here\n",
        " Sec-Websocket-\n",
        "\nAuthorization: Basic bWU6cEBzcw==\n",
    ] {
        assert!(text(0).contains(line), "{line:?}: {}", text(0));
    }
    assert!(text(1).contains("\nAuthorization: Bearer x\n"), "{}", text(1));
    assert!(text(1).contains("\nHost: other.example\n"), "{}", text(1));
}

/// Timeouts fire even if several servers send meaningless data without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_outlasts_its_timeout() {
    let Some(peer) = Peer::start("raw_server.py", "no_flood_outlasts_its_timeout").await else { return };
    let url = format!("http://127.0.0.1:{}", peer.port);
    let begun = SystemClock.now();
    let floods = [
        "- { request: { method: GET, path: /hints-without-end, timeout: 500ms }, expect: x }",
        "- { request: { method: GET, path: /members-without-end, timeout: 500ms }, expect: x }",
        "- { ws: { url: /hints-without-end, timeout: 500ms }, expect: x }",
        "- ws: { url: /pings-without-end, receive: { count: 2, timeout: 500ms } }\n  expect: x",
    ];
    let plays = floods.map(|flood| {
        let (scenario, url) = (steps(flood), url.clone());
        tokio::spawn(async move { play_on(&scenario, Some(&url), None, &SystemClock, "").await })
    });
    for (play, flood) in plays.into_iter().zip(floods) {
        let seen = play.await.unwrap();
        let step = &seen.steps[0];
        let said = match &step.error {
            Some(error) => error.clone(),
            None => step.observed.as_ref().unwrap().text.clone(),
        };
        let late = [
            "no answer within 500ms",
            "had not ended after 500ms",
            "no connection within 500ms",
            "within 500ms",
        ];
        assert!(late.iter().any(|late| said.contains(late)), "{flood}: {said}");
    }
    let took = SystemClock.now() - begun;
    assert!(took < 4_000, "{took} ms");
}
