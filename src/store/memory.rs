use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::digests::each_digest;
use super::{
    Append, Claim, FactRow, GcReport, Owner, RunSummary, Settled, Signal, Store, StoreError, Ticket,
};
use crate::clock::{Clock, ManualClock, Millis};
use crate::id::RunId;
use crate::value::{BlobRef, Digest, Value};
use crate::verb::{BlobError, Blobs};

/// A store in memory, whose content ends with the process.
#[derive(Clone)]
pub struct Memory {
    clock: Arc<dyn Clock>,
    shelf: Arc<Mutex<MemoryState>>,
}

#[derive(Default)]
struct MemoryState {
    runs: BTreeMap<RunId, (RunSummary, Vec<FactRow>)>,
    blobs: HashMap<Digest, (Millis, Arc<[u8]>)>,
    cache: HashMap<Digest, Value>,
    claims: HashMap<RunId, Owner>,
    signals: Vec<(Signal, Option<Settled>)>,
}

impl Default for Memory {
    /// An empty store with a stopped clock.
    fn default() -> Self {
        Self::new(Arc::new(ManualClock::default()))
    }
}

impl Memory {
    /// An empty store; `clock` gives the times of its blobs.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shelf: Arc::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, MemoryState> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for Memory {
    fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(bytes);
        let now = self.clock.now();
        self.shelf().blobs.insert(blob.digest, (now, bytes.into()));
        Ok(blob)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, BlobError> {
        let kept = self.shelf();
        kept.blobs.get(digest).map(|(_, bytes)| bytes.clone()).ok_or(BlobError::Missing(*digest))
    }
}

impl MemoryState {
    fn append(&mut self, run: &RunId, batch: Append) -> Result<u64, StoreError> {
        if let (true, Some(head)) = (batch.begins, &batch.head) {
            if self.runs.contains_key(run) {
                return Err(StoreError::Exists(run.clone()));
            }
            self.runs.insert(run.clone(), (head.clone(), Vec::new()));
        }
        let (head, rows) =
            self.runs.get_mut(run).ok_or_else(|| StoreError::UnknownRun(run.as_str().to_owned()))?;
        rows.extend(batch.rows);
        for (id, settled) in batch.settled {
            if let Some((_, open @ None)) = self.signals.iter_mut().find(|(signal, _)| signal.id == id) {
                *open = Some(settled);
            }
        }
        if let Some(new) = batch.head {
            *head = RunSummary { run: run.clone(), ..new };
        }
        Ok(rows.len() as u64)
    }

    /// Digests that are still referenced, directly or through blobs; blobs put since `before` are kept.
    fn live(&self, before: Millis) -> HashSet<Digest> {
        let mut live = HashSet::new();
        let young = self.blobs.iter().filter(|(_, (at, _))| *at >= before);
        let mut left: Vec<Digest> = young.map(|(digest, _)| *digest).collect();
        let mut note = |text: &[u8]| each_digest(text, |digest| left.push(digest));
        for (head, rows) in self.runs.values() {
            note(head.plan.to_string().as_bytes());
            note(head.outputs.as_ref().map(Value::to_string).unwrap_or_default().as_bytes());
            for row in rows {
                note(row.body.as_bytes());
            }
        }
        self.cache.values().for_each(|value| note(value.to_string().as_bytes()));
        while let Some(digest) = left.pop() {
            if live.insert(digest)
                && let Some((_, bytes)) = self.blobs.get(&digest)
            {
                each_digest(bytes, |digest| left.push(digest));
            }
        }
        live
    }
}

struct MemoryClaim {
    store: Memory,
    run: RunId,
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        self.store.shelf().claims.remove(&self.run);
    }
}

impl Store for Memory {
    fn append(&self, run: &RunId, batch: Append) -> Ticket {
        Ticket::resolved(self.shelf().append(run, batch))
    }

    fn scan(
        &self,
        run: &RunId,
        after: u64,
        each: &mut dyn FnMut(u64, FactRow) -> bool,
    ) -> Result<(), StoreError> {
        let mut seq = after;
        loop {
            let row = match self.shelf().runs.get(run) {
                None => return Err(StoreError::UnknownRun(run.as_str().to_owned())),
                Some((_, rows)) => usize::try_from(seq).ok().and_then(|i| rows.get(i)).cloned(),
            };
            let Some(row) = row else { return Ok(()) };
            seq += 1;
            if !each(seq, row) {
                return Ok(());
            }
        }
    }

