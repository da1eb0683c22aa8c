use std::time::Duration;

use atoll::clock::ManualClock;
use atoll::scenario::{Observation, StepDecision};
use atoll::system_clock::SystemClock;
use axum::Router;
use axum::routing::get;
use serde_json::json;

use super::program::{forgetful, parting, python_server, raw, serve, shop};
use super::{QuickClock, play, play_on, read, steps};

const ITEMS: &str = include_str!("../../scenarios/items-crud.yaml");
const SESSION: &str = include_str!("../../scenarios/session-auth.yaml");

async fn in_shop(text: &str) -> Observation {
    let clock = QuickClock::default();
    let url = serve(shop(clock.clone())).await;
    play_on(&steps(text), Some(&url), None, &clock, "").await
}

fn status(seen: &Observation) -> Vec<Option<u16>> {
    seen.steps.iter().map(|step| step.observed.as_ref().and_then(|observed| observed.status)).collect()
}

#[tokio::test]
async fn a_journey_with_captures_is_observed_and_left_open() {
    let url = serve(shop(QuickClock::default())).await;
    let seen = play(&read(ITEMS), Some(&url), None, "").await;
    assert_eq!(status(&seen), [Some(201), Some(200), Some(200), Some(204), Some(404)]);
    assert!(seen.steps.iter().all(|step| step.decided == StepDecision::Open && step.error.is_none()));
    assert_eq!((seen.weight, seen.tier, seen.setup_ok), (2.0, 2, true));
    let sent = seen.steps[0].sent.as_ref().unwrap();
    assert_eq!(
        sent.text,
        "POST /items\nx-request-id: 41\ncontent-type: application/json\n\n\
         {\"name\":\"Widget \\\"large\\\"\",\"price\":9.99,\"tags\":[\"a\",\"b\"]}"
            .replace(
                "x-request-id: 41\ncontent-type: application/json",
                "content-type: application/json\nx-request-id: 41"
            )
    );
    assert_eq!(seen.steps[1].expect, "200 and the item 7");
    assert!(seen.steps[1].sent.as_ref().unwrap().text.starts_with("GET /items/7?verbose=1\n"));
    let renamed = seen.steps[2].observed.as_ref().unwrap();
    assert!(renamed.body.as_ref().unwrap().contains(r#""name":"was Widget \"large\"""#), "{renamed:?}");
    assert!(renamed.text.starts_with("HTTP 200\ncontent-length:") && !renamed.text.contains("\ndate:"));
    assert!(renamed.headers.as_ref().unwrap().contains_key("date"));
    assert_eq!(seen.steps[0].captures[0].value, json!(7));
}

#[tokio::test]
async fn assertions_decide_without_a_judge() {
    let url = serve(shop(QuickClock::default())).await;
    let seen = play(&read(SESSION), Some(&url), None, "").await;
    assert!(seen.setup_ok, "{:?}", seen.broken);
    let failed: Vec<_> = seen.steps.iter().flat_map(|step| &step.assertions).filter(|v| !v.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(seen.steps.iter().all(|step| step.decided == StepDecision::Held));
    assert_eq!(seen.steps[1].assertions.len(), 10);
}

#[tokio::test]
async fn a_broken_setup_is_reported_and_nothing_is_run() {
    let url = serve(Router::new().route(
        "/login",
        axum::routing::post(|| async { (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "boom") }),
    ))
    .await;
    let seen = play(&read(SESSION), Some(&url), None, "").await;
    let broken = seen.broken.unwrap();
    assert_eq!((seen.setup_ok, broken.step, broken.description.as_str()), (false, 0, "Log in"));
    assert!(
        broken.reason.starts_with("`token` could not be captured: the body is not JSON"),
        "{}",
        broken.reason
    );
    assert!(broken.sent.starts_with("POST /login\n") && broken.observed.starts_with("HTTP 500\n"));
    assert_eq!(seen.steps.len(), 2);
    for step in &seen.steps {
        assert_eq!((step.decided, step.attempts, &step.observed), (StepDecision::Failed, 0, &None));
        assert!(step.error.as_ref().unwrap().starts_with("not run: step 1 of the setup (Log in) broke"));
    }
}

#[tokio::test]
async fn a_failed_assertion_is_tried_again_until_it_holds() {
    let polling = "
- request: { method: GET, path: /job }
  delay: 1s
  retry: { attempts: 5, interval: 2s }
  assert: { json: { $.state: done } }
";
    let seen = in_shop(polling).await;
    let step = &seen.steps[0];
    assert_eq!((step.attempts, step.decided, step.duration_ms), (3, StepDecision::Held, 5_000));
    let seen = in_shop(&polling.replace("interval: 2s", "interval: 9s, timeout: 20s")).await;
    let step = &seen.steps[0];
    assert_eq!(
        step.error.as_deref(),
        Some("no answer within 2s"),
        "the third attempt is interrupted, and there is no fourth"
    );
    assert_eq!((step.attempts, step.decided), (3, StepDecision::Failed));
    let seen = in_shop(&polling.replace("attempts: 5", "attempts: 2")).await;
    assert_eq!(seen.steps[0].assertions[0].actual, json!("running"));
}

#[tokio::test]
async fn durations_are_measured_on_the_last_try() {
    let seen = in_shop(
        "
- request: { method: GET, path: /slow }
  delay: 2s
  assert: { duration: <500ms }
- request: { method: GET, path: /slow }
  assert: { duration: '<=700ms' }
",
    )
    .await;
    let verdict = &seen.steps[0].assertions[0];
    assert_eq!(
        (verdict.ok, &verdict.actual, verdict.assert.as_str()),
        (false, &json!("700ms"), "duration <500ms")
    );
    assert_eq!(seen.steps[1].decided, StepDecision::Held);
}

#[tokio::test]
async fn one_connection_serves_a_scenario() {
    let seen = in_shop("- request: { method: GET, path: /port }\n".repeat(4).as_str()).await;
    let ports: Vec<_> =
        seen.steps.iter().map(|step| step.observed.as_ref().unwrap().body.clone().unwrap()).collect();
    assert!(ports.windows(2).all(|pair| pair[0] == pair[1]), "{ports:?}");
}

#[tokio::test]
async fn a_request_that_a_used_connection_loses_is_sent_once_more() {
    let (url, read) = forgetful(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let text = "
- repeat: 20
  request: { method: GET, path: / }
  assert: { status: 200, body: ok }
- request: { method: POST, path: /a, body: { a: 1 } }
  assert: { status: 200, body: ok }
- request: { method: POST, path: /b, multipart: [{ name: f, value: text, filename: f.txt }] }
  assert: { status: 200, body: ok }
- parallel:
    - { request: { method: GET, path: / }, times: 20 }
  assert: { json: { $.outcomes: { equals: { '200': 20 } } } }
- repeat: 20
  request: { method: GET, path: / }
  assert: { status: 200, body: ok }
";
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    for step in &seen.steps {
        assert_eq!(
            (step.decided, step.error.as_deref()),
            (StepDecision::Held, None),
            "{:?}",
            step.assertions
        );
    }
    let read = *read.lock().unwrap();
    assert!(read >= 62 + 20, "every second request finds a closed connection: {read}");
}

#[tokio::test]
async fn requests_at_once_that_used_connections_lose_are_each_sent_once_more() {
    for _ in 0..5 {
        let (url, read) = forgetful(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let text = "
- parallel: [{ request: { method: GET, path: / }, times: 20 }]
- parallel: [{ request: { method: POST, path: /, body: x }, times: 20 }]
  assert: { json: { $.outcomes: { equals: { '200': 20 } } } }
";
        let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
        assert_eq!(seen.steps[1].decided, StepDecision::Held, "{:?}", seen.steps[1].assertions);
        let read = *read.lock().unwrap();
        assert!(read <= 20 + 20 + 20, "none is sent three times: {read}");
    }
}

#[tokio::test]
async fn what_a_server_says_as_it_closes_a_used_connection_is_no_answer() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let text = "- repeat: 6\n  request: { method: POST, path: /a, body: x }\n  assert: { status: 200 }\n";
    let (url, _) = parting(OK, LATE).await;
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{:?}", seen.steps[0].assertions);
    let (url, read) = parting(LATE, b"").await;
    let seen =
        play_on(&steps(&text.replace("repeat: 6", "repeat: 1")), Some(&url), None, &SystemClock, "").await;
    assert_eq!(status(&seen), [Some(408)], "on a new connection it is an answer");
    assert_eq!(*read.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_request_that_is_sent_once_more_follows_no_more_redirects_than_it_may() {
    let (url, read) =
        forgetful(b"HTTP/1.1 303 See Other\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n").await;
    let text = "- request: { method: POST, path: /a, body: x, redirects: 1 }\n  assert: { status: 303 }\n";
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    assert_eq!((seen.steps[0].decided, seen.steps[0].error.as_deref()), (StepDecision::Held, None));
    assert_eq!(*read.lock().unwrap(), 3, "the request, its redirect, and the redirect again");
}

#[tokio::test]
async fn after_a_redirect_a_used_connection_may_be_lost_as_well() {
    let (url, _) =
        forgetful(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n").await;
    let text = "- request: { method: POST, path: /a, body: x, redirects: 3 }\n  assert: { status: 307 }\n";
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    assert_eq!((seen.steps[0].decided, seen.steps[0].error.as_deref()), (StepDecision::Held, None));
}

#[tokio::test]
async fn what_a_new_connection_loses_is_the_programs_doing() {
    let (url, read) = forgetful(b"").await;
    let text = "- request: { method: POST, path: /a, body: x }\n  assert: { status: 200 }\n";
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    let error = seen.steps[0].error.as_deref().unwrap();
    assert!(error.starts_with("no answer: "), "{error}");
    assert_eq!(*read.lock().unwrap(), 1, "it is not sent again");
}

#[tokio::test]
async fn redirects_are_followed_at_home_and_end_there() {
    let seen = in_shop(
        "
- request: { method: GET, path: /home }
- request: { method: GET, path: /away }
- request: { method: GET, path: /spin }
- request: { method: GET, path: 'http://example.invalid/' }
",
    )
    .await;
    assert_eq!(status(&seen), [Some(200), Some(302), None, None]);
    assert!(seen.steps[0].observed.as_ref().unwrap().url.as_ref().unwrap().ends_with("/port"));
    assert!(
        seen.steps[2].error.as_ref().unwrap().contains("more than 10 redirects"),
        "{:?}",
        seen.steps[2].error
    );
    assert!(seen.steps[3].error.as_ref().unwrap().contains("not on the target"));
    assert_eq!(seen.steps[3].decided, StepDecision::Failed);
}

#[tokio::test]
async fn a_flood_and_foreign_bytes_are_kept_within_bounds() {
    let seen = in_shop(
        "
- request: { method: GET, path: /flood }
  assert: { body: { contains: [xxx, left out], not_contains: y, length: 3145728 } }
- request: { method: GET, path: /latin }
",
    )
    .await;
    let flood = seen.steps[0].observed.as_ref().unwrap();
    assert_eq!((flood.length, flood.cut, flood.lossy), (3 << 20, true, false));
    let verdicts: Vec<_> = seen.steps[0].assertions.iter().map(|verdict| verdict.ok).collect();
    assert_eq!(verdicts, [true, false, false, false], "omitted bytes are not decided");
    assert!(seen.steps[0].assertions[2].reason.as_ref().unwrap().contains("3145728 bytes, too many"));
    assert_eq!(flood.digest, atoll::value::Digest::of(vec![b'x'; 3 << 20]).to_string());
    assert!(flood.body.as_ref().unwrap().len() < 70_000 && flood.text.len() < 9_000);
    let latin = seen.steps[1].observed.as_ref().unwrap();
    assert_eq!((latin.body.as_deref(), latin.lossy), (Some("a\u{FFFD}b"), true));
}

#[tokio::test]
async fn resets_and_silence_are_errors_with_what_had_come() {
    let cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial").await;
    let scenario = steps("- request: { method: GET, path: / }\n  assert: { status: 200 }");
    let seen = play(&scenario, Some(&cut), None, "").await;
    let step = &seen.steps[0];
    assert!(
        step.error.as_ref().unwrap().starts_with("the answer was interrupted after 7 bytes"),
        "{:?}",
        step.error
    );
    assert_eq!(step.observed.as_ref().unwrap().body.as_deref(), Some("partial"));
    assert_eq!(step.decided, StepDecision::Failed);
    let seen = play(&scenario, Some(&raw(b"").await), None, "").await;
    assert!(seen.steps[0].error.as_ref().unwrap().starts_with("no answer:"), "{:?}", seen.steps[0].error);
    let seen = play(&scenario, Some(&raw(b"SSH-2.0-x\r\n").await), None, "").await;
    assert!(seen.steps[0].error.is_some());
    let seen = play(&scenario, Some("http://127.0.0.1:1"), None, "").await;
    assert!(
        seen.steps[0].error.as_ref().unwrap().to_lowercase().contains("refused"),
        "{:?}",
        seen.steps[0].error
    );
}

#[tokio::test]
async fn a_peer_that_hangs_is_given_up() {
    let (asked, mut heard) = tokio::sync::mpsc::channel::<()>(4);
    let hang = get(move || async move {
        let _ = asked.send(()).await;
        std::future::pending::<&'static str>().await
    });
    let url = serve(Router::new().route("/", hang)).await;
    let clock = ManualClock::at(0);
    let scenario = steps("- request: { method: GET, path: /, timeout: 5s }\n  assert: { status: 200 }");
    let running = play_on(&scenario, Some(&url), None, &clock, "");
    let late = async {
        heard.recv().await.unwrap();
        clock.advance(Duration::from_secs(5));
    };
    let (seen, ()) = tokio::join!(running, late);
    assert_eq!(seen.steps[0].error.as_deref(), Some("no answer within 5s"));
    assert_eq!((seen.steps[0].decided, seen.steps[0].duration_ms), (StepDecision::Failed, 5_000));
}

#[tokio::test]
async fn what_is_sent_is_what_is_written() {
    let seen = in_shop(
        r#"
- request:
    method: post
    path: "/echo?q={dir}&x=a b#frag"
    headers: { Content-Type: text/plain, X-Two: "ü" }
    body: '{"raw": {n}}'
  assert:
    json:
      $.body: '{"raw": {n}}'
      $.query: [[q, ""], [x, "a b"]]
      "$.headers[?@[0] == 'content-type'][1]": text/plain
      "$.headers[?@[0] == 'x-two'][1]": ü
- request: { method: GET, path: /echo }
  assert:
    json:
      $.body: ""
      "$.headers[?@[0] == 'content-type']": { exists: false }
      "$.headers[?@[0] == 'cookie']": { exists: false }
- request: { method: GET, path: /echo, headers: { "bad name": x } }
"#,
    )
    .await;
    let failed: Vec<_> = seen.steps.iter().flat_map(|step| &step.assertions).filter(|v| !v.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(seen.steps[2].error.as_ref().unwrap().contains("is not a header name"));
}

#[tokio::test]
async fn a_server_that_others_wrote() {
    let dir = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a file to serve")]
    std::fs::write(dir.path().join("hello world.txt"), "grüße\n").unwrap();
    let server = python_server(dir.path()).await;
    let scenario = steps(
        r#"
- request: { method: GET, path: "/hello world.txt" }
  capture: [{ name: length, source: "header:content-length" }]
  assert:
    status: 200
    header: { content-type: text/plain, Server: { matches: "^SimpleHTTP" } }
    body: { equals: "grüße\n" }
- request: { method: HEAD, path: "/hello%20world.txt" }
  assert: { header: { Content-Length: "{length}" }, body: { equals: "" } }
- request: { method: GET, path: / }
  assert: { body: { contains: [hello, Directory listing] } }
- request: { method: DELETE, path: / }
  assert: { status: 501 }
- request: { method: GET, path: /none }
  assert: { status: [404, 410] }
"#,
    );
    let seen = play(&scenario, Some(&server.url), None, "").await;
    let failed: Vec<_> = seen.steps.iter().filter(|step| step.decided != StepDecision::Held).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
