//! What a sandboxed program may ask of the kernel, and how much it may use: the filter of system calls, control groups,
//! and a watch over what no control group limits. Used by both runtimes. It must never know what runs in a sandbox.
//! Start with [`Limits`] and [`Confinement`]; `syscalls` holds the list of what is refused.

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

/// What everything in one sandbox may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, files in memory included.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors, where a control group can limit them.
    pub cpus: Option<f64>,
    /// Bytes in one file.
    pub file: Option<u64>,
    /// Bytes on the disk, on top of what was there at the start.
    pub disk: Option<u64>,
    /// Files and directories, on top of what was there at the start.
    pub files: Option<u64>,
}

/// Most files and directories that a sandbox may make unless it is told otherwise.
pub const FILES: u64 = 400_000;
/// Most files and directories in each of its file systems in memory.
pub const FILES_IN_MEMORY: u64 = 100_000;
