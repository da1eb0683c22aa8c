//! Programs that are built from code or taken from an image.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::path::Path;
use std::process::Command;

use crate::binary::Project;
use crate::recorded::{growing, has_image, ran, there};
use crate::scenario::peers::python;

fn cases(example: &str) -> String {
    format!("{}/examples/{example}/scenarios", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_delivered_command_is_validated_from_its_code() {
    if !there("process", "a_delivered_command_is_validated_from_its_code") {
        return;
    }
    let project = Project::new();
    ran(growing(&project, "roman", &["--runtime", "process", "-q"])).exits(0);
    let cases = cases("roman");
    let run = ["validate", "--scenarios", &cases, "--code", "out", "--runtime", "process", "--no-judge"];
    let report = project.run(&[&run, ["--format", "json"].as_slice()].concat()).exits(0).json();
    assert_eq!((&report["aggregate_score"], &report["target"]), (&100.0.into(), &"out".into()), "{report}");

    // The same code with a bug: the text report shows the output of the command.
    let code = project.read("out/roman.py").replace("IV", "IIII");
    project.write("out/roman.py", &code);
    let broken = project.run(&[&run, ["--threshold", "100", "-q"].as_slice()].concat()).exits(4);
    broken.stdout_has("✗ numerals").stdout_has("roman.py 14").stdout_has("XIIII");
}

const SERVER: &str = "import http.server, os, sys
if len(sys.argv) > 1:
    sys.exit('what is ' + sys.argv[1])
print('listening', flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print('secret of the log', flush=True)
        self.send_response(500)
        self.end_headers()
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";

const DOCKERFILE: &str = "FROM python:3.12-slim\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

const BOOT: &str = "id: boot
steps:
  - description: It answers
    request: { method: GET, path: /health }
    assert: { status: 200 }
";

#[test]
fn a_program_that_is_not_there_has_its_reason_and_log() {
    if !there("process", "a_program_that_is_not_there_has_its_reason_and_log") {
        return;
    }
    let project = Project::new()
        .file("cases/boot.yaml", BOOT)
        .file("code/main.py", SERVER)
        .file("code/Dockerfile", DOCKERFILE);
    let run = ["validate", "--scenarios", "cases", "--code", "code", "--runtime", "process", "-q"];
    let ready = ["--set", "steps.tiers.steps.observe.steps.trial.hold.service.ready=tcp"];
    let failing = project.run(&[run.as_slice(), &ready].concat()).exits(4);
    failing.stdout_has("status is 200 (found: 500)").stdout_has("secret of the log");

    project.write("code/Dockerfile", &DOCKERFILE.replace("main.py", "main.py\", \"nonsense"));
    let ended = project.run(&run).exits(4);
    ended.stdout_has("✗ boot").stdout_has("what is nonsense");

    project.write("code/Dockerfile", "FROM python:3.12-slim\nRUN echo no such luck; false\n");
    let unbuilt = project.run(&run).exits(4);
    unbuilt.stdout_has("it does not build").stdout_has("no such luck").stdout_has("0.0/100");

    project.write("code/Dockerfile", "");
    std::fs::remove_file(project.path("code/Dockerfile")).unwrap();
    project.run(&run).exits(4).stdout_has("the tree has no file `Dockerfile`");
}

#[test]
fn an_image_is_validated_as_it_is() {
    if !there("docker", "an_image_is_validated_as_it_is") {
        return;
    }
    let image = "python:3.12-slim";
    if !has_image(image, "an_image_is_validated_as_it_is") {
        return;
    }
    let scenario = "id: python\nsteps:\n  - exec: { command: python3 -c 'print(6 * 7)' }\n    assert: { stdout: { equals: \"42\\n\" } }\n";
    let project = Project::new().file("cases/python.yaml", scenario);
    project.run(&["validate", "--scenarios", "cases", "--image", image]).exits(0).stdout_has("✓ python");
    let missing =
        project.run(&["validate", "--scenarios", "cases", "--image", "atoll-nobody-made-this:1"]).exits(1);
    missing.stdout_has("? python").stdout_has("unknown image `atoll-nobody-made-this:1`");
}

const MENU: &str = "import http.server, os, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(self.server.server_port).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
admin = http.server.ThreadingHTTPServer(('0.0.0.0', 9090), Handler)
threading.Thread(target=admin.serve_forever).start()
http.server.ThreadingHTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";

const EVERY_WAY: &str = r#"id: every-way
steps:
  - description: It serves
    request: { method: GET, path: / }
    assert: { status: 200, body: { equals: "8080" } }
  - description: On another port as well
    service: program:9090
    request: { method: GET, path: / }
    assert: { status: 200, body: { equals: "9090" } }
  - description: It is a command
    exec: { command: python3 -c 'print(6 * 7)' }
    assert: { stdout: { equals: "42\n" } }
  - description: And a program for a terminal
    tui: { command: sh menu.sh, wait_for: "Which one?" }
    assert: { screen: { contains: "Which one?" } }
  - tui: { send_text: "two\r", wait_exit: true }
    assert: { screen: { contains: "two it is" }, exit_code: 7 }
"#;

#[test]
fn a_program_of_every_kind_at_once_is_validated_from_its_code() {
    if !there("process", "a_program_of_every_kind_at_once_is_validated_from_its_code") {
        return;
    }
    let project = Project::new()
        .file("code/main.py", MENU)
        .file("code/menu.sh", "printf 'Which one? '\nread which\necho \"$which it is\"\nexit 7\n")
        .file(
            "code/Dockerfile",
            "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n",
        )
        .file("environment.toml", "[program]\nports = [9090]\n")
        .file("cases/every-way.yaml", EVERY_WAY);
    let run =
        ["validate", "--scenarios", "cases", "--code", "code", "--runtime", "process", "--no-judge", "-q"];
    project.run(&run).exits(0).stdout_has("✓ every-way");
}

const HEALTH: &str = "import os
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set('shop', health_pb2.HealthCheckResponse.SERVING)
reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
assert server.add_insecure_port(f'0.0.0.0:{os.environ[\"PORT\"]}')
server.start()
server.wait_for_termination()
";

const CHECKED: &str = "id: checked
steps:
  - grpc: { service: grpc.health.v1.Health, method: Check, body: { service: shop } }
    assert: { status: OK, json: { $.status: SERVING } }
  - grpc: { service: grpc.health.v1.Health, method: Check, body: { service: nobody } }
    assert: { status: NOT_FOUND }
";

/// Adds the library to the code, because a sandbox sees only packages of the system.
fn with_grpc(project: &Project, test: &str) -> bool {
    let Some(python) = python(test) else { return false };
    let say = "import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_paths()['purelib'])";
    let says = |python: &Path| {
        let output = Command::new(python).args(["-c", say]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (own, of_the_system) = (says(&python), says(Path::new("/usr/bin/python3")));
    let version = |said: &str| said.split_once(") ").map(|(version, _)| version.to_owned());
    if version(&own) != version(&of_the_system) {
        println!("skipped: {test}: the packages are for another Python than the system's");
        return false;
    }
    let (_, packages) = own.split_once(") ").unwrap();
    let into = project.path("code/packages");
    std::fs::create_dir_all(into.join("google")).unwrap();
    for name in
        ["grpc", "grpc_health", "grpc_reflection", "google/protobuf", "google/_upb", "typing_extensions.py"]
    {
        let target = into.join(name);
        let copied = Command::new("cp").arg("-r").arg(Path::new(packages).join(name)).arg(target).status();
        assert!(copied.unwrap().success(), "{name}");
    }
    true
}

#[test]
fn a_program_that_takes_grpc_calls_is_validated_from_its_code() {
    let test = "a_program_that_takes_grpc_calls_is_validated_from_its_code";
    let project = Project::new()
        .file("code/main.py", HEALTH)
        .file("code/Dockerfile", &DOCKERFILE.replace("COPY", "ENV PYTHONPATH=/packages\nCOPY"))
        .file("code/.dockerignore", "**/__pycache__\n")
        .file("cases/checked.yaml", CHECKED);
    if !there("process", test) || !with_grpc(&project, test) {
        return;
    }
    let run =
        ["validate", "--scenarios", "cases", "--code", "code", "--runtime", "process", "--no-judge", "-q"];
    project.run(&run).exits(0).stdout_has("✓ checked");
    // On a separate port, in addition to the main one.
    project.write("code/main.py", &HEALTH.replace("{os.environ[\"PORT\"]}", "50051"));
    project.run(&[run.as_slice(), &["--grpc-port", "50051"]].concat()).exits(0).stdout_has("✓ checked");
    let wrong = project.run(&[run.as_slice(), &["--boot", "500ms"]].concat()).exits(4);
    wrong.stdout_has("nothing listens on port 8080");
}
