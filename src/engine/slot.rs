use std::sync::{Arc, OnceLock};

use super::Payload;
use super::results::Results;
use crate::expr::Data;
use crate::value::{Extent, Value, unrecordable};
use crate::verb::{BlobError, Blobs, Failure};

/// Values whose JSON is longer than this many bytes go to the blob store.
pub(super) const INLINE: usize = 32 * 1024;
/// The same for results of items, which stay in memory for as long as their `each` does.
pub(super) const INLINE_ITEM: usize = 2 * 1024;

/// A value that expressions may read: decoded when it is first read.
#[derive(Debug)]
pub(super) struct Slot {
    payload: Payload,
    items: Option<Arc<Results>>,
    data: OnceLock<Data>,
}

impl Slot {
    /// The value of a fact; `items` are the results of the `each` it belongs to, if any.
    pub(super) fn new(payload: Payload, items: Option<Arc<Results>>) -> Self {
        Self { payload, items, data: OnceLock::new() }
    }

    /// The results of the `each` whose output this is.
    pub(super) fn items(&self) -> Option<&Arc<Results>> {
        self.items.as_ref()
    }

    /// The value for expressions.
    pub(super) fn data(&self, blobs: &Arc<dyn Blobs>) -> Result<Data, BlobError> {
        if let Some(data) = self.data.get() {
            return Ok(data.clone());
        }
        let data = match (&self.payload, &self.items) {
            (Payload::Items(_), Some(items)) => items.succeeded(blobs),
            (payload, _) => Data::from_arc(load(payload, blobs.as_ref())?),
        };
        Ok(self.data.get_or_init(|| data).clone())
    }
}

/// Reads a payload that is no list of items (for those: `null`).
pub fn load(payload: &Payload, blobs: &dyn Blobs) -> Result<Arc<Value>, BlobError> {
    match payload {
        Payload::Value(value) => Ok(value.clone()),
        Payload::Blob(blob) => decode(&blobs.get(&blob.digest)?).map(Arc::new),
        Payload::Items(_) => Ok(Arc::new(Value::Null)),
    }
}

/// `value`, if it can be read back from the journal.
pub(super) fn recordable(value: Value) -> Result<Value, Failure> {
    match unrecordable("the output", &value) {
        Some(why) => Err(Failure::permanent(why)),
        None => Ok(value),
    }
}

/// Refuses variables that are too deep or too large, each or together, before they are copied.
pub(super) fn bounded<'a>(what: &str, variables: impl Iterator<Item = &'a Data>) -> Result<(), Failure> {
    let whole = variables.fold(Extent::empty(), |sum, data| sum.joined(data.extent()));
    match whole.fault() {
        Some(why) => Err(Failure::permanent(format!("{what} is {why}"))
            .hint("keep only what later rounds need, and put what is large into files")),
        None => Ok(()),
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Value, BlobError> {
    serde_json::from_slice(bytes).map_err(|e| BlobError::Failed(format!("a kept value is no JSON: {e}")))
}

/// Bytes that the JSON of `value` takes, roughly, and no further than a little beyond `limit`.
pub(super) fn weight(value: &Value, limit: usize) -> usize {
    let mut sum = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        sum += match value {
            Value::String(text) => text.len() + 2,
            Value::Array(items) => {
                open.extend(items);
                items.len() + 2
            }
            Value::Object(table) => {
                open.extend(table.values());
                table.keys().map(|key| key.len() + 4).sum::<usize>() + 2
            }
            _ => 6,
        };
        if sum > limit {
            break;
        }
    }
    sum
}
