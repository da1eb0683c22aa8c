//! Reads and writes trees on disk exactly.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Tree, TreeError, TreeFile, check_path, has_shebang};
use crate::rooted_fs::{Listing, RootedFs, is_machine_fault};
use crate::value::{BlobRef, Digest};
use crate::verb::{BlobError, Blobs};

/// Most files of a directory that becomes a tree.
const MOST: usize = 100_000;
/// Most bytes of all its files.
const LARGEST: u64 = 2 << 30;

pub(super) fn disk(path: &Path) -> impl Fn(io::Error) -> TreeError + '_ {
    move |error| TreeError::Disk {
        path: path.to_owned(),
        message: error.to_string(),
        transient: is_machine_fault(&error),
    }
}

/// Whether the directory `dir` already has this file at `path`.
pub fn is_on_disk(dir: &Path, path: &str, file: &TreeFile) -> bool {
    let read = || RootedFs::open(dir)?.read(Path::new(path), file.blob.size);
    read().is_ok_and(|bytes| BlobRef::of(&bytes) == file.blob)
}

impl Tree {
    /// Makes the directory `into` equal to the tree: directories have mode 0755, files 0644 or 0755,
    /// whatever the umask is. Other content is removed; nothing outside changes. The replacement is atomic:
    /// after a crash, the old or the new content exists. Only if `into` is a mount point is it changed in
    /// place.
    pub fn materialise(&self, blobs: &dyn Blobs, into: &Path) -> Result<(), TreeError> {
        self.materialise_at(blobs, &real_path(into)?)
    }

    /// Like [`Tree::materialise`], for a path from [`real_path`]. A symbolic link in the path is an error.
    pub fn materialise_at(&self, blobs: &dyn Blobs, into: &Path) -> Result<(), TreeError> {
        let failed = |e| disk(into)(e);
        let (Some(parent), Some(name)) = (into.parent(), into.file_name().map(Path::new)) else {
            return Err(failed(io::Error::new(
                ErrorKind::InvalidInput,
                "the root directory cannot be replaced",
            )));
        };
        let machine = RootedFs::open(Path::new("/")).map_err(failed)?;
        let dir = machine.make_dirs(parent).and_then(|()| machine.dir(parent)).map_err(disk(parent))?;
        let stage = dir.make_unique_dir(&format!(".{}.", name.display())).map_err(disk(parent))?;
        let placed = self.place(blobs, &dir, &stage, name, into);
        // It now has the old content of the directory, or a part of the tree.
        let removed = dir.remove(&stage).map_err(disk(parent));
        placed.and(removed)
    }

    /// Checks whether [`Tree::materialise_at`] can write to `into`, by creating and removing an empty
    /// directory.
    pub fn can_materialise_at(into: &Path) -> Result<(), TreeError> {
        let failed = |error: io::Error| disk(into)(error);
        let machine = RootedFs::open(Path::new("/")).map_err(failed)?;
        let is_there = |dir: &&Path| dir.symlink_metadata().is_ok();
        let above = into.ancestors().skip(1).find(is_there).unwrap_or(Path::new("/"));
        let probe = |at: &Path| {
            let dir = machine.dir(at)?;
            let made = dir.make_unique_dir(".atoll-probe.")?;
            dir.remove(&made)
        };
        probe(above).map_err(disk(above))?;
        let Ok(there) = into.symlink_metadata() else { return Ok(()) };
        if !there.is_dir() {
            return Err(failed(io::Error::new(ErrorKind::NotADirectory, "it exists and is not a directory")));
        }
        // A mount point, or a directory of another user in a directory like `/tmp`, cannot be renamed, so
        // it is changed in place.
        let above = above.metadata().map_err(failed)?;
        let user = geteuid();
        let owns = user.is_root() || [there.uid(), above.uid()].contains(&user.as_raw());
        let is_renamed = there.dev() == above.dev() && (owns || above.mode() & 0o1000 == 0);
        if is_renamed { Ok(()) } else { probe(into).map_err(failed) }
    }

    /// Fills the directory `stage` of `dir` and renames it to `name`.
    fn place(
        &self,
        blobs: &dyn Blobs,
        dir: &RootedFs,
        stage: &Path,
        name: &Path,
        into: &Path,
    ) -> Result<(), TreeError> {
        self.fill(blobs, &dir.dir(stage).map_err(disk(into))?, into)?;
        if !dir.is_dir(name) {
            return dir.rename(stage, name).map_err(|e| match e.kind() {
                ErrorKind::AlreadyExists => {
                    disk(into)(io::Error::new(ErrorKind::NotADirectory, "it exists and is not a directory"))
                }
                _ => disk(into)(e),
            });
        }
        if dir.exchange(stage, name).is_ok() {
            return Ok(());
        }
        let mounted = dir.dir(name).map_err(disk(into))?;
        mounted.clear().map_err(disk(into))?;
        self.fill(blobs, &mounted, into)
    }

