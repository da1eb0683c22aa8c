use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::value::{BlobRef, Digest};

/// Content-addressed storage. Both calls are short and may block for a disk read.
pub trait Blobs: Send + Sync + 'static {
    /// Stores `bytes`; they are on disk no later than the next fact that is appended.
    fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError>;
    /// The bytes with that digest.
    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, BlobError>;
}

/// The reason why a blob could not be stored or found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no content with that digest.
    #[error("no content {0} in the store")]
    Missing(Digest),
    /// The content does not match its digest.
    #[error(
        "the content {0} in the store is damaged, or another program changed it: use another `--data-dir`"
    )]
    Damaged(Digest),
    /// The store failed.
    #[error("the content store failed: {0}")]
    Failed(String),
}

impl From<BlobError> for super::Failure {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Missing(_) | BlobError::Damaged(_) => Self::permanent(error.to_string()),
            BlobError::Failed(_) => Self::transient(error.to_string()),
        }
    }
}

/// Blobs in memory, for tests and for runs without a store.
#[derive(Default)]
pub struct MemoryBlobs(Mutex<HashMap<Digest, Arc<[u8]>>>);

impl Blobs for MemoryBlobs {
    fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest, bytes.into());
        Ok(blob)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, BlobError> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(digest).cloned().ok_or(BlobError::Missing(*digest))
    }
}
