//! Directories whose content programs that we do not trust have written: images, service roots, workspaces, deliveries.
//! It must never know what the directories are for.
//!
//! Everything below such a directory is reached through handles ([`RootedFs`]): no symbolic link leads out, only regular
//! files are opened, nothing that is opened can block, and a tree may be of any depth. Calls block for the disk, so
//! asynchronous code makes them through [`blocking`].

mod copy;
mod followed;
mod inside;
mod links;
mod list;
mod remove;
mod unlock;
mod walk;

pub use copy::CopyLimits;
pub use list::{EntryKind, FileEntry, FileStatus, LeftOut, Listing, Stamp};
pub use remove::remove_tree;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self as sys, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

/// Flags that every open of ours has: what is there may be a pipe, a terminal or leased by its owner.
const QUIET: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// For a directory that is to be read, never reached through a link.
const DIRECTORY: OFlags = QUIET.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// Runs `work` on a thread that may block. If the future is dropped, the token tells `work` to end early.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    tokio::task::spawn_blocking(move || work(&cancel)).await.map_err(io::Error::other)?
}

/// Whether the error is trouble of this machine (a full disk, too many open files), not caused by what is in the tree.
pub fn is_machine_fault(error: &io::Error) -> bool {
    const MACHINE: [Errno; 13] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::IO,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::ROFS,
        Errno::NOSYS,
        Errno::INTR,
        Errno::AGAIN,
        Errno::TIMEDOUT,
        Errno::STALE,
        Errno::NODEV,
    ];
    match Errno::from_io_error(error) {
        Some(errno) => MACHINE.contains(&errno),
        None => error.kind() == ErrorKind::Interrupted,
    }
}

/// The same error with the path in front, unless the machine is at fault.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| {
        if is_machine_fault(&error) {
            return error;
        }
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }
}

/// The error of work that was told to end early.
pub fn check(cancel: &CancellationToken) -> io::Result<()> {
    let cancelled = || io::Error::new(ErrorKind::Interrupted, "it was cancelled");
    if cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

/// The absolute path that `path` names, `.` and `..` taken out.
pub fn normalize(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

/// The content of the file at `path`, a path that a user chose: links are followed, but only a regular file is read, and
/// opening never waits. One of more than `most` bytes is an error.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let opened = sys::open(path, QUIET | OFlags::RDONLY, Mode::empty());
    read_regular(opened.map_err(explained)?, most)
}

/// Most bytes of a file of settings.
const LARGEST_SETTINGS: u64 = 16 << 20;

/// The text of a file of settings at `path`: as [`read_file`] reads, at most 16 MiB.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_file(path, LARGEST_SETTINGS)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(ErrorKind::InvalidData, e.utf8_error()))
}

fn read_regular(file: OwnedFd, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(file);
    let state = sys::fstat(&file)?;
    if !FileType::from_raw_mode(state.st_mode).is_file() {
        return Err(no_file());
    }
    let size = u64::try_from(state.st_size).unwrap_or(0);
    let mut bytes = Vec::new();
    if size <= most {
        // It may grow while it is read.
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    let size = size.max(bytes.len() as u64);
    if size > most {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it has {size} bytes, more than {most}"),
        ));
    }
    Ok(bytes)
}

/// A directory and what is below it. Paths start there, with or without a leading slash, and have no `..`.
#[derive(Debug)]
pub struct RootedFs {
    root: OwnedFd,
    /// The user that new files and directories belong to.
    owner: Option<u32>,
    /// Whether symbolic links that stay inside are followed; otherwise every link is refused.
    follows: bool,
    /// Whether links that cannot be followed inside are listed as links.
    keeps: bool,
    /// Whether directories that deny their owner are opened for what is done below them.
    unlocks: bool,
}

