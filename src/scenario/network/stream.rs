//! The bytes of a connection to the target.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are read before other tasks get a turn. Otherwise a program that sends without end would
/// keep its reader busy, and timeouts would never fire.
const TURN: usize = 16 << 10;

/// A stream that counts the bytes that are read, and yields to other tasks after every few of them.
pub struct FairStream<S> {
    inner: S,
    came: Arc<AtomicU64>,
    turn: usize,
}

impl<S> FairStream<S> {
    /// Wraps `inner`. The counter has the number of bytes received so far.
    pub fn counted(inner: S) -> (Self, Arc<AtomicU64>) {
        let came = Arc::new(AtomicU64::new(0));
        (Self { inner, came: came.clone(), turn: TURN }, came)
    }

    /// Wraps `inner` without a counter.
    pub fn of(inner: S) -> Self {
        Self::counted(inner).0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FairStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn == 0 {
            self.turn = TURN;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = self.turn.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.inner).poll_read(context, &mut part);
        let came = part.filled().len();
        buffer.advance(came);
        self.came.fetch_add(came as u64, Ordering::Release);
        self.turn = if read.is_pending() { TURN } else { self.turn - came };
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FairStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn others_get_their_turn_and_nothing_is_lost() {
        let sent: Vec<u8> = (0..100_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (mut stream, came) = FairStream::counted(sent.as_slice());
        let mut all = vec![0; sent.len() + 1];
        let mut filled = 0;
        let mut turns = 0;
        loop {
            let mut buffer = ReadBuf::new(&mut all[filled..]);
            let read = std::future::poll_fn(|context| {
                Poll::Ready(Pin::new(&mut stream).poll_read(context, &mut buffer))
            });
            match read.await {
                Poll::Pending => turns += 1,
                Poll::Ready(read) => {
                    read.unwrap();
                    if buffer.filled().is_empty() {
                        break;
                    }
                    filled += buffer.filled().len();
                }
            }
        }
        assert_eq!((&all[..filled], came.load(Ordering::Acquire)), (sent.as_slice(), 100_000));
        assert_eq!(turns, 100_000 / TURN);
        let mut again = Vec::new();
        FairStream::of(sent.as_slice()).read_to_end(&mut again).await.unwrap();
        assert_eq!(again, sent);
    }
}
