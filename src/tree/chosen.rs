//! Files of a directory that globs choose: what a cached step reads, and what it produces.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::disk::disk;
use super::{Tree, TreeError, TreeFile, check_path};
use crate::rooted_fs::{Entry, RootedFs};
use crate::value::Digest;
use crate::verb::Blobs;

/// How many files of a directory are looked at.
const MOST: usize = 200_000;
/// How many bytes may be chosen.
const LARGEST: u64 = 1 << 30;

/// Globs relative to a directory; one without `/` is matched against names. An error says what is wrong with one.
pub fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
            return Err(format!("`{pattern}` leads out of the project"));
        }
        let pattern = pattern.trim_start_matches("./");
        let anywhere = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
        set.add(Glob::new(&anywhere).map_err(|e| format!("`{pattern}` is no glob: {}", e.kind()))?);
    }
    set.build().map_err(|e| e.to_string())
}

/// The files of `dir` that `patterns` choose, sorted by path. Links are not followed; `.git` and `.atoll` are left out.
fn chosen(dir: &Path, patterns: &[String]) -> Result<(RootedFs, Vec<Entry>), TreeError> {
    let fs = RootedFs::open(dir).map_err(disk(dir))?;
    let globs = globs(patterns).map_err(|why| wrong(dir, why))?;
    let hidden = |path: &str| path == ".atoll" || path.ends_with("/.atoll");
    let mut files = if patterns.is_empty() {
        Vec::new()
    } else {
        fs.list(MOST, &hidden, &|_| None).map_err(disk(dir))?.files
    };
    files.retain(|file| globs.is_match(&file.path));
    if files.iter().map(|file| file.size).sum::<u64>() > LARGEST {
        return Err(wrong(dir, format!("the files chosen have more than {} MiB", LARGEST >> 20)));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((fs, files))
}

/// How many files of `dir` each of the globs chooses, and a digest of their paths and contents.
pub fn digests_of_chosen(dir: &Path, patterns: &[String]) -> Result<Vec<(usize, Digest)>, TreeError> {
    let (fs, files) = chosen(dir, patterns)?;
    let mut lines = Vec::with_capacity(files.len());
    for file in &files {
        let path = Path::new(&file.path);
        let bytes = fs.read(path, LARGEST).map_err(disk(path))?;
        lines.push(format!("{} {}\n", Digest::of(&bytes), file.path));
    }
    let each = patterns.iter().map(|pattern| {
        let own = globs(std::slice::from_ref(pattern)).map_err(|why| wrong(dir, why))?;
        let own = files.iter().zip(&lines).filter(|(file, _)| own.is_match(&file.path));
        let (count, text) = own.fold((0, String::new()), |(count, text), (_, line)| (count + 1, text + line));
        Ok((count, Digest::of(text)))
    });
    each.collect()
}

fn wrong(dir: &Path, why: String) -> TreeError {
    disk(dir)(io::Error::new(io::ErrorKind::InvalidInput, why))
}

impl Tree {
    /// Keeps the files of `dir` that the globs choose.
    pub fn from_chosen(blobs: &dyn Blobs, dir: &Path, patterns: &[String]) -> Result<Self, TreeError> {
        let (fs, chosen) = chosen(dir, patterns)?;
        let mut files = BTreeMap::new();
        for file in chosen {
            let path = Path::new(&file.path);
            let bytes = fs.read(path, LARGEST).map_err(disk(path))?;
            let kept = TreeFile { blob: blobs.put(&bytes)?, executable: file.executable };
            files.insert(file.path, kept);
        }
        Ok(Self { files })
    }

    /// Writes the files of the tree into `dir`, over those that are there. Each is complete before it takes its place.
    pub fn restore(&self, blobs: &dyn Blobs, dir: &Path) -> Result<(), TreeError> {
        let fs = RootedFs::open(dir).map_err(disk(dir))?;
        for (path, file) in &self.files {
            let checked =
                check_path(path).map_err(|reason| TreeError::Path { path: path.clone(), reason })?;
            let bytes = blobs.get(&file.blob.digest)?;
            fs.put(Path::new(&checked), &bytes, file.executable).map_err(disk(Path::new(path)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::fs;

    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn what_globs_choose_is_digested_kept_and_restored() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/a.rs", "a");
        write("src/deep/b.rs", "b");
        write(".git/c.rs", "c");
        let patterns = ["src/**/*.rs".to_owned(), "c.rs".to_owned()];
        let digests = || digests_of_chosen(dir.path(), &patterns).unwrap();
        let first = digests();
        let counts: Vec<usize> = first.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [2, 0], "what `.git` holds is not chosen");
        write("other.txt", "x");
        assert_eq!(digests(), first);
        let blobs = MemoryBlobs::default();
        let tree = Tree::from_chosen(&blobs, dir.path(), &patterns).unwrap();
        write("src/a.rs", "changed");
        assert_ne!(digests()[0], first[0]);
        assert_eq!(digests()[1], first[1]);
        fs::remove_dir_all(dir.path().join("src/deep")).unwrap();
        tree.restore(&blobs, dir.path()).unwrap();
        assert_eq!(digests(), first);
        fs::remove_dir_all(dir.path().join("src")).unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("src")).unwrap();
        assert!(tree.restore(&blobs, dir.path()).is_err(), "a link leads out of the project");
        assert!(globs(&["../x".to_owned()]).is_err());
        assert!(globs(&["/etc/*".to_owned()]).is_err());
        assert!(globs(&["[".to_owned()]).is_err());
    }
}
