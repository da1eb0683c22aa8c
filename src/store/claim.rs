//! Claims on runs as locks of the operating system, which end with their process in any case.
#![expect(clippy::disallowed_methods, reason = "the door to lock files")]

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::clock::Millis;
use crate::id::RunId;
use crate::value::Digest;

/// Lock that serialises opening a database and claiming runs.
const OPENING: &str = "open.lock";

/// Process that works on a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// Time of the claim.
    pub started_at: Millis,
    /// Name of its machine.
    pub host: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("another process");
        }
        write!(f, "process {} on {}", self.pid, self.host)?;
        match i64::try_from(self.started_at).map(jiff::Timestamp::from_millisecond) {
            Ok(Ok(at)) => write!(f, " since {at:.0}"),
            _ => Ok(()),
        }
    }
}

/// The right to write to a run, until it is dropped.
pub struct Claim {
    _guard: Box<dyn Send + Sync>,
}

impl Claim {
    /// A claim that ends with `guard`.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim")
    }
}

/// A locked file, which is removed with the lock.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked; a waiting process sees that the file is gone and creates a new
        // one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Claims `run` by a lock on a file in the directory `locks`.
pub(super) fn lock_run(locks: &Path, run: &RunId, owner: &Owner) -> Result<Claim, StoreError> {
    let path = locks.join(file_name(run));
    let failed = |e: std::io::Error| StoreError::ReadOnly { path: path.clone(), message: e.to_string() };
    // Claiming a run and writing its owner are atomic, so that a refused process can read the owner.
    let _alone = lock_opening(locks).map_err(failed)?;
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Held { run: run.clone(), owner: read_owner(&mut file) });
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        if !is_at(&file, &path) {
            continue;
        }
        let text = serde_json::to_string(owner).unwrap_or_default();
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        return Ok(Claim::new(Lock { path, _file: file }));
    }
}

/// The owner of `run`, without disturbing claims.
pub(super) fn holder(locks: &Path, run: &RunId) -> Option<Owner> {
    let mut file = File::open(locks.join(file_name(run))).ok()?;
    // Runs are claimed under this lock, so this check cannot make a claim fail.
    let alone = File::open(locks.join(OPENING)).ok()?;
    alone.lock().ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read_owner(&mut file)),
        _ => None,
    }
}

/// Waits for the lock of the directory `locks` that serialises opening a database. Locked until the file is
/// dropped.
pub(super) fn lock_opening(locks: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(locks)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(locks.join(OPENING))?;
    file.lock()?;
    Ok(file)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn read_owner(file: &mut File) -> Owner {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => Owner::default(),
    }
}

fn file_name(run: &RunId) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text = run.as_str();
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        format!("{text}.run.lock")
    } else {
        format!("{}.run.lock", Digest::of(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_leaves_nothing_and_names_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let owner = Owner { pid: 41, started_at: 1_700_000_000_000, host: "box".to_owned() };
        let claims = || {
            let names = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().ends_with(".run.lock")).count()
        };
        for name in ["01abc", "../escape", ""] {
            let run = RunId::new(name);
            let claim = lock_run(place.path(), &run, &owner).unwrap();
            let error = lock_run(place.path(), &run, &Owner::default()).unwrap_err();
            assert_eq!(error, StoreError::Held { run: run.clone(), owner: owner.clone() });
            assert_eq!(holder(place.path(), &run), Some(owner.clone()));
            assert!(error.to_string().contains("process 41 on box since 2023-11-14T22:13:20Z"), "{error}");
            assert_eq!(claims(), 1);
            drop(claim);
            assert_eq!(claims(), 0);
            assert_eq!(holder(place.path(), &run), None);
            drop(lock_run(place.path(), &run, &owner).unwrap());
        }
    }

    #[test]
    fn the_file_of_a_dead_process_is_taken_over() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("01abc.run.lock"), r#"{"pid":1,"started_at":1,"host":"gone","#)
            .unwrap();
        let run = RunId::new("01abc");
        assert!(lock_opening(place.path()).is_ok());
        assert_eq!(holder(place.path(), &run), None);
        assert!(lock_run(place.path(), &run, &Owner::default()).is_ok());
    }
}
