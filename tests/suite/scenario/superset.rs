//! Features that only our scenario format has: `until`, rows, fixtures, teardown, `parallel`, generated
//! values.
#![expect(clippy::disallowed_methods, reason = "tests open ports")]

use atoll::scenario::{Isolation, Observation, Scenario, ScenarioFiles, StepDecision, Visibility, load};
use atoll::system_clock::SystemClock;
use serde_json::{Value, json};

use super::program::{LocalShell, serve, shop};
use super::{QuickClock, play, play_on, read, steps};

async fn in_shop(scenario: &Scenario) -> Observation {
    let clock = QuickClock::default();
    let url = serve(shop(clock.clone())).await;
    play_on(scenario, Some(&url), None, &clock, "").await
}

fn decided(seen: &Observation) -> Vec<StepDecision> {
    seen.steps.iter().map(|step| step.decided).collect()
}

fn result(seen: &Observation, step: usize) -> Value {
    serde_json::from_str(seen.steps[step].observed.as_ref().unwrap().body.as_ref().unwrap()).unwrap()
}

#[tokio::test]
async fn a_state_is_waited_for_and_then_asserted() {
    let polling = "
- request: { method: GET, path: /job }
  until: { json: { $.state: done }, within: 20s, every: 2s }
  assert: { json: { $.tries: 3 } }
";
    let seen = in_shop(&steps(polling)).await;
    let step = &seen.steps[0];
    assert_eq!((step.attempts, step.decided, step.assertions.len()), (3, StepDecision::Held, 2));
    assert_eq!(step.duration_ms, 4_000);
    // On the clock of these tests, a limit below ten seconds expires at once, so the last attempt has no
    // answer.
    let seen = in_shop(&steps(&polling.replace("state: done", "tries: 9"))).await;
    let step = &seen.steps[0];
    assert_eq!((step.attempts, step.decided, &step.error), (6, StepDecision::Failed, &None));
    assert_eq!(step.assertions[0].actual, json!(5), "the last observed state is reported");
}

#[tokio::test]
async fn an_assertion_beside_until_is_not_waited_for() {
    let seen = in_shop(&steps(
        "
- request: { method: GET, path: /job }
  until: { status: 200, within: 20s, every: 2s }
  assert: { json: { $.state: done } }
",
    ))
    .await;
    assert_eq!((seen.steps[0].attempts, seen.steps[0].decided), (1, StepDecision::Failed));
}

#[tokio::test]
async fn a_step_that_must_hold_ends_the_scenario_and_teardown_is_run_all_the_same() {
    let seen = in_shop(&read(
        "
id: must
steps:
- description: First
  must: true
  request: { method: GET, path: /items/999 }
  assert: { status: 200 }
- request: { method: GET, path: /job }
  assert: { status: 200 }
teardown:
- request: { method: GET, path: /job }
  assert: { json: { $.tries: 1 } }
",
    ))
    .await;
    assert_eq!(decided(&seen), [StepDecision::Failed, StepDecision::Failed]);
    assert_eq!(seen.steps[1].error.as_deref(), Some("not run: step 1 (First), which must hold, failed"));
    assert_eq!(seen.teardown[0].decided, StepDecision::Held);
}

#[tokio::test]
async fn a_scenario_has_an_end() {
    let seen = in_shop(&read(
        "
id: late
timeout: 50s
steps:
- request: { method: GET, path: /job }
  delay: 4s
  assert: { status: 200 }
- request: { method: GET, path: /job }
  until: { json: { $.state: never }, within: 1m, every: 10s }
- request: { method: GET, path: /job }
  assert: { status: 200 }
",
    ))
    .await;
    assert_eq!(decided(&seen)[..2], [StepDecision::Held, StepDecision::Failed]);
    assert_eq!((seen.steps[1].attempts, seen.steps[1].assertions[0].actual.clone()), (5, json!("done")));
    assert_eq!(seen.steps[2].error.as_deref(), Some("not run: the 50s of the scenario are over"));
    // The error of an interrupted step is the same in every run, whatever time was left.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let late = read("id: late\ntimeout: 300ms\nsteps: [{ request: { method: GET, path: / } }]\n");
    let seen = play_on(&late, Some(&url), None, &SystemClock, "").await;
    let error = "the 300ms of the scenario were over before it came to an end";
    assert_eq!(seen.steps[0].error.as_deref(), Some(error));
}

