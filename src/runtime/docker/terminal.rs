use std::pin::Pin;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::exec::CommandCleanup;
use super::ours;
use super::start::ContainerPair;
use crate::relay::{Ends, MARK, TerminalHandle, TerminalInput, TerminalOutput, TerminalSpec, unique_mark};
use crate::verb::Failure;

/// Detach keys; programs need the default of the daemon, ctrl+p ctrl+q.
const DETACH: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// A command that sets the size before the program starts, because older daemons do not support an initial
/// size. Images without `stty` get it a moment later.
fn sized(spec: &TerminalSpec) -> Vec<String> {
    let (rows, columns) = (spec.rows, spec.columns);
    let line = format!("stty rows {rows} cols {columns} 2>/dev/null; exec sh -c \"$1\"");
    vec!["sh".to_owned(), "-c".to_owned(), line, "sh".to_owned(), spec.line.clone()]
}

type DockerTerminalOutput = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type DockerTerminalInput = Pin<Box<dyn AsyncWrite + Send>>;

/// A command in a terminal of the daemon.
struct DockerTerminal {
    api: Docker,
    id: String,
}

impl ContainerPair {
    pub(super) async fn open_terminal(&self, spec: TerminalSpec) -> Result<TerminalHandle, Failure> {
        let mark = unique_mark();
        let mut env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(format!("{MARK}={mark}"));
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(true),
            console_size: Some(vec![spec.rows.into(), spec.columns.into()]),
            detach_keys: Some(DETACH.to_owned()),
            env: Some(env),
            cmd: Some(sized(&spec)),
            ..ExecConfig::default()
        };
        let api = self.engine.api.clone();
        let created = api.create_exec(&self.service, config).await;
        let id = created.map_err(|e| ours("open a terminal", &e))?.id;
        let ending = CommandCleanup { socket: self.socket.clone(), mark: Some(mark) };
        let session = DockerTerminal { api, id };
        let options = StartExecOptions { tty: true, ..StartExecOptions::default() };
        let started = session.api.start_exec(&session.id, Some(options)).await;
        let StartExecResults::Attached { output, input } =
            started.map_err(|e| ours("open a terminal", &e))?
        else {
            return Err(Failure::transient("the Docker daemon did not attach to the terminal"));
        };
        session.resize(spec.columns, spec.rows).await;
        let (terminal, ends) = TerminalHandle::new();
        tokio::spawn(session.carry(output, input, ends, ending));
        Ok(terminal)
    }
}

impl DockerTerminal {
    /// Changes the size. Errors are ignored, because the program may have ended.
    async fn resize(&self, columns: u16, rows: u16) {
        let _ = self.api.resize_exec(&self.id, ResizeExecOptions { height: rows, width: columns }).await;
    }

    /// Forwards input and output until the program and all its children have ended.
    async fn carry(
        self,
        output: DockerTerminalOutput,
        input: DockerTerminalInput,
        (typed, shown): Ends,
        ending: CommandCleanup,
    ) {
        let send = self.type_in(input, typed);
        let receive = show(output, &shown);
        tokio::pin!(send, receive);
        let is_over = tokio::select! {
            () = &mut receive => true,
            () = &mut send => false,
        };
        ending.now().await;
        if !is_over {
            receive.await;
        }
        let code = self.api.inspect_exec(&self.id).await.ok().and_then(|exec| exec.exit_code);
        let _ = shown.send(TerminalOutput::Ended(code)).await;
    }

    /// Forwards input until it ends, also while the program does not read it.
    async fn type_in(
        &self,
        mut input: DockerTerminalInput,
        mut typed: mpsc::UnboundedReceiver<TerminalInput>,
    ) {
        let (keys, mut waiting) = mpsc::unbounded_channel::<Vec<u8>>();
        let take = async {
            while let Some(typed) = typed.recv().await {
                match typed {
                    TerminalInput::Bytes(bytes) => drop(keys.send(bytes)),
                    TerminalInput::Size { columns, rows } => self.resize(columns, rows).await,
                }
            }
        };
        let give = async {
            while let Some(bytes) = waiting.recv().await {
                if input.write_all(&bytes).await.is_err() {
                    break;
                }
                let _ = input.flush().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = take => {}
            () = give => {}
        }
    }
}

async fn show(mut output: DockerTerminalOutput, to: &mpsc::Sender<TerminalOutput>) {
    while let Some(Ok(piece)) = output.next().await {
        // If the receiver is gone, the remaining output is dropped, but the end still matters.
        let _ = to.send(TerminalOutput::Bytes(piece.into_bytes().to_vec())).await;
    }
}
