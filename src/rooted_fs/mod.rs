//! Directories with content from untrusted programs: images, service roots, workspaces, deliveries. This
//! module does not know what the directories are for. All access below such a directory is through handles
//! ([`RootedFs`]): symbolic links cannot escape, only regular files are opened, opening never blocks, and a
//! tree may have any depth. Calls block for the disk, so asynchronous code uses [`blocking`].

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

/// Flags for every `open`, because the path may be a pipe, a terminal or a leased file.
const QUIET: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Flags for reading a directory, which must not be a link.
const DIRECTORY: OFlags = QUIET.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// Runs `work` on a thread that may block. If the future is dropped, the token is cancelled.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    tokio::task::spawn_blocking(move || work(&cancel)).await.map_err(io::Error::other)?
}

/// Whether the error is a problem of this machine (a full disk, too many open files), not of the content of
/// the tree.
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

/// Adds the path to an error, unless it is a problem of the machine.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| {
        if is_machine_fault(&error) {
            return error;
        }
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }
}

/// Returns an error if the work was cancelled.
pub fn check(cancel: &CancellationToken) -> io::Result<()> {
    let cancelled = || io::Error::new(ErrorKind::Interrupted, "it was cancelled");
    if cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
}

/// The absolute path of `path`, with `.` and `..` removed.
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

/// The content of the file at the user's `path`. Links are followed, but only regular files are read, and
/// opening never blocks. More than `most` bytes are an error.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let opened = sys::open(path, QUIET | OFlags::RDONLY, Mode::empty());
    read_regular(opened.map_err(explained)?, most)
}

/// Most bytes of a settings file.
const LARGEST_SETTINGS: u64 = 16 << 20;

/// The text of a settings file, read like [`read_file`], at most 16 MiB.
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

/// A directory tree. Paths are relative to it, with or without a leading slash, and have no `..`.
#[derive(Debug)]
pub struct RootedFs {
    root: OwnedFd,
    /// Owner of new files and directories.
    owner: Option<u32>,
    /// Whether symbolic links that stay inside are followed; otherwise every link is refused.
    follows: bool,
    /// Whether links that cannot be followed inside are listed as links.
    keeps: bool,
    /// Whether directories that deny access to their owner are unlocked for operations below them.
    unlocks: bool,
}

