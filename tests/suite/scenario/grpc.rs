//! `grpc` steps against a server of the Python library (reflection v1alpha) and one of the Rust library
//! (v1). Without the Python packages they are reported as skipped; with `ATOLL_REQUIRE=peers` they fail.
#![expect(clippy::disallowed_methods, reason = "tests open sockets and start processes")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use atoll::clock::Clock;
use atoll::scenario::{Observation, StepDecision, StepSeen, TestEnvironment, Variables, run};
use atoll::system_clock::SystemClock;
use prost::Message;
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::peers::python;
use super::program::{raw, serve};
use super::tls::certificates;
use super::{QuickClock, read, steps};

/// A server in a separate process, which is killed when dropped.
struct Greeter {
    target: String,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Greeter {
    async fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scenario/peers/greet.py");
        let mut child = Command::new(python(test)?)
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().unwrap();
        Some(Self { target: format!("http://127.0.0.1:{port}"), lines, child })
    }

    async fn play(&self, text: &str) -> Observation {
        play(text, &self.target, &QuickClock::default()).await
    }

    /// The next line of the server, which logs when a client leaves.
    async fn line(&mut self) -> String {
        self.lines.next_line().await.unwrap().unwrap()
    }
}

async fn play(text: &str, target: &str, clock: &dyn Clock) -> Observation {
    let scenario = serde_json::from_value(serde_json::to_value(steps(text)).unwrap()).unwrap();
    let stage = TestEnvironment { grpc_target: Some(target), ..TestEnvironment::new(clock) };
    let variables = Variables::given([("who".to_owned(), json!("Ann \"A\""))].into_iter().collect());
    run(&scenario, &stage, variables).await
}

fn text(step: &StepSeen) -> &str {
    assert_eq!(step.error, None);
    &step.observed.as_ref().unwrap().text
}

fn error(step: &StepSeen) -> &str {
    assert_eq!(step.decided, StepDecision::Failed);
    step.error.as_deref().unwrap()
}

fn all_held(seen: &Observation) {
    for step in &seen.steps {
        let holds = step.assertions.iter().all(|verdict| verdict.ok);
        assert!(holds && step.error.is_none(), "{}", crate::scenario::brief(step));
    }
}

#[tokio::test]
async fn the_health_service_of_the_library_answers() {
    let Some(greeter) = Greeter::start("the_health_service_of_the_library_answers", &[]).await else {
        return;
    };
    let seen = greeter
        .play(
            "
- grpc: { service: grpc.health.v1.Health, method: Check, body: '{\"service\": \"greet.v1.Greeter\"}' }
  assert: { status: OK, json: { $.status: SERVING }, count: 1, duration: <10s }
- grpc: { service: grpc.health.v1.Health, method: Check, body: { service: nobody } }
  assert: { status: NOT_FOUND, count: 0 }
- grpc:
    service: grpc.health.v1.Health
    method: Watch
    body: { service: greet.v1.Greeter }
    stream: { receive: { count: 1 } }
  assert: { status: OK, count: 1, json: { '$[0].status': SERVING } }
",
        )
        .await;
    all_held(&seen);
    assert!(seen.steps.iter().all(|step| step.decided == StepDecision::Held));
    assert_eq!(
        text(&seen.steps[0]),
        "gRPC grpc.health.v1.Health/Check\nStatus: OK\n\n{\"status\":\"SERVING\"}"
    );
    assert_eq!(text(&seen.steps[1]), "gRPC grpc.health.v1.Health/Check\nStatus: NOT_FOUND\n");
    assert_eq!(
        text(&seen.steps[2]),
        "gRPC grpc.health.v1.Health/Watch (1 message, not read to its end)\nStatus: OK\n\n[{\"status\":\"SERVING\"}]"
    );
    let sent = seen.steps[0].sent.as_ref().unwrap();
    assert_eq!(sent.text, "gRPC grpc.health.v1.Health/Check\n\n{\"service\":\"greet.v1.Greeter\"}");
}