    fn fill(&self, blobs: &dyn Blobs, to: &RootedFs, shown: &Path) -> Result<(), TreeError> {
        for (path, file) in &self.files {
            let checked =
                check_path(path).map_err(|reason| TreeError::Path { path: path.clone(), reason })?;
            let bytes = blobs.get(&file.blob.digest)?;
            let executable = file.executable || has_shebang(&bytes);
            to.put(Path::new(&checked), &bytes, executable).map_err(disk(&shown.join(&checked)))?;
        }
        Ok(())
    }

    /// Stores the files of the directory `from`, except `.git` and relative paths for which `ignore`
    /// returns true. Relative links to files and directories inside `from` count as their targets. Other
    /// links, pipes, devices, invalid names and too many files are errors.
    pub fn from_dir(
        blobs: &dyn Blobs,
        from: &Path,
        ignore: &dyn Fn(&str) -> bool,
    ) -> Result<Self, TreeError> {
        let root = RootedFs::open(from).map_err(disk(from))?.following_links();
        Self::packed(blobs, from, &root, ignore).map(|(tree, _)| tree)
    }

    /// Like [`Tree::from_dir`], but absolute links into `from` count as their targets, too. Dangling links,
    /// link cycles, and links to the outside or to ignored files are kept as links. Empty directories,
    /// permissions and times are preserved.
    pub fn from_dir_with_links(
        blobs: &dyn Blobs,
        from: &Path,
        ignore: &dyn Fn(&str) -> bool,
    ) -> Result<Self, TreeError> {
        let root = RootedFs::open(from).map_err(disk(from))?.following_links().keeping_links();
        let (tree, listing) = Self::packed(blobs, from, &root, ignore)?;
        let status = listing.files.into_iter().map(|entry| (entry.path, entry.status)).collect();
        Ok(Self { status, dirs: listing.dirs.into_iter().collect(), ..tree })
    }

    fn packed(
        blobs: &dyn Blobs,
        from: &Path,
        root: &RootedFs,
        ignore: &dyn Fn(&str) -> bool,
    ) -> Result<(Self, Listing), TreeError> {
        let unfit = |path: &str| match check_path(path) {
            Ok(checked) if checked == path => None,
            Ok(_) => Some("its path is not in normalized form".to_owned()),
            Err(reason) => Some(reason),
        };
        let mut listing = root.list(MOST, ignore, &unfit).map_err(disk(from))?;
        if let Some(left) = listing.left_out.first() {
            let why = left.why.clone();
            return Err(match check_path(&left.path) {
                Ok(_) => disk(&from.join(&left.path))(io::Error::new(ErrorKind::InvalidInput, why)),
                Err(_) => TreeError::Path { path: shortened(&left.path), reason: why },
            });
        }
        let size = listing.files.iter().fold(0_u64, |size, entry| size.saturating_add(entry.size));
        if size > LARGEST {
            let text = format!("its files have {size} bytes, more than {LARGEST}");
            return Err(disk(from)(io::Error::new(ErrorKind::FileTooLarge, text)));
        }
        let (mut files, mut left) = (BTreeMap::new(), LARGEST);
        for entry in &listing.files {
            let bytes = root.read(Path::new(&entry.path), left).map_err(disk(&from.join(&entry.path)))?;
            left -= bytes.len() as u64;
            let executable = entry.executable || has_shebang(&bytes);
            files.insert(entry.path.clone(), TreeFile { blob: blobs.put(&bytes)?, executable });
        }
        let links = std::mem::take(&mut listing.links).into_iter().collect();
        Ok((Self { files, links, ..Self::default() }, listing))
    }
}

/// The beginning of a path that may be very long.
fn shortened(path: &str) -> String {
    let start: String = path.chars().take(120).collect();
    if start.len() < path.len() { start + "…" } else { start }
}

/// Digest of the tree of everything in `dir`; nothing is stored.
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

/// Whether replacing the directory `dir` would lose files: its content is not exactly a stored tree, as
/// after an earlier delivery.
pub fn holds_foreign_files(blobs: &dyn Blobs, dir: &Path) -> Result<bool, TreeError> {
    let fs = match RootedFs::open(dir) {
        Ok(fs) => fs,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(disk(dir)(e)),
    };
    if fs.is_empty().map_err(disk(dir))? {
        return Ok(false);
    }
    if fs.has(Path::new(".git")) {
        return Ok(true);
    }
    let known = digest_of_dir(dir).is_ok_and(|digest| Tree::load(blobs, &digest).is_ok());
    Ok(!known)
}

