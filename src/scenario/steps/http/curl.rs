//! A request as a `curl` command that can be pasted into a shell.

use std::fmt::Write as _;

use reqwest::Request;
use reqwest::header::CONTENT_TYPE;

use super::table;
use crate::scenario::values::credentials;

/// Longest body in a command, in bytes.
const LONGEST: usize = 4 << 10;

/// The body of a request, as it is shown.
pub enum BodyShown {
    /// No body.
    None,
    /// Text.
    Text(String),
    /// Bytes, shown as their number.
    Bytes(String),
    /// The parts of a form with files.
    Form(FormShown),
}

/// A form with files, as it is shown.
#[derive(Default)]
pub struct FormShown {
    text: String,
    options: String,
}

impl FormShown {
    /// Adds a part: its text, or its number of bytes.
    pub fn push(
        &mut self,
        name: &str,
        value: Result<&str, usize>,
        filename: Option<&str>,
        media_type: Option<&str>,
    ) {
        let _ = match value {
            Ok(value) => write!(self.text, "{name} = {value}"),
            Err(bytes) => write!(self.text, "{name} ({bytes} bytes)"),
        };
        if let Some(filename) = filename {
            let _ = write!(self.text, " as {filename}");
        }
        self.text.push('\n');
        let plain = value.ok().filter(|_| filename.is_none() && media_type.is_none());
        if let Some(value) = plain {
            let _ = write!(self.options, " --form-string {}", quoted(&format!("{name}={value}")));
            return;
        }
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut part = match value {
            Ok(value) => format!("{name}=\"{}\"", escaped(value)),
            Err(_) => format!("{name}=@BODY"),
        };
        if let Some(filename) = filename {
            let _ = write!(part, ";filename=\"{}\"", escaped(filename));
        }
        if let Some(media_type) = media_type {
            let _ = write!(part, ";type={media_type}");
        }
        let _ = write!(self.options, " -F {}", quoted(&part));
    }
}

impl BodyShown {
    /// The text to show, if there is a body.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Text(text) | Self::Bytes(text) => Some(text),
            Self::Form(form) => Some(&form.text),
        }
    }
}

/// The command for `request` to `url` (without credentials), with `options`. Credentials in headers become
/// shell variables, named by their secret or their header.
pub fn command(
    request: &Request,
    url: &str,
    body: &BodyShown,
    authorization: Option<&str>,
    options: &[String],
) -> String {
    let method = request.method().as_str();
    // With `-X HEAD`, curl waits for a body.
    let mut line = match (method, body) {
        ("HEAD", BodyShown::None) => "curl -sS -i --head".to_owned(),
        _ => format!("curl -sS -i -X {}", quoted(method)),
    };
    // Otherwise brackets and braces are patterns.
    if url.contains(['[', ']', '{', '}']) {
        line.push_str(" -g");
    }
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
                // A named secret is the whole value; there may be several cookies.
                let is_whole = variable != fallback || name == "cookie";
                let scheme = if is_whole { "" } else { scheme };
                write!(line, " -H {}\"${variable}\"", quoted(&format!("{name}: {scheme}")))
            }
            None if value.is_empty() => write!(line, " -H {}", quoted(&format!("{name};"))),
            None => write!(line, " -H {}", quoted(&format!("{name}: {value}"))),
        };
    }
    if matches!(body, BodyShown::Text(_) | BodyShown::Bytes(_))
        && !request.headers().contains_key(CONTENT_TYPE)
    {
        // Otherwise curl sends the content type of a form.
        line.push_str(" -H content-type:");
    }
    let _ = match body {
        BodyShown::None => Ok(()),
        BodyShown::Text(text) if text.len() <= LONGEST && !text.contains('\0') => {
            write!(line, " --data-raw {}", quoted(text))
        }
        BodyShown::Text(_) | BodyShown::Bytes(_) => write!(line, " --data-binary @BODY"),
        BodyShown::Form(form) => write!(line, "{}", form.options),
    };
    let _ = write!(line, " {}", quoted(url));
    line
}

/// `text` quoted as one shell word.
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
        crate::scenario::network::tls::install();
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        let request = client
            .post("http://h/a?x=it's")
            .header("authorization", "Bearer abc")
            .header("x-api-key", "abc")
            .header("x-note", "$(rm -rf /)")
            .build()
            .unwrap();
        let body = BodyShown::Text("it's `x`".to_owned());
        let url = request.url().as_str();
        let line = command(&request, url, &body, None, &[]);
        assert_eq!(
            line,
            "curl -sS -i -X POST -H 'authorization: Bearer '\"$AUTHORIZATION\" -H 'x-api-key: '\"$X_API_KEY\" -H 'x-note: $(rm -rf /)' -H content-type: --data-raw 'it'\\''s `x`' 'http://h/a?x=it%27s'"
        );
        let line = command(
            &request,
            url,
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
    #[test]
    fn curl_sends_what_was_sent() {
        crate::scenario::network::tls::install();
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        let line = |request: reqwest::RequestBuilder, body: BodyShown| {
            let request = request.build().unwrap();
            command(&request, request.url().as_str(), &body, None, &[])
        };
        let url = "http://h/?f[a]=x&i[]=1";
        assert_eq!(line(client.get(url), BodyShown::None), "curl -sS -i -X GET -g 'http://h/?f[a]=x&i[]=1'");
        assert_eq!(line(client.head("http://h/"), BodyShown::None), "curl -sS -i --head http://h/");
        let empty = line(client.get("http://h/").header("x-e", ""), BodyShown::None);
        assert_eq!(empty, "curl -sS -i -X GET -H 'x-e;' http://h/");
        let typed = client.post("http://h/").header("content-type", "text/csv");
        let typed = line(typed, BodyShown::Text("a".to_owned()));
        assert_eq!(typed, "curl -sS -i -X POST -H 'content-type: text/csv' --data-raw a http://h/");
        let mut form = FormShown::default();
        form.push("note", Ok("@it's \"x\""), None, None);
        form.push("table", Ok("a\"b"), Some("t.csv"), Some("text/csv"));
        form.push("picture", Err(3), Some("p.png"), None);
        assert_eq!(form.text, "note = @it's \"x\"\ntable = a\"b as t.csv\npicture (3 bytes) as p.png\n");
        assert_eq!(
            line(client.post("http://h/"), BodyShown::Form(form)),
            "curl -sS -i -X POST --form-string 'note=@it'\\''s \"x\"' \
             -F 'table=\"a\\\"b\";filename=\"t.csv\";type=text/csv' \
             -F 'picture=@BODY;filename=\"p.png\"' http://h/"
        );
    }
}
