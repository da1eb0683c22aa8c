//! Lint: one file for every rule, and no findings in correct files.

use std::collections::BTreeSet;

use atoll::diag::{Code, SourceMap};
use atoll::scenario::{ScenarioFiles, lint};

const GOOD: &str = "
id: good
description: A client finds an item
type: api
steps:
- description: Make it
  request: { method: POST, path: /items, body: { name: pear } }
  expect: 201 and the item
  capture: [{ name: id, jsonpath: $.id }]
- description: Find it
  request: { method: GET, path: '/items/{id}' }
  assert: { status: 200, json: { $.name: pear } }
";

fn rules(files: &[(&str, &str)]) -> Vec<&'static str> {
    let scenarios: Vec<_> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let (_, found) = lint::scenarios(&ScenarioFiles::from(scenarios));
    found.iter().map(|complaint| complaint.code.number()).collect()
}

/// The findings of a correct scenario with this as its only step.
fn step(text: &str) -> Vec<&'static str> {
    rules(&[(
        "a.yaml",
        &format!("id: a\nsteps:\n- description: d\n  expect: x\n  {}\n", text.replace('\n', "\n  ")),
    )])
}

/// The findings of a correct scenario with these lines at the top.
fn top(text: &str) -> Vec<&'static str> {
    let steps = "steps: [{ description: d, expect: x, request: { method: GET, path: / } }]\n";
    rules(&[("a.yaml", &format!("{text}\n{steps}"))])
}

#[test]
fn what_is_sound_has_no_complaints() {
    assert!(rules(&[("good.yaml", GOOD)]).is_empty(), "{:?}", rules(&[("good.yaml", GOOD)]));
}

#[test]
fn every_rule_is_found_by_its_number() {
    let twice = "capture: [{ name: a, source: status }, { name: a, source: status }]";
    let cases: Vec<(&str, Vec<&'static str>)> = vec![
        ("SC001", rules(&[("a.yaml", "# nothing\n")])),
        ("SC002", rules(&[("a.yaml", "id: [\n")])),
        ("SC004", rules(&[("a.yaml", "- id: a\n")])),
        ("SC005", top("description: x")),
        ("SC006", top("id: ''")),
        ("SC007", top("id: A b")),
        ("SC008", top("id: a\ntype: web")),
        ("SC009", top("id: a\nweight: heavy")),
        ("SC010", top("id: a\nweight: 0")),
        ("SC011", rules(&[("a.yaml", "id: a\n")])),
        ("SC012", rules(&[("a.yaml", "id: a\nsteps: []\n")])),
        ("SC013", top("id: a\nsetup: { a: 1 }")),
        ("SC014", rules(&[("a.yaml", "id: a\nsteps: [7]\n")])),
        ("SC015", rules(&[("a.yaml", "id: a\nsteps: [{ expect: x, description: d }]\n")])),
        ("SC016", rules(&[("a.yaml", "id: a\nsteps: [{ description: d, exec: { command: ls } }]\n")])),
        ("SC017", rules(&[("a.yaml", "id: a\nsteps: [{ expect: x, exec: { command: ls } }]\n")])),
        ("SC018", step("request: x")),
        ("SC019", step("request: { path: / }")),
        ("SC020", step("request: { method: FETCH, path: / }")),
        ("SC021", step("request: { method: GET }")),
        ("SC022", step("exec: { command: ls }\ncapture: { name: a }")),
        ("SC023", step("exec: { command: ls }\ncapture: [a]")),
        ("SC024", step("exec: { command: ls }\ncapture: [{ source: stdout }]")),
        ("SC025", step("exec: { command: ls }\ncapture: [{ name: '', source: stdout }]")),
        ("SC026", step("exec: { command: ls }\ncapture: [{ name: a-b, source: stdout }]")),
        ("SC027", step(&format!("request: {{ method: GET, path: / }}\n{twice}"))),
        ("SC028", step("exec: { command: ls }\ncapture: [{ name: a }]")),
        ("SC029", step("exec: { command: ls }\ncapture: [{ name: a, jsonpath: a.b }]")),
        ("SC030", step("request: { method: GET, path: '/{nobody}' }")),
        ("SC031", rules(&[("a.yaml", GOOD), ("b.yaml", GOOD)])),
        ("SC032", step("exec: { command: ls }\nrequest: { method: GET, path: / }")),
        ("SC033", step("exec: ls")),
        ("SC034", step("exec: { stdin: x }")),
        ("SC035", step("exec: { command: '' }")),
        ("SC036", step("exec: { command: ls, env: [a] }")),
        ("SC037", step("exec: { command: ls, timeout: soon }")),
        ("SC038", step("exec: { command: ls }\ncapture: [{ name: a, source: body }]")),
        ("SC039", step("parallel: [{ exec: { command: ls } }]\ncapture: [{ name: a, source: body }]")),
        ("SC040", step("browser: x")),
        ("SC041", step("browser: { url: / }")),
        ("SC042", step("browser: { action: clik }")),
        ("SC043", step("browser: { action: navigate }")),
        ("SC044", step("browser: { action: click }")),
        ("SC045", step("browser: { action: fill, value: x }")),
        ("SC046", step("browser: { action: fill, selector: a }")),
        ("SC047", step("browser: { action: assert, text: x }")),
        ("SC048", step("browser: { action: assert, selector: a }")),
        ("SC049", step("browser: { action: navigate, url: /, timeout: 10 }")),
        ("SC050", step("grpc: x")),
        ("SC051", step("grpc: { method: M }")),
        ("SC052", step("grpc: { service: S }")),
        ("SC053", step("grpc: { service: S, method: M, timeout: x }")),
        ("SC054", step("grpc: { service: S, method: M, stream: { messages: x } }")),
        ("SC055", step("grpc: { stream: { id: a, receive: { timeout: x } } }")),
        ("SC060", step("ws: x")),
        ("SC061", step("ws: { send: x }")),
        ("SC062", step("ws: { url: /, receive: { timeout: x } }")),
        ("SC063", step("ws: { url: /, receive: { count: 0 } }")),
        ("SC070", step("tui: x")),
        ("SC071", step("tui: { timeout: 5s }")),
        ("SC072", step("tui: { command: '' }")),
        ("SC073", step("tui: { command: top, timeout: x }")),
        ("SC101", step("exec: { command: ls }").into_iter().chain(vacuous()).collect()),
        ("SC102", top("id: a\ntimeout: 5s\nsetup: [{ delay: 5s, exec: { command: ls } }]")),
        ("SC103", top("id: a\ndescription: AKIAIOSFODNN7EXAMPLE")),
    ];
    for (rule, found) in &cases {
        assert!(found.contains(rule), "{rule} is not among {found:?}");
    }
    let tried: BTreeSet<&str> = cases.iter().map(|(rule, _)| *rule).collect();
    let untried: Vec<_> = Code::ALL
        .iter()
        .map(|code| code.number())
        .filter(|code| code.starts_with("SC") && !tried.contains(code))
        .collect();
    assert!(untried.is_empty(), "no case for {untried:?}");
}

