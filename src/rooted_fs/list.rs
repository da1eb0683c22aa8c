//! Lists the files of a tree by relative path.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{self as sys, FileType, OFlags, Stat};
use serde::{Deserialize, Serialize};

use super::followed::{DirIdentity, Followed};
use super::{RootedFs, walk};

/// A listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Relative path.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Whether it is executable.
    pub executable: bool,
    /// Stamp that changes when the file is written.
    pub stamp: Stamp,
    /// Permissions and modification time.
    pub status: FileStatus,
}

/// Permissions and modification time of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Permissions.
    pub mode: u32,
    /// Modification time: seconds since the Unix epoch, and nanoseconds.
    pub modified: (i64, u32),
}

impl FileStatus {
    fn of(state: &Stat) -> Self {
        let nanoseconds = u32::try_from(state.st_mtime_nsec).unwrap_or_default();
        Self { mode: state.st_mode & 0o777, modified: (state.st_mtime, nanoseconds) }
    }
}

/// Inode, length, and time of the last change of any kind.
pub type Stamp = (u64, u64, i64, i64);

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

/// An entry that cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Path, with invalid UTF-8 replaced.
    pub path: String,
    /// Reason.
    pub why: String,
}

/// Content of a directory tree.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Files, sorted by path.
    pub files: Vec<FileEntry>,
    /// Directories, including those without files.
    pub dirs: Vec<(String, FileStatus)>,
    /// Links that are kept as links, with their targets as written; sorted by path.
    pub links: Vec<(String, String)>,
    /// Dangling links and links to the outside that are not kept, pipes, devices, invalid names; sorted by
    /// path.
    pub left_out: Vec<LeftOut>,
}

impl RootedFs {
    /// Entries of the directory at `path`, which must not be a link, by name. More than `most` entries are
    /// an error.
    pub fn entries(&self, path: &Path, most: usize) -> io::Result<Vec<(OsString, EntryKind)>> {
        let dir = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        let (entries, has_more) = walk::entries(dir.as_fd(), most as u64)?;
        if has_more {
            return Err(io::Error::other(format!("it has more than {most} entries")));
        }
        let kind = |kind| match kind {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Dir,
            FileType::Symlink => EntryKind::Link,
            _ => EntryKind::Other,
        };
        let named = entries.into_iter().map(|(name, of)| (OsString::from_vec(name.into_bytes()), kind(of)));
        let mut named: Vec<_> = named.collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(named)
    }

    /// All files, at most `most`, without `.git` and ignored paths. If links are followed, a link to a file
    /// or directory inside counts as its target. `refused` returns why a path cannot be listed.
    pub fn list(
        &self,
        most: usize,
        ignore: &dyn Fn(&str) -> bool,
        refused: &dyn Fn(&str) -> Option<String>,
    ) -> io::Result<Listing> {
        let mut listing = Listing::default();
        let mut followed = Followed::default();
        let mut left = vec![String::new()];
        while let Some(prefix) = left.pop() {
            let dir = prefix.strip_suffix('/').unwrap_or(&prefix);
            let entries = self.at(Path::new(dir), self.opening_dirs()).and_then(|dir| {
                let status = FileStatus::of(&sys::fstat(&dir)?);
                Ok((status, walk::entries(dir.as_fd(), most as u64 + 1)?))
            });
            let entries = match entries {
                Ok((status, (entries, _))) => {
                    if !dir.is_empty() {
                        listing.dirs.push((dir.to_owned(), status));
                    }
                    entries
                }
                Err(e) if dir.is_empty() => return Err(e),
                Err(e) => {
                    listing.left_out.push(LeftOut { path: dir.to_owned(), why: e.to_string() });
                    continue;
                }
            };
            for (name, kind) in entries {
                let path = format!("{prefix}{}", name.to_string_lossy());
                if name.to_bytes() == b".git" || ignore(&path) {
                    continue;
                }
                let unfit = match name.to_str() {
                    Ok(_) => refused(&path),
                    Err(_) => Some("its name is not UTF-8".to_owned()),
                };
                match unfit {
                    Some(why) => listing.left_out.push(LeftOut { path, why }),
                    None if kind == FileType::Directory => left.push(path + "/"),
                    None if kind == FileType::Symlink
                        && self.keeps
                        && self.leads_to_ignored(&path, ignore) =>
                    {
                        self.keep_link(&mut listing, path, "it points to an ignored file".to_owned());
                    }
                    None if kind == FileType::Symlink && self.follows && self.is_dir(Path::new(&path)) => {
                        match self.leads_up(&path) {
                            Ok(false) => {
                                followed.count(self.identity(Path::new(&path))?, &path)?;
                                left.push(path + "/");
                            }
                            Ok(true) => {
                                let why = "it is a link to a directory that contains it".to_owned();
                                self.keep_link(&mut listing, path, why);
                            }
                            Err(e) => self.keep_link(&mut listing, path, e.to_string()),
                        }
                    }
                    None if !matches!(kind, FileType::RegularFile | FileType::Symlink) => {
                        listing
                            .left_out
                            .push(LeftOut { path, why: "it is neither a file nor a directory".to_owned() });
                    }
                    None => match self.listed(&path) {
                        Ok(entry) => listing.files.push(entry),
                        Err(e) if kind == FileType::Symlink => {
                            self.keep_link(&mut listing, path, e.to_string());
                        }
                        Err(e) => listing.left_out.push(LeftOut { path, why: e.to_string() }),
                    },
                }
                if listing.files.len() + listing.links.len() + listing.left_out.len() > most {
                    return Err(io::Error::other(format!("more than {most} files")));
                }
                if listing.dirs.len() + left.len() > most {
                    return Err(io::Error::other(format!("more than {most} directories")));
                }
            }
        }
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        listing.dirs.sort_by(|a, b| a.0.cmp(&b.0));
        listing.links.sort();
        listing.left_out.sort();
        Ok(listing)
    }

