//! Opening directories that deny their owner, for as long as something is done below them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self as sys, Mode, OFlags};
use rustix::process::geteuid;

use super::{RootedFs, relative};

/// Directories that were opened to their owner. Dropped, they get their modes back, the innermost first.
#[derive(Debug, Default)]
pub(super) struct Unlocked(Vec<(OwnedFd, Mode)>);

impl RootedFs {
    /// The same directory. What is done below a directory that denies its owner, which is us, is done nevertheless, as
    /// a root could: meanwhile the directory has another mode. Only for trees in which no program runs.
    #[must_use]
    pub fn unlocking(mut self) -> Self {
        self.unlocks = true;
        self
    }

    /// Opens the directories on the way to `path`, itself included, if they exist.
    pub(super) fn unlock(&self, path: &Path) -> Unlocked {
        if !self.unlocks || geteuid().is_root() {
            return Unlocked::default();
        }
        self.unlock_as_owner(path)
    }

    /// The same for any user, a root included.
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

/// Changes the mode of a directory that is open as a mere path, which `fchmod` refuses: the way through /proc leads to
/// this very directory, wherever its name leads by now.
fn change(dir: &OwnedFd, mode: Mode) -> bool {
    sys::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), mode).is_ok()
}