#[tokio::test]
async fn metadata_goes_both_ways_and_comes_as_trailers() {
    let Some(greeter) = Greeter::start("metadata_goes_both_ways", &[]).await else { return };
    let seen = greeter
        .play(
            "
- grpc:
    service: greet.v1.Greeter
    method: Hello
    headers: { X-Who: 'for {who}', x-key-bin: AAEC }
    body: '{\"name\": \"{who}\", \"options\": {\"loud\": true}}'
  assert:
    status: [OK, NOT_FOUND]
    message: { equals: '' }
    header: { X-Who: 'for {who}', x-key-bin: AAEC, x-none: { exists: false } }
    trailer: { x-entries: '2', x-raw-bin: AP8 }
    json:
      $.text: 'hello ANN \"A\"'
      $.number: '9007199254740993'
      $.at: '2023-11-14T22:13:20Z'
      $.mood: MERRY
      $.raw: AAE=
  capture:
    - { name: text, jsonpath: $.text }
    - { name: status, source: status }
    - { name: entries, source: 'trailer:X-Entries' }
    - { name: sent, source: 'header:x-who' }
    - { name: headers, source: headers }
    - { name: trailers, source: trailers, jsonpath: \"$['x-entries']\" }
    - { name: body, source: body, jsonpath: $.mood }
- grpc: { service: greet.v1.Greeter, method: Hello, headers: { x-a: '{text}' } }
  assert:
    status: INVALID_ARGUMENT
    message: { contains: name }
    header: { x-a: '{text}' }
    trailer: { x-entries: '1' }
    json: [ { path: $.text, exists: false } ]
",
        )
        .await;
    let failed: Vec<_> = seen.steps.iter().flat_map(|s| &s.assertions).filter(|v| !v.ok).collect();
    assert_eq!(failed.len(), 1, "only the JSON of a call without any: {failed:#?}");
    assert_eq!(failed[0].reason.as_deref(), Some("the body is not JSON: it is empty"));
    let captured: Vec<_> = seen.steps[0].captures.iter().map(atoll::scenario::Captured::text).collect();
    assert_eq!(
        captured,
        ["hello ANN \"A\"", "OK", "2", "for Ann \"A\"", captured[4].as_str(), "2", "MERRY"],
        "{:?}",
        seen.steps[0].captures
    );
    assert!(captured[4].contains(r#""x-who":"for Ann \"A\"""#), "{}", captured[4]);
    assert_eq!(
        text(&seen.steps[1]),
        "gRPC greet.v1.Greeter/Hello\nStatus: INVALID_ARGUMENT\nMessage: a name is needed\n\
         x-a: hello ANN \"A\"\nTrailers:\nx-entries: 1\nx-raw-bin: AP8\n"
    );
}

#[tokio::test]
async fn default_values_are_written_out_and_requests_are_checked_first() {
    let Some(greeter) = Greeter::start("requests_are_checked_first", &[]).await else { return };
    let hello = |body: &str| {
        format!("- grpc: {{ service: greet.v1.Greeter, method: Hello, body: {body} }}\n  expect: x\n")
    };
    let bad = [
        hello("{ nam: Ann }"),
        hello("{ name: Ann, options: { luod: true } }"),
        hello("{ by_name: { a: { loud: true, zzzzzz: 1 } } }"),
        hello("{ byName: { a: {} }, more: [ { firstWord: x }, { first_wrd: y } ] }"),
        hello("{ count: many }"),
        hello("'{ name }'"),
        hello("{}").replace("Hello", "Helo"),
        hello("{}").replace("greet.v1.Greeter", "greet.v1.Greter"),
        hello("{}").replace("greet.v1.Greeter", "Unheard"),
        hello("{ name: Ann }\n    headers: { 'key-bin': '?' }")
            .replace("{ service", "\n    service")
            .replace(", method", "\n    method")
            .replace(", body", "\n    body")
            .replace("'?' } }", "'?' }"),
        "- grpc: { service: greet.v1.Greeter, method: Hello, stream: { messages: [{}, {}] } }\n  expect: x\n"
            .to_owned(),
        "- grpc: { stream: { id: nobody } }\n  expect: x\n".to_owned(),
    ]
    .concat();
    let seen = greeter.play(&bad).await;
    let errors: Vec<&str> = seen.steps.iter().map(error).collect();
    assert_eq!(
        errors,
        [
            "`greet.v1.Request` has no field `nam`; did you mean `name`?",
            "`greet.v1.Options` has no field `luod`; did you mean `loud`?",
            "`greet.v1.Options` has no field `zzzzzz`; its fields are loud, first_word",
            "`greet.v1.Options` has no field `first_wrd`; did you mean `first_word`?",
            "the field `count` of `greet.v1.Request` does not fit: invalid digit found in string",
            errors[5],
            "the service `greet.v1.Greeter` has no method `Helo`; did you mean `Hello`?",
            "the server has no service `greet.v1.Greter`; did you mean `greet.v1.Greeter`?",
            "the server has no service `Unheard`; its services are greet.v1.Greeter, grpc.health.v1.Health",
            "the value of the metadata `key-bin` is not base64, which is required for names that end in `-bin`",
            "`greet.v1.Greeter.Hello` takes one message, and the step has 2",
            "no stream `nobody` is open; a step with `receive: { background: true }` starts one",
        ]
    );
    assert!(errors[5].starts_with("a message is not JSON: "), "{}", errors[5]);
    let seen = greeter
        .play("- grpc: { service: greet.v1.Greeter, method: Sum }\n  assert: { json: { $.number: '0' } }")
        .await;
    all_held(&seen);
    assert_eq!(
        text(&seen.steps[0]),
        "gRPC greet.v1.Greeter/Sum\nStatus: OK\n\n{\"text\":\"\",\"number\":\"0\",\"mood\":\"CALM\",\"raw\":\"\"}"
    );
}

#[tokio::test]
async fn streams_go_both_ways() {
    let Some(greeter) = Greeter::start("streams_go_both_ways", &[]).await else { return };
    let seen = greeter
        .play(
            "
- grpc:
    service: greet.v1.Greeter
    method: Sum
    stream: { messages: ['{\"count\": 2}', { count: 5 }] }
  assert: { status: OK, count: 1, json: { $.number: '7' } }
- grpc: { service: greet.v1.Greeter, method: Count, body: { count: 3, name: '{who}' } }
  assert: { count: 3, json: { '$[2].number': '2', '$[0].text': '{who}' } }
- grpc:
    service: greet.v1.Greeter
    method: Count
    body: { count: 3 }
    stream: { receive: { count: 2 } }
  assert: { count: 2, status: OK }
- grpc: { service: greet.v1.Greeter, method: Count, body: { count: 2, name: fail } }
  assert: { count: 2, status: DATA_LOSS, message: no more }
- grpc:
    service: greet.v1.Greeter
    method: Chat
    stream: { messages: [{ name: a }, { name: b }], receive: { count: 9 } }
  assert: { count: 2, status: OK, trailer: { x-end: bye }, json: { '$[1].text': heard b } }
- grpc:
    service: greet.v1.Greeter
    method: Chat
    stream: { messages: [], receive: { count: 9 } }
  assert: { count: 0, status: OK, trailer: { x-end: bye }, header: { x-end: { exists: false } } }
- grpc: { service: greet.v1.Greeter, method: Count }
  assert: { count: 0, json: [ { path: $, length: 0 } ] }
",
        )
        .await;
    all_held(&seen);
    assert!(text(&seen.steps[1]).starts_with("gRPC greet.v1.Greeter/Count (3 messages)\nStatus: OK\n\n[{"));
    assert!(
        text(&seen.steps[2]).starts_with("gRPC greet.v1.Greeter/Count (2 messages, not read to its end)\n")
    );
}

#[tokio::test]
async fn a_stream_in_the_background_is_talked_to_by_later_steps() {
    let Some(mut greeter) = Greeter::start("a_stream_in_the_background", &[]).await else { return };
    let seen = greeter
        .play(
            "
- grpc:
    service: greet.v1.Greeter
    method: Chat
    stream: { id: talk, messages: [{ name: a }], receive: { background: true } }
  assert: { status: OK, count: 0 }
- grpc:
    service: greet.v1.Greeter
    method: Watch
    stream: { receive: { background: true } }
  expect: it begins
- grpc: { stream: { id: talk } }
  assert: { count: 1, json: { '$[0].text': heard a } }
- grpc: { stream: { id: talk, messages: [{ name: '{who}' }, { name: c }] } }
  assert: { count: 0, status: OK }
- grpc: { stream: { id: talk, receive: { count: 2, timeout: 30s } } }
  assert: { count: 2, json: { '$[0].text': 'heard {who}' } }
- grpc: { stream: { id: talk, messages: [{ name: d }], close: true, receive: { count: 5 } } }
  assert: { count: 1, status: OK, trailer: { x-end: bye } }
- grpc: { stream: { id: talk } }
  assert: { count: 0, status: OK }
- grpc: { stream: { id: '0' } }
  assert: { count: 1, json: { '$[0].text': watching } }
- grpc: { stream: { id: '0', messages: [{}] } }
  expect: an error
- grpc: { stream: { id: tolk } }
  expect: an error
",
        )
        .await;
    let texts: Vec<&str> = seen.steps[..8].iter().map(text).collect();
    assert_eq!(texts[0], "gRPC greet.v1.Greeter/Chat (stream `talk` begun)\nStatus: OK\n");
    assert_eq!(texts[1], "gRPC greet.v1.Greeter/Watch (stream `0` begun)\nStatus: OK\n");
    assert!(
        texts[4].starts_with(
            "gRPC greet.v1.Greeter/Chat (stream `talk`, 2 messages, still open)\nStatus: OK\n\n["
        )
    );
    assert!(texts[5].starts_with(
        "gRPC greet.v1.Greeter/Chat (stream `talk`, 1 message)\nStatus: OK\nTrailers:\nx-end: bye\n\n["
    ));
    assert!(
        seen.steps[..8].iter().all(|step| step.assertions.iter().all(|verdict| verdict.ok)),
        "{}",
        crate::scenario::told(&seen)
    );
    assert_eq!(error(&seen.steps[8]), "our side of the stream is closed: nothing more can be sent");
    assert_eq!(error(&seen.steps[9]), "no stream `tolk` is open; did you mean `talk`?");
    assert_eq!(greeter.line().await, "left Watch", "the end of the scenario ends its streams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_the_background_has_begun_when_its_step_is_over() {
    let Some(greeter) = Greeter::start("a_stream_in_the_background_has_begun", &[]).await else { return };
    let text = "
- grpc:
    service: greet.v1.Greeter
    method: Subscribe
    stream: { id: news, receive: { background: true } }
  assert: { status: OK }
- grpc: { service: greet.v1.Greeter, method: Publish, body: { name: first } }
  assert: { status: OK }
- grpc: { stream: { id: news, receive: { count: 1, timeout: 2s } } }
  assert: { count: 1, json: { '$[0].text': first } }
- grpc:
    service: greet.v1.Greeter
    method: Nothing
    stream: { receive: { background: true } }
  expect: an error
";
    for _ in 0..50 {
        let seen = play(text, &greeter.target, &SystemClock).await;
        all_held(&Observation { steps: seen.steps[..3].to_vec(), ..seen.clone() });
        assert!(error(&seen.steps[3]).contains("has no method `Nothing`"));
        assert!(seen.duration_ms < 1500, "{}", seen.duration_ms);
    }
}

#[tokio::test]
async fn a_background_stream_that_is_refused_has_the_status_of_the_refusal() {
    let (greeter, text) = (
        Greeter::start("a_background_stream_that_is_refused", &[]).await,
        "
- grpc:
    service: grpc.health.v1.Health
    method: Watch
    body: { service: greet.v1.Greeter }
    stream: { id: w, receive: { background: true } }
  assert: { status: OK }
- grpc:
    service: greet.v1.Greeter
    method: Count
    body: { count: 0, name: fail }
    stream: { id: f, receive: { background: true } }
  assert: { status: DATA_LOSS, message: no more }
",
    );
    let Some(greeter) = greeter else { return };
    all_held(&play(text, &greeter.target, &SystemClock).await);
}

#[tokio::test]
async fn whoever_hangs_is_left_at_the_deadline() {
    let Some(mut greeter) = Greeter::start("whoever_hangs_is_left_at_the_deadline", &[]).await else {
        return;
    };
    let text_ = "
- grpc: { service: greet.v1.Greeter, method: Hang, timeout: 300ms }
  assert: { status: DEADLINE_EXCEEDED, count: 0 }
- grpc: { service: greet.v1.Greeter, method: Watch, timeout: 300ms }
  assert: { status: DEADLINE_EXCEEDED, count: 1 }
- grpc:
    service: greet.v1.Greeter
    method: Watch
    stream: { receive: { count: 2, timeout: 300ms } }
  assert: { status: OK, count: 1, duration: <10s }
- grpc: { service: greet.v1.Greeter, method: Count, body: { count: -1 }, timeout: 300ms }
  assert: { status: DEADLINE_EXCEEDED, count: '>=1' }
- grpc:
    service: greet.v1.Greeter
    method: Watch
    stream: { id: w, receive: { background: true } }
  expect: it begins
- grpc: { stream: { id: w, receive: { count: 3, timeout: 300ms } } }
  assert: { status: OK, count: 1, duration: <10s }
";
    let seen = play(text_, &greeter.target, &SystemClock).await;
    all_held(&seen);
    assert_eq!(
        text(&seen.steps[0]),
        "gRPC greet.v1.Greeter/Hang\nStatus: DEADLINE_EXCEEDED\nMessage: no whole answer within 300ms\n"
    );
    assert!(
        text(&seen.steps[1])
            .starts_with("gRPC greet.v1.Greeter/Watch (1 message)\nStatus: DEADLINE_EXCEEDED\n")
    );
    let mut left = Vec::new();
    for _ in 0..5 {
        left.push(greeter.line().await);
    }
    left.sort();
    assert_eq!(left, ["left Count", "left Hang", "left Watch", "left Watch", "left Watch"]);
}

#[tokio::test]
async fn a_flood_is_cut_and_nothing_of_a_background_stream_is_lost() {
    let Some(mut greeter) = Greeter::start("a_flood_is_cut", &[]).await else { return };
    let flood = "
- grpc:
    service: greet.v1.Greeter
    method: Count
    body: { count: -1, name: NAME }
    stream: { id: flood, receive: { background: true } }
  expect: it begins
- grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Ann } }
  assert: { status: OK }
- grpc: { stream: { id: flood, receive: { count: 3000 } } }
  assert: { count: 3000 }
- grpc: { stream: { id: flood } }
  assert: { count: 1, json: { '$[0].number': '3000' } }
- grpc:
    service: greet.v1.Greeter
    method: Count
    body: { count: -1 }
    stream: { receive: { count: 2 } }
  assert: { count: 2, json: { '$[1].number': '1' } }
"
    .replace("NAME", &"x".repeat(2000));
    let seen = greeter.play(&flood).await;
    all_held(&seen);
    let observed = seen.steps[2].observed.as_ref().unwrap();
    assert!(observed.cut && observed.length > 6_000_000 && observed.text.len() < 9000, "{}", observed.length);
    assert_eq!((greeter.line().await, greeter.line().await), ("left Count".into(), "left Count".into()));
}

#[tokio::test]
async fn a_program_that_goes_away_or_says_too_much_is_an_error_with_what_had_come() {
    let Some(mut greeter) = Greeter::start("a_program_that_goes_away", &[]).await else { return };
    let seen = greeter
        .play(
            "
- grpc: { service: greet.v1.Greeter, method: Large, body: { count: 8 } }
  assert: { status: OK }
- grpc: { service: greet.v1.Greeter, method: Large, body: { count: 17 } }
  expect: x
- grpc: { service: greet.v1.Greeter, method: Die }
  expect: x
",
        )
        .await;
    all_held(&Observation { steps: seen.steps[..1].to_vec(), ..seen.clone() });
    assert_eq!(error(&seen.steps[1]), "a message is longer than the limit of 16 MiB");
    assert_eq!(error(&seen.steps[2]), "the connection was lost after 1 message");
    let observed = seen.steps[2].observed.as_ref().unwrap();
    assert!(
        observed.text.starts_with("gRPC greet.v1.Greeter/Die (1 message)\n\n[{\"text\":\"last words\""),
        "{}",
        observed.text
    );
    greeter.child.wait().await.unwrap();
    let seen = greeter.play("- grpc: { service: greet.v1.Greeter, method: Hello }\n  expect: x").await;
    assert_eq!(error(&seen.steps[0]), "no connection: tcp connect error: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_says_why() {
    let Some(greeter) = Greeter::start("a_server_that_cannot_be_asked", &["--no-reflection"]).await else {
        return;
    };
    let call = "- grpc: { service: greet.v1.Greeter, method: Hello, timeout: 20s }\n  expect: x";
    assert_eq!(
        error(&greeter.play(call).await.steps[0]),
        "the server has no reflection (grpc.reflection.v1 or v1alpha), which describes its methods: \
         enable it in the program"
    );
    let old = raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let new = serve(axum::Router::new()).await;
    for (web, why) in
        [(old, "the connection was lost"), (new, "the answer is plain HTTP without a gRPC status")]
    {
        let seen = play(call, &web, &QuickClock::default()).await;
        let wanted = format!("server reflection does not answer: {why}; is this a gRPC server?");
        assert_eq!(error(&seen.steps[0]), wanted);
    }
    let seen = play(call, &greeter.target.replace("http:", "https:"), &QuickClock::default()).await;
    assert!(error(&seen.steps[0]).starts_with("no connection: "), "{}", error(&seen.steps[0]));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let seen = play(&call.replace("20s", "200ms"), &address.to_string(), &SystemClock).await;
    assert_eq!(error(&seen.steps[0]), "server reflection did not answer within 200ms");
    for target in ["ftp://127.0.0.1:1", "http://", "nonsense here"] {
        let seen = play(call, target, &QuickClock::default()).await;
        assert!(
            error(&seen.steps[0]).contains("is not an address such as http://127.0.0.1:50051"),
            "{target}"
        );
    }
}

/// Whether the test runs with a key and a certificate that the machine trusts. If not, the test is run
/// again in a process whose environment sets them.
async fn is_trusted(test: &str) -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("ATOLL_CERTIFICATE") {
        return Some(home.into());
    }
    let home = tempfile::tempdir().unwrap();
    let certificate = home.path().join("cert.pem");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(home.path().join("key.pem"));
    match openssl.arg("-out").arg(&certificate).output().await {
        Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr)),
        Err(error) => {
            println!("skipped: {test}: no openssl to make a certificate with: {error}");
            return None;
        }
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", &format!("scenario::grpc::{test}"), "--nocapture"])
        .env("SSL_CERT_FILE", &certificate)
        .env("ATOLL_CERTIFICATE", home.path());
    let output = again.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{}", said.lines().filter(|line| line.starts_with("skipped: ")).collect::<String>());
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    None
}

#[tokio::test]
async fn a_server_with_a_certificate_is_called_where_it_is_trusted() {
    let test = "a_server_with_a_certificate_is_called_where_it_is_trusted";
    let Some(home) = is_trusted(test).await else { return };
    let Some(greeter) = Greeter::start(test, &["--tls", home.to_str().unwrap()]).await else { return };
    let call =
        "- grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Ann } }\n  assert: { status: OK }";
    let safe = greeter.target.replace("http:", "https:");
    all_held(&play(call, &safe, &QuickClock::default()).await);
    let elsewhere = safe.replace("127.0.0.1", "localhost");
    let seen = play(call, &elsewhere, &QuickClock::default()).await;
    assert!(
        error(&seen.steps[0]).starts_with("no connection: its certificate is for another name"),
        "{}",
        error(&seen.steps[0])
    );
}

#[tokio::test]
async fn what_stands_in_an_any_is_asked_of_the_server() {
    let Some(greeter) = Greeter::start("what_stands_in_an_any", &[]).await else { return };
    let seen = greeter
        .play(
            "
- grpc:
    service: greet.v1.Greeter
    method: Wrap
    body:
      gift:
        '@type': type.googleapis.com/greet.extra.Gift
        what: a box
        weight: 3
        inside: { '@type': type.googleapis.com/google.protobuf.Duration, value: 1.5s }
      more: [{ '@type': type.googleapis.com/greet.extra.Gift, inside: { '@type': x/greet.v1.Options, loud: true } }]
  assert:
    status: OK
    json:
      $.gift.what: a box
      $.gift.weight: 3
      \"$.gift['@type']\": type.googleapis.com/greet.extra.Gift
      $.gift.inside.value: 1.500s
      $.more[0].inside.loud: true
      $.more[1]: { equals: { '@type': type.googleapis.com/nobody.Knows } }
- grpc: { service: greet.v1.Greeter, method: Wrap, body: { gift: { '@type': x/greet.extra.Gft } } }
  expect: x
",
        )
        .await;
    let failed: Vec<_> = seen.steps[0].assertions.iter().filter(|verdict| !verdict.ok).collect();
    assert!(failed.is_empty() && seen.steps[0].error.is_none(), "{:?} {failed:#?}", seen.steps[0].error);
    assert!(error(&seen.steps[1]).contains("greet.extra.Gft"), "{}", error(&seen.steps[1]));
}

#[tokio::test]
async fn calls_at_once_share_a_connection() {
    let Some(greeter) = Greeter::start("calls_at_once_share_a_connection", &[]).await else { return };
    let seen = greeter
        .play(
            "
- parallel:
  - times: 20
    grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Ann } }
  - times: 3
    grpc: { service: greet.v1.Greeter, method: Hello }
  - grpc: { service: greet.v1.Greeter, method: Helo }
  assert: { count: 24, json: { $.outcomes: { equals: { OK: 20, INVALID_ARGUMENT: 3, error: 1 } }, '$.results[0].body.text': hello Ann } }
- grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Bob } }
  assert: { json: { $.text: hello Bob } }
