//! Files of a directory in which strangers work: whatever links they make there, nothing outside is read or written.
#![expect(clippy::disallowed_methods, reason = "the door to directories that sandboxed programs write to")]

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use crate::tree::check_path;

/// Most files that are listed.
const MOST: usize = 50_000;

/// A directory, seen from above. Paths are relative, as [`check_path`] returns them.
pub struct Within {
    root: OwnedFd,
    /// Whom new files belong to.
    owner: Option<u32>,
}

/// A file below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// The same as long as nobody has written to it.
    pub stamp: Stamp,
}

/// Which file it is, its length, and when it was last changed in any way.
pub type Stamp = (u64, u64, i64, i64);

/// What is below.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Files, sorted by path.
    pub files: Vec<Entry>,
    /// What no tree of files can hold: links that lead nowhere or out, devices, strange names.
    pub left_out: Vec<String>,
}

impl Within {
    /// Sees `dir`; files that are made in it belong to `owner`.
    pub fn open(dir: &Path, owner: Option<u32>) -> io::Result<Self> {
        Ok(Self { root: File::open(dir)?.into(), owner })
    }

    fn at(&self, path: &str, flags: OFlag, resolve: ResolveFlag) -> io::Result<File> {
        let mode =
            if flags.contains(OFlag::O_CREAT) { Mode::from_bits_truncate(0o644) } else { Mode::empty() };
        // Without waiting for anybody: what is there may be a pipe.
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
        Ok(File::from(openat2(&self.root, path, how)?))
    }

    /// The file at `path`, followed through links that stay inside.
    fn regular(&self, path: &str, flags: OFlag) -> io::Result<File> {
        let opened = self.at(path, flags, ResolveFlag::RESOLVE_BENEATH);
        let file = opened.map_err(|e| match e.raw_os_error().map(nix::errno::Errno::from_raw) {
            Some(nix::errno::Errno::EXDEV) => io::Error::other("it leads out of the workspace"),
            Some(nix::errno::Errno::ENXIO) => io::Error::other("it is no file"),
            _ => e,
        })?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
    }

    /// The file at `path`, whole; one of more than `most` bytes is an error.
    pub fn read(&self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        let file = self.regular(path, OFlag::O_RDONLY)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("it has {size} bytes, more than {most}")));
        }
        Ok(bytes)
    }

    /// Makes the file at `path` hold `bytes`, with the directories above it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        for (end, _) in path.match_indices('/') {
            self.make_dir(&path[..end])?;
        }
        let mut file = self.regular(path, OFlag::O_WRONLY | OFlag::O_CREAT)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        if bytes.starts_with(b"#!") {
            let mode = file.metadata()?.permissions().mode();
            file.set_permissions(Permissions::from_mode(mode | 0o111))?;
        }
        self.give(&file)
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let above = self.at(above, directory, ResolveFlag::RESOLVE_BENEATH)?;
        match mkdirat(&above, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => self.give(&self.at(path, directory, ResolveFlag::RESOLVE_BENEATH)?),
            Err(nix::errno::Errno::EEXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn give(&self, file: &File) -> io::Result<()> {
        match self.owner {
            Some(owner) => Ok(fchown(file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?),
            None => Ok(()),
        }
    }

    /// All files, without those of `.git` and what `ignore` says of a path.
    pub fn list(&self, ignore: &dyn Fn(&str) -> bool) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let mut left = vec![String::new()];
        while let Some(prefix) = left.pop() {
            let path = prefix.strip_suffix('/').unwrap_or(".");
            let here = self.at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, ResolveFlag::RESOLVE_NO_SYMLINKS);
            let Ok(here) = here else {
                listing.left_out.push(path.to_owned());
                continue;
            };
            for entry in std::fs::read_dir(format!("/proc/self/fd/{}", here.as_raw_fd()))? {
                let entry = entry?;
                let name = entry.file_name();
                let path = format!("{prefix}{}", name.to_string_lossy());
                if name == ".git" || ignore(&path) {
                    continue;
                }
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let fits = name.to_str().is_some() && check_path(&path).is_ok_and(|checked| checked == path);
                match self.entry(&path).ok().filter(|_| fits && !is_dir) {
                    _ if fits && is_dir => left.push(path + "/"),
                    Some(entry) => listing.files.push(entry),
                    None => listing.left_out.push(path),
                }
                if listing.files.len() + listing.left_out.len() > MOST {
                    return Err(io::Error::other(format!("more than {MOST} files")));
                }
            }
        }
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        listing.left_out.sort();
        Ok(listing)
    }

    fn entry(&self, path: &str) -> io::Result<Entry> {
        let state = self.regular(path, OFlag::O_RDONLY)?.metadata()?;
        Ok(Entry {
            path: path.to_owned(),
            size: state.len(),
            executable: state.mode() & 0o111 != 0,
            stamp: (state.ino(), state.len(), state.ctime(), state.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_read_written_or_listed() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("in");
        std::fs::create_dir_all(dir.join(".git")).unwrap();
        std::fs::write(place.path().join("secret"), "S").unwrap();
        std::fs::write(dir.join("a"), "A").unwrap();
        symlink("../secret", dir.join("out")).unwrap();
        symlink(place.path(), dir.join("up")).unwrap();
        symlink("/etc/passwd", dir.join("far")).unwrap();
        symlink("a", dir.join("near")).unwrap();
        nix::unistd::mkfifo(&dir.join("pipe"), Mode::S_IRWXU).unwrap();
        let within = Within::open(&dir, None).unwrap();
        assert_eq!(within.read("near", 9).unwrap(), b"A");
        for path in ["out", "far", "up/secret", "../secret", "pipe", "none"] {
            assert!(within.read(path, 9).is_err(), "{path}");
            assert!(path == "none" || within.write(path, b"x").is_err(), "{path}");
        }
        assert!(within.write("up/new", b"x").is_err());
        assert_eq!(std::fs::read_to_string(place.path().join("secret")).unwrap(), "S");
        assert!(!place.path().join("new").exists());
        within.write("deep/er/b.sh", b"#!/bin/sh\n").unwrap();
        assert!(within.read("a", 0).unwrap_err().to_string().contains("1 bytes, more than 0"));
        let listing = within.list(&|path| path == "none").unwrap();
        let files: Vec<_> = listing.files.iter().map(|file| (file.path.as_str(), file.executable)).collect();
        assert_eq!(files, [("a", false), ("deep/er/b.sh", true), ("near", false)]);
        assert_eq!(listing.left_out, ["far", "out", "pipe", "up"]);
    }

    #[test]
    fn a_written_file_has_another_stamp() {
        let place = tempfile::tempdir().unwrap();
        let within = Within::open(place.path(), None).unwrap();
        within.write("a", b"one, and more").unwrap();
        let first = within.list(&|_| false).unwrap().files;
        assert_eq!(within.list(&|_| false).unwrap().files, first);
        within.write("a", b"two").unwrap();
        assert_ne!(within.list(&|_| false).unwrap().files, first);
        assert_eq!(within.read("a", 9).unwrap(), b"two");
    }
}
