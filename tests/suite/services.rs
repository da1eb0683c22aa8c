//! Real services: the same tests in containers and in sandboxes. A missing runtime is reported as skipped;
//! with `ATOLL_REQUIRE=docker,process` it is a failure.
#![expect(clippy::disallowed_methods, reason = "tests write files, open ports and start programs")]

mod ahead;
mod attacks;
mod builds;
mod hostile;
mod leftovers;
mod memory;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use atoll::id::{Address, RunId};
use atoll::runtime::process::Host;
use atoll::runtime::service::{
    BuildOptions, BuildReport, ExecReport, ExecSpec, Images, Leftovers, OwnerTag, ReadinessCheck,
    RunningService, RuntimeKind, RuntimeSettings, Runtimes, ServiceSpec,
};
use atoll::tree::Tree;
use atoll::verb::{Class, Failure, MemoryBlobs};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::binary::IMAGES;
use crate::fifo::{Fifo, processes_with};

const DOCKERFILE: &str =
    "WORKDIR /app\nCOPY . .\nRUN echo prepared > /app/note\nEXPOSE 8080\nCMD [\"python3\", \"app.py\"]\n";

const SERVER: &str = r#"
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(("hello from " + self.path).encode())
    def log_message(self, *a): print("seen", self.path, flush=True)
print("starting", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), H).serve_forever()
"#;

/// A secret in the environment of a test and in a file of its home directory.
const SECRET: &str = "canary-6f1c9d";

/// Runtimes with a separate data directory.
pub struct House {
    /// The runtimes.
    pub runtimes: Runtimes,
    kind: RuntimeKind,
    run: RunId,
    data: tempfile::TempDir,
}

/// `None` after a note if the runtime is missing.
pub async fn house(kind: RuntimeKind, test: &str) -> Option<House> {
    let data = tempfile::tempdir().unwrap();
    let mut settings =
        RuntimeSettings::new(PathBuf::from(env!("CARGO_BIN_EXE_atoll")), data.path().to_owned());
    settings.images = Images::parse(IMAGES).unwrap();
    let runtimes = Runtimes::new(settings);
    if let Err(failure) = runtimes.choice(kind).await {
        let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name == kind.word()),
            "{} is required: {failure}",
            kind.word()
        );
        println!("skipped: {test}: {}", failure.message);
        return None;
    }
    let run = RunId::new(format!("test-{}-{test}", std::process::id()));
    Some(House { runtimes, kind, run, data })
}

impl Drop for House {
    /// Removes the images of the test, whose layers no other test shares.
    fn drop(&mut self) {
        if self.kind == RuntimeKind::Docker {
            docker(&["image", "prune", "--force", "--filter", &format!("label=atoll.run={}", self.run)]);
        }
    }
}

/// Output of the Docker client.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl House {
    /// A Dockerfile whose layers no other test has.
    fn dockerfile(&self, rest: &str) -> String {
        format!("FROM python:3.12-slim\nLABEL atoll.run={}\n{rest}", self.run)
    }

    /// Owner of the resources of the test.
    pub fn tag(&self) -> OwnerTag {
        OwnerTag { run: self.run.clone(), address: Address::new("up") }
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            runtime: self.kind,
            dockerfile: "Dockerfile".into(),
            args: std::collections::BTreeMap::new(),
            timeout: Duration::from_secs(120),
            memory: 2 << 30,
            disk: 1 << 30,
            egress: false,
            tag: self.tag(),
            cancel: CancellationToken::new(),
        }
    }

    async fn build(&self, files: &[(&str, &str)]) -> BuildReport {
        self.build_with(files, &self.options()).await.unwrap()
    }

    async fn build_with(
        &self,
        files: &[(&str, &str)],
        options: &BuildOptions,
    ) -> Result<BuildReport, Failure> {
        let blobs = MemoryBlobs::default();
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.put(&blobs, path, text.as_bytes()).unwrap();
        }
        self.runtimes.build(&tree, Arc::new(blobs), options).await
    }

    async fn spec(&self, app: &str) -> ServiceSpec {
        let built = self.build(&[("Dockerfile", &self.dockerfile(DOCKERFILE)), ("app.py", app)]).await;
        assert!(built.ok, "{}", built.log);
        ServiceSpec::new(built.image.unwrap(), self.tag())
    }

    /// A service made of `app`, a Python program.
    pub async fn start(&self, app: &str, ready: ReadinessCheck) -> RunningService {
        let spec = ServiceSpec { ready, ..self.spec(app).await };
        self.runtimes.start(&spec).await.unwrap()
    }
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn sh(line: &str) -> ExecSpec {
    ExecSpec::shell(line, Duration::from_secs(20))
}

