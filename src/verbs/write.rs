//! `write`: writes a text or a value to a file, atomically.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{paths, unusual};
use crate::rooted_fs::{RootedFs, remove_tree};
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `write`.
pub struct Write;

/// Input of `write`: `path` and either `text` or `json`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteInput {
    /// File to write: relative to the project, which it must not leave, or absolute. If it is a link, the
    /// linked file is replaced; a pipe or a device is an error.
    pub path: String,
    /// Text to write.
    #[serde(default)]
    pub text: Option<String>,
    /// Value to write as indented JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
}

/// A key with the value `null` counts as given.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Output of `write`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WriteOutput {
    /// Path of the file, as given.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of its bytes.
    #[schemars(with = "String")]
    pub digest: Digest,
}

impl Verb for Write {
    const NAME: &'static str = "write";
    const SUMMARY: &'static str = "write a text or a value to a file, atomically";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const EXAMPLE: &'static str = r#"
[steps.note]
write = { path = "notes/first.md", text = "hello\n" }
"#;
    type With = WriteInput;
    type Out = WriteOutput;

    fn refusals(with: &WriteInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        if with.text.is_some() == with.json.is_some() {
            let failure = Failure::permanent("exactly one of `text` and `json` is required")
                .hint("set `text` or `json`");
            found.push(Refusal::among(&["text", "json"], failure));
        }
        found.extend(paths::unusable(&with.path).map(|failure| Refusal::of("/path", failure)));
        found
    }

    async fn run(&self, with: WriteInput, cx: Context) -> Result<Output<WriteOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || write(with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `write`: {e}")))?
            .map(Output::free)
    }
}

