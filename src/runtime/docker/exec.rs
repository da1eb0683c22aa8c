#![expect(clippy::disallowed_methods, reason = "measures the duration of a command")]

use std::time::Instant;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::ours;
use super::start::ContainerPair;
use crate::relay::{
    self, BoundedOutput, ExecReport, ExecSpec, MARK, TerminalHandle, TerminalSpec, unique_mark,
};
use crate::runtime::service::{Backend, BackendFuture};
use crate::verb::Failure;

impl Backend for ContainerPair {
    fn exec(&self, spec: ExecSpec) -> BackendFuture<'_, Result<ExecReport, Failure>> {
        Box::pin(self.run(spec))
    }

    fn terminal(&self, spec: TerminalSpec) -> BackendFuture<'_, Result<TerminalHandle, Failure>> {
        Box::pin(self.open_terminal(spec))
    }

    fn stop(&self) -> BackendFuture<'_, ()> {
        Box::pin(self.remove())
    }
}

impl ContainerPair {
    async fn run(&self, spec: ExecSpec) -> Result<ExecReport, Failure> {
        let begun = Instant::now();
        self.upload(&spec).await?;
        let mark = unique_mark();
        let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(format!("{MARK}={mark}"));
        let options = CreateExecOptions {
            attach_stdin: Some(!spec.stdin.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(env),
            cmd: Some(spec.argv.clone()),
            working_dir: spec.cwd.as_ref().map(|dir| dir.display().to_string()),
            ..CreateExecOptions::default()
        };
        let api = &self.engine.api;
        let id = api.create_exec(&self.service, options).await.map_err(|e| ours("run a command", &e))?.id;
        let cleanup = CommandCleanup { socket: self.socket.clone(), mark: Some(mark.clone()) };
        let started = api.start_exec(&id, None).await.map_err(|e| ours("run a command", &e))?;
        let StartExecResults::Attached { mut output, mut input } = started else {
            return Err(Failure::transient("the Docker daemon did not attach to the command"));
        };
        let (mut out, mut err) =
            (BoundedOutput::new(256 << 10, 768 << 10), BoundedOutput::new(256 << 10, 768 << 10));
        let stdin = spec.stdin;
        let feed = tokio::spawn(async move {
            let _ = input.write_all(&stdin).await;
            let _ = input.shutdown().await;
        });
        let read = async {
            while let Some(Ok(piece)) = output.next().await {
                match piece {
                    LogOutput::StdErr { message } => err.push(&message),
                    other => out.push(other.as_ref()),
                }
            }
        };
        let in_time = timeout(spec.timeout, read).await.is_ok();
        feed.abort();
        cleanup.now().await;
        let exit_code = if in_time {
            api.inspect_exec(&id).await.map_err(|e| ours("read the exit code of a command", &e))?.exit_code
        } else {
            None
        };
        let (stdout, stderr) = (out.all(), err.all());
        Ok(ExecReport {
            exit_code,
            truncated: stdout.missing + stderr.missing > 0,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            timed_out: !in_time,
            duration_ms: crate::clock::millis(begun.elapsed()),
        })
    }

    async fn upload(&self, spec: &ExecSpec) -> Result<(), Failure> {
        if spec.files.is_empty() {
            return Ok(());
        }
        let packed = |e: std::io::Error| {
            Failure::permanent(format!("the files of the command cannot be written: {e}"))
        };
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in &spec.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path.trim_start_matches('/'), text.as_bytes()).map_err(packed)?;
        }
        let bytes = tar.into_inner().map_err(packed)?;
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let sent = self
            .engine
            .api
            .upload_to_container(&self.service, Some(options), bollard::body_full(bytes.into()))
            .await;
        sent.map_err(|e| ours("write the files of a command", &e))
    }
}

/// Ends leftover processes of a command, also if the command is no longer awaited.
pub(super) struct CommandCleanup {
    pub(super) socket: std::path::PathBuf,
    pub(super) mark: Option<String>,
}

impl CommandCleanup {
    pub(super) async fn now(mut self) {
        if let Some(mark) = self.mark.take() {
            let _ = relay::kill(&self.socket, &mark).await;
        }
    }
}

impl Drop for CommandCleanup {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let socket = self.socket.clone();
            runtime.spawn(async move { relay::kill(&socket, &mark).await });
        }
    }
}
