//! One sandbox: bubblewrap with an agent in it.
#![expect(clippy::disallowed_methods, reason = "starts bubblewrap")]

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::disk;
use super::pid_namespace::FirstProcess;
use crate::confine::{
    self, Confinement, FILES_IN_MEMORY, Group, InMemory, Overrun, Watch, Watching, check_space,
    too_much_memory,
};
use crate::relay::{self, Keepalive, Limits, Orders, scopes_local_sockets};
use crate::rooted_fs::{RootedFs, blocking};
use crate::runtime::service::{Log, ServiceExit};

/// Path of the agent in the sandbox.
pub const AGENT: &str = "/.atoll-agent";

/// Directories and files of the system that programs need; everything else of the machine is hidden.
const SYSTEM: [&str; 16] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/python3.11",
    "/etc/ssl",
];

/// File systems in memory: their path in the sandbox, the directory on which root mounts them, and their
/// size in bytes.
const IN_MEMORY: [(&str, &str, u64); 2] = [("/tmp", "tmp", 256 << 20), ("/dev/shm", "dev", 64 << 20)];

/// Parameters of a sandbox.
pub struct SandboxPlan<'a> {
    /// Path of bubblewrap; `None` to run without a sandbox.
    pub bwrap: Option<&'a Path>,
    /// File of this program.
    pub program: &'a Path,
    /// Writable file system.
    pub root: &'a Path,
    /// Paths that were added to that file system, absolute in it.
    pub placed: &'a BTreeSet<PathBuf>,
    /// Additional readable directories of the machine.
    pub readable: &'a [PathBuf],
    /// Shared resources.
    pub outside: &'a SandboxSharing<'a>,
}

/// Resources that a sandbox shares with others.
#[derive(Default)]
pub struct SandboxSharing<'a> {
    /// Whether it has the network of the machine.
    pub network: bool,
    /// Directory with the sockets of its tunnels.
    pub doors: Option<&'a Path>,
    /// Writable directories of the machine, and their paths in the sandbox.
    pub volumes: Vec<(PathBuf, PathBuf)>,
    /// Log for its output.
    pub log: Log,
    /// Whether the initial content of its file system counts towards its disk limit.
    pub counts_all: bool,
    /// Whether its file system can be deleted after it was ended for exceeding a limit.
    pub disposable: bool,
}

/// Files that reveal or change the state of this machine; they are empty in a sandbox.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/config.gz",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
];

/// Directory with the sockets of tunnels in the sandbox.
pub fn doors_dir() -> &'static Path {
    Path::new("/.atoll-doors")
}

/// A sandbox with an agent in it.
pub struct Sandbox {
    /// Socket of the agent.
    pub socket: PathBuf,
    /// All output.
    pub log: Log,
    /// End of the sandbox.
    pub exit: watch::Receiver<Option<ServiceExit>>,
    keepalive: Mutex<Option<Keepalive>>,
    first: Option<FirstProcess>,
    is_boxed: bool,
    end: CancellationToken,
    use_: Arc<SandboxUsage>,
    _dir: TempDir,
}

/// Resource usage of a sandbox, and exceeded limits.
struct SandboxUsage {
    watching: Option<Arc<Watching>>,
    group: Option<Arc<Group>>,
    memory: Option<u64>,
    overrun: OnceLock<Overrun>,
    /// Directory to remove if a limit is exceeded, because the disk may be full.
    wiped: Option<PathBuf>,
}

impl SandboxUsage {
    /// The exceeded limit, if one is known.
    fn known(&self) -> Option<Overrun> {
        let memory = || {
            let killed = self.group.as_ref().is_some_and(|group| group.ran_out_of_memory());
            self.memory.filter(|_| killed).map(too_much_memory)
        };
        self.overrun.get().cloned().or_else(memory)
    }
}

