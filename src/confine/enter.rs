//! The helper stage between this program and bubblewrap, which is also this program. It joins the control
//! groups of the sandbox, drops the user's keyring, mounts the in-memory file systems of the sandbox,
//! passes the system call filter, and executes bubblewrap.
#![expect(clippy::disallowed_methods, reason = "joins control groups and becomes another program")]

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use super::syscalls::{Leave, programs};

/// Subcommand that starts this program as the helper stage: `atoll confine CONFINEMENT BWRAP ARGUMENT…`.
pub const WORD: &str = "confine";

/// Preparations before bubblewrap starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// Control groups to join.
    pub groups: Vec<PathBuf>,
    /// Whether local sockets are allowed; not if abstract sockets of the machine would be reachable.
    pub local_sockets: bool,
    /// In-memory file systems to mount, which requires root.
    pub in_memory: Vec<InMemory>,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InMemory {
    /// Directory on which it is mounted; visible only to this process.
    pub at: PathBuf,
    /// Size limit in bytes.
    pub bytes: u64,
    /// Limit for files and directories.
    pub files: u64,
}

/// Executes the program in `arguments`, confined. Returns only after an error.
pub fn enter_main(arguments: &[String]) -> ExitCode {
    let Err(error) = enter(arguments);
    let _ = writeln!(io::stderr(), "atoll confine: {error}");
    ExitCode::from(126)
}

/// Closes inherited file descriptors, so that no sandboxed program can use them.
fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The descriptor of the directory that was just read is already closed.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Mounts in-memory file systems in a new mount namespace, because those of bubblewrap cannot limit the
/// number of files.
fn mount_in_memory(all: &[InMemory]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for InMemory { at, bytes, files } in all {
        let told = |e: nix::Error| {
            let e = io::Error::from(e);
            io::Error::new(e.kind(), format!("cannot mount memory at {}: {e}", at.display()))
        };
        // A program that ran in this file system before may have created a link there.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = open(at, flags, Mode::empty()).map_err(told)?;
        let itself = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let options = format!("mode=1777,size={bytes},nr_inodes={files}");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), itself.as_str(), Some("tmpfs"), flags, Some(options.as_str())).map_err(told)?;
    }
    Ok(())
}

fn enter(arguments: &[String]) -> io::Result<std::convert::Infallible> {
    let [confinement, bwrap, rest @ ..] = arguments else {
        return Err(io::Error::other("the arguments must be a confinement and a program"));
    };
    let confinement: Confinement = serde_json::from_str(confinement)?;
    close_inherited()?;
    for group in &confinement.groups {
        let joined = std::fs::write(group.join("cgroup.procs"), "0");
        joined.map_err(|e| io::Error::new(e.kind(), format!("cannot join {}: {e}", group.display())))?;
    }
    // If this fails, there is no keyring to drop; the filter refuses all calls that use keys anyway.
    let _ = keyutils::Keyring::join_anonymous_session();
    mount_in_memory(&confinement.in_memory)?;
    let mut command = Command::new(bwrap);
    let filter = programs(Leave { local_sockets: confinement.local_sockets }).map_err(io::Error::other)?;
    let mut kept = Vec::new();
    for program in filter {
        let mut file = File::from(memfd_create(c"filter", MFdFlags::empty())?);
        file.write_all(&program)?;
        file.rewind()?;
        // This process has one thread and executes bubblewrap at once, so no other process inherits it.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        command.args(["--add-seccomp-fd", &file.as_raw_fd().to_string()]);
        kept.push(file);
    }
    let error = command.args(rest).exec();
    Err(io::Error::new(error.kind(), format!("cannot start {bwrap}: {error}")))
}
