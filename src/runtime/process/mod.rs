//! Services as local processes in bubblewrap, for machines without Docker, from the same tree and the part
//! of its Dockerfile that needs no container. A sandbox sees the programs of the system, its own files and
//! its own loopback interface, and nothing else. This module does not know Docker. Start with
//! [`SandboxHost`], then `sandbox`. `build` carries out the Dockerfile. Differences to a container: the
//! base image is the system of this machine, read-only; `RUN` has no network and can write only to its own
//! directories; memory is limited per process, not in total.

mod agent_workspace;
mod build;
mod disk;
mod dockerfile;
mod host;
mod line_process;
mod missing;
mod mounts;
mod pid_namespace;
mod prepare_fs;
mod sandbox;
mod spawner;

pub use agent_workspace::{AgentWorkspace, WORK};
pub use host::Host;
pub use line_process::{LineProcess, ProgramIsolation, installed};
pub use sandbox::own_user;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::confine::FILES;
use crate::id::RunId;
use crate::relay::{
    self, ExecReport, ExecSpec, Limits, Orders, RelayProgram, TerminalHandle, TerminalSpec, Tunnel,
};
use crate::rooted_fs::{CopyLimits, RootedFs, blocking, is_machine_fault};
use crate::runtime::service::{
    Backend, BackendFuture, Boot, Leftovers, Log, Reaped, RuntimeSettings, ServiceSpec,
};
use crate::verb::Failure;

use prepare_fs::furnish;
use sandbox::{Sandbox, SandboxPlan, SandboxSharing};

/// Prefix of the names of images of this runtime.
pub const PREFIX: &str = "process:";

/// The subdirectory of a volume that services see.
const DATA: &str = "data";

const LARGEST_FILE: u64 = 1 << 30;

/// A machine on which processes can be sandboxed, or may run without a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxHost {
    bwrap: Option<PathBuf>,
    settings: RuntimeSettings,
}

/// Metadata that a build stores next to the file system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct ProcessImage {
    argv: Vec<String>,
    env: IndexMap<String, String>,
    cwd: PathBuf,
    placed: BTreeSet<PathBuf>,
    log: String,
    /// Base image in the Dockerfile.
    base: String,
    /// Bytes that `COPY` has added.
    copied: u64,
}

/// Time limit for copying an image; only images with far too many files need longer.
const COPYING: Duration = Duration::from_secs(300);

/// Why a sandbox did not start.
enum Unstarted {
    /// Because of the content of the image.
    Image(String),
    /// Because of this machine.
    Machine(Failure),
}

/// Most files and bytes of an image that a service is started with.
const LARGEST_IMAGE: CopyLimits = CopyLimits { entries: 1_000_000, bytes: 16 << 30 };

impl SandboxHost {
    /// Searches for bubblewrap. Without it, this is an error unless the settings allow runs without a
    /// sandbox.
    pub fn find(settings: &RuntimeSettings) -> Result<Self, Failure> {
        let bwrap = disk::on_path("bwrap");
        if bwrap.is_none() && !settings.allow_host {
            return Err(Failure::permanent(
                "bubblewrap (`bwrap`) is not installed, so no process can be sandboxed",
            )
            .hint("install it (`apt-get install bubblewrap`), or allow unsandboxed runs with --allow-host"));
        }
        Ok(Self { bwrap, settings: settings.clone() })
    }

