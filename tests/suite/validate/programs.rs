//! Programs that are built from code or taken from an image.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use crate::binary::Project;
use crate::recorded::{growing, has_image, ran, there};

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

    // The same code with a mistake: the evidence of the command is in the text.
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
    missing.stdout_has("? python").stdout_has("there is no image `atoll-nobody-made-this:1`");
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
  - tui: { send_text: "two", send_key: enter, wait_exit: true }
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
