//! Features of requests beyond JSON bodies, against httpbin and the event streams of sse-starlette.
#![expect(clippy::disallowed_methods, reason = "tests start the programs they talk to")]

use std::process::Stdio;

use atoll::scenario::{HttpClient, Observation, StepDecision, TestEnvironment, Variables, run};
use atoll::system_clock::SystemClock;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::peers::{Peer, python};
use super::{play_on, steps};

/// The unmodified httpbin, with an event stream.
const PROGRAM: &str = r#"
import asyncio, socket, sys
import uvicorn
from a2wsgi import WSGIMiddleware
from httpbin import app as httpbin
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Mount, Route

async def ticks(request):
    async def events():
        for n in range(int(request.query_params.get("n", 10 ** 9))):
            yield {"event": "tick", "id": str(n), "data": '{"n": %d}' % n}
            if "hang" in request.query_params:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
    return EventSourceResponse(events())

app = Starlette(routes=[Route("/ticks", ticks), Mount("/", WSGIMiddleware(httpbin))])
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
"#;

struct Httpbin {
    url: String,
    _child: Child,
}

impl Httpbin {
    async fn start(test: &str) -> Option<Self> {
        let mut child = Command::new(python(test)?)
            .args(["-c", PROGRAM])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
        Some(Self { url: format!("http://127.0.0.1:{}", port.trim()), _child: child })
    }

    async fn play(&self, text: &str) -> Observation {
        let scenario = serde_json::from_value(serde_json::to_value(steps(text)).unwrap()).unwrap();
        let web = HttpClient::new(&self.url).unwrap();
        let clock = SystemClock;
        let stage = TestEnvironment { web: Some(&web), ..TestEnvironment::new(&clock) };
        run(&scenario, &stage, Variables::default()).await
    }
}