#[tokio::test]
async fn rows_make_steps_and_scenarios() {
    let scenario = read(
        "
id: rows
steps:
- description: Echo {word}
  for_each: [{ word: a, n: 1 }, { word: 'b c', n: 2 }]
  weight: 3
  request: { method: GET, path: /echo, query: { word: '{word}', n: '{n}', list: [x, '{word}'] } }
  assert: { json: { $.query: [[word, '{word}'], [n, '{n}'], [list, x], [list, '{word}']] } }
- for_each: [7, 8]
  request: { method: GET, path: '/items/{item}' }
  assert: { status: 404 }
",
    );
    let seen = in_shop(&scenario).await;
    assert_eq!(decided(&seen), [StepDecision::Held; 4]);
    assert_eq!(seen.steps[1].description, "Echo b c");
    assert_eq!(seen.steps.iter().map(|step| step.weight).collect::<Vec<_>>(), [1.5, 1.5, 0.5, 0.5]);
    let (scenarios, _, complaints) = load(vec![(
        "a.yaml".to_owned(),
        "
id: find
weight: 2
description: Finds {what}
for_each: [{ what: pears }, { what: plums }]
steps:
- request: { method: GET, path: '/{what}' }
  assert: { status: 404 }
"
        .to_owned(),
    )]);
    assert!(complaints.is_empty(), "{complaints:?}");
    let named: Vec<_> = scenarios.iter().map(|s| (s.id.as_str(), s.description.as_str(), s.weight)).collect();
    assert_eq!(named, [("find-1", "Finds pears", 1.0), ("find-2", "Finds plums", 1.0)]);
    let seen = in_shop(&scenarios[1]).await;
    assert!(seen.steps[0].sent.as_ref().unwrap().text.starts_with("GET /plums"));
}

#[tokio::test]
async fn fixtures_come_before_and_after() {
    let files = ScenarioFiles {
        scenarios: vec![(
            "s/a.yaml".into(),
            "
id: a
fixtures: [item, login]
variables: { price: 9 }
tags: [smoke, slow]
isolation: shared
visibility: sealed
must: true
setup:
- request: { method: GET, path: '/items/{made}' }
  assert: { status: 200 }
steps:
- request: { method: GET, path: '/items/{made}' }
  assert: { status: 200, json: { $.name: Pear, $.price: 5 } }
teardown:
- exec: { command: 'echo {made}' }
"
            .into(),
        )],
        fixtures: vec![
            (
                "s/fixtures/item.yaml".into(),
                "
variables: { name: Pear, price: 5 }
setup:
- request: { method: POST, path: /items, body: { name: '{name}', price: 5 } }
  capture: [{ name: made, jsonpath: $.id }]
teardown:
- request: { method: DELETE, path: '/items/{made}' }
  assert: { status: 204 }
"
                .into(),
            ),
            (
                "s/fixtures/login.yml".into(),
                "setup:\n- request: { method: POST, path: /login, body: {} }\n".into(),
            ),
        ],
        ..ScenarioFiles::default()
    };
    let (scenarios, _, complaints) = load(files);
    assert!(complaints.is_empty(), "{complaints:?}");
    let scenario = &scenarios[0];
    assert_eq!(
        (scenario.isolation, scenario.visibility, scenario.must),
        (Isolation::Shared, Visibility::Sealed, true)
    );
    assert_eq!(
        (scenario.uses.as_slice(), scenario.tags.len()),
        (["exec".to_owned(), "request".into()].as_slice(), 2)
    );
    assert_eq!(scenario.variables["price"], 9, "its own variables come first");
    let clock = QuickClock::default();
    let url = serve(shop(clock.clone())).await;
    let shell = LocalShell { clock: clock.clone() };
    let seen = play_on(scenario, Some(&url), Some(&shell), &clock, "").await;
    assert!(seen.setup_ok, "{:?}", seen.broken);
    assert_eq!((seen.setup.len(), decided(&seen)), (3, vec![StepDecision::Held]));
    assert_eq!(seen.teardown[0].observed.as_ref().unwrap().stdout.as_deref(), Some("7\n"));
    assert_eq!(seen.teardown[1].decided, StepDecision::Held);
}

