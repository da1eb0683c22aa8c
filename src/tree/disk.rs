//! Trees on the disk: written exactly, read exactly.
#![expect(clippy::disallowed_methods, reason = "the door between trees and the disk")]

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{Tree, TreeError, TreeFile, check_path, has_shebang};
use crate::value::{BlobRef, Digest};
use crate::verb::{BlobError, Blobs};

fn disk(path: &Path) -> impl Fn(std::io::Error) -> TreeError + '_ {
    move |error| TreeError::Disk { path: path.to_owned(), message: error.to_string() }
}

impl Tree {
    /// Makes the directory `into` equal to the tree: directories 0755, files 0644 or 0755, whatever the umask. What
    /// was in it is gone; nothing outside it is touched. The new content is complete before it takes the place of the
    /// old, so a crash leaves either of them, except where `into` is a mount point and has to be refilled in place.
    pub fn materialise(&self, blobs: &dyn Blobs, into: &Path) -> Result<(), TreeError> {
        let into = &real_target(into)?;
        let parent = into.parent().ok_or_else(|| {
            disk(into)(std::io::Error::new(ErrorKind::InvalidInput, "the root directory cannot be replaced"))
        })?;
        fs::create_dir_all(parent).map_err(disk(parent))?;
        let name = into.file_name().unwrap_or_default().to_string_lossy();
        let stage =
            tempfile::Builder::new().prefix(&format!(".{name}.")).tempdir_in(parent).map_err(disk(parent))?;
        let fresh = stage.path().join("tree");
        self.fill(blobs, &fresh)?;
        if !into.exists() {
            return fs::rename(&fresh, into).map_err(disk(into));
        }
        if !into.is_dir() {
            return Err(disk(into)(std::io::Error::new(
                ErrorKind::NotADirectory,
                "it is a file, not a directory",
            )));
        }
        if renameat2(AT_FDCWD, &fresh, AT_FDCWD, into, RenameFlags::RENAME_EXCHANGE).is_ok() {
            return Ok(());
        }
        clear(into)?;
        self.fill(blobs, into)
    }

    fn fill(&self, blobs: &dyn Blobs, into: &Path) -> Result<(), TreeError> {
        make_dir(into)?;
        for (path, file) in &self.files {
            let checked =
                check_path(path).map_err(|reason| TreeError::Path { path: path.clone(), reason })?;
            for (end, _) in checked.match_indices('/') {
                make_dir(&into.join(&checked[..end]))?;
            }
            let bytes = blobs.get(&file.blob.digest)?;
            let target = into.join(&checked);
            fs::write(&target, &bytes).map_err(disk(&target))?;
            let mode = if file.executable || has_shebang(&bytes) { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).map_err(disk(&target))?;
        }
        Ok(())
    }

    /// Keeps the files of the directory `from`. `ignore` is asked with the relative path of each file and directory;
    /// `.git` is always left out. Links to files inside `from` count as those files; other links, devices and names
    /// that no tree may hold are errors.
    pub fn from_dir(
        blobs: &dyn Blobs,
        from: &Path,
        ignore: &dyn Fn(&str) -> bool,
    ) -> Result<Self, TreeError> {
        let root = from.canonicalize().map_err(disk(from))?;
        let mut files = BTreeMap::new();
        let mut left = vec![(root.clone(), String::new())];
        while let Some((dir, prefix)) = left.pop() {
            for entry in fs::read_dir(&dir).map_err(disk(&dir))? {
                let entry = entry.map_err(disk(&dir))?;
                let name = entry.file_name();
                if name == ".git" {
                    continue;
                }
                let relative = format!("{prefix}{}", name.to_string_lossy());
                if ignore(&relative) {
                    continue;
                }
                let name_fits = name.to_str().is_some();
                let path = match check_path(&relative) {
                    Ok(path) if name_fits => path,
                    Ok(_) => {
                        return Err(TreeError::Path { path: relative, reason: "it is no UTF-8".to_owned() });
                    }
                    Err(reason) => return Err(TreeError::Path { path: relative, reason }),
                };
                let kind = entry.file_type().map_err(disk(&entry.path()))?;
                if kind.is_dir() {
                    left.push((entry.path(), format!("{path}/")));
                } else {
                    files.insert(path, read_file(blobs, &root, &entry.path())?);
                }
            }
        }
        Ok(Self { files })
    }
}

/// Digest that the tree of everything in `dir` has; nothing is kept.
pub fn digest_of_dir(dir: &Path) -> Result<Digest, TreeError> {
    struct Nowhere;
    impl Blobs for Nowhere {
        fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
            Ok(BlobRef::of(bytes))
        }
        fn get(&self, digest: &Digest) -> Result<std::sync::Arc<[u8]>, BlobError> {
            Err(BlobError::Missing(*digest))
        }
    }
    Ok(Tree::from_dir(&Nowhere, dir, &|_| false)?.digest())
}

/// Whether the directory `dir` holds anything that replacing it would lose: something else than exactly a tree whose
/// manifest the store has, as an earlier delivery leaves it.
pub fn holds_foreign_files(blobs: &dyn Blobs, dir: &Path) -> Result<bool, TreeError> {
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == ErrorKind::NotFound => true,
        Err(e) => return Err(disk(dir)(e)),
    };
    if is_empty {
        return Ok(false);
    }
    if dir.join(".git").exists() {
        return Ok(true);
    }
    let known = digest_of_dir(dir).is_ok_and(|digest| Tree::load(blobs, &digest).is_ok());
    Ok(!known)
}

