//! `write`: a file with a text or a value in it, complete or not there at all.
#![expect(clippy::disallowed_methods, reason = "the door through which a pipeline writes files")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place;
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure, Output, Traits, Verb, Workspace};

/// The verb `write`.
pub struct Write;

/// Input of `write`: `path` and either `text` or `json`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The file: relative to the project, which it must not leave, or absolute.
    pub path: String,
    /// The text.
    #[serde(default)]
    pub text: Option<String>,
    /// A value, written as indented JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Value>,
}

/// A key that is there with the value `null` is there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Output of `write`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Out {
    /// The file, as it was given.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Digest of its bytes.
    #[schemars(with = "String")]
    pub digest: Digest,
}

impl Verb for Write {
    const NAME: &'static str = "write";
    const SUMMARY: &'static str = "write a text or a value to a file, whole or not at all";
    const TRAITS: Traits = Traits::repeatable("disk");
    const EXAMPLE: &'static str = r#"
[steps.note]
write = { path = "notes/first.md", text = "hello\n" }
"#;
    type With = With;
    type Out = Out;

    async fn run(&self, with: With, cx: Context) -> Result<Output<Out>, Failure> {
        let done = tokio::task::spawn_blocking(move || write(with, &cx.workspace)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("`write` broke down: {e}")))?.map(Output::free)
    }
}

fn write(with: With, workspace: &Workspace) -> Result<Out, Failure> {
    let content = match (with.text, with.json) {
        (Some(text), None) => text,
        (None, Some(value)) => format!("{value:#}\n"),
        _ => {
            return Err(Failure::permanent("`write` takes either a text or a value")
                .hint("give exactly one of: text, json"));
        }
    };
    let target = place::inside(&workspace.project, &with.path)?;
    place::usual(workspace, &target)?;
    replace(&target, content.as_bytes()).map_err(|e| {
        let message = format!("{:?} cannot be written: {e}", with.path);
        match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::Interrupted => Failure::transient(message),
            _ => Failure::permanent(message),
        }
    })?;
    Ok(Out { bytes: content.len() as u64, digest: Digest::of(&content), path: with.path })
}

/// Puts `bytes` in place of the file at `target`: readers see the old content or the new, also after a power cut.
fn replace(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if target.is_dir() {
        return Err(std::io::Error::other("it is a directory"));
    }
    // A link keeps pointing where it points; the file behind it is replaced.
    let target = &target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let parent = target.parent().ok_or_else(|| std::io::Error::other("it has no directory"))?;
    std::fs::create_dir_all(parent)?;
    let mode = std::fs::metadata(target).map_or(0o644, |state| state.permissions().mode() & 0o777);
    let mut fresh = tempfile::Builder::new().prefix(".write-").tempfile_in(parent)?;
    fresh.write_all(bytes)?;
    fresh.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    fresh.as_file().sync_all()?;
    fresh.persist(target).map_err(|e| e.error)?;
    std::fs::File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
            (json!({"path": "x"}), "either a text or a value"),
            (json!({"path": "x", "text": "", "json": 1}), "either a text or a value"),
        ] {
            let failure = run(place.path(), with).await.unwrap_err();
            assert_eq!(failure.class, Class::Permanent);
            assert!(failure.message.contains(word), "{failure}");
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 2);
    }
}