fn vacuous() -> Vec<&'static str> {
    rules(&[(
        "v.yaml",
        "id: v\nsteps: [{ description: d, request: { method: GET, path: /gone }, assert: { status: 404 } }]\n",
    )])
}

#[test]
fn a_scenario_is_vacuous_only_where_doing_nothing_would_satisfy_it() {
    let vacuous = |assert: &str, second: &str| {
        let text = format!(
            "id: v\nsteps:\n- description: a\n  request: {{ method: GET, path: /a }}\n  assert: {assert}\n{second}"
        );
        rules(&[("v.yaml", &text)]).contains(&"SC101")
    };
    assert!(vacuous("{ status: 404 }", ""));
    assert!(vacuous("{ status: 2xx }", ""));
    assert!(vacuous("{ status: [200, 404], body: { not_contains: error } }", ""));
    assert!(!vacuous("{ status: 404, json: { $.error: not found } }", ""));
    assert!(!vacuous(
        "{ status: 404 }",
        "- description: b\n  request: { method: GET, path: /b }\n  assert: { status: 201 }\n"
    ));
    assert!(!vacuous(
        "{ status: 404 }",
        "- description: b\n  request: { method: GET, path: /b }\n  expect: a list\n"
    ));
}

#[test]
fn sockets_calls_screens_and_pages_can_be_vacuous_too() {
    let vacuous = |step: &str| {
        rules(&[("v.yaml", &format!("id: v\nsteps:\n- description: d\n  {}\n", step.replace('\n', "\n  ")))])
            .contains(&"SC101")
    };
    for (empty, full) in [
        (
            "grpc: { service: S, method: M }\nassert: { status: OK }",
            "assert: { json: { $.status: SERVING } }",
        ),
        (
            "grpc: { service: S, method: M }\nassert: { status: UNIMPLEMENTED }",
            "assert: { status: NOT_FOUND }",
        ),
        ("ws: { url: /x }\nassert: { status: 101 }", "assert: { protocol: feed.v2 }"),
        ("ws: { url: /x }\nassert: { status: 404 }", "assert: { status: 401 }"),
        ("ws: { url: /x, receive: {} }\nassert: { count: 0 }", "assert: { count: '>=1' }"),
        ("tui: { command: x }\nassert: { exit_code: 0 }", "assert: { screen: Menu }"),
        (
            "tui: { command: x, assert_absent: Error }",
            "tui: { command: x, wait_for: Menu, assert_absent: Error }",
        ),
        (
            "browser: { action: navigate, url: / }\nassert: { console: { length: 0 } }",
            "assert: { title: Shop }",
        ),
        (
            "browser: { action: assert, selector: li, count: 0 }",
            "browser: { action: assert, selector: li, count: 1 }",
        ),
        (
            "browser: { action: wait, selector: li, hidden: true }\nassert: { text: { not_contains: Error } }",
            "browser: { action: wait, selector: li }\nassert: { text: { not_contains: Error } }",
        ),
    ] {
        assert!(vacuous(empty), "{empty}");
        let full = if full.starts_with("assert") {
            format!("{}\n{full}", empty.lines().next().unwrap())
        } else {
            full.to_owned()
        };
        assert!(!vacuous(&full), "{full}");
    }
    assert!(!vacuous("browser: { action: click, selector: a }\nassert: { text: { not_contains: Error } }"));
    let skipped = "id: v\nvariables: { a: 1 }\nsteps:\n- { description: d, request: { method: GET, path: / }, assert: { status: 404 } }\n- { description: d, when: { a: 2 }, request: { method: GET, path: / }, assert: { status: 201 } }\n";
    assert!(rules(&[("v.yaml", skipped)]).contains(&"SC101"), "a step that may be skipped does not count");
}

