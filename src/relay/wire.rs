//! Frames: a length in four bytes, then that number of bytes.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const MOST: u32 = 256 << 20;

/// Sends bytes.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let size = u32::try_from(bytes.len()).ok().filter(|size| *size <= MOST);
    let size = size.ok_or_else(|| io::Error::other("a message is larger than 256 MiB"))?;
    to.write_u32(size).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

/// Receives bytes.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let size = from.read_u32().await?;
    if size > MOST {
        return Err(io::Error::other("a message is larger than 256 MiB"));
    }
    let mut bytes = Vec::new();
    from.take(size.into()).read_to_end(&mut bytes).await?;
    if bytes.len() < size as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Like [`receive`], but blocking.
pub fn receive_blocking(from: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size);
    if size > MOST {
        return Err(io::Error::other("a message is larger than 256 MiB"));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(from, size.into()), &mut bytes)?;
    if bytes.len() < size as usize { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// Sends a value as JSON.
pub async fn send_json(to: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    send(to, &serde_json::to_vec(value)?).await
}

/// Receives a value as JSON.
pub async fn receive_json<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    Ok(serde_json::from_slice(&receive(from).await?)?)
}
