//! The partial answers of an attempt: those that reached their token limit, and the complete ones among
//! several samples. Saved as the cursor, so that they are not paid for again if the attempt fails or is
//! interrupted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::json;

use super::reply::ReplyParts;
use crate::llm::ModelRequest;
use crate::value::{Digest, Value};
use crate::verb::{AttemptBudget, Context, CursorSink, Failure};

/// The partial answers of an attempt, by sample and digest of the request.
pub(super) struct PartialReplies {
    cursors: CursorSink,
    attempt: u32,
    state: Mutex<PartialState>,
}

#[derive(Default)]
struct PartialState {
    parts: BTreeMap<String, ReplyParts>,
    whole: BTreeMap<String, Value>,
    /// The number of calls that are recorded as not sent yet.
    waiting: f64,
}

impl PartialReplies {
    /// The state that an earlier attempt left. A cursor of another form is ignored.
    pub(super) fn of(cx: &Context) -> Self {
        let cursor = cx.cursor.as_ref().unwrap_or(&Value::Null);
        let parts = BTreeMap::deserialize(&cursor["begun"]).unwrap_or_default();
        let whole = BTreeMap::deserialize(&cursor["whole"]).unwrap_or_default();
        let state = PartialState { parts, whole, waiting: 0.0 };
        Self { cursors: cx.cursors.clone(), attempt: cx.attempt, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, PartialState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The saved part of the answer to `request`.
    pub(super) fn find(&self, request: &ModelRequest, sample: u32) -> Option<ReplyParts> {
        let state = self.state();
        if state.parts.is_empty() { None } else { state.parts.get(&slot(request, sample)).cloned() }
    }

    /// The output of the complete answer.
    pub(super) fn whole(&self, request: &ModelRequest, sample: u32) -> Option<Value> {
        let state = self.state();
        if state.whole.is_empty() { None } else { state.whole.get(&slot(request, sample)).cloned() }
    }

    /// Saves the output of the complete answer.
    pub(super) async fn end(
        &self,
        (request, sample): (&ModelRequest, u32),
        output: &Value,
        purse: &AttemptBudget,
    ) -> Result<(), Failure> {
        let slot = slot(request, sample);
        {
            let mut state = self.state();
            state.parts.remove(&slot);
            state.whole.insert(slot, output.clone());
        }
        self.save(purse).await
    }

    /// Saves a partial answer.
    pub(super) async fn keep(
        &self,
        (request, sample): (&ModelRequest, u32),
        parts: &ReplyParts,
        purse: &AttemptBudget,
    ) -> Result<(), Failure> {
        self.state().parts.insert(slot(request, sample), parts.clone());
        self.save(purse).await
    }

    /// Deletes the saved answer of `sample`: the next attempt calls the model again.
    pub(super) async fn drop_sample(&self, sample: u32, purse: &AttemptBudget) {
        let own = format!("{sample}-");
        let dropped = {
            let mut state = self.state();
            let before = state.parts.len();
            state.parts.retain(|slot, _| !slot.starts_with(&own));
            state.parts.len() < before
        };
        if dropped {
            // If it cannot be saved, this is the last attempt in any case.
            self.save(purse).await.ok();
        }
    }

    /// Saves which calls are only queued: if the attempt is interrupted, they cost nothing. A call that is
    /// about to be sent must not be recorded as queued.
    pub(super) async fn wait(&self, waiting: bool, purse: &AttemptBudget) -> Result<(), Failure> {
        let recorded = self.state().waiting;
        if waiting || recorded > purse.waiting().get("calls") { self.save(purse).await } else { Ok(()) }
    }

    async fn save(&self, purse: &AttemptBudget) -> Result<(), Failure> {
        self.cursors.save(self.cursor(purse)).await
    }

    fn cursor(&self, purse: &AttemptBudget) -> Value {
        let (waiting, free) = (purse.waiting(), purse.free());
        let mut state = self.state();
        state.waiting = waiting.get("calls");
        let mut cursor = json!({ "attempt": self.attempt, "spent": purse.spent(), "begun": state.parts });
        if !state.whole.is_empty() {
            cursor["whole"] = json!(state.whole);
        }
        for (name, sums) in [("waiting", waiting), ("free", free)] {
            if !sums.is_empty() {
                cursor[name] = json!(sums);
            }
        }
        cursor
    }
}

fn slot(request: &ModelRequest, sample: u32) -> String {
    let schema = request.schema.as_ref().map(|shape| &shape.canonical);
    let asked = json!([request.model, request.system, request.messages, schema]);
    format!("{sample}-{}", Digest::of_value(&asked).short())
}
