//! Watches resources that control groups do not limit: the disk, and memory if there are no groups. The
//! caller ends a sandbox that exceeds a limit.
#![expect(clippy::disallowed_methods, reason = "polls, and measures the duration of each check")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use tokio::time::sleep;

use super::usage::{DiskUsage, disk_usage, family, free_files, free_space, memory, unnamed};
use super::{Group, Limits};

/// Interval of checks, unless they take long.
const OFTEN: Duration = Duration::from_millis(200);
/// Checks may take this fraction of the time.
const SHARE: u32 = 5;
/// If this fraction of the limit disappears from the free space, it checks at once.
const URGENT: u64 = 8;
/// Missing free space, in bytes, above which deleted files are checked, too.
const HIDDEN: u64 = 64 << 20;

/// The exceeded limit of a sandbox, as a sentence: "it wrote more than 1024 MiB to its disk".
pub type Overrun = String;

/// Parameters of a watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Writable directories of the sandbox.
    pub roots: Vec<PathBuf>,
    /// Limits.
    pub limits: Limits,
    /// Whether initial files count towards the limits.
    pub counts_all: bool,
}

/// A running watch.
#[derive(Debug)]
pub struct Watching {
    watch: Watch,
    used: DiskUsage,
    free: u64,
    group: Option<Arc<Group>>,
    process: Option<Pid>,
}

/// Free space of the disk, if its file system reports it.
#[derive(Clone, Copy)]
struct Left {
    bytes: Option<u64>,
    files: Option<u64>,
}

const ANY: DiskUsage = DiskUsage { bytes: u64::MAX, files: u64::MAX };

/// Bytes that must stay free on the disk of `path` for programs outside sandboxes.
pub fn reserve(path: &Path) -> u64 {
    free_space(path).map_or(0, |(_, size)| (512 << 20).min(size / 16))
}

/// Returns an error if less than the reserve is free on the disk of `path`.
pub fn check_space(path: &Path) -> io::Result<()> {
    let Ok((free, _)) = free_space(path) else { return Ok(()) };
    if free >= reserve(path) {
        return Ok(());
    }
    let text = format!("only {} MiB are free on the disk of {}", free >> 20, path.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

impl Watch {
    /// Records the initial usage, before the sandbox starts.
    pub async fn begin(self) -> Watching {
        let begin = move || {
            let used = if self.counts_all { DiskUsage::default() } else { self.used(ANY) };
            Watching { used, free: self.free(), watch: self, group: None, process: None }
        };
        match tokio::task::spawn_blocking(begin).await {
            Ok(watching) => watching,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    fn used(&self, most: DiskUsage) -> DiskUsage {
        let each = self.roots.iter().filter_map(|root| disk_usage(root, most).ok());
        each.fold(DiskUsage::default(), |sum, one| DiskUsage {
            bytes: sum.bytes + one.bytes,
            files: sum.files + one.files,
        })
    }

    fn left(&self) -> Left {
        let root = self.roots.first();
        Left {
            bytes: root.and_then(|root| free_space(root).ok()).map(|(free, _)| free),
            files: root.and_then(|root| free_files(root)),
        }
    }

    fn free(&self) -> u64 {
        self.roots.first().and_then(|root| free_space(root).ok()).map_or(u64::MAX, |(free, _)| free)
    }
}

impl Watching {
    /// The watch for a sandbox with this control group and the first process `process`. Without a group,
    /// memory is watched, too.
    #[must_use]
    pub fn of(self, group: Option<Arc<Group>>, process: Option<u32>) -> Self {
        let process = process.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        Self { group, process, ..self }
    }

    /// Waits until a limit is exceeded.
    pub async fn overrun(self: Arc<Self>) -> Overrun {
        loop {
            let begun = Instant::now();
            let before = self.watch.left();
            if let Some(overrun) = self.look().await {
                return overrun;
            }
            let took = begun.elapsed();
            let (soon, late) = (OFTEN.max(took), OFTEN.max(took * SHARE));
            let looked = Instant::now();
            sleep(soon).await;
            while looked.elapsed() < late && !self.is_filling(before) {
                sleep(OFTEN).await;
            }
        }
    }

    /// Whether the free space has shrunk so much since `before`, for any reason, that a check is urgent.
    fn is_filling(&self, before: Left) -> bool {
        let (now, limits) = (self.watch.left(), &self.watch.limits);
        let much = |before: Option<u64>, now: Option<u64>, limit: Option<u64>| {
            let taken = before.zip(now).map(|(before, now)| before.saturating_sub(now));
            taken.zip(limit).is_some_and(|(taken, limit)| taken > limit / URGENT)
        };
        much(before.bytes, now.bytes, limits.disk) || much(before.files, now.files, limits.files)
    }

    /// Checks once.
    pub async fn look(self: &Arc<Self>) -> Option<Overrun> {
        let watching = self.clone();
        tokio::task::spawn_blocking(move || watching.looked()).await.ok()?
    }

    fn processes(&self) -> Vec<Pid> {
        match (&self.group, self.process) {
            (Some(group), _) => group.processes(),
            (None, Some(process)) => family(process),
            (None, None) => Vec::new(),
        }
    }

    fn looked(&self) -> Option<Overrun> {
        let Limits { disk, files, memory: most, .. } = self.watch.limits;
        let sum =
            |limit: Option<u64>, start: u64| limit.map_or(u64::MAX, |limit| start.saturating_add(limit));
        let allowed = DiskUsage { bytes: sum(disk, self.used.bytes), files: sum(files, self.used.files) };
        let mut used = self.watch.used(allowed);
        let free = self.watch.free();
        let grown = used.bytes.saturating_sub(self.used.bytes);
        if self.free.saturating_sub(free).saturating_sub(grown) > HIDDEN {
            used.bytes += unnamed(&self.processes());
        }
        if used.bytes > allowed.bytes {
            return Some(format!("it wrote more than {} MiB to its disk", disk.unwrap_or_default() >> 20));
        }
        if used.files > allowed.files {
            return Some(format!("it created more than {} files", files.unwrap_or_default()));
        }
        let reserve = self.watch.roots.first().map_or(0, |root| reserve(root));
        let grown = used.bytes.saturating_sub(self.used.bytes);
        if free < reserve && grown > reserve / 4 {
            let (free, grown) = (free >> 20, grown >> 20);
            return Some(format!("it filled the disk: it wrote {grown} MiB, and {free} MiB are left"));
        }
        let most = most.filter(|_| self.group.is_none())?;
        (memory(&self.processes()) > most).then(|| too_much_memory(most))
    }
}

/// The message for a sandbox that used more than `most` bytes of memory.
pub fn too_much_memory(most: u64) -> Overrun {
    format!("it used more than {} MiB of memory", most >> 20)
}
