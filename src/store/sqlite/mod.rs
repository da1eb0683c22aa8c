//! The store in one SQLite file. One connection writes, in groups, on its thread or on the thread of a
//! caller if it is idle; readers have separate connections. Only blobs that are being written are kept in
//! memory, nothing of a journal. Start with `writer`. `open` has the settings and the schema.

mod fault;
mod open;
mod pending;
mod queue;
mod read;
mod write;
mod writer;

pub use open::Durability;

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::{
    Append, Claim, FactRow, GcReport, Owner, RunSummary, Settled, Signal, Store, StoreError, Ticket, claim,
};
use crate::clock::{Clock, Millis};
use crate::id::RunId;
use crate::value::{BlobRef, Digest, Value};
use crate::verb::{BlobError, Blobs};
use pending::PendingWrites;
use writer::{WriteJob, WriteQueue};

const LARGEST_BLOB: usize = 256 << 20;
const SPARE_READERS: usize = 4;

/// A store in a file. Cheap to clone. When the last clone is dropped, queued changes are written and the
/// file is closed.
#[derive(Clone)]
pub struct Sqlite(Arc<SqliteInner>);

struct SqliteInner {
    path: PathBuf,
    locks: PathBuf,
    clock: Arc<dyn Clock>,
    pending: Arc<PendingWrites>,
    readers: Mutex<Vec<Connection>>,
    desk: Option<Arc<WriteQueue>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for SqliteInner {
    fn drop(&mut self) {
        self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(desk) = &self.desk {
            desk.queue.close();
        }
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has already closed every ticket.
            let _ = writer.join();
        }
    }
}

impl Sqlite {
    /// Opens or creates the file at `path`, and migrates it to this version. Refuses a file of a newer
    /// version or another program, and one for which a durability setting cannot be changed.
    pub fn open(path: &Path, durability: Durability, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let locks = locks_of(path);
        let connection = open::writer(path, &locks, durability)?;
        let pending = Arc::new(PendingWrites::default());
        let desk = Arc::new(WriteQueue::new(connection, path.to_owned(), pending.clone()));
        let at_desk = desk.clone();
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || at_desk.run());
        let thread = thread.map_err(|e| StoreError::Failed {
            path: path.to_owned(),
            message: format!("cannot start a thread: {e}"),
        })?;
        Ok(Self(Arc::new(SqliteInner {
            path: path.to_owned(),
            locks,
            clock,
            pending,
            readers: Mutex::default(),
            desk: Some(desk),
            writer: Some(thread),
        })))
    }

    /// Opens the file at `path` read-only: nothing is created, changed or locked. Writes fail as closed.
    /// Refuses the same files as [`Sqlite::open`].
    pub fn open_to_read(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let first = open::reader(path)?;
        open::refuse_foreign(&first, path)?;
        Ok(Self(Arc::new(SqliteInner {
            path: path.to_owned(),
            locks: locks_of(path),
            clock,
            pending: Arc::default(),
            readers: Mutex::new(vec![first]),
            desk: None,
            writer: None,
        })))
    }

    fn send(&self, job: WriteJob) -> Result<(), StoreError> {
        let desk = self.0.desk.as_ref().ok_or(StoreError::Closed)?;
        desk.queue.push(job)?;
        desk.queue.wake();
        Ok(())
    }

    /// Queues the job that `make` creates for a promise, and waits for it.
    fn wait(&self, make: impl FnOnce(super::Promise) -> WriteJob) -> Result<u64, StoreError> {
        let (promise, ticket) = Ticket::open();
        self.send(make(promise))?;
        ticket.blocking_wait()
    }

    /// Runs `ask` on a connection that only reads.
    fn read<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, StoreError> {
        let spare = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match spare {
            Some(connection) => connection,
            None => open::reader(&self.0.path)?,
        };
        let answer = ask(&connection).map_err(|e| fault::of(&self.0.path, &e))?;
        let mut readers = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < SPARE_READERS {
            readers.push(connection);
        }
        Ok(answer)
    }
}

/// Directory of the locks of the database at `path`.
fn locks_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.locks"))
}

impl Blobs for Sqlite {
    fn put(&self, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        if bytes.len() > LARGEST_BLOB {
            return Err(BlobError::Failed(format!("{} bytes exceed the size limit of a blob", bytes.len())));
        }
        let blob = BlobRef::of(bytes);
        let failed = |e: StoreError| BlobError::Failed(e.to_string());
        if let Some(bytes) = self.0.pending.add_blob(blob.digest, bytes).map_err(failed)? {
            self.send(WriteJob::Blob { digest: blob.digest, at: self.0.clock.now(), bytes })
                .map_err(failed)?;
        }
        Ok(blob)
    }

