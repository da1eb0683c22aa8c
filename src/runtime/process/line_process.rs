//! A program whose output is read line by line while it runs, with limits. It ends with all its descendants.
#![expect(clippy::disallowed_methods, reason = "starts programs")]

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::agent_workspace::{ASIDE, AgentWorkspace, PATH, WORK, furnish};
use super::sandbox::{self, SandboxPlan, SandboxSharing};
use super::{mounts, ours};
use crate::confine::{Group, Watching};
use crate::relay::{self, BoundedOutput, ExecSpec, Limits, Orders};
use crate::rooted_fs::RootedFs;
use crate::verb::Failure;

/// Most bytes of a line; the rest of a longer line is skipped.
const LONGEST: usize = 16 << 20;
/// How long to wait for the end of a program.
const END: Duration = Duration::from_secs(3);
/// How long to wait for the last output of a program.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Limits for a program and its descendants.
const LIMITS: Limits = Limits {
    memory: Some(8 << 30),
    pids: Some(4_096),
    cpus: None,
    file: None,
    disk: Some(8 << 30),
    files: Some(1_000_000),
};

/// Where a program runs.
pub enum ProgramIsolation<'a> {
    /// In the sandbox of the workspace, with the network and these additional directories.
    Sandbox(&'a [PathBuf]),
    /// On this machine without a sandbox.
    Host,
}

/// A program. Dropping it ends it with all its descendants.
pub struct LineProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    errors: Arc<Mutex<BoundedOutput>>,
    drain: Option<JoinHandle<()>>,
    /// Ends the program if it exceeds a limit. Stops before its process id can be reused.
    watch: Option<AbortOnDropHandle<()>>,
    /// Its control group, which is removed with it.
    _group: Option<Arc<Group>>,
}

impl AgentWorkspace {
    /// Directory for files of a program outside the workspace: its path here, and its path for a program on
    /// `ground`.
    pub fn aside(&self, ground: &ProgramIsolation<'_>) -> (PathBuf, PathBuf) {
        let dir = self.root().join(ASIDE.trim_start_matches('/'));
        match ground {
            ProgramIsolation::Sandbox(_) if self.is_boxed() => (dir, ASIDE.into()),
            _ => (dir.clone(), dir),
        }
    }

    /// Path of the workspace for a program on `ground`.
    pub fn seen(&self, ground: &ProgramIsolation<'_>) -> PathBuf {
        match ground {
            ProgramIsolation::Sandbox(_) if self.is_boxed() => WORK.into(),
            _ => self.workspace(),
        }
    }

    /// Writes a file outside the workspace.
    pub fn put_aside(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = Path::new(ASIDE).join(name);
        RootedFs::open(&self.root()).and_then(|root| root.put(&path, text.as_bytes(), false)).map_err(ours)
    }

    /// Starts the program of `spec` with exactly its environment.
    pub async fn launch(
        &self,
        spec: &ExecSpec,
        ground: &ProgramIsolation<'_>,
        program: &Path,
    ) -> Result<LineProcess, Failure> {
        let outside = SandboxSharing { network: true, ..SandboxSharing::default() };
        let boxed = matches!(ground, ProgramIsolation::Sandbox(_)) && self.is_boxed();
        let limits = if boxed { LIMITS } else { Limits::default() };
        let mut orders = Orders { user: self.owner(), limits, ..Orders::default() };
        let (mut group, mut watching) = (None, None);
        let mut command = match ground {
            ProgramIsolation::Sandbox(readable) if boxed => {
                let root = self.root();
                furnish(&root, self.owner()).map_err(ours)?;
                // Directories that bubblewrap creates itself are accessible only for root.
                let inside = RootedFs::open(&root).map_err(ours)?;
                for dir in readable
                    .iter()
                    .filter_map(|dir| if dir.is_dir() { Some(dir.as_path()) } else { dir.parent() })
                {
                    inside.make_dirs(dir).map_err(ours)?;
                }
                let placed =
                    [WORK, ASIDE, "/etc/passwd", "/etc/group", "/etc/hosts"].map(PathBuf::from).into();
                if let Some(user) = self.owner() {
                    sandbox::give(&root, user).await.map_err(ours)?;
                }
                let bwrap = self.bwrap();
                let plan =
                    SandboxPlan { bwrap, program, root: &root, placed: &placed, readable, outside: &outside };
                mounts::prepare(&sandbox::arguments(&plan, &[], self.owner().is_some()))
                    .await
                    .map_err(ours)?;
                watching = sandbox::begin_watch(&plan, limits).await;
                group = Group::make(&limits).map(Arc::new);
                let command = sandbox::confine(&plan, &mut orders, group.as_deref()).map_err(ours)?;
                // The memory of all processes together is watched; a single one may reserve more.
                orders.limits.memory = None;
                command
            }
            _ => Command::new(program),
        };
        let orders = serde_json::to_string(&orders).unwrap_or_default();
        command.args([relay::WORD, "=", &orders]).env_clear().envs(relay::ENVIRONMENT);
        command.env("PATH", PATH).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = super::spawner::spawn(command).await.map_err(ours)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::transient("cannot communicate with the agent"));
        };
        let errors = Arc::new(Mutex::new(BoundedOutput::new(2_000, 6_000)));
        let drain = child.stderr.take().map(|said| tokio::spawn(drain(said, errors.clone())));
        relay::submit(&mut input, spec).await.map_err(ours)?;
        let watching = watching.map(|watching| Arc::new(watching.of(group.clone(), child.id())));
        let watch = watching.map(|watching| tokio::spawn(end_overrun(watching, child.id(), errors.clone())));
        Ok(LineProcess {
            child,
            watch: watch.map(AbortOnDropHandle::new),
            _group: group,
            input: Some(input),
            output: BufReader::new(output),
            line: Vec::new(),
            errors,
            drain,
        })
    }
}

