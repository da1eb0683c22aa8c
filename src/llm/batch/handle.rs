use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Millis};
use crate::verb::{Failure, Progress};

/// Location of a request: recorded before its batch is created, and again afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHandle {
    /// The provider's id of the batch, once it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Our tag of the batch.
    #[serde(rename = "mark")]
    pub batch_tag: String,
    /// Index of the request in the batch, from 0.
    pub entry: u32,
    /// Number of requests in the batch.
    pub of: u32,
    /// Time just before its creation.
    pub at: Millis,
}

/// A future of [`HandleStore`].
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Storage of an attempt for the locations of its requests. When a future resolves, the change is on disk.
pub trait HandleStore: Send + Sync {
    /// The location under `slot`.
    fn find(&self, slot: &str) -> Option<BatchHandle>;
    /// Saves a location.
    fn keep(&self, slot: &str, place: BatchHandle) -> StoreFuture<'_, ()>;
    /// Removes a finished location.
    fn forget(&self, slot: &str) -> StoreFuture<'_, ()>;
    /// Removes a location whose request was not processed, and returns how often that has happened.
    fn lose(&self, slot: &str) -> StoreFuture<'_, u32>;
    /// Marks the answer at `slot` as paid; returns whether it was already marked.
    fn pay(&self, slot: &str) -> bool;
}

/// Options of a request in a batch.
#[derive(Clone, Copy)]
pub struct BatchOptions<'a> {
    /// Index of the sample in its attempt.
    pub sample: u32,
    /// Whether it is repeated because its first answer was empty, which makes it another request.
    pub again: bool,
    /// Storage for its location.
    pub places: &'a dyn HandleStore,
    /// Clock.
    pub clock: &'a Arc<dyn Clock>,
    /// Receives progress messages about the batch.
    pub progress: &'a Progress,
}