",
        )
        .await;
    all_held(&seen);
    let nobody = "- parallel:\n  - times: 2\n    grpc: { service: a.B, method: C }\n  assert: { json: { $.outcomes.error: 2 } }\n";
    all_held(&play(nobody, "http://127.0.0.1:1", &QuickClock::default()).await);
}

#[tokio::test]
async fn a_scenario_may_name_whom_it_trusts() {
    let test = "a_scenario_may_name_whom_it_trusts";
    let Some(home) = certificates(test) else { return };
    for (from, to) in [("signed.pem", "cert.pem"), ("signed.key", "key.pem")] {
        std::fs::copy(home.path().join(from), home.path().join(to)).unwrap();
    }
    let Some(greeter) = Greeter::start(test, &["--tls", home.path().to_str().unwrap()]).await else { return };
    let safe = greeter.target.replace("http:", "https:");
    let clock = QuickClock::default();
    let stage = TestEnvironment { grpc_target: Some(&safe), ..TestEnvironment::new(&clock) };
    let play = async |trust: &str| {
        let call = "- grpc: { service: greet.v1.Greeter, method: Hello, body: { name: Ann } }\n  assert: { status: OK }";
        run(&read(&format!("id: safe\n{trust}\nsteps:\n{call}\n")), &stage, Variables::default()).await
    };
    let pem = std::fs::read_to_string(home.path().join("authority.pem")).unwrap();
    all_held(&play(&format!("trust: |\n  {}", pem.replace('\n', "\n  "))).await);
    let refused = play("").await;
    let unknown = "no connection: its certificate is not signed by a trusted authority; set trusted certificates with `trust` or `--ca-cert`";
    assert_eq!(error(&refused.steps[0]), unknown);
}

