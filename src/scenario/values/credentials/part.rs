use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{CredentialKind, is_literal, literals, scheme};
use crate::value::Value;

/// A text of a scenario that may hold credentials.
pub struct CredentialPart<'s> {
    kind: CredentialKind<'s>,
    text: PartText<'s>,
}

enum PartText<'s> {
    Plain(&'s mut String),
    Value(&'s mut Value),
}

impl<'s> CredentialPart<'s> {
    /// A URL, or a path with its query.
    pub fn url(text: &'s mut String) -> Self {
        Self { kind: CredentialKind::Url, text: PartText::Plain(text) }
    }

    /// The value of the header `name`.
    pub fn header(name: &'s str, text: &'s mut String) -> Self {
        Self { kind: CredentialKind::Header(name), text: PartText::Plain(text) }
    }

    /// The value of a cookie.
    pub fn cookie(text: &'s mut String) -> Self {
        Self { kind: CredentialKind::Cookie, text: PartText::Plain(text) }
    }

    /// The value of the query parameter `name`.
    pub fn parameter(name: &'s str, value: &'s mut Value) -> Self {
        Self { kind: CredentialKind::Parameter(name), text: PartText::Value(value) }
    }

    /// A value that is a credential as a whole.
    pub fn whole(value: &'s mut Value) -> Self {
        Self { kind: CredentialKind::Whole, text: PartText::Value(value) }
    }

    /// Spans of the credentials in `text`, in order.
    pub fn spans(&self, text: &str) -> Vec<Range<usize>> {
        self.kind.spans(text)
    }

    /// The secret in a credential: for a user name and a password, the password.
    pub fn secret_in<'t>(&self, credential: &'t str) -> &'t str {
        match self.kind {
            CredentialKind::Url => credential.split_once(':').map_or(credential, |(_, password)| password),
            _ => credential,
        }
    }

    /// Text of the part.
    pub fn text(&self) -> String {
        match &self.text {
            PartText::Plain(text) => (*text).clone(),
            PartText::Value(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        }
    }

    /// Value of the part.
    pub fn value(&self) -> Value {
        match &self.text {
            PartText::Plain(text) => Value::String((*text).clone()),
            PartText::Value(value) => (*value).clone(),
        }
    }

    /// Replaces the part by `value`.
    pub fn put(self, value: Value) {
        match (self.text, value) {
            (PartText::Plain(text), Value::String(new)) => *text = new,
            (PartText::Value(old), value) => *old = value,
            (PartText::Plain(_), _) => {}
        }
    }

    /// The text without its literal credentials; `None` if there are none.
    pub fn hidden(&self) -> Option<String> {
        let text = self.text();
        let hidden = self.kind.masked(&text, is_literal);
        (hidden != text).then(|| hidden.into_owned())
    }

    /// Texts that must not be shown anywhere.
    pub fn values(&self) -> Vec<String> {
        let text = self.text();
        let mut values = Vec::new();
        for span in self.kind.spans(&text) {
            let whole = &text[span];
            // A variable may contain the scheme as well.
            let credential = scheme(whole).map_or(whole, |scheme| whole[scheme.len()..].trim_start());
            values.extend([whole.to_owned(), credential.to_owned()]);
            values.extend(literals(credential).map(|part| part.trim().to_owned()));
            let is_basic = scheme(&text).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
            let decoded = is_basic.then(|| STANDARD.decode(credential.trim()).ok()).flatten();
            let pair = match (self.kind, decoded.and_then(|bytes| String::from_utf8(bytes).ok())) {
                (CredentialKind::Url, _) => Some(credential.to_owned()),
                (_, pair) => pair,
            };
            if let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                values.extend([format!("{name}:{password}"), password.to_owned()]);
            }
        }
        // Simple words such as the value of the cookie `theme` occur everywhere.
        let is_cookie = match self.kind {
            CredentialKind::Cookie => true,
            CredentialKind::Header(name) => name.eq_ignore_ascii_case("cookie"),
            CredentialKind::Url | CredentialKind::Parameter(_) | CredentialKind::Whole => false,
        };
        values.retain(|value| !is_cookie || !value.chars().all(|c| c.is_ascii_lowercase()));
        values
    }
}
