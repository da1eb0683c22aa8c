//! Tunnels out of a sandbox: ports on its loopback interface that are forwarded to sockets outside.
#![expect(clippy::disallowed_methods, reason = "listens inside a sandbox")]

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};

use super::Tunnel;

/// Tunnels with bound ports, which do not accept connections yet.
pub(super) type BoundTunnels = Vec<(TcpListener, PathBuf)>;

/// Binds the ports of all tunnels.
pub(super) fn bind(doors: &[Tunnel]) -> io::Result<BoundTunnels> {
    let bind = |door: &Tunnel| {
        let listener = TcpListener::bind(door.at)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", door.at)))?;
        listener.set_nonblocking(true)?;
        Ok((listener, door.to.clone()))
    };
    doors.iter().map(bind).collect()
}

/// Starts to accept and forward connections.
pub(super) fn open(doors: BoundTunnels) -> io::Result<()> {
    for (listener, to) in doors {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let to: Arc<Path> = to.into();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, to.clone()));
            }
        });
    }
    Ok(())
}

async fn pass(mut from: TcpStream, to: Arc<Path>) {
    let _ = from.set_nodelay(true);
    match UnixStream::connect(&to).await {
        Ok(mut to) => {
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
        // A reset, like from a closed port.
        Err(_) => drop(from.set_zero_linger()),
    }
}