/// A service that is defined in two files. Servers of this library send one file at a time.
fn in_two_files() -> Vec<u8> {
    let field = |name: &str, kind: Type, of: Option<&str>| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(ToOwned::to_owned),
        json_name: Some(name.to_owned()),
        ..FieldDescriptorProto::default()
    };
    let message = |name: &str, field| DescriptorProto {
        name: Some(name.to_owned()),
        field: vec![field],
        ..DescriptorProto::default()
    };
    let inner = FileDescriptorProto {
        name: Some("inner.proto".to_owned()),
        package: Some("two".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message("Inner", field("word", Type::String, None))],
        ..FileDescriptorProto::default()
    };
    let method = MethodDescriptorProto {
        name: Some("Do".to_owned()),
        input_type: Some(".two.Outer".to_owned()),
        output_type: Some(".two.Outer".to_owned()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Files".to_owned()),
        method: vec![method],
        ..ServiceDescriptorProto::default()
    };
    let outer = FileDescriptorProto {
        name: Some("outer.proto".to_owned()),
        dependency: vec!["inner.proto".to_owned()],
        message_type: vec![message("Outer", field("inner", Type::Message, Some(".two.Inner")))],
        service: vec![service],
        ..inner.clone()
    };
    FileDescriptorSet { file: vec![inner, outer] }.encode_to_vec()
}