fn out(report: &ExecReport) -> String {
    String::from_utf8_lossy(&report.stdout).trim().to_owned()
}

async fn comes_up_and_answers(kind: RuntimeKind) {
    let Some(house) = house(kind, "comes_up_and_answers").await else { return };
    let running = house.start(SERVER, ReadinessCheck::Http("/".into())).await;
    assert!(running.is_up(), "{:?}\n{}", running.reason(), running.log().text());
    // Output that it wrote before its answer may arrive later.
    while !running.log().text().contains("starting") {
        tokio::task::yield_now().await;
    }
    let mark = running.log().mark();
    assert!(get(running.ports()["8080"], "/there").ends_with("hello from /there"));
    let ran = running.exec(sh("cat note; cat; echo $GREETING; exit 3")).await.unwrap();
    assert_eq!((ran.exit_code, out(&ran)), (Some(3), "prepared".to_owned()));
    let given = ExecSpec {
        stdin: b"typed\n".to_vec(),
        env: [("GREETING".to_owned(), "good day".to_owned())].into(),
        files: [("/tmp/in/file".to_owned(), "content".to_owned())].into(),
        ..sh("cat; echo $GREETING; cat /tmp/in/file")
    };
    assert_eq!(out(&running.exec(given).await.unwrap()), "typed\ngood day\ncontent");
    let ask = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/in').read().decode())\"";
    assert_eq!(out(&running.exec(sh(ask)).await.unwrap()), "hello from /in");
    assert!(running.log().text().contains("starting"));
    assert!(running.log().since(mark).contains("seen /there"));
    assert!(!running.log().since(mark).contains("starting"));
    assert_eq!(house.runtimes.live(running.id()).unwrap().id(), running.id());
    house.runtimes.stop(&running).await;
    assert!(house.runtimes.live(running.id()).is_none());
    assert!(!running.is_up());
}

async fn a_build_does_not_see_what_is_ignored(kind: RuntimeKind) {
    let Some(house) = house(kind, "a_build_does_not_see_what_is_ignored").await else { return };
    let dockerfile = house.dockerfile("WORKDIR /app\nCOPY . .\n");
    let ignore = "# left out\n**/*.log\nDockerfile\n.dockerignore\ndocs\n!docs/keep.md\n";
    let mut files = vec![("Dockerfile", dockerfile.as_str()), (".dockerignore", ignore)];
    files.extend(["app.py", "a.log", "x/b.log", "docs/a.md", "docs/keep.md"].map(|path| (path, "text")));
    let built = house.build(&files).await;
    assert!(built.ok, "{}", built.log);
    let spec =
        ServiceSpec { ready: ReadinessCheck::None, ..ServiceSpec::new(built.image.unwrap(), house.tag()) };
    let running = house.runtimes.start(&spec).await.unwrap();
    let found = out(&running.exec(sh("find /app -type f | sort")).await.unwrap());
    assert_eq!(found, "/app/app.py\n/app/docs/keep.md");
    house.runtimes.stop(&running).await;

    files[1].1 = "[a\n";
    let built = house.build(&files).await;
    assert_eq!(built.reason.as_deref(), Some("line 1 of .dockerignore: `[a` is not a valid pattern"));
}

async fn every_port_leads_inside(kind: RuntimeKind) {
    let Some(house) = house(kind, "every_port_leads_inside").await else { return };
    let second = "import threading\nthreading.Thread(target=http.server.ThreadingHTTPServer((\"0.0.0.0\", 50051), H).serve_forever).start()\n";
    let app = SERVER.replace(
        "http.server.ThreadingHTTPServer((\"0.0.0.0\", int",
        &format!("{second}http.server.ThreadingHTTPServer((\"0.0.0.0\", int"),
    );
    let spec = ServiceSpec { ports: vec![50051, 8080], ready_port: Some(50051), ..house.spec(&app).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert!(running.is_up(), "{:?}\n{}", running.reason(), running.log().text());
    let ports = running.ports();
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["50051", "8080"]);
    assert!(get(ports["50051"], "/second").ends_with("hello from /second"));
    house.runtimes.stop(&running).await;
    let spec =
        ServiceSpec { ports: vec![50052], ready_port: Some(50052), within: Duration::from_secs(1), ..spec };
    let running = house.runtimes.start(&spec).await.unwrap();
    let reason = running.reason().unwrap();
    assert_eq!(reason, "not ready within 1s: nothing listens on port 50052");
    house.runtimes.stop(&running).await;
}

