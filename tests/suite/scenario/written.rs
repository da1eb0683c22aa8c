//! Scenarios send and compare exactly what is written.

use atoll::scenario::{Action, Observation, StepDecision, load_given};
use atoll::system_clock::SystemClock;
use serde_json::json;

use super::program::{first_lines, raw, serve, shop};
use super::{QuickClock, play_on, read, steps, told};

/// Scalars that YAML does not read as the text that they are.
const SCALARS: [&str; 23] = [
    "1.10",
    "1.0",
    "07030",
    "1e3",
    "0x1F",
    "0o17",
    ".5",
    "1_000",
    "+1",
    "-0",
    "yes",
    "no",
    "on",
    "off",
    "True",
    "~",
    "null",
    ".inf",
    ".nan",
    "2024-01-02",
    "12:30:00",
    "123456789012345678901234567890",
    "1e999",
];

async fn seen(text: &str, url: &str) -> Observation {
    play_on(&steps(text), Some(url), None, &SystemClock, "").await
}

fn all_held(seen: &Observation) {
    for step in &seen.steps {
        let failed: Vec<_> = step.assertions.iter().filter(|verdict| !verdict.ok).collect();
        assert!(step.decided == StepDecision::Held, "{}: {:?} {failed:?}", step.description, step.error);
    }
}

#[tokio::test]
async fn a_path_is_sent_as_it_is_written() {
    let url = first_lines().await;
    for (path, line) in [
        ("/static/../../etc/passwd?x=../y", "GET /static/../../etc/passwd?x=../y HTTP/1.1"),
        ("/a/%2e%2E/./b", "GET /a/%2e%2E/./b HTTP/1.1"),
        ("/a\\b", "GET /a\\b HTTP/1.1"),
        ("/a b/../ü", "GET /a%20b/../%C3%BC HTTP/1.1"),
        ("/a b/ü", "GET /a%20b/%C3%BC HTTP/1.1"),
    ] {
        let text = format!(
            "- request: {{ method: GET, path: '{path}' }}\n  assert: {{ body: {{ equals: '{line}' }} }}\n"
        );
        let seen = seen(&text, &url).await;
        all_held(&seen);
        let curl = seen.steps[0].sent.as_ref().unwrap().curl.clone().unwrap();
        assert_eq!(curl.contains("--path-as-is"), path != "/a b/ü", "{curl}");
    }
}

#[tokio::test]
async fn a_capture_that_finds_nothing_leaves_no_old_value() {
    let url = serve(shop(QuickClock::default())).await;
    let seen = seen(
        r#"
- request: { method: POST, path: /echo, body: { id: 7 } }
  capture: [{ name: id, jsonpath: $.body }]
- request: { method: POST, path: /echo, body: { other: 8 } }
  capture: [{ name: id, jsonpath: $.none }]
- request: { method: GET, path: "/echo?id={id}" }
  assert: { status: 200 }
"#,
        &url,
    )
    .await;
    let error = seen.steps[2].error.as_ref().unwrap();
    assert!(
        error.starts_with("`{id}` has no value: it could not be captured: there is nothing at $.none"),
        "{error}"
    );
}

#[tokio::test]
async fn scalars_are_sent_as_they_are_written() {
    let url = serve(shop(QuickClock::default())).await;
    for written in SCALARS {
        let text = format!(
            "
- for_each: [{{ v: {written} }}]
  request:
    method: POST
    path: /echo
    query: {{ q: {written}, l: [{written}], v: '{{v}}' }}
    headers: {{ X-Value: {written} }}
    form: {{ f: {written} }}
  assert:
    json:
      - {{ path: '$.query[0]', equals: [q, '{written}'] }}
      - {{ path: '$.query[1]', equals: [l, '{written}'] }}
      - {{ path: '$.query[2]', equals: [v, '{written}'] }}
      - {{ path: '$.headers', contains: [x-value, '{written}'] }}
    body: {{ contains: {written} }}
"
        );
        let body = format!(
            "- request: {{ method: POST, path: /echo, body: {written} }}\n  assert: {{ json: {{ $.body: '{written}' }} }}\n"
        );
        // A key without a value counts as absent.
        let text = if ["~", "null"].contains(&written) { text } else { format!("{text}{body}") };
        all_held(&seen(&text, &url).await);
    }
    let exec = SCALARS.map(|written| {
        format!(
            "- exec: {{ command: {written}, env: {{ A: {written} }} }}\n  assert: {{ stdout: {written} }}\n"
        )
    });
    for (written, text) in SCALARS.iter().zip(exec).filter(|(written, _)| !["~", "null"].contains(written)) {
        let scenario = steps(&text);
        let Action::Exec(exec) = &scenario.steps[0].action else { unreachable!() };
        assert_eq!((exec.command.as_str(), exec.env["A"].as_str()), (*written, *written));
        assert_eq!(scenario.steps[0].assert[0].value, json!(written));
    }
}

