//! Signals become commands: the first asks, the second kills.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Stop;
use crate::driver::Command;

/// Listens for Ctrl-C, termination and the end of the terminal for as long as the returned task lives; `told` hears what to tell people.
/// Needs a runtime.
pub fn listen(
    commands: mpsc::Sender<Command>,
    told: impl Fn(&str) + Send + 'static,
) -> Result<tokio::task::JoinHandle<()>, Stop> {
    let failed = |e: std::io::Error| Stop::failed(format!("signals cannot be listened for: {e}"));
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangups = signal(SignalKind::hangup()).map_err(failed)?;
    Ok(tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                Some(()) = interrupts.recv() => {}
                Some(()) = terminations.recv() => {}
                Some(()) = hangups.recv() => {}
                else => return,
            }
            let command = if asked {
                told("stopping at once");
                Command::Kill
            } else {
                told("stopping: what is under way is finished first; once more stops at once");
                Command::Cancel
            };
            asked = true;
            if commands.send(command).await.is_err() {
                return;
            }
        }
    }))
}