fn read_file(blobs: &dyn Blobs, root: &Path, path: &Path) -> Result<TreeFile, TreeError> {
    let real = path.canonicalize().map_err(disk(path))?;
    let state = fs::metadata(&real).map_err(disk(path))?;
    let wrong = |what: &str| disk(path)(std::io::Error::new(ErrorKind::InvalidInput, what.to_owned()));
    if !real.starts_with(root) {
        return Err(wrong("the link leads outside the directory"));
    }
    if !state.is_file() {
        return Err(wrong("neither a file nor a directory, or a link to a directory: a tree cannot hold it"));
    }
    let bytes = fs::read(&real).map_err(disk(path))?;
    let executable = state.permissions().mode() & 0o111 != 0 || has_shebang(&bytes);
    Ok(TreeFile { blob: blobs.put(&bytes)?, executable })
}

/// Absolute, and with links in existing parts followed: a link at `into` itself means the directory it names.
fn real_target(into: &Path) -> Result<PathBuf, TreeError> {
    match into.canonicalize() {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == ErrorKind::NotFound => std::path::absolute(into).map_err(disk(into)),
        Err(e) => Err(disk(into)(e)),
    }
}

fn make_dir(path: &Path) -> Result<(), TreeError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(disk(path)(e)),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(disk(path))
}

fn clear(dir: &Path) -> Result<(), TreeError> {
    for entry in fs::read_dir(dir).map_err(disk(dir))? {
        let entry = entry.map_err(disk(dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(disk(&path))?;
        let gone = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(disk(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::verb::MemoryBlobs;

    fn sample(blobs: &MemoryBlobs) -> Tree {
        let mut tree = Tree::new();
        tree.put(blobs, "src/main.py", b"print(1)\n").unwrap();
        tree.put(blobs, "run", b"#!/bin/sh\n").unwrap();
        tree.put(blobs, "data.bin", &[0, 255]).unwrap();
        tree
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_becomes_exactly_the_tree_and_reads_back_as_it() {
        let blobs = MemoryBlobs::default();
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("deep/out");
        let tree = sample(&blobs);
        tree.materialise(&blobs, &into).unwrap();
        assert_eq!(Tree::from_dir(&blobs, &into, &|_| false).unwrap(), tree);
        assert_eq!((mode(&into), mode(&into.join("src"))), (0o755, 0o755));
        assert_eq!((mode(&into.join("run")), mode(&into.join("data.bin"))), (0o755, 0o644));

        fs::write(into.join("stray"), "x").unwrap();
        fs::write(place.path().join("deep/beside"), "kept").unwrap();
        let mut smaller = tree.clone();
        smaller.files.remove("src/main.py");
        smaller.materialise(&blobs, &into).unwrap();
        assert_eq!(digest_of_dir(&into).unwrap(), smaller.digest());
        assert!(!into.join("src").exists());
        let mut around: Vec<_> =
            fs::read_dir(place.path().join("deep")).unwrap().map(|e| e.unwrap().file_name()).collect();
        around.sort();
        assert_eq!(around, ["beside", "out"]);
    }

    #[test]
    fn a_failed_delivery_leaves_the_old_directory() {
        let blobs = MemoryBlobs::default();
        let place = tempfile::tempdir().unwrap();
        let into = place.path().join("out");
        sample(&blobs).materialise(&blobs, &into).unwrap();
        let mut broken = sample(&blobs);
        broken.files.insert("x".into(), TreeFile { blob: BlobRef::of(b"never kept"), executable: false });
        assert!(matches!(broken.materialise(&blobs, &into), Err(TreeError::Blob(_))));
        assert_eq!(digest_of_dir(&into).unwrap(), sample(&blobs).digest());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_forged_tree_does_not_escape() {
        let blobs = MemoryBlobs::default();
        let place = tempfile::tempdir().unwrap();
        let mut tree = Tree::new();
        tree.put(&blobs, "x", b"").unwrap();
        let file = tree.files["x"];
        tree.files.insert("../escaped".to_owned(), file);
        assert!(matches!(tree.materialise(&blobs, &place.path().join("out")), Err(TreeError::Path { .. })));
        assert!(!place.path().join("escaped").exists());
    }

    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        let blobs = MemoryBlobs::default();
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("in");
        fs::create_dir_all(dir.join(".git")).unwrap();
        fs::write(dir.join(".git/HEAD"), "x").unwrap();
        fs::write(dir.join("a"), "A").unwrap();
        fs::create_dir_all(dir.join("target/deep")).unwrap();
        fs::write(dir.join("target/deep/x"), "x").unwrap();
        symlink("a", dir.join("b")).unwrap();
        let tree = Tree::from_dir(&blobs, &dir, &|path| path == "target").unwrap();
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(tree.files["a"], tree.files["b"]);
        fs::write(place.path().join("secret"), "S").unwrap();
        symlink("../secret", dir.join("c")).unwrap();
        let error = Tree::from_dir(&blobs, &dir, &|_| false).unwrap_err().to_string();
        assert!(error.contains("leads outside"), "{error}");
        let error = Tree::from_dir(&blobs, &place.path().join("none"), &|_| false).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
