#![expect(clippy::disallowed_methods, reason = "tests write scenario directories")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atoll::scenario::load;
use atoll::verb::{Class, Context, DynVerb, Failure};
use atoll::verbs::scenario_load::ScenarioLoad;
use serde_json::{Value, json};

use super::QuickClock;

/// The diagnostics of one file, as `line:column code message`.
fn complaints(text: &str) -> Vec<String> {
    let (_, sources, complaints) = load(vec![("x.yaml".into(), text.into())]);
    let line = |complaint: &atoll::diag::Diagnostic| {
        let span = complaint.span().unwrap();
        let at = sources.position(span.source, span.start);
        let help = complaint.help.as_ref().map_or_else(String::new, |help| format!(" | {help}"));
        format!("{}:{} {} {}{help}", at.line, at.column, complaint.code, complaint.message)
    };
    complaints.iter().map(line).collect()
}

fn step(text: &str) -> Vec<String> {
    complaints(&format!("id: x\nsteps:\n- {}\n", text.replace('\n', "\n  ")))
}

#[test]
fn broken_yaml_says_where() {
    for (text, place) in [
        ("id: x\nsteps: [1, 2\nother: 3\n", "3:6 E0701"),
        ("id: x\nid: y\nsteps: []\n", "2:1 E0701"),
        ("id: \"x\nsteps:\n", "2:1 E0701"),
        ("id: x\n\tsteps: 1\n", "1:5 E0701"),
        ("id: x: y\n", "1:6 E0701"),
    ] {
        let found = complaints(text);
        assert!(found.len() == 1 && found[0].starts_with(place), "{text:?}: {found:?}");
    }
}

#[test]
fn everything_that_is_wrong_with_a_file_is_said_at_once() {
    let found = complaints(
        "
descripton: a
weight: heavy
tier: high
setup: { a: 1 }
steps:
- expect: nothing is done
- request: { method: FETCH, path: /x, boddy: 1 }
  exec: { command: ls }
- tui: { timeout: 5s }
- retry: 3
  delay: 30
  request: { method: GET, path: '', headers: [a] }
- exec: { command: ls, timeout: soon, files: { a.txt: x } }
- 7
",
    );
    assert_eq!(
        found,
        [
            "2:1 E0702 a scenario has no key `descripton` | did you mean `description`?",
            "2:1 E0704 `id` is missing: a scenario needs it",
            "3:9 E0703 `weight` is a number, not text",
            "4:7 E0703 `tier` is a whole number, not text",
            "5:8 E0703 `setup` is a list, not a mapping",
            "7:3 E0706 this step has no action | a step has one of these actions: request, exec, browser, grpc, ws, tui, parallel",
            "8:3 W0705 this step has neither `expect` nor `assert`",
            "9:3 E0706 a step has one action, but this one has `request` and `exec` | split it into two steps",
            "10:3 W0705 this step has neither `expect` nor `assert`",
            "11:3 W0705 this step has neither `expect` nor `assert`",
            "11:10 E0703 `retry` is a mapping, not a number",
            "12:10 E0709 `delay` is not a duration: `30` has no unit: write `30s` or `30ms`",
            "13:33 E0704 `path` is empty",
            "13:46 E0703 `headers` is a mapping, not a list",
            "14:3 W0705 this step has neither `expect` nor `assert`",
            "14:33 E0709 `timeout` is not a duration: `soon` is not a duration such as `500ms` or `1m30s`",
            "14:48 E0710 the file path `a.txt` is not absolute | write `/a.txt`",
            "15:3 E0703 a step is a mapping, not a number",
        ]
    );
}

