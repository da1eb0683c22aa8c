//! One command with streamed output: it inherits the standard output and error of the agent.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::processes::{adopt_orphans, kill_descendants};
use super::run::{command, exit_code, group_of, signal_group};
use super::{ExecSpec, wire};

/// Time for a program to end after a signal.
const GRACE: Duration = Duration::from_millis(500);

/// Reads a command from standard input and runs it until it or the input ends. Then all its processes have
/// ended, including those in other process groups and sessions.
pub(super) async fn run() -> io::Result<i64> {
    let mut input = tokio::io::stdin();
    let spec: ExecSpec = wire::receive_json(&mut input).await?;
    let text = wire::receive(&mut input).await?;
    adopt_orphans();
    let mut command = command(&spec.argv)?;
    command.env_clear().envs(&spec.env);
    command.current_dir(spec.cwd.as_deref().unwrap_or(std::path::Path::new("."))).stdin(Stdio::piped());
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot start {:?}: {e}", spec.argv[0]));
    let mut child = command.spawn().map_err(named)?;
    let group = group_of(&child);
    if let Some(mut to) = child.stdin.take() {
        // A program need not read its input; if it does, it sees the end of it.
        tokio::spawn(async move { to.write_all(&text).await });
    }
    let mut byte = [0];
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        _ = input.read(&mut byte) => None,
    };
    if status.is_none() {
        signal_group(group, Signal::SIGTERM);
        let _ = timeout(GRACE, child.wait()).await;
    }
    signal_group(group, Signal::SIGKILL);
    let _ = tokio::task::spawn_blocking(kill_descendants).await;
    let _ = child.wait().await;
    Ok(status.map_or(137, exit_code))
}