    /// `process`, or `host` if there is no sandbox.
    pub fn word(&self) -> &'static str {
        if self.bwrap.is_some() { "process" } else { "host" }
    }

    fn home(&self) -> PathBuf {
        self.settings.data.join("process")
    }

    /// Directory of the image `key`. The name depends on the user's key, so that a project cannot bring its
    /// own images.
    fn image_home(&self, key: &str) -> PathBuf {
        self.home()
            .join("images")
            .join(self.settings.seal.code([b"image".as_slice(), key.as_bytes()]).to_string())
    }

    /// Starts a sandbox with the file system `root` of a product. If it does not start, a test with an
    /// empty file system shows whether this machine or the product is at fault.
    async fn sandbox(
        &self,
        root: &Path,
        placed: &BTreeSet<PathBuf>,
        outside: &SandboxSharing<'_>,
        orders: Orders,
    ) -> Result<Sandbox, Unstarted> {
        let first = match self.try_sandbox(root, placed, outside, orders.clone()).await {
            Ok(sandbox) => return Ok(sandbox),
            Err(first) => first,
        };
        if is_machine_fault(&first) || !self.can_start(outside, &orders).await {
            return Err(Unstarted::Machine(ours(first)));
        }
        let again = self.try_sandbox(root, placed, outside, orders).await;
        again.map_err(|e| Unstarted::Image(e.to_string()))
    }

    async fn try_sandbox(
        &self,
        root: &Path,
        placed: &BTreeSet<PathBuf>,
        outside: &SandboxSharing<'_>,
        mut orders: Orders,
    ) -> io::Result<Sandbox> {
        if self.bwrap.is_none() {
            let inside = |program: &mut RelayProgram| {
                program.cwd = root.join(program.cwd.strip_prefix("/").unwrap_or(Path::new("")));
            };
            orders.main.iter_mut().for_each(inside);
            inside(&mut orders.session);
            orders.limits = Limits::default();
        }
        let plan = SandboxPlan {
            bwrap: self.bwrap.as_deref(),
            program: &self.settings.program,
            root,
            placed,
            readable: &self.settings.readable,
            outside,
        };
        if plan.bwrap.is_some() {
            mounts::prepare(&sandbox::arguments(&plan, &orders.doors, false)).await?;
        }
        Sandbox::start(&plan, orders).await
    }

    /// Whether a sandbox with an empty file system and the same settings starts here.
    async fn can_start(&self, outside: &SandboxSharing<'_>, orders: &Orders) -> bool {
        let outside = SandboxSharing { log: Log::default(), volumes: outside.volumes.clone(), ..*outside };
        let orders = Orders {
            limits: orders.limits,
            user: orders.user,
            doors: orders.doors.clone(),
            session: RelayProgram { cwd: "/".into(), ..RelayProgram::default() },
            ..Orders::default()
        };
        let Some((sandbox, dir)) = self.empty(&outside, orders).await else { return false };
        let ended = sandbox.stop().await;
        disk::remove_off(&dir).await;
        ended.is_ok()
    }

    /// Runs our own command in a sandbox with an empty file system.
    async fn run_alone(&self, spec: ExecSpec) -> Option<ExecReport> {
        let env = [("PATH".to_owned(), agent_workspace::PATH.to_owned())].into();
        let session = RelayProgram { argv: Vec::new(), env, cwd: "/".into() };
        let orders = Orders { session, ..Orders::default() };
        let (sandbox, dir) = self.empty(&SandboxSharing::default(), orders).await?;
        let report = exec(&sandbox.socket, spec).await;
        let _ = sandbox.stop().await;
        disk::remove_off(&dir).await;
        report.ok()
    }

    async fn empty(&self, outside: &SandboxSharing<'_>, orders: Orders) -> Option<(Sandbox, PathBuf)> {
        let dir = self.home().join("live").join(format!("empty-{}", relay::unique_mark()));
        let root = dir.join("root");
        let made = disk::claim(&dir, &RunId::new("none")).and_then(|()| RootedFs::create(&root));
        let sandbox = match made {
            Ok(_) => self.try_sandbox(&root, &BTreeSet::new(), outside, orders).await.ok(),
            Err(_) => None,
        };
        if sandbox.is_none() {
            disk::remove_off(&dir).await;
        }
        sandbox.map(|sandbox| (sandbox, dir))
    }

    fn volume(&self, name: &str) -> PathBuf {
        self.home().join("live").join(name)
    }

    /// Creates a volume that services of `user` can write to.
    pub fn make_volume(&self, name: &str, run: &RunId, user: u32) -> Result<(), Failure> {
        let dir = self.volume(name);
        let made = disk::claim(&dir, run).and_then(|()| RootedFs::create(&dir.join(DATA)));
        let made = made.map_err(ours)?;
        if self.bwrap.is_some() && nix::unistd::geteuid().is_root() {
            // It is still empty.
            made.give(user, &CancellationToken::new()).map_err(ours)?;
        }
        Ok(())
    }

    /// Removes a volume with its content.
    pub fn drop_volume(&self, name: &str) {
        disk::remove(&self.volume(name));
    }

    /// Starts a service in a fresh copy of its image.
    pub async fn start(&self, id: &str, spec: &ServiceSpec) -> Result<Boot, Failure> {
        if self.bwrap.is_none() && (spec.links.is_some() || !spec.mounts.is_empty()) {
            return Err(Failure::permanent(
                "without a sandbox, a service cannot have sidecars, volumes or a list of hosts",
            )
            .hint("install bubblewrap (`apt-get install bubblewrap`), or use Docker"));
        }
        if spec.egress && spec.links.is_some() {
            return Err(Failure::permanent(
                "a service with full network access cannot reach other services by name",
            )
            .hint("list the hosts that it may reach: `egress = [\"api.example.com:443\"]`"));
        }
        let key = spec.image.strip_prefix(PREFIX).unwrap_or(&spec.image);
        let home = self.image_home(key);
        let image = disk::read(&home.join("image.json"))
            .ok()
            .and_then(|text| serde_json::from_slice::<ProcessImage>(&text).ok());
        let Some(mut image) = image.filter(|_| crate::value::Digest::parse(key).is_some()) else {
            return Err(Failure::permanent(format!("unknown image {}", spec.image))
                .hint("build it again with a `docker_build` step; images of this runtime stay on the machine that built them"));
        };
        let user = nix::unistd::geteuid();
        let user = if user.is_root() { spec.user.unwrap_or_else(own_user) } else { user.as_raw() };
        let dir = self.home().join("live").join(id);
        let kept = ServiceDir(Some(dir.clone()));
        disk::claim(&dir, &spec.tag.run).map_err(ours)?;
        let root = dir.join("root");
        let prepared = timeout(COPYING, prepare(&home, &root, spec, user, &mut image.placed)).await;
        let prepared = prepared.unwrap_or_else(|_| {
            Err(io::Error::other(format!("its files could not be copied within {COPYING:?}")))
        });
        if let Err(e) = prepared {
            if is_machine_fault(&e) {
                return Err(ours(e));
            }
            return Ok(Boot::never(spec, &format!("its image cannot be used: {e}")));
        }
        let mut env = image.env.clone();
        env.insert("PORT".to_owned(), spec.port.to_string());
        env.extend(spec.env.clone());
        image.argv = spec.command.clone().unwrap_or(image.argv);
        let session = RelayProgram { argv: Vec::new(), env, cwd: image.cwd.clone() };
        let main = (!spec.is_session()).then(|| RelayProgram { argv: image.argv.clone(), ..session.clone() });
        let limits = Limits {
            memory: Some(spec.memory),
            pids: Some(spec.pids),
            cpus: Some(spec.cpus),
            file: Some(LARGEST_FILE),
            disk: Some(spec.disk),
            files: Some(FILES),
        };
        let doors = spec.links.iter().flat_map(|links| &links.doors);
        let doors =
            doors.map(|door| Tunnel { to: sandbox::doors_dir().join(&door.to), ..door.clone() }).collect();
        let orders = Orders { user: Some(user), limits, doors, main, session, ..Orders::default() };
        let outside = SandboxSharing {
            network: spec.egress,
            doors: spec.links.as_ref().map(|links| links.dir.as_path()),
            volumes: spec
                .mounts
                .iter()
                .map(|mount| (self.volume(&mount.volume).join(DATA), mount.at.clone()))
                .collect(),
            log: spec.log(),
            counts_all: false,
            disposable: true,
        };
        let sandbox = match self.sandbox(&root, &image.placed, &outside, orders).await {
            Ok(sandbox) => sandbox,
            Err(Unstarted::Machine(failure)) => return Err(failure),
            Err(Unstarted::Image(reason)) => return Ok(Boot::never(spec, &reason)),
        };
        let (log, exit, socket) = (sandbox.log.clone(), sandbox.exit.clone(), sandbox.socket.clone());
        let inside = SandboxedService { sandbox, dir, place: self.clone(), image, lacks: Mutex::default() };
        kept.keep();
        Ok(Boot { backend: Arc::new(inside), log, exit, socket })
    }
}

