//! Starts services before they are needed and stops used ones in the background, so that scenarios get a
//! fresh service without waiting.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{Environment, EnvironmentService, Runtimes};
use crate::verb::{Class, Failure};

/// Size of the pool for services of the same run with the same input.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmPoolSize {
    /// Number of services to keep ready.
    pub keep: usize,
    /// Total number that will be needed: no more are started.
    pub of: usize,
}

/// Services that were started in advance, and those that are being stopped.
#[derive(Default)]
pub(super) struct WarmPool {
    shelves: Mutex<BTreeMap<String, WarmServices>>,
    leaving: TaskTracker,
}

/// Services of one kind.
#[derive(Default)]
struct WarmServices {
    taken: usize,
    ready: VecDeque<WarmService>,
}

/// A service that is starting or up. Dropping it stops it.
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
        started.map_err(|e| {
            Failure::new(Class::Bug, format!("the task that starts a service in advance failed: {e}"))
        })?
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
    /// Tracker of services that are being stopped.
    pub(super) fn leaving(&self) -> &TaskTracker {
        &self.leaving
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, WarmServices>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtimes {
    /// The services of `members`, from the pool if possible. Replacements are started according to `ahead`;
    /// services with the same `key` are interchangeable.
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

    /// Stops services in the background; only [`Runtimes::close`] waits for it.
    pub fn stop_late(&self, environment: Environment) {
        let runtimes = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let stop = async move { runtimes.stop_all(&environment).await };
            self.spares().leaving.spawn_on(stop, &runtime);
        }
    }

    /// Stops unused services, and waits until all stopped services have ended.
    pub async fn close(&self) {
        // Dropping these starts tasks that stop them.
        let left = std::mem::take(&mut *self.spares().lock());
        drop(left);
        let leaving = &self.spares().leaving;
        leaving.close();
        leaving.wait().await;
        leaving.reopen();
    }
}
