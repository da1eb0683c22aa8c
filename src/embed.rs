//! The library interface: load a pipeline, check its inputs, run it, follow its events. It must not depend on
//! the command line, or decide anything that the modules it joins can decide. Start with [`Atoll`].
#![expect(clippy::disallowed_methods, reason = "makes the directory of runs and names the machine")]

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::diag::{Code, Diagnostic, SourceMap as Texts};
use crate::driver::{
    Asker, DriveError, Event, Outcome, RunCommand, RunHandles, RunRequest, RunStart, Runtime, drive,
};
use crate::id::RunId;
use crate::plan::{Bundle, Given, Loaded, MemorySources, NoFiles, Plan, check_inputs, load, load_bundle};
use crate::report::diagnostics::render_text;
use crate::secrets::EnvSecrets;
use crate::store::{Durability, Memory, Owner, Sqlite, Store, StoreError};
use crate::system_clock::SystemClock;
use crate::value::{Seal, Value, canonical};
use crate::verb::{BlobError, Catalog, Verb};
use crate::verbs;

/// Pipelines, the verbs that their steps may use, and the place where runs are recorded.
///
/// The verbs `set` and `fail` are always known; add others with [`Atoll::with_verb`]. A step gets no secret, because
/// nothing is allowed unless [`Atoll::house_mut`] allows it.
pub struct Atoll {
    house: Runtime,
    sources: MemorySources,
    asker: Option<Arc<dyn Asker>>,
    /// Temporary files of a run that is recorded in memory only; removed with the last run that uses it.
    temporary: Option<Arc<TempDir>>,
}

/// A pipeline without errors.
#[derive(Clone)]
pub struct Pipeline {
    plan: Arc<Plan>,
    bundle: Bundle,
    warnings: Vec<Diagnostic>,
    texts: Texts,
}

/// A pipeline with inputs that fit it.
#[derive(Clone)]
pub struct Ready {
    plan: Arc<Plan>,
    bundle: Bundle,
    inputs: Value,
}

/// All errors in a pipeline or its inputs. Its text is what `atoll check` prints.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Mistakes {
    /// Errors and warnings, in the order of their positions.
    pub diagnostics: Vec<Diagnostic>,
    text: String,
}

/// The reason why a run could not start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed, the run is unknown, or another process works on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content could not be stored or found.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The journal does not fit, or cannot be read.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The recorded pipeline needs a verb that is missing here.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// A directory or a recorded plan is unusable.
    #[error("{path}: {message}")]
    Unusable {
        /// Directory, or digest of the plan.
        path: String,
        /// Message about the problem.
        message: String,
    },
    /// The asynchronous runtime was shut down during the run. [`Atoll::resume`] continues it.
    #[error("the runtime was shut down during the run")]
    ShutDown,
}

/// A run in progress. Dropping it does not stop the run; [`Run::stop`] does.
pub struct Run {
    id: RunId,
    events: mpsc::UnboundedReceiver<Vec<Event>>,
    received: VecDeque<Event>,
    commands: mpsc::Sender<RunCommand>,
    task: JoinHandle<Result<Outcome, DriveError>>,
}

impl Atoll {
    /// Runs are recorded in memory, and end with this process.
    pub fn in_memory() -> Result<Self, Error> {
        let unusable = |e| unusable(&std::env::temp_dir(), &e);
        let temporary = tempfile::tempdir().map_err(unusable)?;
        let store = Arc::new(Memory::new(Arc::new(SystemClock)));
        let house = house(store, temporary.path());
        Ok(Self { temporary: Some(Arc::new(temporary)), ..Self::of(house) })
    }

    /// Runs are recorded in `dir`, which is created if it does not exist; `atoll --data-dir DIR` shows them.
    pub fn at(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = std::path::absolute(dir.as_ref()).map_err(|e| unusable(dir.as_ref(), &e))?;
        std::fs::create_dir_all(&dir).map_err(|e| unusable(&dir, &e))?;
        let store = Sqlite::open(&dir.join("atoll.db"), Durability::Full, Arc::new(SystemClock))?;
        Ok(Self::of(house(Arc::new(store), &dir)))
    }

    fn of(house: Runtime) -> Self {
        Self { house, sources: MemorySources::default(), asker: None, temporary: None }
    }

    /// The same with the verb `verb`, which replaces another one with that name.
    #[must_use]
    pub fn with_verb(mut self, verb: impl Verb) -> Self {
        self.house.catalog = self.house.catalog.verb(verb);
        self
    }

