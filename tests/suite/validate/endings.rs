//! Programs that end while scenarios run: observations count, and each step reports what happened.

use serde_json::Value;

use crate::binary::Project;
use crate::recorded::{has_image, there};

/// Answers requests, stops on request, and crashes on request.
const MORTAL: &str = "import http.server, os, threading
def gone():
    print('there is no database', flush=True)
    os._exit(4)
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        if self.path == '/crash':
            print('the roof is on fire', flush=True)
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'ok')
        self.wfile.flush()
        if self.path == '/shutdown':
            os._exit(0)
        if self.path == os.environ.get('LAST'):
            threading.Timer(1, gone).start()
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";

const DOCKERFILE: &str = "FROM python:3.12-slim\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

fn gets(paths: &[&str]) -> String {
    let step = |path: &&str| {
        format!("  - {{ request: {{ method: GET, path: {path} }}, assert: {{ status: 200 }} }}\n")
    };
    paths.iter().map(step).collect()
}

fn project() -> Project {
    let shared = |id: &str, paths: &[&str]| format!("id: {id}\nisolation: shared\nsteps:\n{}", gets(paths));
    Project::new()
        .file("code/main.py", MORTAL)
        .file("code/Dockerfile", DOCKERFILE)
        .file("cases/1.yaml", &shared("before", &["/"]))
        .file("cases/2.yaml", &shared("crash", &["/", "/crash", "/"]))
        .file("cases/3.yaml", &shared("after", &["/", "/"]))
        .file("cases/4.yaml", &format!("id: stops\nsteps:\n{}", gets(&["/", "/shutdown"])))
        .file("cases/5.yaml", &format!("id: setup\nsetup:\n{}steps:\n{}", gets(&["/crash"]), gets(&["/"])))
        .file(
            "cases/6.yaml",
            "id: inside\nsteps:\n  - { request: { method: GET, path: /crash }, assert: { status: 200 } }\n  \
             - { exec: { command: echo }, assert: { exit_code: 0 } }\n",
        )
}

fn scenario<'r>(report: &'r Value, id: &str) -> &'r Value {
    let all = report["scenarios"].as_array().unwrap();
    all.iter().find(|scenario| scenario["id"] == id).unwrap_or_else(|| panic!("{id}: {report:#}"))
}

/// The error of each step.
fn errors(scenario: &Value) -> Vec<&str> {
    let steps = scenario["steps"].as_array().unwrap();
    steps.iter().map(|step| step["error"].as_str().unwrap_or_default()).collect()
}

fn is_reported(runtime: &str) {
    let project = project();
    let run =
        ["validate", "--scenarios", "cases", "--code", "code", "--runtime", runtime, "--no-judge", "-q"];
    let report = project.run(&[run.as_slice(), &["--format", "json"]].concat()).exits(4).json();
    let score = |id: &str| format!("{:.0}", scenario(&report, id)["score"].as_f64().unwrap());
    let scores = ["before", "crash", "after", "stops", "setup", "inside"].map(score);
    assert_eq!(scores, ["100", "33", "0", "100", "0", "0"], "{report:#}");
    for scenario in report["scenarios"].as_array().unwrap() {
        assert!(scenario["fault"].is_null() && scenario["trouble"].is_null(), "it started: {scenario:#}");
    }
    let (during, before) = (
        "during this step, the program ended with exit code 3",
        "before this step, the program ended with exit code 3",
    );
    let crash = scenario(&report, "crash");
    let [fine, broke, gone] = errors(crash).try_into().unwrap();
    assert!(fine.is_empty() && broke.ends_with(during) && gone.ends_with(before), "{crash:#}");
    assert!(crash["steps"][1]["log"].as_str().unwrap().contains("the roof is on fire"), "{crash:#}");
    let after = scenario(&report, "after");
    assert!(errors(after).iter().all(|error| error.ends_with(before)), "{after:#}");
    assert!(after["steps"][0]["log"].as_str().unwrap().contains("the roof is on fire"), "{after:#}");
    let broken = &scenario(&report, "setup")["broken"];
    assert!(broken["reason"].as_str().unwrap().ends_with(during), "{broken:#}");
    assert!(errors(scenario(&report, "inside"))[1].contains("ended with exit code 3"), "{report:#}");
}

#[test]
fn a_program_that_ends_loses_no_verdict() {
    if there("process", "a_program_that_ends_loses_no_verdict") {
        is_reported("process");
    }
}

#[test]
fn a_container_that_ends_loses_no_verdict() {
    let test = "a_container_that_ends_loses_no_verdict";
    if there("docker", test) && has_image("python:3.12-slim", test) {
        is_reported("docker");
    }
}

#[test]
fn a_program_that_ends_by_itself_has_its_log_at_the_first_step() {
    if !there("process", "a_program_that_ends_by_itself_has_its_log_at_the_first_step") {
        return;
    }
    let project = Project::new()
        .file("code/main.py", MORTAL)
        .file("code/Dockerfile", &DOCKERFILE.replace("CMD", "ENV LAST=/\nCMD"))
        .file(
            "cases/a.yaml",
            &format!("id: a\nsteps:\n{}", gets(&["/items", "/items"]).replacen("- {", "- { delay: 3s,", 1)),
        );
    let run = ["validate", "--scenarios", "cases", "--code", "code", "--runtime", "process", "--no-judge"];
    let report = project.run(&[run.as_slice(), &["--format", "json"]].concat()).exits(4).json();
    let a = scenario(&report, "a");
    assert!(a["fault"].is_null(), "it started: {a:#}");
    assert!(errors(a).iter().all(|error| error.contains("the program ended with exit code 4")), "{a:#}");
    assert!(a["steps"][0]["log"].as_str().unwrap().contains("there is no database"), "{a:#}");
    assert!(
        !a["steps"][1]["log"].as_str().unwrap().contains("there is no database"),
        "the log is shown once: {a:#}"
    );
}
