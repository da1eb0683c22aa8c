//! `ws` steps against a server made of the `websockets` package.

use atoll::scenario::{Observation, StepDecision, StepSeen, load};
use atoll::system_clock::SystemClock;
use serde_json::json;

use super::peers::Peer;
use super::{play_on, steps};

async fn talk(peer: &Peer, text: &str) -> Observation {
    let url = format!("http://127.0.0.1:{}", peer.port);
    play_on(&steps(text), Some(&url), None, &SystemClock, "").await
}

fn text(step: &StepSeen) -> &str {
    &step.observed.as_ref().unwrap().text
}

/// Fails unless every step has assertions and all of them hold.
fn all_hold(seen: &Observation) {
    for step in &seen.steps {
        assert_eq!(step.decided, StepDecision::Held, "{step:#?}");
    }
}

#[tokio::test]
async fn text_json_and_bytes_come_back() {
    let Some(peer) = Peer::start("ws_server.py", "text_json_and_bytes_come_back").await else { return };
    let seen = talk(
        &peer,
        r#"
- ws: { url: /echo, send: '{"kind": "order", "n": 7}', receive: {} }
  assert: { json: { $.n: 7 }, count: 1, messages: '"kind": "order"', duration: "<10s" }
  capture: [{ name: n, jsonpath: $.n }]
- ws: { send: { number: "{n}", list: [1] }, receive: { timeout: 10s, count: 1 } }
  assert: { json: { $.number: "7", "$.list[0]": 1 } }
- ws: { send: { base64: AAEC/w== }, receive: {} }
  assert: { messages: { equals: "base64:AAEC/w== (4 bytes)" }, json: { $.base64: AAEC/w==, $.length: 4 } }
- ws: { messages: [one, { hex: "00 ff" }, [1, 2], 4], receive: { count: 4 } }
  assert: { json: { "$[0]": one, "$[1].length": 2, "$[2][1]": 2, "$[3]": 4 }, count: ">=4" }
  capture: [{ name: all, source: messages }, { name: third, jsonpath: "$[2]" }]
- ws: { send: "{third}", receive: {} }
  assert: { messages: { equals: "[1,2]" } }
- ws: { messages: [a, b, stop, d], receive: { until: "^st" } }
  assert: { messages: { equals: "a\nb\nstop" }, count: 3 }
- ws: { receive: {} }
  assert: { messages: d }
"#,
    )
    .await;
    all_hold(&seen);
    assert_eq!(
        text(&seen.steps[0]),
        "WebSocket default: connected\nSent 1 message\nReceived 1 message\n{\"kind\": \"order\", \"n\": 7}\n"
    );
    assert_eq!(seen.steps[3].captures[0].value, json!(r#"["one",{"base64":"AP8=","length":2},[1,2],4]"#));
    let sent = seen.steps[0].sent.as_ref().unwrap();
    assert!(sent.text.starts_with("WebSocket default\nconnect /echo\nsend {"), "{}", sent.text);
    assert!(sent.url.as_ref().unwrap().starts_with("ws://127.0.0.1:"));
}

#[tokio::test]
async fn files_of_the_known_format_mean_the_same() {
    let Some(peer) = Peer::start("ws_server.py", "files_of_the_known_format").await else { return };
    let seen = talk(
        &peer,
        r#"
- { description: connect, ws: { url: /echo }, expect: it is connected }
- { ws: { send: '{"id": 3}' }, expect: it is sent }
- ws: { receive: { timeout: 5s, count: 1 } }
  expect: the same comes back
  capture: [{ name: id, jsonpath: $.id }]
- { ws: { url: "/echo?n={id}", id: second, send: "{id}", receive: { count: 3, timeout: 300ms } }, expect: three }
- { ws: { id: nobody, send: x }, expect: y }
"#,
    )
    .await;
    let decided: Vec<_> = seen.steps.iter().map(|step| step.decided).collect();
    assert_eq!(
        decided,
        [
            StepDecision::Open,
            StepDecision::Open,
            StepDecision::Open,
            StepDecision::Open,
            StepDecision::Failed
        ]
    );
    assert_eq!(seen.steps[0].observed.as_ref().unwrap().body.as_deref(), Some("[]"));
    assert_eq!(text(&seen.steps[1]), "WebSocket default\nSent 1 message\n");
    assert_eq!(seen.steps[2].observed.as_ref().unwrap().body.as_deref(), Some(r#"{"id": 3}"#));
    let late = "WebSocket second: connected\nSent 1 message\nReceived 1 of 3 messages within 300ms\n3\n";
    assert_eq!((text(&seen.steps[3]), &seen.steps[3].error), (late, &None));
    let error = seen.steps[4].error.as_deref().unwrap();
    assert_eq!(error, "no connection `nobody` is open: connect it with `url` first");
}

#[tokio::test]
async fn subprotocols_headers_and_whole_urls() {
    let Some(peer) = Peer::start("ws_server.py", "subprotocols_headers_and_whole_urls").await else { return };
    let port = &peer.port;
    let seen = talk(
        &peer,
        &format!(
            r#"
- ws: {{ url: "ws://127.0.0.1:{port}/headers", headers: {{ X-Token: t1, Origin: "http://here" }}, receive: {{}} }}
  assert: {{ json: {{ $.x-token: t1, $.origin: "http://here" }}, status: 101, header: {{ Upgrade: websocket }} }}
- ws: {{ url: /echo, protocols: [chat.v1, other] }}
  assert: {{ protocol: {{ equals: chat.v1 }}, header: {{ sec-websocket-protocol: chat.v1 }} }}
- ws: {{ send: still, receive: {{}} }}
  assert: {{ protocol: chat.v1, messages: still }}
- ws: {{ url: /private, headers: {{ Authorization: me }}, send: in, receive: {{}} }}
  assert: {{ messages: in }}
"#
        ),
    )
    .await;
    all_hold(&seen);
    assert!(text(&seen.steps[1]).contains("Subprotocol chat.v1\n"));
}

#[tokio::test]
async fn a_refused_handshake_is_an_answer_where_its_status_is_asserted() {
    let Some(peer) = Peer::start("ws_server.py", "a_refused_handshake").await else { return };
    let seen = talk(
        &peer,
        "
- ws: { url: /private }
  assert: { status: 401 }
  capture: [{ name: status, source: status }]
- { ws: { url: /private }, expect: it lets me in }
- ws: { url: /nowhere }
  assert: { status: 101 }
- ws: { url: /echo, protocols: [none.of, them], send: hi, receive: {} }
  assert: { status: 101, messages: hi }
- ws: { url: /echo, protocols: [none.of, them] }
  assert: { protocol: none.of }
",
    )
    .await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[0]));
    assert_eq!(text(&seen.steps[0]), "The handshake was refused: HTTP 401\nwho are you?\n");
    assert_eq!(seen.steps[0].captures[0].value, json!("401"));
    let refused = &seen.steps[1];
    assert_eq!(refused.error.as_deref(), Some("the handshake was refused: HTTP 401"));
    assert!(text(refused).contains("who are you?"));
    assert_eq!(
        (seen.steps[2].decided, seen.steps[2].assertions[0].actual.clone()),
        (StepDecision::Failed, json!(404))
    );
    // A server need not choose a subprotocol.
    assert_eq!(seen.steps[3].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[3]));
    assert_eq!(
        seen.steps[3].observed.as_ref().unwrap().parts.get("protocol").filter(|part| !part.is_null()),
        None
    );
    assert!(text(&seen.steps[3]).contains("The server took none of the subprotocols\n"));
    let reason = seen.steps[4].assertions[0].reason.as_deref();
    assert_eq!((seen.steps[4].decided, reason), (StepDecision::Failed, Some("there is no protocol")));
}

#[tokio::test]
async fn how_a_connection_ends_is_observed() {
    let Some(mut peer) = Peer::start("ws_server.py", "how_a_connection_ends").await else { return };
    let seen = talk(
        &peer,
        r#"
- ws: { url: /close, send: 4001 no more, receive: {} }
  assert: { close: 4001, count: 0 }
- ws: { url: /two, receive: { closed: true } }
  assert: { close: [1000, 1001], count: 2, messages: { equals: "{\"n\": 1}\ntwo" } }
  capture: [{ name: code, source: close }, { name: reason, source: reason }]
- ws: { url: /echo, send: bye, receive: {}, close: { code: 4242, reason: "had {code}" } }
  assert: { close: 4242, messages: bye }
- ws: { url: /drop, send: x, receive: { count: 1 } }
  assert: { close: 1006, count: 0 }
- { ws: { send: y }, expect: it fails }
- { ws: { url: /silent, close: true }, assert: { close: 1000 } }
"#,
    )
    .await;
    for at in [0, 1, 2, 3, 5] {
        assert_eq!(seen.steps[at].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[at]));
    }
    assert!(text(&seen.steps[0]).ends_with("Received 0 of 1 message\nClosed with code 4001: no more\n"));
    assert_eq!(seen.steps[1].captures[1].value, json!("going away"));
    assert!(text(&seen.steps[3]).ends_with("Closed with code 1006: the connection was lost\n"));
    let error = seen.steps[4].error.as_deref().unwrap();
    assert!(error.starts_with("message 1 of 1 could not be sent: the connection"), "{error}");
    let said = peer.lines(10).await;
    assert!(said.contains(&"closed /echo 4242".to_owned()), "{said:?}");
}

