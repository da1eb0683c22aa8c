//! Evidence of failed steps as files: `--evidence DIR`.
#![expect(clippy::disallowed_methods, reason = "looks at the files that were written")]

use std::fs;

use serde_json::Value;

use super::{PAGE, PAGES, Site, served};
use crate::binary::{Project, Ran};
use crate::scenario::browser::chromium;

const PICTURE: &str = "id: ../picture
steps:
  - description: The page is another one
    browser: { action: navigate, url: / }
    assert: { title: Nothing of the kind }
";

fn run(project: &Project, site: &Site, more: &[&str]) -> Ran {
    let own = ["validate", "--scenarios", "cases", "--no-judge", "--target", &site.url];
    project.run(&[own.as_slice(), more].concat())
}

/// The files in `dir` and its subdirectories, as sorted relative paths.
fn files(project: &Project, dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in fs::read_dir(project.path(dir)).unwrap() {
        let folder = folder.unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let name = file.unwrap().file_name();
            found.push(format!("{}/{}", folder.file_name().to_string_lossy(), name.to_string_lossy()));
        }
    }
    found.sort();
    found
}

#[test]
fn bodies_of_failed_steps_are_written_and_linked() {
    let setup = "setup:\n  - description: Log in\n    request: { method: POST, path: /login }\n    \
        assert: { status: 200 }\nsteps:";
    let broken = PAGE.replacen("steps:", setup, 1).replacen("id: page", "id: broken", 1);
    let cases = [("cases/page.yaml", PAGE), ("cases/broken.yaml", broken.as_str())];
    let (project, site) = served(&[PAGES.as_slice(), &cases].concat());
    let report = run(&project, &site, &["--format", "json", "--evidence", "out/deep"]).exits(4).json();
    let written = files(&project, "out/deep");
    assert_eq!(
        written,
        ["001-broken/setup-1-body.txt", "002-page/step-3-body.json", "002-page/step-4-body.txt"],
        "{report:#}"
    );
    assert_eq!(project.read("out/deep/002-page/step-3-body.json"), PAGES[1].1, "the received bytes");
    let page = &report["scenarios"][1]["steps"];
    assert_eq!(page[2]["attachments"], serde_json::json!(["out/deep/002-page/step-3-body.json"]));
    assert!(page[0].get("attachments").is_none() && page[2].get("evidence").is_none(), "{page}");
    assert_eq!(report["scenarios"][0]["broken"]["attachments"].as_array().unwrap().len(), 1);

    // From the recorded run, in other formats, and into a directory whose links are not followed.
    drop(site);
    fs::create_dir_all(project.path("again")).unwrap();
    std::os::unix::fs::symlink(project.path("out"), project.path("again/002-page")).unwrap();
    let again = |more: &[&str]| project.run(&[["validate", "--of", "last"].as_slice(), more].concat());
    again(&["--evidence", "again"]).exits(1).stderr_has("cannot write the evidence");
    again(&["--evidence", "other", "--format", "junit"])
        .exits(4)
        .stdout_has("<system-out>[[ATTACHMENT|other/002-page/step-3-body.json]]</system-out>");
    again(&["--evidence", "other"]).exits(4).stdout_has("│ other/001-broken/setup-1-body.txt");
    // Without the option, no evidence is written or mentioned.
    let report = again(&["--format", "json"]).exits(4).json();
    assert!(!report.to_string().contains("\"evidence\""), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_of_a_page_has_its_screenshot() {
    if chromium("a_failed_step_of_a_page_has_its_screenshot").await.is_none() {
        return;
    }
    let (project, site) = served(&[PAGES.as_slice(), &[("cases/picture.yaml", PICTURE)]].concat());
    let report = run(&project, &site, &["--format", "json", "--evidence", "out"]).exits(4).json();
    let attachments = report["scenarios"][0]["steps"][0]["attachments"].as_array().unwrap();
    let pictures: Vec<&Value> =
        attachments.iter().filter(|path| path.as_str().unwrap().ends_with("-screenshot.png")).collect();
    assert_eq!(pictures.len(), 1, "{attachments:?}");
    let path = pictures[0].as_str().unwrap();
    assert!(path.starts_with("out/001-..-picture/"), "inside the directory: {path}");
    assert!(fs::read(project.path(path)).unwrap().starts_with(b"\x89PNG"));
}

/// Sends back the header `Authorization` in the encoding that the path names, and fails.
const PARROT: &str = "import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        told = self.headers['Authorization']
        kind, body = {
            '/latin': ('text/html; charset=iso-8859-1', ('caf\\u00e9 ' + told).encode('latin-1')),
            '/stray': ('text/plain', b'\\xff ' + told.encode()),
            '/marked': ('text/plain; charset=utf-16', told.encode('utf-16')),
            '/little': ('text/plain', ('abc ' + told).encode('utf-16-le')),
            '/big': ('application/octet-stream', ('abc ' + told).encode('utf-16-be')),
            '/zip': ('application/zip', b'PK\\x03\\x04\\x00\\xff' + told.encode() + b'\\x00'),
            '/png': ('image/png', b'\\x89PNG\\r\\n\\x1a\\n' + told.encode()),
            '/cut': ('text/plain', b'x' * (512 * 1024 - 9) + told.encode() + b'y' * 2000000 + told.encode() + b'z' * (512 * 1024 - 9)),
        }[self.path]
        self.send_response(500)
        self.send_header('Content-Type', kind)
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print('port', server.server_address[1])
server.serve_forever()
";

/// All files in `dir` and its subdirectories, as bytes.
fn contents(dir: &std::path::Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, all);
        } else {
            all.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn no_encoding_hides_a_secret_in_evidence() {
    let secret = "S3cr3tTokenValue/+0987654321";
    let paths = ["latin", "stray", "marked", "little", "big", "zip", "png", "cut"];
    let step = |path: &&str| {
        format!("  - request: {{ method: GET, path: /{path} }}\n    assert: {{ status: 200 }}\n")
    };
    let steps: String = paths.iter().map(step).collect();
    let project = Project::new()
        .env("TOK", secret)
        .file("parrot.py", PARROT)
        .file("cases/a.yaml", &format!("id: a\nsteps:\n{steps}"));
    let site = Site::running(&project.path("parrot.py"));
    let secret_given =
        ["--authorization", "TOK", "--allow-secret", "TOK", "--evidence", "out", "--format", "json"];
    let report = run(&project, &site, &secret_given).exits(4).stdout;
    let mut all = vec![("the report".to_owned(), report.into_bytes())];
    contents(&project.path("out"), &mut all);
    assert_eq!(all.iter().filter(|(name, _)| name.contains("-body.")).count(), paths.len());
    contents(&project.path(".atoll"), &mut all);
    for (name, bytes) in &all {
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        for part in ["S3cr3tTok", "Value/+0", "987654321"] {
            let found = narrow.windows(part.len()).any(|bytes| bytes == part.as_bytes());
            assert!(!found, "{name} has `{part}` of the secret");
        }
    }
    let latin = fs::read(project.path("out/001-a/step-1-body.txt")).unwrap();
    assert_eq!(latin, b"caf\xE9 ***", "the rest is unchanged");
}
