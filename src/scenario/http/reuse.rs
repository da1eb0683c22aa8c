//! Connections that are used again. A server may close one after any answer, so that the next request on it is lost on
//! the way: that says nothing about the program. Such a request is sent once more, on a new connection. What happens on a
//! new connection is the program's own doing and is not tried again.

use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connection, HttpInfo};
use reqwest::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, REFERER, TRANSFER_ENCODING,
};
use reqwest::{Client, Method, Request, Response, StatusCode, Url};
use tower_layer::Layer;
use tower_service::Service;

/// The connections of a client that have carried an answer, by their own address.
#[derive(Clone, Default)]
pub struct Used(Arc<Mutex<HashSet<SocketAddr>>>);

impl Used {
    fn with<T>(&self, look: impl FnOnce(&mut HashSet<SocketAddr>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that `response` came on its connection; whether that had carried an answer before.
    fn note(&self, response: &Response) -> bool {
        let info = response.extensions().get::<HttpInfo>();
        info.is_some_and(|info| self.with(|used| !used.insert(info.local_addr())))
    }

    /// Notes that a redirect to `url` is followed: what answered was a connection that was made for this request, or a used one.
    pub fn follow(&self, status: StatusCode, from: &Url, url: &Url) {
        let noted = ATTEMPT.try_with(|attempt| {
            let attempt = &mut *attempt.borrow_mut();
            self.with(|used| used.extend(attempt.made.drain(..)));
            attempt.hops.push(Hop { status, from: from.clone(), url: url.clone() });
        });
        // Outside of `carried_out` nothing is sent again.
        let _ = noted;
    }

    /// Whether `error` says that a connection that had carried an answer ended before another one began.
    fn has_lost(&self, error: &reqwest::Error) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(at) = error.downcast_ref::<legacy::Error>().and_then(legacy::Error::connect_info) {
                let mut extras = hyper::http::Extensions::new();
                at.get_extras(&mut extras);
                let at = extras.get::<HttpInfo>().map(HttpInfo::local_addr);
                return is_lost(error) && at.is_some_and(|at| self.with(|used| used.contains(&at)));
            }
            cause = error.source();
        }
        false
    }
}

/// What is known of a request that is being carried out.
#[derive(Default)]
struct Attempt {
    /// Connections that were made for it.
    made: Vec<SocketAddr>,
    /// Redirects that were followed.
    hops: Vec<Hop>,
    /// How many were followed before, by the one that was lost.
    before: usize,
}

/// How many redirects were followed before the request of this task was sent once more.
pub fn followed_before() -> usize {
    ATTEMPT.try_with(|attempt| attempt.borrow().before).unwrap_or_default()
}

/// A redirect that was followed.
struct Hop {
    status: StatusCode,
    from: Url,
    url: Url,
}

impl Hop {
    /// Makes `request` the one that follows the redirect, as clients do: a GET without a body in place of a POST.
    fn apply(self, request: &mut Request) {
        let is_get = match self.status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *request.method() == Method::POST,
            StatusCode::SEE_OTHER => *request.method() != Method::HEAD,
            _ => false,
        };
        if is_get {
            *request.method_mut() = Method::GET;
            *request.body_mut() = None;
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
        }
        let mut from = self.from;
        from.set_fragment(None);
        // Redirects are followed within one origin, whose address names no user.
        if let Ok(from) = HeaderValue::from_str(from.as_str()) {
            request.headers_mut().insert(REFERER, from);
        }
        *request.url_mut() = self.url;
    }
}

tokio::task_local! {
    static ATTEMPT: RefCell<Attempt>;
}

/// Sends a request through `client`, whose layer is [`Noting`] with `used`. If it is lost on a connection that was used before, it
/// is sent once more through `fresh`, which keeps no connections; of a chain of redirects, only the request that was lost.
pub async fn carried_out(
    client: &Client,
    used: &Used,
    fresh: impl FnOnce() -> Option<Client>,
    request: Request,
) -> reqwest::Result<Response> {
    let again = request.try_clone();
    let sent = async {
        let answer = client.execute(request).await;
        (answer, ATTEMPT.with(RefCell::take).hops)
    };
    let (answer, hops) = ATTEMPT.scope(RefCell::default(), sent).await;
    let is_lost = match &answer {
        Ok(response) => used.note(response) && is_farewell(response),
        Err(error) => used.has_lost(error),
    };
    let again = again.filter(|_| is_lost).and_then(|again| Some((again, fresh()?)));
    let Some((mut again, fresh)) = again else { return answer };
    let attempt = RefCell::new(Attempt { before: hops.len(), ..Attempt::default() });
    for hop in hops {
        hop.apply(&mut again);
    }
    ATTEMPT.scope(attempt, fresh.execute(again)).await
}

/// Whether a server only says that it closes a connection on which it had waited too long for a request. It may have done so before it
/// saw the request that takes this for its answer.
fn is_farewell(response: &Response) -> bool {
    let closes = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
    response.status() == StatusCode::REQUEST_TIMEOUT && response.headers().get(CONNECTION).is_some_and(closes)
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

/// Notes which connections are made: they have carried no answer.
#[derive(Clone)]
pub struct Noting(pub Used);

impl<S> Layer<S> for Noting {
    type Service = Noted<S>;

    fn layer(&self, inner: S) -> Noted<S> {
        Noted { inner, used: self.0.clone() }
    }
}

/// A connector that notes the connections that it makes.
#[derive(Clone)]
pub struct Noted<S> {
    inner: S,
    used: Used,
}

impl<S, R> Service<R> for Noted<S>
where
    S: Service<R>,
    S::Response: Connection,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (made, used) = (self.inner.call(request), self.used.clone());
        Box::pin(async move {
            let made = made.await?;
            let mut extras = hyper::http::Extensions::new();
            made.connected().get_extras(&mut extras);
            if let Some(info) = extras.get::<HttpInfo>() {
                // An address comes back when the connection that had it is gone.
                used.with(|used| used.remove(&info.local_addr()));
                // A request that got another connection meanwhile leaves this one to a task of its own.
                let _ = ATTEMPT.try_with(|attempt| attempt.borrow_mut().made.push(info.local_addr()));
            }
            Ok(made)
        })
    }
}
