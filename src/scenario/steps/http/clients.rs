//! The HTTP clients of a scenario, with their certificates, redirects and cookies.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::Uri;
use hyper::body::Bytes;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue, LOCATION,
    REFERER, SET_COOKIE, TRANSFER_ENCODING,
};
use reqwest::{Client, Method, RequestBuilder, ResponseBuilderExt, StatusCode, Url};

use super::connections::{ConnectionPool, WireRequest, WireResponse};
use super::decoded::{ACCEPTED, decoded};
use super::request::Redirects;
use crate::requests::{MOST_REDIRECTS, RedirectPolicy, may_follow};
use crate::scenario::network::errors::describe;
use crate::scenario::network::{TargetUrl, Tls};

/// A client with its own connections.
#[derive(Clone)]
pub struct Clients {
    /// Builds requests, but never sends any.
    builder: Client,
    home: TargetUrl,
    redirects: Redirects,
    jar: Option<Arc<Jar>>,
    connections: Arc<ConnectionPool>,
}

/// Settings of a client.
pub struct ClientSettings {
    /// Base URL of requests.
    pub target: TargetUrl,
    /// Redirects to follow.
    pub redirects: Redirects,
    /// The cookies of an actor.
    pub jar: Option<Arc<Jar>>,
    /// TLS settings of the user.
    pub tls: Tls,
    /// Trusted certificates, in PEM.
    pub trust: String,
}

impl Clients {
    /// A client with these settings.
    pub fn new(making: ClientSettings) -> Result<Self, String> {
        let builder = Client::builder().no_proxy().tls_certs_only([]).build();
        let builder =
            builder.map_err(|e| format!("the HTTP client could not be created: {}", describe(&e)))?;
        // Reading the certificates of the machine takes longer than most requests, and a target without TLS
        // never needs them.
        let tls = if making.target.is_plain() {
            None
        } else {
            let mut config = making.tls.trusting(&making.trust).config_in_full()?;
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Some(config)
        };
        Ok(Self {
            builder,
            home: making.target,
            redirects: making.redirects,
            jar: making.jar,
            connections: ConnectionPool::new(tls),
        })
    }

    /// A request to be built.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.builder.request(method, url)
    }

    /// Carries out a request, with `path` instead of its own if given.
    pub async fn execute(
        &self,
        mut request: reqwest::Request,
        path: Option<String>,
    ) -> Result<reqwest::Response, String> {
        let body = match request.body_mut().take() {
            // The body of a form with files is a stream, which could be sent only once.
            Some(body) => body.collect().await.map_err(|e| describe(&e))?.to_bytes(),
            None => Bytes::new(),
        };
        let request = hyper::Request::<reqwest::Body>::try_from(request).map_err(|e| describe(&e))?;
        let mut request = request.map(|_| Full::new(body));
        if let Some(path) = path {
            *request.uri_mut() = at_path(request.uri(), &path)?;
        }
        request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        request.headers_mut().entry(ACCEPT_ENCODING).or_insert(ACCEPTED);
        Ok(decoded(Box::pin(self.follow(request)).await?)?.into())
    }

    /// Sends a request and follows redirects.
    async fn follow(&self, mut request: WireRequest) -> Result<WireResponse, String> {
        let mut followed = 0;
        loop {
            let url = Url::parse(&request.uri().to_string()).map_err(|e| describe(&e))?;
            let mut sent = request.clone();
            let cookies = self.jar.as_ref().filter(|_| !sent.headers().contains_key(COOKIE));
            if let Some(cookies) = cookies.and_then(|jar| jar.cookies(&url)) {
                sent.headers_mut().insert(COOKIE, cookies);
            }
            let mut response = self.connections.send(sent).await?;
            if let Some(jar) = &self.jar {
                jar.set_cookies(&mut response.headers().get_all(SET_COOKIE).iter(), &url);
            }
            let Some(next) = self.next(&response, &url, followed)? else {
                response.extensions_mut().extend(named(url));
                return Ok(response);
            };
            redirect(&mut request, response.status(), &url, &next)?;
            followed += 1;
        }
    }

    /// The URL of a redirect that is followed.
    fn next(&self, response: &WireResponse, url: &Url, followed: usize) -> Result<Option<Url>, String> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let place =
            response.headers().get(LOCATION).and_then(|place| std::str::from_utf8(place.as_bytes()).ok());
        let Some(mut next) = place.and_then(|place| url.join(place).ok()) else { return Ok(None) };
        next.set_fragment(None);
        let follows = match self.redirects {
            Redirects::Flag(true) if followed >= MOST_REDIRECTS => {
                return Err(format!("more than {MOST_REDIRECTS} redirects"));
            }
            Redirects::Flag(follows) => follows,
            Redirects::Most(most) => followed < most,
        };
        Ok(Some(next).filter(|next| follows && may_follow(self.home.url(), next, RedirectPolicy::Origin)))
    }
}

/// Turns `request` into the one that follows a redirect: a POST becomes a GET without a body, as in other
/// clients.
fn redirect(request: &mut WireRequest, status: StatusCode, from: &Url, next: &Url) -> Result<(), String> {
    let is_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *request.method() == Method::POST,
        StatusCode::SEE_OTHER => *request.method() != Method::HEAD,
        _ => false,
    };
    if is_get {
        *request.method_mut() = Method::GET;
        *request.body_mut() = Full::default();
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
            request.headers_mut().remove(name);
        }
    }
    // Redirects stay within one origin, whose address has no user name.
    if let Ok(from) = HeaderValue::from_str(from.as_str()) {
        request.headers_mut().insert(REFERER, from);
    }
    *request.uri_mut() = next.as_str().parse::<Uri>().map_err(|e| describe(&e))?;
    Ok(())
}

/// `uri` with another path.
fn at_path(uri: &Uri, path: &str) -> Result<Uri, String> {
    let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|e: hyper::http::uri::InvalidUri| describe(&e))?);
    Uri::from_parts(parts).map_err(|e| describe(&e))
}

/// Extension with the URL of an answer.
fn named(url: Url) -> hyper::http::Extensions {
    let named = hyper::Response::builder().url(url).body(());
    named.map(|named| named.into_parts().0.extensions).unwrap_or_default()
}
