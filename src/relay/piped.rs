//! One command whose output is heard while it comes: its standard output and error are the agent's own.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::processes::{adopt_orphans, kill_descendants};
use super::run::{command, exit_code, group_of, signal_group};
use super::{ExecSpec, wire};

/// How long a program that is told to end may take.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the command that comes in on the standard input until it ends, or until the input does: then nothing of it is
/// left, also of what left its process group and its session.
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
        // A program that does not read its input is no fault; one that does sees its end.
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
