use std::sync::{Arc, OnceLock};

use super::Payload;
use crate::expr::{Data, Items};
use crate::value::{BlobRef, Value};
use crate::verb::{BlobError, Blobs};

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

    /// The value for expressions.
    pub(super) fn data(&self, blobs: &Arc<dyn Blobs>) -> Result<Data, BlobError> {
        if let Some(data) = self.data.get() {
            return Ok(data.clone());
        }
        let data = match (&self.payload, &self.items) {
            (Payload::Items(_), Some(items)) => {
                Data::lazy_list(Arc::new(View { results: items.clone(), blobs: blobs.clone() }))
            }
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

fn decode(bytes: &[u8]) -> Result<Value, BlobError> {
    serde_json::from_slice(bytes).map_err(|e| BlobError::Failed(format!("a kept value is no JSON: {e}")))
}

/// Results of the items of an `each`, in source order, as small as they can be kept.
#[derive(Debug, Default)]
pub(super) struct Results(Vec<Cell>);

#[derive(Debug, Default)]
enum Cell {
    #[default]
    Open,
    Text(Box<str>),
    Blob(Box<BlobRef>),
}

impl Results {
    pub(super) fn of(count: u32) -> Self {
        Self((0..count).map(|_| Cell::Open).collect())
    }

    pub(super) fn is_closed(&self, index: u32) -> bool {
        !matches!(self.0.get(index as usize), None | Some(Cell::Open))
    }

    pub(super) fn close(&mut self, index: u32, payload: &Payload) {
        if let Some(cell) = self.0.get_mut(index as usize) {
            *cell = match payload {
                Payload::Value(value) => Cell::Text(value.to_string().into()),
                Payload::Blob(blob) => Cell::Blob(Box::new(*blob)),
                Payload::Items(_) => Cell::Text("null".into()),
            };
        }
    }
}

struct View {
    results: Arc<Results>,
    blobs: Arc<dyn Blobs>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} results]", self.results.0.len())
    }
}

impl Items for View {
    fn len(&self) -> usize {
        self.results.0.len()
    }

    fn get(&self, index: usize) -> Data {
        let value = match &self.results.0[index] {
            Cell::Open => Ok(Value::Null),
            Cell::Text(text) => decode(text.as_bytes()),
            Cell::Blob(blob) => self.blobs.get(&blob.digest).and_then(|bytes| decode(&bytes)),
        };
        Data::from_value(&value.unwrap_or(Value::Null))
    }
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
