//! Content-addressed trees of files: what a model wrote, what is built, what is delivered. This module does
//! not know where blobs are stored, which verb made a tree, or what its files mean. Only `disk` accesses
//! the disk. Start with [`Tree`]. [`edit`] applies edits atomically, [`blocks`] parses edits in the text of
//! a model.

pub mod blocks;
mod chosen;
mod difference;
mod disk;
pub mod edit;
mod obeyed;
mod pack;
mod path;
mod products;
mod reference;
mod unusual;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rooted_fs::FileStatus;
use crate::value::{BlobRef, Digest, canonical};
use crate::verb::{BlobError, Blobs, Failure};

pub use chosen::{FileDigests, digests_of_chosen, globs};
pub use disk::{digest_of_dir, holds_foreign_files, is_on_disk, real_path};
pub use path::check_path;
pub use products::Products;
pub use reference::{TreeEntry, TreeRef};
pub use unusual::{Unusual, bare_repository, belongs_to_bare, folded, unusual, visible};

/// A file of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFile {
    /// Content.
    pub blob: BlobRef,
    /// Whether it gets mode 0755 instead of 0644. Always true for a file that begins with `#!`.
    pub executable: bool,
}

/// Files by relative path with `/`, every path as [`check_path`] returns it, no path below a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The files.
    pub files: BTreeMap<String, TreeFile>,
    /// Symbolic links, with their targets. Only [`Tree::load_with_links`] reads a tree with links, because
    /// links to unknown targets are dangerous in most places.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Permissions and times of files, if copies must preserve them. Only [`Tree::load_with_links`] reads
    /// them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status: BTreeMap<String, FileStatus>,
    /// Permissions and times of directories, including those without files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dirs: BTreeMap<String, FileStatus>,
}

/// Why a tree could not be read, changed or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TreeError {
    /// The content store does not have the content, or failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A path that is not allowed in a tree.
    #[error("the path {path:?} cannot be used: {reason}")]
    Path {
        /// The given path.
        path: String,
        /// Reason.
        reason: String,
    },
    /// The content with the digest is not a tree.
    #[error("the content {digest} is not a tree: {message}")]
    Manifest {
        /// The digest.
        digest: Digest,
        /// Reason.
        message: String,
    },
    /// The tree has no such file.
    #[error("the tree has no file {path:?}")]
    NoFile {
        /// The path.
        path: String,
    },
    /// The tree has a link, which is not allowed here.
    #[error(
        "{path:?} is a link to a target outside the tree, which is allowed only in the `files` of a `service`"
    )]
    Link {
        /// The path.
        path: String,
    },
    /// The file is not UTF-8 text.
    #[error("{path:?} is not UTF-8 text")]
    NotText {
        /// The path.
        path: String,
    },
    /// The disk returned an error.
    #[error("{}: {message}", path.display())]
    Disk {
        /// Path of the file.
        path: std::path::PathBuf,
        /// Error message.
        message: String,
        /// Whether a retry may succeed, because the machine is at fault and not the files.
        transient: bool,
    },
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Blob(error) => error.into(),
            TreeError::Path { .. } => Self::rejected(error.to_string())
                .hint("paths are relative, with `/` between names, and stay inside the tree"),
            TreeError::Disk { transient: true, .. } => Self::transient(error.to_string()),
            _ => Self::permanent(error.to_string()),
        }
    }
}

/// Whether content makes a file executable by itself.
fn has_shebang(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!")
}

impl Tree {
    /// A tree without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree whose manifest has `digest`. One with links is an error.
    pub fn load(blobs: &dyn Blobs, digest: &Digest) -> Result<Self, TreeError> {
        let tree = Self::load_with_links(blobs, digest)?;
        match tree.links.into_keys().next() {
            Some(path) => Err(TreeError::Link { path }),
            None => Ok(Self { files: tree.files, ..Self::default() }),
        }
    }

    /// The tree whose manifest has `digest`, which may have links.
    pub fn load_with_links(blobs: &dyn Blobs, digest: &Digest) -> Result<Self, TreeError> {
        let broken = |message: String| TreeError::Manifest { digest: *digest, message };
        let bytes = blobs.get(digest)?;
        let tree: Self = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        for path in tree.files.keys().chain(tree.links.keys()) {
            match check_path(path) {
                Ok(checked) if checked == *path => tree.refuse_conflict(path)?,
                Ok(checked) => return Err(broken(format!("{path:?} should be written {checked:?}"))),
                Err(reason) => return Err(TreeError::Path { path: path.clone(), reason }),
            }
        }
        for path in tree.dirs.keys() {
            if check_path(path).ok().as_deref() != Some(path) || tree.files.contains_key(path) {
                return Err(broken(format!("{path:?} cannot be a directory")));
            }
        }
        for (path, target) in &tree.links {
            if target.is_empty() || target.contains('\0') || tree.files.contains_key(path) {
                return Err(broken(format!("{path:?} cannot be a link to {target:?}")));
            }
        }
        Ok(tree)
    }

    /// Stores the manifest; its digest identifies the tree.
    pub fn save(&self, blobs: &dyn Blobs) -> Result<TreeRef, TreeError> {
        let blob = blobs.put(self.manifest().as_bytes())?;
        Ok(self.reference(blob.digest))
    }

