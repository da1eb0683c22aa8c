#![expect(
    clippy::disallowed_methods,
    reason = "waits for other processes: a socket, the last lines of a log"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, LogsOptionsBuilder, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::disk_watch::DiskWatch;
use super::network_sidecar::NetworkSidecar;
use super::{Engine, ours, status_of};
use crate::confine::{self, FILES_IN_MEMORY, Overrun};
use crate::relay::{self, Keepalive, Orders};
use crate::runtime::service::{self, Boot, Log, OwnerTag, RuntimeSettings, ServiceExit, ServiceSpec};
use crate::verb::{Class, Failure};

/// The empty image for the container of the agent.
const AGENT_IMAGE: &str = "atoll-agent:1";

/// The container of a service and that of its agent.
pub(super) struct ContainerPair {
    pub(super) engine: Engine,
    pub(super) service: String,
    pub(super) socket: PathBuf,
    keepalive: Mutex<Option<Keepalive>>,
    agent: Mutex<Option<String>>,
    holder: Option<NetworkSidecar>,
    exit: watch::Receiver<Option<ServiceExit>>,
    _dir: TempDir,
}

impl Engine {
    /// Starts a container and its agent.
    pub async fn start(
        &self,
        id: &str,
        spec: &ServiceSpec,
        settings: &RuntimeSettings,
    ) -> Result<Boot, Failure> {
        let dir = own_dir()?;
        let socket = dir.path().join("agent");
        self.agent_image().await?;
        let holder = match &spec.links {
            Some(links) => Some(self.hold_network(id, links, spec, settings).await?),
            None => None,
        };
        let body = body(spec, self, holder.as_ref().map(NetworkSidecar::container));
        let like = body.host_config.clone().unwrap_or_default();
        let service = match self.create(id, &spec.tag, body).await {
            Ok(service) => service,
            // The daemon rejects the configuration of the image, for example because it has no command.
            Err(e) if status_of(&e) == Some(400) => return Ok(Boot::never(spec, &e.to_string())),
            Err(e) if status_of(&e) == Some(404) => {
                return Err(Failure::permanent(format!("unknown image `{}`", spec.image))
                    .hint("build it with a `docker_build` step, or `docker pull` it"));
            }
            Err(e) => return Err(ours("create a container", &e)),
        };
        let (exited, exit) = watch::channel(None);
        let log = spec.log();
        let pair = Arc::new(ContainerPair {
            engine: self.clone(),
            service: service.clone(),
            socket: socket.clone(),
            keepalive: Mutex::new(None),
            agent: Mutex::new(None),
            holder,
            exit: exit.clone(),
            _dir: dir,
        });
        let abandoned = Removal(Some(pair.clone()));
        if let Err(reason) = self.furnish(&service, spec).await? {
            // `abandoned` removes the container.
            return Ok(Boot::never(spec, &reason));
        }
        let watched = self.begin_watch(&service, spec.disk).await;
        if let Err(e) = self.api.start_container(&service, None::<StartContainerOptions>).await {
            let text = e.to_string();
            // The daemon does not say who is at fault; a test with our own container and the same settings
            // shows it.
            let answered = status_of(&e).is_some();
            let (control, program) = (format!("{id}-control"), &settings.program);
            if !answered || !self.can_start(&control, &spec.tag, like, program).await {
                return Err(ours("start a container", &e));
            }
            log.push(format!("{text}\n").as_bytes());
            exited.send_replace(Some(ServiceExit {
                code: 127,
                cause: Some("its command cannot be started".to_owned()),
            }));
            abandoned.keep();
            return Ok(Boot { backend: pair, log, exit, socket });
        }
        tokio::spawn(watch_over(self.clone(), service, log.clone(), exited, watched));
        let joined = self.join(&pair, id, spec, settings).await;
        // Without the container there is nothing to join: the observation is that the product ended.
        if let Err(failure) = joined {
            let mut ended = exit.clone();
            let ended = timeout(Duration::from_secs(2), ended.wait_for(Option::is_some)).await.is_ok();
            if !ended {
                pair.remove().await;
                abandoned.keep();
                return Err(failure);
            }
        }
        abandoned.keep();
        Ok(Boot { backend: pair, log, exit, socket })
    }

