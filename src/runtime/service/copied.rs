//! `COPY`: selects files of the tree and writes them to a file system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::rooted_fs::{RootedFs, check, named};
use crate::tree::{Tree, TreeFile};
use crate::verb::{Blobs, Failure};

/// Most bytes that all `COPY` instructions of a build may add to the image.
pub const MOST_COPIED: u64 = 4 << 30;
/// Most bytes of a pattern.
const LONGEST: usize = 4_096;

/// Files that can be copied.
pub struct BuildContext {
    /// The tree without ignored files.
    pub tree: Tree,
    /// Ignored files, which exist but cannot be copied.
    pub hidden: Vec<String>,
    /// Content of the files.
    pub blobs: Arc<dyn Blobs>,
}

/// A file and its place in the image.
pub struct Copied {
    /// Target path.
    pub to: PathBuf,
    /// The file.
    pub file: TreeFile,
}

impl Copied {
    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.file.blob.size
    }
}

impl BuildContext {
    /// The files that `from` names, with their targets. The inner error is the fault of the product.
    pub fn choose(
        &self,
        from: &[String],
        to: &Path,
        into_dir: bool,
        cancel: &CancellationToken,
    ) -> io::Result<Result<Vec<Copied>, String>> {
        let mut chosen = Vec::new();
        for source in from {
            check(cancel)?;
            let mut found = match sources(&self.tree, source) {
                Ok(found) => found,
                Err(why) => return Ok(Err(why)),
            };
            found.retain(|(path, _)| !self.hidden.iter().any(|hidden| hidden == path));
            if found.is_empty() {
                return Ok(Err(format!("the tree has no file or directory `{source}`")));
            }
            chosen.extend(found.into_iter().map(|(path, rest)| Copied {
                to: match rest {
                    Rest::Below(rest) => to.join(rest),
                    Rest::File(name) if into_dir => to.join(name),
                    Rest::File(_) => to.to_owned(),
                },
                file: self.tree.files[path],
            }));
        }
        Ok(Ok(chosen))
    }

    /// Writes `files`. The inner error is that of the content store.
    pub fn write(
        &self,
        files: &[Copied],
        fs: &RootedFs,
        cancel: &CancellationToken,
    ) -> io::Result<Result<(), Failure>> {
        for copied in files {
            check(cancel)?;
            let bytes = match self.blobs.get(&copied.file.blob.digest) {
                Ok(bytes) => bytes,
                Err(e) => return Ok(Err(e.into())),
            };
            fs.put(&copied.to, &bytes, copied.file.executable).map_err(named(&copied.to))?;
        }
        Ok(Ok(()))
    }
}

/// Target of a copied file: its own name, or a path below the target directory.
enum Rest<'a> {
    File(&'a str),
    Below(&'a str),
}

/// The files of the tree that a source of `COPY` names.
fn sources<'a>(tree: &'a Tree, source: &str) -> Result<Vec<(&'a str, Rest<'a>)>, String> {
    let wanted = source.trim_start_matches("./").trim_matches('/');
    let wanted = if wanted == "." { "" } else { wanted };
    if wanted.split('/').any(|part| part == "..") {
        return Err(format!("`{source}` is outside the tree"));
    }
    let matches = pattern(wanted)?;
    let mut found = Vec::new();
    for path in tree.files.keys() {
        let name = path.rsplit('/').next().unwrap_or(path);
        let dirs = path.match_indices('/').map(|(at, _)| at);
        if wanted.is_empty() {
            found.push((path.as_str(), Rest::Below(path)));
        } else if path == wanted || matches(path) {
            found.push((path.as_str(), Rest::File(name)));
        } else if let Some(at) = dirs.into_iter().find(|at| path[..*at] == *wanted || matches(&path[..*at])) {
            found.push((path.as_str(), Rest::Below(&path[at + 1..])));
        }
    }
    Ok(found)
}

/// A predicate for paths that match `wanted`. Braces have no special meaning in a Dockerfile.
pub(in crate::runtime) fn pattern(wanted: &str) -> Result<impl Fn(&str) -> bool + use<>, String> {
    if wanted.len() > LONGEST {
        return Err(format!("`{wanted:.60}…` is longer than {LONGEST} bytes"));
    }
    let compiled = if wanted.contains(['*', '?', '[', '\\']) {
        let plain = wanted.replace('{', "[{]").replace('}', "[}]");
        let glob = globset::GlobBuilder::new(&plain).literal_separator(true).build();
        Some(glob.map_err(|e| format!("`{wanted}`: {}", e.kind()))?.compile_matcher())
    } else {
        None
    };
    Ok(move |path: &str| compiled.as_ref().is_some_and(|glob| glob.is_match(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn sources_are_files_directories_and_patterns() {
        let blobs = MemoryBlobs::default();
        let mut tree = Tree::new();
        for path in ["a.py", "b.py", "lib/x/y.py", "lib/z.py", "odd/{a,b}.c"] {
            tree.put(&blobs, path, b"").unwrap();
        }
        let found = |source: &str| -> Vec<String> {
            let name = |rest| match rest {
                Rest::File(name) => format!("={name}"),
                Rest::Below(path) => path.to_owned(),
            };
            sources(&tree, source).unwrap().into_iter().map(|(_, rest)| name(rest)).collect()
        };
        assert_eq!(found("."), ["a.py", "b.py", "lib/x/y.py", "lib/z.py", "odd/{a,b}.c"]);
        assert_eq!(found("odd/{a,b}.*"), ["={a,b}.c"]);
        assert_eq!(found("odd/{a,b}.c"), ["={a,b}.c"]);
        assert_eq!(found("./lib/"), ["x/y.py", "z.py"]);
        assert_eq!(found("*.py"), ["=a.py", "=b.py"]);
        assert_eq!(found("a.py"), ["=a.py"]);
        assert!(found("c.py").is_empty());
        assert!(sources(&tree, "../x").is_err());
        for hostile in
            ["[".repeat(3_000), "{".repeat(3_000), format!("*{}", "{a,".repeat(1_000)), "*".repeat(9_000)]
        {
            assert!(sources(&tree, &hostile).map_or(true, |found| found.is_empty()), "{hostile:.20}");
        }
    }
}