fn all_hold(seen: &Observation) {
    let failed: Vec<_> = seen.steps.iter().filter(|step| step.decided != StepDecision::Held).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn forms_files_bytes_and_queries_arrive_as_they_are_written() {
    let Some(peer) = Httpbin::start("forms_files_bytes_and_queries").await else { return };
    let seen = peer
        .play(
            r#"
- request: { method: POST, path: /post, form: { name: "Ann & Bob", note: "ü=1" } }
  assert:
    status: 200
    json:
      $.form: { equals: { name: "Ann & Bob", note: "ü=1" } }
      "$.headers['Content-Type']": application/x-www-form-urlencoded
- request:
    method: POST
    path: /post?a=1
    query: { a: 2, tag: [x, "y z"] }
    multipart:
      - { name: title, value: A dot }
      - { name: file, bytes: { base64: R0lGODlhAQABAAAAACw= }, filename: dot.gif, type: image/gif }
      - { name: notes, value: "line 1\nline 2", filename: notes.txt }
  assert:
    json:
      $.form.title: A dot
      $.files.file: "GIF89a\x01\0\x01\0\0\0\0,"
      $.files.notes: "line 1\nline 2"
      $.args: { equals: { a: ["1", "2"], tag: [x, "y z"] } }
      "$.headers['Content-Type']": { matches: "^multipart/form-data; boundary=" }
- request: { method: PUT, path: /put, headers: { Content-Type: application/x-thing }, bytes: { hex: "00 ff 10" } }
  assert:
    json:
      $.data: "data:application/octet-stream;base64,AP8Q"
      "$.headers['Content-Type']": application/x-thing
- request: { method: PUT, path: /put, bytes: { hex: "00 ff 10" } }
  assert: { status: 200, json: { "$.headers['Content-Type']": { exists: false } } }
"#,
        )
        .await;
    all_hold(&seen);
    let sent = &seen.steps[1].sent.as_ref().unwrap().text;
    assert_eq!(
        sent,
        "POST /post?a=1&a=2&tag=x&tag=y+z\ncontent-length: 534\ncontent-type: multipart/form-data\n\n\
         title = A dot\nfile (14 bytes) as dot.gif\nnotes = line 1\nline 2 as notes.txt\n",
        "the record is always the same"
    );
}

#[tokio::test]
async fn names_of_form_fields_are_written_as_browsers_write_them() {
    let Some(peer) = Peer::start("raw_server.py", "names_of_form_fields").await else { return };
    let text = r#"
- request:
    method: POST
    path: /body
    multipart:
      - { name: "gr\u00f6\u00dfe", value: "7" }
      - { name: "a\"b", value: x }
      - { name: "two\r\nlines", value: y }
      - { name: "100% sure", value: z, filename: "gr\u00fcn.txt" }
  assert:
    body:
      contains:
        - "form-data; name=\"gr\u00f6\u00dfe\"\r\n"
        - "form-data; name=\"a%22b\"\r\n"
        - "form-data; name=\"two%0D%0Alines\"\r\n"
        - "form-data; name=\"100% sure\"; filename=\"gr\u00fcn.txt\"\r\n"
      not_contains: "name*="
"#;
    let url = format!("http://127.0.0.1:{}", peer.port);
    let seen = play_on(&steps(text), Some(&url), None, &SystemClock, "").await;
    all_hold(&seen);
}

#[tokio::test]
async fn cookies_are_kept_where_they_are_asked_for() {
    let Some(peer) = Httpbin::start("cookies_are_kept").await else { return };
    let seen = peer
        .play(
            "
- request: { method: GET, path: /cookies/set?session=42, cookies: true }
  assert: { status: 200, json: { $.cookies.session: '42' } }
- request: { method: GET, path: /cookies, cookies: true }
  assert: { json: { $.cookies: { equals: { session: '42' } } } }
- request: { method: GET, path: /cookies }
  assert: { json: { $.cookies: { equals: {} } } }
- request: { method: GET, path: /cookies, cookies: { other: '1' } }
  assert: { json: { $.cookies: { equals: { other: '1' } } } }
- request: { method: GET, path: /cookies/delete?session, cookies: true }
  assert: { json: { $.cookies: { equals: {} } } }
",
        )
        .await;
    all_hold(&seen);
    let again = peer.play("- request: { method: GET, path: /cookies, cookies: true }\n  assert: { json: { $.cookies: { equals: {} } } }").await;
    all_hold(&again);
}

#[tokio::test]
async fn actors_have_cookies_of_their_own() {
    let Some(peer) = Httpbin::start("actors_have_cookies_of_their_own").await else { return };
    let seen = peer
        .play(
            "
- request: { method: GET, path: /cookies/set?who=ann, as: ann }
  assert: { json: { $.cookies: { equals: { who: ann } } } }
- request: { method: GET, path: /cookies/set?who=bob, as: bob }
  assert: { json: { $.cookies: { equals: { who: bob } } } }
- request: { method: GET, path: /cookies, as: ann }
  assert: { json: { $.cookies: { equals: { who: ann } } } }
- request: { method: GET, path: /cookies, cookies: true }
  assert: { json: { $.cookies: { equals: {} } } }
- request: { method: GET, path: /cookies, as: bob, cookies: false }
  assert: { json: { $.cookies: { equals: {} } } }
",
        )
        .await;
    all_hold(&seen);
}

#[tokio::test]
async fn a_redirect_can_be_the_answer() {
    let Some(peer) = Httpbin::start("a_redirect_can_be_the_answer").await else { return };
    let seen = peer
        .play(
            "
- request: { method: GET, path: /redirect/3 }
  assert: { status: 200 }
- request: { method: GET, path: /redirect/3, redirects: false }
  capture: [{ name: next, source: 'header:location' }, { name: code, source: status }]
  assert: { status: 302, header: { Location: { matches: 'redirect/2$' } } }
- request: { method: GET, path: '{next}' }
  assert: { status: 200, json: { $.url: { contains: /get } } }
- request: { method: GET, path: /redirect/3, redirects: 2 }
  assert: { status: 302, header: { Location: { matches: '/get$' } } }
- request: { method: GET, path: /redirect/3, redirects: 3 }
  assert: { status: 200 }
- request: { method: GET, path: /redirect/12, redirects: 20 }
  assert: { status: 200 }
- request: { method: GET, path: /redirect-to?url=http%3A%2F%2Fexample.invalid%2F }
  assert: { status: '{code}' }
",
        )
        .await;
    all_hold(&seen);
}

#[tokio::test]
async fn events_are_read_until_enough_came_or_time_is_over() {
    let Some(peer) = Httpbin::start("events_are_read").await else { return };
    let seen = peer
        .play(
            "
- description: Three and no more, of a stream that never ends
  request: { method: GET, path: /ticks, events: { count: 3 } }
  capture: [{ name: last, jsonpath: '$[2].data.n' }]
  assert: { count: 3, status: 200, json: { '$[*].data.n': [0, 1, 2], '$[0].event': tick, '$[0].id': '0' } }
- description: Up to one that says so
  request: { method: GET, path: /ticks, events: { until: '\"n\": 500' } }
  assert: { count: 501 }
- description: All of it
  request: { method: GET, path: '/ticks?n=5', events: {} }
  assert: { count: 5, header: { content-type: { matches: '^text/event-stream' } } }
- description: What came until time was over
  request: { method: GET, path: '/ticks?hang=1', events: { count: 2, timeout: 300ms } }
  assert: { count: 1 }
- description: No stream at all is an answer like any other
  request: { method: GET, path: /get, events: { count: 1 } }
  assert: { status: 200 }
",
        )
        .await;
    all_hold(&seen);
    let text = &seen.steps[0].observed.as_ref().unwrap().text;
    assert_eq!(text, "HTTP 200\n3 events; enough came\ntick: {\"n\":0}\ntick: {\"n\":1}\ntick: {\"n\":2}\n");
    assert!(
        seen.steps[3].observed.as_ref().unwrap().text.contains("more was waited for until 300ms were over")
    );
}

#[tokio::test]
async fn a_stream_that_is_not_asked_for_ends_with_the_timeout() {
    let Some(peer) = Httpbin::start("a_stream_that_is_not_asked_for").await else { return };
    let seen =
        peer.play("- request: { method: GET, path: /ticks, timeout: 3s }\n  assert: { status: 200 }\n").await;
    let step = &seen.steps[0];
    assert!(
        step.error.as_ref().unwrap().starts_with("the answer had not ended after 3s"),
        "{:?}",
        step.error
    );
    assert!(step.observed.as_ref().unwrap().body.as_ref().unwrap().contains("event: tick"));
}
