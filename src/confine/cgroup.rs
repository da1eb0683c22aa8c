//! Control groups: limits of the kernel for all processes of a sandbox together. Uses version 2 if a part
//! of the tree is delegated to us, otherwise version 1 if it is writable, otherwise none.
#![expect(clippy::disallowed_methods, reason = "reads and writes the file systems of control groups")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};

use super::Limits;

const NAME: &str = "atoll-";
/// Additional memory for the two processes of the sandbox itself, in bytes.
const OVERHEAD: u64 = 32 << 20;
/// Two processes of bubblewrap, and two threads of the agent.
const OWN_PROCESSES: u64 = 4;
/// Scheduling period for processor limits, in microseconds.
const PERIOD: u32 = 100_000;

/// Directories in which groups can be created.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parents {
    /// Version 2: one directory for all controllers.
    Unified(PathBuf),
    /// Version 1: one directory for each.
    Split { memory: PathBuf, pids: PathBuf, cpu: Option<PathBuf> },
}

/// A control group with limits. Dropping it kills its processes and removes it.
#[derive(Debug)]
pub struct Group {
    unified: bool,
    dirs: Vec<PathBuf>,
}

impl Group {
    /// Creates a group with `limits`; `None` if this machine does not allow it.
    pub fn make(limits: &Limits) -> Option<Self> {
        static PARENTS: OnceLock<Option<Parents>> = OnceLock::new();
        let parents = PARENTS.get_or_init(|| {
            let parents = find(Path::new("/proc/self/cgroup"), Path::new("/proc/self/mountinfo"))?;
            parents.dirs().iter().for_each(|dir| sweep(dir));
            Some(parents)
        });
        Self::below(parents.as_ref()?, limits).ok()
    }

    fn below(parents: &Parents, limits: &Limits) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{NAME}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dirs: Vec<PathBuf> = parents.dirs().iter().map(|dir| dir.join(&name)).collect();
        let mut group = Self { unified: matches!(parents, Parents::Unified(_)), dirs: Vec::new() };
        for dir in dirs {
            std::fs::create_dir(&dir)?;
            group.dirs.push(dir);
        }
        let most =
            |limit: Option<u64>, besides: u64| limit.map(|limit| limit.saturating_add(besides).to_string());
        let memory = most(limits.memory, OVERHEAD).unwrap_or_else(|| group.unlimited("-1"));
        let pids = most(limits.pids, OWN_PROCESSES).unwrap_or_else(|| group.unlimited("max"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number of processors is small"
        )]
        let quota = limits.cpus.map(|cpus| (cpus * f64::from(PERIOD)) as u64);
        let dir = |at: usize| group.dirs.get(at);
        if group.unified {
            let Some(dir) = dir(0) else { return Err(io::ErrorKind::NotFound.into()) };
            write(dir, "memory.max", &memory)?;
            write(dir, "pids.max", &pids)?;
            // This file does not exist without swap.
            let _ = write(dir, "memory.swap.max", "0");
            if let Some(quota) = quota {
                let _ = write(dir, "cpu.max", &format!("{quota} {PERIOD}"));
            }
        } else {
            let (Some(of_memory), Some(of_pids)) = (dir(0), dir(1)) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            write(of_memory, "memory.limit_in_bytes", &memory)?;
            let _ = write(of_memory, "memory.memsw.limit_in_bytes", &memory);
            write(of_pids, "pids.max", &pids)?;
            if let (Some(dir), Some(quota)) = (dir(2), quota) {
                let _ = write(dir, "cpu.cfs_period_us", &PERIOD.to_string());
                let _ = write(dir, "cpu.cfs_quota_us", &quota.to_string());
            }
        }
        Ok(group)
    }

    /// The value for no limit, which is `old` in version 1.
    fn unlimited(&self, old: &str) -> String {
        if self.unified { "max" } else { old }.to_owned()
    }

    /// Directories whose `cgroup.procs` a process must be written to.
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Processes of the group.
    pub fn processes(&self) -> Vec<Pid> {
        let Some(dir) = self.dirs.first() else { return Vec::new() };
        let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
    }

    /// Whether the kernel has killed one of its processes for lack of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let Some(dir) = self.dirs.first() else { return false };
        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }

    /// Kills all its processes.
    pub fn kill(&self) {
        if self.unified && self.dirs.first().is_some_and(|dir| write(dir, "cgroup.kill", "1").is_ok()) {
            return;
        }
        for _ in 0..50 {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            for pid in processes {
                // It may have ended meanwhile.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let dirs = std::mem::take(&mut self.dirs);
        if remove(&dirs) {
            return;
        }
        // Killed processes end in a moment; before that, the directory cannot be removed.
        std::thread::spawn(move || {
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(20));
                if remove(&dirs) {
                    return;
                }
            }
        });
    }
}

