//! A program in a pseudo-terminal: the agent that runs it, and the client that types and reads.
#![expect(clippy::disallowed_methods, reason = "starts and ends programs, and calls the agent")]

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use indexmap::IndexMap;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::processes::kill_marked;
use super::run::{exit_code, group_of, signal_group};
use super::{MARK, RelayProgram, RelayRequest, unique_mark, wire};

/// Time for a program to end after its terminal was closed.
const GRACE: Duration = Duration::from_millis(300);

/// How long to wait for the last output of a program that has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Most bytes of output in one piece.
const PIECE: usize = 16 << 10;

/// Pieces of output in the buffer; if it is full, the program waits.
const PIECES: usize = 64;

/// A program to run in a terminal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TerminalSpec {
    /// The command line, for `sh -c`.
    pub line: String,
    /// Environment variables in addition to the default ones.
    pub env: IndexMap<String, String>,
    /// Columns of the terminal.
    pub columns: u16,
    /// Rows of the terminal.
    pub rows: u16,
}

/// Input of a terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TerminalInput {
    /// Typed bytes.
    #[serde(skip)]
    Bytes(Vec<u8>),
    /// New size.
    Size {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// Output of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalOutput {
    /// Bytes to show.
    Bytes(Vec<u8>),
    /// The program has ended with this exit code, or 128 + signal if a signal ended it; `None` if the
    /// connection was lost and the code is unknown.
    Ended(Option<i64>),
}

/// Client side of a terminal. Dropping it ends the program and all its descendants.
#[derive(Debug)]
pub struct TerminalHandle {
    typed: mpsc::UnboundedSender<TerminalInput>,
    shown: mpsc::Receiver<TerminalOutput>,
}

/// Runtime side of a [`TerminalHandle`]: a receiver for input, and a sender for output. When the input
/// ends, the runtime ends the program.
pub(crate) type Ends = (mpsc::UnboundedReceiver<TerminalInput>, mpsc::Sender<TerminalOutput>);

impl TerminalHandle {
    /// A terminal, and its runtime side.
    pub(crate) fn new() -> (Self, Ends) {
        let (typed, typed_end) = mpsc::unbounded_channel();
        let (shown_end, shown) = mpsc::channel(PIECES);
        (Self { typed, shown }, (typed_end, shown_end))
    }

    /// Types bytes or changes the size. Does nothing if the program has ended.
    pub fn send(&self, typed: TerminalInput) {
        let _ = self.typed.send(typed);
    }

    /// The next output. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> TerminalOutput {
        self.shown.recv().await.unwrap_or(TerminalOutput::Ended(None))
    }

    /// Ends the program and all its descendants, and waits for that.
    pub async fn end(self) {
        let Self { typed, mut shown } = self;
        drop(typed);
        while shown.recv().await.is_some() {}
    }
}

/// Tags of frames from the agent.
const OUTPUT: u8 = b'o';
const ENDED: u8 = b'e';
/// Tags of frames to the agent.
const KEYS: u8 = b'k';
const RESIZE: u8 = b'r';

async fn send_tagged(to: &mut OwnedWriteHalf, tag: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 1);
    frame.push(tag);
    frame.extend_from_slice(payload);
    wire::send(to, &frame).await
}

async fn receive_tagged(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut frame = wire::receive(from).await?;
    if frame.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let tag = frame.remove(0);
    Ok((tag, frame))
}

/// Starts a program in a terminal under the agent.
pub async fn terminal(socket: &Path, spec: TerminalSpec) -> io::Result<Result<TerminalHandle, String>> {
    let mut stream = UnixStream::connect(socket).await?;
    wire::send_json(&mut stream, &RelayRequest::Terminal(Box::new(spec))).await?;
    if let Err(why) = wire::receive_json::<Result<(), String>>(&mut stream).await? {
        return Ok(Err(why));
    }
    let (terminal, ends) = TerminalHandle::new();
    tokio::spawn(carry(stream, ends));
    Ok(Ok(terminal))
}

