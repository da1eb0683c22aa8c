//! Globs that select files of a tree.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::verb::Failure;

/// Compiled globs; one without `/` is matched against file names.
pub(super) fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        let wrong =
            |e: globset::Error| Failure::permanent(format!("the glob {pattern:?} is wrong: {}", e.kind()));
        set.add(Glob::new(&anywhere).map_err(wrong)?);
    }
    set.build().map_err(|e| Failure::permanent(format!("the globs are wrong: {e}")))
}