/// Ends the program if it exceeds a limit, and adds the reason to its standard error.
async fn end_overrun(watching: Arc<Watching>, process: Option<u32>, errors: Arc<Mutex<BoundedOutput>>) {
    let overrun = watching.overrun().await;
    let said = format!("\nthe sandbox was ended: {overrun}\n");
    errors.lock().unwrap_or_else(PoisonError::into_inner).push(said.as_bytes());
    if let Some(process) = process.and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
}

async fn drain(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<BoundedOutput>>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        into.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..n]);
    }
}

impl LineProcess {
    /// The next line of its standard output, without the line break; `None` at the end. Nothing is lost if
    /// the future is dropped.
    pub async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self.output.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(Some(std::mem::take(&mut self.line)).filter(|line| !line.is_empty()));
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let room = LONGEST.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(&piece[..room]);
            let used = end.map_or(bytes.len(), |end| end + 1);
            self.output.consume(used);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }

    /// Ends the program with all its descendants, unless it has ended, and returns its exit code: 137 if it
    /// was killed.
    pub async fn stop(&mut self) -> Option<i32> {
        drop(self.watch.take());
        // If it has already ended, use its own exit code.
        let over = self.child.try_wait().ok().flatten();
        drop(self.input.take());
        let status = match over {
            Some(status) => Some(status),
            None => timeout(END, self.child.wait()).await.ok().and_then(Result::ok),
        };
        if status.is_none() {
            let _ = self.child.start_kill();
        }
        status.and_then(|status| status.code())
    }

    /// The next line of its output before it was stopped.
    pub async fn last_line(&mut self) -> Option<Vec<u8>> {
        timeout(LAST_WORDS, self.line()).await.ok()?.ok()?
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = self.child.wait().await;
        drop(self.watch.take());
        status.ok().and_then(|status| status.code())
    }

    /// Beginning and end of its standard error; complete once it was stopped.
    pub async fn errors(&mut self) -> String {
        if let Some(drain) = self.drain.take() {
            let _ = timeout(LAST_WORDS, drain).await;
        }
        let kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner).all();
        String::from_utf8_lossy(&kept.bytes).trim().to_owned()
    }
}

/// A program by its name on `path`, and the directories that it needs.
pub fn installed(name: &str, path: &str) -> Option<(PathBuf, Vec<PathBuf>)> {
    let found = if name.contains('/') {
        Some(PathBuf::from(name)).filter(|file| file.is_file())
    } else {
        std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| file.is_file())
    }?;
    let real = found.canonicalize().ok()?;
    let dirs = [home_of(&found), home_of(&real)].into_iter().flatten().collect();
    Some((found, dirs))
}

/// The installation directory of the program at `file`.
fn home_of(file: &Path) -> Option<PathBuf> {
    let modules =
        file.ancestors().filter(|dir| dir.file_name().is_some_and(|name| name == "node_modules")).last();
    modules.or_else(|| file.parent()).map(Path::to_path_buf)
}
