//! How often links were followed: a few links that lead to each other can make a tree without end.

use std::collections::HashMap;
use std::io;

/// A directory, by device and number.
pub(super) type DirIdentity = (u64, u64);

/// Most links to directories that are followed in all.
const MOST: usize = 20_000;
/// Most links that are followed to the same directory.
const MOST_OF_ONE: usize = 1_000;

/// The links to directories that were followed.
#[derive(Default)]
pub(super) struct Followed {
    count: usize,
    each: HashMap<DirIdentity, usize>,
}

impl Followed {
    /// Counts the link at `path`, which leads to `to`; an error once that are too many.
    pub fn count(&mut self, to: DirIdentity, path: &str) -> io::Result<()> {
        let each = self.each.entry(to).or_default();
        *each += 1;
        self.count += 1;
        let why = if *each > MOST_OF_ONE {
            format!("links lead to the same directory in more than {MOST_OF_ONE} places, as `{path}` does")
        } else if self.count > MOST {
            format!("links lead to directories in more than {MOST} places")
        } else {
            return Ok(());
        };
        Err(io::Error::other(why))
    }
}
