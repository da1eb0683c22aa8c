//! A limit for the disk usage of a container, for which Docker has no option.
#![expect(clippy::disallowed_methods, reason = "reads directories of the daemon periodically")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{InspectContainerOptionsBuilder, KillContainerOptionsBuilder};

use super::Engine;
use crate::confine::{FILES, Limits, Overrun, Watch, Watching};

/// Interval of requests for the size of a container whose directory cannot be read.
const SELDOM: Duration = Duration::from_secs(2);

/// How the disk usage of a container is measured, and its limit.
pub(super) enum DiskWatch {
    /// By reading its directory in the data of the daemon.
    Directory { container: String, watching: Watching },
    /// By requests to the daemon, if that directory is unknown or cannot be read.
    Daemon { container: String, start: u64, most: u64 },
}

impl Engine {
    /// Records the current disk usage of a container.
    pub(super) async fn begin_watch(&self, container: &str, disk: u64) -> DiskWatch {
        let limits = Limits { disk: Some(disk), files: Some(FILES), ..Limits::default() };
        match self.directories(container).await {
            Some(roots) => {
                let watching = Watch { roots, limits, counts_all: false }.begin().await;
                DiskWatch::Directory { container: container.to_owned(), watching }
            }
            None => DiskWatch::Daemon {
                container: container.to_owned(),
                start: self.written(container).await.unwrap_or_default(),
                most: disk,
            },
        }
    }

    /// The directories that a container writes to, if all of them can be read.
    async fn directories(&self, container: &str) -> Option<Vec<PathBuf>> {
        let options = InspectContainerOptionsBuilder::new().build();
        let found = self.api.inspect_container(container, Some(options)).await.ok()?;
        let own = PathBuf::from(found.graph_driver?.data.get("UpperDir")?);
        let volumes = found.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.source);
        // Volumes in memory have no source.
        let volumes = volumes.filter(|source| !source.is_empty());
        let roots: Vec<PathBuf> = std::iter::once(own).chain(volumes.map(PathBuf::from)).collect();
        roots.iter().all(|root| readable(root)).then_some(roots)
    }

    async fn process(&self, container: &str) -> Option<u32> {
        let options = InspectContainerOptionsBuilder::new().build();
        let found = self.api.inspect_container(container, Some(options)).await.ok()?;
        found.state?.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
    }

    async fn written(&self, container: &str) -> Option<u64> {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let found = self.api.inspect_container(container, Some(options)).await.ok()?;
        found.size_rw.and_then(|size| u64::try_from(size).ok())
    }

    /// Waits until a container exceeds its limit.
    pub(super) async fn overrun(&self, watched: DiskWatch) -> Overrun {
        let (container, start, most) = match watched {
            DiskWatch::Directory { container, watching } => {
                // The container is running, so deleted files are found through the processes that keep them
                // open.
                let process = self.process(&container).await;
                return Arc::new(watching.of(None, process)).overrun().await;
            }
            DiskWatch::Daemon { container, start, most } => (container, start, most),
        };
        loop {
            tokio::time::sleep(SELDOM).await;
            let written = self.written(&container).await.unwrap_or_default();
            if written.saturating_sub(start) > most {
                return format!("it wrote more than {} MiB to its disk", most >> 20);
            }
        }
    }

    /// Kills a container with all its processes.
    pub(super) async fn kill_now(&self, container: &str) {
        let kill = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        // It may have ended meanwhile.
        let _ = self.api.kill_container(container, Some(kill)).await;
    }
}

fn readable(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok()
}
