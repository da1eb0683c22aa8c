//! The results of the items of an `each`, as expressions see them: `output`, `failed` and `items`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::Payload;
use super::slot::decode;
use crate::expr::{Data, Items};
use crate::value::{BlobRef, Value};
use crate::verb::Blobs;

/// Results whose JSON takes at most so many bytes are kept decoded for further readers.
const MOST_DECODED: usize = 8 * 1024 * 1024;

/// Results in source order, as small as they can be kept.
#[derive(Debug, Default)]
pub(super) struct Results {
    cells: Vec<Cell>,
    failed: BTreeSet<u32>,
    /// The keys of all items, or none where the step gives none.
    keys: Data,
    /// Indices of the items that succeeded, made once every item has ended.
    good: OnceLock<Arc<[u32]>>,
    bad: OnceLock<Arc<[u32]>>,
}

#[derive(Debug, Default)]
enum Cell {
    #[default]
    Open,
    Text(Box<str>),
    Blob(Box<BlobRef>),
}

impl Results {
    pub(super) fn of(count: u32, keys: Data) -> Self {
        let cells = (0..count).map(|_| Cell::Open).collect();
        Self { cells, keys, ..Self::default() }
    }

    pub(super) fn is_closed(&self, index: u32) -> bool {
        !matches!(self.cells.get(index as usize), None | Some(Cell::Open))
    }

    /// Keeps the result of an item, or for a failed one `{index, key, error}`.
    pub(super) fn close(&mut self, index: u32, payload: &Payload, failed: bool) {
        if let Some(cell) = self.cells.get_mut(index as usize) {
            *cell = match payload {
                Payload::Value(value) => Cell::Text(value.to_string().into()),
                Payload::Blob(blob) => Cell::Blob(Box::new(*blob)),
                Payload::Items(_) => Cell::Text("null".into()),
            };
            if failed {
                self.failed.insert(index);
            }
        }
    }

    /// How many items failed.
    pub(super) fn failures(&self) -> u32 {
        u32::try_from(self.failed.len()).unwrap_or(u32::MAX)
    }

    /// How many items were never begun.
    pub(super) fn unbegun(&self) -> usize {
        self.cells.iter().filter(|cell| matches!(cell, Cell::Open)).count()
    }

    /// The first failed item in source order, `{index, key, error}`.
    pub(super) fn first_failure(&self, blobs: &dyn Blobs) -> Option<Value> {
        self.failed.first().map(|index| self.value(*index, blobs))
    }

    pub(super) fn key(&self, index: u32) -> Data {
        self.keys.at(index as usize).unwrap_or_else(Data::none)
    }

    /// The results of the items that succeeded.
    pub(super) fn succeeded(self: &Arc<Self>, blobs: &Arc<dyn Blobs>) -> Data {
        let good = self.good.get_or_init(|| {
            let all = self.cells.iter().zip(0_u32..);
            all.filter(|(cell, n)| !matches!(cell, Cell::Open) && !self.failed.contains(n))
                .map(|(_, n)| n)
                .collect()
        });
        self.list(Part::Value(good.clone()), blobs)
    }

    /// The items that failed, each `{index, key, error}`.
    pub(super) fn failed(self: &Arc<Self>, blobs: &Arc<dyn Blobs>) -> Data {
        let bad = self.bad.get_or_init(|| self.failed.iter().copied().collect());
        self.list(Part::Value(bad.clone()), blobs)
    }

    /// All items, each `{index, key, ok, skipped, output, error}`.
    pub(super) fn all(self: &Arc<Self>, blobs: &Arc<dyn Blobs>) -> Data {
        self.list(Part::Entry, blobs)
    }

    fn list(self: &Arc<Self>, part: Part, blobs: &Arc<dyn Blobs>) -> Data {
        let decoded = Decoded { room: AtomicUsize::new(MOST_DECODED), ..Decoded::default() };
        Data::lazy_list(Arc::new(View { results: self.clone(), part, blobs: blobs.clone(), decoded }))
    }

    fn value(&self, index: u32, blobs: &dyn Blobs) -> Value {
        let value = match &self.cells[index as usize] {
            Cell::Open => Ok(Value::Null),
            Cell::Text(text) => decode(text.as_bytes()),
            Cell::Blob(blob) => blobs.get(&blob.digest).and_then(|bytes| decode(&bytes)),
        };
        value.unwrap_or(Value::Null)
    }

    /// The same for expressions.
    fn data(&self, index: u32, blobs: &dyn Blobs) -> Data {
        match &self.cells[index as usize] {
            Cell::Open => Data::none(),
            Cell::Text(text) => Data::parse(text.as_bytes()).unwrap_or_else(|_| Data::none()),
            Cell::Blob(_) => Data::from_value(&self.value(index, blobs)),
        }
    }

    /// The items that failed until now, each `{index, key, error}`.
    pub(super) fn failed_so_far(&self, blobs: &dyn Blobs) -> Data {
        Data::list(self.failed.iter().map(|index| Data::from_value(&self.value(*index, blobs))).collect())
    }