#[tokio::test]
async fn a_server_that_speaks_version_1_and_sends_single_files_is_understood() {
    let files = in_two_files();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(&files)
        .build_v1()
        .unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", tonic_health::ServingStatus::NotServing).await;
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder().add_service(reflection).add_service(health).serve_with_incoming(incoming);
    let server = tokio::spawn(server);
    let seen = play(
        "
- grpc: { service: grpc.health.v1.Health, method: Check, body: { service: shop } }
  assert: { status: OK, json: { $.status: NOT_SERVING } }
- grpc: { service: grpc.health.v1.Health, method: Check, body: { service: other } }
  assert: { status: NOT_FOUND }
- grpc:
    service: grpc.health.v1.Health
    method: Watch
    body: { service: shop }
    stream: { id: w, receive: { background: true } }
  expect: it begins
- grpc: { stream: { id: w } }
  assert: { count: 1, json: { '$[0].status': NOT_SERVING } }
- grpc: { service: two.Files, method: Do, body: { inner: { word: x } } }
  assert: { status: UNIMPLEMENTED }
- grpc: { service: two.Files, method: Do, body: { inner: { wrod: x } } }
  expect: an error
",
        &target,
        &QuickClock::default(),
    )
    .await;
    all_held(&Observation { steps: seen.steps[..5].to_vec(), ..seen.clone() });
    assert_eq!(error(&seen.steps[5]), "`two.Inner` has no field `wrod`; did you mean `word`?");
    server.abort();
}

