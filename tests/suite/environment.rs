//! Sidecars of a program: redis-server and PostgreSQL of the distribution, in sandboxes and containers.
#![expect(clippy::disallowed_methods, reason = "tests start programs and write files")]

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::binary::{Project, Ran};
use crate::recorded::there;

/// Whether redis and PostgreSQL are installed. Fails if they are required and missing.
fn databases(test: &str) -> bool {
    let here = ["redis-server", "redis-cli", "psql"]
        .iter()
        .all(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
    assert!(
        here || !required.split(',').any(|name| name == "databases"),
        "databases are required and missing"
    );
    if !here {
        println!("skipped: {test}: redis-server or PostgreSQL is missing");
    }
    here
}

fn example(path: &str) -> String {
    format!("{}/examples/visits/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_program_with_a_cache_and_a_database_is_validated() {
    let name = "a_program_with_a_cache_and_a_database_is_validated";
    if !there("process", name) || !databases(name) {
        return;
    }
    let secret = "open-sesame-7315";
    let project = Project::new().env("VISITS_TOKEN", secret);
    let (cases, code) = (example("scenarios"), example("program"));
    let allow = ["--allow-secret", "VISITS_TOKEN"];
    let run = ["validate", "--scenarios", &cases, "--code", &code, "--runtime", "process", "--no-judge"];
    let run = [run.as_slice(), &allow].concat();
    let report = project.run(&[run.as_slice(), &["--format", "json"]].concat()).exits(0).json();
    let scores: Vec<_> =
        report["scenarios"].as_array().unwrap().iter().map(|one| one["score"].clone()).collect();
    assert_eq!(scores, [100.0, 100.0, 100.0], "{report:#}");
    let log = report["scenarios"][0]["steps"][0]["log"].as_str().unwrap();
    assert!(log.contains("program | "), "{log}");
    // The program prints its secret when it starts.
    assert!(!holds(&project.path("."), secret.as_bytes()), "the secret is on the disk");

    // If the secret is not set, it can be set and the run resumed.
    let without = Project::new();
    let paused = without.run(&[run.as_slice(), &["-q"]].concat()).exits(7);
    paused
        .stderr_has("the secret `VISITS_TOKEN` for the variable `TOKEN` of the service `program` is not set")
        .stderr_has("set the environment variable VISITS_TOKEN");
}

/// Whether a file below `dir` holds `text`.
fn holds(dir: &Path, text: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            return holds(&path, text);
        }
        std::fs::read(&path).unwrap_or_default().windows(text.len()).any(|piece| piece == text)
    })
}

const ASKING: &str = r#"import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host, port = self.path.strip("/").split("/") if self.path.count("/") == 2 else ("cache", "6379")
        try:
            with socket.create_connection((host, int(port)), timeout=10) as peer:
                peer.sendall(b"PING\r\n")
                body = peer.recv(100) or b"closed"
        except OSError as error:
            body = type(error).__name__.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const DOCKERFILE: &str = "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nCMD [\"python3\", \"main.py\"]\n";

fn asking() -> Project {
    Project::new().file("code/main.py", ASKING).file("code/Dockerfile", DOCKERFILE)
}

/// `atoll validate` of the project's code, by assertions alone.
fn validate(project: &Project, runtime: &str, more: &[&str]) -> Ran {
    let run = ["validate", "--scenarios", "scenarios", "--code", "code", "--runtime", runtime, "--no-judge"];
    project.run(&[&run, more].concat())
}

/// A redis with all its libraries, which can be copied into any image of the same distribution.
fn portable_redis(project: &Project) {
    let dir = project.path("cache");
    std::fs::create_dir_all(dir.join("lib")).unwrap();
    for name in ["redis-server", "redis-cli"] {
        let program = String::from_utf8(Command::new("which").arg(name).output().unwrap().stdout).unwrap();
        std::fs::copy(program.trim(), dir.join(name)).unwrap();
        let needed =
            String::from_utf8(Command::new("ldd").arg(program.trim()).output().unwrap().stdout).unwrap();
        for library in needed.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
            let file = library.file_name().unwrap().to_str().unwrap();
            if !["ld-linux", "libc.so", "libm.so"].iter().any(|base| file.starts_with(base)) {
                std::fs::copy(library, dir.join("lib").join(file)).unwrap();
            }
        }
    }
}