impl Sandbox {
    /// Starts an agent with `orders` in a new sandbox.
    pub async fn start(plan: &SandboxPlan<'_>, mut orders: Orders) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("atoll-").tempdir()?;
        let socket = dir.path().join("agent");
        let listener = std::os::unix::net::UnixListener::bind(&socket)?;
        let limits = orders.limits;
        check_space(plan.root)?;
        let watching = begin_watch(plan, limits).await;
        let mut group = None;
        let mut command = match plan.bwrap {
            Some(_) => {
                // The limit on processes does not apply to root, so every sandbox gets its own user.
                let root = nix::unistd::geteuid().is_root();
                orders.user = root.then(|| orders.user.unwrap_or_else(own_user));
                if let Some(user) = orders.user {
                    give(plan.root, user).await?;
                }
                group = Group::make(&limits).map(Arc::new);
                confine(plan, &mut orders, group.as_deref())?
            }
            None => Command::new(plan.program),
        };
        command.args([relay::WORD, relay::CALLED]);
        command.env_clear().envs(relay::ENVIRONMENT).process_group(0);
        command.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = super::spawner::spawn(command).await?;
        let bwrap = child.id().filter(|_| plan.bwrap.is_some());
        let log = plan.outside.log.clone();
        let drains = [child.stdout.take().map(|o| log.keep(o)), child.stderr.take().map(|o| log.keep(o))];
        let end = CancellationToken::new();
        let (exited, exit) = watch::channel(None);
        let watching = watching.map(|watching| Arc::new(watching.of(group.clone(), child.id())));
        let wiped = plan.outside.disposable.then(|| plan.root.to_owned());
        let use_ = Arc::new(SandboxUsage {
            watching,
            group,
            memory: limits.memory,
            overrun: OnceLock::new(),
            wiped,
        });
        tokio::spawn(watch_over(child, drains, end.clone(), exited, use_.clone()));
        let (keepalive, first, is_boxed) = (Mutex::new(None), None, plan.bwrap.is_some());
        let mut sandbox = Self { socket, log, exit, keepalive, first, is_boxed, end, use_, _dir: dir };
        match timeout(Duration::from_secs(15), relay::begin(&sandbox.socket, &orders)).await {
            Ok(Ok(keepalive)) => {
                sandbox.keepalive = Mutex::new(Some(keepalive));
                // The agent answers, so the first process exists. If it has ended meanwhile, `exit` shows
                // that.
                sandbox.first = bwrap.and_then(|bwrap| FirstProcess::of(bwrap).ok());
            }
            refused => {
                let _ = sandbox.stop().await;
                let why = refused.map_or_else(
                    |_| "the agent does not answer".to_owned(),
                    |r| r.err().map(|e| e.to_string()).unwrap_or_default(),
                );
                let log = sandbox.log.tail(2000);
                return Err(io::Error::other(format!("the sandbox did not start ({why}): {}", log.trim())));
            }
        }
        Ok(sandbox)
    }

    /// The exceeded limit, if there is one. If the program `succeeded`, processes that were killed for lack
    /// of memory do not count.
    pub async fn overrun(&self, succeeded: bool) -> Option<Overrun> {
        let looked = match &self.use_.watching {
            Some(watching) => watching.look().await,
            None => None,
        };
        let known = if succeeded { self.use_.overrun.get().cloned() } else { self.use_.known() };
        known.or(looked)
    }

