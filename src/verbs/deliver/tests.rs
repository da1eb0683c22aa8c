#![expect(clippy::disallowed_methods, reason = "looks at what was delivered")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use globset::GlobSet;
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::verb::DynVerb;

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

    /// The digest of a tree of `files`.
    fn tree(&self, files: &[(&str, &str)]) -> Value {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.put(&*self.cx.blobs, path, text.as_bytes()).unwrap();
        }
        json!(tree.save(&*self.cx.blobs).unwrap().tree)
    }

    async fn run(&self, with: Value) -> Result<Value, Failure> {
        Ok(DynVerb::run(&Deliver, with, self.cx.clone()).await?.value)
    }

    async fn refused(&self, with: Value) -> Failure {
        self.run(with).await.unwrap_err()
    }
}

#[tokio::test]
async fn a_delivery_is_exact_and_takes_nobody_elses_files() {
    let bench = Bench::new();
    let (first, second) = (bench.tree(&[("a.txt", "1"), ("b/c", "2")]), bench.tree(&[("a.txt", "3")]));
    let deliver = |tree: &Value, into: &str| json!({"tree": tree, "into": into});
    let done = bench.run(deliver(&first, "out")).await.unwrap();
    assert_eq!((&done["tree"], done["path"].as_str()), (&first, bench.path("out").to_str()));
    assert_eq!(done["files"].as_array().unwrap().len(), 2);
    bench.run(deliver(&second, "out")).await.unwrap();
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);

    fs::write(bench.path("out/notes"), "mine").unwrap();
    let refused = bench.refused(deliver(&first, "out")).await;
    assert!(refused.message.contains("not from an earlier delivery"), "{refused}");
    assert_eq!(fs::read_to_string(bench.path("out/notes")).unwrap(), "mine");
    let forced = json!({"tree": first, "into": "out", "force": true});
    bench.run(forced).await.unwrap();
    assert!(!bench.path("out/notes").exists() && bench.path("out/b/c").exists());
    let project = json!({"tree": first, "into": ".", "force": true});
    assert!(bench.refused(project).await.message.contains("the project itself"));
    assert!(bench.refused(deliver(&first, "../x")).await.message.contains("leads out"));
    assert!(bench.refused(json!({"tree": first})).await.message.contains("missing field `into`"));
    bench.run(json!({"tree": first, "into": "later", "dry_run": true})).await.unwrap();
    assert!(!bench.path("later").exists());
}

#[tokio::test]
async fn a_delivery_of_files_that_others_obey_waits_for_consent() {
    let mut bench = Bench::new();
    let tree = bench.tree(&[("main.py", "x"), (".github/workflows/ci.yml", "on: push")]);
    let with = json!({"tree": tree, "into": "out"});
    bench.cx.grants = Arc::default();
    let failure = bench.refused(with.clone()).await;
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains(".github/workflows/ci.yml (obeyed by CI systems"), "{failure}");
    assert!(failure.hint.unwrap().contains("--allow-file '.github/workflows/ci.yml'"));
    assert!(!bench.path("out").exists());
    // Files that the user provided, or that are already there, need no permission.
    let mut own = with.clone();
    own["trusted"] = tree.clone();
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
    let tree = bench.tree(&[("run.yml", "on: push")]);
    bench.cx.grants = Arc::default();
    std::os::unix::fs::symlink(".github", bench.path("link")).unwrap();
    fs::create_dir(bench.path(".github")).unwrap();
    for into in [".github/workflows", ".vscode", "a/.husky", "link/workflows"] {
        let failure = bench.refused(json!({"tree": tree, "into": into})).await;
        assert_eq!(failure.class, Class::Auth, "{into}: {failure}");
        assert!(!bench.path(into).exists(), "{into}");
    }
    bench.run(json!({"tree": tree, "into": "out"})).await.unwrap();
    let mut grants = crate::verb::Grants::default();
    grants.allow_files(GlobSet::builder().add(globset::Glob::new(".vscode/**").unwrap()).build().unwrap());
    bench.cx.grants = Arc::new(grants);
    bench.run(json!({"tree": tree, "into": ".vscode"})).await.unwrap();
}

#[tokio::test]
async fn nothing_is_delivered_into_git_or_as_a_repository() {
    let mut bench = Bench::new();
    let tree = bench.tree(&[
        ("HEAD", "ref: refs/heads/main"),
        ("objects/x", ""),
        ("refs/heads/main", ""),
        ("config", "[core]\nfsmonitor = touch pwned"),
    ]);
    bench.cx.grants = Arc::default();
    let failure = bench.refused(json!({"tree": tree, "into": "out"})).await;
    assert!(failure.message.contains("is a git repository"), "{failure}");
    let plain = bench.tree(&[("pre-commit", "x")]);
    for into in [".git/hooks", "sub/.GIT", ".atoll/x"] {
        let failure = bench.refused(json!({"tree": plain, "into": into})).await;
        assert!(failure.message.contains("steps may not write into"), "{failure}");
    }
}
