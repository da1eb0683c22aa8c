//! What the build of an image may use, unless a step says otherwise.

use std::time::Duration;

/// Memory of all processes of a command together, in bytes.
pub(super) const MEMORY: u64 = 2 << 30;
/// What the image may take on the disk, in bytes.
pub(super) const DISK: u64 = 4 << 30;
/// After how long the build is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