/// The directory of a service that is not running yet. Removed on drop unless it is kept.
struct ServiceDir(Option<PathBuf>);

impl ServiceDir {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for ServiceDir {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            disk::remove_dropped(dir);
        }
    }
}

/// Creates a fresh copy of the file system of an image for a service.
async fn prepare(
    home: &Path,
    root: &Path,
    spec: &ServiceSpec,
    user: u32,
    placed: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let (from, to, spec, mut seen) =
        (home.join("root"), root.to_owned(), spec.clone(), std::mem::take(placed));
    *placed = blocking(move |cancel| {
        let to = RootedFs::create(&to)?;
        RootedFs::open(&from)?.copy_to(&to, LARGEST_IMAGE, cancel)?;
        furnish(&to, &spec, user, &mut seen)?;
        Ok(seen)
    })
    .await?;
    Ok(())
}

/// A running sandbox and its directory.
struct SandboxedService {
    sandbox: Sandbox,
    dir: PathBuf,
    place: SandboxHost,
    image: ProcessImage,
    /// Failure that a command in it has revealed: something that this machine lacks.
    lacks: Mutex<Option<Failure>>,
}

impl SandboxedService {
    /// The failure behind an end if this machine lacks something that the base image has.
    async fn lacking(&self, argv: &[String], said: &str) -> Option<Failure> {
        let root = self.dir.join("root");
        let started =
            missing::StartedCommand { base: &self.image.base, root: &root, cwd: &self.image.cwd, argv };
        missing::of_machine(&self.place, &started, said).await
    }

