//! Temporarily unlocks directories that deny access to their owner.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, Mode, OFlags};
use rustix::process::geteuid;

use super::{RootedFs, relative};

/// Unlocked directories. Dropping it restores their modes, the innermost first.
#[derive(Debug, Default)]
pub(super) struct Unlocked(Vec<(OwnedFd, Mode)>);

impl RootedFs {
    /// The directory, with unlocking: operations below directories that deny access to their owner (this
    /// user) work as for root; the directories have another mode meanwhile. Only for trees in which no
    /// program is running.
    #[must_use]
    pub fn unlocking(mut self) -> Self {
        self.unlocks = true;
        self
    }

    /// Unlocks the directories of `path`, including itself, if they exist.
    pub(super) fn unlock(&self, path: &Path) -> Unlocked {
        if !self.unlocks || geteuid().is_root() {
            return Unlocked::default();
        }
        self.unlock_as_owner(path)
    }

    /// Like [`RootedFs::unlock`], for any user including root.
    pub(super) fn unlock_as_owner(&self, path: &Path) -> Unlocked {
        let mut unlocked = Unlocked::default();
        let mut names = relative(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let mut below = PathBuf::new();
        let mut next = self.root.try_clone().ok();
        while let Some(dir) = next {
            unlocked.open(dir);
            next = names.next().and_then(|name| {
                below.push(name);
                self.at(&below, OFlags::PATH | OFlags::DIRECTORY).ok()
            });
        }
        unlocked
    }
}

impl Unlocked {
    fn open(&mut self, dir: OwnedFd) {
        let Ok(state) = sys::fstat(&dir) else { return };
        let mode = Mode::from_raw_mode(state.st_mode & 0o7777);
        if !mode.contains(Mode::RWXU) && change(&dir, mode | Mode::RWXU) {
            self.0.push((dir, mode));
        }
    }
}

impl Drop for Unlocked {
    fn drop(&mut self) {
        while let Some((dir, mode)) = self.0.pop() {
            change(&dir, mode);
        }
    }
}

/// Changes the mode of a directory that is open with `O_PATH`, for which `fchmod` fails. The path in /proc
/// refers to this directory even if its name has changed.
fn change(dir: &OwnedFd, mode: Mode) -> bool {
    sys::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), mode).is_ok()
}