#[test]
fn containers_reach_each_other_by_name_and_nothing_else() {
    let name = "containers_reach_each_other_by_name_and_nothing_else";
    if !there("docker", name) || !databases(name) {
        return;
    }
    let project = asking().file(
        "environment.toml",
        r#"
[program]
volumes = { shared = "/shared" }

[services.cache]
code    = "cache"
port    = 6379
ready   = { command = "redis-cli ping" }
volumes = { shared = "/shared" }
"#,
    );
    portable_redis(&project);
    project.write(
        "cache/Dockerfile",
        "FROM python:3.12-slim\nCOPY . /opt/redis/\nENV LD_LIBRARY_PATH=/opt/redis/lib PATH=/opt/redis:/usr/bin:/bin\n\
         CMD [\"redis-server\", \"--save\", \"\", \"--bind\", \"0.0.0.0\", \"--protected-mode\", \"no\"]\n",
    );
    project.write(
        "scenarios/names.yaml",
        "id: names
steps:
  - description: The cache answers by name
    request: { method: GET, path: /cache/6379 }
    assert: { body: { equals: \"+PONG\\r\\n\" } }
  - description: It has no other port
    request: { method: GET, path: /cache/6380 }
    assert: { body: { equals: ConnectionRefusedError } }
  - description: There is no other network
    request: { method: GET, path: /172.17.0.1/80 }
    assert: { body: { equals: OSError } }
  - description: The cache reaches the program, and leaves a file
    service: cache
    exec: { command: \"exec 3<>/dev/tcp/program/8080 && echo reached > /shared/note\" }
  - description: The file is there
    exec: { command: ls /shared }
    assert: { exit_code: 0 }
",
    );
    // `sh` has no /dev/tcp, so redis-cli connects to the peer and prints the answer.
    let scenario = project.read("scenarios/names.yaml").replace(
        "exec 3<>/dev/tcp/program/8080 && echo reached > /shared/note\" }",
        "redis-cli -h program -p 8080 ping 2>&1; echo reached > /shared/note\" }\n    assert: { exit_code: 0, stdout: { contains: reply type byte } }",
    );
    project.write("scenarios/names.yaml", &scenario);
    validate(&project, "docker", &["-q"]).exits(0).stdout_has("✓ names");
    let left = |what: &[&str]| {
        let output = Command::new("docker").args(what).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let house = project.path(".").canonicalize().unwrap();
    let label = format!("label=atoll.house={}", house.join(".atoll").display());
    assert_eq!(left(&["ps", "-aq", "--filter", &label]), "");
    assert_eq!(left(&["volume", "ls", "-q", "--filter", &label]), "");
}

/// A name of this machine other than `localhost`.
fn own_name() -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = hosts.lines().filter(|line| line.starts_with("127."));
    let names =
        lines.flat_map(|line| line.split_whitespace().skip(1)).filter(|name| !name.starts_with("localhost"));
    names.map(str::to_owned).find(|name| {
        (name.as_str(), 80).to_socket_addrs().is_ok_and(|mut found| found.any(|at| at.is_ipv4()))
    })
}

#[test]
fn a_program_reaches_the_hosts_that_are_allowed() {
    let name = "a_program_reaches_the_hosts_that_are_allowed";
    if !there("process", name) {
        return;
    }
    let Some(host) = own_name() else {
        println!("skipped: {name}: this machine has no name in /etc/hosts");
        return;
    };
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        peer.read_exact(&mut [0; 6]).unwrap();
        peer.write_all(b"from outside").unwrap();
    });
    let project = asking().file(
        "environment.toml",
        &format!("[program]\negress = [\"{host}:{port}\", \"no-such-host.invalid:443\"]\n"),
    );
    let closed = if port == 9 { 10 } else { 9 };
    project.write(
        "scenarios/hosts.yaml",
        &format!(
            "id: hosts
steps:
  - request: {{ method: GET, path: /{host}/{port} }}
    assert: {{ body: {{ equals: from outside }} }}
  - request: {{ method: GET, path: /{host}/{closed} }}
    assert: {{ body: {{ equals: ConnectionRefusedError }} }}
  - request: {{ method: GET, path: /no-such-host.invalid/443 }}
    assert: {{ body: {{ equals: closed }} }}
  - request: {{ method: GET, path: /example.com/443 }}
    assert: {{ body: {{ equals: gaierror }} }}
  - request: {{ method: GET, path: /192.0.2.1/{port} }}
    assert: {{ body: {{ equals: OSError }} }}
"
        ),
    );
    let report = validate(
        &project,
        "process",
        &["--format", "json", "--allow-egress", &host, "--allow-egress", "no-such-host.invalid"],
    )
    .exits(0)
    .json();
    answering.join().unwrap();
    // Its log shows which host it could not reach, although it is a single service.
    let step = &report["scenarios"][0]["steps"][2];
    let log = step["log"].as_str().unwrap();
    assert!(log.contains("atoll: no-such-host.invalid:443 cannot be reached: "), "{step:#}");
}

#[test]
fn what_keeps_a_service_from_coming_up_is_no_fault_of_the_program() {
    let name = "what_keeps_a_service_from_coming_up_is_no_fault_of_the_program";
    if !there("process", name) {
        return;
    }
    let boot = "id: boot\nsteps:\n  - request: { method: GET, path: / }\n    assert: { status: 200 }\n";
    let project = asking().file("scenarios/boot.yaml", boot);
    let run = || validate(&project, "process", &["-q"]);
    let service = |command: &str, more: &str| {
        project.write(
            "side/Dockerfile",
            &format!("FROM debian\nWORKDIR /srv\nCMD [\"sh\", \"-c\", \"{command}\"]\n"),
        );
        project.write("environment.toml", &format!("[services.side]\ncode = \"side\"\nport = 7000\n{more}"));
    };
    service("echo no space left; exit 3", "");
    run()
        .exits(1)
        .stdout_has("`side` is not up: it ended with exit code 3")
        .stdout_has("side | no space left");
    service("echo up; sleep 600", "ready = { log = 'up' }\nseed = [\"echo half of it; exit 5\"]\n");
    let seeded = run().exits(1);
    seeded
        .stdout_has("its seed command failed: `echo half of it; exit 5` ended with exit code 5: half of it");
    service("sleep 600", "ready = { command = 'test -e /srv/done', within = '300ms' }\n");
    run().exits(1).stdout_has("not ready within 300ms: `test -e /srv/done` ended with exit code 1");
    service("sleep 600", "ready = { command = 'sleep 600', within = '300ms' }\n");
    run().exits(1).stdout_has("not ready within 300ms: `sleep 600` does not end");
    service("exit 0", "");
    project.write("side/Dockerfile", "FROM debian\nRUN echo no such package; false\n");
    let unbuilt = run().exits(1);
    unbuilt.stdout_has("the service `side` of the environment does not build").stdout_has("no such package");
    service("sleep 600", "");
    let text = project.read("environment.toml").replace("7000", "8080");
    project.write("environment.toml", &text);
    run().exits(1).stdout_has("`program` and `side` both listen on port 8080");
}

/// Connects to a service as soon as it starts, and exits if that fails.
const EAGER: &str = r#"import socket
with socket.create_connection(("first", 7001), timeout=10) as peer:
    print("first says", peer.recv(100), flush=True)
print("shared:", open("/shared/seeded").read(), flush=True)
listener = socket.create_server(("0.0.0.0", 7002))
while True:
    listener.accept()
"#;

/// Starts slowly, then answers.
const SLOW: &str = r#"import socket, time
time.sleep(0.5)
listener = socket.create_server(("0.0.0.0", 7001))
while True:
    peer, _ = listener.accept()
    peer.sendall(b"hello")
    peer.close()
"#;

#[test]
fn a_service_starts_after_those_it_needs_are_up_and_seeded() {
    let name = "a_service_starts_after_those_it_needs_are_up_and_seeded";
    if !there("process", name) {
        return;
    }
    let boot = "id: boot\nsteps:\n  - request: { method: GET, path: /first/7001 }\n    assert: { body: { equals: hello } }\n";
    let project = asking()
        .file("scenarios/boot.yaml", boot)
        .file("first/main.py", SLOW)
        .file("second/main.py", EAGER)
        .file("first/Dockerfile", DOCKERFILE)
        .file("second/Dockerfile", DOCKERFILE);
    let environment = r#"
[services.second]
code    = "second"
port    = 7002
after   = ["first"]
volumes = { shared = "/shared" }

[services.first]
code    = "first"
port    = 7001
volumes = { shared = "/shared" }
seed    = ["sleep 0.3; echo seeded > /shared/seeded"]
"#;
    project.write("environment.toml", environment);
    let report = validate(&project, "process", &["--format", "json"]).exits(0).json();
    assert_eq!(report["scenarios"][0]["passed"], true, "{report:#}");
    // Without the dependency, it starts too early.
    project.write("environment.toml", &environment.replace("after ", "# after "));
    let early = validate(&project, "process", &["-q"]).exits(1);
    early.stdout_has("`second` is not up: it ended with exit code 1").stdout_has("second | ");
    project.write("environment.toml", &environment.replace("[\"first\"]", "[\"fist\"]"));
    validate(&project, "process", &["-q"]).exits(1).stdout_has("starts after the unknown service `fist`");
}

const ALSO: &str = r#"
atoll = 1
name = "also"

[steps.environment]
environment_load = { near = "app/scenarios", also = { program = { env = { B = "two" } }, services = { db = { port = 5433 }, cache = { image = "redis:7", port = PORT } } } }

[outputs]
program  = "steps.environment.output.program"
services = "steps.environment.output.services"
builds   = "steps.environment.output.builds | map(attribute='service')"
"#;

#[test]
fn a_pipeline_adds_to_an_environment_and_has_the_last_word() {
    let project = Project::new()
        .file("also.toml", &ALSO.replace("PORT", "6379"))
        .file(
            "app/environment.toml",
            "[program]\nenv = { A = 'one', B = 'one' }\n[services.db]\ncode = 'db'\nport = 5432\n",
        )
        .file("app/db/Dockerfile", "FROM debian\n");
    let outputs = &project.run(&["run", "also.toml", "--format", "json"]).exits(0).json()["outputs"];
    assert_eq!(outputs["program"], json!({"env": {"A": "one", "B": "two"}}));
    assert_eq!(
        outputs["services"],
        json!({"db": {"port": 5433}, "cache": {"image": "redis:7", "port": 6379}})
    );
    assert_eq!(outputs["builds"], json!(["db"]), "its directory is next to the file");

    // Errors in the pipeline point to the pipeline, not to the correct file.
    project.write("also.toml", &ALSO.replace("PORT", "'many'"));
    let wrong = project.run(&["run", "also.toml"]).exits(1).stderr_has("services.cache.port");
    assert!(!wrong.stderr.contains("environment.toml:"), "{}", wrong.stderr);
    // Without a file, the pipeline has everything.
    project.write("also.toml", &ALSO.replace("PORT", "6379").replace("near = \"app/scenarios\", ", ""));
    project.run(&["run", "also.toml"]).exits(3).stderr_has("either `image` or `code`");
}

#[test]
fn a_service_that_is_not_there_is_named_with_its_place_and_those_that_are() {
    let name = "a_service_that_is_not_there_is_named_with_its_place_and_those_that_are";
    if !there("process", name) {
        return;
    }
    let stray = |service: &str| {
        format!(
            "id: stray
steps:
  - request: {{ method: GET, path: / }}
    assert: {{ status: 200 }}
  - service: {service}
    request: {{ method: GET, path: / }}
    assert: {{ status: 200 }}
"
        )
    };
    let project = asking()
        .file("environment.toml", "[services.cache]\nready = 'none'\ncode = 'side'\nport = 7000\n")
        .file("side/Dockerfile", "FROM debian\n")
        .file("scenarios/stray.yaml", &stray("cach"));
    let run = || validate(&project, "process", &["-q"]).exits(1);
    let known =
        "scenarios/stray.yaml:5: there is no service `cach`: did you mean `cache`? there are: cache, program";
    run().stdout_has(known);
    project.write("scenarios/stray.yaml", &stray("cache:7001"));
    run().stdout_has("stray.yaml:5: there is no service `cache:7001`: did you mean `7000`? there are: 7000");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = ["validate", "--scenarios", "scenarios", "--target", &url, "--no-judge", "-q"];
    project
        .run(&target)
        .exits(1)
        .stdout_has("there is no service `cache:7001`")
        .stdout_has("services need an environment");
}

const TALKATIVE: &str = r#"import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        token = os.environ["TOKEN"]
        body = json.dumps({"pin": int(token), "text": f"<{token}>", token: True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn a_secret_of_digits_is_nowhere_in_what_was_observed() {
    let name = "a_secret_of_digits_is_nowhere_in_what_was_observed";
    if !there("process", name) {
        return;
    }
    let secret = "7315591466";
    let project = Project::new()
        .env("PIN", secret)
        .file("code/main.py", TALKATIVE)
        .file("code/Dockerfile", DOCKERFILE)
        .file("environment.toml", "[program]\nenv = { TOKEN = { secret = \"PIN\" } }\n")
        .file(
            "scenarios/pin.yaml",
            "id: pin
steps:
  - request: { method: GET, path: / }
    capture: [{ name: pin, jsonpath: $.pin }]
    assert: { json: { $.pin: 4 } }
",
        );
    let report = validate(&project, "process", &["--format", "json", "--allow-secret", "PIN"]).exits(4);
    let step = &report.json()["scenarios"][0]["steps"][0];
    let observed = step["observed"].as_str().unwrap();
    assert!(observed.contains(r#"{"pin": ***, "text": "<***>", "***": true}"#), "{step:#}");
    assert_eq!(step["captures"][0]["value"], "***", "{step:#}");
    assert!(!report.stdout.contains(secret) && !report.stderr.contains(secret), "{}", report.stdout);
    assert!(!holds(&project.path("."), secret.as_bytes()), "the secret is on the disk");

    // Its output before it is ready is shown while the run continues.
    project.write(
        "environment.toml",
        "[program]\nenv = { TOKEN = { secret = \"PIN\" } }\nseed = [\"echo no: $TOKEN; false\"]\n",
    );
    let unseeded = validate(&project, "process", &["--events", "events.jsonl", "--allow-secret", "PIN"])
        .exits(4)
        .stdout_has("no: ***");
    let events = project.read("events.jsonl");
    let told = |line: &str| line.contains(r#""note":"line""#) && line.contains("exit code 1: no: ***");
    assert!(events.lines().any(told), "{events}");
    for text in [&unseeded.stdout, &unseeded.stderr, &events] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn mistakes_in_an_environment_are_shown_where_they_are() {
    let project = Project::new()
        .file(
            "scenarios/boot.yaml",
            "id: boot\nsteps:\n  - exec: { command: 'true' }\n    assert: { exit_code: 0 }\n",
        )
        .file("code/Dockerfile", "FROM debian\n")
        .file("side/Dockerfile", "FROM debian\n");
    let run = || validate(&project, "process", &["-q"]);
    let cases: [(&str, &[&str]); 9] = [
        (
            "[servces.db]\nimage = 'x'\n",
            &["environment.toml:1:2", "unknown key `servces`", "did you mean `services`?"],
        ),
        (
            "[services.db]\nimage = 'x'\nprot = 1\n",
            &["environment.toml:3:1", "unknown key `prot`", "did you mean `port`?"],
        ),
        ("[services.db]\nport = 5432\n", &["environment.toml:1:11", "either `image` or `code`"]),
        (
            "[services.db]\nimage = 'x'\ncode = 'side'\n",
            &["environment.toml:1:11", "either `image` or `code`"],
        ),
        ("[services.db]\ncode = 'sied'\n", &["environment.toml:2:1", "cannot pack the directory \"sied\""]),
        ("[services.DB]\nimage = 'x'\n", &["environment.toml:1:2", "DB"]),
        ("[services.db]\nimage = 'x'\nport = '5432'\n", &["environment.toml:3:1", "services.db.port"]),
        ("[program]\negress = ['*.example.com:443']\n", &["environment.toml:2:1", "egress"]),
        ("[program]\nenv = { A = 1 \n", &["environment.toml:2:", "E0001"]),
    ];
    for (text, parts) in cases {
        project.write("environment.toml", text);
        let mut ran = run().exits(1);
        for part in parts {
            ran = ran.stdout_has(part);
        }
    }
    // The named file must exist.
    std::fs::remove_file(project.path("environment.toml")).unwrap();
    validate(&project, "process", &["-q", "--environment", "elsewhere.toml"]).exits(3);
}
