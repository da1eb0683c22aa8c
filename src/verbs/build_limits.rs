//! Default limits of image builds.

use std::time::Duration;

/// Memory limit of a command and all its processes, in bytes.
pub(super) const BUILD_MEMORY: u64 = 2 << 30;
/// Disk limit of the image, in bytes.
pub(super) const BUILD_DISK: u64 = 4 << 30;
/// Maximum duration of a build.
pub(super) const BUILD_TIMEOUT: Duration = Duration::from_secs(600);
