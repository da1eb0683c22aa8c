use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::sync::oneshot;

use super::StoreError;

/// Pending result of [`super::Store::append`]: resolves to the number of the last fact of the run once the
/// batch is on disk. Dropping it does not cancel the batch.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<u64, StoreError>>);

/// The other end of a [`Ticket`]. Dropping it unresolved resolves the ticket to [`StoreError::Closed`].
#[derive(Debug)]
pub struct Promise(oneshot::Sender<Result<u64, StoreError>>);

impl Ticket {
    /// A ticket and its other end.
    pub fn open() -> (Promise, Self) {
        let (sender, receiver) = oneshot::channel();
        (Promise(sender), Self(receiver))
    }

    /// A resolved ticket.
    pub fn resolved(result: Result<u64, StoreError>) -> Self {
        let (promise, ticket) = Self::open();
        promise.keep(result);
        ticket
    }

    /// Waits on this thread, whether or not it belongs to an async runtime.
    pub fn blocking_wait(mut self) -> Result<u64, StoreError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut cx) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

impl Promise {
    /// Resolves the ticket.
    pub fn keep(self, result: Result<u64, StoreError>) {
        // The caller may be gone; the batch was written anyway.
        let _ = self.0.send(result);
    }
}

impl Future for Ticket {
    type Output = Result<u64, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|received| received.unwrap_or(Err(StoreError::Closed)))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_resolves_both_ways() {
        let (promise, ticket) = Ticket::open();
        let writer = std::thread::spawn(move || promise.keep(Ok(7)));
        assert_eq!(ticket.blocking_wait(), Ok(7));
        writer.join().unwrap();
        assert_eq!(Ticket::resolved(Ok(8)).await, Ok(8));
        let (promise, ticket) = Ticket::open();
        drop(promise);
        assert_eq!(ticket.await, Err(StoreError::Closed));
    }
}
