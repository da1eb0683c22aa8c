//! Removes a tree with any content.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg as _;
use tokio_util::sync::CancellationToken;

use super::RootedFs;
use super::walk::{Visitor, open_dir, walk};

/// Number of attempts to remove a directory that is being filled meanwhile.
const TRIES: usize = 5;

/// Removes the directory or file at the trusted `path` with its content, including unreadable entries. A
/// missing path is not an error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the root directory cannot be removed"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::PATH;
    match sys::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
        Ok(parent) => {
            Path::new(name).into_with_c_str(|name| Ok(remove(&parent, name))).map_err(io::Error::from)?
        }
    }
}

fn remove(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    let mut tried = 0;
    loop {
        match sys::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(e) => return Err(e.into()),
        }
        let (dir, _) = open_dir(parent.as_fd(), name, Mode::RWXU)?;
        walk(dir, u64::MAX, &CancellationToken::new(), &mut Remove)?;
        match sys::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if tried < TRIES => tried += 1,
            Err(e) => return Err(e.into()),
        }
    }
}

impl RootedFs {
    /// Removes everything in the directory.
    pub fn clear(&self) -> io::Result<()> {
        walk(
            open_dir(self.root.as_fd(), c".", Mode::RWXU)?.0,
            u64::MAX,
            &CancellationToken::new(),
            &mut Remove,
        )
    }

    /// Removes the entry `name` of this directory with its content.
    pub fn remove(&self, name: &Path) -> io::Result<()> {
        super::relative(name).into_with_c_str(|name| Ok(remove(&self.root, name))).map_err(io::Error::from)?
    }
}

struct Remove;

impl Visitor for Remove {
    const CONSUMES: bool = true;

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, _: FileType) -> io::Result<()> {
        match sys::unlinkat(dir, name, AtFlags::empty()) {
            // An entry that became a directory meanwhile is removed by the next attempt.
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        open_dir(dir, name, Mode::RWXU).map(|(inner, _)| inner)
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr, _: OwnedFd) -> io::Result<()> {
        match sys::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
