//! Keys that a command prints, such as a password manager.
#![expect(clippy::disallowed_methods, reason = "a door: starts the command that the user named")]

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::verb::SecretText;

/// Time limit of the command; the user may have to unlock a password manager.
const LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of a key.
const LONGEST: u64 = 16 << 10;

/// The first line of the output of `argv`. The command can use the terminal, for a password manager that
/// asks. After the time limit it is killed with all its children. Error messages contain nothing of its
/// output.
pub(super) fn run(argv: &[String]) -> Result<SecretText, String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let failed = |what: String| format!("the key command `{program}` {what}");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0);
    let mut child = command.spawn().map_err(|e| failed(format!("cannot be started: {e}")))?;
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let out = child.stdout.take();
    let (sender, receiver) = mpsc::channel();
    let reading = move || {
        let mut text = String::new();
        let read = out.map_or(Ok(0), |out| out.take(LONGEST).read_to_string(&mut text));
        // The receiver is gone after the time limit.
        let _ = sender.send(read.map(|_| text));
    };
    let started = std::thread::Builder::new().name("key".to_owned()).spawn(reading);
    let printed = started.map_err(|e| failed(e.to_string())).map(|_| receiver.recv_timeout(LIMIT));
    if !matches!(printed, Ok(Ok(Ok(_)))) {
        // It may have ended meanwhile.
        let _ = killpg(group, Signal::SIGKILL);
    }
    let status = child.wait().map_err(|e| failed(format!("could not be awaited: {e}")))?;
    let text = match printed? {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return Err(failed("printed output that is not text".to_owned())),
        Err(_) => return Err(failed(format!("did not end within {} s", LIMIT.as_secs()))),
    };
    if !status.success() {
        return Err(failed(format!("failed: {status}")));
    }
    let key = text.lines().next().unwrap_or_default().trim();
    if key.is_empty() {
        Err(failed("printed nothing".to_owned()))
    } else {
        Ok(SecretText::from(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn shell(script: &str) -> Result<String, String> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(&argv).map(|key| key.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_is_the_key_and_trouble_says_nothing_of_it() {
        assert_eq!(shell("echo ' sk-1 '; echo user: me").as_deref(), Ok("sk-1"));
        let wrong = |script: &str| shell(script).unwrap_err();
        assert_eq!(wrong("echo sk-1; exit 3"), "the key command `sh` failed: exit status: 3");
        assert_eq!(wrong(":"), "the key command `sh` printed nothing");
        assert_eq!(wrong("printf '\\377'"), "the key command `sh` printed output that is not text");
        assert!(run(&["no-such-program-here".to_owned()]).unwrap_err().contains("cannot be started"));
    }
}
