use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;
use crate::value::Digest;

const MOST_BYTES: usize = 32 << 20;

/// Queued blobs and reusable outputs, which can be read here until they are on disk.
#[derive(Default)]
pub(super) struct PendingWrites {
    queued: Mutex<Queued>,
    room: Condvar,
}

#[derive(Default)]
struct Queued {
    blobs: HashMap<Digest, Arc<[u8]>>,
    cached: HashMap<Digest, Arc<str>>,
    bytes: usize,
    trouble: Option<StoreError>,
}

impl PendingWrites {
    fn queued(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room while the writer makes progress.
    fn with_room(&self) -> Result<MutexGuard<'_, Queued>, StoreError> {
        let full = |q: &mut Queued| q.bytes >= MOST_BYTES && q.trouble.is_none();
        let queued = self.room.wait_while(self.queued(), full).unwrap_or_else(PoisonError::into_inner);
        match &queued.trouble {
            Some(trouble) if queued.bytes >= MOST_BYTES => Err(trouble.clone()),
            _ => Ok(queued),
        }
    }

    /// The bytes to queue, or `None` if they are already queued.
    pub(super) fn add_blob(&self, digest: Digest, bytes: &[u8]) -> Result<Option<Arc<[u8]>>, StoreError> {
        let mut queued = self.with_room()?;
        if queued.blobs.contains_key(&digest) {
            return Ok(None);
        }
        let bytes: Arc<[u8]> = bytes.into();
        queued.bytes += bytes.len();
        queued.blobs.insert(digest, bytes.clone());
        Ok(Some(bytes))
    }

    pub(super) fn add_cached(&self, key: Digest, text: Arc<str>) -> Result<(), StoreError> {
        let mut queued = self.with_room()?;
        queued.bytes += text.len();
        if let Some(earlier) = queued.cached.insert(key, text) {
            queued.bytes -= earlier.len();
        }
        Ok(())
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.queued().blobs.get(digest).cloned()
    }

    pub(super) fn cached(&self, key: &Digest) -> Option<String> {
        self.queued().cached.get(key).map(ToString::to_string)
    }

    /// Removes a blob that is on disk.
    pub(super) fn blob_written(&self, digest: &Digest) {
        let mut queued = self.queued();
        if let Some(bytes) = queued.blobs.remove(digest) {
            queued.bytes -= bytes.len();
        }
        self.room.notify_all();
    }

    /// Removes an output that is on disk, unless a later one for the same key is queued.
    pub(super) fn cached_written(&self, key: &Digest, text: &Arc<str>) {
        let mut queued = self.queued();
        if queued.cached.get(key).is_some_and(|queued| Arc::ptr_eq(queued, text)) {
            queued.cached.remove(key);
            queued.bytes -= text.len();
        }
        self.room.notify_all();
    }

    /// Sets the error of the last write, if it failed.
    pub(super) fn set_trouble(&self, trouble: Option<StoreError>) {
        self.queued().trouble = trouble;
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_bounded_and_a_stuck_writer_is_reported() {
        let pending = PendingWrites::default();
        let half = vec![0; MOST_BYTES / 2];
        let (a, b, c) = (Digest::of("a"), Digest::of("b"), Digest::of("c"));
        assert!(pending.add_blob(a, &half).unwrap().is_some());
        assert!(pending.add_blob(a, &half).unwrap().is_none());
        assert!(pending.add_blob(b, &half).unwrap().is_some());
        pending.set_trouble(Some(StoreError::Closed));
        assert_eq!(pending.add_blob(c, b"x").unwrap_err(), StoreError::Closed);
        pending.set_trouble(None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pending.add_blob(c, b"x"));
            pending.blob_written(&a);
            assert!(waiting.join().unwrap().unwrap().is_some());
        });
        assert!(pending.blob(&a).is_none() && pending.blob(&b).is_some());
    }
}
