//! Scenarios in a pipeline of one's own: selected, grouped, run against real programs, scored.
#![expect(clippy::disallowed_methods, reason = "a test opens a port")]

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::binary::Project;
use crate::recorded::there;

const SERVER: &str = "import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_GET(self):
        known = self.path == '/count'
        body = str(Handler.count).encode() if known else b'no such path'
        Handler.count += known
        self.send_response(200 if known else 404)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";

const DOCKERFILE: &str = "FROM python:3.12-slim\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

fn counting(id: &str, more: &str, expected: &str) -> String {
    let end = if expected.is_empty() {
        "    expect: it answers with a number\n".to_owned()
    } else {
        format!("    assert: {{ status: 200, body: \"{expected}\" }}\n")
    };
    format!(
        "id: {id}\n{more}steps:\n  - description: It counts\n    request: {{ method: GET, path: /count }}\n{end}"
    )
}

const WRONG: &str = "id: wrong
tags: [critical]
steps:
  - description: It has a list
    request: { method: GET, path: /list }
    assert: { status: 200 }
  - description: It has the same list
    request: { method: GET, path: /list }
    assert: { status: 200 }
";

const PIPELINE: &str = r#"
atoll = 1
name  = "grading"

[inputs]
verdicts = { type = "json", help = "what a judge says", default = [] }

[steps.code]
pack = { dir = "app" }

[steps.build]
docker_build = { tree = "{{ steps.code.output.tree }}", runtime = "process" }

[steps.cases]
scenario_load = { dir = "cases", visibility = ["dev", "gate"], weights = { critical = 3 } }

[steps.groups.each]
over     = "steps.cases.output.scenarios | sort(attribute='order') | group_by('group')"
key      = "item.key"
on_error = "keep"
result   = "steps.program.output"

[steps.groups.steps.program]
hold = { result = "steps.trials.items", service = { image = "{{ steps.build.output.image }}", ready = { tcp = true } } }

[steps.groups.steps.program.steps.trials]
when = "held.came_up"

[steps.groups.steps.program.steps.trials.each]
over     = "item['items']"
as       = "case"
key      = "case.id"
parallel = 1
on_error = "keep"
result   = "steps.run.output"

[steps.groups.steps.program.steps.trials.steps.run]
scenario = { scenario = "{{ case }}", target = "{{ held.url }}", service = "{{ held.id }}" }

[steps.graded.grade]
scenarios = "{{ steps.cases.output.scenarios }}"
trials    = "{{ steps.groups.items }}"
verdicts  = "{{ inputs.verdicts }}"
build     = "{{ steps.build.output }}"
passing   = { judged = 60, otherwise = 100 }

[steps.short]
findings = { graded = "{{ steps.graded.output.scenarios }}", tells = "diagnostic" }

[steps.all.total]
graded     = "{{ steps.graded.output.scenarios }}"
goal       = { score = 50 }
parts.lint = { score = 100, share = 0.2 }
precision  = 0.125

[outputs]
scores   = "steps.graded.output.scenarios | map('pair') | dict"
graded   = "steps.graded.output.score"
done     = "steps.graded.output.done"
open     = "steps.graded.output.open | map(attribute='key') | list"
groups   = "steps.cases.output.scenarios | map(attribute='group') | unique | sort"
sealed   = "steps.cases.output.sealed"
findings = "steps.short.output.findings"
total    = "steps.all.output"

[functions]
pair = { args = ["one"], value = "[one.id, one.score]" }
"#;

fn project() -> Project {
    Project::new()
        .file("pipelines/grading.toml", PIPELINE)
        .file("app/main.py", SERVER)
        .file("app/Dockerfile", DOCKERFILE)
        .file("cases/1.yaml", &counting("z-first", "isolation: shared\n", "0"))
        .file("cases/2.yaml", &counting("a-second", "isolation: shared\n", "1"))
        .file("cases/3.yaml", &counting("gate", "isolation: shared\nvisibility: gate\n", "0"))
        .file("cases/4.yaml", &counting("judged", "", ""))
        .file("cases/5.yaml", WRONG)
        .file("cases/6.yaml", &counting("sealed", "visibility: sealed\n", "7"))
}

