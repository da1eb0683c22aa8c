//! `atoll validate` as a user runs it. The program under test is Python's web server, or a program from the
//! recorded examples. Judges answer over HTTP.

mod attached;
mod commands;
mod endings;
mod evidence;
mod interrupted;
mod judge;
mod masked;
mod programs;
mod reports;
mod secured;
mod staging;
mod waiting;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex::Regex;

use crate::binary::Project;

/// Python's `http.server` for a separate directory.
pub struct Site {
    server: Child,
    /// Its base URL.
    pub url: String,
}

impl Site {
    /// Serves `dir`.
    #[expect(clippy::disallowed_methods, reason = "starts the program under test")]
    pub fn of(dir: &Path) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(dir);
        Self::started(command)
    }

    /// Runs `program`, a Python file that prints `port N` when it listens.
    #[expect(clippy::disallowed_methods, reason = "starts the program under test")]
    pub fn running(program: &Path) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("-u").arg(program);
        Self::started(command)
    }

    fn started(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = Regex::new(r"port (\d+)").unwrap().captures(&line).expect("a port")[1].to_owned();
        Self { server, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// A project whose directory `site` is served.
pub fn served(files: &[(&str, &str)]) -> (Project, Site) {
    let project = files.iter().fold(Project::new(), |project, (path, text)| project.file(path, text));
    let site = Site::of(&project.path("site"));
    (project, site)
}

/// A report without the parts that differ from run to run.
pub fn lasting(text: &str) -> String {
    let rules = [
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"\b01[0-9a-z]{24}\b", "RUN"),
        (r"(?i)last-modified: [^\n\\]+? GMT", "last-modified: MOMENT"),
        (r"\b[0-9a-f]{20}\b", "MARK"),
        // The error pages of Python differ between versions.
        (r"(?s)(<|&lt;)!DOCTYPE HTML.*?/html(>|&gt;)", "PAGE"),
        (r"content-length: 3\d\d", "content-length: 300"),
        (r#"(duration_ms"?: )\d+"#, "${1}0"),
        (r#"time="[0-9.]+""#, r#"time="SPAN""#),
        (r#"timestamp="[^"]+""#, r#"timestamp="MOMENT""#),
        (r" · [0-9.]+ m?s · ", " · SPAN · "),
    ];
    rules.iter().fold(text.to_owned(), |text, (from, to)| {
        Regex::new(from).unwrap().replace_all(&text, *to).into_owned()
    })
}

/// Pages that every project in these tests serves.
pub const PAGES: [(&str, &str); 2] = [
    ("site/index.html", "<h1>Good morning</h1>\n"),
    ("site/items.json", "{\"items\": [{\"name\": \"Widget\"}]}\n"),
];

/// Decided by assertions alone; two of its four steps fail.
pub const PAGE: &str = "id: page
description: A directory is served
weight: 2
steps:
  - description: The first page
    request: { method: GET, path: / }
    assert: { status: 200, body: { contains: Good morning } }
  - description: JSON has its type
    request: { method: GET, path: /items.json }
    assert: { header: { Content-Type: application/json }, json: { '$.items[0].name': Widget } }
  - description: 'Nothing is not, 100% found'
    request: { method: GET, path: /items.json }
    assert: { status: 404 }
  - request: { method: POST, path: / , body: { name: Bolt } }
    assert: { status: 201 }
";

/// One step is decided, the other is for a judge.
pub const GREETING: &str = "id: greeting
description: Whoever comes is greeted
steps:
  - description: The page is there
    request: { method: GET, path: / }
    assert: { status: 200 }
  - description: It greets
    request: { method: GET, path: / }
    expect: A friendly greeting
";
