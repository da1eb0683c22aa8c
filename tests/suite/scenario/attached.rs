//! Messages and standard input from files next to a scenario.

use std::sync::Arc;

use atoll::diag::Severity;
use atoll::scenario::{
    Attachments, HttpClient, Observation, Scenario, ScenarioFiles, StepDecision, TestEnvironment, Variables,
    load, run,
};
use atoll::system_clock::SystemClock;

use super::QuickClock;
use super::peers::Peer;
use super::program::LocalShell;

/// Files by name.
#[derive(Debug)]
struct Named(&'static [(&'static str, &'static [u8])]);

impl Attachments for Named {
    fn read(&self, _: &str, name: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| "No such file or directory".to_owned())
    }

    fn is_named(&self, _: &str) -> bool {
        false
    }
}

const FILES: &[(&str, &[u8])] = &[
    ("order.json", b"{\"kind\": \"order\", \"size\": 1.10, \"who\": \"{n}\"}\n"),
    ("picture.bin", &[0, 255, 254, 10]),
    ("plain.txt", b"caf\xc3\xa9"),
    ("request.yaml", b"name: Ann {n}\n"),
    ("more.json", b"{\"name\": \"Bob\"}"),
    ("broken.json", b"{\"name\": "),
];

/// The scenarios of a list of steps, and the errors in it.
fn loaded(text: &str) -> (Vec<Scenario>, Vec<String>) {
    let text = format!("id: test\nvariables: {{ n: 7 }}\nsteps:\n  {}\n", text.trim().replace('\n', "\n  "));
    let scenarios = vec![("test.yaml".into(), text)];
    let files =
        ScenarioFiles { scenarios, attached: Some(Arc::new(Named(FILES))), ..ScenarioFiles::default() };
    let (scenarios, _, complaints) = load(files);
    let errors = complaints.iter().filter(|c| c.severity == Severity::Error);
    (scenarios, errors.map(|c| format!("{} {}", c.code.number(), c.message)).collect())
}

fn scenario(text: &str) -> Scenario {
    let (mut scenarios, errors) = loaded(text);
    assert_eq!(errors, Vec::<String>::new());
    // Values in a pipeline are JSON: a scenario must survive the round trip.
    serde_json::from_value(serde_json::to_value(scenarios.remove(0)).unwrap()).unwrap()
}

fn all_held(seen: &Observation) {
    let held = seen.steps.iter().all(|step| step.decided == StepDecision::Held);
    assert!(held, "{}", super::told(seen));
}

#[tokio::test]
async fn messages_of_websockets_come_from_files() {
    let Some(peer) = Peer::start("ws_server.py", "messages_of_websockets_come_from_files").await else {
        return;
    };
    let scenario = scenario(
        r#"
- ws: { url: /echo, send: { file: order.json }, receive: {} }
  assert:
    messages: { equals: "{\"kind\": \"order\", \"size\": 1.10, \"who\": \"\\{n}\"}\n" }
- ws: { messages: [{ file: picture.bin }, { file: plain.txt }, { bytes: { file: plain.txt } }], receive: { count: 3 } }
  assert:
    json: { "$[0].base64": AP/+Cg==, "$[1]": café, "$[2].base64": Y2Fmw6k= }
- ws: { messages: ['{"file": "order.json"}', { bytes: 3 }, { file: order.json, n: 1 }], receive: { count: 3 } }
  assert: { json: { "$[0].file": order.json, "$[1].bytes": 3, "$[2].n": 1 } }
"#,
    );
    let url = format!("http://127.0.0.1:{}", peer.port);
    let web = HttpClient::new(&url).unwrap();
    let stage = TestEnvironment { web: Some(&web), target: Some(&url), ..TestEnvironment::new(&SystemClock) };
    let variables = Variables::given(scenario.variables.clone());
    all_held(&run(&scenario, &stage, variables).await);
}

