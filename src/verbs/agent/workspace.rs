//! The files that an agent works on.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use globset::GlobSet;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::globs::globs;
use crate::rooted_fs::{FileEntry, Listing, RootedFs, Stamp};
use crate::runtime::process::{AgentWorkspace, WORK};
use crate::tree::{Tree, TreeFile, check_path};
use crate::verb::{Blobs, Failure};

/// The maximum size of all files together, in bytes.
const LARGEST: u64 = 512 << 20;

/// The maximum number of files.
const MOST: usize = 50_000;

/// A change that an agent made to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Touched {
    /// Path of the file.
    pub path: String,
    /// Kind of change: `added`, `changed` or `deleted`.
    pub op: &'static str,
}

/// The files of a workspace for the tools. Calls may block for the disk.
pub(super) struct WorkspaceFiles {
    pub(super) fs: RootedFs,
    ignore: GlobSet,
    /// A cache of file contents that have not been written to since.
    known: HashMap<String, (Stamp, TreeFile)>,
    /// The result file as it was before the work began: unchanged, it is not a result.
    stale: Option<(String, Stamp)>,
}

/// A snapshot of the files.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) tree: Tree,
    /// Paths that a tree cannot contain.
    pub(super) left_out: Vec<String>,
}

impl WorkspaceFiles {
    /// The files of `bench`; files that match `ignore` are not saved.
    pub(super) fn new(bench: &AgentWorkspace, ignore: &[String]) -> Result<Self, Failure> {
        let fs = RootedFs::open(&bench.workspace()).map_err(|e| internal_failure(&e))?;
        let fs = fs.owned_by(bench.owner()).following_links();
        Ok(Self { fs, ignore: globs(ignore)?, known: HashMap::new(), stale: None })
    }

    /// Notes the state of `path` before the work begins.
    pub(super) fn before_work(&mut self, path: &str) -> Result<(), Failure> {
        let listing = self.list(&|other| other != path && !path.starts_with(&format!("{other}/")));
        let entry =
            listing.map_err(|e| internal_failure(&e))?.files.into_iter().find(|entry| entry.path == path);
        self.stale = entry.map(|entry| (entry.path, entry.stamp));
        Ok(())
    }

    /// The bytes of the file `path`, which must have been written during the work.
    pub(super) fn result(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.fs.read(Path::new(path), super::tools::LARGEST).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => format!("there is no file `{path}`"),
            _ => format!("`{path}`: {e}"),
        })?;
        if self.is_stale(path) {
            return Err(format!("`{path}` was not written in this attempt: it was there before"));
        }
        Ok(bytes)
    }

    /// Whether `path` is the result file and has not been written since the work began.
    pub(super) fn is_stale(&self, path: &str) -> bool {
        let Some((_, stamp)) = self.stale.as_ref().filter(|(stale, _)| stale == path) else { return false };
        let listing = self.list(&|other| other != path && !path.starts_with(&format!("{other}/")));
        let entries = listing.map(|listing| listing.files).unwrap_or_default();
        entries.iter().any(|entry| entry.path == path && entry.stamp == *stamp)
    }

    /// Saves all files.
    pub(super) fn snapshot(&mut self, blobs: &dyn Blobs) -> Result<Snapshot, Failure> {
        let listing = self.list(&|path| self.ignore.is_match(path)).map_err(|e| grown(&e))?;
        let size: u64 = listing.files.iter().map(|file| file.size).sum();
        if size > LARGEST {
            return Err(grown(&std::io::Error::other(format!("{size} bytes, more than {LARGEST}"))));
        }
        let mut left_out: Vec<String> = listing.left_out.into_iter().map(|left| left.path).collect();
        let mut files = BTreeMap::new();
        let mut known = HashMap::new();
        for entry in listing.files {
            let Some(file) = self.file(&entry, blobs)? else {
                left_out.push(entry.path);
                continue;
            };
            known.insert(entry.path.clone(), (entry.stamp, file));
            files.insert(entry.path, file);
        }
        self.known = known;
        Ok(Snapshot { tree: Tree { files, ..Tree::default() }, left_out })
    }

    /// The files that a tree may contain; `ignore` returns a reason to skip a path.
    pub(super) fn list(&self, ignore: &dyn Fn(&str) -> bool) -> std::io::Result<Listing> {
        let unfit = |path: &str| match check_path(path) {
            Ok(checked) if checked == path => None,
            Ok(_) => Some("it is not written as trees write paths".to_owned()),
            Err(why) => Some(why),
        };
        self.fs.list(MOST, ignore, &unfit)
    }

    /// A saved file; `None` if it disappeared or was replaced after it was listed.
    fn file(&self, entry: &FileEntry, blobs: &dyn Blobs) -> Result<Option<TreeFile>, Failure> {
        match self.known.get(&entry.path) {
            Some((seen, file)) if *seen == entry.stamp => return Ok(Some(*file)),
            _ => {}
        }
        let Ok(bytes) = self.fs.read(Path::new(&entry.path), LARGEST) else { return Ok(None) };
        let executable = entry.executable || bytes.starts_with(b"#!");
        Ok(Some(TreeFile { blob: blobs.put(&bytes)?, executable }))
    }
}

fn internal_failure(e: &std::io::Error) -> Failure {
    Failure::transient(format!("the workspace cannot be used: {e}"))
}

fn grown(e: &std::io::Error) -> Failure {
    Failure::permanent(format!("the workspace cannot be saved: {e}"))
        .hint("add files that need not be saved to `ignore`, e.g. [\"target\", \"node_modules\"]")
}

/// Normalizes `path` as a model writes it: it may have seen the absolute path of the workspace.
pub(super) fn local(path: &str) -> Result<String, String> {
    let inside = path.strip_prefix(WORK).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    check_path(inside).map_err(|why| format!("{path:?} is no path here: {why}"))
}

/// The changes from `from`.
pub(super) fn touched(from: &Tree, to: &Tree) -> Vec<Touched> {
    let op = |path: &String| match (from.files.get(path), to.files.get(path)) {
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("deleted"),
        (old, new) if old != new => Some("changed"),
        _ => None,
    };
    let paths: std::collections::BTreeSet<&String> = from.files.keys().chain(to.files.keys()).collect();
    paths.into_iter().filter_map(|path| op(path).map(|op| Touched { path: path.clone(), op })).collect()
}
