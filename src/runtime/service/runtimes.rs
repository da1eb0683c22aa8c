use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::warm_pool::WarmPool;
use super::{
    BuildContext, BuildOptions, BuildReport, Ignored, OwnerTag, RunningService, RuntimeKind, RuntimeSettings,
    ServiceSpec, bounds,
};
use crate::id::RunId;
use crate::relay::unique_mark;
use crate::runtime::{docker, process};
use crate::tree::{Tree, TreeError};
use crate::verb::{Blobs, Class, Failure};

/// Builds images and runs services. Cheap to clone; created once, at the composition root.
#[derive(Clone)]
pub struct Runtimes(Arc<RuntimesInner>);

struct RuntimesInner {
    settings: RuntimeSettings,
    docker: OnceCell<docker::Engine>,
    live: Mutex<BTreeMap<String, RunningService>>,
    spares: WarmPool,
}

/// Which leftovers of dead processes to remove.
#[derive(Clone, Copy, Debug)]
pub enum Leftovers<'a> {
    /// Containers and directories of this run. Its images are kept, because it is resumed.
    Of(&'a RunId),
    /// Containers and directories of every run, and images of all runs of this data directory except these.
    AllBut(&'a [RunId]),
}

/// Number of removed leftovers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reaped {
    /// Containers.
    pub containers: usize,
    /// Images of both runtimes.
    pub images: usize,
    /// Docker volumes.
    pub volumes: usize,
    /// Directories of sandboxes and builds.
    pub dirs: usize,
}

impl Reaped {
    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Reaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.containers, "container"),
            (self.images, "image"),
            (self.volumes, "volume"),
            (self.dirs, "temporary directory"),
        ];
        let named = counts.iter().filter(|(count, _)| *count > 0).map(|(count, one)| match (count, *one) {
            (1, one) => format!("1 {one}"),
            (n, "temporary directory") => format!("{n} temporary directories"),
            (n, one) => format!("{n} {one}s"),
        });
        f.write_str(&named.collect::<Vec<_>>().join(", "))
    }
}

/// The chosen runtime.
enum ChosenRuntime {
    Docker(docker::Engine),
    Process(process::SandboxHost),
}

/// Input of a builder.
struct BuildInput {
    context: BuildContext,
    dockerfile: String,
}

impl BuildInput {
    /// The input for a build of `tree`. The inner error is the fault of the product.
    fn of(
        tree: &Tree,
        blobs: Arc<dyn Blobs>,
        (path, args): (&str, &BTreeMap<String, String>),
        cancel: &CancellationToken,
    ) -> Result<Result<Self, String>, Failure> {
        let Some(file) = tree.files.get(path) else {
            return Ok(Err(format!("the tree has no file `{path}`")));
        };
        if let Some(reason) = bounds::too_large(file.blob.size) {
            return Ok(Err(reason));
        }
        let dockerfile = match tree.text(&*blobs, path) {
            Ok(text) => text,
            Err(e @ TreeError::NotText { .. }) => return Ok(Err(e.to_string())),
            Err(e) => return Err(e.into()),
        };
        if let Some(reason) = bounds::exceeded(&dockerfile, args.iter()) {
            return Ok(Err(reason));
        }
        let ignored = match Ignored::of(tree, &*blobs)? {
            Ok(ignored) => ignored,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(tree) = ignored.leave(tree, path, cancel) else { return Err(Failure::cancelled()) };
        let special = [path, Ignored::FILE];
        let hidden = special.into_iter().filter(|path| ignored.hides(path)).map(ToOwned::to_owned).collect();
        Ok(Ok(Self { context: BuildContext { tree, hidden, blobs }, dockerfile }))
    }
}

impl Runtimes {
    /// Runtimes with these settings. Nothing is started or checked yet.
    pub fn new(settings: RuntimeSettings) -> Self {
        let (docker, live, spares) = Default::default();
        Self(Arc::new(RuntimesInner { settings, docker, live, spares }))
    }

    /// The settings.
    pub(in crate::runtime) fn settings(&self) -> &RuntimeSettings {
        &self.0.settings
    }

    /// Whether programs may run without a sandbox.
    pub fn allows_host(&self) -> bool {
        self.0.settings.allow_host
    }

    /// Whether commands of every Docker build may reach the network.
    pub fn builds_reach_out(&self) -> bool {
        self.0.settings.build_egress
    }

    /// A workspace for a step of `run`, with a sandbox if `commands` will be run in it. Without bubblewrap
    /// that is an error, unless commands may run without a sandbox.
    pub fn bench(&self, run: &RunId, commands: bool) -> Result<process::AgentWorkspace, Failure> {
        // Leftovers of a killed attempt of the same run are not needed any more.
        process::reap(&self.settings().data, Leftovers::Of(run), &mut Reaped::default());
        let bench = process::AgentWorkspace::new(self.settings(), run)?;
        if commands { bench.guarded(self.settings()) } else { Ok(bench) }
    }

    /// Builds an image from a tree. A build that fails is a report with `ok = false`.
    pub async fn build(
        &self,
        tree: &Tree,
        blobs: Arc<dyn Blobs>,
        options: &BuildOptions,
    ) -> Result<BuildReport, Failure> {
        let unbuilt = |reason: String| BuildReport {
            runtime: options.runtime.word().to_owned(),
            reason: Some(reason),
            ..BuildReport::default()
        };
        let chosen = self.choose(options.runtime).await?;
        let (tree, args, path) = (tree.clone(), options.args.clone(), options.dockerfile.clone());
        let given_up = CancellationToken::new();
        let (told, _guard) = (given_up.clone(), given_up.drop_guard());
        let sent = tokio::task::spawn_blocking(move || BuildInput::of(&tree, blobs, (&path, &args), &told));
        let sent = tokio::select! {
            sent = timeout(options.timeout, sent) => sent,
            () = options.cancel.cancelled() => return Err(Failure::cancelled()),
        };
        let sent = match sent {
            Ok(sent) => sent.map_err(|e| Failure::new(Class::Bug, format!("a build task failed: {e}")))??,
            Err(_) => Err(format!("the build did not finish within {:?}", options.timeout)),
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(reason) => return Ok(unbuilt(reason)),
        };
        match chosen {
            ChosenRuntime::Docker(engine) => {
                engine.build(sent.context, &sent.dockerfile, options, self.settings()).await
            }
            ChosenRuntime::Process(place) => place.build(sent.context, &sent.dockerfile, options).await,
        }
    }

