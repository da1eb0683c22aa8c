//! What an attempt has of its answers: those that reached their token limit, and of several samples those that
//! are whole. Kept as the cursor, so that they are not paid for again if the attempt fails or is interrupted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::json;

use super::reply::Parts;
use crate::llm::ModelRequest;
use crate::value::{Digest, Value};
use crate::verb::{Context, CursorSink, Failure, Purse};

/// The beginnings of an attempt's answers, by sample and digest of the request.
pub(super) struct Begun {
    cursors: CursorSink,
    attempt: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<String, Parts>,
    whole: BTreeMap<String, Value>,
    /// How many calls are on record as not sent yet.
    waiting: f64,
}

impl Begun {
    /// Those that an earlier attempt left behind. A cursor that is none of ours is none.
    pub(super) fn of(cx: &Context) -> Self {
        let cursor = cx.cursor.as_ref().unwrap_or(&Value::Null);
        let parts = BTreeMap::deserialize(&cursor["begun"]).unwrap_or_default();
        let whole = BTreeMap::deserialize(&cursor["whole"]).unwrap_or_default();
        let state = State { parts, whole, waiting: 0.0 };
        Self { cursors: cx.cursors.clone(), attempt: cx.attempt, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is of the answer to `request`.
    pub(super) fn find(&self, request: &ModelRequest, sample: u32) -> Option<Parts> {
        let state = self.state();
        if state.parts.is_empty() { None } else { state.parts.get(&slot(request, sample)).cloned() }
    }

    /// The output that its whole answer makes.
    pub(super) fn whole(&self, request: &ModelRequest, sample: u32) -> Option<Value> {
        let state = self.state();
        if state.whole.is_empty() { None } else { state.whole.get(&slot(request, sample)).cloned() }
    }

    /// Keeps the output that its whole answer makes.
    pub(super) async fn end(
        &self,
        (request, sample): (&ModelRequest, u32),
        output: &Value,
        purse: &Purse,
    ) -> Result<(), Failure> {
        let slot = slot(request, sample);
        {
            let mut state = self.state();
            state.parts.remove(&slot);
            state.whole.insert(slot, output.clone());
        }
        self.save(purse).await
    }

    /// Keeps what there is of it.
    pub(super) async fn keep(
        &self,
        (request, sample): (&ModelRequest, u32),
        parts: &Parts,
        purse: &Purse,
    ) -> Result<(), Failure> {
        self.state().parts.insert(slot(request, sample), parts.clone());
        self.save(purse).await
    }

    /// Forgets what `sample` has brought: the next attempt asks anew.
    pub(super) async fn drop_sample(&self, sample: u32, purse: &Purse) {
        let own = format!("{sample}-");
        let dropped = {
            let mut state = self.state();
            let before = state.parts.len();
            state.parts.retain(|slot, _| !slot.starts_with(&own));
            state.parts.len() < before
        };
        if dropped {
            // Where it cannot be saved, this attempt is the last one in any case.
            self.save(purse).await.ok();
        }
    }

    /// Keeps which calls only wait for their turn: if the attempt is interrupted, they cost nothing. A call that is about to
    /// be sent must not be on record as one that waits.
    pub(super) async fn wait(&self, waiting: bool, purse: &Purse) -> Result<(), Failure> {
        let recorded = self.state().waiting;
        if waiting || recorded > purse.waiting().get("calls") { self.save(purse).await } else { Ok(()) }
    }

    async fn save(&self, purse: &Purse) -> Result<(), Failure> {
        self.cursors.save(self.cursor(purse)).await
    }

    fn cursor(&self, purse: &Purse) -> Value {
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