#[tokio::test]
async fn json_keeps_its_types_and_every_digit() {
    let url = serve(shop(QuickClock::default())).await;
    let text = "
- request: { method: POST, path: /echo, body: { a: 1.10, b: 9007199254740993, c: 123456789012345678901234567890, d: true, e: ~ } }
  assert: { json: { $.body: '{\"a\":1.1,\"b\":9007199254740993,\"c\":123456789012345678901234567890,\"d\":true,\"e\":null}' } }
";
    all_held(&seen(text, &url).await);
    let url = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"id\": 123456789012345678901234567890, \"n\": 9007199254740993}").await;
    let text = "
- request: { method: GET, path: / }
  capture: [{ name: id, jsonpath: $.id }]
  assert: { json: [{ path: $.id, equals: 123456789012345678901234567890, type: integer }, { path: $.n, equals: 9007199254740993 }] }
- request: { method: GET, path: '/{id}' }
  assert: { json: { $.id: '{id}' } }
- request: { method: GET, path: / }
  assert: { json: { $.id: 123456789012345678901234567891 } }
- request: { method: GET, path: / }
  assert: { json: { $.n: 9007199254740992 } }
";
    let seen = seen(text, &url).await;
    assert!(seen.steps[1].sent.as_ref().unwrap().text.starts_with("GET /123456789012345678901234567890\n"));
    let decided: Vec<_> = seen.steps.iter().map(|step| step.decided).collect();
    assert_eq!(
        decided,
        [StepDecision::Held, StepDecision::Held, StepDecision::Failed, StepDecision::Failed],
        "{:?}",
        seen.steps[0].assertions
    );
}

#[tokio::test]
async fn a_filter_leads_to_a_list() {
    let url = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"slots\": [{\"id\": 1, \"s\": \"free\"}, {\"id\": 2, \"s\": \"taken\"}, {\"id\": 3, \"s\": \"taken\"}]}").await;
    let text = "
