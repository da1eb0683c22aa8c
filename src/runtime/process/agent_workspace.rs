//! A workspace: a directory in which an agent works, and the sandbox for commands on it.

use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::sandbox::Sandbox;
use super::{LARGEST_FILE, SandboxHost, disk, exec, ours, own_user};
use crate::confine::FILES;
use crate::id::RunId;
use crate::relay::{ExecReport, ExecSpec, Limits, Orders, RelayProgram, unique_mark};
use crate::rooted_fs::RootedFs;
use crate::runtime::service::RuntimeSettings;
use crate::verb::Failure;

/// Path of the directory in the sandbox.
pub const WORK: &str = "/atoll/work";
/// Path for files that are not part of the workspace. Nothing of the machine is visible below it or [`WORK`].
pub(super) const ASIDE: &str = "/atoll/aside";

pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Limits of all commands together: bytes of memory, bytes on disk, and processes.
const MEMORY: u64 = 4 << 30;
const DISK: u64 = 4 << 30;
const PIDS: u64 = 512;

/// A temporary workspace. Dropping it ends everything that runs in it and removes it.
pub struct AgentWorkspace {
    dir: PathBuf,
    place: Option<SandboxHost>,
    user: Option<u32>,
    sandbox: Option<Sandbox>,
}

impl AgentWorkspace {
    /// An empty workspace for `run`.
    pub fn new(settings: &RuntimeSettings, run: &RunId) -> Result<Self, Failure> {
        let dir = settings.data.join("process").join("live").join(format!("bench-{}", unique_mark()));
        let bench = Self { dir, place: None, user: None, sandbox: None };
        let make = || -> io::Result<()> {
            disk::claim(&bench.dir, run)?;
            RootedFs::create(&bench.root())?.make_dirs(Path::new(WORK))
        };
        make().map_err(ours)?;
        Ok(bench)
    }

    /// The workspace with a sandbox. An error if bubblewrap is missing and unsandboxed commands are not
    /// allowed.
    pub fn guarded(mut self, settings: &RuntimeSettings) -> Result<Self, Failure> {
        let place = SandboxHost::find(settings)?;
        let rooted = place.bwrap.is_some() && nix::unistd::geteuid().is_root();
        self.user = rooted.then(own_user);
        self.place = Some(place);
        Ok(self)
    }

    /// The working directory.
    pub fn workspace(&self) -> PathBuf {
        self.root().join(WORK.trim_start_matches('/'))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// Whether it has a sandbox; false if bubblewrap is missing and unsandboxed commands are allowed.
    pub(super) fn is_boxed(&self) -> bool {
        self.bwrap().is_some()
    }

    pub(super) fn bwrap(&self) -> Option<&Path> {
        self.place.as_ref()?.bwrap.as_deref()
    }

    /// The user that must own files, so that commands can change them.
    pub fn owner(&self) -> Option<u32> {
        self.user
    }

    /// Starts the sandbox, if there is one. Existing files are given to the user of its commands.
    pub async fn open(&mut self) -> Result<(), Failure> {
        let Some(place) = self.place.clone().filter(|_| self.sandbox.is_none()) else { return Ok(()) };
        let root = self.root();
        furnish(&root, self.user).map_err(ours)?;
        let env = [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1")];
        let env: IndexMap<_, _> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let session = RelayProgram { argv: Vec::new(), env, cwd: WORK.into() };
        let limits = Limits {
            memory: Some(MEMORY),
            pids: Some(PIDS),
            cpus: None,
            file: Some(LARGEST_FILE),
            disk: Some(DISK),
            files: Some(FILES),
        };
        let orders = Orders { user: self.user, limits, session, ..Orders::default() };
        let placed =
            [WORK, ASIDE, "/etc/passwd", "/etc/group", "/etc/hosts"].iter().map(PathBuf::from).collect();
        let sandbox = place.try_sandbox(&root, &placed, &super::SandboxSharing::default(), orders).await;
        self.sandbox = Some(sandbox.map_err(ours)?);
        Ok(())
    }

    /// Runs a command in the sandbox. The report also describes a command that was killed at its time limit.
    pub async fn run(&self, spec: ExecSpec) -> Result<ExecReport, Failure> {
        match &self.sandbox {
            Some(sandbox) => {
                let report = exec(&sandbox.socket, spec).await;
                // If memory runs out, the command ends and the sandbox stays.
                match sandbox.overrun(true).await {
                    Some(overrun) => {
                        Err(Failure::permanent(format!("the agent's sandbox was ended: {overrun}")))
                    }
                    None => report,
                }
            }
            None => Err(Failure::permanent("there is no sandbox to run a command in")),
        }
    }

    /// Ends all processes in the sandbox.
    pub async fn halt(&self) {
        if let Some(sandbox) = &self.sandbox {
            // Processes that did not end are ended with the sandbox.
            let _ = sandbox.stop().await;
        }
    }
}

impl Drop for AgentWorkspace {
    fn drop(&mut self) {
        drop(self.sandbox.take());
        disk::remove_dropped(&self.dir);
    }
}

/// Creates files that programs expect in addition to those of the system.
pub(super) fn furnish(root: &Path, user: Option<u32>) -> io::Result<()> {
    let user = user.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    let files = [
        ("/etc/passwd", format!("root:x:0:0:root:/tmp:/bin/sh\napp:x:{user}:{user}:app:/tmp:/bin/sh\n")),
        ("/etc/group", format!("root:x:0:\napp:x:{user}:\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n".to_owned()),
    ];
    let root = RootedFs::open(root)?;
    files.iter().try_for_each(|(path, text)| root.put(Path::new(path), text.as_bytes(), false))
}
