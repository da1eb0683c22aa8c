//! The cursor of an attempt with its batches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::llm::{BatchHandle, HandleStore, StoreFuture};
use crate::value::Value;
use crate::verb::{Context, CursorSink, Failure};

/// The batch positions of an attempt's requests, as the cursor for the next attempt.
pub(super) struct BatchCursor {
    cursors: CursorSink,
    state: Mutex<CursorState>,
}

struct CursorState {
    noted: SavedCursor,
    /// Whether the cursor is not up to date.
    changed: bool,
}

/// The cursor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCursor {
    /// By sample and key of the request.
    batches: BTreeMap<String, RequestNote>,
    /// Whether nothing would be lost if the attempt were interrupted, because requests in progress can be
    /// found again.
    #[serde(default)]
    kept: bool,
    /// The number of requests in progress: they are paid for, even if their answers are never fetched.
    #[serde(default, skip_serializing_if = "is_zero")]
    open: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct RequestNote {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<BatchHandle>,
    /// Whether its cost has been recorded: fetching it again costs nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paid: bool,
    /// The number of times that it came back unprocessed.
    #[serde(default, skip_serializing_if = "is_zero")]
    lost: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SavedCursor {
    fn under_way(&self) -> impl Iterator<Item = &BatchHandle> {
        self.batches.values().filter(|note| !note.paid).filter_map(|note| note.place.as_ref())
    }
}

impl BatchCursor {
    /// The notes that an earlier attempt left. A cursor of another form is ignored.
    pub(super) fn of(cx: &Context) -> Self {
        let noted = cx.cursor.as_ref().and_then(|cursor| SavedCursor::deserialize(cursor).ok());
        let noted = SavedCursor { kept: true, ..noted.unwrap_or_default() };
        let state = CursorState { noted, changed: false };
        Self { cursors: cx.cursors.clone(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, CursorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Positions in batches that were created.
    pub(super) fn places(&self) -> Vec<BatchHandle> {
        self.state().noted.under_way().cloned().collect()
    }

    /// Deletes the saved answer of `sample`: the next attempt calls the model again.
    pub(super) fn drop_sample(&self, sample: u32) {
        let mut state = self.state();
        let before = state.noted.batches.len();
        let own = format!("{sample}-");
        state.noted.batches.retain(|slot, _| !slot.starts_with(&own));
        state.changed |= state.noted.batches.len() < before;
    }

    /// Saves what is not saved yet, at the end of a failed attempt.
    pub(super) async fn close(&self) {
        if self.state().changed {
            // If it fails, the next attempt fetches the same answers again.
            self.save().await.ok();
        }
    }

    async fn save(&self) -> Result<(), Failure> {
        let cursor = {
            let mut state = self.state();
            state.changed = false;
            state.noted.open = u32::try_from(state.noted.under_way().count()).unwrap_or(u32::MAX);
            serde_json::to_value(&state.noted).unwrap_or(Value::Null)
        };
        self.cursors.save(cursor).await
    }
}

impl HandleStore for BatchCursor {
    fn find(&self, slot: &str) -> Option<BatchHandle> {
        self.state().noted.batches.get(slot).and_then(|note| note.place.clone())
    }

    fn keep(&self, slot: &str, place: BatchHandle) -> StoreFuture<'_, ()> {
        let mut state = self.state();
        let note = state.noted.batches.entry(slot.to_owned()).or_default();
        let news = note.place.as_ref() != Some(&place);
        note.place = Some(place);
        drop(state);
        Box::pin(async move { if news { self.save().await } else { Ok(()) } })
    }

    fn forget(&self, slot: &str) -> StoreFuture<'_, ()> {
        let gone = self.state().noted.batches.remove(slot).is_some();
        Box::pin(async move { if gone { self.save().await } else { Ok(()) } })
    }

    fn lose(&self, slot: &str) -> StoreFuture<'_, u32> {
        let mut state = self.state();
        let note = state.noted.batches.entry(slot.to_owned()).or_default();
        let lost = note.lost + 1;
        *note = RequestNote { lost, ..RequestNote::default() };
        drop(state);
        Box::pin(async move { self.save().await.map(|()| lost) })
    }

    fn pay(&self, slot: &str) -> bool {
        let mut state = self.state();
        let Some(note) = state.noted.batches.get_mut(slot) else { return false };
        let before = std::mem::replace(&mut note.paid, true);
        state.changed |= !before;
        before
    }
}