#[tokio::test]
async fn connections_have_names_and_are_closed_at_the_end() {
    let Some(mut peer) = Peer::start("ws_server.py", "connections_have_names").await else { return };
    let seen = talk(
        &peer,
        "
- { ws: { url: /echo?ann, id: ann }, assert: { status: 101 } }
- { ws: { url: /echo?bob, id: bob }, assert: { status: 101 } }
- { ws: { id: ann, send: from ann }, assert: { count: 0 } }
- { ws: { id: bob, send: from bob, receive: {} }, assert: { messages: from bob } }
- { ws: { id: ann, receive: {} }, assert: { messages: from ann } }
- { ws: { url: /echo?again, id: ann }, assert: { status: 101 } }
- { ws: { id: ann, receive: { timeout: 200ms } }, assert: { count: 0 } }
",
    )
    .await;
    all_hold(&seen);
    let said = peer.lines(6).await;
    let closed: Vec<_> = said.iter().filter_map(|line| line.strip_prefix("closed /echo?")).collect();
    assert_eq!(closed, ["again 1005", "ann 1005", "bob 1005"], "{said:?}");
}

#[tokio::test]
async fn a_step_that_is_given_up_closes_its_connection() {
    let Some(mut peer) = Peer::start("ws_server.py", "a_step_that_is_given_up").await else { return };
    let url = format!("http://127.0.0.1:{}", peer.port);
    let scenario = steps("- { ws: { url: /silent, receive: { timeout: 1h } }, expect: x }");
    let player = tokio::spawn(async move { play_on(&scenario, Some(&url), None, &SystemClock, "").await });
    assert_eq!(peer.lines(1).await, ["open /silent"]);
    player.abort();
    assert_eq!(peer.lines(1).await, ["closed /silent 1006"]);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_waited_for_as_long_as_was_said() {
    let Some(peer) = Peer::start("ws_server.py", "a_peer_that_does_not_answer").await else { return };
    let seen = talk(
        &peer,
        "
- ws: { url: /silent, send: hello, receive: { timeout: 200ms } }
  assert: { count: 0, json: { $: [] } }
- { ws: { url: /never, timeout: 200ms }, expect: x }
- { ws: { url: \"ws://127.0.0.1:1/x\" }, expect: x }
- ws: { url: /silent, receive: { count: 2, timeout: 1h } }
  retry: { attempts: 2, interval: 1ms, timeout: 300ms }
  assert: { count: 2 }
",
    )
    .await;
    assert_eq!(seen.steps[0].decided, StepDecision::Held, "{}", crate::scenario::brief(&seen.steps[0]));
    assert!(text(&seen.steps[0]).ends_with("Received 0 of 1 message within 200ms\n"));
    let errors: Vec<_> = seen.steps[1..3].iter().map(|step| step.error.as_deref().unwrap()).collect();
    assert_eq!(errors[0], "no connection within 200ms");
    assert!(errors[1].starts_with("ws://127.0.0.1:1/x is not on the target"), "{}", errors[1]);
    assert_eq!(seen.steps[3].decided, StepDecision::Failed);
}

#[tokio::test]
async fn floods_are_bounded_and_pings_answered() {
    let Some(peer) = Peer::start("ws_server.py", "floods_are_bounded").await else { return };
    let seen = talk(
        &peer,
        "
- ws: { url: /flood, receive: { until: never, timeout: 1500ms } }
  assert: { count: \">100\" }
- ws: { url: /flood, id: other }
  assert: { status: 101 }
- ws: { url: /ping, id: ping, receive: {} }
  assert: { messages: you are there }
- ws: { id: other, receive: { count: 5 } }
  assert: { count: 5, messages: flood }
- ws: { url: /large, id: large, send: 3000000, receive: { timeout: 20s } }
  assert: { count: 1, messages: { length: 3000000 } }
- ws: { url: /large, id: large, send: 17000000, receive: { timeout: 20s } }
  assert: { count: 0, close: 1006 }
",
    )
    .await;
    all_hold(&seen);
    let flood = seen.steps[0].observed.as_ref().unwrap();
    assert!(flood.text.len() < 10_000 && flood.cut, "{}", flood.text.len());
    assert!(text(&seen.steps[5]).ends_with("a message is longer than 16 MiB\n"), "{}", text(&seen.steps[5]));
}

#[tokio::test]
async fn what_waits_unseen_is_bounded() {
    let Some(peer) = Peer::start("ws_server.py", "what_waits_unseen_is_bounded").await else { return };
    let seen = talk(
        &peer,
        "
- { ws: { url: /heavy }, assert: { status: 101 } }
- ws: { url: /told, id: told, receive: { timeout: 60s } }
  assert: { messages: all is taken in }
- ws: { receive: { count: 40, timeout: 300ms } }
  assert: { count: 16 }
- ws: { receive: { timeout: 200ms }, close: true }
  assert: { count: 0, close: 1000 }
",
    )
    .await;
    all_hold(&seen);
    let heavy = seen.steps[2].observed.as_ref().unwrap();
    assert!(text(&seen.steps[2]).ends_with("more than 10000 or 16 MiB of them waited\n"), "{}", heavy.text);
    assert!((heavy.cut, heavy.length > 16_000_000) == (true, true) && heavy.text.len() < 10_000);
}

#[test]
fn mistakes_are_found_while_reading() {
    for (step, wanted) in [
        ("{ ws: {} }", "`ws` has no action"),
        ("{ ws: { path: /x } }", "`ws` has no key `path`"),
        ("{ ws: { url: '' } }", "`url` is empty"),
        ("{ ws: { send: { base64: '!' } } }", "`!` is not a base64 character"),
        ("{ ws: { messages: [{ hex: abc }] } }", "a hexadecimal digit is missing: every byte has two"),
        ("{ ws: { send: a, messages: [b] } }", "a step can have `send` or `messages`, not both"),
        ("{ ws: { receive: { count: 0 } } }", "`count` is a whole number from 1, not a number"),
        ("{ ws: { receive: { timeout: soon } } }", "`timeout` is not a duration"),
        ("{ ws: { receive: { until: '(' } } }", "invalid regular expression"),
        ("{ ws: { close: 1006 } }", "a close code is one of"),
        ("{ ws: { headers: { a: b } } }", "`headers` has an effect only if the step connects"),
        ("{ ws: { url: /x }, assert: { body: x } }", "answers to `ws` steps have no `body`"),
        ("{ ws: { url: /x }, capture: [{ name: a, source: body }] }", "`ws` has no source `body`"),
    ] {
        let (.., complaints) = load(vec![("x".into(), format!("id: x\nsteps:\n- {step}\n"))]);
        assert!(complaints.iter().any(|c| c.message.starts_with(wanted)), "{step}: {complaints:#?}");
    }
}
