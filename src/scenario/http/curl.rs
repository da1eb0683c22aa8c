//! A request as a `curl` command that can be pasted into a shell.

use std::fmt::Write as _;

use reqwest::Request;

use super::table;
use crate::scenario::credentials;

/// Longest body in a command, in bytes.
const LONGEST: usize = 4 << 10;

/// What is shown of the body of a request.
pub enum BodyShown {
    /// Nothing is sent.
    None,
    /// The text that is sent.
    Text(String),
    /// How many bytes are sent.
    Bytes(String),
    /// The parts of a form with files.
    Form(String),
}

impl BodyShown {
    /// The text for people, if anything is sent.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Text(text) | Self::Bytes(text) | Self::Form(text) => Some(text),
        }
    }
}

/// The command for `request`, with `options`. Values of credentials are variables of the shell, named `authorization` or by their
/// header.
pub fn command(
    request: &Request,
    body: &BodyShown,
    authorization: Option<&str>,
    options: &[String],
) -> String {
    let method = request.method().as_str();
    let mut line = format!("curl -sS -i -X {}", quoted(method));
    for option in options {
        let _ = write!(line, " {}", quoted(option));
    }
    for (name, value) in table(request.headers()) {
        let is_form = name == "content-type" && value.starts_with("multipart/form-data");
        if is_form || name == "content-length" {
            continue;
        }
        let shown = credentials::recorded(&name, &value);
        let _ = match shown.strip_suffix("***") {
            Some(scheme) => {
                let variable = authorization.filter(|_| name == "authorization");
                let fallback = name.replace('-', "_").to_uppercase();
                let variable = variable.unwrap_or(&fallback);
                // A secret that is given by name is the whole value.
                let scheme = if variable == fallback { scheme } else { "" };
                write!(line, " -H {}\"${variable}\"", quoted(&format!("{name}: {scheme}")))
            }
            None => write!(line, " -H {}", quoted(&format!("{name}: {value}"))),
        };
    }
    let _ = match body {
        BodyShown::None => Ok(()),
        BodyShown::Text(text) if text.len() <= LONGEST && !text.contains('\0') => {
            write!(line, " --data-raw {}", quoted(text))
        }
        BodyShown::Text(_) | BodyShown::Bytes(_) => write!(line, " --data-binary @BODY"),
        BodyShown::Form(_) => write!(line, " -F NAME=VALUE"),
    };
    let _ = write!(line, " {}", quoted(request.url().as_str()));
    line
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    #[test]
    fn what_is_pasted_is_what_was_sent_without_secrets() {
        crate::scenario::trust::install();
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        let request = client
            .post("http://h/a?x=it's")
            .header("authorization", "Bearer abc")
            .header("x-api-key", "abc")
            .header("x-note", "$(rm -rf /)")
            .build()
            .unwrap();
        let body = BodyShown::Text("it's `x`".to_owned());
        let line = command(&request, &body, None, &[]);
        assert_eq!(
            line,
            "curl -sS -i -X POST -H 'authorization: Bearer '\"$AUTHORIZATION\" -H 'x-api-key: '\"$X_API_KEY\" -H 'x-note: $(rm -rf /)' --data-raw 'it'\\''s `x`' 'http://h/a?x=it%27s'"
        );
        let line = command(
            &request,
            &BodyShown::Bytes("(3 bytes)".to_owned()),
            Some("SHOP_TOKEN"),
            &["--cacert".to_owned(), "my ca.pem".to_owned()],
        );
        assert!(
            line.contains("--cacert 'my ca.pem' -H 'authorization: '\"$SHOP_TOKEN\"")
                && line.contains("--data-binary @BODY"),
            "{line}"
        );
    }
}