    /// Whether our own container, without anything of a product, starts with the settings `host`.
    pub(super) async fn can_start(
        &self,
        name: &str,
        tag: &OwnerTag,
        host: HostConfig,
        program: &Path,
    ) -> bool {
        let Ok(dir) = own_dir() else { return false };
        if self.agent_image().await.is_err() {
            return false;
        }
        let control = ContainerCreateBody {
            image: Some(AGENT_IMAGE.to_owned()),
            entrypoint: words(&["/atoll"]),
            cmd: words(&["--version"]),
            host_config: Some(HostConfig { binds: Some(binds(dir.path(), program)), ..host }),
            ..ContainerCreateBody::default()
        };
        let Ok(control) = self.create(name, tag, control).await else { return false };
        let started = self.api.start_container(&control, None::<StartContainerOptions>).await.is_ok();
        self.drop_container(&control).await;
        started
    }

    pub(super) async fn create(
        &self,
        name: &str,
        tag: &OwnerTag,
        body: ContainerCreateBody,
    ) -> Result<String, Error> {
        let body = ContainerCreateBody { labels: Some(self.labels(tag)), ..body };
        let options = CreateContainerOptions {
            name: Some(format!("atoll-{name}")),
            ..CreateContainerOptions::default()
        };
        Ok(self.api.create_container(Some(options), body).await?.id)
    }

    /// Starts an agent in the namespaces of the service.
    async fn join(
        &self,
        pair: &ContainerPair,
        id: &str,
        spec: &ServiceSpec,
        settings: &RuntimeSettings,
    ) -> Result<(), Failure> {
        let dir = pair.socket.parent().unwrap_or(Path::new("/"));
        let network = pair.holder.as_ref().map_or(pair.service.as_str(), NetworkSidecar::container);
        let body = agent_body(&pair.service, network, dir, &settings.program)?;
        let agent = self.create(&format!("{id}-agent"), &spec.tag, body).await;
        let agent = agent.map_err(|e| ours("create the container of the agent", &e))?;
        *pair.agent.lock().unwrap_or_else(PoisonError::into_inner) = Some(agent.clone());
        let started = self.api.start_container(&agent, None::<StartContainerOptions>).await;
        started.map_err(|e| ours("start the container of the agent", &e))?;
        let mut exit = pair.exit.clone();
        let keepalive = tokio::select! {
            keepalive = call(&pair.socket) => keepalive?,
            _ = exit.wait_for(Option::is_some) => return Err(unanswered()),
        };
        *pair.keepalive.lock().unwrap_or_else(PoisonError::into_inner) = Some(keepalive);
        Ok(())
    }

    /// Creates the empty image, once.
    async fn agent_image(&self) -> Result<(), Failure> {
        if self.api.inspect_image(AGENT_IMAGE).await.is_ok() {
            return Ok(());
        }
        let mut tar = tar::Builder::new(Vec::new());
        let text = "made by atoll\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        let io = |e: std::io::Error| Failure::transient(format!("cannot pack the image of the agent: {e}"));
        tar.append_data(&mut header, "about", text.as_bytes()).map_err(io)?;
        let bytes = tar.into_inner().map_err(|e| Failure::transient(e.to_string()))?;
        let (name, version) = AGENT_IMAGE.split_once(':').unwrap_or((AGENT_IMAGE, "1"));
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(name).tag(version).build();
        let body = bollard::body_full(bytes.into());
        let mut stream = Box::pin(self.api.create_image(Some(options), Some(body), None));
        while let Some(said) = stream.next().await {
            said.map_err(|e| ours("create the image of the agent", &e))?;
        }
        Ok(())
    }
}

pub(super) fn own_dir() -> Result<TempDir, Failure> {
    let dir = tempfile::Builder::new().prefix("atoll-").tempdir();
    dir.map_err(|e| Failure::transient(format!("cannot create a directory: {e}")))
}

fn unanswered() -> Failure {
    Failure::transient("the agent of the container does not answer")
        .hint("the Docker daemon must run on this machine and see the same files as Atoll")
}

