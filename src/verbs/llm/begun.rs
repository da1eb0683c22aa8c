//! Answers that were cut off at their limit of tokens: kept as the cursor before they are gone on with, so that they are
//! not paid for again where the attempt fails or is cut off meanwhile.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::json;

use super::reply::Parts;
use crate::clients::llm::Request;
use crate::meter::Meter;
use crate::value::{Digest, Value};
use crate::verb::{Context, CursorSink, Failure};

/// The beginnings of an attempt's answers, by sample and digest of the request.
pub(super) struct Begun {
    cursors: CursorSink,
    attempt: u32,
    parts: Mutex<BTreeMap<String, Parts>>,
}

impl Begun {
    /// Those that an earlier attempt left behind. A cursor that is none of ours is none.
    pub(super) fn of(cx: &Context) -> Self {
        let left = cx.cursor.as_ref().and_then(|cursor| BTreeMap::deserialize(&cursor["begun"]).ok());
        Self { cursors: cx.cursors.clone(), attempt: cx.attempt, parts: Mutex::new(left.unwrap_or_default()) }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, Parts>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is of the answer to `request`.
    pub(super) fn find(&self, request: &Request, sample: u32) -> Option<Parts> {
        let parts = self.parts();
        if parts.is_empty() { None } else { parts.get(&slot(request, sample)).cloned() }
    }

    /// Keeps what there is of it; the attempt has come to `spent` so far.
    pub(super) async fn keep(
        &self,
        (request, sample): (&Request, u32),
        parts: &Parts,
        spent: &Meter,
    ) -> Result<(), Failure> {
        self.parts().insert(slot(request, sample), parts.clone());
        self.save(spent).await
    }

    /// Forgets what `sample` has brought: the next attempt asks anew.
    pub(super) async fn drop_sample(&self, sample: u32, spent: &Meter) {
        let own = format!("{sample}-");
        let before = self.parts().len();
        self.parts().retain(|slot, _| !slot.starts_with(&own));
        if self.parts().len() < before {
            // Where it cannot be saved, this attempt is the last one in any case.
            self.save(spent).await.ok();
        }
    }

    /// Keeps whether the attempt only waits for its turn: nothing is lost then where it is interrupted.
    pub(super) async fn wait(&self, waiting: bool, spent: &Meter) -> Result<(), Failure> {
        let mut cursor = self.cursor(spent);
        cursor["kept"] = json!(waiting);
        self.cursors.save(cursor).await
    }

    async fn save(&self, spent: &Meter) -> Result<(), Failure> {
        self.cursors.save(self.cursor(spent)).await
    }

    fn cursor(&self, spent: &Meter) -> Value {
        json!({ "attempt": self.attempt, "spent": spent, "begun": *self.parts() })
    }
}

fn slot(request: &Request, sample: u32) -> String {
    let schema = request.schema.as_ref().map(|shape| &shape.canonical);
    let asked = json!([request.model, request.system, request.messages, schema]);
    format!("{sample}-{}", Digest::of_value(&asked).short())
}
