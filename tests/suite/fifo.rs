//! Named pipes by which steps and tests report progress to each other without sleeping or polling; and
//! processes in separate groups, so that a test can wait for the last descendant.
#![expect(clippy::disallowed_methods, reason = "tests open pipes, start processes and end them")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// A named pipe that the test keeps open at both ends, so that no writer blocks and no reader sees its end.
pub struct Fifo {
    path: PathBuf,
    lines: BufReader<File>,
}

impl Fifo {
    /// Creates a pipe at `path`.
    pub fn new(path: PathBuf) -> Self {
        mkfifo(&path, Mode::S_IRWXU).expect("a named pipe");
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("both ends");
        Self { path, lines: BufReader::new(file) }
    }

    /// Its path, for a step.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next line and returns it.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// All written lines that are not read yet.
    pub fn rest(&mut self) -> Vec<String> {
        write_line(&self.path, "the end");
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == "the end" => return lines,
                line => lines.push(line),
            }
        }
    }
}

/// Writes a line to the pipe at `path`, which must be open for reading.
pub fn write_line(path: &Path, line: &str) {
    let mut pipe = OpenOptions::new().write(true).open(path).expect("a pipe to write to");
    pipe.write_all(format!("{line}\n").as_bytes()).expect("a line written");
}

/// A process that leads a separate group.
pub struct Group {
    /// The process.
    pub child: Child,
    alive: PipeReader,
}

impl Group {
    /// Starts `command` in a separate process group.
    pub fn start(mut command: Command) -> Self {
        let (alive, held) = std::io::pipe().expect("a pipe");
        // All descendants inherit this end. The other end reads the end of the pipe when the last one has
        // exited.
        fcntl(&held, FcntlArg::F_SETFD(FdFlag::empty())).expect("an inheritable pipe");
        let child = command.process_group(0).spawn().expect("the binary starts");
        Self { child, alive }
    }

    /// Its process id, which is also the id of its group.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Sends `signal` to the whole group. It is not an error if the group has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("an exit status")
    }

    /// Waits for the end of all descendants.
    pub fn wait_for_all(mut self) {
        self.wait();
        self.alive.read_to_end(&mut Vec::new()).expect("the end of the last descendant");
    }

    /// Reads standard output until a line has `text`. The rest stays unread.
    pub fn read_until(lines: &mut impl BufRead, text: &str) -> Vec<String> {
        let mut read = Vec::new();
        for line in lines.lines() {
            read.push(line.expect("a line"));
            if read.last().is_some_and(|line| line.contains(text)) {
                return read;
            }
        }
        panic!("ended without {text:?}: {read:#?}");
    }
}

/// Waits for the first of `groups` to end, and returns its index. The others continue.
pub fn first_to_end(groups: Vec<Group>) -> (usize, Receiver<(usize, Group)>, Group) {
    let (sender, ends) = channel();
    for (n, mut group) in groups.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            group.wait();
            sender.send((n, group)).ok();
        });
    }
    let (n, group) = ends.recv().expect("one of them ends");
    (n, ends, group)
}

/// Whether the process was ended by SIGKILL.
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

/// Processes whose command line has `text`, as `pid command line`.
pub fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: u32| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!("{pid} {}", String::from_utf8_lossy(&bytes).replace('\0', " "))
    };
    pids.map(line).filter(|line| line.contains(text)).collect()
}