fn remove(dirs: &[PathBuf]) -> bool {
    let gone = |dir: &PathBuf| std::fs::remove_dir(dir).is_ok() || !dir.exists();
    dirs.iter().filter(|dir| !gone(dir)).count() == 0
}

/// Removes leftover groups of dead processes.
fn sweep(parent: &Path) {
    let owner = |name: &str| name.strip_prefix(NAME)?.split('-').next()?.parse::<i32>().ok();
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(owner);
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)) {
            // Only an empty group can be removed.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn write(dir: &Path, file: &str, text: &str) -> io::Result<()> {
    std::fs::write(dir.join(file), text)
}

fn writable(path: &Path) -> bool {
    access(path, AccessFlags::W_OK).is_ok()
}

/// Directories in which groups can be created, according to the two files of a process.
fn find(groups: &Path, mounts: &Path) -> Option<Parents> {
    let (groups, mounts) = (std::fs::read_to_string(groups).ok()?, std::fs::read_to_string(mounts).ok()?);
    let unified =
        place(&groups, &mounts, None).and_then(|(dir, top)| divisible(&dir, &top)).map(Parents::Unified);
    unified.or_else(|| {
        let own = |controller| {
            let (dir, _) = place(&groups, &mounts, Some(controller))?;
            writable(&dir.join("cgroup.procs")).then_some(dir)
        };
        Some(Parents::Split { memory: own("memory")?, pids: own("pids")?, cpu: own("cpu") })
    })
}

/// The directory of the group of this process and the root of its tree, for a controller of version 1 or
/// for version 2.
fn place(groups: &str, mounts: &str, controller: Option<&str>) -> Option<(PathBuf, PathBuf)> {
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let mine = controller.map_or(names.is_empty(), |name| names.split(',').any(|other| other == name));
        mine.then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (fields, kind) = (before.split(' ').collect::<Vec<_>>(), after.split(' ').collect::<Vec<_>>());
        let (root, top) = (*fields.get(3)?, PathBuf::from(fields.get(4)?));
        let found = match controller {
            None => *kind.first()? == "cgroup2",
            Some(name) => *kind.first()? == "cgroup" && kind.get(2)?.split(',').any(|option| option == name),
        };
        let rest = Path::new(own).strip_prefix(root).unwrap_or(Path::new(""));
        found.then(|| (top.join(rest), top.clone()))
    })
}

/// The nearest directory from `own` up to `top` in which groups with limits for memory and processes can be
/// created. If a group contains only this process, it is changed to allow that, because a group with
/// processes cannot have limited subgroups.
fn divisible(own: &Path, top: &Path) -> Option<PathBuf> {
    let has = |dir: &Path, file: &str| {
        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        ["memory", "pids"].iter().all(|name| text.split_whitespace().any(|word| word == *name))
    };
    let ours = |dir: &Path| writable(dir) && writable(&dir.join("cgroup.procs"));
    let above = own.ancestors().take_while(|dir| dir.starts_with(top));
    if let Some(dir) = above.filter(|dir| ours(dir)).find(|dir| has(dir, "cgroup.subtree_control")) {
        return Some(dir.to_owned());
    }
    let alone = std::fs::read_to_string(own.join("cgroup.procs"))
        .is_ok_and(|text| text.trim() == std::process::id().to_string());
    if !(alone && ours(own) && has(own, "cgroup.controllers")) {
        return None;
    }
    let aside = own.join(format!("{NAME}{}-own", std::process::id()));
    let divide = || -> io::Result<()> {
        std::fs::create_dir(&aside)?;
        write(&aside, "cgroup.procs", "0")?;
        let _ = write(own, "cgroup.subtree_control", "+cpu");
        write(own, "cgroup.subtree_control", "+memory +pids")
    };
    divide().ok().map(|()| own.to_owned())
}

