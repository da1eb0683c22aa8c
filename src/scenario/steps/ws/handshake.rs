//! The WebSocket handshake of RFC 6455: the request, and the check of the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Uri, Version};
use indexmap::IndexMap;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The request of a handshake.
pub type HandshakeRequest = hyper::Request<Empty<Bytes>>;

/// The request of a handshake at `url`, with `path` instead of its own if given.
pub fn request(
    url: &Url,
    path: Option<&str>,
    headers: &IndexMap<String, String>,
    protocols: &[String],
) -> Result<HandshakeRequest, String> {
    let unfit = |e: &dyn std::fmt::Display| format!("{url} cannot be used: {e}");
    let path = path.unwrap_or(url.path());
    let path = url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut request = HandshakeRequest::new(Empty::new());
    *request.uri_mut() = path.parse::<Uri>().map_err(|e| unfit(&e))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str().unwrap_or_default());
    let value = |text: &str| HeaderValue::from_str(text).map_err(|e| unfit(&e));
    let own = request.headers_mut();
    own.insert(HOST, value(&host)?);
    own.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    own.insert(UPGRADE, HeaderValue::from_static("websocket"));
    own.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    own.insert(SEC_WEBSOCKET_KEY, value(&generate_key())?);
    if let Some(basic) = basic(url) {
        own.insert(AUTHORIZATION, value(&basic)?);
    }
    let written = headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let offered = (!protocols.is_empty()).then(|| ("sec-websocket-protocol", protocols.join(", ")));
    for (name, value) in written.chain(offered) {
        let named =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            format!("the value of the header `{name}` contains a line break or control character")
        })?;
        own.insert(named, value);
    }
    Ok(request)
}

/// User name and password of `url` as basic authorization.
fn basic(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user = percent_decode_str(url.username());
    let password = percent_decode_str(url.password().unwrap_or_default());
    let pair: Vec<u8> = user.chain(std::iter::once(b':')).chain(password).collect();
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// Values of a request that its answer must match.
pub struct HandshakeOptions {
    accept: String,
    protocols: Vec<String>,
    extensions: Vec<String>,
}

impl HandshakeOptions {
    /// The values of `request`.
    pub fn of(request: &HandshakeRequest) -> Self {
        let key = request.headers().get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        Self {
            accept: derive_accept_key(key),
            protocols: list(request.headers(), &SEC_WEBSOCKET_PROTOCOL),
            extensions: extensions(request.headers()),
        }
    }

    /// The negotiated subprotocol, or why an answer that switches protocols does not match.
    pub fn agreed(&self, version: Version, headers: &HeaderMap) -> Result<Option<String>, String> {
        if version < Version::HTTP_11 {
            return Err(format!("the answer is {version:?}, which does not support upgrades"));
        }
        let names =
            |name, token: &str| list(headers, name).iter().any(|item| item.eq_ignore_ascii_case(token));
        if !names(&UPGRADE, "websocket") {
            return Err("the answer has no header `Upgrade: websocket`".to_owned());
        }
        if !names(&CONNECTION, "upgrade") {
            return Err("the header `Connection` of the answer does not name `Upgrade`".to_owned());
        }
        let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        let accept = accepts.next().filter(|_| accepts.next().is_none());
        if accept.is_none_or(|accept| accept.as_bytes() != self.accept.as_bytes()) {
            return Err(
                "the header `Sec-WebSocket-Accept` of the answer does not match the key that was sent"
                    .to_owned(),
            );
        }
        if let Some(other) = extensions(headers).iter().find(|name| !self.extensions.contains(name)) {
            return Err(format!("the server uses the extension `{other}`, which was not offered"));
        }
        let chosen = list(headers, &SEC_WEBSOCKET_PROTOCOL);
        match chosen.as_slice() {
            [] if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) => {
                Err("the header `Sec-WebSocket-Protocol` of the answer names no subprotocol".to_owned())
            }
            // A server need not choose one.
            [] => Ok(None),
            [one] if self.protocols.contains(one) => Ok(Some(one.clone())),
            [_] => Err("the server chose a subprotocol that was not offered".to_owned()),
            [..] => Err("the server chose several subprotocols".to_owned()),
        }
    }
}