impl RootedFs {
    /// Opens `dir`, which must be a trusted path.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = sys::open(dir, flags, Mode::empty()).map_err(explained)?;
        Ok(Self { root, owner: None, follows: false, keeps: false, unlocks: false })
    }

    /// Creates `dir` with its parent directories, and opens it.
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

    /// The directory, with `owner` as the owner of new files and directories.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<u32>) -> Self {
        self.owner = owner;
        self
    }

    /// The directory, following symbolic links that stay inside.
    #[must_use]
    pub fn following_links(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The directory, also following links that leave it and return. Lists of its files contain dangling
    /// links, link cycles and links to the outside as links.
    #[must_use]
    pub fn keeping_links(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// The directory at `path`, which must exist.
    pub fn dir(&self, path: &Path) -> io::Result<Self> {
        let root = self.at(path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { root, owner: self.owner, follows: self.follows, keeps: self.keeps, unlocks: self.unlocks })
    }

    /// Opens `path` without leaving the directory.
    fn at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        match self.opened(path, flags, !self.follows) {
            Err(e) if self.follows && self.keeps && e.kind() == ErrorKind::CrossesDevices => {
                self.opened(&self.inside(path)?, flags, true)
            }
            opened => opened,
        }
    }

    /// Like [`RootedFs::at`]; follows no link if `is_plain`.
    fn opened(&self, path: &Path, flags: OFlags, is_plain: bool) -> io::Result<OwnedFd> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if is_plain {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        // The system allows no other flags with `O_PATH`.
        let quiet = if flags.contains(OFlags::PATH) { OFlags::CLOEXEC } else { QUIET };
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        loop {
            match sys::openat2(&self.root, relative(path), flags | quiet, mode, resolve) {
                // A parent directory was renamed meanwhile.
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

    /// The content of the file at `path`. More than `most` bytes are an error.
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

    /// Creates the directory at `path` and its parents.
    pub fn make_dirs(&self, path: &Path) -> io::Result<()> {
        let _unlocked = self.unlock(path);
        self.descend(path).map(drop)
    }

    /// The directory at `path`, created if it is missing.
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

    /// Creates the directory `name` in `dir` with mode 0755, whatever the umask is.
    fn make_dir(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        match sys::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            // It may have been created meanwhile, or be a dangling link: opening it shows that.
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

    /// Writes a new file at `path` with mode 0644 or 0755, and its parent directories. An existing entry
    /// other than a directory is replaced and never opened, because it may be a link, a pipe, or a hard
    /// link to another file.
    pub fn put(&self, path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
        self.put_as(path, bytes, if executable { 0o755 } else { 0o644 })
    }

    /// Like [`RootedFs::put`], with the permissions `mode`.
    pub fn put_as(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let _unlocked = self.unlock(parent);
        self.fill(&self.descend(parent)?, name, bytes, Mode::from_raw_mode(mode & 0o777)).map(drop)
    }

    /// Atomically replaces the file at `path`, keeping its mode, and creates its parent directories.
    /// Readers see the old or the new content, also after a power failure. Links are replaced; pipes and
    /// devices are refused.
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
            // The directory is writable but not readable, so it cannot be synced.
            Err(Errno::ACCESS) => Ok(()),
            opened => Ok(sys::fsync(opened?)?),
        }
    }

    /// Creates the file `name` with `bytes` in `dir`.
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

    /// Sets the content of the file at `path` to `bytes`, and creates its parent directories. An existing
    /// file keeps its mode.
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

    /// Makes sure that there is a regular file at `path`. Any other entry except a directory is replaced by
    /// an empty file.
    pub fn make_file(&self, path: &Path) -> io::Result<()> {
        if self.regular(path, OFlags::PATH).is_ok() { Ok(()) } else { self.put(path, b"", false) }
    }

    /// Creates a symbolic link to `target` at `path`, which must not exist.
    pub fn link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let _unlocked = self.unlock(parent);
        Ok(sys::symlinkat(target, &self.descend(parent)?, name)?)
    }

    /// Creates a directory with an unused name that begins with `prefix`.
    pub fn make_unique_dir(&self, prefix: &str) -> io::Result<PathBuf> {
        let name = PathBuf::from(format!("{prefix}{}", unique_name()));
        self.make_dir(self.root.as_fd(), name.as_os_str())?;
        Ok(name)
    }

    /// Renames the entry `from` of this directory to `to`, which must not exist.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(sys::renameat_with(&self.root, relative(from), &self.root, relative(to), RenameFlags::NOREPLACE)?)
    }

    /// Exchanges two entries of this directory.
    pub fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Ok(sys::renameat_with(&self.root, relative(one), &self.root, relative(other), RenameFlags::EXCHANGE)?)
    }

    /// Changes the owner of everything to `user`.
    pub fn give(&self, user: u32, cancel: &CancellationToken) -> io::Result<()> {
        let owner = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        let (root, _) = self.reopened()?;
        sys::fchown(&root, owner.0, owner.1)?;
        walk::walk(root, u64::MAX, cancel, &mut walk::Give(owner))
    }

    /// Whether `path` exists, as any kind of entry.
    pub fn has(&self, path: &Path) -> bool {
        self.at(path, OFlags::PATH | OFlags::NOFOLLOW)
            .map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true)
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> io::Result<bool> {
        let (root, _) = self.reopened()?;
        Ok(walk::entries(root.as_fd(), 1)?.0.is_empty())
    }

    /// The directory, opened for reading, and its old mode if it had to be unlocked.
    fn reopened(&self) -> io::Result<(OwnedFd, Option<Mode>)> {
        walk::open_dir(self.root.as_fd(), c".", Mode::RUSR | Mode::XUSR)
    }
}

/// `path` relative to the handle of the root.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// The parent directory of `path` and the name in it.
fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let path = relative(path);
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")
}

/// A readable message for system errors about a path; other errors are unchanged.
fn explained(error: Errno) -> io::Error {
    let text = match error {
        Errno::LOOP => "a part of the path is a symbolic link",
        Errno::XDEV => "it leads out of the directory",
        Errno::NXIO => "it is not a regular file",
        Errno::ISDIR => "it is a directory",
        Errno::NOTDIR => "it or one of its parents is not a directory",
        Errno::NAMETOOLONG => "the path is too long",
        other => return other.into(),
    };
    io::Error::new(io::Error::from(error).kind(), text)
}

/// A name that is very probably unused. Callers must not replace an existing entry.
fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".atoll-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
