//! Port forwarding to a service: a port on 127.0.0.1 whose connections go to the agent of the service.
#![expect(clippy::disallowed_methods, reason = "listens on loopback for the service")]

use std::io;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::relay::{self, Probe};

/// A port on 127.0.0.1 that is forwarded to a port of a service; closed when dropped.
#[derive(Debug)]
pub struct PortForward {
    port: u16,
    task: JoinHandle<()>,
}

impl PortForward {
    /// Opens a free port that is forwarded to `port` by the agent at `socket`.
    pub async fn open(socket: &Path, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let own = listener.local_addr()?.port();
        let socket = socket.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, socket.clone(), port));
            }
        });
        Ok(Self { port: own, task })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: TcpStream, socket: PathBuf, port: u16) {
    let _ = from.set_nodelay(true);
    match relay::connect(&socket, port).await {
        Ok((Probe::Open, mut to)) => {
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
        // A reset, like from a closed port.
        _ => drop(from.set_zero_linger()),
    }
}
