//! Measures the resource usage of a sandbox from outside.
#![expect(
    clippy::disallowed_methods,
    reason = "reads directories that sandboxed programs write to, and /proc"
)]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

/// Disk usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Allocated bytes; holes of sparse files do not count.
    pub bytes: u64,
    /// Files, directories and all other entries.
    pub files: u64,
}

/// Longest path below an open directory, in bytes; deeper directories are opened themselves, because the
/// kernel allows only 4096 bytes.
const LONGEST: usize = 2_000;
/// Most open directories, each thousands of levels below the previous one.
const DEEPEST: usize = 200;

/// A directory to read, below an open one.
struct OpenDir {
    base: Rc<OwnedFd>,
    path: PathBuf,
    depth: usize,
}

/// Disk usage below `root`. Does not follow links or enter other file systems; unreadable directories count
/// without their content. Stops early above `most`.
pub fn disk_usage(root: &Path, most: DiskUsage) -> io::Result<DiskUsage> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let top = openat(nix::fcntl::AT_FDCWD, root, flags, Mode::empty())?;
    let device = fstatat(&top, ".", AtFlags::empty())?.st_dev;
    let mut used = DiskUsage::default();
    // A file with several names counts once.
    let mut linked = std::collections::HashSet::new();
    let mut open = vec![OpenDir { base: Rc::new(top), path: PathBuf::from("."), depth: 0 }];
    while let Some(at) = open.pop() {
        let Ok(fd) = openat(at.base.as_fd(), &at.path, flags, Mode::empty()) else { continue };
        let below = if at.path.as_os_str().len() > LONGEST && at.depth < DEEPEST {
            fd.try_clone().map(|fd| OpenDir {
                base: Rc::new(fd),
                path: PathBuf::from("."),
                depth: at.depth + 1,
            })?
        } else {
            at
        };
        for entry in Dir::from_fd(fd)?.iter().flatten() {
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
            let path = below.path.join(name);
            let Ok(stat) = fstatat(below.base.as_fd(), &path, AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != device {
                continue;
            }
            used.files += 1;
            let directory = kind(&stat) == SFlag::S_IFDIR;
            if directory || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
                used.bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
            }
            if used.files > most.files || used.bytes > most.bytes {
                return Ok(used);
            }
            if directory {
                open.push(OpenDir { base: below.base.clone(), path, depth: below.depth });
            }
        }
    }
    Ok(used)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Free bytes on the disk of `path`, and its size in bytes.
pub fn free_space(path: &Path) -> io::Result<(u64, u64)> {
    let found = statvfs(path)?;
    let block = found.fragment_size();
    Ok((found.blocks_available() * block, found.blocks() * block))
}

/// Free inodes on the disk of `path`; `None` if its file system has no fixed number.
pub(super) fn free_files(path: &Path) -> Option<u64> {
    let found = statvfs(path).ok()?;
    (found.files() > 0).then(|| found.files_free())
}

/// Bytes of deleted files that `processes` keep open.
pub(super) fn unnamed(processes: &[Pid]) -> u64 {
    let mut seen = HashMap::new();
    for pid in processes {
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            if let Ok(file) = std::fs::metadata(entry.path())
                && file.is_file()
                && file.nlink() == 0
            {
                seen.insert((file.dev(), file.ino()), file.blocks() * 512);
            }
        }
    }
    seen.values().sum()
}

/// Memory of `processes` in bytes: the proportional set size if available, otherwise an estimate.
pub(super) fn memory(processes: &[Pid]) -> u64 {
    processes.iter().map(|pid| proportional(*pid).or_else(|| resident(*pid)).unwrap_or_default()).sum()
}

fn proportional(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn resident(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? << 12)
}

/// `root` and all processes below it.
pub(super) fn family(root: Pid) -> Vec<Pid> {
    let (mut open, mut found) = (vec![root], Vec::new());
    while let Some(pid) = open.pop() {
        found.push(pid);
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(text.split_whitespace().filter_map(|word| word.parse().ok()).map(Pid::from_raw));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: DiskUsage = DiskUsage { bytes: u64::MAX, files: u64::MAX };

    #[test]
    fn holes_take_no_space_and_a_file_with_two_names_takes_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let sparse = std::fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(3 << 30).unwrap();
        std::fs::write(dir.path().join("full"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(dir.path().join("full"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("out")).unwrap();
        let used = disk_usage(dir.path(), ANY).unwrap();
        assert_eq!(used.files, 4);
        assert!((1 << 20..2 << 20).contains(&used.bytes), "{used:?}");
    }

    #[test]
    fn deep_directories_are_counted_and_counting_ends_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = openat(nix::fcntl::AT_FDCWD, dir.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            nix::sys::stat::mkdirat(&at, "deeper", Mode::S_IRWXU).unwrap();
            at = openat(&at, "deeper", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        assert_eq!(disk_usage(dir.path(), ANY).unwrap().files, 3_000);
        assert_eq!(disk_usage(dir.path(), DiskUsage { files: 99, ..ANY }).unwrap().files, 100);
        std::process::Command::new("rm").arg("-rf").arg(dir.path()).status().unwrap();
    }

    #[test]
    fn a_file_without_a_name_is_found_by_who_holds_it_open() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gone"), vec![1; 4 << 20]).unwrap();
        let held = std::fs::File::open(dir.path().join("gone")).unwrap();
        std::fs::remove_file(dir.path().join("gone")).unwrap();
        assert!(unnamed(&[Pid::this()]) >= 4 << 20);
        drop(held);
    }

    #[test]
    fn memory_is_that_of_a_whole_family() {
        let own = family(Pid::this());
        assert!(own.contains(&Pid::this()));
        assert!(memory(&own) > 1 << 20);
    }
}
