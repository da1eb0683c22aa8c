//! What an attempt keeps for the one after it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::llm::{QueueMemory, StoreFuture};
use crate::meter::Meter;
use crate::value::Value;
use crate::verb::{Context, Failure, Purse};

/// The cursor of an attempt.
pub(super) struct Kept {
    cx: Context,
    purse: Arc<Purse>,
    cursor: Mutex<Value>,
}

impl Kept {
    /// Nothing was kept yet.
    pub(super) fn new(cx: &Context, purse: Arc<Purse>) -> Self {
        let cursor = json!({ "attempt": cx.attempt, "spent": Meter::new() });
        Self { cx: cx.clone(), purse, cursor: Mutex::new(cursor) }
    }

    /// An earlier attempt kept `cursor`.
    pub(super) fn take_up(&self, cursor: Value) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }

    /// Keeps `cursor`, with what is set aside for a call that waits for its turn, and what is set aside no longer.
    pub(super) async fn save(&self, mut cursor: Value) -> Result<(), Failure> {
        for (name, sums) in [("waiting", self.purse.waiting()), ("free", self.purse.free())] {
            match cursor.as_object_mut() {
                Some(fields) if sums.is_empty() => drop(fields.remove(name)),
                _ => cursor[name] = json!(sums),
            }
        }
        self.take_up(cursor.clone());
        self.cx.cursors.save(cursor).await
    }

    fn last(&self) -> Value {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A call that only waits for its turn costs nothing if the attempt is interrupted.
impl QueueMemory for Kept {
    fn keep(&self, waiting: bool) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let last = self.last();
            if waiting || !last["waiting"].is_null() { self.save(last).await } else { Ok(()) }
        })
    }
}
