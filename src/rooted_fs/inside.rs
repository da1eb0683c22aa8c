//! Resolves links that leave a directory and return to it: absolute links, and links like `../NAME/file`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, CWD, OFlags};
use rustix::io::Errno;

use super::{RootedFs, explained};

/// Most links in a path, as in the system.
const MOST_LINKS: usize = 40;
/// Most components of a path.
const MOST_NAMES: usize = 1_000;

impl RootedFs {
    /// The path inside, without links, to which `path` resolves. Outside, only directories that a link
    /// names on its way back are checked, and only whether they are this one.
    pub(super) fn inside(&self, path: &Path) -> io::Result<PathBuf> {
        let mut left: VecDeque<OsString> = names(path);
        let (mut done, mut links) = (PathBuf::new(), 0);
        while let Some(name) = left.pop_front() {
            let target = if name == ".." {
                if done.pop() {
                    continue;
                }
                Some(self.place()?.parent().ok_or_else(|| explained(Errno::XDEV))?.to_owned())
            } else {
                self.target(&done, &name)?
            };
            let Some(target) = target else {
                done.push(name);
                continue;
            };
            links += 1;
            let next = if target.is_absolute() { self.reentered(&target, &left)? } else { names(&target) };
            if target.is_absolute() {
                (done, left) = (PathBuf::new(), next);
            } else {
                next.into_iter().rev().for_each(|name| left.push_front(name));
            }
            if links > MOST_LINKS || left.len() > MOST_NAMES {
                return Err(explained(Errno::LOOP));
            }
        }
        Ok(done)
    }

    /// The target of the link `name` in the directory `dir`; `None` if it is not a link.
    fn target(&self, dir: &Path, name: &OsStr) -> io::Result<Option<PathBuf>> {
        let dir = self.opened(dir, OFlags::PATH | OFlags::DIRECTORY, true)?;
        match sys::readlinkat(&dir, name, Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes())))),
            Err(Errno::INVAL) => Ok(None),
            Err(e) => Err(explained(e)),
        }
    }

    /// The components of the absolute path `target` below this directory, followed by `left`. An error if
    /// it is outside.
    fn reentered(&self, target: &Path, left: &VecDeque<OsString>) -> io::Result<VecDeque<OsString>> {
        let own = sys::fstat(&self.root)?;
        let all: Vec<OsString> = names(target).into_iter().chain(left.iter().cloned()).collect();
        let mut above = PathBuf::from("/");
        for (at, name) in all.iter().take(MOST_NAMES).enumerate() {
            above.push(name);
            match sys::statat(CWD, &above, AtFlags::NO_AUTOMOUNT) {
                Ok(state) if (state.st_dev, state.st_ino) == (own.st_dev, own.st_ino) => {
                    return Ok(all[at + 1..].iter().cloned().collect());
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Err(explained(Errno::XDEV))
    }

    /// Path of this directory.
    fn place(&self) -> io::Result<PathBuf> {
        let place = sys::readlink(format!("/proc/self/fd/{}", self.root.as_raw_fd()), Vec::new());
        let place = place.map_err(|_| explained(Errno::XDEV))?;
        Ok(PathBuf::from(OsString::from_vec(place.into_bytes())))
    }
}

/// The components of `path`, including `..`.
fn names(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}