#[test]
fn actions_and_captures_are_checked_before_anything_runs() {
    for (text, wanted) in [
        ("request: { method: FETCH, path: / }\nexpect: x", "E0710 `FETCH` is not an HTTP method"),
        (
            "request: { method: GET, path: / }\nexpect: x\ncapture: [{ jsonpath: $.a }]",
            "E0704 `name` is missing: a capture needs it",
        ),
        (
            "request: { method: GET, path: / }\nexpect: x\ncapture: [{ name: a }]",
            "E0711 `jsonpath` or `source` is missing",
        ),
        (
            "request: { method: GET, path: / }\nexpect: x\ncapture: [{ name: a-b, source: body }]",
            "E0711 `a-b` cannot",
        ),
        (
            "request: { method: GET, path: / }\nexpect: x\ncapture: [{ name: a, source: stdout }]",
            "E0711 `request` has no source `stdout` | known here: status, body, header:",
        ),
        (
            "exec: { command: ls }\nexpect: x\ncapture: [{ name: a, source: stdot }]",
            "E0711 `exec` has no source `stdot` | did you mean `stdout`?",
        ),
        ("exec: { command: ls }\nexpect: x\ncapture: [{ name: a, jsonpath: '$.a[' }]", "E0712 `$.a[` is"),
        ("grpcs: { service: x }\nexpect: x", "E0702 a step has no key `grpcs` | did you mean `grpc`?"),
        ("grpc: { service: x }\nexpect: x", "E0704 `method` is missing: a gRPC call needs it"),
        (
            "grpc: { stream: {} }\nexpect: x",
            "E0704 `service` is missing: a gRPC call needs it, or the `stream.id`",
        ),
        ("grpc: { stream: { id: a }, body: {} }\nexpect: x", "E0710 `body` has no effect without `service`"),
        (
            "grpc: { stream: { id: a, receive: { conut: 2 } } }\nexpect: x",
            "E0702 `receive` has no key `conut` | did you mean `count`?",
        ),
        (
            "grpc: { service: x, method: y }\nassert: { status: NOTFOUND }",
            "E0714 `NOTFOUND` is not a gRPC status | did you mean `NOT_FOUND`?",
        ),
        ("request:\nexpect: x", "E0703 `request` is a mapping, not nothing"),
    ] {
        let found = step(text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:#?}");
    }
}

#[test]
fn browser_steps_are_checked_before_anything_runs() {
    for (text, wanted) in [
        ("{ action: tap, selector: a }", "`tap` is not a browser action | known here: navigate, click"),
        ("{ selector: a }", "`action` is missing: a browser step needs it"),
        ("{ action: navigate }", "`url` is missing: `navigate` needs it"),
        ("{ action: fill, selector: a }", "`value` is missing: `fill` needs it"),
        ("{ action: press, key: Contrl+A }", "`Contrl` is not a modifier key"),
        ("{ action: press }", "`key` is missing: `press` needs it | write `key: Enter`"),
        (
            "{ action: click, selector: 'role=button[name=Save]' }",
            "`role=button[name=Save]` is not a role selector",
        ),
        ("{ action: hover, selector: a, value: x }", "`hover` has no key `value` | its keys are selector"),
        (
            "{ action: wait, count: 1 }",
            "`wait` has no condition: write `selector`, `text`, `text_absent` or `url`",
        ),
        ("{ action: assert, selector: a, count: many }", "`count` is a number, not text"),
        ("{ action: click, selector: a, timeout: 3 }", "`timeout` is not a duration"),
        ("{ action: click, selektor: a }", "`browser` has no key `selektor` | did you mean `selector`?"),
    ] {
        let found = step(&format!("browser: {text}\nexpect: x"));
        assert!(found.iter().any(|line| line.contains(wanted)), "{text}: {found:#?}");
    }
    // Existing files have unused keys of actions, and assertions without `expect`.
    for fine in [
        "browser: { action: click, selector: a, url: /x, text: b }\nexpect: x",
        "browser: { action: assert, selector: a, text: b, text_absent: c, count: 0, timeout: 2s }",
        "browser: { action: assert, selector: a }\nexpect: x",
        "browser: { action: fill, selector: a, value: '' }\nexpect: x",
    ] {
        assert_eq!(step(fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn assertions_are_checked_before_anything_runs() {
    let request = [
        ("{ status: 999 }", "E0714 999 is not an HTTP status"),
        ("{ status: 2XX }", "E0714 \"2XX\" is not an HTTP status"),
        (
            "{ json: { $.a: { b: 1 } } }",
            "E0702 the assertion on `$.a` has no key `b` | to compare with a whole object",
        ),
        ("{ json: [{ equals: 1 }] }", "E0704 `path` is missing in this `json` assertion"),
        ("{ json: { a.b: 1 } }", "E0712 `a.b` is not a JSONPath, which begins with `$`, as in `$.a.b`"),
        ("{ json: { $.a: { type: text } } }", "E0714 `text` is not a JSON type"),
        ("{ json: { $.a: { schema: { type: 7 } } } }", "E0713 `schema` is not a usable JSON Schema"),
        ("{ json: { $.a: { length: long } } }", "E0703 `length` is a number or a bound"),
        ("{ header: { X: { exists: maybe } } }", "E0703 `exists` is true or false"),
    ];
    let exec = [
        ("{ status: 200 }", "E0714 answers to `exec` steps have no `status` | `exec` steps have: exit_code"),
        ("{ exit_code: one }", "E0703 `exit_code` is a whole number or a list of them"),
        ("{ stdout: { matches: '(' } }", "E0713 invalid regular expression: unclosed group"),
        ("{ stdout: { is: x } }", "E0702 `stdout` has no key `is` | known here: equals"),
        ("{ stdout: {} }", "E0714 `stdout` has no comparison"),
        ("{ duration: '<5' }", "E0709 `duration` is not a bound: `5` has no unit"),
        ("{}", "E0714 `assert` is empty"),
    ];
    let of = |action: &'static str| move |(assert, wanted)| (format!("{action}\nassert: {assert}"), wanted);
    let request = request.into_iter().map(of("request: { method: GET, path: / }"));
    for (text, wanted) in request.chain(exec.into_iter().map(of("exec: { command: ls }"))) {
        let found = step(&text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:#?}");
    }
}

#[test]
fn the_order_of_steps_is_looked_at() {
    let found = complaints(
        "
id: x
steps:
- request: { method: GET, path: '/a/{user_id}' }
  expect: 'the braces of {prose} mean nothing'
  capture: [{ name: user_id, jsonpath: $.id }]
- request: { method: GET, path: '/a/{{user_id}}', body: { of: ['{usr_id}'] } }
  expect: 'user {user_id}'
  capture: [{ name: user_id, jsonpath: $.id }]
- exec: { command: 'awk {print} ${HOME} {user_id} {user_idd}' }
---
id: second
",
    );
    assert_eq!(
        found,
        [
            "4:37 W0701 `{user_id}` has no value: no earlier step captures `user_id` | write `\\{user_id}` for the literal text, or set the variable: `--variable user_id=VALUE`",
            "5:26 W0701 `{prose}` has no value: no earlier step captures `prose` | write `\\{prose}` for the literal text, or set the variable: `--variable prose=VALUE`",
            "7:37 W0703 `{{user_id}}` is read as `{user_id}`",
            "7:65 W0701 `{usr_id}` has no value: no earlier step captures `usr_id` | did you mean `{user_id}`?",
            "9:21 W0704 `user_id` hides an earlier capture of the same name",
            "10:3 W0705 this step has neither `expect` nor `assert`",
            "10:51 W0701 `{user_idd}` is not replaced: no earlier step captures `user_idd` | did you mean `{user_id}`?",
            "12:1 E0718 a file has one scenario, and this is a second YAML document",
        ]
    );
}

#[test]
fn tiers_are_inferred_as_others_do() {
    let tier = |extra: &str, steps: &str| {
        let text = format!("id: x\n{extra}steps:\n{steps}");
        load(vec![("x.yaml".into(), text)]).0[0].tier
    };
    let request = "- { request: { method: GET, path: / } }\n";
    let exec = "- { exec: { command: ls } }\n";
    let keeping =
        "- { exec: { command: ls }, capture: [{ name: a, source: stdout }, { name: b, source: stdout }] }\n";
    assert_eq!(tier("", &request.repeat(3)), 1);
    assert_eq!(tier("", &request.repeat(4)), 2);
    assert_eq!(tier("", &request.repeat(7)), 3);
    assert_eq!(tier("", &format!("{request}{exec}")), 2);
    assert_eq!(tier("", keeping), 2);
    assert_eq!(tier("", &keeping.repeat(3)), 3);
    assert_eq!(tier("tier: 5\n", request), 5);
    assert_eq!(tier("tier: 0\n", &"- { exec: { command: ls }, retry: {} }\n".repeat(2)), 2);
}

async fn verb(dir: Value, project: &Path) -> Result<Value, Failure> {
    let cx = Context::for_test(PathBuf::from(project), Arc::new(QuickClock::default()));
    let verb: Arc<dyn DynVerb> = Arc::new(ScenarioLoad);
    verb.run(json!({ "dir": dir }), cx).await.map(|output| output.value)
}

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

const GOOD: &[u8] = b"id: b\nsteps: [{ exec: { command: ls }, expect: x }]\n";
const ALSO: &[u8] = b"id: a\nsteps: [{ exec: { command: ls }, expect: x }]\n";

#[tokio::test]
async fn a_directory_is_read_in_the_order_of_ids() {
    let dir = directory(&[
        ("s/1.yaml", GOOD),
        ("s/2.yml", ALSO),
        ("s/.hidden/3.yaml", GOOD),
        ("s/notes.txt", b"x"),
        ("s/4.YAML", GOOD),
    ]);
    let out = verb(json!("s"), dir.path()).await.unwrap();
    assert_eq!((out["count"].as_u64(), &out["scenarios"][0]["id"]), (Some(2), &json!("a")));
    assert_eq!(out["scenarios"][1]["file"], "s/1.yaml");
    assert_eq!(out["scenarios"][1]["steps"][0]["line"], 2);
    let absolute = json!({ "path": dir.path().join("s"), "digest": "…", "files": ["1.yaml"] });
    let again = verb(absolute, Path::new("/")).await.unwrap();
    assert_eq!((again["count"].as_u64(), again["digest"] == out["digest"]), (Some(2), false), "names differ");
    let same = verb(json!({ "path": "s" }), dir.path()).await.unwrap();
    assert_eq!(same["digest"], out["digest"]);
    let verb: Arc<dyn DynVerb> = Arc::new(ScenarioLoad);
    let schema = atoll::schema::Schema::compile("out", verb.out_schema()).unwrap();
    assert_eq!(schema.violations(&out), []);
}

#[tokio::test]
async fn what_is_given_from_outside_is_no_mistake() {
    let text: &[u8] = b"id: a\nsteps: [{ request: { method: GET, path: '/{token}' }, expect: x }]\n";
    let dir = directory(&[("s/a.yaml", text)]);
    let refused = verb(json!("s"), dir.path()).await.unwrap_err();
    assert!(
        refused.message.contains("s/a.yaml:2:43: error[E0717]: `{token}` never has a value"),
        "{refused:?}"
    );
    let cx = Context::for_test(PathBuf::from(dir.path()), Arc::new(QuickClock::default()));
    let load: Arc<dyn DynVerb> = Arc::new(ScenarioLoad);
    let out = load.run(json!({ "dir": "s", "given": ["token"] }), cx).await.unwrap().value;
    assert_eq!(out["warnings"], json!([]));
}

#[tokio::test]
async fn directories_in_it_are_read_too() {
    let with = |id: &str, fixture: &str| {
        format!("id: {id}\nfixtures: [{fixture}]\nsteps: [{{ exec: {{ command: ls }}, expect: x }}]\n")
    };
    let (deep, deeper) = (with("deep", "login"), with("deeper", "cart"));
    let fixture: &[u8] = b"setup: [{ exec: { command: ls } }]\n";
    let dir = directory(&[
        ("s/b.yaml", GOOD),
        ("s/shop/deep.yaml", deep.as_bytes()),
        ("s/shop/carts/deeper.yml", deeper.as_bytes()),
        ("s/fixtures/login.yaml", fixture),
        ("s/shop/fixtures/more/cart.yaml", fixture),
        ("s/.kept/linked", ALSO),
    ]);
    std::os::unix::fs::symlink(".kept/linked", dir.path().join("s/link.yaml")).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("s/circle")).unwrap();
    let out = verb(json!("s"), dir.path()).await.unwrap();
    let files: Vec<_> = out["scenarios"].as_array().unwrap().iter().map(|it| it["file"].clone()).collect();
    assert_eq!(files, ["s/link.yaml", "s/b.yaml", "s/shop/deep.yaml", "s/shop/carts/deeper.yml"]);
    assert_eq!(out["scenarios"][3]["setup"][0]["action"]["exec"]["command"], "ls");
    std::fs::write(dir.path().join("s/shop/twice.yaml"), GOOD).unwrap();
    std::fs::write(dir.path().join("s/shop/fixtures/login.yaml"), fixture).unwrap();
    let failure = verb(json!("s"), dir.path()).await.unwrap_err();
    assert!(failure.message.contains("the id `b` is already used in s/b.yaml"), "{failure}");
    assert!(failure.message.contains("there are two fixtures `login`"), "{failure}");
}

/// Links that lead out of the directory, pipes and dangling links are errors; none of them is opened.
#[tokio::test]
async fn what_is_no_file_of_the_directory_is_a_mistake() {
    let dir = directory(&[("s/b.yaml", GOOD), ("elsewhere/linked.yaml", ALSO)]);
    let s = dir.path().join("s");
    std::os::unix::fs::symlink("../elsewhere/linked.yaml", s.join("out.yaml")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere/linked.yaml"), s.join("far.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", s.join("dangling.yaml")).unwrap();
    for pipe in ["pipe.yaml", "passed-over"] {
        assert!(std::process::Command::new("mkfifo").arg(s.join(pipe)).status().unwrap().success());
    }
    let failure = verb(json!("s"), dir.path()).await.unwrap_err();
    for line in [
        "4 errors in the scenarios of s\n",
        "s/out.yaml:1:1: error[E0715]: the file cannot be read: it leads out of the directory",
        "s/far.yaml:1:1: error[E0715]: the file cannot be read: it leads out of the directory",
        "s/dangling.yaml:1:1: error[E0715]: the file cannot be read: No such file",
        "s/pipe.yaml:1:1: error[E0715]: the file cannot be read: it is not a regular file",
    ] {
        assert!(failure.message.contains(line), "{line}: {failure}");
    }
    // Links next to a single file are errors, too.
    std::fs::write(s.join("one.yaml"), GOOD).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), s.join("fixtures")).unwrap();
    let out = verb(json!("s/one.yaml"), dir.path()).await.unwrap();
    assert_eq!(out["count"], 1);
}

/// A directory that is replaced by a link to the outside while it is read never exposes files there.
#[tokio::test]
async fn a_swapped_directory_shows_nothing_of_the_outside() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let dir = directory(&[("s/a/b.yaml", GOOD), ("outside/secret.yaml", ALSO)]);
    let s = dir.path().join("s");
    std::os::unix::fs::symlink(dir.path().join("outside"), s.join("link")).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let (ended, place) = (end.clone(), s.clone());
    let attacker = std::thread::spawn(move || {
        let mut swaps = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            let moves = [("a", "aside"), ("link", "a"), ("a", "link"), ("aside", "a")];
            let moved = moves.map(|(from, to)| std::fs::rename(place.join(from), place.join(to)).is_ok());
            swaps += u64::from(moved == [true; 4]);
        }
        swaps
    });
    for _ in 0..300 {
        let text = match verb(json!("s"), dir.path()).await {
            Ok(out) => out.to_string(),
            Err(failure) => failure.to_string(),
        };
        assert!(!text.contains("secret"), "{text}");
    }
    end.store(true, Ordering::Relaxed);
    assert!(attacker.join().unwrap() > 100);
}

#[tokio::test]
async fn one_broken_file_fails_the_load_with_every_complaint() {
    let dir = directory(&[
        ("a.yaml", GOOD),
        ("b.yaml", GOOD),
        ("c.yaml", b"id: c\nsteps: [\n"),
        ("d.yaml", b"id: d\nsteps:\n- { requst: {} }\n- expect: x\n"),
        ("e.yaml", b"\xFFid: e"),
        ("f.yaml", b"# nothing\n"),
    ]);
    let failure = verb(json!("."), dir.path()).await.unwrap_err();
    assert_eq!(failure.class, Class::Permanent);
    let message = failure.message.replace("./", "");
    for line in [
        "6 errors in the scenarios of .\n",
        "e.yaml:1:1: error[E0715]: the file is not UTF-8 text: byte 0 is invalid",
        "b.yaml:1:5: error[E0707]: the id `b` is already used in",
        "c.yaml:",
        "d.yaml:4:3: error[E0706]: this step has no action",
        "d.yaml:3:5: error[E0702]: a step has no key `requst`\n  help: did you mean `request`?",
        "f.yaml:1:1: error[E0708]: the file is empty",
    ] {
        assert!(message.contains(line), "{line}\n---\n{message}");
    }
    assert_eq!(failure.detail["diagnostics"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn nothing_to_check_is_an_error() {
    let dir = directory(&[("notes.txt", b"x")]);
    let failure = verb(json!("."), dir.path()).await.unwrap_err();
    assert!(failure.message.contains("error[E0708]: there are no scenario files"), "{}", failure.message);
    let failure = verb(json!("missing"), dir.path()).await.unwrap_err();
    assert!(failure.message.starts_with("the scenarios missing cannot be read: No such file"));
    let failure = verb(json!(7), dir.path()).await.unwrap_err();
    assert!(failure.message.starts_with("`scenario_load` cannot use its input"), "{}", failure.message);
}

#[test]
fn hostile_texts_are_complaints_and_end() {
    let deep = format!("id: x\nsteps: {}", "[".repeat(5_000));
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b]\n\
        d: &d [*c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e]\n\
        g: [*f, *f, *f, *f, *f, *f, *f]\n";
    for text in [
        deep.as_str(),
        bomb,
        "\u{0}",
        "--- !!binary x",
        "- 1\n- 2",
        "just text",
        "{{{{",
        "*unknown",
        "? [a]\n: b\n",
    ] {
        let (scenarios, _, found) = load(vec![("x.yaml".into(), text.into())]);
        assert!(scenarios.is_empty() && !found.is_empty(), "{text:.40}");
    }
}

#[test]
fn a_thousand_files() {
    let text = "steps: [{ request: { method: GET, path: /items }, assert: { status: 200 } }]";
    let files = (0..1_000).map(|n| (format!("{n}.yaml"), format!("id: s{:04}\n{text}\n", 999 - n)));
    let (scenarios, _, complaints) = load(files.collect::<Vec<_>>());
    assert_eq!((scenarios.len(), complaints.len()), (1_000, 0));
    assert!(scenarios.is_sorted_by(|a, b| a.id < b.id));
}

#[test]
fn all_files_together_are_bounded() {
    let rows: Vec<String> = (0..1000).map(|n| format!("- {{ n: {n} }}\n")).collect();
    let rows = rows.concat();
    let steps = "- request: { method: GET, path: '/{n}' }\n  assert: { status: 200 }\n".repeat(20);
    let file = |n: usize| (format!("{n}.yaml"), format!("id: s{n}\nfor_each:\n{rows}steps:\n{steps}"));
    let messages = |files: Vec<(String, String)>| {
        let (scenarios, _, complaints) = load(files);
        let errors = complaints.iter().filter(|one| one.severity == atoll::diag::Severity::Error);
        (scenarios.len(), errors.map(|one| one.message.clone()).collect::<Vec<_>>())
    };
    assert_eq!(messages((0..5).map(file).collect()), (5_000, Vec::new()));
    let (read, errors) = messages((0..9).map(file).collect());
    assert_eq!(errors, ["the scenario files have more than 100000 steps, counting all rows"]);
    assert_eq!(read, 5_000, "the file that is too much is not read, nor are those after it");
    let long = "x".repeat(200_000);
    let steps = format!(
        "- request: {{ method: POST, path: '/{{n}}', body: '{long}' }}\n  assert: {{ status: 200 }}\n"
    );
    let (_, errors) = messages(vec![("x.yaml".into(), format!("id: x\nfor_each:\n{rows}steps:\n{steps}"))]);
    assert_eq!(errors, ["1000 rows of 1 steps are more than 128 MiB"]);
}
