//! Runs a command until its end, its deadline or its cancellation, without leftover processes.
#![expect(clippy::disallowed_methods, reason = "starts and ends processes, and measures their duration")]

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::processes::{kill_descendants, kill_marked};
use super::{BoundedOutput, ExecReport, ExecSpec, MARK, RelayProgram};

const HEAD: usize = 256 << 10;
const TAIL: usize = 768 << 10;
const GRACE: Duration = Duration::from_millis(300);

/// A mark that no other command of this machine has.
pub fn unique_mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{}-{}-{n}", std::process::id(), since.as_nanos())
}

/// Other processes next to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherProcesses {
    /// There are other programs, so the processes of a command are found by a mark in their environment.
    Others,
    /// There are none: all processes below this one belong to the command and end with it.
    Nothing,
}

/// Runs `spec` as a child of this process, with its environment added to that of `base`. If `stop`
/// resolves, it ends early and counts as late.
pub async fn run_here(
    spec: ExecSpec,
    base: &RelayProgram,
    around: OtherProcesses,
    stop: impl Future<Output = ()>,
) -> io::Result<ExecReport> {
    let begun = Instant::now();
    write_files(&spec)?;
    let mark = unique_mark();
    let mut command = command(&spec.argv)?;
    command.env_clear().envs(&base.env).envs(&spec.env).env(MARK, &mark);
    command.current_dir(spec.cwd.as_ref().unwrap_or(&base.cwd));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let group = group_of(&child);
    if let Some(mut input) = child.stdin.take() {
        // A program need not read its input.
        tokio::spawn(async move { input.write_all(&spec.stdin).await });
    }
    let (out, out_end) = drain(child.stdout.take());
    let (err, err_end) = drain(child.stderr.take());
    let status = tokio::select! {
        status = timeout(spec.timeout, child.wait()) => status.ok().transpose()?,
        () = stop => None,
    };
    if status.is_none() {
        signal_group(group, Signal::SIGTERM);
        let _ = timeout(GRACE, child.wait()).await;
    }
    signal_group(group, Signal::SIGKILL);
    let ends = tokio::task::spawn_blocking(move || match around {
        OtherProcesses::Others => kill_marked(&mark),
        OtherProcesses::Nothing => kill_descendants(),
    });
    let _ = ends.await;
    let _ = child.wait().await;
    let _ = timeout(Duration::from_secs(1), async { tokio::join!(out_end, err_end) }).await;
    let (stdout, stderr) = (kept(&out), kept(&err));
    Ok(ExecReport {
        exit_code: status.map(exit_code),
        truncated: stdout.missing + stderr.missing > 0,
        stdout: stdout.bytes,
        stderr: stderr.bytes,
        timed_out: status.is_none(),
        duration_ms: crate::clock::millis(begun.elapsed()),
    })
}

fn kept(output: &Mutex<BoundedOutput>) -> super::Elided {
    output.lock().unwrap_or_else(PoisonError::into_inner).all()
}

fn write_files(spec: &ExecSpec) -> io::Result<()> {
    for (path, content) in &spec.files {
        let path = Path::new(path);
        put(path, content).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    }
    Ok(())
}

/// Replaces the file at `path`, which is never opened because it may be a pipe.
fn put(path: &Path, content: &str) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent)?;
    let mut fresh = tempfile::Builder::new().prefix(".atoll-").tempfile_in(parent)?;
    io::Write::write_all(&mut fresh, content.as_bytes())?;
    fresh.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    fresh.persist(path).map(drop).map_err(|e| e.error)
}

/// A command in a new process group.
pub(super) fn command(argv: &[String]) -> io::Result<Command> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    Ok(command)
}

/// The exit code as in shells: 128 + signal if a signal ended the program.
pub(super) fn exit_code(status: ExitStatus) -> i64 {
    i64::from(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1))
}

/// The process group of a child of [`command`].
pub(super) fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
}

/// Sends `signal` to a group, which may have ended.
pub(super) fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = killpg(group, signal);
    }
}

type Drained = (Arc<Mutex<BoundedOutput>>, tokio::task::JoinHandle<()>);

fn drain(from: Option<impl AsyncRead + Unpin + Send + 'static>) -> Drained {
    let kept = Arc::new(Mutex::new(BoundedOutput::new(HEAD, TAIL)));
    let into = kept.clone();
    let end = tokio::spawn(async move {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..n]);
        }
    });
    (kept, end)
}