    fn lacks(&self) -> MutexGuard<'_, Option<Failure>> {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for SandboxedService {
    fn exec(&self, spec: ExecSpec) -> BackendFuture<'_, Result<ExecReport, Failure>> {
        Box::pin(async move {
            let argv = spec.argv.clone();
            let report = exec(&self.sandbox.socket, spec).await?;
            if report.exit_code.is_some_and(|code| code != 0) {
                let said = String::from_utf8_lossy(&report.stderr);
                if let Some(failure) = self.lacking(&argv, &said).await {
                    self.lacks().get_or_insert(failure);
                }
            }
            Ok(report)
        })
    }

    fn lacked(&self) -> Option<Failure> {
        self.lacks().clone()
    }

    fn terminal(&self, spec: TerminalSpec) -> BackendFuture<'_, Result<TerminalHandle, Failure>> {
        Box::pin(async move {
            // A screen is not a reliable source, so the program is searched before it starts.
            let first = spec.line.split_whitespace().next().unwrap_or_default().to_owned();
            if let Some(failure) = self.lacking(&[first], "").await {
                self.lacks().get_or_insert(failure);
            }
            let opened = relay::terminal(&self.sandbox.socket, spec).await;
            opened
                .map_err(|e| no_answer(&e))?
                .map_err(|why| Failure::permanent(format!("there is no terminal: {why}")))
        })
    }

    fn stop(&self) -> BackendFuture<'_, ()> {
        Box::pin(async move {
            // If processes do not end, the directory is left for a later process to remove.
            let _ = self.sandbox.stop().await;
            disk::remove_off(&self.dir).await;
        })
    }

    fn machine_fault(&self) -> BackendFuture<'_, Option<Failure>> {
        Box::pin(async move {
            let said = self.sandbox.log.tail(16 << 10);
            self.lacking(&self.image.argv, &said).await
        })
    }
}

impl Drop for SandboxedService {
    fn drop(&mut self) {
        disk::remove_dropped(&self.dir);
    }
}

/// Extra time for the report of a command after its time limit: the product may have stopped the agent,
/// which is in the same sandbox.
const REPORT: Duration = Duration::from_secs(5);

async fn exec(socket: &Path, spec: ExecSpec) -> Result<ExecReport, Failure> {
    let program = spec.argv.first().cloned().unwrap_or_default();
    let patience = spec.timeout.saturating_add(REPORT);
    match timeout(patience, relay::exec(socket, spec)).await {
        Ok(Ok(Ok(report))) => Ok(report),
        // The exit code that a shell uses for a program that cannot be started.
        Ok(Ok(Err(why))) => Ok(ExecReport {
            exit_code: Some(127),
            stderr: format!("{program}: {why}\n").into_bytes(),
            ..ExecReport::default()
        }),
        Ok(Err(e)) => Err(no_answer(&e)),
        Err(_) => Ok(ExecReport {
            timed_out: true,
            duration_ms: crate::clock::millis(patience),
            ..ExecReport::default()
        }),
    }
}

fn no_answer(e: &io::Error) -> Failure {
    Failure::transient(format!("the sandbox does not answer: {e}"))
}

/// A failure that is not the fault of the product: a full disk, or a sandbox that cannot be created.
fn ours(e: impl Into<io::Error>) -> Failure {
    let e = e.into();
    let failure = Failure::transient(format!("cannot run a process: {e}"));
    match e.kind() {
        io::ErrorKind::StorageFull => failure.hint("free some disk space"),
        _ => failure.hint("check whether sandboxes work here: `bwrap --unshare-all --ro-bind / / true`"),
    }
}

/// Removes leftovers of dead processes in `data`: directories, and images that no run needs.
pub fn reap(data: &Path, leftovers: Leftovers<'_>, reaped: &mut Reaped) {
    let home = data.join("process");
    let run = match leftovers {
        Leftovers::Of(run) => Some(run),
        Leftovers::AllBut(_) => None,
    };
    disk::yielding(|| {
        reaped.dirs += disk::reap(&home.join("live"), run) + disk::reap(&home.join("builds"), run);
        if let Leftovers::AllBut(kept) = leftovers {
            reaped.images += disk::reap_unused(&home.join("images"), kept);
        }
    });
}