impl Parents {
    fn dirs(&self) -> Vec<PathBuf> {
        match self {
            Self::Unified(dir) => vec![dir.clone()],
            Self::Split { memory, pids, cpu } => {
                [Some(memory), Some(pids), cpu.as_ref()].into_iter().flatten().cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: Some(512 << 20),
        pids: Some(100),
        cpus: Some(1.5),
        file: None,
        disk: None,
        files: None,
    };

    fn put(dir: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(dir).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).unwrap());
    }

    /// The two files for a process in `own` below `top`.
    fn seen(own: &str, top: &Path) -> (String, String) {
        let mounts = format!("35 24 0:30 / {} rw - cgroup2 cgroup2 rw\n", top.display());
        (format!("0::{own}\n"), mounts)
    }

    #[test]
    fn version_2_is_used_where_a_part_of_the_tree_is_ours() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("app.slice/shell.scope");
        put(
            &own,
            &[
                ("cgroup.procs", "1\n2\n"),
                ("cgroup.subtree_control", ""),
                ("cgroup.controllers", "memory pids"),
            ],
        );
        put(own.parent().unwrap(), &[("cgroup.procs", ""), ("cgroup.subtree_control", "cpu memory pids\n")]);
        let (groups, mounts) = seen("/app.slice/shell.scope", top.path());
        let (dir, above) = place(&groups, &mounts, None).unwrap();
        assert_eq!((dir.as_path(), above.as_path()), (own.as_path(), top.path()));
        let parent = divisible(&dir, &above).unwrap();
        assert_eq!(parent, own.parent().unwrap());
        let group = Group::below(&Parents::Unified(parent), &LIMITS).unwrap();
        let read = |name: &str| std::fs::read_to_string(group.dirs()[0].join(name)).unwrap();
        assert_eq!((read("memory.max"), read("pids.max")), ((544 << 20).to_string(), "104".to_owned()));
        assert_eq!(read("cpu.max"), "150000 100000");
        put(&group.dirs()[0], &[("memory.events", "oom 3\noom_kill 0\n")]);
        assert!(!group.ran_out_of_memory());
        put(&group.dirs()[0], &[("memory.events", "oom 3\noom_kill 1\n")]);
        assert!(group.ran_out_of_memory());
        std::mem::forget(group);
    }

    #[test]
    fn a_group_that_is_ours_alone_is_divided_and_one_with_others_is_not() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("mine");
        let me = std::process::id();
        put(
            &own,
            &[
                ("cgroup.procs", &format!("{me}\n")),
                ("cgroup.subtree_control", ""),
                ("cgroup.controllers", "cpu memory pids"),
            ],
        );
        assert_eq!(divisible(&own, top.path()), Some(own.clone()));
        assert_eq!(std::fs::read_to_string(own.join(format!("atoll-{me}-own/cgroup.procs"))).unwrap(), "0");
        assert_eq!(std::fs::read_to_string(own.join("cgroup.subtree_control")).unwrap(), "+memory +pids");
        put(&own, &[("cgroup.procs", &format!("{me}\n1\n")), ("cgroup.subtree_control", "")]);
        assert_eq!(divisible(&own, top.path()), None);
    }

    #[test]
    fn version_1_is_found_by_controller() {
        let groups = "9:name=systemd:/\n8:pids:/a\n4:cpu,memory:/a/b\n0::/\n";
        let mounts = "30 24 0:26 / /g/memory rw,relatime - cgroup cgroup rw,cpu,memory\n31 24 0:27 /a /g/pids rw - cgroup cgroup rw,pids\n";
        let at = |name| place(groups, mounts, Some(name)).map(|(dir, _)| dir);
        assert_eq!(at("memory"), Some(PathBuf::from("/g/memory/a/b")));
        assert_eq!(at("pids"), Some(PathBuf::from("/g/pids")));
        assert_eq!(at("blkio"), None);
        assert_eq!(place(groups, mounts, None), None);
    }
}
