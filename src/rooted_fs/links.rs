//! Symbolic links and modes.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};

use super::{RootedFs, explained, split, unique_name};

impl RootedFs {
    /// The target of the symbolic link at `path`, as written.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let (parent, name) = split(path)?;
        let dir = self.at(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let target = sys::readlinkat(&dir, name, Vec::new()).map_err(explained)?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
    }

    /// Creates a symbolic link to `target` at `path`, with its parent directories. Replaces anything except
    /// a directory.
    pub fn put_link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let (dir, fresh) = (self.descend(parent)?, unique_name());
        sys::symlinkat(target, &dir, &fresh).map_err(explained)?;
        let placed = sys::renameat(&dir, &fresh, &dir, name).map_err(explained);
        if placed.is_err() {
            let _ = sys::unlinkat(&dir, &fresh, AtFlags::empty());
        }
        placed
    }

    /// Sets the modification time of the file or directory at `path`: seconds since the Unix epoch, and
    /// nanoseconds.
    pub fn set_modified(&self, path: &Path, (seconds, nanoseconds): (i64, u32)) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let _unlocked = self.unlock(parent);
        let dir = self.at(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let time = sys::Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = sys::Timestamps { last_access: time, last_modification: time };
        sys::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(explained)
    }

    /// Permissions of the file or directory at `path`.
    pub fn mode(&self, path: &Path) -> io::Result<u32> {
        Ok(sys::fstat(self.at(path, OFlags::PATH)?)?.st_mode & 0o777)
    }

    /// Sets the permissions of the directory at `path`.
    pub fn set_dir_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let dir = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(sys::fchmod(dir, Mode::from_raw_mode(mode & 0o777))?)
    }
}
