use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Millis};
use crate::verb::{Failure, Progress};

/// Where a request is: noted before a batch is made, and again when it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHandle {
    /// What the provider calls the batch, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// What we call it; it carries this tag at the provider.
    #[serde(rename = "mark")]
    pub batch_tag: String,
    /// Which of its requests this is, from 0.
    pub entry: u32,
    /// How many it has.
    pub of: u32,
    /// When it was about to be made.
    pub at: Millis,
}

/// A future of [`HandleStore`].
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// The memory of an attempt for the places of its requests. What a future of it has done is on disk.
pub trait HandleStore: Send + Sync {
    /// The place noted under `slot`.
    fn find(&self, slot: &str) -> Option<BatchHandle>;
    /// Notes a place.
    fn keep(&self, slot: &str, place: BatchHandle) -> StoreFuture<'_, ()>;
    /// Forgets a place: what was there is over.
    fn forget(&self, slot: &str) -> StoreFuture<'_, ()>;
    /// Forgets a place whose request came back without having been asked; says how often that has happened.
    fn lose(&self, slot: &str) -> StoreFuture<'_, u32>;
    /// Marks the answer to be had at `slot` as paid for; says whether it was so marked already.
    fn pay(&self, slot: &str) -> bool;
}

/// What a request brings along that is to be asked in a batch.
#[derive(Clone, Copy)]
pub struct BatchOptions<'a> {
    /// Which sample of its attempt it is.
    pub sample: u32,
    /// Whether it is asked once more because its first answer was empty: that is another request.
    pub again: bool,
    /// Where its place is noted.
    pub places: &'a dyn HandleStore,
    /// The time.
    pub clock: &'a Arc<dyn Clock>,
    /// Hears how far the batch is.
    pub progress: &'a Progress,
}
