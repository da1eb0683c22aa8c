//! `show`: the texts of a tree, up to a size limit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit_source::stored;
use super::globs::globs;
use crate::tree::{TreeError, TreeRef};
use crate::value::Digest;
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `show`.
pub struct Show;

/// Input of `show`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowInput {
    /// The tree.
    pub tree: TreeRef,
    /// Globs of the files to show. Default: all; one without `/` is matched against file names.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Maximum number of bytes in total; files that do not fit are listed in `omitted`.
    #[serde(default = "most_bytes")]
    pub max_bytes: u64,
}

fn most_bytes() -> u64 {
    60_000
}

/// Output of `show`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShowOutput {
    /// Digest of the tree.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Files with their texts.
    pub texts: Vec<ShownFile>,
    /// Paths of matching files that are not shown: binary files, or beyond `max_bytes`.
    pub omitted: Vec<String>,
}

/// A file that is shown.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShownFile {
    /// Relative path.
    pub path: String,
    /// Content of the file.
    pub text: String,
}

impl Verb for Show {
    const NAME: &'static str = "show";
    const SUMMARY: &'static str = "return the texts of a tree, e.g. for a prompt";
    const TRAITS: Traits = Traits::repeatable("disk");
    const EXAMPLE: &'static str = r##"[steps.page]
pack = { files = { "index.html" = "<h1>hello</h1>", "README.md" = "# hello" } }

[steps.shown]
show = { tree = "{{ steps.page.output.tree }}", paths = ["*.html"] }
"##;
    type With = ShowInput;
    type Out = ShowOutput;

    fn refusals(with: &ShowInput) -> Vec<Refusal> {
        globs(&with.paths).err().map(|failure| Refusal::of("/paths", failure)).into_iter().collect()
    }

    async fn run(&self, with: ShowInput, cx: Context) -> Result<Output<ShowOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || show(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `show`: {e}")))?
            .map(Output::free)
    }
}

fn show(with: &ShowInput, cx: &Context) -> Result<ShowOutput, Failure> {
    let wanted = globs(&with.paths)?;
    let tree = stored(Some(&with.tree), cx)?;
    let mut left = with.max_bytes;
    let (mut texts, mut omitted) = (Vec::new(), Vec::new());
    for (path, file) in &tree.files {
        if !with.paths.is_empty() && !wanted.is_match(path) {
            continue;
        }
        match (file.blob.size <= left).then(|| tree.text(&*cx.blobs, path)) {
            Some(Ok(text)) => {
                left -= file.blob.size;
                texts.push(ShownFile { path: path.clone(), text });
            }
            Some(Err(TreeError::NotText { .. })) | None => omitted.push(path.clone()),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(ShowOutput { tree: with.tree.tree, texts, omitted })
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
    async fn texts_are_shown_within_a_size() {
        let place = tempfile::tempdir().unwrap();
        let cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
        let mut tree = Tree::new();
        for (path, bytes) in
            [("logo.png", &[0xff, 0xfe][..]), ("a.py", b"12345"), ("b.py", b"123456789"), ("c.md", b"123")]
        {
            tree.put(&*cx.blobs, path, bytes).unwrap();
        }
        let digest = tree.save(&*cx.blobs).unwrap().tree;
        let run = |with: Value| {
            let cx = cx.clone();
            async move { DynVerb::run(&Show, with, cx).await.map(|out| out.value) }
        };
        let all = run(json!({ "tree": digest })).await.unwrap();
        assert_eq!(all["texts"].as_array().unwrap().len(), 3);
        assert_eq!(all["omitted"], json!(["logo.png"]));
        let some = run(json!({"tree": digest, "paths": ["*.py", "c*"], "max_bytes": 10})).await.unwrap();
        assert_eq!(
            some["texts"],
            json!([{"path": "a.py", "text": "12345"}, {"path": "c.md", "text": "123"}])
        );
        assert_eq!(some["omitted"], json!(["b.py"]));
        let wrong = run(json!({"tree": digest, "paths": ["["]})).await.unwrap_err();
        assert!(wrong.message.contains("glob"), "{wrong}");
        let gone = run(json!({ "tree": Digest::of("x") })).await.unwrap_err();
        assert_eq!(gone.class, Class::Permanent);
        // A large tree is not shown completely by default.
        tree.put(&*cx.blobs, "big.txt", "x".repeat(60_001).as_bytes()).unwrap();
        let big = tree.save(&*cx.blobs).unwrap().tree;
        let shown = run(json!({ "tree": big })).await.unwrap();
        assert_eq!(shown["omitted"], json!(["big.txt", "logo.png"]));
    }
}