/// The names of extensions without their parameters.
fn extensions(headers: &HeaderMap) -> Vec<String> {
    let name = |item: String| item.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    list(headers, &SEC_WEBSOCKET_EXTENSIONS).into_iter().map(name).collect()
}

/// The items of all headers `name`.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let items =
        values.flat_map(|value| value.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>());
    items.filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(protocols: &[&str]) -> (HandshakeRequest, HandshakeOptions) {
        let url = Url::parse("ws://me:p%40ss%3A@h:81/a?b=c").unwrap();
        let protocols: Vec<String> = protocols.iter().map(|&name| name.to_owned()).collect();
        let request = request(&url, None, &IndexMap::new(), &protocols).unwrap();
        let asked = HandshakeOptions::of(&request);
        (request, asked)
    }

    #[test]
    fn user_name_and_password_are_sent_unless_there_is_a_header() {
        let (request, _) = asked(&[]);
        let header =
            |request: &HandshakeRequest, name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header(&request, "authorization"), format!("Basic {}", STANDARD.encode("me:p@ss:")));
        assert_eq!((header(&request, "host"), request.uri().to_string()), ("h:81".into(), "/a?b=c".into()));
        let own = IndexMap::from([("Authorization".to_owned(), "Bearer x".to_owned())]);
        let url = Url::parse("ws://me:pw@[::1]/").unwrap();
        let request = super::request(&url, Some("/../x"), &own, &[]).unwrap();
        assert_eq!(header(&request, "authorization"), "Bearer x");
        assert_eq!((header(&request, "host"), request.uri().to_string()), ("[::1]".into(), "/../x".into()));
    }

    #[test]
    fn an_answer_has_to_agree() {
        let (request, plain) = asked(&[]);
        let (_, offering) = asked(&["v1", "v2"]);
        let agreed = |asked: &HandshakeOptions, version, changed: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
            headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.append(CONNECTION, HeaderValue::from_static("x, UPGRADE"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, asked.accept.parse().unwrap());
            for (name, value) in changed {
                headers.insert(*name, value.parse().unwrap());
            }
            asked.agreed(version, &headers)
        };
        let key = request.headers()[SEC_WEBSOCKET_KEY].as_bytes();
        assert_eq!(plain.accept, derive_accept_key(key));
        let http = Version::HTTP_11;
        assert_eq!((agreed(&plain, http, &[]), agreed(&offering, http, &[])), (Ok(None), Ok(None)));
        assert_eq!(agreed(&offering, http, &[("sec-websocket-protocol", "v2")]), Ok(Some("v2".to_owned())));
        for (asked, version, changed, why) in [
            (&plain, Version::HTTP_10, ("x", "y"), "HTTP/1.0"),
            (&plain, http, ("upgrade", "h2c"), "no header `Upgrade: websocket`"),
            (&plain, http, ("connection", "keep-alive, upgraded"), "does not name `Upgrade`"),
            (&plain, http, ("sec-websocket-accept", "AAAA"), "does not match the key"),
            (
                &plain,
                http,
                ("sec-websocket-extensions", "a; b=c"),
                "the extension `a`, which was not offered",
            ),
            (&plain, http, ("sec-websocket-protocol", "v1"), "a subprotocol that was not offered"),
            (&offering, http, ("sec-websocket-protocol", "V1"), "a subprotocol that was not offered"),
            (&offering, http, ("sec-websocket-protocol", "v1, v2"), "several subprotocols"),
            (&offering, http, ("sec-websocket-protocol", ""), "names no subprotocol"),
            (&plain, http, ("sec-websocket-protocol", ""), "names no subprotocol"),
        ] {
            let error = agreed(asked, version, &[changed]).unwrap_err();
            assert!(error.contains(why), "{changed:?}: {error}");
        }
    }
}
