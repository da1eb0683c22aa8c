//! Finds credentials in URLs, headers, cookies and query parameters, and replaces them by `***`.

mod part;

pub use part::CredentialPart;

use std::borrow::Cow;
use std::iter::once;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::scenario::values::variables::placeholders;
use crate::visible::userinfo;

/// Replacement for a credential.
pub const MASK: &str = "***";

/// Parts of the names of headers whose values are credentials, in lower case and without `-` and `_`.
const HEADERS: [&str; 9] = [
    "authorization",
    "token",
    "apikey",
    "secret",
    "password",
    "passwd",
    "session",
    "credential",
    "accesskey",
];

/// Names of query parameters whose values are credentials, in lower case and without `-` and `_`.
const PARAMETERS: [&str; 26] = [
    "apikey",
    "accesskey",
    "accesstoken",
    "authtoken",
    "idtoken",
    "refreshtoken",
    "privatetoken",
    "sessiontoken",
    "token",
    "auth",
    "jwt",
    "secret",
    "clientsecret",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "session",
    "sessionid",
    "credential",
    "credentials",
    "sig",
    "signature",
    "xamzsignature",
    "xamzsecuritytoken",
];

/// Authentication schemes, which are not secret.
const SCHEMES: [&str; 6] = ["basic", "bearer", "digest", "negotiate", "token", "apikey"];

/// Kind of a text in a scenario.
#[derive(Clone, Copy)]
pub enum CredentialKind<'s> {
    /// The value of the header with this name.
    Header(&'s str),
    /// The value of one cookie.
    Cookie,
    /// A URL, or a path with its query.
    Url,
    /// The value of the query parameter with this name.
    Parameter(&'s str),
    /// A credential as a whole.
    Whole,
}

impl CredentialKind<'_> {
    /// Spans of the credentials in `text`, in order.
    pub fn spans(self, text: &str) -> Vec<Range<usize>> {
        let spans = match self {
            CredentialKind::Header(name) if name.eq_ignore_ascii_case("cookie") => cookies(text),
            CredentialKind::Header(name) if is_header(name) => {
                once(scheme(text).map_or(0, |scheme| scheme.len() + 1)..text.len()).collect()
            }
            CredentialKind::Url => {
                userinfo(text).map(|part| range(text, part)).chain(parameters(text)).collect()
            }
            CredentialKind::Parameter(name) if !is_parameter(name) => Vec::new(),
            CredentialKind::Header(_) => Vec::new(),
            CredentialKind::Parameter(_) | CredentialKind::Cookie | CredentialKind::Whole => {
                once(0..text.len()).collect()
            }
        };
        let mut spans: Vec<_> = spans.into_iter().filter(|span| !span.is_empty()).collect();
        spans.sort_unstable_by_key(|span| span.start);
        spans
    }

    /// `text` with `***` for the credentials for which `hides` returns true.
    pub fn masked(self, text: &str, hides: impl Fn(&str) -> bool) -> Cow<'_, str> {
        let spans: Vec<_> = self.spans(text).into_iter().filter(|span| hides(&text[span.clone()])).collect();
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
        for span in spans {
            // It may be inside the previous one.
            if span.start >= done {
                shown.push_str(&text[done..span.start]);
                shown.push_str(MASK);
            }
            done = done.max(span.end);
        }
        shown.push_str(&text[done..]);
        Cow::Owned(shown)
    }
}

/// The scheme of a header's value, if it has one.
pub fn scheme(value: &str) -> Option<&str> {
    let (scheme, _) = value.split_once(' ')?;
    SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(scheme)
}

/// Span of `part` in `text`.
fn range(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// The values of a header `Cookie`.
fn cookies(text: &str) -> Vec<Range<usize>> {
    let value = |pair: &str| range(text, pair.split_once('=').map_or(pair, |(_, value)| value).trim());
    text.split(';').map(value).collect()
}

pub fn is_header(name: &str) -> bool {
    let name = plain(name);
    HEADERS.iter().any(|known| name.contains(known))
}

fn is_parameter(name: &str) -> bool {
    // It may be encoded.
    let decoded = form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| plain(&name));
    decoded.is_some_and(|name| PARAMETERS.contains(&name.as_str()))
}

