use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::writer::WriteJob;
use crate::store::StoreError;

/// Most jobs per transaction.
const GROUP: usize = 512;
/// Bytes of lazy jobs that are written without waiting for a fact.
const LAZY_BYTES: usize = 4 << 20;

/// Jobs for the writer, in order.
#[derive(Default)]
pub(super) struct JobQueue {
    waiting: Mutex<QueuedJobs>,
    work: Condvar,
}

#[derive(Default)]
struct QueuedJobs {
    jobs: VecDeque<WriteJob>,
    /// Number of jobs with a waiting caller.
    urgent: usize,
    /// Bytes of the other jobs.
    lazy: usize,
    /// Whether returned jobs wait for the next new job.
    stalled: bool,
    closed: bool,
    dead: bool,
}

impl QueuedJobs {
    fn add(&mut self, job: &WriteJob) {
        match job.lazy_bytes() {
            Some(bytes) => self.lazy += bytes,
            None => self.urgent += 1,
        }
    }

    fn ready(&self) -> bool {
        self.urgent > 0 || !self.stalled && (self.lazy >= LAZY_BYTES || self.jobs.len() >= GROUP)
    }
}

impl JobQueue {
    fn waiting(&self) -> MutexGuard<'_, QueuedJobs> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job without waking the writer.
    pub(super) fn push(&self, job: WriteJob) -> Result<(), StoreError> {
        let mut waiting = self.waiting();
        if waiting.dead || waiting.closed {
            return Err(StoreError::Closed);
        }
        waiting.add(&job);
        waiting.jobs.push_back(job);
        waiting.stalled = false;
        Ok(())
    }

    /// Wakes the writer thread if there is work.
    pub(super) fn wake(&self) {
        if self.waiting().ready() {
            self.work.notify_one();
        }
    }

    /// Waits for work; returns `false` when the queue is closed and empty.
    pub(super) fn wait(&self) -> bool {
        let idle = |waiting: &mut QueuedJobs| !waiting.ready() && !waiting.closed && !waiting.dead;
        let waiting = self.work.wait_while(self.waiting(), idle).unwrap_or_else(PoisonError::into_inner);
        !waiting.dead && (waiting.ready() || !waiting.jobs.is_empty() && !waiting.stalled)
    }

    /// The jobs of the next transaction.
    pub(super) fn take(&self) -> Vec<WriteJob> {
        let mut waiting = self.waiting();
        let count = waiting.jobs.len().min(GROUP);
        let jobs: Vec<WriteJob> = waiting.jobs.drain(..count).collect();
        for job in &jobs {
            match job.lazy_bytes() {
                Some(bytes) => waiting.lazy -= bytes,
                None => waiting.urgent -= 1,
            }
        }
        jobs
    }

    /// Returns failed jobs to the front of the queue.
    pub(super) fn give_back(&self, jobs: Vec<WriteJob>) {
        if jobs.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for job in jobs.into_iter().rev() {
            waiting.add(&job);
            waiting.jobs.push_front(job);
        }
        waiting.stalled = true;
    }

    /// Closes the queue: the remaining jobs are written, or tried a last time.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        (waiting.closed, waiting.stalled) = (true, false);
        drop(waiting);
        self.work.notify_one();
    }

    /// Fails all waiting callers, because nothing will be written any more.
    pub(super) fn die(&self) {
        let mut waiting = self.waiting();
        *waiting = QueuedJobs { dead: true, ..QueuedJobs::default() };
        self.work.notify_one();
    }
}
