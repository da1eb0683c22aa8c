//! Mount points of a sandbox in a file system that a product wrote. By itself, bubblewrap would follow
//! symbolic links there while it still sees the whole machine as `/oldroot`, and would create missing
//! directories at their targets with our rights.

use std::io;
use std::path::PathBuf;

use crate::rooted_fs::{RootedFs, blocking, named};

/// What is mounted at a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MountKind {
    /// A directory in which the product may have created links.
    Open(PathBuf),
    /// A directory or file that the product cannot have changed.
    Sealed,
}

/// A mount point that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MountPoint {
    /// Directory of this machine that contains it, and its path in that directory.
    dir: PathBuf,
    path: PathBuf,
    /// Path for the product.
    at: PathBuf,
    is_dir: bool,
}

/// Creates the mount points for bubblewrap with `arguments`. A link in the path of one is an error.
pub(super) async fn prepare(arguments: &[String]) -> io::Result<()> {
    let targets = targets(arguments);
    let make = move |target: &MountPoint| {
        let dir = RootedFs::open(&target.dir)?;
        let made = if target.is_dir { dir.make_dirs(&target.path) } else { dir.make_file(&target.path) };
        made.map_err(named(&target.at))
    };
    blocking(move |_| targets.iter().try_for_each(make)).await
}

fn targets(arguments: &[String]) -> Vec<MountPoint> {
    let mut mounts: Vec<(PathBuf, MountKind)> = Vec::new();
    let mut targets = Vec::new();
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (source, at) = match word {
            "--bind" | "--ro-bind" | "--dev-bind" => (words.next().map(PathBuf::from), words.next()),
            "--tmpfs" | "--proc" | "--dev" | "--dir" | "--mqueue" => (None, words.next()),
            _ => continue,
        };
        let Some(at) = at.map(PathBuf::from) else { continue };
        let around = mounts.iter().rev().filter(|(dir, _)| at.starts_with(dir));
        let around = around.max_by_key(|(dir, _)| dir.components().count());
        if let Some((dir, MountKind::Open(source_around))) = around {
            targets.push(MountPoint {
                dir: source_around.clone(),
                path: at.strip_prefix(dir).unwrap_or(&at).to_owned(),
                is_dir: source.as_ref().is_none_or(|source| source.is_dir()),
                at: at.clone(),
            });
        }
        match (word, source) {
            ("--bind", Some(source)) => mounts.push((at, MountKind::Open(source))),
            // These directories are created in the surrounding mount.
            ("--dir", _) => {}
            _ => mounts.push((at, MountKind::Sealed)),
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn places_are_made_where_a_product_may_have_put_links() {
        let line = "--unshare-pid --bind /srv/root / --ro-bind /usr /usr --ro-bind /etc/passwd /etc/passwd --proc /proc \
                    --perms 1777 --size 9 --tmpfs /tmp --dir /tmp/deep --bind /var /data --bind /usr /data/in --chdir /";
        let arguments: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        let found = targets(&arguments);
        let told: Vec<_> = found
            .iter()
            .map(|target| (target.dir.to_str().unwrap(), target.path.to_str().unwrap(), target.is_dir))
            .collect();
        let root = "/srv/root";
        assert_eq!(
            told,
            [
                (root, "usr", true),
                (root, "etc/passwd", false),
                (root, "proc", true),
                (root, "tmp", true),
                (root, "data", true),
                ("/var", "in", true),
            ]
        );
        assert!(found.iter().all(|target| Path::new("/").join(&target.at) == target.at));
    }
}
