//! The outer end of a tunnel: a Unix socket that is forwarded to a port of another service or to an allowed
//! host.
#![expect(
    clippy::disallowed_methods,
    reason = "listens for services, and connects to the hosts that they may reach"
)]

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Log;
use crate::relay::{self, Probe};

/// Time limit for connecting to a host.
const DIAL: Duration = Duration::from_secs(20);

/// Target of a tunnel.
#[derive(Clone)]
pub(super) enum TunnelTarget {
    /// A port of a service. The channel receives the socket of its agent once it is up.
    Service(watch::Receiver<Option<PathBuf>>, u16),
    /// A port of a host, by name. Connection errors go to the log.
    Host(String, u16, Log),
}

/// Outgoing tunnels of one service; closed when dropped.
pub(super) struct Tunnels {
    dir: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Tunnels {
    /// No tunnels yet.
    pub(super) fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("atoll-").tempdir()?;
        // Its parent directory is private. In a sandbox it is mounted alone, and another user must be able
        // to enter it.
        let doors = dir.path().join("doors");
        std::fs::create_dir(&doors)?;
        std::fs::set_permissions(&doors, Permissions::from_mode(0o711))?;
        Ok(Self { dir, tasks: Vec::new() })
    }

    /// The directory of the sockets.
    pub(super) fn dir(&self) -> PathBuf {
        self.dir.path().join("doors")
    }

    /// Opens a socket and returns its name in the directory.
    pub(super) fn open(&mut self, leads: TunnelTarget) -> io::Result<PathBuf> {
        let name = PathBuf::from(self.tasks.len().to_string());
        let path = self.dir().join(&name);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        let leads = Arc::new(leads);
        self.tasks.push(tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, leads.clone()));
            }
        }));
        Ok(name)
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Forwards a connection; closes it if the target cannot be reached.
async fn pass(mut from: UnixStream, leads: Arc<TunnelTarget>) {
    match &*leads {
        TunnelTarget::Service(socket, port) => {
            let socket = socket.borrow().clone();
            if let Some(mut to) = into_service(socket.as_deref(), *port).await {
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        }
        TunnelTarget::Host(name, port, log) => {
            let dialled = timeout(DIAL, TcpStream::connect((name.as_str(), *port))).await;
            match dialled
                .map_err(|_| format!("no answer within {DIAL:?}"))
                .and_then(|d| d.map_err(|e| e.to_string()))
            {
                Ok(mut to) => {
                    let _ = to.set_nodelay(true);
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
                Err(why) => log.push(format!("atoll: {name}:{port} cannot be reached: {why}\n").as_bytes()),
            }
        }
    }
}

async fn into_service(socket: Option<&Path>, port: u16) -> Option<UnixStream> {
    match relay::connect(socket?, port).await {
        Ok((Probe::Open, stream)) => Some(stream),
        _ => None,
    }
}
