use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::values::Excerpt;
use crate::visible::without_userinfo;

/// Longest URL, header or command in a record, in bytes.
const SHOWN: usize = 64 << 10;

/// Record of what a step sent. Fields that the step type does not have are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SentRecord {
    /// Complete record as text, for people and models.
    pub text: String,
    /// HTTP method.
    pub method: Option<String>,
    /// URL.
    pub url: Option<String>,
    /// The request as a `curl` command; credentials are shell variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curl: Option<String>,
    /// HTTP headers by lower-case name.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<IndexMap<String, String>>,
    /// HTTP body, shortened.
    pub body: Option<String>,
    /// Command line.
    pub command: Option<String>,
    /// Standard input of the command, shortened.
    pub stdin: Option<String>,
}

impl SentRecord {
    /// The record, shortened to what is useful to read.
    #[must_use]
    pub fn shortened(self) -> Self {
        let short =
            |text: String| if text.len() > SHOWN { Excerpt::of_text(&text, SHOWN).text } else { text };
        let headers =
            |all: IndexMap<String, String>| all.into_iter().map(|(name, v)| (name, short(v))).collect();
        Self {
            url: self.url.map(short),
            headers: self.headers.map(headers),
            // A part of a command cannot be run.
            curl: self.curl.filter(|curl| curl.len() <= SHOWN),
            command: self.command.map(short),
            ..self
        }
    }

    /// The record without user names and passwords in URLs.
    #[must_use]
    pub fn without_userinfo(mut self) -> Self {
        let Self { text, url, curl, .. } = &mut self;
        for text in [Some(text), url.as_mut(), curl.as_mut()].into_iter().flatten() {
            *text = without_userinfo(text).into_owned();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_no_password_of_a_url() {
        let sent = SentRecord {
            text: "connect ws://me:pw@h/feed\nGET /a@b".to_owned(),
            url: Some("https://pw@h/".to_owned()),
            headers: Some(IndexMap::new()),
            ..SentRecord::default()
        };
        let sent = sent.without_userinfo();
        assert_eq!(sent.text, "connect ws://***@h/feed\nGET /a@b");
        assert_eq!(sent.url.as_deref(), Some("https://***@h/"));
    }
}
