//! The step type `exec`: a command line inside the held service.

use std::collections::BTreeMap;
use std::fmt::Write;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Action, Played, StepAction, StepContext, StepType, thirty_seconds};
use crate::diag::Code;
use crate::scenario::answer::{ExecAnswer, SentRecord, StepAnswer, StepOutcome};
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::ports::{ServiceCommand, Shell};
use crate::scenario::reader::bytes::EncodedBytes;
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::values::{Excerpt, KeptContent, Variables, WrittenDuration};

/// Keys of `exec`.
const KEYS: &[&str] = &["command", "stdin", "env", "timeout", "files"];

/// A command line run by `sh -c`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The command line.
    pub command: String,
    /// Standard input as text.
    #[serde(default)]
    pub stdin: String,
    /// Standard input as bytes, such as the content of a file.
    #[serde(default)]
    pub stdin_bytes: Option<EncodedBytes>,
    /// Environment variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: IndexMap<String, String>,
    /// Files to write first: absolute path and content.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub files: IndexMap<String, String>,
    /// Time limit, after which the command is killed; 30 seconds by default.
    #[serde(default = "thirty_seconds")]
    pub timeout: WrittenDuration,
}

/// Most bytes kept of each output.
const KEPT: usize = 1 << 20;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// `exec`: a command line in the held service.
pub static TYPE: StepType = StepType {
    word: "exec",
    keys: KEYS,
    subjects: &[
        (Subject::ExitCode, AssertionForm::Codes),
        (Subject::Stdout, AssertionForm::Text),
        (Subject::Stderr, AssertionForm::Text),
        (Subject::Json, AssertionForm::Json),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &["stdout", "stderr", "exitcode", "exit_code"],
    runs_commands: true,
    in_parallel: true,
    is_basic: true,
    vacuous_words: ["exit code 127", "exit code 0"],
    read: |reader, node, _| read(reader, node).map(Action::Exec),
    lint,
    ..StepType::PLAIN
};

impl StepAction for Exec {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        Box::pin(async move {
            let Some(shell) = context.stage.shell else {
                return (None, StepOutcome::error("there is no service to run it in"));
            };
            let mut command = match prepare(self, context.variables) {
                Ok(command) => command,
                Err(error) => return (None, StepOutcome::error(error)),
            };
            command.timeout = context.limit(command.timeout);
            let sent = sent(&command);
            let outcome = match run(command, shell).await {
                Ok(answer) => StepOutcome { answer: Some(answer), error: None },
                Err(error) => StepOutcome::error(error),
            };
            (Some(sent), outcome)
        })
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        [(127, "sh: not found\n"), (0, "")].map(|(code, complaint)| {
            let (stdout, stderr) = (KeptContent::of(&[], 1), KeptContent::of(complaint.as_bytes(), 256));
            Some(StepAnswer::Exec(ExecAnswer { exit_code: Some(code), stdout, stderr, timed_out: None }))
        })
    }
}

fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Exec> {
    let command = reader.required(node, "command", "a command");
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    let files = reader.texts(given(node, "files"), "`files`");
    if let Some(table) = given(node, "files") {
        for (key, _) in reader.entries(table, "`files`").unwrap_or_default() {
            let path = key.scalar_text().unwrap_or_default();
            if !path.starts_with(['/', '{']) {
                let message = format!("the file path `{path}` is not absolute");
                reader.complain(Code::ScenarioValue, key, message).help = Some(format!("write `/{path}`"));
            }
        }
    }
    let (stdin, stdin_bytes) = match given(node, "stdin") {
        Some(value) if matches!(value.kind, NodeKind::Table(_)) => {
            (String::new(), EncodedBytes::read(reader, value, "`stdin`"))
        }
        _ => (reader.optional(node, "stdin"), None),
    };
    Some(Exec {
        command: command?,
        stdin,
        stdin_bytes,
        env: reader.texts(given(node, "env"), "`env`"),
        files,
        timeout: timeout.unwrap_or_else(thirty_seconds),
    })
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintExec, node, "exec") {
        return;
    }
    match node.get("command") {
        None => linter.needs(Code::LintCommandMissing, node, "`exec`", "command"),
        Some(_) => linter.needs(Code::LintCommand, node, "`exec`", "command"),
    }
    if let Some(env) = node.get("env").filter(|env| !env.is_null() && !matches!(env.kind, NodeKind::Table(_)))
    {
        linter.say(Code::LintEnv, env, format!("`env` is a mapping, not {}", env.type_name()));
    }
    linter.duration(Code::LintExecTimeout, node, "timeout");
}

/// The command with variables filled in.
fn prepare(exec: &Exec, variables: &Variables) -> Result<ServiceCommand, String> {
    let filled = |table: &IndexMap<String, String>| {
        table.iter().map(|(key, value)| (key.clone(), variables.fill(value).into_owned())).collect()
    };
    let stdin = match &exec.stdin_bytes {
        Some(bytes) => bytes.decode()?,
        None => variables.fill(&exec.stdin).into_owned().into_bytes(),
    };
    Ok(ServiceCommand {
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

/// Record of the command.
fn sent(command: &ServiceCommand) -> SentRecord {
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
    SentRecord {
        text: Excerpt::visible(&text, SHOWN).text,
        command: Some(command.line.clone()),
        stdin: Some(stdin),
        ..SentRecord::default()
    }
}

/// Runs the command. Any exit code is an answer, and so is a command that was killed at its time limit.
async fn run(command: ServiceCommand, shell: &dyn Shell) -> Result<StepAnswer, String> {
    let timeout = WrittenDuration(command.timeout);
    let ran = shell.exec(command).await.map_err(|e| format!("the command could not be run: {e}"))?;
    Ok(StepAnswer::Exec(ExecAnswer {
        exit_code: if ran.timed_out { None } else { ran.exit_code },
        stdout: KeptContent::of(&ran.stdout, KEPT),
        stderr: KeptContent::of(&ran.stderr, KEPT),
        timed_out: ran.timed_out.then_some(timeout),
    }))
}
