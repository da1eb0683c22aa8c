use std::fmt::Write as _;

use reqwest::Url;

/// The base URL of the program under test.
#[derive(Clone, Debug)]
pub struct TargetUrl(Url);

impl TargetUrl {
    /// Parses a base URL, which may have a path and a query.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|e| format!("`{text}` is not a URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(format!("`{text}` is not an HTTP address such as http://127.0.0.1:8080"));
        }
        Ok(Self(url))
    }

    /// The base URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether connections to it are without TLS.
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Host and port.
    pub fn authority(&self) -> String {
        let port = self.0.port_or_known_default().unwrap_or(80);
        format!("{}:{port}", self.0.host_str().unwrap_or_default())
    }

    /// Whether `url` has the scheme, host and port of the target.
    pub fn is_home_of(&self, url: &Url) -> bool {
        url.origin() == self.0.origin()
    }

    /// Whether the WebSocket `url` has the host, port and security of the target.
    pub fn is_home_of_socket(&self, url: &Url) -> bool {
        let secure = |url: &Url| matches!(url.scheme(), "https" | "wss");
        let place = |url: &Url| (url.host().map(|host| host.to_owned()), url.port_or_known_default());
        secure(url) == secure(&self.0) && place(url) == place(&self.0)
    }

    /// The URL of `path`, which may have a query and is appended to the path and query of the target. A
    /// complete URL is used as it is, but must have the origin of the target.
    pub fn join(&self, path: &str) -> Result<Url, String> {
        if path.starts_with("http://") || path.starts_with("https://") {
            let url = Url::parse(path).map_err(|e| format!("`{path}` is not a URL: {e}"))?;
            if !self.is_home_of(&url) {
                return Err(format!("{url} is not on the target {}", self.0.origin().ascii_serialization()));
            }
            return Ok(url);
        }
        let path = path.trim().split('#').next().unwrap_or_default();
        let (own, query) = match path.split_once('?') {
            Some((own, query)) => (own, Some(query)),
            None => (path, None),
        };
        let mut url = self.0.clone();
        if !own.is_empty() {
            let base = self.0.path().trim_end_matches('/');
            let slash = if own.starts_with('/') { "" } else { "/" };
            url.set_path(&format!("{base}{slash}{own}"));
        }
        let queries: Vec<&str> =
            self.0.query().into_iter().chain(query).filter(|part| !part.is_empty()).collect();
        url.set_query((!queries.is_empty()).then(|| queries.join("&")).as_deref());
        url.set_fragment(None);
        Ok(url)
    }

    /// The path as it is written, if a URL would change it: `/a/../b` is `/b` in a URL.
    pub fn path_as_written(&self, path: &str) -> Option<String> {
        let path = path.trim();
        let is_scheme = |scheme: &str| {
            ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        };
        let whole = path.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest);
        let own = whole.map_or(path, |rest| rest.find('/').map_or("", |slash| &rest[slash..]));
        let own = own.split(['?', '#']).next().unwrap_or_default();
        let is_dots = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        if !own.contains(['\\', '\t', '\r', '\n']) && !own.split('/').any(is_dots) {
            return None;
        }
        let base = if whole.is_some() { "" } else { self.0.path().trim_end_matches('/') };
        let slash = if own.starts_with('/') { "" } else { "/" };
        Some(format!("{base}{slash}{}", encoded(own)))
    }
}

/// `path` with characters that a request line cannot have as `%20` and so on.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_graphic() && !b"\"<>^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::TargetUrl;

    #[test]
    fn paths_and_queries_join() {
        for (target, path, url) in [
            ("http://h:1", "/items", "http://h:1/items"),
            ("http://h:1/", "items?x=1&y=a b", "http://h:1/items?x=1&y=a%20b"),
            ("http://h:1/api/", "/items/ä", "http://h:1/api/items/%C3%A4"),
            ("http://h:1/api?key=k", "/items?x=1", "http://h:1/api/items?key=k&x=1"),
            ("http://h:1/api", "?x=1", "http://h:1/api?x=1"),
            ("http://h:1", "/a%2Fb#frag", "http://h:1/a%2Fb"),
            ("http://h:1", "", "http://h:1/"),
            ("http://h:1", "http://h:1/next?p=2", "http://h:1/next?p=2"),
        ] {
            assert_eq!(
                TargetUrl::parse(target).unwrap().join(path).unwrap().as_str(),
                url,
                "{target} + {path}"
            );
        }
    }

    #[test]
    fn a_path_that_a_url_would_change_is_kept() {
        for (target, path, written) in [
            ("http://h:1", "/static/../../etc/passwd?x=1", Some("/static/../../etc/passwd")),
            ("http://h:1/api/", "a/%2E%2e/b c", Some("/api/a/%2E%2e/b%20c")),
            ("http://h:1/api", "/./ä\\b\tc", Some("/api/./%C3%A4\\b%09c")),
            ("http://h:1/api", "http://h:1/x/..#y", Some("/x/..")),
            ("https://h:1/api", "wss://h:1/x/../y?z", Some("/x/../y")),
            ("http://h:1/api", "/items/a..b/.c?q=../d", None),
            ("http://h:1", "http://h:1", None),
        ] {
            assert_eq!(TargetUrl::parse(target).unwrap().path_as_written(path).as_deref(), written, "{path}");
        }
    }

    #[test]
    fn nothing_leaves_the_target() {
        let target = TargetUrl::parse("http://127.0.0.1:8080").unwrap();
        assert!(target.join("http://example.org/").unwrap_err().contains("not on the target"));
        assert_eq!(target.join("//example.org/x").unwrap().as_str(), "http://127.0.0.1:8080//example.org/x");
        assert_eq!(target.join("@example.org/x").unwrap().as_str(), "http://127.0.0.1:8080/@example.org/x");
        assert!(TargetUrl::parse("ftp://x").is_err() && TargetUrl::parse("127.0.0.1:80").is_err());
    }
}
