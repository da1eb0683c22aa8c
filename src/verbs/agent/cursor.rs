//! The state that an attempt saves for the next one.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::llm::{QueueMemory, StoreFuture};
use crate::meter::Meter;
use crate::value::Value;
use crate::verb::{AttemptBudget, Context, Failure};

/// The cursor of an attempt.
pub(super) struct AgentCursor {
    cx: Context,
    purse: Arc<AttemptBudget>,
    cursor: Mutex<Value>,
}

impl AgentCursor {
    /// The cursor when nothing is saved yet.
    pub(super) fn new(cx: &Context, purse: Arc<AttemptBudget>) -> Self {
        let cursor = json!({ "attempt": cx.attempt, "spent": Meter::new() });
        Self { cx: cx.clone(), purse, cursor: Mutex::new(cursor) }
    }

    /// The cursor that an earlier attempt saved.
    pub(super) fn take_up(&self, cursor: Value) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }

    /// Saves `cursor`, with the amounts reserved for calls that are still queued and the amounts released.
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

/// Marks a call as only queued: it costs nothing if the attempt is interrupted.
impl QueueMemory for AgentCursor {
    fn keep(&self, waiting: bool) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let last = self.last();
            if waiting || !last["waiting"].is_null() { self.save(last).await } else { Ok(()) }
        })
    }
}
