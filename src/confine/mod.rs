//! Kernel limits for sandboxed programs: the system call filter, control groups, and a watch over resources
//! that control groups do not limit. Used by both runtimes. This module does not know what runs in a
//! sandbox. Start with [`Limits`] and [`Confinement`]. `syscalls` has the list of refused calls.

mod cgroup;
mod enter;
mod syscalls;
mod usage;
mod watch;

pub use cgroup::Group;
pub use enter::{Confinement, InMemory, WORD, enter_main};
pub use syscalls::docker_profile;
pub use usage::{DiskUsage, disk_usage, free_space};
pub use watch::{Overrun, Watch, Watching, check_space, reserve, too_much_memory};

use serde::{Deserialize, Serialize};

/// Limits for all processes of one sandbox together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, including in-memory files.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors, if a control group can limit them.
    pub cpus: Option<f64>,
    /// Bytes in one file.
    pub file: Option<u64>,
    /// Bytes on disk, in addition to those at the start.
    pub disk: Option<u64>,
    /// Files and directories, in addition to those at the start.
    pub files: Option<u64>,
}

/// Default limit for created files and directories of a sandbox.
pub const FILES: u64 = 400_000;
/// Most files and directories in each in-memory file system.
pub const FILES_IN_MEMORY: u64 = 100_000;