    /// Starts a service and waits until it is ready, or until it is clear that it will not be. Both give a
    /// [`RunningService`], which must be passed to [`Runtimes::stop`]. Dropping the future stops
    /// everything.
    pub async fn start(&self, spec: &ServiceSpec) -> Result<RunningService, Failure> {
        self.start_with(spec, &|_| {}).await
    }

    /// Like [`Runtimes::start`]. `begun` receives the socket of its agent before the service is ready,
    /// because it may have to be reachable for that.
    pub(super) async fn start_with(
        &self,
        spec: &ServiceSpec,
        begun: &(dyn Fn(PathBuf) + Sync),
    ) -> Result<RunningService, Failure> {
        let kind =
            if spec.image.starts_with(process::PREFIX) { RuntimeKind::Process } else { RuntimeKind::Docker };
        let id = format!("svc-{}", unique_mark());
        let (runtime, boot) = match self.choose(kind).await? {
            ChosenRuntime::Docker(engine) => {
                let image = self.0.settings.images.of(&spec.image).to_owned();
                let spec = ServiceSpec { image, ..spec.clone() };
                ("docker", Box::pin(engine.start(&id, &spec, &self.0.settings)).await?)
            }
            ChosenRuntime::Process(place) => (place.word(), place.start(&id, spec).await?),
        };
        begun(boot.socket.clone());
        let guard = Abandoned(Some(boot.backend.clone()));
        let running = RunningService::boot(id.clone(), runtime, spec, boot).await?;
        if let Some(failure) = running.machine_fault().await {
            running.stop().await;
            return Err(failure);
        }
        guard.keep();
        self.live_ones().insert(id, running.clone());
        Ok(running)
    }

    /// Creates a volume; a sandbox can write to it as `user`.
    pub(super) async fn make_volume(
        &self,
        name: &str,
        tag: &OwnerTag,
        process: bool,
        user: u32,
    ) -> Result<(), Failure> {
        if process {
            return process::SandboxHost::find(&self.0.settings)?.make_volume(name, &tag.run, user);
        }
        self.docker().await?.make_volume(name, tag).await
    }

    /// Removes a volume.
    pub(super) async fn drop_volume(&self, name: &str, process: bool) {
        if process {
            if let Ok(place) = process::SandboxHost::find(&self.0.settings) {
                place.drop_volume(name);
            }
        } else if let Ok(engine) = self.docker().await {
            engine.drop_volume(name).await;
        }
    }

    /// Stops a service within a second and forgets it.
    pub async fn stop(&self, running: &RunningService) {
        self.live_ones().remove(running.id());
        running.stop().await;
    }

    /// The service with this id, while it runs.
    pub fn live(&self, id: &str) -> Option<RunningService> {
        self.live_ones().get(id).cloned()
    }

    /// The runtime that `kind` selects: `docker`, `process` or `host`.
    pub async fn choice(&self, kind: RuntimeKind) -> Result<&'static str, Failure> {
        Ok(match self.choose(kind).await? {
            ChosenRuntime::Docker(_) => "docker",
            ChosenRuntime::Process(place) => place.word(),
        })
    }

    /// Removes leftovers of dead processes. The next call retries those that cannot be removed.
    pub async fn reap(&self, leftovers: Leftovers<'_>) -> Reaped {
        let mut reaped = Reaped::default();
        process::reap(&self.0.settings.data, leftovers, &mut reaped);
        if let Ok(engine) = self.docker().await {
            engine.reap(leftovers, &mut reaped).await;
        }
        reaped
    }

    async fn docker(&self) -> Result<docker::Engine, Failure> {
        let settings = &self.0.settings;
        let connect = || docker::Engine::connect(settings.docker_host.as_deref(), &settings.data);
        let engine = self.0.docker.get_or_try_init(connect).await?;
        Ok(engine.clone())
    }

    async fn choose(&self, kind: RuntimeKind) -> Result<ChosenRuntime, Failure> {
        let place = || process::SandboxHost::find(&self.0.settings);
        match kind {
            RuntimeKind::Docker => self.docker().await.map(ChosenRuntime::Docker),
            RuntimeKind::Process => place().map(ChosenRuntime::Process),
            RuntimeKind::Auto => match self.docker().await {
                Ok(engine) => Ok(ChosenRuntime::Docker(engine)),
                Err(no_docker) => place().map(ChosenRuntime::Process).map_err(|none| {
                    Failure::permanent(format!(
                        "no runtime is available for services: {}; {}",
                        no_docker.message, none.message
                    ))
                    .hint("start a Docker daemon, or install bubblewrap (`apt-get install bubblewrap`)")
                }),
            },
        }
    }

    pub(super) fn spares(&self) -> &WarmPool {
        &self.0.spares
    }

    fn live_ones(&self) -> MutexGuard<'_, BTreeMap<String, RunningService>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops a service whose start was cancelled.
struct Abandoned(Option<Arc<dyn super::Backend>>);

impl Abandoned {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(backend) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { backend.stop().await });
        }
    }
}
