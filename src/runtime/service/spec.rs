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

/// What runs services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// Docker where its daemon answers, else a sandboxed process.
    #[default]
    Auto,
    /// A container.
    Docker,
    /// A local process inside bubblewrap.
    Process,
}

impl RuntimeKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Docker => "docker",
            Self::Process => "process",
        }
    }
}

/// What the runtimes are told once, at the composition root.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// Whether programs may run without any sandbox where bubblewrap is missing.
    pub allow_host: bool,
    /// The Docker daemon: `unix:///path`; the usual socket where none is named.
    pub docker_host: Option<String>,
    /// This program's own file, which is started again as the agent.
    pub program: PathBuf,
    /// Where prepared file systems are kept.
    pub data: PathBuf,
    /// Directories of the machine that sandboxed programs may read on top of the system's own.
    pub readable: Vec<PathBuf>,
    /// Images that are used in place of others.
    pub images: Images,
    /// Whether commands of every Docker build may reach the network.
    pub build_egress: bool,
    /// The user's key: prepared file systems of others are not used.
    pub seal: Seal,
}

impl RuntimeSettings {
    /// Nothing allowed, the usual socket, `data` for prepared file systems and `program` as the agent.
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

/// Whom something belongs to: written on containers, images and directories.
#[derive(Clone, Debug)]
pub struct OwnerTag {
    /// The run.
    pub run: RunId,
    /// The step instance.
    pub address: Address,
}

/// How to build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// With what.
    pub runtime: RuntimeKind,
    /// Path of the Dockerfile in the tree.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// After how long the build is given up.
    pub timeout: Duration,
    /// Bytes of memory that each command of it may use.
    pub memory: u64,
    /// Bytes that the image may take on the disk.
    pub disk: u64,
    /// Whether its commands may reach the network, in Docker.
    pub egress: bool,
    /// Whom the image belongs to.
    pub tag: OwnerTag,
    /// Ends the build early, with nothing left of it.
    pub cancel: CancellationToken,
}

/// How a build went. A build that fails is an observation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BuildReport {
    /// Whether there is an image.
    pub ok: bool,
    /// What `service` takes: a Docker image id, or `process:` and a digest.
    pub image: Option<String>,
    /// `docker`, `process`, or `host` for a process without a sandbox.
    pub runtime: String,
    /// What the build said: its beginning and its end.
    pub log: String,
    /// Exit code of the command that failed, where one did.
    pub exit_code: Option<i64>,
    /// Why it failed, in one line.
    pub reason: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// When a service counts as up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadinessCheck {
    /// This path answers with a status below 500.
    Http(String),
    /// Its port accepts connections.
    #[default]
    Tcp,
    /// Its log matches this regular expression.
    Log(String),
    /// This command line, run inside, ends with exit code 0.
    Command(String),
    /// At once. Without a command of its own the service is a session: nothing but what `exec` runs in it.
    None,
}

/// A file or link that is there before the service starts.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its absolute path.
    pub path: PathBuf,
    /// What is there.
    pub what: PlacedAs,
}

/// What is placed.
#[derive(Clone, Debug)]
pub enum PlacedAs {
    /// A regular file.
    File {
        /// Its content.
        bytes: Arc<[u8]>,
        /// Whether it gets mode 0755 instead of 0644.
        executable: bool,
        /// In a sandbox, the permissions and time that it gets in place of that.
        status: Option<FileStatus>,
    },
    /// A directory, with its permissions and time in a sandbox. What is below it has been placed before.
    Dir(FileStatus),
    /// A symbolic link, which leads to what the service sees there.
    Link(PathBuf),
}

/// A volume that a service sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// The volume, by the name that its runtime knows.
    pub volume: String,
    /// The absolute path at which the service sees it.
    pub at: PathBuf,
}

/// How a service reaches others: by name, through doors, while it has no network.
#[derive(Clone, Debug, Default)]
pub struct ServiceLinks {
    /// Addresses of its own loopback by name.
    pub names: Vec<(String, Ipv4Addr)>,
    /// What listens at these addresses; the sockets are named by their path in `dir`.
    pub doors: Vec<Tunnel>,
    /// Where the sockets are on this machine.
    pub dir: PathBuf,
}

/// What to run, and within which limits.
#[derive(Clone)]
pub struct ServiceSpec {
    /// What a build brought.
    pub image: String,
    /// Instead of the image's own command.
    pub command: Option<Vec<String>>,
    /// Environment on top of the image's own.
    pub env: IndexMap<String, String>,
    /// The port it listens on, also given to it as `PORT`.
    pub port: u16,
    /// More ports that it listens on.
    pub ports: Vec<u16>,
    /// When it counts as up.
    pub ready: ReadinessCheck,
    /// The port that is asked for that, where it is not `port`.
    pub ready_port: Option<u16>,
    /// How long it may take to come up.
    pub within: Duration,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes that it may write to its disk, on top of its image.
    pub disk: u64,
    /// Processors.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u64,
    /// Whether it may reach the network.
    pub egress: bool,
    /// Files that are put there first.
    pub files: Vec<Placed>,
    /// Volumes it sees.
    pub mounts: Vec<VolumeMount>,
    /// Others that it reaches.
    pub links: Option<ServiceLinks>,
    /// The user that a sandbox runs it as; one of its own where none is named.
    pub user: Option<u32>,
    /// Where its output goes; a new log where none is named.
    pub log: Option<Log>,
    /// Whom it belongs to.
    pub tag: OwnerTag,
}

impl ServiceSpec {
    /// `image` with the usual limits: port 8080 that has to accept connections within 30 s, 512 MiB of memory, 1 GiB of
    /// disk, one processor, 256 processes, no network.
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

    /// All ports it listens on.
    pub fn all_ports(&self) -> impl Iterator<Item = u16> {
        let others = self.ports.iter().copied().filter(|port| *port != self.port);
        std::iter::once(self.port).filter(|_| !self.is_session()).chain(others)
    }

    /// The log that its output is to go to.
    pub fn log(&self) -> Log {
        self.log.clone().unwrap_or_default()
    }

    /// Whether nothing runs in it but what `exec` starts.
    pub fn is_session(&self) -> bool {
        self.ready == ReadinessCheck::None && self.command.is_none()
    }
}

/// Without its environment and files: they may hold secrets.
impl std::fmt::Debug for ServiceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceSpec")
            .field("image", &self.image)
            .field("port", &self.port)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
