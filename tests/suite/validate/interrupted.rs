//! Ctrl-C while scenarios run: those that have finished are reported with their results, the others as
//! skipped.

use std::io::{BufReader, Read as _};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::Site;
use crate::binary::Project;
use crate::fifo::Group;
use crate::recorded::there;

/// Answers `/wait` after a minute, and everything else immediately.
const SLOW: &str = "import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        if self.path == '/wait': time.sleep(60)
        self.send_response(200)
        self.end_headers()
server = http.server.ThreadingHTTPServer((os.environ.get('HOST', '127.0.0.1'), int(os.environ.get('PORT', 0))), Handler)
print('port', server.server_address[1], flush=True)
server.serve_forever()
";

const DOCKERFILE: &str =
    "FROM python:3.12-slim\nENV HOST=0.0.0.0\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

fn scenario(id: &str, path: &str, status: u16) -> String {
    format!(
        "id: {id}\nisolation: shared\nsteps:\n  - description: It answers\n    \
         request: {{ method: GET, path: {path}, timeout: 50s }}\n    assert: {{ status: {status} }}\n"
    )
}

/// One that passes, one that fails, one that is interrupted, one that never starts.
fn project() -> Project {
    Project::new()
        .file("code/main.py", SLOW)
        .file("code/Dockerfile", DOCKERFILE)
        .file("cases/a.yaml", &scenario("a", "/", 200))
        .file("cases/b.yaml", &scenario("b", "/", 404))
        .file("cases/c.yaml", &scenario("c", "/wait", 200))
        .file("cases/d.yaml", &scenario("d", "/", 200))
}

/// Interrupts `validate` once its events have `text`.
fn interrupted(project: &Project, more: &[&str], text: &str) {
    let run = ["validate", "--scenarios", "cases", "--no-judge", "--events", "-", "--grace", "100ms"];
    let reports =
        ["--report", "json=report.json", "--report", "text=report.txt", "--report", "junit=report.xml"];
    let mut group = Group::start(project.command(&[run.as_slice(), &reports, more].concat()));
    let mut events = BufReader::new(group.child.stdout.take().unwrap());
    Group::read_until(&mut events, text);
    group.signal(Signal::SIGINT);
    events.read_to_string(&mut String::new()).unwrap();
    assert_eq!(group.wait().code(), Some(8));
}

fn is_reported(project: &Project) {
    let report: Value = serde_json::from_str(&project.read("report.json")).unwrap();
    let about = |scenario: &Value| {
        json!([scenario["id"], scenario["passed"], scenario["score"], scenario["not_run"].is_string()])
    };
    let all: Vec<Value> = report["scenarios"].as_array().unwrap().iter().map(about).collect();
    assert_eq!(
        json!(all),
        json!([
            ["a", true, 100.0, false],
            ["b", false, 0.0, false],
            ["c", null, null, true],
            ["d", null, null, true]
        ]),
        "{report}"
    );
    assert_eq!(report["totals"]["scenarios"], json!({"total": 4, "passed": 1, "failed": 1, "skipped": 2}));
    assert_eq!(report["totals"]["steps"], json!({"total": 2, "passed": 1, "failed": 1, "skipped": 0}));
    assert_eq!((&report["aggregate_score"], &report["passed"]), (&json!(50.0), &json!(false)), "{report}");
    assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
    let text = project.read("report.txt");
    assert!(text.contains("4 scenarios: 1 passed, 1 failed, 2 skipped"), "{text}");
    assert!(text.contains("why: status is 404 (found: 200)"), "{text}");
    assert!(text.contains("the run ended before it was finished"), "{text}");
    let junit = project.read("report.xml");
    assert_eq!(junit.matches("<failure").count(), 1, "{junit}");
    assert!(junit.contains("not run: the run ended before it was finished"), "{junit}");
    // The same report, from the journal only.
    let again = project.run(&["validate", "--of", "last", "--format", "json"]).exits(8).json();
    assert_eq!(again["scenarios"], report["scenarios"]);
}

#[test]
fn what_has_finished_against_a_target_is_reported_with_its_result() {
    let project = project();
    let site = Site::running(&project.path("code/main.py"));
    interrupted(&project, &["--target", &site.url], "/cast[2]/run");
    is_reported(&project);
}

#[test]
fn what_has_finished_in_a_shared_program_is_reported_with_its_result() {
    if !there("process", "what_has_finished_in_a_shared_program_is_reported_with_its_result") {
        return;
    }
    let project = project();
    interrupted(&project, &["--code", "code", "--runtime", "process"], "/cast[2]/run");
    is_reported(&project);
}
