//! The stage between this program and bubblewrap: this same program, started again. It joins the control groups of the
//! sandbox, leaves the user's keys behind, hands over the filter, and becomes bubblewrap.
#![expect(clippy::disallowed_methods, reason = "joins control groups and becomes another program")]

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::syscalls::{Leave, programs};

/// The word on the command line that makes this program the stage: `atoll confine CONFINEMENT BWRAP ARGUMENT…`.
pub const WORD: &str = "confine";

/// What is arranged before bubblewrap starts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// The control groups to join.
    pub groups: Vec<PathBuf>,
    /// Whether local sockets may be made: not where those of the machine could be reached by their abstract names.
    pub local_sockets: bool,
}

/// Becomes the program in `arguments`, confined. Only returns where it cannot.
pub fn enter_main(arguments: &[String]) -> ExitCode {
    let Err(error) = enter(arguments);
    let _ = writeln!(io::stderr(), "atoll confine: {error}");
    ExitCode::from(126)
}

/// Closes what whoever started this program left open, so that no sandboxed program finds it.
fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The directory that was just read is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn enter(arguments: &[String]) -> io::Result<std::convert::Infallible> {
    let [confinement, bwrap, rest @ ..] = arguments else {
        return Err(io::Error::other("a confinement and a program are needed"));
    };
    let confinement: Confinement = serde_json::from_str(confinement)?;
    close_inherited()?;
    for group in &confinement.groups {
        let joined = std::fs::write(group.join("cgroup.procs"), "0");
        joined.map_err(|e| io::Error::new(e.kind(), format!("cannot join {}: {e}", group.display())))?;
    }
    // Without it, there are no keys to leave behind; the filter refuses all calls that use keys in any case.
    let _ = keyutils::Keyring::join_anonymous_session();
    let mut command = Command::new(bwrap);
    let filter = programs(Leave { local_sockets: confinement.local_sockets }).map_err(io::Error::other)?;
    let mut kept = Vec::new();
    for program in filter {
        let mut file = File::from(memfd_create(c"filter", MFdFlags::empty())?);
        file.write_all(&program)?;
        file.rewind()?;
        // This process has one thread and becomes bubblewrap at once: nobody else inherits it.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        command.args(["--add-seccomp-fd", &file.as_raw_fd().to_string()]);
        kept.push(file);
    }
    let error = command.args(rest).exec();
    Err(io::Error::new(error.kind(), format!("cannot start {bwrap}: {error}")))
}