async fn a_crash_on_boot_is_seen_at_once(kind: RuntimeKind) {
    let Some(house) = house(kind, "a_crash_on_boot_is_seen_at_once").await else { return };
    let app = "import sys\nprint('no database', flush=True)\nsys.exit(7)\n";
    let spec = ServiceSpec { within: Duration::from_secs(3600), ..house.spec(app).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert_eq!((running.is_up(), running.exit_code()), (false, Some(7)));
    assert!(running.log().text().contains("no database"), "{}", running.log().text());
    assert_eq!(running.reason().unwrap(), "it ended with exit code 7");
    house.runtimes.stop(&running).await;
    let spec = ServiceSpec { command: Some(vec!["/no/such/program".into()]), ..spec };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert_eq!(running.exit_code(), Some(127), "{}", running.log().text());
    house.runtimes.stop(&running).await;
}

async fn one_that_never_gets_ready_says_why(kind: RuntimeKind) {
    let Some(house) = house(kind, "one_that_never_gets_ready_says_why").await else { return };
    let local = SERVER.replace("0.0.0.0", "127.0.0.1");
    let spec = ServiceSpec { within: Duration::from_secs(5), ..house.spec(&local).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert!(!running.is_up());
    assert!(running.reason().unwrap().contains("only on 127.0.0.1:8080"), "{:?}", running.reason());
    assert!(running.log().text().contains("starting"));
    house.runtimes.stop(&running).await;
}

async fn a_build_that_fails_is_an_observation(kind: RuntimeKind) {
    let Some(house) = house(kind, "a_build_that_fails_is_an_observation").await else { return };
    let broken = house.dockerfile("RUN echo about to fail && exit 9\n");
    let built = house.build(&[("Dockerfile", &broken)]).await;
    assert_eq!((built.ok, built.exit_code, built.image), (false, Some(9), None), "{}", built.log);
    assert!(built.log.contains("about to fail"), "{}", built.log);
    let unknown = house.build(&[("Dockerfile", "FROM python:3.12-slim\nFLY away\n")]).await;
    assert!(!unknown.ok && unknown.reason.unwrap().contains("FLY"));
    let missing = house.build(&[("Dockerfile", "FROM python:3.12-slim\nCOPY gone /x\n")]).await;
    assert!(!missing.ok && missing.reason.unwrap().contains("gone"));
    assert!(!house.build(&[("app.py", "")]).await.ok);
}

async fn one_that_ignores_the_signal_is_killed(kind: RuntimeKind) {
    let Some(house) = house(kind, "one_that_ignores_the_signal").await else { return };
    let stubborn = format!("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{SERVER}");
    let argument = format!("stubborn-{}-{}", kind.word(), std::process::id());
    let command = ["python3", "app.py", &argument].map(ToOwned::to_owned).to_vec();
    let spec = ServiceSpec { command: Some(command), ..house.spec(&stubborn).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert!(running.is_up(), "{:?}", running.reason());
    assert!(!processes_with(&argument).is_empty());
    house.runtimes.stop(&running).await;
    assert_eq!(processes_with(&argument), Vec::<String>::new());
    running.ended().await;
    assert!(running.exit_code().is_some());
}

/// Addresses of the machine at which the service can reach a port of the machine.
async fn reached_from(running: &RunningService) -> Vec<String> {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "import socket\nfor h in ['127.0.0.1', '172.17.0.1', '172.18.0.1', '1.1.1.1']:\n    s = socket.socket(); s.settimeout(1)\n    if s.connect_ex((h, {port})) == 0: print(h)\nprint('end')"
    );
    let probe = ExecSpec { argv: vec!["python3".into(), "-c".into(), script], ..sh("") };
    let mut reached: Vec<String> =
        out(&running.exec(probe).await.unwrap()).lines().map(ToOwned::to_owned).collect();
    assert_eq!(reached.pop().as_deref(), Some("end"));
    reached
}

async fn nothing_is_reachable_unless_it_may_be(kind: RuntimeKind) {
    let Some(house) = house(kind, "nothing_is_reachable").await else { return };
    let shut = house.start(SERVER, ReadinessCheck::Tcp).await;
    assert_eq!(reached_from(&shut).await, Vec::<String>::new());
    house.runtimes.stop(&shut).await;
    let spec = ServiceSpec { egress: true, ..house.spec(SERVER).await };
    let free = ReadinessCheck::None;
    let open = house.runtimes.start(&ServiceSpec { ready: free, ..spec }).await.unwrap();
    assert!(!reached_from(&open).await.is_empty(), "the probe finds nothing even with egress");
    house.runtimes.stop(&open).await;
}

/// Runs the test again in a process whose environment has secrets; true in that process.
fn is_amid_secrets(test: &str) -> bool {
    if std::env::var_os("ATOLL_SECRET").is_some() {
        return true;
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(home.path().join("canary"), SECRET).unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", &format!("services::{test}"), "--nocapture"]);
    let told = |line: &&str| line.starts_with("skipped: ") || line.starts_with("attacks: ");
    let output = again.env("ATOLL_SECRET", SECRET).env("HOME", home.path()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    said.lines().filter(told).for_each(|line| println!("{line}"));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

async fn no_secret_around_us_is_seen(kind: RuntimeKind) {
    let test = "no_secret_around_us_is_seen";
    if !is_amid_secrets(&format!("{}::{test}", kind.word())) {
        return;
    }
    let Some(house) = house(kind, test).await else { return };
    let canary = format!("{}/canary", std::env::var("HOME").unwrap());
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), SECRET);
    let running = house.start(SERVER, ReadinessCheck::Tcp).await;
    let look = format!("env; cat /proc/*/environ /proc/*/cmdline; cat {canary} || echo no file");
    let seen = out(&running.exec(sh(&look)).await.unwrap());
    assert!(seen.contains("PORT=8080") && seen.contains("app.py"), "{seen}");
    assert!(seen.ends_with("no file"), "{seen}");
    assert!(!seen.contains(SECRET) && !seen.contains("CARGO"), "{seen}");
    house.runtimes.stop(&running).await;
}

/// Command lines of all processes of the machine, which every user can read.
fn command_lines() -> String {
    let mut all = String::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        // Some processes end meanwhile.
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        all.push_str(&String::from_utf8_lossy(&line).replace('\0', " "));
        all.push('\n');
    }
    all
}

async fn an_environment_is_on_no_command_line(kind: RuntimeKind) {
    let Some(house) = house(kind, "an_environment_is_on_no_command_line").await else { return };
    let value = format!("canary-{}-{}", kind.word(), std::process::id());
    let env = [("TOKEN".to_owned(), value.clone())];
    let spec =
        ServiceSpec { ready: ReadinessCheck::Tcp, env: env.clone().into(), ..house.spec(SERVER).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    let command = ExecSpec {
        env: env.into(),
        ..sh("echo \"$TOKEN\"; touch /tmp/begun; while [ ! -e /tmp/end ]; do :; done")
    };
    let looking = async {
        let begun = sh("while [ ! -e /tmp/begun ]; do :; done");
        running.exec(begun).await.unwrap();
        let seen = command_lines();
        running.exec(sh("touch /tmp/end")).await.unwrap();
        seen
    };
    let (ran, seen) = tokio::join!(running.exec(command), looking);
    assert_eq!(out(&ran.unwrap()), value, "it is in the environment");
    assert!(seen.contains("/tmp/begun"), "the command was running");
    let told: Vec<&str> = seen.lines().filter(|line| line.contains(&value)).collect();
    assert!(told.is_empty(), "{told:?}");
    house.runtimes.stop(&running).await;
}

async fn late_commands_leave_nothing_behind(kind: RuntimeKind) {
    let Some(house) = house(kind, "late_commands_leave_nothing_behind").await else { return };
    let running = house.start(SERVER, ReadinessCheck::Tcp).await;
    let nap = format!("sleep 77{}{}", std::process::id(), if kind == RuntimeKind::Docker { 1 } else { 2 });
    let line = format!("echo begun; setsid {nap} & {nap} & trap '' TERM; {nap}");
    let spec = ExecSpec { timeout: Duration::from_secs(3), ..sh(&line) };
    let ran = running.exec(spec).await.unwrap();
    assert_eq!((ran.timed_out, ran.exit_code, out(&ran)), (true, None, "begun".to_owned()));
    assert_eq!(processes_with(&nap), Vec::<String>::new());
    assert!(running.is_up());
    house.runtimes.stop(&running).await;
}

async fn a_fork_bomb_stays_small(kind: RuntimeKind) {
    let Some(house) = house(kind, "a_fork_bomb_stays_small").await else { return };
    let spec = ServiceSpec { pids: 40, ..house.spec(SERVER).await };
    let running = house.runtimes.start(&spec).await.unwrap();
    assert!(running.is_up(), "{:?} {}", running.reason(), running.log().text());
    let bomb = "import os, time\nn = 0\ntry:\n    while n < 200:\n        if os.fork() == 0:\n            time.sleep(60); os._exit(0)\n        n += 1\nexcept OSError: pass\nprint(n)";
    let ran = running
        .exec(ExecSpec { argv: vec!["python3".into(), "-c".into(), bomb.into()], ..sh("") })
        .await
        .unwrap();
    let forks: u32 = out(&ran).parse().unwrap_or(999);
    assert!(forks < 40, "{forks} {}", String::from_utf8_lossy(&ran.stderr));
    house.runtimes.stop(&running).await;
}

async fn a_session_runs_commands_of_a_tool(kind: RuntimeKind) {
    let Some(house) = house(kind, "a_session_runs_commands_of_a_tool").await else { return };
    let running = house.start("import sys\nprint(sys.argv[1].upper())\n", ReadinessCheck::None).await;
    assert!(running.is_up(), "{:?}", running.reason());
    let ran = running.exec(sh("python3 app.py loud > kept; cat kept")).await.unwrap();
    assert_eq!(out(&ran), "LOUD", "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(out(&running.exec(sh("cat kept")).await.unwrap()), "LOUD");
    house.runtimes.stop(&running).await;
}

async fn leftovers_of_the_living_are_not_reaped(kind: RuntimeKind) {
    let Some(house) = house(kind, "leftovers_of_the_living").await else { return };
    let running = house.start(SERVER, ReadinessCheck::Tcp).await;
    assert!(house.runtimes.reap(Leftovers::Of(&house.run)).await.is_empty());
    house.runtimes.reap(Leftovers::AllBut(&[])).await;
    assert!(running.is_up());
    assert_eq!(out(&running.exec(sh("echo here")).await.unwrap()), "here");
    house.runtimes.stop(&running).await;
    // The image also belongs to a living process.
    let again = house.start(SERVER, ReadinessCheck::Tcp).await;
    assert!(again.is_up());
    house.runtimes.stop(&again).await;
}

macro_rules! stories {
    ($($story:ident)*) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::RuntimeKind::Docker).await; })*
        }
        mod process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::RuntimeKind::Process).await; })*
        }
    };
}

