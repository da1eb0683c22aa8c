//! The client side: requests to an agent through its socket.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{ExecReport, ExecSpec, Orders, RelayRequest, wire};

/// Whether a program listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// On all addresses.
    Open,
    /// Only on 127.0.0.1, which cannot be reached from outside its container.
    LoopbackOnly,
    /// No program listens.
    Refused,
}

impl Probe {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Open => b'+',
            Self::LoopbackOnly => b'l',
            Self::Refused => b'-',
        }
    }
}

/// Keeps an agent and all its programs alive until it is dropped.
#[derive(Debug)]
pub struct Keepalive(#[expect(dead_code, reason = "held to be dropped")] UnixStream);

/// Connects to the agent that listens at `socket`.
pub async fn keepalive(socket: &Path) -> io::Result<Keepalive> {
    let mut stream = UnixStream::connect(socket).await?;
    wire::send_json(&mut stream, &RelayRequest::Keepalive).await?;
    stream.read_exact(&mut [0]).await?;
    Ok(Keepalive(stream))
}

/// Connects to an agent that was started with [`super::CALLED`], and sends its orders.
pub async fn begin(socket: &Path, orders: &Orders) -> io::Result<Keepalive> {
    let mut stream = UnixStream::connect(socket).await?;
    wire::send_json(&mut stream, orders).await?;
    stream.read_exact(&mut [0]).await?;
    Ok(Keepalive(stream))
}

/// A connection to `port`, forwarded by the agent.
pub async fn connect(socket: &Path, port: u16) -> io::Result<(Probe, UnixStream)> {
    let mut stream = UnixStream::connect(socket).await?;
    wire::send_json(&mut stream, &RelayRequest::Connect(port)).await?;
    let probe = match stream.read_u8().await? {
        b'+' => Probe::Open,
        b'l' => Probe::LoopbackOnly,
        _ => Probe::Refused,
    };
    Ok((probe, stream))
}

/// Checks whether a program listens on `port`.
pub async fn probe(socket: &Path, port: u16) -> io::Result<Probe> {
    connect(socket, port).await.map(|(probe, _)| probe)
}

/// Runs a command under the agent. Dropping the future ends the command.
pub async fn exec(socket: &Path, spec: ExecSpec) -> io::Result<Result<ExecReport, String>> {
    let mut stream = UnixStream::connect(socket).await?;
    let stdin = spec.stdin.clone();
    wire::send_json(&mut stream, &RelayRequest::Exec(Box::new(spec))).await?;
    wire::send(&mut stream, &stdin).await?;
    report(&mut stream).await
}

/// Reads the report of a command.
pub(crate) async fn report(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
) -> io::Result<Result<ExecReport, String>> {
    match wire::receive_json::<Result<ExecReport, String>>(from).await? {
        Err(why) => Ok(Err(why)),
        Ok(report) => {
            let (stdout, stderr) = (wire::receive(from).await?, wire::receive(from).await?);
            Ok(Ok(ExecReport { stdout, stderr, ..report }))
        }
    }
}

/// Ends all processes with `mark` under the agent.
pub async fn kill(socket: &Path, mark: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    wire::send_json(&mut stream, &RelayRequest::Kill(mark.to_owned())).await?;
    stream.read_u8().await?;
    stream.shutdown().await
}

/// Sends a command to an agent that reads one command from its standard input.
pub(crate) async fn submit(to: &mut (impl tokio::io::AsyncWrite + Unpin), spec: &ExecSpec) -> io::Result<()> {
    wire::send_json(to, spec).await?;
    wire::send(to, &spec.stdin).await
}
