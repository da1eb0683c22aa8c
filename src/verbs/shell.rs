//! `shell`: runs a command of the pipeline's author on this machine without a sandbox, like a step of a
//! continuous integration service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration_input::DurationInput;
use super::null_characters::{names_of_variables, with_null};
use super::secret::TextOrSecret;
use crate::runtime::process::Host;
use crate::runtime::service::{ExecReport, ExecSpec};
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb, pointer};

/// The length of each output in a failure, in bytes.
const DETAIL: usize = 4000;

/// Runs commands.
pub struct ShellCommand {
    host: Host,
}

impl ShellCommand {
    /// Commands are run by `host`.
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

/// Input of `shell`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellInput {
    /// Program and arguments; with `shell = true` one command line.
    pub argv: Argv,
    /// Whether `sh -c` runs the command line. Never put text from a model or an untrusted source into such a
    /// line. Default: `false`.
    #[serde(default)]
    pub shell: bool,
    /// Working directory, relative to the project.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Environment variables: texts, or `{ secret = "NAME" }`. Besides them only `PATH` and `HOME` are set.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TextOrSecret>")]
    pub env: IndexMap<String, TextOrSecret>,
    /// Standard input.
    #[serde(default)]
    pub stdin: String,
    /// Maximum duration; then the command and all its processes are killed. Processes that it leaves running
    /// are ended too.
    #[serde(default = "default_timeout")]
    pub timeout: DurationInput,
    /// Whether a failure or a timeout of the command is an output instead of a failure. Default: `false`.
    #[serde(default)]
    pub observe: bool,
}

impl ShellInput {
    /// Null characters in the command.
    fn nulls(&self) -> Vec<Refusal> {
        let what = "the command";
        let mut found: Vec<Refusal> = match &self.argv {
            Argv::Line(line) => with_null("/argv", line, what).into_iter().collect(),
            Argv::Words(words) => {
                let texts = words.iter().enumerate().filter_map(|(at, word)| match word {
                    CommandWord::Text(text) => Some((at, text)),
                    CommandWord::Number(_) | CommandWord::Truth(_) => None,
                });
                texts.filter_map(|(at, text)| with_null(&format!("/argv/{at}"), text, what)).collect()
            }
        };
        let cwd =
            self.cwd.iter().filter_map(|dir| with_null("/cwd", &dir.to_string_lossy(), "the directory"));
        found.extend(cwd);
        found
    }

    /// Whether the list starts with a program, or is a line for a shell.
    fn is_command(&self) -> bool {
        match &self.argv {
            Argv::Words(words) => match words.first() {
                Some(CommandWord::Text(program)) => self.shell || !program.is_empty(),
                first => first.is_some(),
            },
            Argv::Line(_) => self.shell,
        }
    }
}

/// A command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Argv {
    /// The program and its arguments.
    Words(Vec<CommandWord>),
    /// A command line, for `shell = true`.
    Line(String),
}

/// One word of a command: numbers and booleans are written as in JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CommandWord {
    /// Text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// `true` or `false`.
    Truth(bool),
}

impl CommandWord {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

fn default_timeout() -> DurationInput {
    DurationInput(Duration::from_secs(600))
}

/// Output of `shell`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShellOutput {
    /// Whether it ended in time with exit code 0.
    pub ok: bool,
    /// Exit code, 128 + signal if a signal ended it; null if it was killed after the timeout.
    pub exit_code: Option<i64>,
    /// Standard output: beginning and end, at most 1 MiB.
    pub stdout: String,
    /// Standard error: beginning and end, at most 1 MiB.
    pub stderr: String,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Whether it was killed after the timeout.
    pub timed_out: bool,
    /// Whether output was truncated.
    pub truncated: bool,
}

impl Verb for ShellCommand {
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "run a command on this machine";
    const TRAITS: Traits = Traits::once("shell");
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r#"
[steps.greet]
shell = { argv = ["echo", "hello {{ inputs.name }}"], timeout = "10s" }
"#;
    type With = ShellInput;
    type Out = ShellOutput;

    fn refusals(with: &ShellInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        if !with.is_command() {
            let failure = Failure::permanent("`argv` must be a list that starts with a program")
                .hint("write `argv = [\"ls\", \"-l\"]`, or a command line with `shell = true`");
            found.push(Refusal::of("/argv", failure).with("/shell"));
        }
        if with.timeout.0.is_zero() && !with.observe {
            let failure = Failure::permanent("`timeout` is zero");
            found
                .push(Refusal::of("/timeout", failure.hint("write a duration such as 30s")).with("/observe"));
        }
        found.extend(with.nulls());
        found.extend(names_of_variables("/env", with.env.keys()));
        found.extend(with.env.iter().filter_map(|(name, value)| {
            value.unusable_variable(&pointer("/env", name), &format!("the variable `{name}` of the command"))
        }));
        found
    }

    async fn run(&self, with: ShellInput, cx: Context) -> Result<Output<ShellOutput>, Failure> {
        let observe = with.observe;
        let line: &[&str] = if with.shell { &["sh", "-c"] } else { &[] };
        let words = match with.argv {
            Argv::Words(words) => words.into_iter().map(CommandWord::text).collect(),
            Argv::Line(line) => vec![line],
        };
        let argv = line.iter().map(|word| (*word).to_owned()).chain(words).collect();
        let reveal = |(name, value): (String, TextOrSecret)| {
            let text = value.reveal(&format!("the variable `{name}` of the command"), &cx)?;
            Ok((name, text))
        };
        let env = with.env.into_iter().map(reveal).collect::<Result<_, Failure>>()?;
        let project = &cx.workspace.project;
        let spec = ExecSpec {
            cwd: Some(with.cwd.map_or_else(|| project.clone(), |dir| project.join(dir))),
            env,
            stdin: with.stdin.into_bytes(),
            timeout: with.timeout.0,
            argv,
            ..ExecSpec::default()
        };
        let report = self.host.run(spec, &cx.cancel).await?;
        let out = out(&report, &cx);
        if out.ok || observe { Ok(Output::free(out)) } else { Err(failure(&out)) }
    }
}

fn out(report: &ExecReport, cx: &Context) -> ShellOutput {
    let text = |bytes: &[u8]| cx.secrets.redact(&String::from_utf8_lossy(bytes));
    ShellOutput {
        ok: report.exit_code == Some(0),
        exit_code: report.exit_code,
        stdout: text(&report.stdout),
        stderr: text(&report.stderr),
        duration_ms: report.duration_ms,
        timed_out: report.timed_out,
        truncated: report.truncated,
    }
}

fn failure(out: &ShellOutput) -> Failure {
    let tail = |text: &str| {
        text.chars().rev().take(DETAIL).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    };
    let failure = match out.exit_code {
        None => Failure::new(Class::Timeout, format!("the command was killed after {} ms", out.duration_ms)),
        Some(code) => {
            let last = out.stderr.lines().last().map(|line| format!(": {}", line.trim())).unwrap_or_default();
            Failure::permanent(format!("the command ended with exit code {code}{last}"))
        }
    };
    failure.detail(serde_json::json!({
        "exit_code": out.exit_code,
        "timed_out": out.timed_out,
        "stdout": tail(&out.stdout),
        "stderr": tail(&out.stderr),
    }))
}