stories! {
    comes_up_and_answers
    a_build_does_not_see_what_is_ignored
    every_port_leads_inside
    a_crash_on_boot_is_seen_at_once
    one_that_never_gets_ready_says_why
    a_build_that_fails_is_an_observation
    one_that_ignores_the_signal_is_killed
    nothing_is_reachable_unless_it_may_be
    no_secret_around_us_is_seen
    an_environment_is_on_no_command_line
    late_commands_leave_nothing_behind
    a_fork_bomb_stays_small
    a_session_runs_commands_of_a_tool
    leftovers_of_the_living_are_not_reaped
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_our_trouble() {
    let data = tempfile::tempdir().unwrap();
    let mut settings =
        RuntimeSettings::new(PathBuf::from(env!("CARGO_BIN_EXE_atoll")), data.path().to_owned());
    settings.docker_host = Some(format!("unix://{}/none.sock", data.path().display()));
    let failure = Runtimes::new(settings).choice(RuntimeKind::Docker).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("does not answer"), "{failure}");
}

#[tokio::test]
async fn a_base_image_that_cannot_be_had_is_named() {
    let Some(house) = house(RuntimeKind::Docker, "a_base_image_that_cannot_be_had_is_named").await else {
        return;
    };
    let files = [("Dockerfile", "FROM registry.invalid/nothing:1\nRUN true\n")];
    let failure = house.build_with(&files, &house.options()).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("registry.invalid/nothing:1"), "{failure}");
}