#[tokio::test]
async fn the_one_answer_of_a_background_stream_is_no_list() {
    let Some(greeter) = Greeter::start("the_one_answer_of_a_background_stream", &[]).await else { return };
    let text = "
- { grpc: { service: greet.v1.Greeter, method: Sum, stream: { id: up, receive: { background: true } } }, expect: x }
- { grpc: { stream: { id: up, messages: [{ count: 2 }] } }, expect: x }
- grpc: { stream: { id: up, messages: [{ count: 5 }], close: true, receive: {} } }
  assert: { status: OK, count: 1, json: { $.number: '7' } }
- grpc: { stream: { id: up, receive: { timeout: 1s } } }
  assert: { status: OK, count: 0 }
- { grpc: { service: greet.v1.Greeter, method: Hello, body: { name: bad }, stream: { id: bad, receive: { background: true } } }, expect: x }
- grpc: { stream: { id: bad, receive: {} } }
  assert: { count: 1, json: { $.text: { exists: true } } }
- { grpc: { service: greet.v1.Greeter, method: Chat, stream: { id: talk, receive: { background: true } } }, expect: x }
- grpc: { stream: { id: talk, messages: [{ name: Ann }], receive: {} } }
  assert: { count: 1, json: { '$[0].text': heard Ann } }
";
    let seen = play(text, &greeter.target, &SystemClock).await;
    all_held(&seen);
}
