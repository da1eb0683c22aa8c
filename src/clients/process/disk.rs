//! File systems of sandboxed programs on the disk.
#![expect(clippy::disallowed_methods, reason = "writes, copies and removes prepared file systems")]

use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use crate::clients::service::Owner;
use crate::id::RunId;

/// `path` below `root`, without any `..`, or an error where a link would lead elsewhere.
pub fn below(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut place = root.to_owned();
    for part in normal(path).components() {
        if let Component::Normal(name) = part {
            place.push(name);
            if place.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
                let text = format!("{} goes through a symbolic link", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
    }
    Ok(place)
}

/// The absolute path that `path` names, `.` and `..` taken out.
pub fn normal(path: &Path) -> PathBuf {
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

/// Makes a directory below `root`.
pub fn make_dir(root: &Path, path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(below(root, path)?)
}

/// Writes a file below `root`.
pub fn write_file(root: &Path, path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
    let place = below(root, path)?;
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&place, bytes)?;
    let mode = if executable { 0o755 } else { 0o644 };
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode))
}

/// Whether `path` below `root` is a directory.
pub fn is_dir(root: &Path, path: &Path) -> bool {
    below(root, path).is_ok_and(|place| place.is_dir())
}

/// Copies everything in `from` to the new directory `to`; devices, pipes and sockets are left out.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, from.symlink_metadata()?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Gives everything below `root` to `user`.
pub fn give(root: &Path, user: u32) -> io::Result<()> {
    lchown(root, Some(user), Some(user))?;
    if root.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(root)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// What is in a directory of the machine.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Makes a link below `root`.
pub fn link(root: &Path, path: &Path, to: &Path) -> io::Result<()> {
    let place = below(root, path)?;
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    symlink(to, place)
}

/// Removes a directory with all that is in it, also what its program made unreadable.
pub fn remove(dir: &Path) {
    if std::fs::remove_dir_all(dir).is_err() {
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700));
            let inner = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            open.extend(inner.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Makes the directory of something that lives as long as this process, and notes whose it is.
pub fn claim(dir: &Path, run: &RunId) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("run"), run.as_str())?;
    std::fs::write(dir.join("owner"), Owner::me().as_str())
}

/// Removes the claimed directories in `parent` whose process is dead and whose run is `run`, or any; says how many.
pub fn reap(parent: &Path, run: Option<&RunId>) -> usize {
    let read = |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let dead = |dir: &Path| !Owner::read(&read(dir, "owner")).is_alive();
    let own = |dir: &Path| run.is_none_or(|run| read(dir, "run").trim() == run.as_str());
    let left: Vec<_> = entries(parent).into_iter().filter(|dir| own(dir) && dead(dir)).collect();
    left.iter().for_each(|dir| remove(dir));
    left.len()
}

/// Notes in `dir` that a run uses it.
pub fn note_user(dir: &Path, run: &RunId) -> io::Result<()> {
    let users = dir.join("users");
    std::fs::create_dir_all(&users)?;
    std::fs::write(users.join(run.as_str()), Owner::me().as_str())
}

/// Removes the directories in `parent` that no run of `kept` and no living process uses; says how many.
pub fn reap_unused(parent: &Path, kept: &[RunId]) -> usize {
    let needs = |user: &PathBuf| {
        let name = user.file_name().unwrap_or_default();
        kept.iter().any(|run| name == run.as_str())
            || Owner::read(&std::fs::read_to_string(user).unwrap_or_default()).is_alive()
    };
    let unused = |dir: &PathBuf| !entries(&dir.join("users")).iter().any(needs);
    let left: Vec<_> = entries(parent).into_iter().filter(unused).collect();
    left.iter().for_each(|dir| remove(dir));
    left.len()
}

/// Puts a finished directory in its place; where one is there already, that one stays.
pub fn settle(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::rename(from, to) {
        Err(_) if to.is_dir() => {
            remove(from);
            Ok(())
        }
        result => result,
    }
}

/// Reads a small file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Writes a small file.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::write(path, bytes)
}

/// Whether a program of that name is on the search path of this process.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
