//! Directories with the file systems of sandboxed programs. Files next to a file system are only ours; the
//! file systems themselves are accessed through [`RootedFs`](crate::rooted_fs::RootedFs).
#![expect(clippy::disallowed_methods, reason = "creates, marks and removes our own directories")]

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::id::RunId;
use crate::rooted_fs::remove_tree;
use crate::runtime::service::ProcessIdentity;

/// The entries of a directory.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = found.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Removes a directory with its content, including entries that its program made unreadable. The rest is
/// left to the next process that cleans up.
pub fn remove(dir: &Path) {
    let _ = remove_tree(dir);
}

/// Like [`remove`], for asynchronous code.
pub async fn remove_off(dir: &Path) {
    let dir = dir.to_owned();
    let _ = tokio::task::spawn_blocking(move || remove(&dir)).await;
}

/// Like [`remove`], for `drop`: other tasks of the runtime continue meanwhile.
pub fn remove_dropped(dir: &Path) {
    if dir.exists() {
        yielding(|| remove(dir));
    }
}

/// Runs blocking `work` while other tasks continue, if the runtime has several threads.
pub fn yielding<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Creates a directory that lives as long as this process, and records its owner.
pub fn claim(dir: &Path, run: &RunId) -> io::Result<()> {
    // Other users must not access files that a product wrote: some may be set-user-ID.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::write(dir.join("run"), run.as_str())?;
    std::fs::write(dir.join("owner"), ProcessIdentity::me().as_str())
}

/// Removes the claimed directories in `parent` whose process is dead and that belong to `run`, or to any
/// run. Returns their number.
pub fn reap(parent: &Path, run: Option<&RunId>) -> usize {
    let read = |dir: &Path, name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
    let dead = |dir: &Path| !ProcessIdentity::read(&read(dir, "owner")).is_alive();
    let own = |dir: &Path| run.is_none_or(|run| read(dir, "run").trim() == run.as_str());
    let left: Vec<_> = entries(parent).into_iter().filter(|dir| own(dir) && dead(dir)).collect();
    left.iter().for_each(|dir| remove(dir));
    left.len()
}

/// Records in `dir` that a run uses it.
pub fn note_user(dir: &Path, run: &RunId) -> io::Result<()> {
    let users = dir.join("users");
    std::fs::create_dir_all(&users)?;
    std::fs::write(users.join(run.as_str()), ProcessIdentity::me().as_str())
}

/// Removes the directories in `parent` that no run of `kept` and no living process uses. Returns their
/// number.
pub fn reap_unused(parent: &Path, kept: &[RunId]) -> usize {
    let needs = |user: &PathBuf| {
        let name = user.file_name().unwrap_or_default();
        kept.iter().any(|run| name == run.as_str())
            || ProcessIdentity::read(&std::fs::read_to_string(user).unwrap_or_default()).is_alive()
    };
    let unused = |dir: &PathBuf| !entries(&dir.join("users")).iter().any(needs);
    let left: Vec<_> = entries(parent).into_iter().filter(unused).collect();
    left.iter().for_each(|dir| remove(dir));
    left.len()
}

/// Moves a finished directory to its final path, unless one exists there.
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

/// The descendant of `parent` that is the first process of another process namespace.
pub fn first_process_below(parent: u32) -> Option<i32> {
    let mut parents = vec![parent];
    for _ in 0..4 {
        let children: Vec<u32> = parents.iter().flat_map(|parent| children(*parent)).collect();
        if let Some(first) = children.iter().find(|child| is_first(**child)) {
            return i32::try_from(*first).ok();
        }
        parents = children;
    }
    None
}

fn children(parent: u32) -> Vec<u32> {
    let told = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    if let Ok(told) = told {
        return told.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    }
    // For kernels without a list of children.
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |number: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let fields =
            stat.rsplit_once(") ").map(|(_, fields)| fields.split(' ').nth(1).map(ToOwned::to_owned));
        fields.flatten() == Some(parent.to_string())
    };
    numbers.filter(is_child).collect()
}

/// Whether the process has the number 1 in its namespace and another number here.
fn is_first(number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// The path of a program in `PATH`, if it is found.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
