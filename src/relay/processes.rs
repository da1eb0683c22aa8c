//! Ends all processes of a command, including those that left its process group or cleared their environment.
#![expect(clippy::disallowed_methods, reason = "reads /proc, and waits for processes to end")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::MARK;

/// How long to retry ending processes that cannot be ended, such as those of another user.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes this process the parent of every orphan below it, so that all descendants of a command stay below
/// it, whatever session or process group they join.
pub(super) fn adopt_orphans() {
    let _ = prctl::set_child_subreaper(true);
}

/// Kills every process below this one. It must have adopted orphans before it started any.
pub(super) fn kill_descendants() {
    let until = Instant::now() + PATIENCE;
    loop {
        // A stopped process cannot start others: stop them until none is running, then kill.
        let mut found = descendants();
        while found.iter().any(|process| !process.stopped) && Instant::now() < until {
            signal_all(&found, Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(1));
            found = descendants();
        }
        signal_all(&found, Signal::SIGKILL);
        if found.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn signal_all(processes: &[Process], signal: Signal) {
    for process in processes {
        // It may have ended meanwhile.
        let _ = kill(process.pid, signal);
    }
}

struct Process {
    pid: Pid,
    stopped: bool,
}

/// All processes below this one, without zombies.
fn descendants() -> Vec<Process> {
    let stats: Vec<Stat> = processes().filter_map(stat).collect();
    let mut children: HashMap<i32, Vec<&Stat>> = HashMap::new();
    stats.iter().for_each(|stat| children.entry(stat.parent).or_default().push(stat));
    let (mut open, mut found) = (vec![Pid::this().as_raw()], Vec::new());
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if !matches!(child.state, b'Z' | b'X') {
                found.push(Process {
                    pid: Pid::from_raw(child.pid),
                    stopped: matches!(child.state, b'T' | b't' | b'D'),
                });
            }
        }
    }
    found
}

struct Stat {
    pid: i32,
    parent: i32,
    state: u8,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, including parentheses.
    let after = text.iter().rposition(|byte| *byte == b')')? + 1;
    let rest = String::from_utf8_lossy(&text[after..]).into_owned();
    let mut words = rest.split_whitespace();
    let state = *words.next()?.as_bytes().first()?;
    Some(Stat { pid: pid.as_raw(), parent: words.next()?.parse().ok()?, state })
}

/// Kills every process with `mark` in its environment, including those that left their process group.
pub(super) fn kill_marked(mark: &str) {
    let wanted = format!("{MARK}={mark}");
    for _ in 0..50 {
        let found: Vec<Pid> = processes().filter(|pid| carries(*pid, wanted.as_bytes())).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let me = Pid::this();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(move |pid| *pid != me)
}

fn carries(pid: Pid, wanted: &[u8]) -> bool {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == wanted)
}