/// Connects to an agent that is about to listen at `socket`.
pub(super) async fn call(socket: &Path) -> Result<Keepalive, Failure> {
    let calls = async {
        loop {
            if let Ok(keepalive) = relay::keepalive(socket).await {
                return keepalive;
            }
            pause(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(15), calls).await.map_err(|_| unanswered())
}

async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

pub(super) fn words(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|word| (*word).to_owned()).collect())
}

fn body(spec: &ServiceSpec, engine: &Engine, holder: Option<&str>) -> ContainerCreateBody {
    let env = std::iter::once(format!("PORT={}", spec.port));
    let env = env.chain(spec.env.iter().map(|(name, value)| format!("{name}={value}"))).collect();
    #[expect(clippy::cast_possible_truncation, reason = "the number of processors is small")]
    let nano_cpus = (spec.cpus * 1e9) as i64;
    let memory = i64::try_from(spec.memory).unwrap_or(i64::MAX);
    let host = HostConfig {
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus),
        pids_limit: Some(i64::try_from(spec.pids).unwrap_or(i64::MAX)),
        cap_drop: words(&["ALL"]),
        security_opt: Some(security(engine)),
        init: Some(engine.init),
        network_mode: Some(
            holder.map_or_else(|| network(spec.egress), |holder| format!("container:{holder}")),
        ),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        ipc_mode: Some("private".to_owned()),
        tmpfs: Some(shared_memory(spec.mounts.iter().map(|mount| mount.at.as_path()))),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [("max-size".to_owned(), "16m".to_owned()), ("max-file".to_owned(), "2".to_owned())].into(),
            ),
        }),
        ..HostConfig::default()
    };
    let mut body = ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: spec.command.clone(),
        env: Some(env),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    if spec.command.is_some() {
        body.entrypoint = Some(Vec::new());
    }
    if spec.is_session() {
        body.entrypoint = words(&["sleep"]);
        body.cmd = words(&["2147483647"]);
    }
    body
}

/// The system call filter of sandboxes, if the daemon supports filters.
pub(super) fn security(engine: &Engine) -> Vec<String> {
    let filter = engine.seccomp.then(|| format!("seccomp={}", confine::docker_profile()));
    std::iter::once("no-new-privileges".to_owned()).chain(filter).collect()
}

pub(super) fn network(egress: bool) -> String {
    if egress { "bridge" } else { "none" }.to_owned()
}

/// A file system for shared memory for a container with volumes at `volumes`, because that of Docker does
/// not limit the number of files.
pub(super) fn shared_memory<'a>(mut volumes: impl Iterator<Item = &'a Path>) -> HashMap<String, String> {
    const AT: &str = "/dev/shm";
    if volumes.any(|at| at == Path::new(AT)) {
        return HashMap::new();
    }
    let options = format!("mode=1777,size={},nr_inodes={FILES_IN_MEMORY}", 64 << 20);
    [(AT.to_owned(), options)].into()
}

fn mount(mount: &service::VolumeMount) -> bollard::models::Mount {
    bollard::models::Mount {
        typ: Some(bollard::models::MountType::VOLUME),
        source: Some(mount.volume.clone()),
        target: Some(mount.at.display().to_string()),
        // Empty at first, whatever the image has there.
        volume_options: Some(bollard::models::MountVolumeOptions {
            no_copy: Some(true),
            ..bollard::models::MountVolumeOptions::default()
        }),
        ..bollard::models::Mount::default()
    }
}

/// What our own container sees of this machine: `dir`, this program, and its libraries, because the image
/// of a product may have others or none.
pub(super) fn binds(dir: &Path, program: &Path) -> Vec<String> {
    let mut binds = vec![format!("{}:/agent", dir.display()), format!("{}:/atoll:ro", program.display())];
    let system = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    binds.extend(system.map(|path| format!("{path}:{path}:ro")));
    binds
}

fn agent_body(
    service: &str,
    network: &str,
    dir: &Path,
    program: &Path,
) -> Result<ContainerCreateBody, Failure> {
    let orders = Orders { listen: Some(PathBuf::from("/agent/agent")), ..Orders::default() };
    let host = HostConfig {
        binds: Some(binds(dir, program)),
        network_mode: Some(format!("container:{network}")),
        pid_mode: Some(format!("container:{service}")),
        // To find and end the processes of a late command under any user, and to write the socket into a
        // directory of another user.
        cap_add: words(&["KILL", "SYS_PTRACE", "DAC_OVERRIDE"]),
        ..HostConfig::default()
    };
    container_of_ours(&orders, host)
}