#[test]
fn a_placeholder_that_nothing_has_set_is_found_once_and_secrets_are_not_repeated() {
    let text =
        "id: a\nsteps:\n- description: d\n  request: { method: GET, path: '/{nobody}' }\n  expect: x\n";
    assert_eq!(rules(&[("a.yaml", text)]), ["SC030"]);
    let secret = "id: a\ndescription: ghp_0123456789abcdefghijklmnopqrstuvwxyz\nsteps: [{ description: d, expect: x, exec: { command: ls } }]\n";
    let files = ScenarioFiles::from(vec![("a.yaml".to_owned(), secret.to_owned())]);
    let (_, found) = lint::scenarios(&files);
    assert!(found.iter().all(|complaint| !complaint.message.contains("ghp_")), "{found:?}");
    assert_eq!(found[0].code.number(), "SC103");
}

#[test]
fn a_mistake_is_told_once() {
    assert_eq!(step("request: { method: FETCH, path: / }"), ["SC020"]);
    assert_eq!(step("requst: { method: GET, path: / }"), ["SC015", "E0702"], "the intended key is named");
    assert_eq!(top("id: ''"), ["SC006"]);
}

#[test]
fn specifications_have_rules_too() {
    let found = |text: &str| {
        let mut sources = SourceMap::new();
        let found = lint::spec(&mut sources, "spec.md".into(), text.into());
        found.iter().map(|complaint| complaint.code.number()).collect::<Vec<_>>()
    };
    assert_eq!(found("# Shop\n\nSells things.\n\n## Items\n\nMany.\n"), Vec::<&str>::new());
    assert_eq!(found(" \n"), ["S001"]);
    assert_eq!(found("Sells things.\n"), ["S002"]);
    assert_eq!(found("# Shop\n\n## Items\n\nMany.\n"), ["S003"]);
    assert_eq!(found("# Shop\n\nx\n\n## Items\n\n## Carts\n\nx\n"), ["S004"]);
    assert_eq!(
        found("# Shop\n\nx\n\n## Items\n\n### One\n\nx\n"),
        Vec::<&str>::new(),
        "its own sections are text"
    );
    assert_eq!(found("# Shop\n\nx\n\n## Items\n\nx\n\n## Items\n\ny\n"), ["S005"]);
    assert_eq!(found("# Shop\n\nx\n\n```\n## no heading\n"), ["S006"]);
    assert_eq!(found("# Shop\n\nx\n\n~~~\n```\n~~~\n"), Vec::<&str>::new());
}