    /// The same with `text` as the file at `path`: `pipelines/NAME.toml`, or a prompt or schema that a
    /// pipeline refers to.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        self.sources = self.sources.with(path, text);
        self
    }

    /// The same, where `asker` answers questions. Without it, a run pauses at a question.
    #[must_use]
    pub fn with_asker(mut self, asker: impl Asker) -> Self {
        self.asker = Some(Arc::new(asker));
        self
    }

    /// Everything else that a run uses: secrets, permissions, limits, lanes, the project directory.
    pub fn house_mut(&mut self) -> &mut Runtime {
        &mut self.house
    }

    /// The pipeline `name`, or all its errors.
    pub fn load(&self, name: &str) -> Result<Pipeline, Mistakes> {
        sound(load(name, &self.sources, &self.house.catalog, &[]))
    }

    /// `inputs`, an object, checked against the declarations of `pipeline`, with its defaults; or all errors.
    pub fn check(&self, pipeline: &Pipeline, inputs: &Value) -> Result<Ready, Mistakes> {
        let mistakes = |found| Mistakes::new(found, &pipeline.texts);
        let Value::Object(table) = inputs else {
            let found = Diagnostic::new(Code::InputType, "the inputs are not an object");
            return Err(mistakes(vec![found.help("give an object of names and values")]));
        };
        let given: IndexMap<String, Given> =
            table.iter().map(|(name, value)| (name.clone(), Given::Value(value.clone()))).collect();
        let inputs = check_inputs(&pipeline.plan, &given, self.house.inputs.as_ref()).map_err(mistakes)?;
        Ok(Ready { plan: pipeline.plan.clone(), bundle: pipeline.bundle.clone(), inputs })
    }

    /// Starts a run. Must be called in a Tokio runtime with several threads, which executes it.
    pub fn run(&self, ready: &Ready) -> Result<Run, Error> {
        let bundle = serde_json::to_value(&ready.bundle).map_err(|e| Error::Unusable {
            path: ready.bundle.digest().to_string(),
            message: e.to_string(),
        })?;
        // The bundle of the plan, under the digest in the head of the run.
        self.house.store.put(canonical(&bundle).as_bytes())?;
        let id = RunId::at(self.house.clock.now(), u128::from(random()) << 64 | u128::from(random()));
        let begin = RunStart::Fresh { inputs: ready.inputs.clone(), seed: random() };
        Ok(self.start(RunRequest { run: id, plan: ready.plan.clone(), begin }))
    }

    /// Continues a run that was stopped, was interrupted or waits. It uses the files that it started with;
    /// [`Atoll::with_file`] does not change them.
    pub fn resume(&self, run: &RunId) -> Result<Run, Error> {
        let head = self.house.store.head(run)?.ok_or_else(|| StoreError::UnknownRun(run.to_string()))?;
        let bytes = self.house.store.get(&head.plan)?;
        let bundle: Bundle = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Unusable { path: head.plan.to_string(), message: e.to_string() })?;
        let pipeline = sound(load_bundle(&bundle, &self.house.catalog))?;
        Ok(self.start(RunRequest { run: run.clone(), plan: pipeline.plan, begin: RunStart::Resume }))
    }

    fn start(&self, job: RunRequest) -> Run {
        let (sink, events) = mpsc::unbounded_channel();
        let (commands, received) = mpsc::channel(8);
        let wires = RunHandles {
            // Events without a receiver are dropped; the run continues.
            events: Arc::new(move |events| drop(sink.send(events))),
            notes: true,
            commands: received,
            ask: self.asker.clone(),
        };
        let (house, temporary) = (self.house.clone(), self.temporary.clone());
        let id = job.run.clone();
        let task = tokio::spawn(async move {
            let outcome = drive(&house, job, wires).await;
            drop(temporary);
            outcome
        });
        Run { id, events, received: VecDeque::new(), commands, task }
    }
}

impl Pipeline {
    /// Warnings: likely mistakes that do not prevent a run.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Its plan: steps, inputs, outputs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }
}

impl Ready {
    /// The values of all inputs.
    pub fn inputs(&self) -> &Value {
        &self.inputs
    }
}

impl Mistakes {
    fn new(diagnostics: Vec<Diagnostic>, texts: &Texts) -> Self {
        let text = render_text(&diagnostics, texts, false).trim_end().to_owned();
        Self { diagnostics, text }
    }
}

impl Run {
    /// Its id, for [`Atoll::resume`] and for the commands of `atoll`.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The next event, or `None` when the run has ended or paused. Facts are on disk before they are received
    /// here. Unread events are kept in memory.
    pub async fn next(&mut self) -> Option<Event> {
        while self.received.is_empty() {
            self.received.extend(self.events.recv().await?);
        }
        self.received.pop_front()
    }

    /// Starts no new work, and pauses when running steps have finished, or after the grace period.
    pub async fn stop(&self) {
        // A run that has ended needs no command.
        let _ = self.commands.send(RunCommand::Cancel).await;
    }

    /// Waits for the end or the pause of the run. Unread events are dropped.
    pub async fn outcome(self) -> Result<Outcome, Error> {
        let Self { events, received, commands, task, .. } = self;
        drop((events, received));
        let outcome = task.await;
        drop(commands);
        match outcome {
            Ok(outcome) => Ok(outcome?),
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::ShutDown),
            },
        }
    }
}

fn sound(loaded: Loaded) -> Result<Pipeline, Mistakes> {
    let Loaded { plan, diagnostics, sources: texts, bundle } = loaded;
    match plan {
        Some(plan) => Ok(Pipeline { plan, bundle, warnings: diagnostics, texts }),
        None => Err(Mistakes::new(diagnostics, &texts)),
    }
}

/// What runs that are recorded in `store` need.
fn house(store: Arc<dyn Store>, dir: &Path) -> Runtime {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    Runtime {
        catalog: Catalog::new().verb(verbs::Set).verb(verbs::Fail),
        store,
        clock: Arc::new(SystemClock),
        owner: Owner { pid: std::process::id(), started_at: SystemClock.now(), host },
        // The embedding program chooses the directory.
        seal: Seal::new(b"embedded"),
        secrets: Arc::new(EnvSecrets::default()),
        grants: Arc::default(),
        inputs: Arc::new(NoFiles),
        project: std::env::current_dir().unwrap_or_default(),
        scratch: dir.join("scratch"),
        files: dir.join("files"),
        lanes: IndexMap::new(),
        caps: IndexMap::new(),
        grace: Runtime::GRACE,
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unusable { path: path.display().to_string(), message: error.to_string() }
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
