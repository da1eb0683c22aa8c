use std::path::PathBuf;
use std::sync::Arc;

use atoll::chromium::{self, Chromium};
use atoll::scenario::{Observation, Shell, StepDecision};
use atoll::system_clock::SystemClock;
use atoll::verb::{Class, Context, DynVerb};
use atoll::verbs::scenario::{ScenarioRun, Services};
use serde_json::{Value, json};

use super::peers::Peer;
use super::program::{LocalShell, serve, shop};
use super::{QuickClock, play, read, steps};

const TOOL: &str = include_str!("../../scenarios/text-tool.yaml");

async fn at_home(text: &str) -> Observation {
    let shell = LocalShell { clock: QuickClock::default() };
    play(&steps(text), None, Some(&shell), "").await
}

#[tokio::test]
async fn commands_with_files_stdin_env_and_captures() {
    let dir = tempfile::tempdir().unwrap();
    let shell = LocalShell { clock: QuickClock::default() };
    let seen = play(&read(TOOL), None, Some(&shell), &dir.path().display().to_string()).await;
    assert!(seen.setup_ok, "{:?}", seen.broken);
    let failed: Vec<_> = seen.steps.iter().flat_map(|step| &step.assertions).filter(|v| !v.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let decided: Vec<_> = seen.steps.iter().map(|step| step.decided).collect();
    assert_eq!(decided, [StepDecision::Held, StepDecision::Open, StepDecision::Held]);
    assert_eq!(seen.steps[1].captures[0].value, json!("3"));
    assert_eq!(
        seen.steps[1].observed.as_ref().unwrap().text,
        "Exit code: 3\nStdout:\nhello 4\n7\n30\nStderr:\noops\n"
    );
    assert_eq!(seen.steps[1].log, "listening\n");
}

#[tokio::test]
async fn a_command_that_does_not_end_is_an_observation() {
    let seen = at_home(
        "
- exec: { command: exec tail -f /dev/null, timeout: 2s }
  assert: { exit_code: 0 }
",
    )
    .await;
    let step = &seen.steps[0];
    let observed = step.observed.as_ref().unwrap();
    assert!(
        observed.timed_out && observed.text.starts_with("Timed out after 2s and was killed\n"),
        "{observed:?}"
    );
    assert_eq!((step.decided, &step.error), (StepDecision::Failed, &None));
    assert_eq!(step.assertions[0].reason.as_deref(), Some("there is no exit_code"));
}

#[tokio::test]
async fn programs_in_another_language_and_much_output() {
    let seen = at_home(
        r#"
- exec:
    command: |
      python3 -c 'import sys, json; print(json.dumps({"n": len(sys.stdin.read())}))'
    stdin: "grüße"
  assert: { json: [{ path: $.n, equals: 5, type: integer }] }
- exec: { command: "head -c 3000000 /dev/zero | tr '\\0' x" }
  assert: { exit_code: 0, stdout: { matches: ["^xxx", "x$"], contains: xxxx } }
- exec: { command: "printf 'a\\377b'" }
  assert: { stdout: { contains: a } }
- exec: { command: no-such-program-anywhere }
  assert: { exit_code: 127, stderr: { contains: not found } }
"#,
    )
    .await;
    let failed: Vec<_> = seen.steps.iter().flat_map(|step| &step.assertions).filter(|v| !v.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let flood = seen.steps[1].observed.as_ref().unwrap();
    assert_eq!((flood.length, flood.cut), (3_000_000, true));
    assert!(seen.steps[2].observed.as_ref().unwrap().lossy);
}

#[tokio::test]
async fn a_setup_may_assert() {
    let scenario = read(
        "
id: strict
setup:
  - { description: migrate, exec: { command: 'echo no db >&2; exit 4' }, assert: { exit_code: 0 } }
  - { exec: { command: 'false' } }
steps:
  - { exec: { command: 'true' }, expect: works }
",
    );
    let shell = LocalShell { clock: QuickClock::default() };
    let seen = play(&scenario, None, Some(&shell), "").await;
    let broken = seen.broken.unwrap();
    assert_eq!((broken.step, broken.log.as_str()), (0, "listening\n"));
    assert_eq!(broken.reason, "`exit_code is 0` does not hold: it is 4");
    assert_eq!(broken.sent, "$ echo no db >&2; exit 4\n");
    assert!(broken.observed.ends_with("Stderr:\nno db\n"));
    assert_eq!((seen.setup.len(), seen.steps[0].attempts), (1, 0));
}

struct One;

impl Services for One {
    fn shell(&self, id: &str) -> Option<Arc<dyn Shell>> {
        (id == "svc-1").then(|| Arc::new(LocalShell { clock: QuickClock::default() }) as Arc<dyn Shell>)
    }
}

fn scenario_run() -> ScenarioRun {
    let nowhere = chromium::ChromiumSettings { program: None, path: "/no/such/directory".into() };
    ScenarioRun::new(Arc::new(One), Chromium::new(nowhere))
}

async fn verb(with: Value) -> Result<Value, atoll::verb::Failure> {
    let cx = Context::for_test(PathBuf::from("."), Arc::new(QuickClock::default()));
    let verb: Arc<dyn DynVerb> = Arc::new(scenario_run());
    verb.run(with, cx).await.map(|output| output.value)
}

#[tokio::test]
async fn the_verb_takes_json_and_gives_json() {
    let url = serve(shop(QuickClock::default())).await;
    let scenario = steps(
        "
- exec: { command: 'echo {greeting}' }
  assert: { stdout: { equals: \"hi\\n\" } }
- request: { method: GET, path: /items/1 }
  expect: 404 for {greeting}
",
    );
    let out = verb(json!({
        "scenario": scenario, "target": url, "service": "svc-1", "variables": {"greeting": "hi"},
    }))
    .await
    .unwrap();
    assert_eq!(out["steps"][0]["decided"], "held");
    assert_eq!(out["steps"][1]["decided"], "open");
    assert_eq!(out["steps"][1]["expect"], "404 for hi");
    assert_eq!(out["steps"][1]["observed"]["status"], 404);
    assert_eq!(out["steps"][0]["observed"]["status"], Value::Null, "every key exists, for strict templates");
    let schema = atoll::schema::Schema::compile("out", scenario_run().out_schema()).unwrap();
    assert_eq!(schema.violations(&out), []);
}

#[tokio::test]
async fn the_verb_says_what_it_lacks() {
    let web = steps("- { request: { method: GET, path: / }, expect: x }");
    let run = steps("- { exec: { command: ls }, expect: x }");
    let page = steps("- { browser: { action: navigate, url: / }, expect: x }");
    for (with, wanted) in [
        (json!({ "scenario": web }), "the scenario `test` has `request` steps, but no `target` is given"),
        (json!({ "scenario": run }), "the scenario `test` has `exec` steps, but no `service` is given"),
        (json!({ "scenario": run, "service": "gone" }), "no service `gone` is held"),
        (
            json!({ "scenario": web, "target": "nowhere" }),
            "`nowhere` is not a URL: relative URL without a base",
        ),
        (json!({ "scenario": page, "target": "http://127.0.0.1:1" }), "`browser` steps need Chromium"),
        (json!({ "scenario": 7 }), "`scenario` cannot use its input"),
    ] {
        let failure = verb(with).await.unwrap_err();
        assert_eq!(failure.class, Class::Permanent);
        assert!(failure.message.starts_with(wanted), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_stopped_run_stops_at_once() {
    let cx = Context::for_test(PathBuf::from("."), Arc::new(QuickClock::default()));
    let scenario = steps("- { exec: { command: exec tail -f /dev/null }, expect: x }");
    cx.cancel.cancel();
    let verb: Arc<dyn DynVerb> = Arc::new(scenario_run());
    let failure = verb.run(json!({ "scenario": scenario, "service": "svc-1" }), cx).await.unwrap_err();
    assert_eq!(failure.class, Class::Cancelled);
}

#[tokio::test]
async fn sockets_connect_to_the_target_only() {
    let Some(peer) = Peer::start("ws_server.py", "sockets_connect_to_the_target_only").await else { return };
    let Some(other) = Peer::start("ws_server.py", "sockets_connect_to_the_target_only").await else { return };
    let socket = |url: &str| {
        steps(&format!("- ws: {{ url: '{url}', send: hi, receive: {{}} }}\n  assert: {{ messages: hi }}"))
    };
    let run = async |mut with: Value, url: &str| {
        let cx = Context::for_test(PathBuf::from("."), Arc::new(SystemClock));
        with["scenario"] = serde_json::to_value(socket(url)).unwrap();
        let verb: Arc<dyn DynVerb> = Arc::new(scenario_run());
        verb.run(with, cx).await
    };
    let whole = |peer: &Peer| format!("ws://127.0.0.1:{}/echo", peer.port);
    let target = json!({ "target": format!("http://127.0.0.1:{}", peer.port) });
    for url in ["/echo", &whole(&peer)] {
        let seen = run(target.clone(), url).await.unwrap().value;
        assert_eq!(seen["steps"][0]["decided"], "held", "{seen}");
        let failure = run(json!({}), url).await.unwrap_err();
        assert!(failure.message.contains("has `ws` steps, but no `target` is given"), "{failure}");
    }
    let seen = run(target.clone(), &whole(&other)).await.unwrap().value;
    let error = seen["steps"][0]["error"].as_str().unwrap();
    assert!(error.contains("is not on the target"), "{error}");
}
