//! A program under a pseudo-terminal: the inside that runs it, and the outside that types and watches.
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

/// How long a program whose terminal is closed may take to end by itself.
const GRACE: Duration = Duration::from_millis(300);

/// How long the last output of a program that is gone is waited for.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Most bytes of output in one piece.
const PIECE: usize = 16 << 10;

/// Pieces of output that wait for whoever watches; then the program waits.
const PIECES: usize = 64;

/// A program to run in a terminal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TerminalSpec {
    /// The command line, for `sh -c`.
    pub line: String,
    /// Environment on top of what the place has.
    pub env: IndexMap<String, String>,
    /// Columns of the terminal.
    pub columns: u16,
    /// Rows of the terminal.
    pub rows: u16,
}

/// What is done to a terminal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TerminalInput {
    /// Bytes are typed.
    #[serde(skip)]
    Bytes(Vec<u8>),
    /// It gets another size.
    Size {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}

/// What comes from a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalOutput {
    /// Bytes to show.
    Bytes(Vec<u8>),
    /// The program has ended with this exit code, 128 + signal where a signal ended it; none where the terminal was
    /// cut off and nobody can tell.
    Ended(Option<i64>),
}

/// The outside of a terminal. When it is dropped, the program ends with all that it started.
#[derive(Debug)]
pub struct TerminalHandle {
    typed: mpsc::UnboundedSender<TerminalInput>,
    shown: mpsc::Receiver<TerminalOutput>,
}

/// The other side of a [`TerminalHandle`]: what is typed, and where to show. A runtime that sees no more of what is typed
/// ends the program.
pub(crate) type Ends = (mpsc::UnboundedReceiver<TerminalInput>, mpsc::Sender<TerminalOutput>);

impl TerminalHandle {
    /// A terminal and the ends that a runtime serves.
    pub(crate) fn new() -> (Self, Ends) {
        let (typed, typed_end) = mpsc::unbounded_channel();
        let (shown_end, shown) = mpsc::channel(PIECES);
        (Self { typed, shown }, (typed_end, shown_end))
    }

    /// Types bytes or changes the size. A program that has ended takes no notice.
    pub fn send(&self, typed: TerminalInput) {
        let _ = self.typed.send(typed);
    }

    /// What comes next. Nothing is lost where the future is dropped.
    pub async fn next(&mut self) -> TerminalOutput {
        self.shown.recv().await.unwrap_or(TerminalOutput::Ended(None))
    }

    /// Ends the program and waits until it is gone with all that it started.
    pub async fn end(self) {
        let Self { typed, mut shown } = self;
        drop(typed);
        while shown.recv().await.is_some() {}
    }
}

/// The tags of frames from the agent.
const OUTPUT: u8 = b'o';
const ENDED: u8 = b'e';
/// The tags of frames to the agent.
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

/// Starts a program in a terminal where the agent is.
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

/// Carries what is typed to the agent and what is shown from it, until the program is gone.
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
        // The end of the agent's input tells it to end the program.
        let _ = write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let code = tokio::select! {
        code = receive => code,
        () = send => None,
    };
    let _ = shown.send(TerminalOutput::Ended(code)).await;
}

/// A program in a terminal, seen from inside.
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
    // A session of its own is a process group of its own, too.
    let group = group_of(&child);
    let (read, write) = pty.into_split();
    Ok(TerminalSession { child, group, mark, read, write })
}

/// Runs a program in a terminal until it ends or `from` hangs up; then nothing of it is left.
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
            // What it wrote last may still be on its way, and what it started may still hold the terminal.
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

/// Sends all that the program shows, until its terminal is closed or it is gone.
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
            // A closed terminal reads as an error of its own.
            _ => return to,
        }
    }
}

/// Types what comes from `from` until that hangs up, also while the program does not read what is typed.
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

/// Closes the terminal as a person would, and ends the program where it takes no notice.
async fn hang_up(child: &mut Child, group: Option<Pid>) -> io::Result<ExitStatus> {
    signal_group(group, Signal::SIGHUP);
    if let Ok(status) = timeout(GRACE, child.wait()).await {
        return status;
    }
    signal_group(group, Signal::SIGKILL);
    child.wait().await
}