    fn head(&self, run: &RunId) -> Result<Option<RunSummary>, StoreError> {
        Ok(self.shelf().runs.get(run).map(|(head, _)| head.clone()))
    }

    fn heads(&self, limit: usize, pipeline: Option<&str>) -> Result<Vec<RunSummary>, StoreError> {
        let kept = self.shelf();
        let of = |head: &&RunSummary| pipeline.is_none_or(|name| name == head.pipeline);
        let mut heads: Vec<&RunSummary> = kept.runs.values().map(|(head, _)| head).filter(of).collect();
        heads.sort_by(|a, b| (b.started_at, &b.run).cmp(&(a.started_at, &a.run)));
        Ok(heads.into_iter().take(limit).cloned().collect())
    }

    fn find(&self, prefix: &str) -> Result<RunId, StoreError> {
        let kept = self.shelf();
        pick(prefix, kept.runs.keys().filter(|run| run.as_str().starts_with(prefix)).cloned())
    }

    fn cached(&self, key: &Digest) -> Result<Option<Value>, StoreError> {
        Ok(self.shelf().cache.get(key).cloned())
    }

    fn cache(&self, key: &Digest, value: &Value) -> Result<(), StoreError> {
        self.shelf().cache.insert(*key, value.clone());
        Ok(())
    }

    fn signal(&self, signal: &Signal) -> Result<u64, StoreError> {
        let mut kept = self.shelf();
        if !kept.runs.contains_key(&signal.run) {
            return Err(StoreError::UnknownRun(signal.run.to_string()));
        }
        let id = kept.signals.len() as u64 + 1;
        kept.signals.push((Signal { id, ..signal.clone() }, None));
        Ok(id)
    }

    fn signals(&self, run: &RunId, after: u64) -> Result<Vec<Signal>, StoreError> {
        let kept = self.shelf();
        let open = kept
            .signals
            .iter()
            .filter(|(signal, settled)| signal.run == *run && signal.id > after && settled.is_none());
        Ok(open.map(|(signal, _)| signal.clone()).collect())
    }

    fn settlement(&self, signal: u64) -> Result<Option<Settled>, StoreError> {
        let kept = self.shelf();
        Ok(kept.signals.iter().find(|(kept, _)| kept.id == signal).and_then(|(_, settled)| settled.clone()))
    }

    fn owner(&self, run: &RunId) -> Result<Option<Owner>, StoreError> {
        Ok(self.shelf().claims.get(run).cloned())
    }

    fn claim(&self, run: &RunId, owner: Owner) -> Result<Claim, StoreError> {
        let mut kept = self.shelf();
        if let Some(owner) = kept.claims.get(run) {
            return Err(StoreError::Held { run: run.clone(), owner: owner.clone() });
        }
        kept.claims.insert(run.clone(), owner);
        Ok(Claim::new(MemoryClaim { store: self.clone(), run: run.clone() }))
    }

    fn remove(&self, run: &RunId) -> Result<(), StoreError> {
        let _claim = self.claim(run, Owner::default())?;
        self.shelf().signals.retain(|(signal, _)| signal.run != *run);
        let removed = self.shelf().runs.remove(run);
        removed.map(drop).ok_or_else(|| StoreError::UnknownRun(run.as_str().to_owned()))
    }

    fn sweep(&self, before: Millis) -> Result<GcReport, StoreError> {
        let mut kept = self.shelf();
        let live = kept.live(before);
        let mut swept = GcReport::default();
        kept.blobs.retain(|digest, (_, bytes)| {
            let stays = live.contains(digest);
            if !stays {
                swept.blobs += 1;
                swept.bytes += bytes.len() as u64;
            }
            stays
        });
        Ok(swept)
    }
}

/// The only run of `matches`; a run whose id equals `prefix` takes precedence over longer ids.
pub(super) fn pick(prefix: &str, matches: impl Iterator<Item = RunId>) -> Result<RunId, StoreError> {
    const SHOWN: usize = 5;
    let mut matches: Vec<RunId> = matches.take(SHOWN).collect();
    if let Some(exact) = matches.iter().position(|run| run.as_str() == prefix) {
        return Ok(matches.swap_remove(exact));
    }
    match matches.len() {
        0 => Err(StoreError::UnknownRun(prefix.to_owned())),
        1 => Ok(matches.swap_remove(0)),
        _ => Err(StoreError::Ambiguous { prefix: prefix.to_owned(), matches }),
    }
}