/// The absolute path with links in existing components resolved, including `path` itself.
pub fn real_path(path: &Path) -> Result<PathBuf, TreeError> {
    let absolute = std::path::absolute(path).map_err(disk(path))?;
    let mut missing = Vec::new();
    for there in absolute.ancestors() {
        match there.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, name| path.join(name))),
            Err(e) if e.kind() == ErrorKind::NotFound => missing.extend(there.file_name()),
            Err(e) => return Err(disk(path)(e)),
        }
    }
    Ok(absolute)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

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
        fs::write(dir.join("large"), "").unwrap();
        fs::OpenOptions::new().write(true).open(dir.join("large")).unwrap().set_len(3 << 30).unwrap();
        let error = Tree::from_dir(&blobs, &dir, &|path| path == "target").unwrap_err().to_string();
        assert!(error.contains("more than 2147483648"), "{error}");
        fs::remove_file(dir.join("large")).unwrap();
        fs::create_dir_all(dir.join("lib/deep")).unwrap();
        fs::write(dir.join("lib/deep/y"), "y").unwrap();
        symlink("lib", dir.join("more")).unwrap();
        let tree = Tree::from_dir(&blobs, &dir, &|path| path == "target").unwrap();
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["a", "b", "lib/deep/y", "more/deep/y"]);
        symlink("../../lib", dir.join("lib/deep/up")).unwrap();
        let error = Tree::from_dir(&blobs, &dir, &|path| path == "target").unwrap_err().to_string();
        assert!(error.contains("up: it is a link to a directory that contains it"), "{error}");
        fs::remove_file(dir.join("lib/deep/up")).unwrap();
        fs::write(place.path().join("secret"), "S").unwrap();
        symlink("../secret", dir.join("c")).unwrap();
        let error = Tree::from_dir(&blobs, &dir, &|_| false).unwrap_err().to_string();
        assert!(error.contains("leads out of the directory"), "{error}");
        symlink("/etc/passwd", dir.join("d")).unwrap();
        symlink("d", dir.join("e")).unwrap();
        symlink("nowhere", dir.join("f")).unwrap();
        symlink("..", dir.join("lib/deep/up")).unwrap();
        let tree = Tree::from_dir_with_links(&blobs, &dir, &|path| path == "target").unwrap();
        let links: Vec<_> = tree.links.iter().map(|(path, to)| (path.as_str(), to.as_str())).collect();
        let kept =
            [("c", "../secret"), ("d", "/etc/passwd"), ("e", "d"), ("f", "nowhere"), ("lib/deep/up", "..")];
        assert_eq!(links, [&kept[..], &[("more/deep/up", "..")]].concat());
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["a", "b", "lib/deep/y", "more/deep/y"]);
        let saved = tree.save(&blobs).unwrap();
        assert_eq!(Tree::load_with_links(&blobs, &saved.tree).unwrap(), tree);
        let error = Tree::load(&blobs, &saved.tree).unwrap_err().to_string();
        assert!(error.starts_with("\"c\" is a link to a target outside the tree"), "{error}");
        let error = Tree::from_dir(&blobs, &place.path().join("none"), &|_| false).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
    #[test]
    fn links_that_lead_out_and_back_count_where_links_are_kept() {
        let blobs = MemoryBlobs::default();
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("in");
        fs::create_dir_all(dir.join("lib/deep")).unwrap();
        fs::write(dir.join("a"), "A").unwrap();
        fs::write(dir.join("lib/deep/y"), "y").unwrap();
        fs::create_dir(place.path().join("in-beside")).unwrap();
        fs::write(place.path().join("in-beside/a"), "S").unwrap();
        symlink(&dir, place.path().join("other")).unwrap();
        for (link, to) in [
            ("absolute", dir.join("a")),
            ("chain", dir.join("absolute")),
            ("dots", dir.join("lib/../../in/lib/deep/y")),
            ("named", place.path().join("other/a")),
            ("more", dir.join("lib")),
            ("lib/deep/up", PathBuf::from("../../../in/a")),
        ] {
            symlink(to, dir.join(link)).unwrap();
        }
        let kept = [
            ("beside", place.path().join("in-beside/a")),
            ("circle", dir.join("circle")),
            ("gone", dir.join("nothing")),
            ("out", place.path().join("in/../in-beside/a")),
            ("self", dir.clone()),
        ];
        for (link, to) in &kept {
            symlink(to, dir.join(link)).unwrap();
        }
        let tree = Tree::from_dir_with_links(&blobs, &dir, &|_| false).unwrap();
        let links: Vec<_> = tree.links.iter().map(|(path, to)| (path.as_str(), PathBuf::from(to))).collect();
        assert_eq!(links, kept);
        let files: Vec<_> = tree.files.keys().map(String::as_str).collect();
        let expected = [
            "a",
            "absolute",
            "chain",
            "dots",
            "lib/deep/up",
            "lib/deep/y",
            "more/deep/up",
            "more/deep/y",
            "named",
        ];
        assert_eq!(files, expected);
        let one = |path: &str| tree.files[path].blob.digest;
        assert!(["absolute", "chain", "named", "more/deep/up"].iter().all(|path| one(path) == one("a")));
        assert_eq!(one("dots"), one("lib/deep/y"));
        let error = Tree::from_dir(&blobs, &dir, &|_| false).unwrap_err().to_string();
        assert!(error.contains("leads out of the directory"), "{error}");
    }
}
