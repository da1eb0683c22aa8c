//! Commands on this machine without a sandbox. Each runs under an agent, which ends all its descendants
//! when the command ends, is late or is cancelled, and when this process dies.
#![expect(clippy::disallowed_methods, reason = "starts the agent")]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::relay::{self, ExecReport, ExecSpec};
use crate::verb::Failure;

/// Runs commands of the author of the pipeline. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    program: PathBuf,
    path: String,
    home: String,
}

impl Host {
    /// Creates a runner. `program` is the file of this program; `path` and `home` are the values of `PATH`
    /// and `HOME` for commands.
    pub fn new(program: PathBuf, path: String, home: String) -> Self {
        Self { program, path, home }
    }

    /// Runs a command to its end. If it is cancelled, it and all its children have ended when this returns.
    pub async fn run(&self, spec: ExecSpec, cancel: &CancellationToken) -> Result<ExecReport, Failure> {
        let ours = |e: std::io::Error| Failure::transient(format!("cannot run a command: {e}"));
        let program = spec.argv.first().cloned().unwrap_or_default();
        let mut command = Command::new(&self.program);
        command.args([relay::WORD, "-"]).env_clear().envs(relay::ENVIRONMENT);
        command.env("PATH", &self.path).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(ours)?;
        let (Some(mut input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::transient("cannot communicate with the agent"));
        };
        let mut spec = spec;
        spec.env.entry("PATH".to_owned()).or_insert_with(|| self.path.clone());
        spec.env.entry("HOME".to_owned()).or_insert_with(|| self.home.clone());
        relay::submit(&mut input, &spec).await.map_err(ours)?;
        let report = tokio::select! {
            report = relay::report(&mut output) => report.map_err(ours)?,
            () = cancel.cancelled() => {
                // The agent ends the command when its input ends.
                drop(input);
                if timeout(Duration::from_secs(6), child.wait()).await.is_err() {
                    let _ = child.start_kill();
                }
                return Err(Failure::cancelled());
            }
        };
        drop(input);
        let _ = child.wait().await;
        report.map_err(|why| {
            Failure::permanent(format!("cannot start `{program}`: {why}"))
                .hint("`argv` begins with a program on PATH; for a command line, set `shell = true`")
        })
    }
}
