//! Turns signals into commands: the first one pauses, the second one kills.
#![expect(clippy::disallowed_methods, reason = "a door: asks the system which signals are ignored")]

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::error::CommandError;
use crate::clock::millis;
use crate::driver::RunCommand;
use crate::report::units::span;

/// Handles Ctrl-C, SIGTERM and SIGHUP as long as the returned task is not dropped; `told` prints messages.
/// Needs a runtime.
pub fn listen(
    commands: mpsc::Sender<RunCommand>,
    grace: Duration,
    told: impl Fn(&str) + Send + 'static,
) -> Result<tokio::task::JoinHandle<()>, CommandError> {
    let failed = |e: std::io::Error| CommandError::failed(format!("signals cannot be handled: {e}"));
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
    // A program that is started with `nohup` continues after the terminal is closed.
    let mut hangups = if is_ignored(SignalKind::hangup()) {
        None
    } else {
        Some(signal(SignalKind::hangup()).map_err(failed)?)
    };
    Ok(tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                Some(()) = interrupts.recv() => {}
                Some(()) = terminations.recv() => {}
                Some(()) = async { hangups.as_mut()?.recv().await }, if hangups.is_some() => {}
                else => return,
            }
            let command = if asked {
                told("stopping now");
                RunCommand::Kill
            } else {
                let grace = span(millis(grace));
                told(&format!("finishing running steps for up to {grace}; press Ctrl-C again to stop now"));
                RunCommand::Cancel
            };
            asked = true;
            if commands.send(command).await.is_err() {
                return;
            }
        }
    }))
}

/// Whether the process was started with `signal` ignored.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit = u32::try_from(signal.as_raw_value()).ok().and_then(|number| number.checked_sub(1));
    bit.is_some_and(|bit| mask >> bit & 1 == 1)
}