#[test]
fn scenarios_are_grouped_run_and_scored_in_a_pipeline() {
    if !there("process", "scenarios_are_grouped_run_and_scored_in_a_pipeline") {
        return;
    }
    let project = project();
    let out =
        project.run(&["run", "grading", "--no-input", "--format", "json"]).exits(0).json()["outputs"].clone();
    // Those that share a program see what the others did, in the order of their files; a gate does not.
    let scores = json!({"a-second": 100.0, "gate": 100.0, "judged": null, "wrong": 0.0, "z-first": 100.0});
    assert_eq!(out["scores"], scores, "{out:#}");
    let groups = json!(["fresh/judged", "fresh/wrong", "shared/dev/http", "shared/gate/http"]);
    assert_eq!((&out["groups"], &out["sealed"]), (&groups, &json!(1)));
    // 300 of weight 1 and 0 of weight 3; what is not decided is part of no mean.
    assert_eq!(
        (&out["graded"], &out["done"], &out["open"]),
        (&json!(50.0), &json!(false), &json!(["judged#0"]))
    );
    let findings = out["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "one cause is one finding: {findings:#?}");
    assert!(findings[0]["sent"].as_str().unwrap().starts_with("GET /list"), "{findings:#?}");
    assert_eq!(findings[0]["required"], "status is 200");
    let total = json!({"score": 60.0, "lowest": 0.0, "done": false, "judged": false, "unjudged": 1});
    assert_eq!(out["total"], total);

    let verdicts = json!([{"key": "judged#0", "score": 60, "reason": "it is a number"}]).to_string();
    let out =
        project.run(&["run", "grading", "--no-input", "--format", "json", "--verdicts", &verdicts]).exits(0);
    let out = out.json()["outputs"].clone();
    assert_eq!((&out["graded"], &out["open"]), (&json!(51.428_571), &json!([])));
    // (1 - 0.2) × 51.428571 + 0.2 × 100, rounded down to eighths
    let total = json!({"score": 61.125, "lowest": 0.0, "done": true, "judged": true, "unjudged": 0});
    assert_eq!(out["total"], total);
}

#[test]
fn a_selection_that_leaves_nothing_fails_with_its_reason() {
    let project = project();
    let set = "steps.cases.scenario_load.only=[\"nothing*\"]";
    let ran = project.run(&["run", "grading", "--no-input", "--set", set]).exits(1);
    ran.stderr_has("no scenario is selected: `only` and `visibility` exclude all 6 of cases");
}

const AT_TARGET: &str = r#"
atoll = 1
name  = "at_target"

[inputs]
target = { type = "string", required = true, help = "URL of the program" }

[steps.files]
pack = { files = { "note.txt" = "from the sandbox" } }

[steps.cases]
scenario_load = { dir = "cases", target = "{{ inputs.target }}" }

[steps.program.hold]
result  = "steps.trials.output"
service = { target = "{{ inputs.target }}", files = [{ tree = "{{ steps.files.output.tree }}", at = "/work" }] }

[steps.program.steps.trials.each]
over   = "steps.cases.output.scenarios"
as     = "case"
key    = "case.id"
result = "steps.run.output"

[steps.program.steps.trials.steps.run]
scenario = { scenario = "{{ case }}", target = "{{ held.url }}", service = "{{ held.id }}" }

[steps.graded]
grade = { scenarios = "{{ steps.cases.output.scenarios }}", trials = "{{ steps.program.output.result }}" }

[outputs]
score = "steps.graded.output.score"
group = "steps.cases.output.scenarios[0].group"
held  = "steps.program.output.held.runtime"
"#;

const BOTH: &str = "id: both
isolation: shared
steps:
  - description: The program answers
    request: { method: GET, path: /x }
    assert: { status: 200, body: ok }
  - description: Commands see the files
    exec: { command: cat /work/note.txt }
    assert: { stdout: from the sandbox }
";

#[test]
fn a_program_that_is_up_already_is_held_with_a_sandbox_for_commands() {
    if !there("process", "a_program_that_is_up_already_is_held_with_a_sandbox_for_commands") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let _ = peer.read(&mut [0; 4096]);
            let _ = peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    let project = Project::new().file("pipelines/at_target.toml", AT_TARGET).file("cases/both.yaml", BOTH);
    let run = ["run", "at_target", "--no-input", "--format", "json", "--target", &target];
    let out: Value = project.run(&run).exits(0).json()["outputs"].clone();
    assert_eq!(out, json!({"score": 100.0, "group": "shared/target", "held": "target"}));
}
