//! How scenarios run: how often programs are started, which scenarios share one, and when the run stops.

use serde_json::Value;

use super::Site;
use crate::binary::{Project, Ran};
use crate::recorded::there;

/// Answers each request with its number.
const COUNTER: &str = "import http.server, os
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += self.path == '/count'
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'number {asked}'.encode())
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Exits immediately.
const BROKEN: &str = "import sys
sys.exit('there is no database')
";

const DOCKERFILE: &str = "FROM python:3.12-slim\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

/// A scenario with one step, which passes if its request has this number.
fn counting(id: &str, head: &str, number: usize) -> String {
    format!(
        "id: {id}\n{head}\nsteps:\n  - request: {{ method: GET, path: /count }}\n    assert: {{ body: {{ equals: number {number} }} }}\n"
    )
}

fn project(program: &str, cases: &[(&str, String)]) -> Project {
    let project = Project::new().file("code/main.py", program).file("code/Dockerfile", DOCKERFILE);
    cases.iter().fold(project, |project, (path, text)| project.file(&format!("cases/{path}"), text))
}

fn validated(project: &Project, more: &[&str]) -> Ran {
    let run =
        ["validate", "--scenarios", "cases", "--code", "code", "--runtime", "process", "--no-judge", "-q"];
    project.run(&[&run, more].concat())
}

const JSON: [&str; 4] = ["--format", "json", "--events", "events.jsonl"];

/// How many programs the run with the written events started.
fn held(project: &Project) -> usize {
    let events = project.read("events.jsonl");
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["fact"] == "acquired").count()
}

fn scores(report: &Value) -> Vec<(&str, Option<f64>)> {
    let all = report["scenarios"].as_array().unwrap().iter();
    all.map(|scenario| (scenario["id"].as_str().unwrap(), scenario["score"].as_f64())).collect()
}

/// Fails if two visitors are inside at the same time.
const BOOTH: &str = "import http.server
inside = False
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        global inside
        taken = self.path == '/enter' and inside
        inside = self.path != '/leave' and (inside or self.path == '/enter')
        self.send_response(409 if taken else 200)
        self.end_headers()
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print('port', server.server_address[1])
server.serve_forever()
";

/// Eight scenarios that enter, stay for a while and leave.
fn visitors() -> Vec<(String, String)> {
    let step =
        |path: &str| format!("  - request: {{ method: GET, path: {path} }}\n    assert: {{ status: 200 }}\n");
    let stay = step("/stay").replace("  - ", "  - repeat: 40\n    ");
    let text = |id: usize| format!("id: visitor-{id}\nsteps:\n{}{stay}{}", step("/enter"), step("/leave"));
    (1..=8).map(|id| (format!("cases/{id}.yaml"), text(id))).collect()
}

#[test]
fn against_a_target_scenarios_run_one_at_a_time() {
    let files = visitors();
    let project = files.iter().fold(Project::new(), |project, (path, text)| project.file(path, text));
    let project = project.file("booth.py", BOOTH);
    let booth = Site::running(&project.path("booth.py"));
    let run = ["validate", "--scenarios", "cases", "--target", &booth.url, "--no-judge", "-q"];
    let text = project.run(&run).exits(0).stdout;
    assert!(!text.contains("note:"), "{text}");
    let many = [run.as_slice(), &["--parallel-scenarios", "8", "--threshold", "0"]].concat();
    let text = project.run(&many).stdout;
    let note =
        "note: up to 8 scenarios run at once against one program: 8 are meant to have a program of their own";
    assert!(text.starts_with(note), "{text}");
    let json = project.run(&[many.as_slice(), &["--format", "json"]].concat()).json();
    assert!(json["notes"][0].as_str().is_some_and(|text| text.contains("isolation: fresh")), "{json}");
}

#[test]
fn scenarios_that_share_a_program_never_run_at_once() {
    let shared = |text: &str| text.replace("\nsteps:", "\nisolation: shared\nsteps:");
    let files = visitors();
    let project =
        files.iter().fold(Project::new(), |project, (path, text)| project.file(path, &shared(text)));
    let project = project.file("booth.py", BOOTH);
    let booth = Site::running(&project.path("booth.py"));
    let run = ["validate", "--scenarios", "cases", "--target", &booth.url, "--no-judge", "-q"];
    let many = [run.as_slice(), &["--parallel-scenarios", "8"]].concat();
    let text = project.run(&many).exits(0).stdout;
    let note = "note: 8 are meant to share one (`isolation: shared`): they run one after the other";
    assert!(text.starts_with(note), "{text}");
    // A scenario that needs its own program runs concurrently, and the report notes this.
    project.write(
        "cases/own.yaml",
        "id: own\nsteps:\n  - request: { method: GET, path: /stay }\n    assert: { status: 200 }\n",
    );
    let text = project.run(&many).exits(0).stdout;
    let note =
        "note: up to 8 scenarios run at once against one program: 1 is meant to have a program of its own";
    assert!(text.starts_with(note) && text.contains("; 8 are meant to share one"), "{text}");
}

#[test]
fn more_programs_of_two_kinds_than_fit_at_once_are_all_run() {
    if !there("process", "more_programs_of_two_kinds_than_fit_at_once_are_all_run") {
        return;
    }
    let call = |id: &str| {
        format!(
            "id: {id}\nsteps:\n  - grpc: {{ service: a.B, method: C, body: {{}} }}\n    assert: {{ status: OK }}\n"
        )
    };
    let project = project(
        COUNTER,
        &[
            ("1.yaml", counting("shared dev http", "", 1)),
            ("2.yaml", counting("two", "isolation: shared", 1)),
            ("3.yaml", call("three")),
            ("4.yaml", call("four")),
        ],
    );
    let report =
        validated(&project, &[JSON.as_slice(), &["--parallel-scenarios", "1"]].concat()).exits(4).json();
    let scores =
        [("four", Some(0.0)), ("shared dev http", Some(100.0)), ("three", Some(0.0)), ("two", Some(100.0))];
    assert_eq!(self::scores(&report), scores, "{report:#}");
    assert_eq!(held(&project), 6, "one program of each kind is tried first");
}

