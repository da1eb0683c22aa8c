//! `diff`: the differences between two trees, as text.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit_source::stored;
use crate::tree::TreeRef;
use crate::verb::{Class, Context, Failure, Output, Traits, Verb};

/// The verb `diff`.
pub struct DiffTrees;

/// Input of `diff`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffInput {
    /// The old tree. `null` means an empty one.
    #[serde(default)]
    pub from: Option<TreeRef>,
    /// The new tree.
    pub to: TreeRef,
}

/// Output of `diff`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiffOutput {
    /// Unified diff; empty if the trees are equal. Binary files are only named.
    pub diff: String,
    /// Paths of the files that differ.
    pub files: Vec<String>,
    /// Whether the two trees are equal.
    pub unchanged: bool,
}

impl Verb for DiffTrees {
    const NAME: &'static str = "diff";
    const SUMMARY: &'static str = "compare two trees of files";
    const TRAITS: Traits = Traits::repeatable("disk");
    const EXAMPLE: &'static str = r#"[steps.page]
pack = { files = { "index.html" = "<h1>hello</h1>" } }

[steps.better]
edit = { base = "{{ steps.page.output }}", files = { "index.html" = "<h1>good morning</h1>" } }

[steps.change]
diff = { from = "{{ steps.page.output }}", to = "{{ steps.better.output }}" }
"#;
    type With = DiffInput;
    type Out = DiffOutput;

    async fn run(&self, with: DiffInput, cx: Context) -> Result<Output<DiffOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || compare(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `diff`: {e}")))?
            .map(Output::free)
    }
}

fn compare(with: &DiffInput, cx: &Context) -> Result<DiffOutput, Failure> {
    let (from, to) = (stored(with.from.as_ref(), cx)?, stored(Some(&with.to), cx)?);
    let paths: BTreeSet<&String> = from.files.keys().chain(to.files.keys()).collect();
    let files =
        paths.into_iter().filter(|path| from.files.get(*path) != to.files.get(*path)).cloned().collect();
    Ok(DiffOutput { diff: from.diff(&*cx.blobs, &to)?, files, unchanged: from == to })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::clock::ManualClock;
    use crate::tree::Tree;
    use crate::verb::DynVerb;

    #[tokio::test]
    async fn a_tree_is_compared_to_another_or_to_nothing() {
        let place = tempfile::tempdir().unwrap();
        let cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
        let mut tree = Tree::new();
        let mut saved = |text: &[u8]| {
            tree.put(&*cx.blobs, "a.txt", text).unwrap();
            tree.save(&*cx.blobs).unwrap().tree
        };
        let (old, new) = (saved(b"one\n"), saved(b"two\n"));
        let run = |with: Value| {
            let cx = cx.clone();
            async move { DynVerb::run(&DiffTrees, with, cx).await.map(|out| out.value) }
        };
        let changed = run(json!({"from": old, "to": new})).await.unwrap();
        assert_eq!(changed["diff"], "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n");
        assert_eq!((&changed["unchanged"], &changed["files"]), (&json!(false), &json!(["a.txt"])));
        assert_eq!(
            run(json!({"from": new, "to": new})).await.unwrap(),
            json!({"diff": "", "files": [], "unchanged": true})
        );
        let added = run(json!({"from": null, "to": old})).await.unwrap();
        assert_eq!(added["diff"], "--- /dev/null\n+++ b/a.txt\n@@ -0,0 +1 @@\n+one\n");
        assert!(run(json!({ "from": old })).await.is_err());
    }
}