- description: none, one and two matches
  request: { method: GET, path: / }
  assert:
    json:
      - { path: \"$.slots[?@.s == 'gone']\", length: 0, exists: false, equals: [], not_contains: 1 }
      - { path: \"$.slots[?@.s == 'free']\", length: 1, exists: true, type: array }
      - { path: \"$.slots[?@.s == 'free'].id\", equals: [1], contains: 1 }
      - { path: \"$.slots[?@.s == 'taken'].id\", equals: [2, 3], length: 2 }
      - { path: '$.slots[*].id', length: 3 }
      - { path: '$.slots[0:1].id', equals: [1] }
      - { path: '$.slots[0].id', equals: 1, type: integer }
- description: one match may be compared by itself
  request: { method: GET, path: / }
  assert: { json: [{ path: \"$.slots[?@.s == 'free'].s\", equals: free, matches: ^fr, contains: re, type: string }] }
- description: captured, one match is that match
  request: { method: GET, path: / }
  capture: [{ name: one, jsonpath: \"$.slots[?@.s == 'free'].id\" }]
  assert: { status: 200 }
- description: in a path
  request: { method: GET, path: '/{one}' }
  assert: { status: 200 }
- description: what does not hold
  request: { method: GET, path: / }
  assert:
    json:
      - { path: \"$.slots[?@.s == 'taken'].id\", equals: 2 }
      - { path: \"$.slots[?@.s == 'free'].id\", equals: 2 }
      - { path: \"$.slots[?@.s == 'free'].s\", not_contains: fr }
      - { path: \"$.slots[?@.s == 'free'].s\", type: integer }
      - { path: \"$.slots[?@.s == 'gone']\", exists: true }
";
    let seen = seen(text, &url).await;
    all_held(&Observation { steps: seen.steps[..4].to_vec(), ..seen.clone() });
    assert!(seen.steps[3].sent.as_ref().unwrap().text.starts_with("GET /1\n"));
    assert!(seen.steps[4].assertions.iter().all(|verdict| !verdict.ok), "{:?}", seen.steps[4].assertions);
}

#[tokio::test]
async fn nullable_and_formats_are_checked() {
    let url = raw(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"name\": null, \"kind\": null, \"when\": \"never\"}",
    )
    .await;
    let text = "
- request: { method: GET, path: / }
  assert: { json: [{ path: $, schema: { properties: { name: { type: string, nullable: true, maxLength: 5 }, kind: { enum: [a], nullable: true } } } }] }
- request: { method: GET, path: / }
  assert: { json: [{ path: $.when, schema: { type: string, format: date-time } }] }
- request: { method: GET, path: / }
  assert: { json: [{ path: $.name, schema: { type: string } }] }
";
    let decided: Vec<_> = seen(text, &url).await.steps.iter().map(|step| step.decided).collect();
    assert_eq!(decided, [StepDecision::Held, StepDecision::Failed, StepDecision::Failed]);
}

#[tokio::test]
async fn bodies_are_read_in_their_encoding() {
    let bodies: [(&'static [u8], &str); 6] = [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html; charset=ISO-8859-1\r\n\r\n<p>caf\xE9</p>", "body: caf\u{E9}"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<meta charset=windows-1251>\xCF\xF0", "body: '\u{41F}\u{440}'"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json; charset=utf-16le\r\n\r\n[\x001\0]\0", "json: { '$[0]': 1 }"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n\xEF\xBB\xBF{\"a\": 1}", "json: { $.a: 1 }"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n{\"a\": \"\\ud800\", \"b\": 1}", "json: { $.b: 1, $.a: { length: 1 } }"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Name: caf\xE9\r\n\r\n", "header: { X-Name: caf\u{E9} }"),
    ];
    for (wire, assertion) in bodies {
        let text = format!("- request: {{ method: GET, path: / }}\n  assert: {{ {assertion} }}\n");
        all_held(&seen(&text, &raw(wire).await).await);
    }
    let text = "- request: { method: POST, path: /a, headers: { Content-Type: text/plain; charset=latin1 }, body: '\u{20BF}' }\n  assert: { status: 200 }\n";
    let seen = seen(text, &raw(b"").await).await;
    assert!(seen.steps[0].error.as_ref().unwrap().ends_with("that encoding has no `\u{20BF}`"));
}

#[tokio::test]
async fn a_difference_that_cannot_be_seen_is_told() {
    let url = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\": \"big\xC2\xA0world\"}").await;
    let text = "- request: { method: GET, path: / }\n  assert: { json: { $.a: big world }, body: { contains: big world } }\n";
    let seen = seen(text, &url).await;
    for verdict in &seen.steps[0].assertions {
        let reason = verdict.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("the answer has U+00A0, and the expected text has none"), "{verdict:?}");
    }
}

#[tokio::test]
async fn a_placeholder_without_a_value_is_not_sent() {
    let url = serve(shop(QuickClock::default())).await;
    let text = "
- request: { method: GET, path: /job }
  capture: [{ name: token, jsonpath: $.nothing }]
  assert: { status: 200 }
- request: { method: GET, path: /echo, headers: { Authorization: 'Bearer {token}' } }
  assert: { status: 200 }
- request: { method: POST, path: /echo, body: '\\{token} ${token} {$uuid} {not a name}' }
  assert: { status: 200, body: { contains: '\\{token}' } }
- request: { method: GET, path: /echo }
  assert: { body: { contains: '{token}' } }
- request: { method: GET, path: /echo }
  expect: the token {token}
- request: { method: GET, path: /echo }
  expect: a page that shows \\{something}
";
    let seen = seen(text, &url).await;
    let step = &seen.steps[1];
    assert!(step.sent.is_none() && step.decided == StepDecision::Failed);
    assert!(step.error.as_ref().unwrap().starts_with("`{token}` has no value"), "{step:?}");
    assert_eq!(seen.steps[2].decided, StepDecision::Held, "{:?}", seen.steps[2]);
    assert_eq!(
        seen.steps[3].assertions[0].reason.as_deref().unwrap(),
        "`{token}` has no value: it could not be captured: there is nothing at $.nothing"
    );
    assert!(seen.steps[4].error.as_ref().unwrap().starts_with("`{token}` in `expect` has no value"));
    assert_eq!(seen.steps[5].decided, StepDecision::Open, "prose may contain braces");
    let unknown =
        "id: a\nsteps:\n  - request: { method: GET, path: '/{tokn}' }\n    assert: { status: 200 }\n";
    let (found, _, complaints) = load_given(vec![("a.yaml".to_owned(), unknown.to_owned())], &[]);
    assert_eq!(found.len(), 0, "it can never have a value");
    assert!(complaints[0].message.starts_with("`{tokn}` never has a value"), "{complaints:?}");
    let given = load_given(vec![("a.yaml".to_owned(), unknown.to_owned())], &["tokn".to_owned()]);
    assert_eq!((given.0.len(), given.2.len()), (1, 0), "it is given");
    for (place, refused) in [
        ("expect: the token {tokn}", true),
        ("assert: { body: { not_contains: '{tokn}' } }", true),
        ("assert: { json: { $.a: '{tokn}' } }", true),
        ("assert: { body: { not_contains: '\\{tokn}' } }", false),
        ("assert: { body: { matches: '\\p{Lu}' } }", false),
        ("expect: one of {start|stop}, {}, { x }", false),
    ] {
        let text = format!("id: a\nsteps:\n  - request: {{ method: GET, path: / }}\n    {place}\n");
        let (found, _, complaints) = load_given(vec![("a.yaml".to_owned(), text)], &[]);
        assert_eq!(found.is_empty(), refused, "{place}: {complaints:?}");
    }
    let criteria = "id: a\nsatisfaction_criteria: the {tokn}\nsteps:\n  - request: { method: GET, path: / }\n    assert: { status: 200 }\n";
    assert!(load_given(vec![("a.yaml".to_owned(), criteria.to_owned())], &[]).0.is_empty());
    let shell = "- exec: { command: 'echo {tokn} ${HOME}' }\n  assert: { exit_code: 0 }\n";
    assert_eq!(read(&format!("id: a\nsteps:\n  {}", shell.replace('\n', "\n  "))).steps.len(), 1);
}

#[tokio::test]
async fn a_number_is_sent_again_as_the_program_wrote_it() {
    let answer = raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"price\": 1.10, \"rate\": 2.0, \"big\": 1e3, \"id\": 7, \"list\": [1.50]}").await;
    let text = r#"
- request: { method: GET, path: / }
  assert: { status: 200 }
  capture:
    - { name: price, jsonpath: $.price }
    - { name: rate, jsonpath: $.rate }
    - { name: big, jsonpath: $.big }
    - { name: id, jsonpath: $.id }
    - { name: list, jsonpath: $.list }
- request: { method: GET, path: "/?p={price}&r={rate}&b={big}&i={id}", headers: { X: "{list}" } }
  assert: { json: { $.price: "{price}", $.rate: "{rate}", $.big: "{big}", $.id: "{id}" } }
"#;
    let seen = seen(text, &answer).await;
    all_held(&seen);
    let sent = &seen.steps[1].sent.as_ref().unwrap().text;
    assert!(sent.starts_with("GET /?p=1.10&r=2.0&b=1e3&i=7\n") && sent.contains("x: [1.50]"), "{sent}");
}

/// An answer with the hexadecimal body `hex`.
async fn encoded(encoding: &str, hex: &str) -> String {
    let body = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: {encoding}\r\n\r\n");
    raw(head.into_bytes().into_iter().chain(body).collect::<Vec<_>>().leak()).await
}

#[tokio::test]
async fn every_usual_content_encoding_is_decoded_within_bounds() {
    for (encoding, hex) in [
        ("br", "0b08807b22736179223a224772c3b6c39f65227d03"),
        ("deflate", "789cab562a4eac54b252722f3abcedf0fc54a55a0039d90701"),
        ("zstd", "28b52ffd04588900007b22736179223a224772c3b6c39f65227d2ab634bc"),
    ] {
        let text = "- request: { method: GET, path: / }\n  assert: { json: { $.say: Gr\u{F6}\u{DF}e } }\n";
        all_held(&seen(text, &encoded(encoding, hex).await).await);
    }
    // 64 MiB of zeros in 106 bytes.
    let bomb = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bdffcbffff3ffc1300715800a07bff07";
    let text = "- request: { method: GET, path: / }\n  assert: { status: 200 }\n";
    let seen = seen(text, &encoded("br", bomb).await).await;
    let observed = seen.steps[0].observed.as_ref().unwrap();
    assert!(observed.cut && observed.length == 64 << 20, "{}", observed.length);
    let broken = encoded("zstd", "28b52ffd0458").await;
    let text = "- request: { method: GET, path: / }\n  assert: { status: 200 }\n";
    assert!(self::seen(text, &broken).await.steps[0].error.is_some(), "a broken body is no answer");
}

/// An answer with lists nested `levels` deep, and other fields.
fn nested(levels: usize) -> Vec<u8> {
    let body = format!(
        r#"{{"name": "x", "deep": {}{{"leaf": 1.10}}{}, "many": 1e400, "few": -1e-400}}"#,
        "[".repeat(levels - 2),
        "]".repeat(levels - 2)
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
        body.len()
    )
    .into()
}

const DEEP: &str = "
- request: { method: GET, path: / }
  assert:
    json:
      $.name: x
      $..leaf: { equals: [1.1] }
      $.many: { equals: 1e400, type: number }
      $.few: { type: number }
      $.deep: { type: array, length: 1 }
      $: { schema: { $ref: '#/$defs/any', $defs: { any: { items: { $ref: '#/$defs/any' }, additionalProperties: { $ref: '#/$defs/any' } } } } }
  capture: [{ name: leaf, jsonpath: $..leaf }]
- request: { method: GET, path: / }
  assert: { json: { $.deep: { equals: [] }, $.many: { equals: 1e401 }, '$.deep[0]': { contains: 7 } } }
  capture: [{ name: deep, jsonpath: $.deep }]
- request: { method: GET, path: / }
  assert: { duration: '<30s' }
  capture: [{ name: deep, source: body, jsonpath: $.deep }]
";

#[test]
fn an_answer_may_be_deep_and_no_stack_is_needed_for_it() {
    // Half of the stack size of the program's threads.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let play = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Box::pin(seen(DEEP, &raw(nested(256).leak()).await)).await })
    };
    let seen = small.spawn(play).unwrap().join().unwrap();
    let first = &seen.steps[0];
    assert_eq!(
        (first.decided, &first.captures[0].value),
        (StepDecision::Held, &json!("1.10")),
        "{}",
        told(&seen)
    );
    assert!(seen.steps[1].assertions.iter().all(|verdict| !verdict.ok), "{}", told(&seen));
    assert_eq!(seen.steps[1].assertions[1].actual, json!("1e400"));
    for step in &seen.steps[1..] {
        let error = step.captures[0].error.as_deref();
        assert_eq!(
            error,
            Some(
                "it is nested more than 64 levels deep, the limit for captured values: capture a part of it"
            )
        );
    }
    // The observation becomes part of a record.
    let written = serde_json::to_string(&seen).unwrap();
    serde_json::from_str::<Observation>(&written).unwrap();
}

#[tokio::test]
async fn an_answer_that_is_too_deep_is_not_called_something_else() {
    for levels in [257, 100_000] {
        let seen = seen(DEEP, &raw(nested(levels).leak()).await).await;
        let reason = seen.steps[0].assertions[0].reason.as_deref();
        assert_eq!(reason, Some("the body is nested more than 256 levels deep, too deep to be read"));
        let error = seen.steps[1].captures[0].error.as_deref();
        assert_eq!(error, Some("the body is nested more than 256 levels deep, too deep to be read"));
    }
}

#[tokio::test]
async fn text_with_four_bytes_a_character_is_read() {
    let text = "{\"say\": \"Gr\u{F6}\u{DF}e \u{1F600}\"}";
    let wide = |bytes: fn(u32) -> [u8; 4]| -> Vec<u8> {
        std::iter::once('\u{FEFF}').chain(text.chars()).flat_map(|c| bytes(c.into())).collect()
    };
    for body in [wide(u32::to_le_bytes), wide(u32::to_be_bytes)] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let step = "- request: { method: GET, path: / }\n  assert: { json: { $.say: 'Gr\u{F6}\u{DF}e \u{1F600}' }, body: { length: 18 } }\n";
        all_held(&seen(step, &raw([head.as_bytes(), &body].concat().leak()).await).await);
    }
}
