use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Images, Log};
use crate::id::{Address, RunId};
use crate::relay::Tunnel;
use crate::rooted_fs::FileStatus;
use crate::value::Seal;

/// Runtime for services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// Docker if its daemon answers, otherwise a sandboxed process.
    #[default]
    Auto,
    /// A container.
    Docker,
    /// A local process inside bubblewrap.
    Process,
}

impl RuntimeKind {
    /// Keyword in pipelines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// Settings of the runtimes, from the composition root.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// Whether programs may run without a sandbox if bubblewrap is missing.
    pub allow_host: bool,
    /// Address of the Docker daemon: `unix:///path`; by default the standard socket.
    pub docker_host: Option<String>,
    /// File of this program, which is also started as the agent.
    pub program: PathBuf,
    /// Directory for prepared file systems.
    pub data: PathBuf,
    /// Directories of the machine that sandboxed programs may read, in addition to those of the system.
    pub readable: Vec<PathBuf>,
    /// Replacements for images.
    pub images: Images,
    /// Whether commands of every Docker build may reach the network.
    pub build_egress: bool,
    /// Key of the user: prepared file systems of others are not used.
    pub seal: Seal,
}

impl RuntimeSettings {
    /// Default settings: nothing allowed, the standard socket, `data` for prepared file systems and
    /// `program` as the agent.
    pub fn new(program: PathBuf, data: PathBuf) -> Self {
        Self {
            allow_host: false,
            docker_host: None,
            program,
            data,
            readable: Vec::new(),
            images: Images::default(),
            build_egress: false,
            seal: Seal::new(b""),
        }
    }
}

/// Owner of containers, images and directories, as recorded on them.
#[derive(Clone, Debug)]
pub struct OwnerTag {
    /// The run.
    pub run: RunId,
    /// The step instance.
    pub address: Address,
}

/// Options of a build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Runtime to build with.
    pub runtime: RuntimeKind,
    /// Path of the Dockerfile in the tree.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Time limit of the build.
    pub timeout: Duration,
    /// Memory limit of each command, in bytes.
    pub memory: u64,
    /// Size limit of the image, in bytes.
    pub disk: u64,
    /// Whether its commands may reach the network, in Docker.
    pub egress: bool,
    /// Owner of the image.
    pub tag: OwnerTag,
    /// Cancels the build and removes its leftovers.
    pub cancel: CancellationToken,
}

/// Result of a build. A failed build is an observation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BuildReport {
    /// Whether there is an image.
    pub ok: bool,
    /// Image for `service`: a Docker image id, or `process:` and a digest.
    pub image: Option<String>,
    /// `docker`, `process`, or `host` for a process without a sandbox.
    pub runtime: String,
    /// Beginning and end of the build output.
    pub log: String,
    /// Exit code of the failed command, if there was one.
    pub exit_code: Option<i64>,
    /// Why it failed, in one line.
    pub reason: Option<String>,
    /// Duration in milliseconds.
    pub duration_ms: u64,
}

/// Condition under which a service is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadinessCheck {
    /// This path returns a status below 500.
    Http(String),
    /// Its port accepts connections.
    #[default]
    Tcp,
    /// Its log matches this regular expression.
    Log(String),
    /// This command line, run in the service, ends with exit code 0.
    Command(String),
    /// None: the service is ready at once. Without a command it is a session, in which only `exec` runs
    /// programs.
    None,
}

/// A file or link that is created before the service starts.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Absolute path.
    pub path: PathBuf,
    /// Kind and content.
    pub what: PlacedAs,
}

/// Kind of a placed file.
#[derive(Clone, Debug)]
pub enum PlacedAs {
    /// A regular file.
    File {
        /// Content.
        bytes: Arc<[u8]>,
        /// Whether it gets mode 0755 instead of 0644.
        executable: bool,
        /// In a sandbox, permissions and time to use instead.
        status: Option<FileStatus>,
    },
    /// A directory, with its permissions and time in a sandbox. Its content is placed before it.
    Dir(FileStatus),
    /// A symbolic link, resolved in the service.
    Link(PathBuf),
}

/// A mounted volume of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// Name of the volume in its runtime.
    pub volume: String,
    /// Absolute mount path in the service.
    pub at: PathBuf,
}

/// Links of a service to others by name, through tunnels, without a network.
#[derive(Clone, Debug, Default)]
pub struct ServiceLinks {
    /// Loopback addresses by name.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Tunnels at these addresses; socket paths are relative to `dir`.
    pub doors: Vec<Tunnel>,
    /// Directory with the sockets on this machine.
    pub dir: PathBuf,
}

/// A service to run, with its limits.
#[derive(Clone)]
pub struct ServiceSpec {
    /// Image from a build.
    pub image: String,
    /// Command that replaces that of the image.
    pub command: Option<Vec<String>>,
    /// Environment variables in addition to those of the image.
    pub env: IndexMap<String, String>,
    /// Port on which it listens, which it receives as `PORT`.
    pub port: u16,
    /// Additional ports on which it listens.
    pub ports: Vec<u16>,
    /// Readiness check.
    pub ready: ReadinessCheck,
    /// Port for the readiness check, if it is not `port`.
    pub ready_port: Option<u16>,
    /// Time limit for becoming ready.
    pub within: Duration,
    /// Memory limit in bytes.
    pub memory: u64,
    /// Limit for written bytes on disk, in addition to the image.
    pub disk: u64,
    /// Number of processors.
    pub cpus: f64,
    /// Limit for processes and threads.
    pub pids: u64,
    /// Whether it may reach the network.
    pub egress: bool,
    /// Files to create before the start.
    pub files: Vec<Placed>,
    /// Mounted volumes.
    pub mounts: Vec<VolumeMount>,
    /// Links to other services.
    pub links: Option<ServiceLinks>,
    /// User id in a sandbox; by default a new one.
    pub user: Option<u32>,
    /// Log for its output; by default a new one.
    pub log: Option<Log>,
    /// Owner.
    pub tag: OwnerTag,
}

impl ServiceSpec {
    /// A service of `image` with default limits: port 8080, which must accept connections within 30 s, 512
    /// MiB of memory, 1 GiB of disk, one processor, 256 processes, no network.
    pub fn new(image: impl Into<String>, tag: OwnerTag) -> Self {
        Self {
            image: image.into(),
            command: None,
            env: IndexMap::new(),
            port: 8080,
            ports: Vec::new(),
            ready: ReadinessCheck::Tcp,
            ready_port: None,
            within: Duration::from_secs(30),
            memory: 512 << 20,
            disk: 1 << 30,
            cpus: 1.0,
            pids: 256,
            egress: false,
            files: Vec::new(),
            mounts: Vec::new(),
            links: None,
            user: None,
            log: None,
            tag,
        }
    }

    /// All ports on which it listens.
    pub fn all_ports(&self) -> impl Iterator<Item = u16> {
        let others = self.ports.iter().copied().filter(|port| *port != self.port);
        std::iter::once(self.port).filter(|_| !self.is_session()).chain(others)
    }

    /// The log for its output.
    pub fn log(&self) -> Log {
        self.log.clone().unwrap_or_default()
    }

    /// Whether only `exec` runs programs in it.
    pub fn is_session(&self) -> bool {
        self.ready == ReadinessCheck::None && self.command.is_none()
    }
}

/// Omits the environment and files, which may contain secrets.
impl std::fmt::Debug for ServiceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceSpec")
            .field("image", &self.image)
            .field("port", &self.port)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
