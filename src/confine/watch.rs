//! Watching over what no control group limits: the disk, and memory where there are no groups. What is found too much
//! is ended by whoever watches.
#![expect(clippy::disallowed_methods, reason = "looks again and again, and measures how long that takes")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use tokio::time::sleep;

use super::usage::{DiskUsage, disk_usage, family, free_files, free_space, memory, unnamed};
use super::{Group, Limits};

/// How often it looks, unless looking takes long.
const OFTEN: Duration = Duration::from_millis(200);
/// Looking may take this part of all time.
const SHARE: u32 = 5;
/// If this part of what it may use is taken from the disk, it looks at once.
const URGENT: u64 = 8;
/// Space that is looked for in files without a name once it is missing from the disk.
const HIDDEN: u64 = 64 << 20;

/// What a sandbox used too much of, as a sentence about it: "it wrote more than 1024 MiB to its disk".
pub type Overrun = String;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The directories that it writes to.
    pub roots: Vec<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Whether what is there at the start counts as written by it.
    pub counts_all: bool,
}

/// A watch that has begun.
#[derive(Debug)]
pub struct Watching {
    watch: Watch,
    used: DiskUsage,
    free: u64,
    group: Option<Arc<Group>>,
    process: Option<Pid>,
}

/// The free space of the disk, if its file system reports it.
#[derive(Clone, Copy)]
struct Left {
    bytes: Option<u64>,
    files: Option<u64>,
}

const ANY: DiskUsage = DiskUsage { bytes: u64::MAX, files: u64::MAX };

/// Bytes that have to stay free on the disk of `path`, so that what runs outside of sandboxes can go on.
pub fn reserve(path: &Path) -> u64 {
    free_space(path).map_or(0, |(_, size)| (512 << 20).min(size / 16))
}

/// An error where less than the reserve is free on the disk of `path`.
pub fn check_space(path: &Path) -> io::Result<()> {
    let Ok((free, _)) = free_space(path) else { return Ok(()) };
    if free >= reserve(path) {
        return Ok(());
    }
    let text = format!("only {} MiB are free on the disk of {}", free >> 20, path.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

impl Watch {
    /// Notes what is there, before the sandbox starts.
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
    /// The same, of a sandbox that has this control group and whose first process is `process`. Without a group, the
    /// watch sees to its memory as well.
    #[must_use]
    pub fn of(self, group: Option<Arc<Group>>, process: Option<u32>) -> Self {
        let process = process.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        Self { group, process, ..self }
    }

    /// Watches until there is too much of something.
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

    /// Whether so much of the disk was taken since `before`, by whatever runs on it, that looking should not wait.
    fn is_filling(&self, before: Left) -> bool {
        let (now, limits) = (self.watch.left(), &self.watch.limits);
        let much = |before: Option<u64>, now: Option<u64>, limit: Option<u64>| {
            let taken = before.zip(now).map(|(before, now)| before.saturating_sub(now));
            taken.zip(limit).is_some_and(|(taken, limit)| taken > limit / URGENT)
        };
        much(before.bytes, now.bytes, limits.disk) || much(before.files, now.files, limits.files)
    }

    /// Looks once.
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
            return Some(format!("it made more than {} files", files.unwrap_or_default()));
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

/// What is said of a sandbox that used more than `most` bytes of memory.
pub fn too_much_memory(most: u64) -> Overrun {
    format!("it used more than {} MiB of memory", most >> 20)
}