fn host() -> Host {
    Host::new(PathBuf::from(env!("CARGO_BIN_EXE_atoll")), "/usr/bin:/bin".into(), "/tmp".into())
}

#[tokio::test]
async fn a_command_on_the_host_sees_only_what_is_listed() {
    if !is_amid_secrets("a_command_on_the_host_sees_only_what_is_listed") {
        return;
    }
    let names = sh("env | sort | cut -d= -f1 | tr '\\n' ' '");
    let ran = host().run(names, &CancellationToken::new()).await.unwrap();
    assert_eq!(out(&ran), "ATOLL_EXEC HOME PATH PWD");
    let none = ExecSpec { argv: vec!["no-such-program".into()], ..sh("") };
    let failure = host().run(none, &CancellationToken::new()).await.unwrap_err();
    assert!(failure.message.contains("no-such-program"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_command_is_gone_with_all_its_children() {
    let nap = format!("sleep 88{}", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let mut says = Fifo::new(dir.path().join("says"));
    let begins = format!("sh -c 'echo up >{}; exec {nap}'", says.path().display());
    let line = format!("setsid {begins} & {begins} & wait");
    let cancel = CancellationToken::new();
    let ends = cancel.clone();
    let both_are_up = tokio::task::spawn_blocking(move || {
        assert_eq!((says.line(), says.line()), ("up".to_owned(), "up".to_owned()));
        ends.cancel();
    });
    let failure = host().run(sh(&line), &cancel).await.unwrap_err();
    both_are_up.await.unwrap();
    assert_eq!(failure.class, Class::Cancelled);
    assert_eq!(processes_with(&nap), Vec::<String>::new());
}

/// Different ways to start a daemon, as description and command line.
const DAEMONS: [(&str, &str); 4] = [
    ("without its environment, in a new session", "env -i setsid sh -c 'echo up >FIFO; exec NAP' &"),
    ("with another parent", "(env -i setsid sh -c 'echo up >FIFO; exec NAP' &)"),
    ("twice forked", "setsid -f env -i setsid -f sh -c 'echo up >FIFO; exec NAP'"),
    ("that ignores signals", "env -i setsid sh -c 'trap \"\" TERM HUP INT; echo up >FIFO; NAP; NAP' &"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_are_dead_when_their_command_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    for (at, (how, daemon)) in DAEMONS.into_iter().enumerate() {
        for (ending, last) in [("by itself", "echo done"), ("late", "sleep 20")] {
            let fifo = dir.path().join(format!("{at}-{ending}"));
            let nap = format!("sleep 87{at}{}", std::process::id());
            let daemon = daemon
                .replace("FIFO", &format!("'{}'", fifo.display()).replace('\'', "\""))
                .replace("NAP", &nap);
            let line = format!("mkfifo \"{0}\"; {daemon}\nread up <\"{0}\"; {last}", fifo.display());
            let spec = ExecSpec {
                timeout: Duration::from_secs(if last == "echo done" { 20 } else { 1 }),
                ..sh(&line)
            };
            let ran = host().run(spec, &CancellationToken::new()).await.unwrap();
            assert_eq!(ran.timed_out, last != "echo done", "{how}, {ending}: {ran:?}");
            assert_eq!(processes_with(&nap), Vec::<String>::new(), "{how}, {ending}");
        }
    }
}

#[tokio::test]
async fn a_command_that_forks_without_end_is_gone_when_it_is_late() {
    let name = format!("bomb-{}", std::process::id());
    // Each copy waits for its children, so that their number is limited.
    let line = format!(
        "f() {{ [ $1 -gt 6 ] || {{ f $(($1+1)) & f $(($1+1)) & wait; }}; }}; exec 2>/dev/null; : {name}; while :; do f 1; done"
    );
    let spec = ExecSpec { timeout: Duration::from_millis(500), ..sh(&line) };
    let ran = host().run(spec, &CancellationToken::new()).await.unwrap();
    assert!(ran.timed_out, "{ran:?}");
    assert_eq!(processes_with(&name), Vec::<String>::new());
}
