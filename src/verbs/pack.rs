//! `pack`: makes a tree of a directory, or of files in the step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit_source::{EditBase, EditSource, WholeFiles, applied};
use super::globs::globs;
use super::paths::PathOrInput;
use crate::tree::{Tree, TreeEntry, TreeRef};
use crate::value::Digest;
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `pack`.
pub struct Pack;

/// Input of `pack`: `dir` or `files`; with `empty = true` neither is needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PackInput {
    /// Directory to pack: a path relative to the project, or the value of an input of type `dir`. Limits:
    /// 100,000 files and 2 GiB.
    pub dir: Option<PathOrInput>,
    /// Contents of the files: a list of `{path, content}`, or an object of contents by path.
    pub files: Option<WholeFiles>,
    /// Whether the tree may be empty. Without `dir` and `files` it is. Default: `false`.
    pub empty: bool,
    /// Globs of files to skip in `dir`; one without `/` is matched against file names.
    pub ignore: Vec<String>,
    /// Handling of links that cannot be followed: those that lead out of `dir`, to nothing or in a circle.
    pub links: Links,
}

impl Default for PackInput {
    fn default() -> Self {
        let ignore = IGNORED.map(str::to_owned).to_vec();
        Self { dir: None, files: None, empty: false, ignore, links: Links::default() }
    }
}

/// The globs that are skipped by default: the data of git and of Atoll.
const IGNORED: [&str; 2] = [".git", ".atoll"];

/// The handling of links that cannot be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// They are an error.
    #[default]
    Refuse,
    /// They are kept as links, and so are links to skipped files. Empty directories, permissions and times
    /// are kept as well. Only the `files` of a `service` accept such a tree.
    Keep,
}

/// Output of `pack`: can be used wherever a tree is expected.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PackOutput {
    /// Digest of the tree.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Files of the tree.
    pub files: Vec<TreeEntry>,
}

impl Verb for Pack {
    const NAME: &'static str = "pack";
    const SUMMARY: &'static str = "make a tree of a directory or of files";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r##"[steps.docs]
pack = { dir = "docs", ignore = ["*.png"] }

[steps.page]
pack = { files = { "index.html" = "<h1>hello</h1>", "README.md" = "# hello" } }
"##;
    type With = PackInput;
    type Out = PackOutput;

    fn refusals(with: &PackInput) -> Vec<Refusal> {
        let mut found: Vec<Refusal> =
            globs(&with.ignore).err().map(|failure| Refusal::of("/ignore", failure)).into_iter().collect();
        let wrong = match (&with.dir, &with.files) {
            (Some(_), Some(_)) => Some("both"),
            (None, None) if !with.empty => Some("neither"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let failure = Failure::permanent(format!("`pack` takes `dir` or `files`, found {wrong}"))
                .hint("give one of them; `empty = true` allows a tree without files");
            found.push(Refusal::among(&["dir", "files"], failure).with("/empty"));
        }
        found.extend(with.source().refusals());
        found
    }

    async fn run(&self, with: PackInput, cx: Context) -> Result<Output<PackOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || pack(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `pack`: {e}")))?
            .map(Output::free)
    }
}

impl PackInput {
    fn source(&self) -> EditSource<'_> {
        EditSource { files: self.files.as_ref(), ..EditSource::default() }
    }
}

fn pack(with: &PackInput, cx: &Context) -> Result<PackOutput, Failure> {
    let TreeRef { tree, files } = if let Some(dir) = &with.dir {
        directory(dir.path(), with, cx)?
    } else {
        let edits = with.source().read()?.unwrap_or_default();
        applied(&edits, &EditBase { empty: with.empty, ..EditBase::default() }, cx)?.tree
    };
    Ok(PackOutput { tree, files })
}

fn directory(dir: &str, with: &PackInput, cx: &Context) -> Result<TreeRef, Failure> {
    let ignore = globs(&with.ignore)?;
    let from = cx.workspace.project.join(dir);
    let ignored = |path: &str| ignore.is_match(path);
    let tree = match with.links {
        Links::Refuse => Tree::from_dir(&*cx.blobs, &from, &ignored),
        Links::Keep => Tree::from_dir_with_links(&*cx.blobs, &from, &ignored),
    };
    let tree = tree.map_err(|e| Failure::permanent(format!("cannot pack the directory {dir:?}: {e}")))?;
    if tree.files.is_empty() && tree.links.is_empty() && !with.empty {
        return Err(Failure::permanent(format!("the directory {dir:?} contains no file to pack"))
            .hint("`empty = true` allows a tree without files"));
    }
    Ok(tree.save(&*cx.blobs)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::clock::ManualClock;
    use crate::verb::DynVerb;

    #[tokio::test]
    async fn a_directory_and_the_same_files_make_the_same_tree() {
        let place = tempfile::tempdir().unwrap();
        let cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
        let run = |with: Value| {
            let cx = cx.clone();
            async move { DynVerb::run(&Pack, with, cx).await.map(|out| out.value) }
        };
        for dir in [".git", ".atoll/x", "sub/.git", "sub/node_modules"] {
            std::fs::create_dir_all(place.path().join("in").join(dir)).unwrap();
            std::fs::write(place.path().join("in").join(dir).join("file"), "x").unwrap();
        }
        std::fs::write(place.path().join("in/sub/a.txt"), "A\n").unwrap();
        let written =
            run(json!({"files": {"sub/a.txt": "A\n", "sub/node_modules/file": "x"}})).await.unwrap();
        assert_eq!(run(json!({"dir": "in"})).await.unwrap(), written);
        // The value of an input of type `dir` is a directory as well.
        let input = json!({"path": "in", "digest": "…", "files": []});
        assert_eq!(run(json!({"dir": input, "empty": true})).await.unwrap(), written);
        let all = run(json!({"dir": "in", "ignore": []})).await.unwrap();
        let paths: Vec<&str> =
            all["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
        assert_eq!(
            paths,
            [".atoll/x/file", "sub/a.txt", "sub/node_modules/file"],
            "the files of git are always excluded"
        );
        let nothing = run(json!({"dir": null, "empty": true})).await.unwrap();
        assert_eq!(nothing["files"], json!([]));
        std::fs::create_dir(place.path().join("none")).unwrap();
        assert_eq!(run(json!({"dir": "none", "empty": true})).await.unwrap(), nothing);
        for (with, word) in [
            (json!({"dir": "none"}), "contains no file"),
            (json!({"dir": "nowhere"}), "cannot pack the directory"),
            (json!({"files": {}}), "no file is left"),
            (json!({}), "found neither"),
            (json!({"dir": "in", "files": {}}), "found both"),
            (json!({"dir": "in", "ignore": ["["]}), "the glob"),
            (json!({"dir": "in", "into": "x"}), "unknown field `into`"),
        ] {
            let failure = run(with).await.unwrap_err();
            assert!(failure.message.contains(word), "{failure}");
        }
    }
}