#[test]
fn fixtures_and_rows_that_are_wrong_say_so() {
    let complaints = |text: &str, fixtures: &[(&str, &str)]| {
        let fixtures = fixtures.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let (_, _, complaints) = load(ScenarioFiles {
            scenarios: vec![("a.yaml".into(), text.into())],
            fixtures,
            ..ScenarioFiles::default()
        });
        let line = |c: &atoll::diag::Diagnostic| {
            format!("{} {} | {}", c.code, c.message, c.help.as_deref().unwrap_or_default())
        };
        complaints.iter().map(line).collect::<Vec<_>>()
    };
    let one = "\nsteps: [{ request: { method: GET, path: / }, assert: { status: 200 } }]\n";
    assert_eq!(
        complaints(&format!("id: a\nfixtures: [logn]{one}"), &[("fixtures/login.yaml", "setup: []")]),
        ["E0716 unknown fixture `logn` | did you mean `login`?"]
    );
    assert_eq!(
        complaints(&format!("id: a\nfixtures: [login]{one}"), &[]),
        ["E0716 unknown fixture `login` | create `fixtures/login.yaml` next to the scenarios"]
    );
    assert_eq!(
        complaints(&format!("id: a\nfixtures: [x]{one}"), &[("fixtures/x.yaml", "setups: []")])[0],
        "E0702 a fixture has no key `setups` | did you mean `setup`?"
    );
    assert_eq!(
        complaints(&format!("id: a\nfor_each: []{one}"), &[]),
        ["E0710 `for_each` has 0 rows; from 1 to 1000 are allowed | "]
    );
    // Rows of the scenario and rows of its steps multiply.
    let rows = |count: usize| (0..count).map(|n| format!("{{n: {n}}}")).collect::<Vec<_>>().join(", ");
    let step = "for_each: [ROWS]\n  exec: { command: 'echo {n}' }\n  expect: x";
    let many = |own: usize, inner: usize| {
        let step = step.replace("ROWS", &rows(inner)).replace("{n: ", "{m: ").replace("{n}", "{m}");
        complaints(&format!("id: a\nfor_each: [{}]\nsteps:\n- {step}\n", rows(own)), &[])
    };
    assert!(many(20, 1_000).iter().all(|complaint| !complaint.starts_with("E0710")), "{:?}", many(20, 1_000));
    assert_eq!(
        many(21, 1_000),
        [
            "E0710 21 rows of 1000 steps are more than 20000 steps | use fewer rows, or split the scenario into several files"
        ]
    );
    let both =
        "id: a\nsteps:\n- request: { method: GET, path: '/{$uid}' }\n  retry: {}\n  until: { status: 200 }\n";
    let found = complaints(both, &[]);
    assert!(
        found[0].contains("`{$uid}` has no value: `$uid` is not a generated value | did you mean `{$uuid}`?"),
        "{found:?}"
    );
    assert!(found[1].starts_with("E0710 a step can have `retry` or `until`, not both"), "{found:?}");
    let step = |more: &str| {
        complaints(
            &format!(
                "id: a\nsteps:\n- exec: {{ command: ls }}\n  expect: x\n  {more}\n- exec: {{ command: ls }}\n  expect: x\n"
            ),
            &[],
        )
    };
    assert_eq!(step("when: { stat: ok }"), ["W0701 no step captures `stat`, which this step depends on | "]);
    assert!(step("when: { a-b: 1 }")[0].contains("`a-b` is not a variable"));
    assert!(step("when: {}")[0].contains("`when` is empty"));
    assert!(step("when: { a: { is: 1 } }")[1].contains("`$.a` has no key `is`"));
    assert!(step("repeat: 0")[0].contains("from 1 to 100000"));
    assert!(step("assert: { exit_code: 0, duration: { p42: <1s } }")[0].contains("no key `p42`"));
    let all = complaints(
        "id: a\nvariables: { v: 1 }\nsteps:\n- { when: { v: 1 }, exec: { command: ls }, expect: x }\n",
        &[],
    );
    assert!(all[0].contains("every step has a condition"), "{all:?}");
}

#[tokio::test]
async fn races_are_counted() {
    let seen = in_shop(&steps(
        "
- parallel:
  - times: 10
    request: { method: GET, path: /job }
  - request: { method: GET, path: /items/999 }
  assert:
    count: 11
    json:
      $.outcomes: { equals: { '200': 10, '404': 1 } }
      $.results[0].body.tries: { type: integer }
      $.slowest_ms: { schema: { maximum: 10000 } }
      $.p95_ms: { type: integer }
      $.per_second: { schema: { minimum: 1 } }
",
    ))
    .await;
    assert_eq!(decided(&seen), [StepDecision::Held], "{:#?}", seen.steps[0].assertions);
    let tries: Vec<u64> =
        (0..10).map(|at| result(&seen, 0)["results"][at]["body"]["tries"].as_u64().unwrap()).collect();
    let mut sorted = tries.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=10).collect::<Vec<_>>(), "each was served once: {tries:?}");
    assert!(
        seen.steps[0]
            .sent
            .as_ref()
            .unwrap()
            .text
            .starts_with("At once:\n10 ×\nGET /job\n1 ×\nGET /items/999")
    );
}

