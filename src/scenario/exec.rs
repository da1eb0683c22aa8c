//! The step type `exec`: a command line inside the held service.

use std::fmt::Write;

use indexmap::IndexMap;

use super::observation::Sent;
use super::port::{Command, Shell};
use super::{Answer, Excerpt, Exec, ExecAnswer, Kept, Lapse, Variables};

/// Most bytes kept of each output.
const KEPT: usize = 1 << 20;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// The command with variables filled in.
pub fn prepare(exec: &Exec, variables: &Variables) -> Result<Command, String> {
    let filled = |table: &IndexMap<String, String>| {
        table.iter().map(|(key, value)| (key.clone(), variables.fill(value).into_owned())).collect()
    };
    let stdin = match &exec.stdin_bytes {
        Some(bytes) => bytes.decode()?,
        None => variables.fill(&exec.stdin).into_owned().into_bytes(),
    };
    Ok(Command {
        line: variables.fill(&exec.command).into_owned(),
        stdin,
        env: filled(&exec.env),
        files: exec
            .files
            .iter()
            .map(|(path, text)| (variables.fill(path).into_owned(), variables.fill(text).into_owned()))
            .collect(),
        timeout: exec.timeout.0,
    })
}

/// What is recorded of it.
pub fn sent(command: &Command) -> Sent {
    let stdin = Excerpt::of_text(&String::from_utf8_lossy(&command.stdin), SHOWN).text;
    let mut text = format!("$ {}\n", command.line);
    for (name, value) in &command.env {
        let _ = writeln!(text, "env {name}={value}");
    }
    for (path, content) in &command.files {
        let _ = writeln!(text, "file {path}:\n{content}");
    }
    if !stdin.is_empty() {
        let _ = write!(text, "stdin:\n{stdin}");
    }
    Sent {
        text: Excerpt::visible(&text, SHOWN).text,
        command: Some(command.line.clone()),
        stdin: Some(stdin),
        ..Sent::default()
    }
}

/// Runs it. Any exit code is an answer, and so is a command that had to be killed.
pub async fn run(command: Command, shell: &dyn Shell) -> Result<Answer, String> {
    let timeout = Lapse(command.timeout);
    let ran = shell.exec(command).await.map_err(|e| format!("the command could not be run: {e}"))?;
    Ok(Answer::Exec(ExecAnswer {
        exit_code: if ran.timed_out { None } else { ran.exit_code },
        stdout: Kept::of(&ran.stdout, KEPT),
        stderr: Kept::of(&ran.stderr, KEPT),
        timed_out: ran.timed_out.then_some(timeout),
    }))
}