    /// An item, which has this output if it has not ended.
    pub(super) fn entry_so_far(&self, index: u32, partly: Option<Value>, blobs: &dyn Blobs) -> Data {
        match partly {
            Some(partly) if !self.is_closed(index) => self.entry_with(index, partly),
            _ => self.entry(index, blobs),
        }
    }

    /// Bytes that the JSON of a result takes.
    fn size(&self, index: u32) -> usize {
        match &self.cells[index as usize] {
            Cell::Open => 0,
            Cell::Text(text) => text.len(),
            Cell::Blob(blob) => usize::try_from(blob.size).unwrap_or(usize::MAX),
        }
    }

    fn entry(&self, index: u32, blobs: &dyn Blobs) -> Data {
        self.entry_with(index, self.value(index, blobs))
    }

    fn entry_with(&self, index: u32, value: Value) -> Data {
        let (failed, closed) = (self.failed.contains(&index), self.is_closed(index));
        let (output, error) =
            if failed { (Value::Null, value["error"].clone()) } else { (value, Value::Null) };
        let data = |value: &Value| Data::from_value(value);
        Data::table([
            ("index", data(&index.into())),
            ("key", self.key(index)),
            ("ok", data(&Value::Bool(closed && !failed))),
            ("skipped", data(&Value::Bool(!closed))),
            ("output", data(&output)),
            ("error", data(&error)),
        ])
    }
}

/// What a list of results shows.
enum Part {
    /// What was recorded of these items.
    Value(Arc<[u32]>),
    /// An entry for every item.
    Entry,
}

struct View {
    results: Arc<Results>,
    part: Part,
    blobs: Arc<dyn Blobs>,
    decoded: Decoded,
}

/// What was decoded for one reader and is kept for the next. The first to read everything keeps nothing: most lists are
/// read once.
#[derive(Default)]
struct Decoded {
    /// How many items were asked for.
    reads: AtomicUsize,
    /// How many bytes of JSON may still be kept.
    room: AtomicUsize,
    cells: OnceLock<Box<[OnceLock<Data>]>>,
}

impl Decoded {
    fn get(&self, index: usize) -> Option<Data> {
        self.cells.get()?.get(index)?.get().cloned()
    }

    /// Keeps item `index` of `length`, whose JSON takes `size` bytes, if everything was read once and there is room.
    fn keep(&self, (index, length): (usize, usize), size: usize, data: &Data) {
        if self.reads.fetch_add(1, Ordering::Relaxed) < length {
            return;
        }
        let room =
            self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(size));
        if room.is_ok() {
            let cells = self.cells.get_or_init(|| (0..length).map(|_| OnceLock::new()).collect());
            if let Some(cell) = cells.get(index) {
                cell.set(data.clone()).ok();
            }
        }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} results]", self.len())
    }
}

impl Items for View {
    fn len(&self) -> usize {
        match &self.part {
            Part::Value(indices) => indices.len(),
            Part::Entry => self.results.cells.len(),
        }
    }

    fn get(&self, index: usize) -> Data {
        match &self.part {
            Part::Value(indices) => {
                if let Some(data) = self.decoded.get(index) {
                    return data;
                }
                let data = self.results.data(indices[index], self.blobs.as_ref());
                self.decoded.keep((index, indices.len()), self.results.size(indices[index]), &data);
                data
            }
            Part::Entry => self.results.entry(u32::try_from(index).unwrap_or(u32::MAX), self.blobs.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verb::MemoryBlobs;

    fn list(values: &[Value]) -> Data {
        let mut results = Results::of(u32::try_from(values.len()).unwrap(), Data::none());
        for (value, index) in values.iter().zip(0..) {
            results.close(index, &Payload::value(value.clone()), false);
        }
        let blobs: Arc<dyn Blobs> = Arc::new(MemoryBlobs::default());
        Arc::new(results).succeeded(&blobs)
    }

    #[test]
    fn every_reader_sees_the_same_however_often_it_is_read() {
        let values: Vec<Value> = (0..20).map(|n| json!({"n": n, "path": [n, n + 1]})).collect();
        let data = list(&values);
        for _ in 0..4 {
            let read: Vec<Value> = (0..20).map(|at| data.at(at).unwrap().to_value()).collect();
            assert_eq!(read, values);
        }
    }

    #[test]
    fn what_is_kept_decoded_begins_with_the_second_reader_and_is_bounded() {
        let decoded = Decoded { room: AtomicUsize::new(100), ..Decoded::default() };
        let kept = || (0..3).map(|at| decoded.get(at).is_some()).collect::<Vec<_>>();
        let read = |size: usize| {
            for at in 0..3 {
                decoded.keep((at, 3), size, &Data::none());
            }
        };
        read(40);
        assert_eq!(kept(), [false, false, false]);
        read(40);
        assert_eq!(kept(), [true, true, false], "there is no room for the third");
        read(usize::MAX);
        assert_eq!(decoded.room.load(Ordering::Relaxed), 20);
    }
}