#[tokio::test]
async fn standard_input_comes_from_files() {
    let scenario = scenario(
        "
- exec: { command: od -An -tx1, stdin: { file: picture.bin } }
  assert: { stdout: { contains: 00 ff fe 0a } }
- exec: { command: cat, stdin: { file: order.json } }
  assert: { stdout: { contains: '\\{n}', matches: '1\\.10' } }
- exec: { command: od -An -tx1, stdin: { hex: 00 01 } }
  assert: { stdout: { contains: 00 01 } }
- parallel:
    - { exec: { command: grep -c order, stdin: { file: order.json } }, times: 2 }
  assert: { json: { $.outcomes: { equals: { '0': 2 } } } }
",
    );
    let shell = LocalShell { clock: QuickClock::default() };
    let clock = QuickClock::default();
    let stage = TestEnvironment { shell: Some(&shell), ..TestEnvironment::new(&clock) };
    let variables = Variables::given(scenario.variables.clone());
    all_held(&run(&scenario, &stage, variables).await);
}

#[test]
fn a_grpc_message_in_a_file_is_as_if_it_stood_in_the_step() {
    let scenario = scenario(
        "
- grpc: { service: a.B, method: C, body: { file: request.yaml } }
  expect: x
- grpc: { service: a.B, method: C, stream: { messages: [{ file: more.json }, { name: Carl }] } }
  expect: x
- grpc: { service: a.B, method: C, body: '{\"file\": \"request.yaml\"}' }
  expect: x
",
    );
    let steps = serde_json::to_value(&scenario.steps).unwrap();
    assert_eq!(steps[0]["action"]["grpc"]["body"]["name"], "Ann {n}");
    assert_eq!(steps[1]["action"]["grpc"]["stream"]["messages"][0]["name"], "Bob");
    assert_eq!(steps[1]["action"]["grpc"]["stream"]["messages"][1]["name"], "Carl");
    assert_eq!(steps[2]["action"]["grpc"]["body"], "{\"file\": \"request.yaml\"}");
}

#[test]
fn what_cannot_be_read_is_said_once_each() {
    let (_, errors) = loaded(
        "
- ws: { url: /, send: { file: none.json } }
  expect: x
- ws: { url: /, messages: [{ bytes: { file: none.bin } }] }
  expect: x
- grpc: { service: a.B, method: C, body: { file: none.yaml } }
  expect: x
- grpc: { service: a.B, method: C, body: { file: broken.json } }
  expect: x
- exec: { command: cat, stdin: { file: none.txt } }
  expect: x
",
    );
    let missing = |name: &str| format!("E0715 the file `{name}` cannot be read: No such file or directory");
    assert_eq!(errors.len(), 5, "{errors:#?}");
    for name in ["none.json", "none.bin", "none.yaml", "none.txt"] {
        assert!(errors.contains(&missing(name)), "{name}: {errors:#?}");
    }
    assert!(
        errors.iter().any(|error| error.contains("broken.json is not valid JSON or YAML")),
        "{errors:#?}"
    );
    for (stdin, wanted) in [
        ("{ fill: a.txt }", "`stdin` has no key `fill`"),
        ("{ hex: 0 }", "a digit is missing"),
        ("{}", "`stdin` has exactly one of"),
    ] {
        let (_, errors) = loaded(&format!("- {{ exec: {{ command: cat, stdin: {stdin} }}, expect: x }}"));
        assert!(errors.len() == 1 && errors[0].contains(wanted), "{stdin}: {errors:?}");
    }
}

#[test]
fn files_of_all_rows_are_counted() {
    #[derive(Debug)]
    struct Large;
    impl Attachments for Large {
        fn read(&self, _: &str, _: &str) -> Result<Vec<u8>, String> {
            Ok(vec![b' '; 4 << 20])
        }
        fn is_named(&self, _: &str) -> bool {
            false
        }
    }
    for action in ["ws: { url: /, send: { file: a } }", "exec: { command: cat, stdin: { file: a } }"] {
        let text =
            format!("id: a\nfor_each: [{}]\nsteps: [{{ {action}, expect: x }}]\n", "{ n: 1 }, ".repeat(30));
        let scenarios = vec![("a.yaml".into(), text)];
        let (_, _, complaints) =
            load(ScenarioFiles { scenarios, attached: Some(Arc::new(Large)), ..ScenarioFiles::default() });
        let told: Vec<_> = complaints.iter().map(|c| c.message.as_str()).collect();
        assert!(told.iter().any(|message| message.contains("have more than 67108864 bytes")), "{told:?}");
    }
}
