//! Walks a tree of any depth with a bounded number of open handles.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self as sys, AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::geteuid;
use tokio_util::sync::CancellationToken;

use super::{DIRECTORY, check};

/// Most open parent directories.
const OPEN: usize = 32;
/// Number of entries that are read at once if visiting removes them.
const BATCH: u64 = 10_000;

/// Operation on a tree.
pub(super) trait Visitor {
    /// Whether visiting removes entries.
    const CONSUMES: bool = false;
    /// Visits something in `dir` that is not a directory.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> io::Result<()>;
    /// Opens the directory `name` in `dir`, before its entries are visited.
    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd>;
    /// Leaves the directory `name` in `dir`, after its entries were visited.
    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr, inner: OwnedFd) -> io::Result<()>;
}

/// Visits everything below `root`; more than `most` entries are an error.
pub(super) fn walk<V: Visitor>(
    root: OwnedFd,
    most: u64,
    cancel: &CancellationToken,
    visitor: &mut V,
) -> io::Result<()> {
    let mut left = most;
    let mut dirs = Dirs::new(root)?;
    let mut levels = vec![WalkLevel::read::<V>(CString::default(), dirs.top(), &mut left)?];
    while let Some(level) = levels.last_mut() {
        check(cancel)?;
        match level.entries.pop() {
            Some((name, FileType::Directory)) => {
                let inner = visitor.enter(dirs.top(), &name)?;
                dirs.push(inner)?;
                levels.push(WalkLevel::read::<V>(name, dirs.top(), &mut left)?);
            }
            Some((name, kind)) => visitor.entry(dirs.top(), &name, kind)?,
            None if level.has_more => {
                *level = WalkLevel::read::<V>(std::mem::take(&mut level.name), dirs.top(), &mut left)?;
            }
            None => {
                let Some(level) = levels.pop() else { break };
                if let Some(inner) = dirs.pop()? {
                    visitor.leave(dirs.top(), &level.name, inner)?;
                }
            }
        }
    }
    Ok(())
}

/// A directory of the walk, with its remaining entries.
struct WalkLevel {
    name: CString,
    entries: Vec<(CString, FileType)>,
    has_more: bool,
}

impl WalkLevel {
    fn read<V: Visitor>(name: CString, dir: BorrowedFd<'_>, left: &mut u64) -> io::Result<Self> {
        let most = if V::CONSUMES { BATCH } else { *left };
        let (entries, has_more) = entries(dir, most)?;
        if !V::CONSUMES {
            if has_more {
                return Err(io::Error::other("the directory has more files than the limit"));
            }
            *left -= entries.len() as u64;
        }
        Ok(Self { name, entries, has_more })
    }
}

/// Names and kinds of at most `most` entries of a directory, and whether there are more.
pub(super) fn entries(dir: BorrowedFd<'_>, most: u64) -> io::Result<(Vec<(CString, FileType)>, bool)> {
    let mut found = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if found.len() as u64 == most {
            return Ok((found, true));
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(state) => FileType::from_raw_mode(state.st_mode),
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            },
            kind => kind,
        };
        found.push((name.to_owned(), kind));
    }
    Ok((found, false))
}

/// The directories from the root of a walk to the current one.
pub(super) struct Dirs {
    top: OwnedFd,
    identity: FileIdentity,
    above: Vec<(Option<OwnedFd>, FileIdentity)>,
}

/// Device and inode.
type FileIdentity = (u64, u64);

fn identity(dir: &OwnedFd) -> io::Result<FileIdentity> {
    let state = sys::fstat(dir)?;
    Ok((state.st_dev, state.st_ino))
}

impl Dirs {
    /// A walk at its root.
    pub(super) fn new(root: OwnedFd) -> io::Result<Self> {
        Ok(Self { identity: identity(&root)?, top: root, above: Vec::new() })
    }

    /// The current directory.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Enters a directory of the current one.
    pub(super) fn push(&mut self, dir: OwnedFd) -> io::Result<()> {
        let below = identity(&dir)?;
        let above = std::mem::replace(&mut self.top, dir);
        self.above.push((Some(above), std::mem::replace(&mut self.identity, below)));
        if let Some(far) = self.above.len().checked_sub(OPEN + 1) {
            self.above[far].0 = None;
        }
        Ok(())
    }

    /// Returns to the parent directory, which must be the one we came from. Returns the handle of the left
    /// directory; `None` at the root.
    pub(super) fn pop(&mut self) -> io::Result<Option<OwnedFd>> {
        let Some((handle, expected)) = self.above.pop() else { return Ok(None) };
        let above = match handle {
            Some(handle) => handle,
            None => sys::openat(&self.top, "..", DIRECTORY | OFlags::RDONLY, Mode::empty())?,
        };
        if identity(&above)? != expected {
            return Err(io::Error::other("a directory was moved while it was read"));
        }
        self.identity = expected;
        Ok(Some(std::mem::replace(&mut self.top, above)))
    }
}

/// Opens the directory `name` in `dir`. If it denies `needed` rights to its owner (this user), its mode is
/// changed first, and the old mode is returned as well.
pub(super) fn open_dir(
    dir: BorrowedFd<'_>,
    name: &CStr,
    needed: Mode,
) -> io::Result<(OwnedFd, Option<Mode>)> {
    let opened = match sys::openat(dir, name, DIRECTORY | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => return open_up(dir, name),
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(sys::fstat(&opened)?.st_mode);
    if mode.contains(needed) || geteuid().is_root() || sys::fchmod(&opened, mode | needed).is_err() {
        return Ok((opened, None));
    }
    Ok((opened, Some(mode)))
}

/// Opens the directory or file `name` in `dir`, which denies reading to its owner, if that is this user.
pub(super) fn open_up(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<(OwnedFd, Option<Mode>)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = sys::openat(dir, name, flags, Mode::empty())?;
    let state = sys::fstat(&found)?;
    let kind = FileType::from_raw_mode(state.st_mode);
    if !(kind.is_dir() || kind.is_file()) {
        return Err(Errno::ACCESS.into());
    }
    // The path in /proc refers to this inode even if its name has changed.
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    let mode = Mode::from_raw_mode(state.st_mode);
    sys::chmod(&itself, mode | if kind.is_dir() { Mode::RWXU } else { Mode::RUSR })?;
    let opened = sys::open(&itself, super::QUIET | OFlags::RDONLY, Mode::empty())?;
    Ok((opened, Some(mode)))
}

/// Changes the owner of everything.
pub(super) struct Give(pub(super) (Option<Uid>, Option<Gid>));

impl Visitor for Give {
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, _: FileType) -> io::Result<()> {
        match sys::chownat(dir, name, self.0.0, self.0.1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let inner = sys::openat(dir, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
        sys::fchown(&inner, self.0.0, self.0.1)?;
        Ok(inner)
    }

    fn leave(&mut self, _: BorrowedFd<'_>, _: &CStr, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }
}
