//! What came back from a step of any type, and the record of what was sent.
//! This module does not know how an answer was made or what is expected of it.

mod outcome;
mod sent;

pub use outcome::StepOutcome;
pub use sent::SentRecord;

use std::fmt::Write;

use indexmap::IndexMap;

use crate::scenario::values::{Excerpt, KeptContent, WrittenDuration, json};
use crate::value::Value;

/// Answer to a step.
#[derive(Clone, Debug)]
pub enum StepAnswer {
    /// From `request`.
    Http(HttpAnswer),
    /// From `exec`.
    Exec(ExecAnswer),
    /// From `browser`, `grpc`, `ws` and `tui`.
    Told(Box<StructuredResponse>),
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name, sorted; several values of one name joined by `, `.
    pub headers: Vec<(String, String)>,
    /// Body, its middle omitted if it is long.
    pub body: KeptContent,
    /// Address that answered, after redirects.
    pub url: String,
}

/// Result of a command.
#[derive(Clone, Debug)]
pub struct ExecAnswer {
    /// Exit code; `None` if the command was killed.
    pub exit_code: Option<i64>,
    /// Standard output, its middle omitted if it is long.
    pub stdout: KeptContent,
    /// Standard error, its middle omitted if it is long.
    pub stderr: KeptContent,
    /// Time after which the command was killed; `None` if it ended by itself.
    pub timed_out: Option<WrittenDuration>,
}

/// Answer of named parts.
#[derive(Clone, Debug)]
pub struct StructuredResponse {
    /// Text for a judge: the same for the same behaviour.
    pub text: String,
    /// Part that `json` assertions and captures without a source read, and its name.
    pub main: (&'static str, KeptContent),
    /// The other parts, by the word that assertions and captures use: texts, numbers, or tables of texts. A
    /// null part counts as absent.
    pub parts: IndexMap<&'static str, Value>,
    /// Files that are kept next to the observation.
    pub evidence: Vec<Evidence>,
}

/// A file that shows what was seen, such as a screenshot.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Kind of evidence, e.g. `screenshot`.
    pub name: &'static str,
    /// Media type of the content.
    pub media_type: &'static str,
    /// Content.
    pub bytes: Vec<u8>,
}

impl StructuredResponse {
    /// The part `word`; also returns null parts.
    pub fn part(&self, word: &str) -> Option<&Value> {
        self.parts.get(word)
    }
}

/// Most bytes of the text that a judge reads.
pub const JUDGED: usize = 8 << 10;

/// Headers that change with every answer and have no meaning for a judge.
const VOLATILE: [&str; 2] = ["date", "server"];

impl HttpAnswer {
    /// The header `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        let mut text = format!("HTTP {}\n", self.status);
        for (name, value) in self.headers.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str())) {
            let _ = writeln!(text, "{name}: {value}");
        }
        let body = self.body.text();
        if !body.is_empty() {
            text.push('\n');
            text.push_str(&body);
        }
        text
    }
}

impl ExecAnswer {
    fn text(&self) -> String {
        let mut text = match (self.exit_code, self.timed_out) {
            (_, Some(after)) => format!("Timed out after {after} and was killed\n"),
            (Some(code), None) => format!("Exit code: {code}\n"),
            (None, None) => "Killed by a signal\n".to_owned(),
        };
        let _ = write!(text, "Stdout:\n{}", self.stdout.text());
        if !(self.stderr.is_empty() && self.exit_code == Some(0)) {
            let line = if text.ends_with('\n') { "" } else { "\n" };
            let _ = write!(text, "{line}Stderr:\n{}", self.stderr.text());
        }
        text
    }
}

impl StepAnswer {
    /// An answer of named parts, without text for a judge.
    pub fn structured(main: (&'static str, &str), parts: Vec<(&'static str, Value)>) -> Self {
        Self::Told(Box::new(StructuredResponse {
            text: String::new(),
            main: (main.0, KeptContent::of(main.1.as_bytes(), usize::MAX)),
            parts: parts.into_iter().collect(),
            evidence: Vec::new(),
        }))
    }

    /// Text for a judge: the same for the same behaviour; at most [`JUDGED`] bytes, plus a note if
    /// something was left out.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Http(http) => http.text(),
            Self::Exec(exec) => exec.text(),
            Self::Told(told) => told.text.clone(),
        };
        Excerpt::visible(&text, JUDGED).text
    }

    /// The content that captures and `json` assertions read, with its name: the body or stdout.
    pub fn main(&self) -> (&'static str, &KeptContent) {
        match self {
            Self::Http(http) => ("body", &http.body),
            Self::Exec(exec) => ("stdout", &exec.stdout),
            Self::Told(told) => (told.main.0, &told.main.1),
        }
    }

    /// The body or stdout as JSON.
    pub fn json(&self) -> Result<Value, String> {
        self.json_by(json::parse)
    }

    /// Like [`StepAnswer::json`], but numbers keep the text that the program wrote.
    pub fn json_as_written(&self) -> Result<Value, String> {
        self.json_by(json::parse_as_written)
    }

    fn json_by(&self, parse: fn(&str) -> Result<Value, json::JsonError>) -> Result<Value, String> {
        let (name, kept) = self.main();
        if kept.is_cut() {
            return Err(format!("the {name} of {} bytes is too long to be read as JSON", kept.length()));
        }
        let text = kept.text();
        if text.trim().is_empty() {
            return Err(format!("the {name} is not JSON: it is empty"));
        }
        parse(&text).map_err(|unread| format!("the {name} {unread}"))
    }
}

/// Answers for the tests of code that reads answers.
#[cfg(test)]
pub(super) mod test {
    use super::*;

    /// An HTTP answer.
    pub fn http(status: u16, headers: &[(&str, &str)], body: &str) -> StepAnswer {
        let headers =
            headers.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned())).collect();
        StepAnswer::Http(HttpAnswer {
            status,
            headers,
            body: KeptContent::of(body.as_bytes(), 1 << 20),
            url: String::new(),
        })
    }

    /// Result of a command.
    pub fn exec(code: i64, stdout: &str, stderr: &str) -> StepAnswer {
        let kept = |text: &str| KeptContent::of(text.as_bytes(), 1 << 20);
        let (stdout, stderr) = (kept(stdout), kept(stderr));
        StepAnswer::Exec(ExecAnswer { exit_code: Some(code), stdout, stderr, timed_out: None })
    }
}

#[cfg(test)]
mod tests {
    use super::test::{exec, http};
    use super::*;

    #[test]
    fn the_judged_text_leaves_out_what_changes_by_itself() {
        let answer = http(200, &[("Content-Type", "text/plain"), ("Date", "now")], "hello");
        assert_eq!(answer.text(), "HTTP 200\ncontent-type: text/plain\n\nhello");
        assert_eq!(http(204, &[], "").text(), "HTTP 204\n");
        assert!(http(200, &[], &"x".repeat(100_000)).text().len() < JUDGED + 64);
    }

    #[test]
    fn commands_show_stderr_only_where_it_matters() {
        assert_eq!(exec(0, "out\n", "").text(), "Exit code: 0\nStdout:\nout\n");
        assert_eq!(exec(2, "out", "").text(), "Exit code: 2\nStdout:\nout\nStderr:\n");
        assert!(exec(0, "out\n", "warn\n").text().ends_with("Stderr:\nwarn\n"));
        let StepAnswer::Exec(mut late) = exec(0, "part", "") else { unreachable!() };
        (late.exit_code, late.timed_out) = (None, Some(WrittenDuration::secs(30)));
        assert!(late.text().starts_with("Timed out after 30s and was killed\nStdout:\npart"));
    }
}