    fn get(&self, digest: &Digest) -> Result<Arc<[u8]>, BlobError> {
        if let Some(bytes) = self.0.pending.blob(digest) {
            return Ok(bytes);
        }
        let found = self.read(|db| read::blob(db, digest)).map_err(|e| BlobError::Failed(e.to_string()))?;
        let bytes: Arc<[u8]> = found.ok_or(BlobError::Missing(*digest))?.into();
        // The database may have come with a project.
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(BlobError::Damaged(*digest)) }
    }
}

impl Store for Sqlite {
    fn append(&self, run: &RunId, batch: Append) -> Ticket {
        let (promise, ticket) = Ticket::open();
        let Some(desk) = &self.0.desk else { return Ticket::resolved(Err(StoreError::Closed)) };
        match desk.queue.push(WriteJob::Append { run: run.clone(), batch: Box::new(batch), promise }) {
            Ok(()) => desk.write_now(),
            Err(error) => return Ticket::resolved(Err(error)),
        }
        ticket
    }

    fn scan(
        &self,
        run: &RunId,
        after: u64,
        each: &mut dyn FnMut(u64, FactRow) -> bool,
    ) -> Result<(), StoreError> {
        let mut seq = after;
        loop {
            let page = self.read(|db| read::facts(db, run, seq))?;
            if page.is_empty() {
                return match self.head(run)? {
                    Some(_) => Ok(()),
                    None => Err(StoreError::UnknownRun(run.as_str().to_owned())),
                };
            }
            for (number, row) in page {
                seq = number;
                if !each(number, row) {
                    return Ok(());
                }
            }
        }
    }

    fn head(&self, run: &RunId) -> Result<Option<RunSummary>, StoreError> {
        self.read(|db| read::head(db, run))
    }

    fn heads(&self, limit: usize, pipeline: Option<&str>) -> Result<Vec<RunSummary>, StoreError> {
        self.read(|db| read::heads(db, limit, pipeline))
    }

    fn find(&self, prefix: &str) -> Result<RunId, StoreError> {
        let matches = self.read(|db| read::starting_with(db, prefix))?;
        super::memory::pick(prefix, matches.into_iter())
    }

    fn cached(&self, key: &Digest) -> Result<Option<Value>, StoreError> {
        let text = match self.0.pending.cached(key) {
            Some(text) => Some(text),
            None => self.read(|db| read::cached(db, key))?,
        };
        let corrupt = |e: serde_json::Error| StoreError::Corrupt {
            path: self.0.path.clone(),
            message: format!("the reusable output {key} is not JSON: {e}"),
        };
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(corrupt)
    }

    fn cache(&self, key: &Digest, value: &Value) -> Result<(), StoreError> {
        let text: Arc<str> = value.to_string().into();
        self.0.pending.add_cached(*key, text.clone())?;
        self.send(WriteJob::Cache { key: *key, at: self.0.clock.now(), text })
    }

    fn signal(&self, signal: &Signal) -> Result<u64, StoreError> {
        self.wait(|promise| WriteJob::Signal { signal: Box::new(signal.clone()), promise })
    }

    fn signals(&self, run: &RunId, after: u64) -> Result<Vec<Signal>, StoreError> {
        self.read(|db| read::signals(db, run, after))
    }

    fn settlement(&self, signal: u64) -> Result<Option<Settled>, StoreError> {
        self.read(|db| read::settlement(db, signal))
    }

    fn owner(&self, run: &RunId) -> Result<Option<Owner>, StoreError> {
        Ok(claim::holder(&self.0.locks, run))
    }

    fn claim(&self, run: &RunId, owner: Owner) -> Result<Claim, StoreError> {
        self.0.desk.as_ref().ok_or(StoreError::Closed)?;
        let claim = claim::lock_run(&self.0.locks, run, &owner)?;
        self.send(WriteJob::Claimed { run: run.clone() })?;
        Ok(claim)
    }

    fn remove(&self, run: &RunId) -> Result<(), StoreError> {
        self.0.desk.as_ref().ok_or(StoreError::Closed)?;
        let owner = Owner { pid: std::process::id(), started_at: self.0.clock.now(), ..Owner::default() };
        let _claim = claim::lock_run(&self.0.locks, run, &owner)?;
        self.wait(|promise| WriteJob::Remove { run: run.clone(), promise }).map(drop)
    }

    fn sweep(&self, before: Millis) -> Result<GcReport, StoreError> {
        self.wait(|promise| WriteJob::Flush { promise })?;
        let live = self.read(|db| read::live(db, before))?;
        let (reply, answer) = channel();
        self.send(WriteJob::Sweep { live, before, reply })?;
        answer.recv().unwrap_or(Err(StoreError::Closed))
    }
}
