//! Literal credentials in scenario files: they are sent, but not stored or shown anywhere.
#![expect(clippy::disallowed_methods, reason = "tests move files away under a run")]

use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::binary::{Project, Ran};
use crate::fifo::{Fifo, Group, was_killed};
use crate::llm::server::Server;
use crate::secrets::nowhere;

/// Credentials in the file below, which must not appear anywhere else.
const SECRET: [&str; 8] = [
    "of-the-header",
    "of-the-variable-7",
    "of-the-path",
    "of-the-query",
    "of-the-cookie-1",
    "of-the-cookies-2",
    "of-the-url",
    "of-the-handshake",
];

fn scenarios(target: &str) -> String {
    let host = target.trim_start_matches("http://");
    format!(
        "id: a
variables: {{ token: of-the-variable-7, page: of-the-page }}
steps:
  - description: one
    request:
      method: GET
      path: /one?api_key=of-the-path&page={{page}}
      query: {{ access_token: of-the-query }}
      headers: {{ Authorization: Bearer of-the-header, Cookie: session=of-the-cookie-1 }}
    assert: {{ status: 200 }}
  - description: two
    request: {{ method: GET, path: /two, cookies: {{ id: of-the-cookies-2 }}, headers: {{ Authorization: 'Bearer {{token}}' }} }}
    assert: {{ status: 200 }}
  - description: three
    ws: {{ url: 'ws://me:of-the-url@{host}/feed', headers: {{ Proxy-Authorization: Bearer of-the-handshake }} }}
    assert: {{ status: 418 }}
  - description: four
    ws: {{ url: 'ws://me:of-the-url@127.0.0.1:1/feed' }}
"
    )
}

fn said(ran: &Ran) -> String {
    format!("{}\n{}", ran.stdout, ran.stderr)
}

/// Every line has an error in addition to its credential.
const ODD: &str = "id: Odd One
variables: { token: of-the-variable-7 }
steps:
  - request: { method: GETT, path: /a?api_key=of-the-path, headers: { Authorization: Bearer of-the-header, Cookie: s=of-the-cookie-1 } }
    assert: { status: 20000, nonsense: of-the-header }
  - request: { methd: GET, path: /two, query: { access_token: of-the-query }, cookies: { id: of-the-cookies-2 }, headers: { Authorization: 'Bearer {token}' } }
  - ws: { url: 'ws://me:of-the-url@h/feed', headerz: {}, headers: { Proxy-Authorization: Bearer of-the-handshake } }
";