impl RootedFs {
    /// Opens `dir`, a path that we chose ourselves.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = sys::open(dir, flags, Mode::empty()).map_err(explained)?;
        Ok(Self { root, owner: None, follows: false, keeps: false, unlocks: false })
    }

    /// Makes `dir`, with the directories above it, and opens it.
    pub fn create(dir: &Path) -> io::Result<Self> {
        match dir.parent() {
            Some(parent) if !parent.is_dir() => drop(Self::create(parent)?),
            _ => {}
        }
        match sys::mkdir(dir, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Self::open(dir),
            Err(e) => Err(e.into()),
        }
    }

    /// The same directory; new files and directories belong to `owner`.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<u32>) -> Self {
        self.owner = owner;
        self
    }

    /// The same directory; symbolic links that stay inside are followed.
    #[must_use]
    pub fn following_links(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The same directory; links that lead out of it and back are followed, too, and a list of its files
    /// has those that lead out of it, nowhere or in a circle as what they are.
    #[must_use]
    pub fn keeping_links(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// The directory at `path`, which has to be there.
    pub fn dir(&self, path: &Path) -> io::Result<Self> {
        let root = self.at(path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { root, owner: self.owner, follows: self.follows, keeps: self.keeps, unlocks: self.unlocks })
    }

    /// Opens what is at `path` without leaving the directory.
    fn at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        match self.opened(path, flags, !self.follows) {
            Err(e) if self.follows && self.keeps && e.kind() == ErrorKind::CrossesDevices => {
                self.opened(&self.inside(path)?, flags, true)
            }
            opened => opened,
        }
    }

    /// The same; no link is followed if `is_plain`.
    fn opened(&self, path: &Path, flags: OFlags, is_plain: bool) -> io::Result<OwnedFd> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if is_plain {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        // The system takes nothing else together with a mere path.
        let quiet = if flags.contains(OFlags::PATH) { OFlags::CLOEXEC } else { QUIET };
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        loop {
            match sys::openat2(&self.root, relative(path), flags | quiet, mode, resolve) {
                // A directory on the way was renamed in the meantime.
                Err(Errno::AGAIN) if !is_plain => std::thread::yield_now(),
                Err(e) => return Err(explained(e)),
                Ok(file) => return Ok(file),
            }
        }
    }

    /// The regular file at `path`.
    fn regular(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let file = File::from(self.at(path, flags)?);
        let kind = FileType::from_raw_mode(sys::fstat(&file)?.st_mode);
        if kind.is_file() { Ok(file) } else { Err(no_file()) }
    }

    /// The content of the file at `path`; one of more than `most` bytes is an error.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        read_regular(self.at(path, OFlags::RDONLY)?, most)
    }

    /// Whether there is a directory at `path`.
    pub fn is_dir(&self, path: &Path) -> bool {
        let _unlocked = self.unlock(path);
        self.at(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// Whether there is a regular file at `path`.
    pub fn is_file(&self, path: &Path) -> bool {
        self.regular(path, OFlags::PATH).is_ok()
    }

    /// Makes the directory at `path` and those above it.
    pub fn make_dirs(&self, path: &Path) -> io::Result<()> {
        let _unlocked = self.unlock(path);
        self.descend(path).map(drop)
    }

    /// The directory at `path`, made if it is missing.
    fn descend(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut current = self.at(Path::new(""), flags)?;
        let mut below = PathBuf::new();
        for name in relative(path).components().filter(|part| matches!(part, Component::Normal(_))) {
            below.push(name);
            current = match self.at(&below, flags) {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    self.make_dir(current.as_fd(), name.as_os_str())?;
                    self.at(&below, flags)?
                }
                opened => opened?,
            };
        }
        Ok(current)
    }

    /// Makes the directory `name` in `dir`, mode 0755 whatever the umask.
    fn make_dir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        match sys::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            // It may have been made in the meantime, or be a link that leads nowhere: opening it tells.
            Err(Errno::EXIST) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let made = sys::openat(dir, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?;
        sys::fchmod(&made, Mode::from_raw_mode(0o755))?;
        self.give_new(made.as_fd())
    }

    fn give_new(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        match self.owner {
            Some(owner) => Ok(sys::fchown(file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?),
            None => Ok(()),
        }
    }

    /// Puts a new file at `path`, mode 0644 or 0755, with the directories above it. What was there, unless it is a
    /// directory, is replaced and never opened: a link, a pipe, or another name of some other file.
    pub fn put(&self, path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
        self.put_as(path, bytes, if executable { 0o755 } else { 0o644 })
    }

    /// The same with the permissions `mode`.
    pub fn put_as(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let _unlocked = self.unlock(parent);
        self.fill(&self.descend(parent)?, name, bytes, Mode::from_raw_mode(mode & 0o777)).map(drop)
    }

    /// Puts a new file in place of the one at `path`, whose mode it keeps, with the directories above it: readers see
    /// the old content or the new, also after a power cut. Links are replaced; pipes and devices are refused.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let dir = self.descend(parent)?;
        let mode = match sys::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => 0o644,
            Err(e) => return Err(explained(e)),
            Ok(state) => match FileType::from_raw_mode(state.st_mode) {
                FileType::RegularFile => state.st_mode & 0o777,
                FileType::Symlink => 0o644,
                FileType::Directory => return Err(explained(Errno::ISDIR)),
                _ => return Err(no_file()),
            },
        };
        self.fill(&dir, name, bytes, Mode::from_raw_mode(mode))?.sync_all()?;
        match sys::openat(&dir, ".", DIRECTORY | OFlags::RDONLY, Mode::empty()) {
            // It may be written to and not read: then nothing more can be done for its entry.
            Err(Errno::ACCESS) => Ok(()),
            opened => Ok(sys::fsync(opened?)?),
        }
    }

    /// Makes a file of `bytes` in `dir` and gives it the name `name`.
    fn fill(&self, dir: &OwnedFd, name: &OsStr, bytes: &[u8], mode: Mode) -> io::Result<File> {
        let fresh = unique_name();
        let flags = QUIET | OFlags::NOFOLLOW | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        let made = sys::openat(dir, &fresh, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(made.map_err(explained)?);
        let filled = file
            .write_all(bytes)
            .and_then(|()| Ok(sys::fchmod(&file, mode)?))
            .and_then(|()| self.give_new(file.as_fd()))
            .and_then(|()| sys::renameat(dir, &fresh, dir, name).map_err(explained));
        if filled.is_err() {
            let _ = sys::unlinkat(dir, &fresh, AtFlags::empty());
        }
        filled.map(|()| file)
    }

    /// Makes the file at `path` hold `bytes`, with the directories above it; a file that is there keeps its mode.
    pub fn rewrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.descend(split(path)?.0)?;
        let mut file = self.regular(path, OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        file.write_all(bytes)?;
        if bytes.starts_with(b"#!") {
            let mode = Mode::from_raw_mode(sys::fstat(&file)?.st_mode);
            sys::fchmod(&file, mode | Mode::from_raw_mode(0o111))?;
        }
        self.give_new(file.as_fd())
    }

    /// Makes sure that there is a regular file at `path`: what else is there, unless it is a directory, is replaced by an
    /// empty one.
    pub fn make_file(&self, path: &Path) -> io::Result<()> {
        if self.regular(path, OFlags::PATH).is_ok() { Ok(()) } else { self.put(path, b"", false) }
    }

    /// Puts a symbolic link to `target` at `path`, where nothing is yet.
    pub fn link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let _unlocked = self.unlock(parent);
        Ok(sys::symlinkat(target, &self.descend(parent)?, name)?)
    }

    /// Makes a directory of an unused name that begins with `prefix`.
    pub fn make_unique_dir(&self, prefix: &str) -> io::Result<PathBuf> {
        let name = PathBuf::from(format!("{prefix}{}", unique_name()));
        self.make_dir(self.root.as_fd(), name.as_os_str())?;
        Ok(name)
    }

    /// Renames the directory or file `from` of this very directory to `to`, where nothing is yet.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(sys::renameat_with(&self.root, relative(from), &self.root, relative(to), RenameFlags::NOREPLACE)?)
    }

    /// Exchanges two entries of this very directory.
    pub fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Ok(sys::renameat_with(&self.root, relative(one), &self.root, relative(other), RenameFlags::EXCHANGE)?)
    }

    /// Gives everything to `user`.
    pub fn give(&self, user: u32, cancel: &CancellationToken) -> io::Result<()> {
        let owner = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        let (root, _) = self.reopened()?;
        sys::fchown(&root, owner.0, owner.1)?;
        walk::walk(root, u64::MAX, cancel, &mut walk::Give(owner))
    }

    /// Whether something is at `path`, whatever it is.
    pub fn has(&self, path: &Path) -> bool {
        self.at(path, OFlags::PATH | OFlags::NOFOLLOW)
            .map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true)
    }

    /// Whether nothing is in the directory.
    pub fn is_empty(&self) -> io::Result<bool> {
        let (root, _) = self.reopened()?;
        Ok(walk::entries(root.as_fd(), 1)?.0.is_empty())
    }

    /// The directory itself, to be read, and its mode where it had to be opened to its owner first.
    fn reopened(&self) -> io::Result<(OwnedFd, Option<Mode>)> {
        walk::open_dir(self.root.as_fd(), c".", Mode::RUSR | Mode::XUSR)
    }
}

/// `path` as the calls of the system take it, from the root's handle.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// The directory of `path` and the name in it.
fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let path = relative(path);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is no regular file")
}

/// What the system said of a path, in words; other errors as they are.
fn explained(error: Errno) -> io::Error {
    let text = match error {
        Errno::LOOP => "it goes through a symbolic link",
        Errno::XDEV => "it leads out of the directory",
        Errno::NXIO => "it is no regular file",
        Errno::ISDIR => "it is a directory",
        Errno::NOTDIR => "it, or something above it, is no directory",
        Errno::NAMETOOLONG => "the path is too long",
        other => return other.into(),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

/// A name that is free in all probability; whoever uses it must not replace what has it.
fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".atoll-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