fn write(with: WriteInput, cx: &Context) -> Result<WriteOutput, Failure> {
    let workspace = &cx.workspace;
    let content = match (with.text, with.json) {
        (Some(text), _) => text,
        (None, value) => format!("{:#}\n", value.unwrap_or_default()),
    };
    let target = paths::inside(&workspace.project, &with.path)?;
    paths::usual(workspace, &target)?;
    let (root, below) = paths::resolved(&workspace.project, &with.path, &target)?;
    paths::usual(workspace, &root.join(&below))?;
    // Both paths are checked: the given one, and the one after links are followed.
    let (given, real) = (unusual::unwritable(&target, cx), unusual::unwritable(&root.join(&below), cx));
    if let Some(failure) = given.or(real) {
        return Err(failure);
    }
    // From here on, a path that becomes a link is refused.
    let written = RootedFs::open(&root).and_then(|root| root.replace(&below, content.as_bytes()));
    written.map_err(|e| {
        let message = format!("{:?} cannot be written: {e}", with.path);
        match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::Interrupted => Failure::transient(message),
            _ => Failure::permanent(message),
        }
    })?;
    // Other steps may have written files of a git repository since the check.
    let written = root.join(&below);
    if let Some(failure) = unusual::in_repository(&written) {
        remove_tree(&written).map_err(|e| Failure::permanent(format!("{}; and {e}", failure.message)))?;
        return Err(failure);
    }
    Ok(WriteOutput { bytes: content.len() as u64, digest: Digest::of(&content), path: with.path })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::verb::DynVerb;

    async fn run(project: &Path, with: Value) -> Result<Value, Failure> {
        let cx = Context::for_test(project.to_owned(), Arc::new(ManualClock::at(0)));
        Ok(DynVerb::run(&Write, with, cx).await?.value)
    }

    #[tokio::test]
    async fn a_file_is_written_whole_and_again() {
        let place = tempfile::tempdir().unwrap();
        let example: Value = toml::from_str(Write::EXAMPLE).unwrap();
        let out = run(place.path(), example["steps"]["note"]["write"].clone()).await.unwrap();
        assert_eq!(out, json!({"path": "notes/first.md", "bytes": 6, "digest": Digest::of("hello\n")}));
        let target = place.path().join("notes/first.md");
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
        run(place.path(), json!({"path": "notes/first.md", "json": {"b": 1, "a": null}})).await.unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "{\n  \"b\": 1,\n  \"a\": null\n}\n");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(place.path().join("notes")).unwrap().count(), 1);
        let elsewhere = tempfile::tempdir().unwrap();
        let absolute = elsewhere.path().join("x.json");
        run(place.path(), json!({"path": absolute, "json": null})).await.unwrap();
        assert_eq!(std::fs::read_to_string(&absolute).unwrap(), "null\n");
        assert_eq!(std::fs::metadata(&absolute).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_named_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("dir")).unwrap();
        std::fs::write(place.path().join("file"), "").unwrap();
        for (with, word) in [
            (json!({"path": "../x", "text": ""}), "leads out of the project"),
            (json!({"path": "dir", "text": ""}), "is a directory"),
            (json!({"path": "file/x", "text": ""}), "cannot be written"),
            (json!({"path": "x"}), "exactly one of `text` and `json`"),
            (json!({"path": "x", "text": "", "json": 1}), "exactly one of `text` and `json`"),
        ] {
            let failure = run(place.path(), with).await.unwrap_err();
            assert_eq!(failure.class, Class::Permanent);
            assert!(failure.message.contains(word), "{failure}");
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn links_in_the_project_keep_leading_where_they_lead() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("real")).unwrap();
        std::fs::write(place.path().join("real/file"), "old").unwrap();
        symlink(place.path().join("real"), place.path().join("dir")).unwrap();
        symlink("dir/file", place.path().join("link")).unwrap();
        symlink("nowhere", place.path().join("dangling")).unwrap();
        for (path, written) in
            [("link", "real/file"), ("dir/new/er", "real/new/er"), ("dangling", "dangling")]
        {
            run(place.path(), json!({"path": path, "text": path})).await.unwrap();
            let written = place.path().join(written);
            assert!(std::fs::symlink_metadata(&written).unwrap().is_file(), "{path}");
            assert_eq!(std::fs::read_to_string(&written).unwrap(), path);
        }
        assert!(std::fs::symlink_metadata(place.path().join("link")).unwrap().is_symlink());
        let made = std::process::Command::new("mkfifo").arg(place.path().join("pipe")).status();
        assert!(made.unwrap().success());
        std::fs::create_dir(place.path().join(".git")).unwrap();
        symlink(".git", place.path().join("hooks")).unwrap();
        for (path, why) in [("pipe", "not a regular file"), ("hooks/x", "may not write into `.git`")] {
            let failure = run(place.path(), json!({"path": path, "text": ""})).await.unwrap_err();
            assert!(failure.message.contains(why), "{failure}");
        }
    }

    #[tokio::test]
    async fn what_others_obey_is_written_with_consent_only() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("dir")).unwrap();
        std::fs::write(place.path().join("dir/.envrc"), "").unwrap();
        symlink("dir/.envrc", place.path().join("link")).unwrap();
        let mut grants = crate::verb::Grants::default();
        let mut files = globset::GlobSetBuilder::new();
        files.add(globset::Glob::new("sub/.github/**").unwrap());
        grants.allow_files(files.build().unwrap());
        grants.reserve(["prompts/judge/system.md".to_owned()]);
        let grants = Arc::new(grants);
        let write = async |path: String| {
            let mut cx = Context::for_test(place.path().to_owned(), Arc::new(ManualClock::at(0)));
            cx.grants = grants.clone();
            DynVerb::run(&Write, json!({"path": path, "text": "x"}), cx).await
        };
        let elsewhere = tempfile::tempdir().unwrap();
        let out = |path: &str| elsewhere.path().join(path).display().to_string();
        for path in
            [".envrc", ".github/workflows/x.yml", "pipelines/validate.toml", "atoll.toml", "dir/.envrc"]
        {
            let failure = write(path.to_owned()).await.unwrap_err();
            assert_eq!(failure.class, Class::Auth, "{failure}");
            assert!(failure.hint.unwrap().contains(&format!("--allow-file '{path}'")), "{path}");
        }
        for path in
            ["link".to_owned(), "x/prompts/judge/system.md".to_owned(), out(".config/fish/config.fish")]
        {
            assert_eq!(write(path.clone()).await.unwrap_err().class, Class::Auth, "{path}");
        }
        for path in ["a\u{202e}b", ".hg/hgrc", "sub/.atoll/x"] {
            assert_eq!(write(path.to_owned()).await.unwrap_err().class, Class::Permanent, "{path:?}");
        }
        for path in
            ["notes.md".to_owned(), "prompts/mine.md".to_owned(), "sub/.github/x".to_owned(), out("x.json")]
        {
            write(path).await.unwrap();
        }
    }

    #[tokio::test]
    async fn several_writes_make_no_repository() {
        for order in [
            ["HEAD", "objects/x", "refs/heads/x"],
            ["refs/x", "HEAD", "objects/x"],
            ["HEAD", "commondir", ""],
        ] {
            let place = tempfile::tempdir().unwrap();
            let mut refused = 0;
            for path in ["config"].into_iter().chain(order).filter(|path| !path.is_empty()) {
                let done = run(place.path(), json!({"path": format!("a/{path}"), "text": "x"})).await;
                if let Err(failure) = done {
                    assert_eq!(failure.class, Class::Permanent);
                    assert!(failure.message.contains("is a git repository"), "{failure}");
                    refused += 1;
                }
            }
            assert_eq!(refused, 1, "{order:?}");
        }
        // A work tree in a directory that is also a repository is usual; the files that git reads there are
        // still refused.
        let place = tempfile::tempdir().unwrap();
        for dir in ["objects", "refs", "main"] {
            std::fs::create_dir(place.path().join(dir)).unwrap();
        }
        std::fs::write(place.path().join("HEAD"), "ref: refs/heads/x").unwrap();
        run(place.path(), json!({"path": "main/notes.md", "text": "x"})).await.unwrap();
        for path in ["config", "hooks/post-checkout"] {
            run(place.path(), json!({"path": path, "text": "x"})).await.unwrap_err();
        }
    }

    /// Steps that write in parallel each check before any of them has written.
    #[tokio::test]
    async fn writes_at_the_same_time_make_no_repository() {
        for _ in 0..50 {
            let place = tempfile::tempdir().unwrap();
            let write = |path: &'static str| {
                let project = place.path().to_owned();
                tokio::spawn(async move { run(&project, json!({"path": path, "text": "x"})).await.is_ok() })
            };
            let writes = ["a/HEAD", "a/objects/x", "a/refs/x"].map(write);
            for write in writes {
                write.await.unwrap();
            }
            let there = |name: &str| place.path().join("a").join(name).exists();
            let whole = there("HEAD") && there("objects/x") && there("refs/x");
            assert!(!whole);
        }
    }

    /// While files are written below a directory, it is repeatedly replaced by a link to the outside.
    #[tokio::test]
    async fn a_swapped_directory_never_leads_outside() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path().join("a")).unwrap();
        symlink(outside.path(), place.path().join("link")).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let (swapped, ended) = (RootedFs::open(place.path()).unwrap(), end.clone());
        let attacker = std::thread::spawn(move || {
            let mut swaps = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                swaps += u64::from(swapped.exchange(Path::new("a"), Path::new("link")).is_ok());
            }
            swaps
        });
        let absolute = place.path().join("a/file");
        let mut written = 0;
        for _ in 0..500 {
            written += usize::from(run(place.path(), json!({"path": "a/file", "text": "x"})).await.is_ok());
            written += usize::from(run(place.path(), json!({"path": "a/b/c", "text": "x"})).await.is_ok());
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        end.store(true, Ordering::Relaxed);
        assert!(attacker.join().unwrap() > 100 && written > 0, "{written} written");
        // An absolute path is resolved when it is used, and only into one directory.
        run(place.path(), json!({"path": absolute, "text": "x"})).await.unwrap();
    }
}
