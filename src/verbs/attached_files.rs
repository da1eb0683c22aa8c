//! Files that scenario files refer to. They are read only from the directory of that scenario file and below
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::rooted_fs::RootedFs;
use crate::scenario::Attachments;
use crate::value::Digest;

/// The maximum size of one file, in bytes.
const LARGEST: u64 = 4 << 20;

/// The maximum size of all files together, in bytes.
const LARGEST_SUM: u64 = 64 << 20;

/// Access to the files next to scenario files, and a list of those that were read.
#[derive(Debug, Default)]
pub struct AttachedFiles {
    /// The directories of scenario files and fixtures, by the name of the file.
    dirs: BTreeMap<String, PathBuf>,
    read: Mutex<BTreeMap<String, (u64, Digest)>>,
    /// The files that other files refer to.
    named: Mutex<BTreeSet<String>>,
}

impl AttachedFiles {
    /// Access to the files next to `files`, each a path and its display name.
    pub fn of<'a>(files: impl Iterator<Item = &'a (PathBuf, String)>) -> Self {
        let dir = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
        Self { dirs: files.map(|(path, name)| (name.clone(), dir(path))).collect(), ..Self::default() }
    }

    /// The files that were read: names, sizes and digests.
    pub fn read(&self) -> Vec<(String, u64, Digest)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().map(|(name, (size, digest))| (name.clone(), *size, *digest)).collect()
    }
}

impl Attachments for AttachedFiles {
    fn read(&self, file: &str, name: &str) -> Result<Vec<u8>, String> {
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if name.is_empty() || !Path::new(name).components().all(plain) {
            return Err(
                "a file is named relative to the scenario file, and must be in its directory or below it"
                    .to_owned(),
            );
        }
        let dir = self.dirs.get(file).ok_or("the scenario file has no directory")?;
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let opened = RootedFs::open(dir).and_then(|root| root.read(Path::new(name), LARGEST));
        let bytes = opened.map_err(|e| e.to_string())?;
        let below: PathBuf = Path::new(name).components().filter(|part| *part != Component::CurDir).collect();
        let shown = Path::new(file).with_file_name(below).display().to_string();
        // A file name that refers to the file itself needs no directory.
        if shown != file {
            self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(shown.clone());
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(shown, (bytes.len() as u64, Digest::of(&bytes)));
        if read.values().map(|(size, _)| size).sum::<u64>() > LARGEST_SUM {
            return Err(format!("the files that scenarios name come to more than {LARGEST_SUM} bytes"));
        }
        Ok(bytes)
    }

    fn is_named(&self, name: &str) -> bool {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_directory_is_read() {
        let place = tempfile::tempdir().unwrap();
        let dir = RootedFs::create(&place.path().join("cases")).unwrap();
        dir.put(Path::new("data/a.csv"), b"n\n1\n", false).unwrap();
        dir.link(Path::new("link.csv"), Path::new("data/a.csv")).unwrap();
        dir.link(Path::new("out"), place.path()).unwrap();
        let scenario = (place.path().join("cases/s.yaml"), "cases/s.yaml".to_owned());
        let beside = AttachedFiles::of(std::iter::once(&scenario));
        let get = |name: &str| Attachments::read(&beside, "cases/s.yaml", name);
        assert_eq!(get("data/a.csv").unwrap(), b"n\n1\n");
        for name in [
            "../s.yaml",
            "/etc/passwd",
            "data/../../x",
            "",
            "link.csv",
            "out/cases/data/a.csv",
            "data",
            "none",
        ] {
            assert!(get(name).is_err(), "{name}");
        }
        let read = beside.read();
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!((read[0].0.as_str(), read[0].1), ("cases/data/a.csv", 4));
    }
}
