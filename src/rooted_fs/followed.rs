//! Counts followed links, because a few links to each other can form an endless tree.

use std::collections::HashMap;
use std::io;

/// A directory as device and inode.
pub(super) type DirIdentity = (u64, u64);

/// Most links to directories in total.
const MOST: usize = 20_000;
/// Most links to the same directory.
const MOST_OF_ONE: usize = 1_000;

/// Followed links to directories.
#[derive(Default)]
pub(super) struct Followed {
    count: usize,
    each: HashMap<DirIdentity, usize>,
}

impl Followed {
    /// Counts the link at `path` to the directory `to`. Returns an error if there are too many.
    pub fn count(&mut self, to: DirIdentity, path: &str) -> io::Result<()> {
        let each = self.each.entry(to).or_default();
        *each += 1;
        self.count += 1;
        let why = if *each > MOST_OF_ONE {
            format!("more than {MOST_OF_ONE} links point to the same directory, for example `{path}`")
        } else if self.count > MOST {
            format!("more than {MOST} links point to directories")
        } else {
            return Ok(());
        };
        Err(io::Error::other(why))
    }
}
