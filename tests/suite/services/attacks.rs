//! Attacks of a hostile program in every kind of sandbox: builds, services and commands of agents, as
//! processes and in containers. None may succeed. `tests/attacks/attempts.py` has the attacks.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Child;

use atoll::runtime::process::{AgentWorkspace, WORK};
use serde_json::{Value, json};

use super::*;
use crate::binary::Project;
use crate::store::SmallDisk;

const ATTEMPTS: &str = include_str!("../../attacks/attempts.py");
/// Capabilities of commands in Docker builds. Package managers and `useradd` fail without CHOWN,
/// DAC_OVERRIDE, FOWNER, FSETID, SETGID and SETUID, which affect only files and processes of the container.
const OF_BUILDS: u64 = 0b1101_1011;

/// Targets on the machine for the attacks.
struct Planted {
    targets: Value,
    mark: String,
    home: tempfile::TempDir,
    _tmp: tempfile::TempDir,
    nap: Child,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.nap.kill();
        let _ = self.nap.wait();
    }
}

fn serve<L: Send + 'static>(listener: L, accept: impl Fn(&L) -> std::io::Result<()> + Send + 'static) {
    std::thread::spawn(move || while accept(&listener).is_ok() {});
}

fn plant(house: &House) -> Planted {
    let id = format!("{}-{}", house.kind.word(), std::process::id());
    let (home, tmp) =
        (tempfile::tempdir_in(std::env::var("HOME").unwrap()).unwrap(), tempfile::tempdir().unwrap());
    let files = [home.path().join("notes"), tmp.path().join("notes"), house.data.path().join("runs.db")];
    files.iter().for_each(|file| std::fs::write(file, SECRET).unwrap());
    let (name, path) = (format!("atoll-attack-{id}"), tmp.path().join("socket"));
    let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
    let tells = |mut stream: std::os::unix::net::UnixStream| stream.write_all(SECRET.as_bytes());
    serve(UnixListener::bind_addr(&abstract_name).unwrap(), move |l| tells(l.accept()?.0));
    serve(UnixListener::bind(&path).unwrap(), move |l| tells(l.accept()?.0));
    let (inner, outer) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("0.0.0.0:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let ports = (port(&inner), port(&outer));
    for listener in [inner, outer] {
        serve(listener, |l| l.accept()?.0.write_all(SECRET.as_bytes()));
    }
    let words = format!("sleep 77{}", std::process::id());
    let nap = Command::new("sleep").arg(&words[6..]).spawn().unwrap();
    let addresses = Command::new("hostname").arg("-I").output().unwrap().stdout;
    let addresses: Vec<String> =
        String::from_utf8_lossy(&addresses).split_whitespace().map(ToOwned::to_owned).collect();
    let targets = json!({
        "canary": SECRET, "home_file": files[0], "tmp_file": files[1], "data_file": files[2],
        "mark": format!("attack-{id}"), "host_words": ["sleep", &words[6..]], "host_pid": nap.id(), "abstract": name,
        "socket": path, "port": ports.0, "open_port": ports.1, "addresses": addresses, "other_ports": [],
        "disk": 256 << 20,
    });
    Planted { targets, mark: format!("attack-{id}"), home, _tmp: tmp, nap }
}

impl Planted {
    fn with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut targets = self.targets.clone();
        targets[name] = value.into();
        targets
    }

    /// Targets that were written to.
    fn written(&self, house: &House) -> Vec<PathBuf> {
        let dirs = ["/", "/usr/bin", "/etc", "/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from);
        let own =
            [house.data.path().to_owned(), house.data.path().join("process"), self.home.path().to_owned()];
        let all = dirs.into_iter().chain(own);
        all.map(|dir| dir.join(&self.mark)).filter(|path| path.exists()).collect()
    }
}

/// The attacks in `surface` that succeeded; prints their number.
fn reached(surface: &str, said: &str) -> Vec<String> {
    assert!(said.contains("all attempts made"), "{said}");
    let begun = said.lines().filter_map(|line| line.split_once("begun ")).map(|(_, name)| name.trim());
    let made: BTreeSet<&str> = begun.collect();
    let reached: BTreeSet<String> = said
        .lines()
        .filter_map(|line| line.split_once("REACHED "))
        .map(|(_, what)| what.to_owned())
        .collect();
    println!("attacks: {surface}: {} attempts, {} succeed", made.len(), reached.len());
    // Attacks that exhaust resources are run elsewhere, each alone.
    let listed = ATTEMPTS.lines().filter(|line| line.starts_with("@quick")).count();
    assert_eq!(made.len(), listed, "not all attempts were made:\n{said}");
    reached.into_iter().collect()
}

fn attack(targets: &Value, place: &str, names: &[&str]) -> ExecSpec {
    let argv = ["python3", "-u", &format!("{place}/attempts.py"), &targets.to_string()];
    let argv = argv.into_iter().chain(names.iter().copied()).map(ToOwned::to_owned).collect();
    ExecSpec { argv, timeout: Duration::from_secs(180), ..ExecSpec::default() }
}

fn said(report: &ExecReport) -> String {
    String::from_utf8_lossy(&report.stdout).into_owned() + &String::from_utf8_lossy(&report.stderr)
}

/// An image with the attacks whose command only sleeps.
async fn armed(house: &House) -> String {
    let text =
        house.dockerfile("WORKDIR /app\nCOPY attempts.py .\nRUN chmod 777 /app\nCMD [\"sleep\", \"1000\"]\n");
    let built = house.build(&[("Dockerfile", &text), ("attempts.py", ATTEMPTS)]).await;
    assert!(built.ok, "{}", built.log);
    built.image.unwrap()
}

fn session(house: &House, image: &str) -> ServiceSpec {
    ServiceSpec { ready: ReadinessCheck::None, disk: 256 << 20, ..ServiceSpec::new(image, house.tag()) }
}

/// Attacks in a service, while another one is running.
async fn services_reach_nothing(kind: RuntimeKind) {
    if !is_amid_secrets(&format!("attacks::services_reach_nothing_{}", kind.word())) {
        return;
    }
    let Some(house) = house(kind, "services_reach_nothing").await else { return };
    let planted = plant(&house);
    let other = house.start(SERVER, ReadinessCheck::Http("/".into())).await;
    let image = armed(&house).await;
    let running = house.runtimes.start(&session(&house, &image)).await.unwrap();
    let targets = planted.with("other_ports", json!([8080, other.ports()["8080"]]));
    let report = running.exec(attack(&targets, "/app", &[])).await.unwrap();
    let surface = format!("service ({})", kind.word());
    assert_eq!(reached(&surface, &said(&report)), Vec::<String>::new());
    assert_eq!(planted.written(&house), Vec::<PathBuf>::new());
    house.runtimes.stop(&running).await;
    house.runtimes.stop(&other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_reach_nothing_process() {
    services_reach_nothing(RuntimeKind::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_reach_nothing_docker() {
    services_reach_nothing(RuntimeKind::Docker).await;
}

/// Attacks in a build: the output of a command is in its log.
async fn builds_reach_nothing(kind: RuntimeKind) {
    if !is_amid_secrets(&format!("attacks::builds_reach_nothing_{}", kind.word())) {
        return;
    }
    let Some(house) = house(kind, "builds_reach_nothing").await else { return };
    let planted = plant(&house);
    let text = house.dockerfile("WORKDIR /app\nCOPY attempts.py targets.json ./\nRUN python3 -u attempts.py \"$(cat targets.json)\"\n");
    let targets =
        planted.with("capabilities", if kind == RuntimeKind::Docker { OF_BUILDS } else { 0 }).to_string();
    let files = [("Dockerfile", text.as_str()), ("attempts.py", ATTEMPTS), ("targets.json", &targets)];
    let built = house.build(&files).await;
    assert!(built.ok, "{}", built.log);
    assert_eq!(reached(&format!("build ({})", kind.word()), &built.log), Vec::<String>::new());
    assert_eq!(planted.written(&house), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_reach_nothing_process() {
    builds_reach_nothing(RuntimeKind::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_reach_nothing_docker() {
    builds_reach_nothing(RuntimeKind::Docker).await;
}

/// Copies the attacks into the workspace of an agent, and opens its sandbox.
async fn bench(house: &House) -> AgentWorkspace {
    let settings =
        RuntimeSettings::new(PathBuf::from(env!("CARGO_BIN_EXE_atoll")), house.data.path().to_owned());
    let mut bench = AgentWorkspace::new(&settings, &house.run).unwrap().guarded(&settings).unwrap();
    std::fs::write(bench.workspace().join("attempts.py"), ATTEMPTS).unwrap();
    if let Some(owner) = bench.owner() {
        std::os::unix::fs::chown(bench.workspace(), Some(owner), Some(owner)).unwrap();
    }
    bench.open().await.unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_agents_reach_nothing() {
    if !is_amid_secrets("attacks::commands_of_agents_reach_nothing") {
        return;
    }
    let Some(house) = house(RuntimeKind::Process, "commands_of_agents_reach_nothing").await else { return };
    let planted = plant(&house);
    let bench = bench(&house).await;
    let report = bench.run(attack(&planted.with("place", WORK), WORK, &[])).await.unwrap();
    assert_eq!(reached("commands of agents (process)", &said(&report)), Vec::<String>::new());
    assert_eq!(planted.written(&house), Vec::<PathBuf>::new());
}

/// The attacks work: without a sandbox, the harmless ones succeed.
#[test]
fn the_attempts_work_where_nothing_stops_them() {
    const HARMLESS: [&str; 7] = [
        "read_a_file_of_the_users_home",
        "reach_an_abstract_socket",
        "reach_a_socket_by_path",
        "reach_the_loopback_of_the_machine",
        "see_processes_of_the_machine",
        "read_above_the_root",
        "read_through_a_symbolic_link",
    ];
    let data = tempfile::tempdir().unwrap();
    let settings = RuntimeSettings::new(PathBuf::from(env!("CARGO_BIN_EXE_atoll")), data.path().to_owned());
    let house = House {
        runtimes: Runtimes::new(settings),
        kind: RuntimeKind::Process,
        run: RunId::new("none"),
        data,
    };
    let planted = plant(&house);
    let (file, targets) =
        (planted.home.path().join("attempts.py"), planted.with("place", planted.home.path().to_str()));
    std::fs::write(&file, ATTEMPTS).unwrap();
    let mut command = Command::new("python3");
    command.arg(&file).arg(targets.to_string()).args(HARMLESS);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    for name in HARMLESS {
        assert!(said.contains(&format!("REACHED {name}")), "{said}");
    }
}

/// Attacks that exhaust resources, each alone in a sandbox, and parts of the message after it was ended.
const GREEDY: [(&str, &[&str]); 11] = [
    ("take_memory_with_many_processes", &["memory"]),
    // In a container, the temporary directory is on its disk.
    ("take_memory_as_files", &["memory", "to its disk"]),
    ("start_processes_without_end", &[]),
    ("start_threads_without_end", &[]),
    ("fill_the_disk_with_many_files", &["to its disk"]),
    ("fill_the_disk_without_writing", &[]),
    ("fill_the_disk_without_names", &["to its disk"]),
    ("write_one_endless_file", &["to its disk"]),
    ("make_files_without_end", &["files"]),
    // Either the file system is full, or the kernel memory counts towards the sandbox.
    ("make_files_in_memory_without_end", &[]),
    ("open_files_without_end", &[]),
];

async fn services_use_no_more_than_they_may(kind: RuntimeKind) {
    let Some(house) = house(kind, "services_use_no_more_than_they_may").await else { return };
    let planted = plant(&house);
    let image = armed(&house).await;
    for (name, why) in GREEDY {
        let command = ["python3", "-u", "/app/attempts.py", &planted.with("place", "/app").to_string(), name];
        let command = Some(command.map(ToOwned::to_owned).to_vec());
        let ready = ReadinessCheck::Log("begun ".to_owned());
        let spec = ServiceSpec { ready, command, ..session(&house, &image) };
        let running = house.runtimes.start(&spec).await.unwrap();
        timeout(Duration::from_secs(90), running.ended()).await.expect(name);
        let said = running.log().text();
        assert!(said.contains(&format!("begun {name}")) && !said.contains("REACHED"), "{name}: {said}");
        let (code, cause) = (running.exit_code(), running.reason().unwrap_or_default());
        let told = why.is_empty() || code == Some(0) || why.iter().any(|why| cause.contains(why));
        assert!(told, "{name}: {code:?} {cause}: {said}");
        house.runtimes.stop(&running).await;
    }
    println!("attacks: service that uses too much ({}): {} attempts, 0 succeed", kind.word(), GREEDY.len());
    assert!(left(house.data.path()).is_empty(), "{:?}", left(house.data.path()));
}

/// Files that services left on the disk.
fn left(data: &Path) -> Vec<PathBuf> {
    let live = std::fs::read_dir(data.join("process/live")).into_iter().flatten().flatten();
    live.map(|entry| entry.path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_use_no_more_than_they_may_process() {
    services_use_no_more_than_they_may(RuntimeKind::Process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_use_no_more_than_they_may_docker() {
    services_use_no_more_than_they_may(RuntimeKind::Docker).await;
}

const FILLS: &str = r#"
atoll = 1
name = "fills"
summary = "builds and runs a program that fills the disk"

[steps.code]
pack = { files = [
  { path = "Dockerfile", content = "FROM x\nWORKDIR /app\nCOPY app.py .\nCMD [\"python3\", \"app.py\"]\n" },
  { path = "app.py", content = """
print('begun', flush=True)
n = 0
while True:
    n += 1
    try:
        with open('fill%d' % n, 'wb') as f: f.write(b'x' * 1000000)
    except OSError: pass
""" },
] }

[steps.build]
docker_build = { tree = "{{ steps.code.output.tree }}", runtime = "process" }

[steps.up]
hold = { service = { image = "{{ steps.build.output.image }}", ready = { log = "begun" } }, result = "steps.look.output.stdout" }

[steps.up.steps.look]
shell = { argv = ["sleep", "4"] }

[steps.after]
set = { said = "{{ steps.up.output }}" }
"#;

/// The data of Atoll and the files of the program are on one disk, which the program fills as fast as it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_can_be_recorded_on_the_disk_that_its_program_fills() {
    if house(RuntimeKind::Process, "a_run_can_be_recorded_on_the_disk_that_its_program_fills").await.is_none()
    {
        return;
    }
    let Some(disk) = SmallDisk::mount(200 << 10) else { return };
    let project = Project::new().file("fills.toml", FILLS).env("ATOLL_DATA", disk.0.path().to_str().unwrap());
    project.run(&["run", "fills.toml"]).exits(0);
}
