use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::open::FileState;
use super::pending::PendingWrites;
use super::queue::JobQueue;
use super::{fault, write};
use crate::clock::Millis;
use crate::id::RunId;
use crate::store::{Append, GcReport, Promise, Signal, StoreError};
use crate::value::Digest;

/// Number of retries on a full disk, and the pause between them.
const WAITS: u32 = 20;
const WAIT: Duration = Duration::from_millis(100);

/// Job for the writer.
pub(super) enum WriteJob {
    Blob { digest: Digest, at: Millis, bytes: Arc<[u8]> },
    Cache { key: Digest, at: Millis, text: Arc<str> },
    Append { run: RunId, batch: Box<Append>, promise: Promise },
    Signal { signal: Box<Signal>, promise: Promise },
    Remove { run: RunId, promise: Promise },
    Claimed { run: RunId },
    Flush { promise: Promise },
    Sweep { live: HashSet<Digest>, before: Millis, reply: Sender<Result<GcReport, StoreError>> },
}

impl WriteJob {
    /// Bytes of a job that may wait for the next fact; `None` if a caller waits for it.
    pub(super) fn lazy_bytes(&self) -> Option<usize> {
        match self {
            Self::Blob { bytes, .. } => Some(bytes.len()),
            Self::Cache { text, .. } => Some(text.len()),
            Self::Claimed { .. } => Some(0),
            _ => None,
        }
    }
}

/// Result of a job in an open transaction.
#[derive(Clone, Debug, PartialEq)]
enum JobResult {
    Last(u64),
    Swept(GcReport),
    Refused(StoreError),
}

/// The only writer of the database: all queued jobs go into one transaction.
pub(super) struct Writer {
    db: Connection,
    path: PathBuf,
    file: Option<FileState>,
    pending: Arc<PendingWrites>,
    last: HashMap<RunId, u64>,
    broken: HashMap<RunId, StoreError>,
}

/// The writer and its queue. The holder of the lock writes: the thread, or a caller that found the writer
/// idle, which saves two thread switches.
pub(super) struct WriteQueue {
    pub(super) queue: JobQueue,
    pending: Arc<PendingWrites>,
    writer: Mutex<Writer>,
}

impl WriteQueue {
    pub(super) fn new(db: Connection, path: PathBuf, pending: Arc<PendingWrites>) -> Self {
        let writer = Mutex::new(Writer::new(db, path, pending.clone()));
        Self { queue: JobQueue::default(), pending, writer }
    }

    /// Processes jobs until the queue is closed.
    pub(super) fn run(&self) {
        let end = WriterEnd(self);
        while self.queue.wait() {
            let Ok(mut writer) = self.writer.lock() else { break };
            self.write(&mut writer);
        }
        drop(end);
    }

    /// Writes queued jobs, on this thread if the writer is idle.
    pub(super) fn write_now(&self) {
        if let Ok(mut writer) = self.writer.try_lock() {
            self.write(&mut writer);
        }
        self.queue.wake();
    }

    fn write(&self, writer: &mut Writer) {
        let group = self.queue.take();
        if !group.is_empty() {
            let owed = writer.commit(group);
            self.queue.give_back(owed);
        }
    }
}

/// Fails all waiting callers when the writer thread ends for any reason.
struct WriterEnd<'a>(&'a WriteQueue);

impl Drop for WriterEnd<'_> {
    fn drop(&mut self) {
        self.0.queue.die();
        self.0.pending.set_trouble(Some(StoreError::Closed));
    }
}

impl Writer {
    fn new(db: Connection, path: PathBuf, pending: Arc<PendingWrites>) -> Self {
        let file = FileState::of(&path);
        Self { db, path, file, pending, last: HashMap::new(), broken: HashMap::new() }
    }

    /// Writes the group, or each job separately if that fails. Returns blobs and reusable outputs that
    /// could not be written, so that no fact is written before them.
    fn commit(&mut self, group: Vec<WriteJob>) -> Vec<WriteJob> {
        if let Ok(outcomes) = self.transact(&group) {
            self.pending.set_trouble(None);
            group.into_iter().zip(outcomes).for_each(|(job, outcome)| self.finish(job, &outcome));
            return Vec::new();
        }
        let mut owed = Vec::new();
        let mut trouble = None;
        for job in group {
            let tried = match &trouble {
                Some(error) => Err(StoreError::clone(error)),
                None => self.transact(std::slice::from_ref(&job)),
            };
            match tried {
                Ok(mut outcomes) => {
                    let outcome = outcomes.pop().unwrap_or(JobResult::Last(0));
                    self.finish(job, &outcome);
                }
                Err(error) if job.lazy_bytes().is_some() => {
                    trouble = Some(error);
                    owed.push(job);
                }
                Err(error) => self.finish(job, &JobResult::Refused(error)),
            }
        }
        self.pending.set_trouble(trouble);
        owed
    }