/// `name` in lower case and without what separates its words.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// The values of the query parameters in a URL that are credentials; those in its fragment too.
fn parameters(url: &str) -> impl Iterator<Item = Range<usize>> {
    let query = url.find(['?', '#']).map_or("", |start| &url[start + 1..]);
    let pairs = query.split(['&', '#', '?']).filter_map(|pair| pair.split_once('='));
    let found = pairs.filter(|(name, _)| is_parameter(name));
    found.map(|(_, value)| {
        let end = value.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(value.len());
        range(url, &value[..end])
    })
}

/// Whether a credential consists of more than variables.
pub fn is_literal(text: &str) -> bool {
    literals(text).any(|part| part.contains(char::is_alphanumeric))
}

/// The texts between the variables of `text`.
pub fn literals(text: &str) -> impl Iterator<Item = &str> {
    let found = placeholders(text);
    let starts: Vec<usize> = once(0).chain(found.iter().map(|(_, end, _)| *end)).collect();
    let ends: Vec<usize> = found.iter().map(|(start, _, _)| *start).chain([text.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &text[start..end])
}

/// The value of the header `name` for records: only its scheme, if it has one, and the names of cookies.
pub fn recorded(name: &str, value: &str) -> String {
    CredentialKind::Header(name).masked(value, |_| true).into_owned()
}

/// A URL, or a path with its query, for records.
pub fn recorded_url(url: &str) -> Cow<'_, str> {
    CredentialKind::Url.masked(url, |_| true)
}

/// Patterns for well-known kinds of keys.
static KINDS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let kinds = [
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",
        r"\bgithub_pat_[A-Za-z0-9_]{40,}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bAIza[0-9A-Za-z_-]{35}\b",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)",
    ];
    kinds.iter().filter_map(|kind| Regex::new(kind).ok()).collect()
});

/// Spans in `text` that look like a key.
pub fn keys_in(text: &str) -> impl Iterator<Item = Range<usize>> {
    KINDS.iter().flat_map(move |kind| kind.find_iter(text)).map(|found| found.range())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_recorded_by_their_scheme() {
        assert_eq!(recorded("Authorization", "Bearer abc.def"), "Bearer ***");
        assert_eq!(recorded("authorization", "Basic bWU6c2VjcmV0"), "Basic ***");
        assert_eq!(recorded("X-Api-Key", "abc def"), "***");
        for name in ["apikey", "X-GitHub-Token", "X-Session-Id", "x_csrf_token", "X-Client-Secret"] {
            assert_eq!(recorded(name, "abc def"), "***", "{name}");
        }
        assert_eq!(recorded("authorization", "abcdef"), "***");
        assert_eq!(recorded("authorization", "k=v, x y"), "***");
        assert_eq!(recorded("accept", "text/html"), "text/html");
        assert_eq!(recorded("cookie", "session=abc; theme=dark;x"), "session=***; theme=***;***");
    }

    #[test]
    fn credentials_in_a_query_are_not_recorded() {
        for (url, shown) in [
            ("/a?api_key=abc&page=2", "/a?api_key=***&page=2"),
            (
                "/a?page=2&X-Amz-Signature=abc#access_token=def",
                "/a?page=2&X-Amz-Signature=***#access_token=***",
            ),
            ("/a?tok%65n=abc&pwd=def", "/a?tok%65n=***&pwd=***"),
            ("ws://me:pw@h/feed?Token=a%20b", "ws://***@h/feed?Token=***"),
            ("//me:pw@h/feed?Token=a%20b", "//***@h/feed?Token=***"),
            ("/token=abc?key=v&tokens=3&token=", "/token=abc?key=v&tokens=3&token="),
            ("go to /a?token=abc in a frame", "go to /a?token=*** in a frame"),
        ] {
            assert_eq!(recorded_url(url), shown);
            assert_eq!(recorded_url(shown), shown);
        }
    }
}