    /// The digest of the tree, without storing anything.
    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest())
    }

    fn manifest(&self) -> String {
        serde_json::to_value(self).map(|value| canonical(&value)).unwrap_or_default()
    }

    fn reference(&self, tree: Digest) -> TreeRef {
        let files =
            self.files.iter().map(|(path, file)| TreeEntry { path: path.clone(), size: file.blob.size });
        TreeRef { tree, files: files.collect() }
    }

    /// Sets the content of the file at `path` and returns the normalized path. An executable file stays
    /// executable.
    pub fn put(&mut self, blobs: &dyn Blobs, path: &str, bytes: &[u8]) -> Result<String, TreeError> {
        let path = self.free_path(path)?;
        let blob = blobs.put(bytes)?;
        let executable = has_shebang(bytes) || self.files.get(&path).is_some_and(|file| file.executable);
        self.files.insert(path.clone(), TreeFile { blob, executable });
        Ok(path)
    }

    /// The bytes of the file at `path`.
    pub fn bytes(&self, blobs: &dyn Blobs, path: &str) -> Result<Arc<[u8]>, TreeError> {
        let file = self.files.get(path).ok_or_else(|| TreeError::NoFile { path: path.to_owned() })?;
        Ok(blobs.get(&file.blob.digest)?)
    }

    /// The text of the file at `path`.
    pub fn text(&self, blobs: &dyn Blobs, path: &str) -> Result<String, TreeError> {
        let bytes = self.bytes(blobs, path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| TreeError::NotText { path: path.to_owned() })?;
        Ok(text.to_owned())
    }

    /// Checks that `path` can be written: there is no file in place of a directory, and no directory in
    /// place of the file. Adds the files of `other` to this tree; conflicting entries are removed.
    pub fn cover(&mut self, other: &Self) {
        let below = |path: &str, dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
        self.files.retain(|path, _| !other.files.keys().any(|own| below(path, own) || below(own, path)));
        self.files.extend(other.files.iter().map(|(path, file)| (path.clone(), *file)));
    }

    fn free_path(&self, path: &str) -> Result<String, TreeError> {
        let checked = check_path(path).map_err(|reason| TreeError::Path { path: path.to_owned(), reason })?;
        self.refuse_conflict(&checked)?;
        Ok(checked)
    }

    fn refuse_conflict(&self, path: &str) -> Result<(), TreeError> {
        let is_taken = |dir: &&str| self.files.contains_key(*dir) || self.links.contains_key(*dir);
        let above = path.match_indices('/').map(|(i, _)| &path[..i]).find(is_taken);
        let prefix = format!("{path}/");
        let below = self.files.range(prefix.clone()..).next().filter(|(p, _)| p.starts_with(&prefix));
        let reason = match (above, below) {
            (Some(file), _) => format!("{file:?} is a file of the tree, not a directory"),
            (None, Some((file, _))) => format!("it is a directory of the tree, which contains {file:?}"),
            (None, None) => return Ok(()),
        };
        Err(TreeError::Path { path: path.to_owned(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn equal_files_have_equal_digests_whatever_the_order() {
        let blobs = MemoryBlobs::default();
        let (mut a, mut b) = (Tree::new(), Tree::new());
        a.put(&blobs, "x/y.txt", b"1").unwrap();
        a.put(&blobs, "./run", b"#!/bin/sh\n").unwrap();
        b.put(&blobs, "run", b"#!/bin/sh\n").unwrap();
        b.put(&blobs, "x//y.txt", b"1").unwrap();
        let saved = a.save(&blobs).unwrap();
        assert_eq!(saved.tree, b.digest());
        assert_eq!(Tree::load(&blobs, &saved.tree).unwrap(), a);
        assert!(a.files["run"].executable && !a.files["x/y.txt"].executable);
        assert_eq!(a.text(&blobs, "x/y.txt").unwrap(), "1");
    }

    #[test]
    fn a_file_is_no_directory() {
        let blobs = MemoryBlobs::default();
        let mut tree = Tree::new();
        tree.put(&blobs, "a/b", b"").unwrap();
        let error = tree.put(&blobs, "a", b"").unwrap_err().to_string();
        assert!(error.contains("is a directory of the tree"), "{error}");
        let error = tree.put(&blobs, "a/b/c", b"").unwrap_err().to_string();
        assert!(error.contains("\"a/b\" is a file"), "{error}");
        tree.put(&blobs, "a-b", b"").unwrap();
        tree.put(&blobs, "a/b", b"again").unwrap();
    }

    #[test]
    fn a_manifest_from_elsewhere_is_checked() {
        let blobs = MemoryBlobs::default();
        let file = serde_json::json!({"blob": BlobRef::of(b""), "executable": false});
        for path in ["../x", "/x", "a//b", ".git/config"] {
            let mut files = serde_json::Map::new();
            files.insert(path.to_owned(), file.clone());
            let text = serde_json::json!({ "files": files }).to_string();
            let blob = blobs.put(text.as_bytes()).unwrap();
            assert!(Tree::load(&blobs, &blob.digest).is_err(), "{path}");
        }
        let blob = blobs.put(b"{}").unwrap();
        assert!(matches!(Tree::load(&blobs, &blob.digest), Err(TreeError::Manifest { .. })));
    }
}
