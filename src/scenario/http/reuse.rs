//! Connections that are used again. A server may close one after any answer, so that the next request on it is lost on
//! the way: that says nothing about the program. Such a request is sent once more. What happens on a new connection is
//! the program's own doing and is not tried again.

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};

use reqwest::retry;
use tower_layer::Layer;
use tower_service::Service;

/// Most connections that are given up for one request: all that were kept may have been closed.
const MOST: u32 = 64;

tokio::task_local! {
    /// Whether the connection that the request of this task is sent on was made for it.
    static IS_NEW: Cell<bool>;
}

/// Carries out a request whose client has [`Noting`] and [`policy`].
pub async fn carried_out<T>(request: impl Future<Output = T>) -> T {
    IS_NEW.scope(Cell::new(false), request).await
}

/// Sends a request once more that died on a connection used before, without any answer.
pub fn policy() -> retry::Builder {
    retry::for_host(Anywhere).no_budget().max_retries_per_request(MOST).classify_fn(|tried| {
        // The next request of this task, after a redirect or a failure, finds a connection of its own.
        let is_new = IS_NEW.try_with(|is_new| is_new.replace(false)).unwrap_or(true);
        if !is_new && tried.error().is_some_and(is_lost) { tried.retryable() } else { tried.success() }
    })
}

/// Any host: the redirects that are followed stay at the target.
struct Anywhere;

impl PartialEq<&str> for Anywhere {
    fn eq(&self, _: &&str) -> bool {
        true
    }
}

/// Whether the connection ended before an answer began.
fn is_lost(error: &(dyn Error + 'static)) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let by_http = error
        .downcast_ref::<hyper::Error>()
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
    let by_socket = error.downcast_ref::<std::io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        )
    });
    by_http || by_socket || error.source().is_some_and(is_lost)
}

/// Notes which requests had a connection made for them.
#[derive(Clone)]
pub struct Noting;

impl<S> Layer<S> for Noting {
    type Service = Noted<S>;

    fn layer(&self, inner: S) -> Noted<S> {
        Noted(inner)
    }
}

/// A connector that notes that it made a connection.
#[derive(Clone)]
pub struct Noted<S>(S);

impl<S, R> Service<R> for Noted<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let made = self.0.call(request);
        Box::pin(async move {
            let made = made.await?;
            // A request that got another connection meanwhile leaves this one to a task of its own.
            let _ = IS_NEW.try_with(|is_new| is_new.set(true));
            Ok(made)
        })
    }
}