    /// Lists a link that cannot be followed for the reason `why`: as a link if links are kept, otherwise as
    /// left out.
    fn keep_link(&self, listing: &mut Listing, path: String, why: String) {
        let target = self.keeps.then(|| self.read_link(Path::new(&path)));
        match target.map(|target| target.map(|target| target.into_os_string().into_string())) {
            None => listing.left_out.push(LeftOut { path, why }),
            Some(Ok(Ok(target))) => listing.links.push((path, target)),
            Some(Ok(Err(_))) => {
                let why = "it is a link to a name that is not UTF-8".to_owned();
                listing.left_out.push(LeftOut { path, why });
            }
            Some(Err(e)) => listing.left_out.push(LeftOut { path, why: e.to_string() }),
        }
    }

    fn opening_dirs(&self) -> OFlags {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        if self.follows { flags } else { flags | OFlags::NOFOLLOW }
    }

    /// Whether the link at `path` points to `.git`, an ignored path inside, or below one.
    fn leads_to_ignored(&self, path: &str, ignore: &dyn Fn(&str) -> bool) -> bool {
        let Ok(inside) = self.inside(Path::new(path)) else { return false };
        inside.ancestors().any(|part| {
            part.file_name().is_some_and(|name| name == ".git") || part.to_str().is_some_and(ignore)
        })
    }

    /// Identity of the directory at `path`.
    fn identity(&self, path: &Path) -> io::Result<DirIdentity> {
        let state = sys::fstat(self.at(path, OFlags::PATH | OFlags::DIRECTORY)?)?;
        Ok((state.st_dev, state.st_ino))
    }

    /// Whether the link at `path` points to one of its parent directories.
    fn leads_up(&self, path: &str) -> io::Result<bool> {
        let own = self.identity(Path::new(path))?;
        for above in Path::new(path).ancestors().skip(1) {
            if self.identity(above)? == own {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn listed(&self, path: &str) -> io::Result<FileEntry> {
        let state = sys::fstat(self.regular(Path::new(path), OFlags::RDONLY)?)?;
        Ok(FileEntry {
            path: path.to_owned(),
            size: u64::try_from(state.st_size).unwrap_or(0),
            executable: state.st_mode & 0o111 != 0,
            status: FileStatus::of(&state),
            stamp: (
                state.st_ino,
                u64::try_from(state.st_size).unwrap_or(0),
                state.st_ctime,
                state.st_ctime_nsec.cast_signed(),
            ),
        })
    }
}