#[tokio::test]
async fn what_is_done_at_once_overlaps_and_a_broken_one_is_told() {
    // Each waits for the file that the other one creates.
    let dir = tempfile::tempdir().unwrap();
    let shell = LocalShell { clock: QuickClock::default() };
    let scenario = steps(
        "
- parallel:
  - exec: { command: 'touch {dir}/a; until [ -e {dir}/b ]; do :; done; echo a' }
  - exec: { command: 'touch {dir}/b; until [ -e {dir}/a ]; do :; done; echo b' }
  - exec: { command: 'exit 3' }
  - request: { method: GET, path: / }
  assert: { json: { $.outcomes: { equals: { '0': 2, '3': 1, error: 1 } } } }
",
    );
    let seen =
        play(&scenario, Some("http://127.0.0.1:1"), Some(&shell), &dir.path().display().to_string()).await;
    assert_eq!(decided(&seen), [StepDecision::Held], "{}", crate::scenario::brief(&seen.steps[0]));
}

#[tokio::test]
async fn a_step_is_skipped_where_its_condition_does_not_hold() {
    let seen = in_shop(&read(
        "
id: when
steps:
- request: { method: GET, path: /job }
  assert: { status: 200 }
  capture: [{ name: code, source: status }, { name: state, jsonpath: $.state }]
- description: Wait for it
  when: { state: { matches: '^(queued|running)$' }, code: 200 }
  request: { method: GET, path: /job }
  assert: { json: { $.tries: 2 } }
- description: Mend it
  when: { state: broken }
  request: { method: GET, path: /nowhere }
  assert: { status: 200 }
- request: { method: GET, path: /job }
  assert: { json: { $.tries: 3 } }
teardown:
- when: { made: { exists: true } }
  request: { method: DELETE, path: '/items/{made}' }
",
    ))
    .await;
    assert_eq!(decided(&seen), [StepDecision::Held; 3]);
    let places: Vec<_> = seen.steps.iter().map(|step| (step.index, step.line)).collect();
    assert_eq!(places, [(0, 4), (1, 7), (2, 15)], "an index counts only the steps that were run");
    let skipped: Vec<_> = seen.skipped.iter().map(|skip| (skip.list.as_str(), skip.why.as_str())).collect();
    assert_eq!(
        skipped,
        [("steps", "state equals \"broken\" does not hold"), ("teardown", "made exists does not hold")]
    );
}

#[tokio::test]
async fn a_step_is_repeated_and_its_times_are_looked_at_as_a_whole() {
    let seen = in_shop(&steps(
        "
- request: { method: GET, path: /job }
  repeat: 20
  assert: { status: 200, duration: { p50: <5s, p95: <5s, mean: <5s, max: <5s } }
- request: { method: GET, path: /job }
  assert: { json: { $.tries: 21 } }
- request: { method: GET, path: /job }
  repeat: 5
  assert: { json: { $.tries: 22 }, duration: { p99: '>1h' } }
- request: { method: GET, path: /job }
  assert: { json: { $.tries: 24 } }
- request: { method: GET, path: /slow }
  repeat: 3
  assert: { duration: { p50: <1ms } }
",
    ))
    .await;
    let states = [
        StepDecision::Held,
        StepDecision::Held,
        StepDecision::Failed,
        StepDecision::Held,
        StepDecision::Failed,
    ];
    assert_eq!(decided(&seen), states, "{}", crate::scenario::told(&seen));
    assert_eq!(seen.steps[0].assertions.len(), 5);
    let bound = &seen.steps[0].assertions[2].assert;
    assert_eq!(bound, "duration p95 <5s");
    assert_eq!(seen.steps[2].assertions.len(), 1, "it ends with the first that fails");
    assert_eq!(seen.steps[4].assertions[0].actual, json!("700ms"));
}

#[tokio::test]
async fn made_up_values_stay_where_they_are_named() {
    let scenario = steps(
        "
- request: { method: POST, path: /echo, body: { a: '{$uuid:order}', b: '{$uuid}', text: '\\{$uuid}' } }
  capture: [{ name: body, jsonpath: $.body }]
- request: { method: GET, path: '/echo?id={$uuid:order}' }
  expect: '{body} and {$random_email:ann} at {$now}'
",
    );
    let seen = in_shop(&scenario).await;
    let body: Value = serde_json::from_str(result(&seen, 0)["body"].as_str().unwrap()).unwrap();
    assert_eq!(result(&seen, 1)["query"][0][1], body["a"]);
    assert_ne!(body["a"], body["b"]);
    assert_eq!(body["text"], "{$uuid}");
    assert!(seen.steps[1].expect.contains("@example.com at 1970-01-01T"), "{}", seen.steps[1].expect);
}