    /// Runs a transaction. On a full disk it retries for a while, because a program that filled it may be
    /// about to be ended and its files removed.
    fn transact(&mut self, jobs: &[WriteJob]) -> Result<Vec<JobResult>, StoreError> {
        // SQLite would continue to write to a deleted or truncated file.
        let now = FileState::of(&self.path);
        match (now, self.file) {
            (Some(now), Some(before)) if now.continues(before) => self.file = Some(now),
            (None, None) => {}
            _ => return Err(StoreError::Gone(self.path.clone())),
        }
        let mut waits = WAITS;
        loop {
            let error = match self.try_transact(jobs) {
                Ok(outcomes) => return Ok(outcomes),
                Err(error) => fault::of(&self.path, &error),
            };
            self.last.clear();
            if !matches!(error, StoreError::Full(_)) || waits == 0 {
                return Err(error);
            }
            waits -= 1;
            std::thread::sleep(WAIT);
        }
    }

    fn try_transact(&mut self, jobs: &[WriteJob]) -> Result<Vec<JobResult>, rusqlite::Error> {
        let change = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut books = OpenTransaction { db: &change, last: &mut self.last, broken: &mut self.broken };
        let outcomes = jobs.iter().map(|job| books.write(job)).collect::<Result<Vec<_>, _>>()?;
        change.commit()?;
        Ok(outcomes)
    }

    /// Sends the result to the caller.
    fn finish(&mut self, job: WriteJob, outcome: &JobResult) {
        let result = match outcome {
            JobResult::Last(last) => Ok(*last),
            JobResult::Swept(_) => Ok(0),
            JobResult::Refused(error) => Err(error.clone()),
        };
        match job {
            WriteJob::Blob { digest, .. } => self.pending.blob_written(&digest),
            WriteJob::Cache { key, text, .. } => self.pending.cached_written(&key, &text),
            WriteJob::Append { run, batch, promise } => {
                if let (Err(error), false) = (&result, batch.begins) {
                    self.broken.entry(run).or_insert_with(|| error.clone());
                }
                promise.keep(result);
            }
            WriteJob::Signal { promise, .. }
            | WriteJob::Remove { promise, .. }
            | WriteJob::Flush { promise } => {
                promise.keep(result);
            }
            WriteJob::Claimed { .. } => {}
            WriteJob::Sweep { reply, .. } => {
                let swept = match outcome {
                    JobResult::Swept(swept) => Ok(*swept),
                    _ => result.map(|_| GcReport::default()),
                };
                // The caller may be gone; the sweep is done anyway.
                let _ = reply.send(swept);
            }
        }
    }
}

/// An open transaction: the database and the state of the writer.
struct OpenTransaction<'a> {
    db: &'a Connection,
    last: &'a mut HashMap<RunId, u64>,
    broken: &'a mut HashMap<RunId, StoreError>,
}

impl OpenTransaction<'_> {
    fn write(&mut self, job: &WriteJob) -> Result<JobResult, rusqlite::Error> {
        match job {
            WriteJob::Blob { digest, at, bytes } => write::blob(self.db, digest, *at, bytes)?,
            WriteJob::Cache { key, at, text } => write::cache(self.db, key, *at, text)?,
            WriteJob::Append { run, batch, .. } => return self.append(run, batch),
            WriteJob::Signal { signal, .. } => {
                let unknown = || JobResult::Refused(StoreError::UnknownRun(signal.run.to_string()));
                return Ok(write::signal(self.db, signal)?.map_or_else(unknown, JobResult::Last));
            }
            WriteJob::Remove { run, .. } => {
                self.forget(run);
                if !write::remove(self.db, run)? {
                    return Ok(JobResult::Refused(StoreError::UnknownRun(run.as_str().to_owned())));
                }
            }
            WriteJob::Claimed { run } => self.forget(run),
            WriteJob::Flush { .. } => {}
            WriteJob::Sweep { live, before, .. } => {
                return write::sweep(self.db, live, *before).map(JobResult::Swept);
            }
        }
        Ok(JobResult::Last(0))
    }

    fn forget(&mut self, run: &RunId) {
        self.last.remove(run);
        self.broken.remove(run);
    }

    fn append(&mut self, run: &RunId, batch: &Append) -> Result<JobResult, rusqlite::Error> {
        if let (true, Some(head)) = (batch.begins, &batch.head) {
            if !write::create(self.db, run, head)? {
                return Ok(JobResult::Refused(StoreError::Exists(run.clone())));
            }
            self.forget(run);
        }
        if let Some(error) = self.broken.get(run) {
            return Ok(JobResult::Refused(error.clone()));
        }
        let known = match self.last.get(run) {
            Some(last) => Some(*last),
            None => write::last(self.db, run)?,
        };
        let Some(last) = known else {
            return Ok(JobResult::Refused(StoreError::UnknownRun(run.as_str().to_owned())));
        };
        let last = match write::facts(self.db, run, last, &batch.rows) {
            Err(error) if fault::is_duplicate(&error) => {
                self.broken.insert(run.clone(), StoreError::Overtaken(run.clone()));
                return Err(error);
            }
            written => written?,
        };
        for (id, settled) in &batch.settled {
            write::settle(self.db, *id, settled)?;
        }
        if let (Some(head), false) = (&batch.head, batch.begins) {
            write::replace_head(self.db, run, head)?;
        }
        self.last.insert(run.clone(), last);
        Ok(JobResult::Last(last))
    }
}