/// A small container with the settings `host`, in which only an agent with `orders` runs.
pub(super) fn container_of_ours(orders: &Orders, host: HostConfig) -> Result<ContainerCreateBody, Failure> {
    let orders = serde_json::to_string(orders).map_err(|e| {
        Failure::new(Class::Bug, format!("the orders of the agent cannot be written as JSON: {e}"))
    })?;
    let host = HostConfig {
        cap_drop: words(&["ALL"]),
        security_opt: words(&["no-new-privileges", "apparmor=unconfined"]),
        pids_limit: Some(64),
        memory: Some(128 << 20),
        ..host
    };
    Ok(ContainerCreateBody {
        image: Some(AGENT_IMAGE.to_owned()),
        entrypoint: words(&["/atoll"]),
        cmd: words(&[relay::WORD, &orders]),
        env: Some(relay::ENVIRONMENT.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        user: Some("0:0".to_owned()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

/// Follows the output and the end of the container.
async fn watch_over(
    engine: Engine,
    service: String,
    log: Log,
    exited: watch::Sender<Option<ServiceExit>>,
    watched: DiskWatch,
) {
    let mut overrun: Option<Overrun> = None;
    let ended_early = async {
        overrun = Some(engine.overrun(watched).await);
        engine.kill_now(&service).await;
        std::future::pending::<()>().await;
    };
    let follow = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
    let output = async {
        let mut lines = Box::pin(engine.api.logs(&service, Some(follow)));
        while let Some(Ok(line)) = lines.next().await {
            log.push(line.as_ref());
        }
    };
    let end = async {
        let mut waited = Box::pin(engine.api.wait_container(&service, None::<WaitContainerOptions>));
        match waited.next().await {
            Some(Ok(answer)) => answer.status_code,
            Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
            _ => 137,
        }
    };
    // Its last output may arrive before or after its end.
    let last_words = CancellationToken::new();
    let output = async {
        tokio::select! {
            () = output => {}
            () = async { last_words.cancelled().await; pause(Duration::from_secs(1)).await } => {}
        }
    };
    let end = async {
        let code = end.await;
        last_words.cancel();
        code
    };
    let ((), code) = tokio::select! {
        ended = async { tokio::join!(output, end) } => ended,
        () = ended_early => ((), 137),
    };
    let state = engine
        .api
        .inspect_container(&service, None::<bollard::query_parameters::InspectContainerOptions>)
        .await;
    let killed = state.ok().and_then(|c| c.state).and_then(|state| state.oom_killed).unwrap_or_default();
    let cause = if overrun.is_some() {
        overrun
    } else if killed {
        Some("it exceeded its memory limit".to_owned())
    } else {
        (code > 128).then(|| format!("signal {}", code - 128))
    };
    exited.send_replace(Some(ServiceExit { code, cause }));
}

impl ContainerPair {
    /// Asks the service to end, then removes both containers, within a second.
    pub(super) async fn remove(&self) {
        if self.exit.borrow().is_none() {
            let term =
                bollard::query_parameters::KillContainerOptionsBuilder::new().signal("SIGTERM").build();
            let _ = self.engine.api.kill_container(&self.service, Some(term)).await;
            let mut exit = self.exit.clone();
            let _ = timeout(Duration::from_millis(400), exit.wait_for(Option::is_some)).await;
        }
        drop(self.keepalive.lock().unwrap_or_else(PoisonError::into_inner).take());
        let agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let service = self.engine.drop_container(&self.service);
        let agent = async {
            if let Some(agent) = agent {
                self.engine.drop_container(&agent).await;
            }
        };
        tokio::join!(service, agent);
        // Its network is removed last.
        if let Some(holder) = &self.holder {
            holder.remove().await;
        }
    }
}

/// Removes a pair whose start was cancelled.
struct Removal(Option<Arc<ContainerPair>>);

impl Removal {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        if let Some(pair) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { pair.remove().await });
        }
    }
}
