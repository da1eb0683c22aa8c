//! Services that are started before they are asked for, and stopped behind the back of whoever had them: a scenario
//! that wants a fresh one finds it up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{Environment, EnvironmentService, Runtimes};
use crate::verb::{Class, Failure};

/// Services that are started before they are asked for: those of the same run with the same input.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmPoolSize {
    /// How many are kept ready.
    pub keep: usize,
    /// How many are wanted in all: no more than these are started.
    pub of: usize,
}

/// What was started ahead, and what is still being stopped.
#[derive(Default)]
pub(super) struct WarmPool {
    shelves: Mutex<BTreeMap<String, WarmServices>>,
    leaving: TaskTracker,
}

/// Those of one kind.
#[derive(Default)]
struct WarmServices {
    taken: usize,
    ready: VecDeque<WarmService>,
}

/// One that is being started, or up. Dropped, it is stopped.
struct WarmService {
    start: Option<JoinHandle<Result<Environment, Failure>>>,
    runtimes: Runtimes,
}

impl WarmService {
    fn start(members: Vec<EnvironmentService>, runtimes: &Runtimes) -> Self {
        let to = runtimes.clone();
        let start = tokio::spawn(async move { to.start_all(members).await });
        Self { start: Some(start), runtimes: runtimes.clone() }
    }

    async fn taken(mut self) -> Result<Environment, Failure> {
        let Some(start) = &mut self.start else { return Err(Failure::cancelled()) };
        let started = start.await;
        self.start = None;
        started.map_err(|e| Failure::new(Class::Bug, format!("a service could not be started ahead: {e}")))?
    }
}

impl Drop for WarmService {
    fn drop(&mut self) {
        if let (Some(start), Ok(runtime)) = (self.start.take(), tokio::runtime::Handle::try_current()) {
            let runtimes = self.runtimes.clone();
            let stop = async move {
                if let Ok(Ok(environment)) = start.await {
                    runtimes.stop_all(&environment).await;
                }
            };
            self.runtimes.spares().leaving.spawn_on(stop, &runtime);
        }
    }
}

impl WarmPool {
    /// What is still being stopped.
    pub(super) fn leaving(&self) -> &TaskTracker {
        &self.leaving
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, WarmServices>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtimes {
    /// The services of `members`: those that were started ahead where there are some. Others are started in their place,
    /// as `ahead` says; `key` tells which ones are alike.
    pub async fn take(
        &self,
        key: String,
        ahead: WarmPoolSize,
        members: &(dyn Fn() -> Result<Vec<EnvironmentService>, Failure> + Sync),
    ) -> Result<Environment, Failure> {
        let spare = {
            let mut shelves = self.spares().lock();
            let shelf = shelves.entry(key).or_default();
            shelf.taken += 1;
            let spare = shelf.ready.pop_front();
            while shelf.ready.len() < ahead.keep && shelf.taken + shelf.ready.len() < ahead.of {
                shelf.ready.push_back(WarmService::start(members()?, self));
            }
            spare
        };
        match spare {
            Some(spare) => spare.taken().await,
            None => self.start_all(members()?).await,
        }
    }

    /// Stops services without making anybody wait for it, except [`Runtimes::close`].
    pub fn stop_late(&self, environment: Environment) {
        let runtimes = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let stop = async move { runtimes.stop_all(&environment).await };
            self.spares().leaving.spawn_on(stop, &runtime);
        }
    }

    /// Stops what was started ahead and never taken, and waits until all that was let go is gone.
    pub async fn close(&self) {
        // What is let fall here is stopped by tasks of its own.
        let left = std::mem::take(&mut *self.spares().lock());
        drop(left);
        let leaving = &self.spares().leaving;
        leaving.close();
        leaving.wait().await;
        leaving.reopen();
    }
}
