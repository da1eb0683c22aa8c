//! Copies a tree. Holes and hard links are preserved, so that the copy is not larger.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::walk::{Dirs, Visitor, open_dir, open_up, walk};
use super::{DIRECTORY, QUIET, RootedFs, check};

/// Bytes that are copied between two checks for cancellation.
const PIECE: u64 = 8 << 20;
/// Mask for modes of files: a copy is never set-user-ID or set-group-ID.
const MODES: u32 = 0o777;

/// Limits of a copy.
#[derive(Clone, Copy, Debug)]
pub struct CopyLimits {
    /// Files and directories.
    pub entries: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl RootedFs {
    /// Copies everything, with modes, into the empty directory `to`. Devices and sockets are skipped.
    pub fn copy_to(&self, to: &Self, limits: CopyLimits, cancel: &CancellationToken) -> io::Result<()> {
        let (target, _) = to.reopened()?;
        let (source, restore) = self.reopened()?;
        let mode = match restore {
            Some(mode) => mode,
            None => Mode::from_raw_mode(sys::fstat(&source)?.st_mode),
        };
        let mut copy = TreeCopy {
            to: Dirs::new(target)?,
            path: PathBuf::new(),
            modes: Vec::new(),
            names: HashMap::new(),
            bytes: limits.bytes,
            cancel,
        };
        walk(source.try_clone()?, limits.entries, cancel, &mut copy)?;
        if let Some(restore) = restore {
            sys::fchmod(&source, restore)?;
        }
        Ok(sys::fchmod(copy.to.top(), Mode::from_raw_mode(mode.as_raw_mode() & 0o1777))?)
    }
}

struct TreeCopy<'a> {
    /// Open directories of the copy, parallel to those of the walk.
    to: Dirs,
    /// Current directory, relative to the root of the copy.
    path: PathBuf,
    /// Modes to set for copied directories when they are complete, and modes to restore for source
    /// directories.
    modes: Vec<(Mode, Option<Mode>)>,
    /// First path in the copy of files with several names.
    names: HashMap<(u64, u64), PathBuf>,
    /// Remaining bytes that may be written.
    bytes: u64,
    cancel: &'a CancellationToken,
}

impl Visitor for TreeCopy<'_> {
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType) -> io::Result<()> {
        match kind {
            FileType::Symlink => {
                let target = sys::readlinkat(dir, name, Vec::new())?;
                Ok(sys::symlinkat(target, self.to.top(), name)?)
            }
            FileType::Fifo => {
                let mode =
                    Mode::from_raw_mode(sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode & MODES);
                Ok(sys::mknodat(self.to.top(), name, FileType::Fifo, mode, 0)?)
            }
            FileType::RegularFile => self.file(dir, name),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let (inner, restore) = open_dir(dir, name, Mode::RUSR | Mode::XUSR)?;
        let mode = match restore {
            Some(mode) => mode,
            None => Mode::from_raw_mode(sys::fstat(&inner)?.st_mode),
        };
        sys::mkdirat(self.to.top(), name, Mode::RWXU)?;
        self.to.push(sys::openat(self.to.top(), name, DIRECTORY | OFlags::RDONLY, Mode::empty())?)?;
        self.path.push(OsStr::from_bytes(name.to_bytes()));
        self.modes.push((Mode::from_raw_mode(mode.as_raw_mode() & 0o1777), restore));
        Ok(inner)
    }

    fn leave(&mut self, _: BorrowedFd<'_>, _: &CStr, inner: OwnedFd) -> io::Result<()> {
        self.path.pop();
        let Some(copied) = self.to.pop()? else { return Ok(()) };
        if let Some((mode, restore)) = self.modes.pop() {
            sys::fchmod(&copied, mode)?;
            if let Some(restore) = restore {
                let _ = sys::fchmod(&inner, restore);
            }
        }
        Ok(())
    }
}

impl TreeCopy<'_> {
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let (from, restore) =
            match sys::openat(dir, name, QUIET | OFlags::NOFOLLOW | OFlags::RDONLY, Mode::empty()) {
                Err(Errno::ACCESS) => open_up(dir, name)?,
                opened => (opened?, None),
            };
        let from = File::from(from);
        let state = sys::fstat(&from)?;
        if let Some(mode) = restore {
            let _ = sys::fchmod(&from, mode);
        }
        if !FileType::from_raw_mode(state.st_mode).is_file() {
            return Err(io::Error::other(format!("{name:?} was replaced while it was read")));
        }
        let key = (state.st_dev, state.st_ino);
        if state.st_nlink > 1
            && let Some(first) = self.names.get(&key)
            && self.link(first, name)
        {
            return Ok(());
        }
        let flags = QUIET | OFlags::NOFOLLOW | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let to = File::from(sys::openat(self.to.top(), name, flags, Mode::RUSR | Mode::WUSR)?);
        self.data(&from, &to, u64::try_from(state.st_size).unwrap_or(0))?;
        let mode = restore.map_or(state.st_mode, Mode::as_raw_mode);
        sys::fchmod(&to, Mode::from_raw_mode(mode & MODES))?;
        if state.st_nlink > 1 {
            self.names.insert(key, self.path.join(OsStr::from_bytes(name.to_bytes())));
        }
        Ok(())
    }

    /// Creates `name` as a hard link to `first` in the copy. Returns false if that is not possible.
    fn link(&self, first: &std::path::Path, name: &CStr) -> bool {
        // Relative to the root of the copy, which only we write to.
        let depth = self.path.components().count();
        let up: PathBuf = std::iter::repeat_n("..", depth).collect();
        sys::linkat(self.to.top(), up.join(first), self.to.top(), name, AtFlags::empty()).is_ok()
    }

    /// Copies the data between the holes of the first `size` bytes.
    fn data(&mut self, from: &File, to: &File, size: u64) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let start = match sys::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start.min(size),
                Err(Errno::NXIO) => break,
                // The file system does not support holes.
                Err(Errno::INVAL) => at,
                Err(e) => return Err(e.into()),
            };
            let end = sys::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
            self.bytes = self.bytes.checked_sub(end - start).ok_or_else(|| {
                io::Error::new(io::ErrorKind::FileTooLarge, "the files are larger than the limit")
            })?;
            let mut next = start;
            while next < end {
                check(self.cancel)?;
                sys::seek(from, SeekFrom::Start(next))?;
                sys::seek(to, SeekFrom::Start(next))?;
                let piece = (end - next).min(PIECE);
                if io::copy(&mut from.take(piece), &mut &*to)? < piece {
                    // The file was truncated while it was read.
                    return to.set_len(size);
                }
                next += piece;
            }
            at = end.max(at + 1);
        }
        to.set_len(size)
    }
}