    /// Ends all its processes within a second and waits for that. An error if some did not end.
    pub async fn stop(&self) -> io::Result<()> {
        drop(self.keepalive.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut exit = self.exit.clone();
        if timeout(Duration::from_millis(750), exit.wait_for(Option::is_some)).await.is_err() {
            self.end.cancel();
            let _ = timeout(Duration::from_millis(200), exit.wait_for(Option::is_some)).await;
        }
        // bubblewrap itself may end a little before the processes in it.
        match &self.first {
            Some(first) => first.end().await,
            None if self.is_boxed => Err(io::Error::other("its processes are not visible")),
            None => Ok(()),
        }
    }
}

/// Changes the owner of the file system at `root` to `user`.
pub async fn give(root: &Path, user: u32) -> io::Result<()> {
    let root = root.to_owned();
    blocking(move |cancel| RootedFs::open(&root)?.give(user, cancel)).await
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn watch_over(
    mut child: Child,
    drains: [Option<tokio::task::JoinHandle<()>>; 2],
    end: CancellationToken,
    exited: watch::Sender<Option<ServiceExit>>,
    use_: Arc<SandboxUsage>,
) {
    let overrun = async {
        match use_.watching.clone() {
            Some(watching) => watching.overrun().await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        () = end.cancelled() => None,
        overrun = overrun => {
            let _ = use_.overrun.set(overrun);
            None
        }
    };
    let status = if let Some(status) = ended {
        status
    } else {
        let _ = child.start_kill();
        child.wait().await
    };
    // When bubblewrap ends, so do all processes in it; the control group makes sure of that.
    if let Some(group) = use_.group.clone() {
        let _ = tokio::task::spawn_blocking(move || group.kill()).await;
    }
    if let (Some(_), Some(root)) = (use_.overrun.get(), use_.wiped.clone()) {
        let _ = tokio::task::spawn_blocking(move || disk::remove(&root)).await;
    }
    let all = async {
        for drain in drains.into_iter().flatten() {
            let _ = drain.await;
        }
    };
    let _ = timeout(Duration::from_millis(200), all).await;
    let code = status.ok().and_then(|status| status.code()).map_or(137, i64::from);
    let signal = (code > 128).then(|| format!("signal {}", code - 128));
    let cause = if code == 0 { None } else { use_.known().or(signal) };
    exited.send_replace(Some(ServiceExit { code, cause }));
}

/// Records the disk usage before the sandbox starts, if there are limits.
pub(super) async fn begin_watch(plan: &SandboxPlan<'_>, limits: Limits) -> Option<Watching> {
    if limits == Limits::default() {
        return None;
    }
    let volumes = plan.outside.volumes.iter().map(|(from, _)| from.clone());
    let roots = std::iter::once(plan.root.to_owned()).chain(volumes).collect();
    Some(Watch { roots, limits, counts_all: plan.outside.counts_all }.begin().await)
}

/// A command that starts bubblewrap with an agent. A helper stage of this program first joins the control
/// group and passes the filter. Limits that the group enforces are removed from `orders`.
pub(super) fn confine(
    plan: &SandboxPlan<'_>,
    orders: &mut Orders,
    group: Option<&Group>,
) -> io::Result<Command> {
    orders.confined = true;
    if group.is_some() {
        (orders.limits.memory, orders.limits.pids) = (None, None);
    }
    let as_root = orders.user.is_some();
    let mut args = arguments(plan, &orders.doors, as_root);
    let confinement = Confinement {
        groups: group.map(|group| group.dirs().to_vec()).unwrap_or_default(),
        local_sockets: !plan.outside.network || scopes_local_sockets(),
        in_memory: if as_root { in_memory(&mut args, plan.root) } else { Vec::new() },
    };
    let mut command = Command::new(plan.program);
    command.arg(confine::WORD).arg(serde_json::to_string(&confinement)?);
    command.arg(plan.bwrap.unwrap_or(Path::new("bwrap")));
    command.args(args).arg("--").arg(AGENT);
    Ok(command)
}

/// Arguments of bubblewrap for a file system in memory at `at`.
fn tmpfs(at: &str, bytes: u64) -> Vec<String> {
    format!("--perms 1777 --size {bytes} --tmpfs {at}").split(' ').map(ToOwned::to_owned).collect()
}

/// Replaces the in-memory file systems of bubblewrap, which cannot limit the number of files, by ones that
/// the helper stage mounts in `root`, on directories that bubblewrap covers anyway.
fn in_memory(args: &mut Vec<String>, root: &Path) -> Vec<InMemory> {
    let replaced = IN_MEMORY.iter().filter_map(|(at, under, bytes)| {
        let words = tmpfs(at, *bytes);
        let found = args.windows(words.len()).position(|window| *window == *words)?;
        let dir = root.join(under);
        let bind = ["--bind".to_owned(), dir.display().to_string(), (*at).to_owned()];
        args.splice(found..found + words.len(), bind);
        Some(InMemory { at: dir, bytes: *bytes, files: FILES_IN_MEMORY })
    });
    replaced.collect()
}

/// A user id that no other sandbox has.
pub fn own_user() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    1_000_000_000 + n % 500_000_000
}

/// Arguments of bubblewrap.
pub fn arguments(plan: &SandboxPlan<'_>, doors: &[relay::Tunnel], as_root: bool) -> Vec<String> {
    let words = |text: &str| text.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
    let mut args = words(
        "--unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup-try --die-with-parent --new-session",
    );
    args.extend(words("--clearenv --hostname atoll"));
    args.extend(
        relay::ENVIRONMENT.iter().flat_map(|(name, value)| words(&format!("--setenv {name} {value}"))),
    );
    if !plan.outside.network {
        args.push("--unshare-net".to_owned());
    }
    args.extend(words(if as_root {
        // Capabilities that the agent needs to switch to that user permanently.
        "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP"
    } else {
        "--unshare-user --cap-drop ALL --cap-add CAP_SETPCAP"
    }));
    args.extend(["--bind".to_owned(), plan.root.display().to_string(), "/".to_owned()]);
    let low = |door: &relay::Tunnel| door.at.port() < 1024;
    if doors.iter().any(low) {
        args.extend(words("--cap-add CAP_NET_BIND_SERVICE"));
    }
    // Paths below these are mounted after them.
    let fresh = IN_MEMORY.map(|(at, ..)| Path::new(at));
    let late = |path: &Path| fresh.iter().any(|fresh| path.starts_with(fresh));
    let readable = || plan.readable.iter().map(PathBuf::as_path);
    for path in SYSTEM.iter().map(Path::new).chain(readable().filter(|path| !late(path))) {
        graft(path, plan.placed, &mut args);
    }
    args.extend(words("--proc /proc"));
    for path in MASKED.iter().filter(|path| Path::new(path).exists()) {
        let empty = if Path::new(path).is_dir() { "--tmpfs" } else { "--ro-bind /dev/null" };
        args.extend(words(&format!("{empty} {path}")));
    }
    args.extend(words("--dev /dev"));
    args.extend(IN_MEMORY.iter().flat_map(|(at, _, bytes)| tmpfs(at, *bytes)));
    for path in readable().filter(|path| late(path)) {
        // By itself, bubblewrap would create parent directories that only root can enter.
        let above: Vec<&Path> = path.ancestors().skip(1).take_while(|dir| !fresh.contains(dir)).collect();
        for dir in above.iter().rev() {
            args.extend(words("--perms 0755 --dir"));
            args.push(dir.display().to_string());
        }
        graft(path, plan.placed, &mut args);
    }
    // After these, so that a volume may be inside one of them.
    for (from, at) in &plan.outside.volumes {
        args.extend(["--bind".to_owned(), from.display().to_string(), at.display().to_string()]);
    }
    if let Some(dir) = plan.outside.doors {
        args.extend(["--ro-bind".to_owned(), dir.display().to_string(), doors_dir().display().to_string()]);
    }
    args.extend(["--ro-bind".to_owned(), plan.program.display().to_string(), AGENT.to_owned()]);
    args.extend(words("--chdir /"));
    args
}

/// Mounts `path` of the machine except for placed files. For a directory that contains placed files, its
/// entries are mounted individually.
fn graft(path: &Path, placed: &BTreeSet<PathBuf>, args: &mut Vec<String>) {
    if placed.iter().any(|own| path.starts_with(own)) {
        return;
    }
    if placed.iter().any(|own| own.starts_with(path)) {
        disk::entries(path).iter().for_each(|entry| graft(entry, placed, args));
    } else if path.exists() {
        let path = path.display().to_string();
        args.extend(["--ro-bind".to_owned(), path.clone(), path]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_read_is_seen_also_where_fresh_directories_lie_over_it() {
        let (outside, placed) = (SandboxSharing::default(), BTreeSet::new());
        let place = tempfile::tempdir_in("/tmp").unwrap();
        let readable = place.path().join("deep");
        std::fs::create_dir(&readable).unwrap();
        let plan = SandboxPlan {
            bwrap: None,
            program: Path::new("/bin/true"),
            root: Path::new("/srv"),
            placed: &placed,
            readable: &[readable.clone(), "/usr/share".into()],
            outside: &outside,
        };
        let args = arguments(&plan, &[], false);
        let at = |path: &Path| args.iter().position(|arg| *arg == path.display().to_string()).unwrap();
        assert!(at(Path::new("/usr/share")) < at(Path::new("/tmp")), "{args:?}");
        assert!(at(Path::new("/tmp")) < at(place.path()) && at(place.path()) < at(&readable), "{args:?}");
        assert_eq!(args[at(place.path()) - 3..at(place.path())], ["--perms", "0755", "--dir"]);
    }

    #[test]
    fn a_directory_with_something_placed_in_it_is_shown_entry_by_entry() {
        let mut args = Vec::new();
        graft(Path::new("/usr"), &BTreeSet::from([PathBuf::from("/app")]), &mut args);
        assert_eq!(args, ["--ro-bind", "/usr", "/usr"]);
        args.clear();
        graft(
            Path::new("/usr"),
            &BTreeSet::from([PathBuf::from("/usr/bin/sh"), "/usr/lib".into()]),
            &mut args,
        );
        assert!(args.contains(&"/usr/bin/env".to_owned()));
        for hidden in ["/usr", "/usr/bin", "/usr/bin/sh", "/usr/lib"] {
            assert!(!args.contains(&hidden.to_owned()), "{hidden}");
        }
    }

    #[test]
    fn memory_that_a_root_mounts_takes_the_place_of_bubblewraps() {
        let (outside, placed) = (SandboxSharing::default(), BTreeSet::new());
        let root = Path::new("/some/root");
        let program = Path::new("/bin/true");
        let plan =
            SandboxPlan { bwrap: None, program, root, placed: &placed, readable: &[], outside: &outside };
        let mut args = arguments(&plan, &[], true);
        let in_memory = in_memory(&mut args, root);
        let told: Vec<_> = in_memory.iter().map(|one| (one.at.to_str().unwrap(), one.bytes >> 20)).collect();
        assert_eq!(told, [("/some/root/tmp", 256), ("/some/root/dev", 64)]);
        let line = args.join(" ");
        assert!(
            line.contains("--dev /dev --bind /some/root/tmp /tmp --bind /some/root/dev /dev/shm"),
            "{line}"
        );
        assert!(!line.contains("--tmpfs /tmp") && !line.contains("--tmpfs /dev/shm"), "{line}");
    }
}