#[test]
fn a_program_that_does_not_come_up_is_started_once() {
    if !there("process", "a_program_that_does_not_come_up_is_started_once") {
        return;
    }
    let cases = ["a", "b", "c", "d", "e"].map(|id| (format!("{id}.yaml"), counting(id, "", 1)));
    let mut cases: Vec<(&str, String)> =
        cases.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    cases.push((
        "tool.yaml",
        "id: tool\nsteps:\n  - exec: { command: 'true' }\n    assert: { exit_code: 0 }\n".to_owned(),
    ));
    let project = project(BROKEN, &cases);
    let report =
        validated(&project, &[JSON.as_slice(), &["--parallel-scenarios", "2"]].concat()).exits(4).json();
    for scenario in report["scenarios"].as_array().unwrap() {
        // A scenario that only runs commands needs no server.
        let tool = scenario["id"] == "tool";
        assert_eq!(scenario["score"], if tool { 100.0 } else { 0.0 }, "{report}");
        assert_eq!(scenario["fault"]["log"].as_str().is_some_and(|log| log.contains("no database")), !tool);
    }
    assert_eq!(held(&project), 2, "one for all that need a server, one for the command");
    // If all fit at once, trying one first has no benefit.
    validated(&project, &[JSON.as_slice(), &["--only", "a", "--only", "b"]].concat()).exits(4);
    assert_eq!(held(&project), 2);
}

#[test]
fn scenarios_that_share_a_program_are_run_in_the_order_of_their_files() {
    if !there("process", "scenarios_that_share_a_program_are_run_in_the_order_of_their_files") {
        return;
    }
    let shared = "isolation: shared";
    let project = project(
        COUNTER,
        &[
            ("1.yaml", counting("z", shared, 1)),
            ("2.yaml", counting("a", "", 1)),
            ("3.yaml", counting("y", shared, 2)),
            (
                "4.yaml",
                counting("rows", "isolation: shared\nfor_each: [{ n: 3 }, { n: 4 }]", 3)
                    .replace("number 3", "'number {n}'"),
            ),
            ("5.yaml", counting("b", shared, 5)),
        ],
    );
    let report = validated(&project, &JSON).exits(0).json();
    let all = ["a", "b", "rows-1", "rows-2", "y", "z"].map(|id| (id, Some(100.0)));
    assert_eq!(scores(&report), all, "{report}");
    assert_eq!(held(&project), 2, "one for those that share, one for the other");
}

fn tiered() -> Project {
    project(
        COUNTER,
        &[
            ("easy.yaml", counting("easy", "tier: 1", 1)),
            ("wrong.yaml", counting("wrong", "tier: 1\nweight: 3", 7)),
            ("harder.yaml", counting("harder", "tier: 2", 1)),
            ("hardest.yaml", counting("hardest", "tier: 3\nmust: true", 1)),
        ],
    )
}

#[test]
fn a_tier_that_fails_is_the_last_where_that_is_asked_for() {
    if !there("process", "a_tier_that_fails_is_the_last_where_that_is_asked_for") {
        return;
    }
    let project = tiered();
    let whole = validated(&project, &JSON).exits(4).json();
    assert_eq!(scores(&whole).iter().filter(|(_, score)| *score == Some(100.0)).count(), 3, "{whole}");

    let report = validated(&project, &[JSON.as_slice(), &["--fail-fast", "--threshold", "0"]].concat())
        .exits(4)
        .json();
    assert_eq!(held(&project), 2, "no program is started for later tiers");
    assert_eq!(
        scores(&report),
        [("easy", Some(100.0)), ("harder", None), ("hardest", None), ("wrong", Some(0.0))]
    );
    assert_eq!((&report["status"], &report["aggregate_score"]), (&"unsatisfied".into(), &25.0.into()));
    let left = &report["scenarios"][1];
    assert_eq!(left["not_run"], "of tier 1, wrong failed: no later tier is tried (fail_fast)");
    assert!(left["passed"].is_null() && left["unjudged"] == 0, "{left}");

    let again = |format| project.run(&["validate", "--of", "last", "--format", format, "-q"]).exits(4);
    again("text")
        .stdout_has("– harder")
        .stdout_has("not run\n      of tier 1, wrong failed")
        .stdout_has("2 not run)");
    let junit = again("junit").stdout_has("<skipped message=\"not run: of tier 1, wrong failed").stdout;
    assert_eq!(junit.matches("<skipped").count(), 2, "{junit}");
    let github = again("github").stdout;
    assert!(
        github.contains("::warning title=harder%3A it was not run,file=cases/harder.yaml,line=1"),
        "{github}"
    );
    assert_eq!((github.matches("::error").count(), github.matches("::warning").count()), (1, 2), "{github}");
}

#[test]
fn every_tier_is_run_where_none_fails() {
    if !there("process", "every_tier_is_run_where_none_fails") {
        return;
    }
    let report =
        validated(&tiered(), &["--fail-fast", "--only", "*ea*", "--only", "hard*", "--format", "json"])
            .exits(0)
            .json();
    assert_eq!(scores(&report), ["easy", "harder", "hardest"].map(|id| (id, Some(100.0))));
}