#[test]
fn lint_quotes_no_credential() {
    let key = "sk-abcdefghijklmnopqrstuvwxyz";
    let project = Project::new()
        .file("scenarios/odd.yaml", ODD)
        .file(
            "scenarios/broken.yaml",
            "id: b\nsteps: [\n  headers: { Authorization: Bearer of-the-header }\n",
        )
        .file("scenarios/key.yaml", &format!("id: k\nsteps: []\nnote: {key}\n"));
    for format in ["text", "json", "sarif", "github"] {
        let ran = project.run(&["lint", "scenarios", "--format", format]);
        assert!(ran.stdout.contains("odd.yaml") && ran.stdout.contains("key.yaml"), "{}", said(&ran));
        for secret in SECRET.iter().copied().chain([key]) {
            assert!(!said(&ran).contains(secret), "{format} {secret}: {}", said(&ran));
        }
    }
    let text = project.run(&["lint", "scenarios"]).stdout;
    assert!(text.contains("Authorization: Bearer ***") && text.contains("note: ***"), "{text}");
    let refused = project
        .run(&["validate", "--scenarios", "scenarios/odd.yaml", "--target", "http://127.0.0.1:1"])
        .exits(3);
    for secret in SECRET {
        assert!(!said(&refused).contains(secret), "{secret}: {}", said(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_scenario_are_sent_and_kept_nowhere() {
    let server = Server::start([]).await;
    let target = server.base.trim_end_matches("/v1");
    let project = Project::new().file("scenarios/a.yaml", &scenarios(target));
    let run = ["validate", "--scenarios", "scenarios", "--target", target, "--no-judge"];
    let mut all = String::new();
    for format in ["text", "json", "junit", "github"] {
        let more = ["--format", format, "--events", "events.jsonl", "--evidence", "evidence"];
        let ran = project.run(&[run.as_slice(), &more].concat());
        all += &said(&ran);
        assert!(format != "json" || ran.stdout.contains("curl -sS"), "{}", ran.stdout);
        assert!(ran.stdout.contains("api_key=***"), "{format}: {}", ran.stdout);
    }
    all += &project.read("events.jsonl");
    for arguments in [
        vec!["show", "last", "--format", "json"],
        vec!["show", "last"],
        vec!["log", "last"],
        vec!["runs", "--format", "json"],
        vec!["lint", "scenarios"],
    ] {
        all += &said(&project.run(&arguments));
    }
    for secret in SECRET {
        assert!(!all.contains(secret), "{secret}: {}", &all[all.find(secret).unwrap_or_default()..]);
    }
    assert!(all.contains("of-the-page") && all.contains("ws://***@"), "{all}");
    let seen = server.seen();
    let header = |n: usize, name: &str| seen[n].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header(0, "authorization"), "Bearer of-the-header");
    assert_eq!(header(0, "cookie"), "session=of-the-cookie-1");
    assert_eq!(seen[0].query, "api_key=of-the-path&page=of-the-page&access_token=of-the-query");
    assert_eq!(header(1, "authorization"), "Bearer of-the-variable-7");
    assert_eq!(header(1, "cookie"), "id=of-the-cookies-2");
    assert_eq!(header(2, "proxy-authorization"), "Bearer of-the-handshake");
    assert_eq!(header(2, "authorization"), "Basic bWU6b2YtdGhlLXVybA==", "me:of-the-url");
    nowhere(&project, &SECRET);
    let mut evidence = Vec::new();
    crate::secrets::files(&project.path("evidence"), &mut evidence);
    for file in evidence {
        let text = String::from_utf8_lossy(&file);
        assert!(SECRET.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

/// Loads scenarios, waits for a signal of the test, and runs them.
const PIPELINE: &str = r#"
atoll = 1
[inputs]
up     = { type = "string", required = true }
go     = { type = "string", required = true }
target = { type = "string", required = true }
[steps.cases]
scenario_load = { dir = "scenarios" }
[steps.wait]
needs = ["cases"]
idempotent = true
shell = { argv = ["sh", "-c", 'echo up > "$1"; cat "$2"', "sh", "{{ inputs.up }}", "{{ inputs.go }}"] }
[steps.trial]
needs = ["wait"]
cache = true
scenario = { scenario = "{{ steps.cases.output.scenarios[0] }}", target = "{{ inputs.target }}" }
[outputs]
ok = "steps.trial.output.steps[0].observed.status"
"#;

const CASE: &str = "id: a
steps:
  - request: { method: GET, path: /one, headers: { Authorization: Bearer of-the-header } }
    assert: { status: 418 }
";

struct Killed {
    project: Project,
    server: Server,
    go: PathBuf,
}

impl Killed {
    /// A run that was killed between loading its scenarios and running them.
    async fn new() -> Self {
        let server = Server::start([]).await;
        let project = Project::new().file("pipelines/p.toml", PIPELINE).file("scenarios/a.yaml", CASE);
        let mut up = Fifo::new(project.path("up"));
        let go = project.path("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (up_path, go_path) = (up.path().display().to_string(), go.display().to_string());
        let target = server.base.trim_end_matches("/v1").to_owned();
        let arguments = ["run", "p", "--up", &up_path, "--go", &go_path, "--target", &target];
        let mut group = Group::start(project.command(&arguments));
        assert_eq!(up.line(), "up");
        group.signal(Signal::SIGKILL);
        assert!(was_killed(group.wait()));
        // From now on, the step does not wait.
        drop(std::fs::OpenOptions::new().read(true).write(true).open(&go).unwrap());
        std::fs::remove_file(project.path("up")).unwrap();
        std::fs::remove_file(&go).unwrap();
        std::fs::write(&go, "").unwrap();
        Self { project, server, go }
    }

    fn sent(&self) -> Vec<String> {
        let all = self.server.seen();
        all.iter().map(|seen| seen.headers["authorization"].to_str().unwrap().to_owned()).collect()
    }

    /// Fails unless resuming is refused because the file `what`.
    fn refused(&self, what: &str) {
        let refused = self.project.run(&["resume", "last"]).exits(1);
        for part in ["scenarios/a.yaml", what, "credentials", "--replan"] {
            assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
        }
        assert!(!said(&refused).contains("of-the-header"), "{}", refused.stderr);
        assert!(self.sent().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_resumes_with_the_credentials_of_the_same_file() {
    let killed = Killed::new().await;
    killed.project.run(&["resume", "last"]).exits(0);
    assert_eq!(killed.sent(), ["Bearer of-the-header"]);
    nowhere(&killed.project, &["of-the-header"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_says_that_the_file_of_its_credentials_has_changed() {
    let killed = Killed::new().await;
    killed.project.write("scenarios/a.yaml", &CASE.replace("of-the-header", "of-another"));
    killed.refused("has changed");
    killed.project.run(&["resume", "last", "--replan"]).exits(0);
    assert_eq!(killed.sent(), ["Bearer of-another"]);
    nowhere(&killed.project, &["of-the-header", "of-another"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_says_that_the_file_of_its_credentials_is_gone() {
    let killed = Killed::new().await;
    let moved = killed.project.path("moved");
    std::fs::rename(killed.project.path("scenarios"), &moved).unwrap();
    killed.refused("cannot be read");
    std::fs::create_dir(killed.project.path("scenarios")).unwrap();
    std::fs::rename(moved.join("a.yaml"), killed.project.path("scenarios/a.yaml")).unwrap();
    killed.project.write("scenarios/b.yaml", &CASE.replace("id: a", "id: b"));
    killed.project.run(&["resume", "last", "--replan"]).exits(0);
    assert_eq!(killed.sent(), ["Bearer of-the-header"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_and_replan_see_that_a_credential_changed() {
    let killed = Killed::new().await;
    killed.project.run(&["resume", "last"]).exits(0);
    let target = killed.server.base.trim_end_matches("/v1").to_owned();
    let go = killed.go.display().to_string();
    let up = killed.project.path("up.txt").display().to_string();
    let run = ["run", "p", "--up", &up, "--go", &go, "--target", &target];
    killed.project.run(&run).exits(0);
    assert_eq!(killed.sent().len(), 1, "the same file: the recorded output");
    killed.project.write("scenarios/a.yaml", &CASE.replace("of-the-header", "of-another"));
    killed.project.run(&run).exits(0);
    assert_eq!(killed.sent(), ["Bearer of-the-header", "Bearer of-another"]);
    killed.project.run(&["resume", "last", "--replan"]).exits(0);
    assert_eq!(killed.sent().len(), 2, "nothing changed");
    killed.project.write("scenarios/a.yaml", &CASE.replace("of-the-header", "of-a-third"));
    killed.project.run(&["resume", "last", "--replan"]).exits(0);
    assert_eq!(killed.sent()[2..], ["Bearer of-a-third"]);
}
