//! Default limits of image builds.

use std::time::Duration;

/// Memory limit of a command and all its processes, in bytes.
pub(super) const MEMORY: u64 = 2 << 30;
/// Disk limit of the image, in bytes.
pub(super) const DISK: u64 = 4 << 30;
/// Maximum duration of a build.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