/// Forwards input to the agent and output from it until the program has ended.
async fn carry(stream: UnixStream, (mut typed, shown): Ends) {
    let (mut read, mut write) = stream.into_split();
    let receive = async {
        loop {
            match receive_tagged(&mut read).await {
                Ok((OUTPUT, bytes)) => drop(shown.send(TerminalOutput::Bytes(bytes)).await),
                Ok((ENDED, code)) => break serde_json::from_slice(&code).ok(),
                Ok(_) => {}
                Err(_) => break None,
            }
        }
    };
    let send = async {
        while let Some(typed) = typed.recv().await {
            let sent = match &typed {
                TerminalInput::Bytes(bytes) => send_tagged(&mut write, KEYS, bytes).await,
                TerminalInput::Size { .. } => {
                    let size = serde_json::to_vec(&typed).unwrap_or_default();
                    send_tagged(&mut write, RESIZE, &size).await
                }
            };
            if sent.is_err() {
                break;
            }
        }
        // The agent ends the program when its input ends.
        let _ = write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let code = tokio::select! {
        code = receive => code,
        () = send => None,
    };
    let _ = shown.send(TerminalOutput::Ended(code)).await;
}

/// A program in a terminal, on the side of the agent.
struct TerminalSession {
    child: Child,
    group: Option<Pid>,
    mark: String,
    read: OwnedReadPty,
    write: OwnedWritePty,
}

fn open(spec: &TerminalSpec, base: &RelayProgram) -> io::Result<TerminalSession> {
    let broken = |e: pty_process::Error| match e {
        pty_process::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    };
    let (pty, child_end) = pty_process::open().map_err(broken)?;
    pty.resize(Size::new(spec.rows, spec.columns)).map_err(broken)?;
    let mark = unique_mark();
    let command = pty_process::Command::new("sh").args(["-c", &spec.line]).env_clear().envs(&base.env);
    let command = command.envs(&spec.env).env(MARK, &mark).current_dir(&base.cwd);
    let child = command.spawn(child_end).map_err(broken)?;
    // A new session is also a new process group.
    let group = group_of(&child);
    let (read, write) = pty.into_split();
    Ok(TerminalSession { child, group, mark, read, write })
}

/// Runs a program in a terminal until it ends or `from` is closed. Then all its processes have ended.
pub(super) async fn serve(from: UnixStream, spec: TerminalSpec, base: &RelayProgram) -> io::Result<()> {
    let (read, mut write) = from.into_split();
    let TerminalSession { mut child, group, mark, read: screen, write: keyboard } = match open(&spec, base) {
        Ok(session) => session,
        Err(e) => return wire::send_json(&mut write, &Err::<(), _>(e.to_string())).await,
    };
    wire::send_json(&mut write, &Ok::<(), String>(())).await?;
    let gone = CancellationToken::new();
    let mut output = tokio::spawn(show(screen, write, gone.clone()));
    let mut all = None;
    let status = tokio::select! {
        status = child.wait() => {
            // Its last output may arrive late, and its children may keep the terminal open.
            all = timeout(GRACE, &mut output).await.ok();
            status
        }
        () = type_in(read, keyboard) => hang_up(&mut child, group).await,
    };
    signal_group(group, Signal::SIGKILL);
    let _ = tokio::task::spawn_blocking(move || kill_marked(&mark)).await;
    gone.cancel();
    let code = status.ok().map(exit_code);
    let written = match all {
        Some(written) => written,
        None => output.await,
    };
    match written {
        Ok(mut write) => send_tagged(&mut write, ENDED, &serde_json::to_vec(&code)?).await,
        Err(_) => Ok(()),
    }
}

/// Sends the output of the program until its terminal is closed or it has ended.
async fn show(mut screen: OwnedReadPty, mut to: OwnedWriteHalf, gone: CancellationToken) -> OwnedWriteHalf {
    let mut buffer = vec![0; PIECE];
    let over = async {
        gone.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::pin!(over);
    loop {
        let read = tokio::select! {
            read = screen.read(&mut buffer) => read,
            () = &mut over => return to,
        };
        match read {
            Ok(n @ 1..) if send_tagged(&mut to, OUTPUT, &buffer[..n]).await.is_ok() => {}
            // A closed terminal gives a read error.
            _ => return to,
        }
    }
}

/// Types the input from `from` until it is closed, also while the program does not read it.
async fn type_in(mut from: OwnedReadHalf, mut keyboard: OwnedWritePty) {
    let (keys, mut waiting) = mpsc::unbounded_channel::<(u8, Vec<u8>)>();
    let take = async {
        while let Ok(frame) = receive_tagged(&mut from).await {
            let _ = keys.send(frame);
        }
    };
    let give = async {
        while let Some((tag, payload)) = waiting.recv().await {
            match tag {
                KEYS => drop(keyboard.write_all(&payload).await),
                _ => {
                    if let Ok(TerminalInput::Size { columns, rows }) = serde_json::from_slice(&payload) {
                        let _ = keyboard.resize(Size::new(rows, columns));
                    }
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = take => {}
        () = give => {}
    }
}

/// Closes the terminal as a person would, and kills the program if it does not end.
async fn hang_up(child: &mut Child, group: Option<Pid>) -> io::Result<ExitStatus> {
    signal_group(group, Signal::SIGHUP);
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status;
    }
    signal_group(group, Signal::SIGKILL);
    child.wait().await
}
