use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use regex::Regex;

use super::chord::KeyChord;
use super::escape;
use super::session::{SessionInput, TimeLimit, TuiSession};
use super::{Tui, WaitFor};
use crate::clock::Clock;
use crate::scenario::answer::SentRecord;
use crate::scenario::answer::StepAnswer;
use crate::scenario::answer::StepOutcome;
use crate::scenario::checks::assert::Rendering;
use crate::scenario::ports::{Shell, TerminalProgram, TerminalSize};
use crate::scenario::steps::{ConnectionSettings, StepRunner, TestEnvironment};
use crate::scenario::values::{Excerpt, Variables};

/// Longest text in a record of what was sent, in bytes.
const SENT: usize = 8 << 10;

/// Current program of the `tui` steps of one scenario.
#[derive(Default)]
pub struct TuiRunner {
    session: Option<TuiSession>,
}

impl StepRunner for TuiRunner {
    fn new(_: &ConnectionSettings) -> Self {
        Self::default()
    }

    /// Ends the program, and waits for its end.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(session) = self.session {
                session.end().await;
            }
        })
    }
}

impl TuiRunner {
    /// Runs one step, for at most `left` if a retry limits it.
    pub async fn play(
        &mut self,
        step: &Tui,
        stage: &TestEnvironment<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> (Option<SentRecord>, StepOutcome) {
        let Some(shell) = stage.shell else {
            return (None, StepOutcome::error("there is no service to run it in"));
        };
        let act = match TuiInput::new(step, variables) {
            Ok(act) => act,
            Err(reason) => return (None, StepOutcome::error(reason)),
        };
        let span = left.map_or(step.timeout.0, |left| left.min(step.timeout.0));
        let mut limit = TimeLimit::new(span, stage.clock);
        (Some(act.sent()), self.perform(act, shell, stage.clock, &mut limit).await)
    }

    async fn perform(
        &mut self,
        act: TuiInput,
        shell: &dyn Shell,
        clock: &dyn Clock,
        limit: &mut TimeLimit,
    ) -> StepOutcome {
        let begins = act.program.is_some();
        if let Some(program) = act.program.clone() {
            if let Some(session) = self.session.take() {
                session.end().await;
            }
            match TuiSession::open(program, shell, limit).await {
                Ok(session) => self.session = Some(session),
                Err(reason) => return StepOutcome::error(reason),
            }
        }
        let Some(session) = &mut self.session else {
            return StepOutcome::error(
                "no program has been started: give a `command` in this step or an earlier one",
            );
        };
        let work = SessionInput { act: &act, clock, limit, shell };
        let (told, error) = session.work(begins, work).await;
        StepOutcome { answer: Some(StepAnswer::Told(Box::new(told))), error }
    }
}

/// Input of a step with variables filled in.
pub struct TuiInput {
    /// Program to start.
    pub program: Option<TerminalProgram>,
    /// New size of the terminal.
    pub size: Option<TerminalSize>,
    /// Input to type, in order.
    pub input: Vec<TypedInput>,
    /// Condition on the screen.
    pub wait: Option<ScreenWait>,
    /// True if the program must exit.
    pub wait_exit: bool,
    /// Time without output before the screen is read.
    pub settle: Duration,
    /// True if colours and attributes are reported.
    pub styles: bool,
}

/// Input to type.
pub enum TypedInput {
    /// A key.
    Key(KeyChord),
    /// Text as it is.
    Text(String),
    /// Text to paste.
    Paste(String),
}

/// Condition on the screen.
pub enum ScreenWait {
    /// The screen shows this text.
    Text(String),
    /// The regular expression matches.
    Matches(Regex),
    /// The screen no longer shows this text.
    Gone(String),
}

impl ScreenWait {
    fn new(wait: &WaitFor, variables: &Variables) -> Result<Self, String> {
        Ok(match wait {
            WaitFor::Text(text) => Self::Text(variables.fill(text).into_owned()),
            WaitFor::Gone(text) => Self::Gone(variables.fill(text).into_owned()),
            WaitFor::Matches(pattern) => {
                let pattern = variables.fill_pattern(pattern);
                Self::Matches(Regex::new(&pattern).map_err(|e| format!("invalid pattern: {e}"))?)
            }
        })
    }

    /// Whether the screen meets the condition.
    pub fn is_met(&self, screen: &str) -> bool {
        match self {
            Self::Text(text) => shows(screen, text),
            Self::Matches(pattern) => pattern.is_match(screen),
            Self::Gone(text) => !shows(screen, text),
        }
    }
}

/// Whether a person would see this text on the screen.
fn shows(screen: &str, text: &str) -> bool {
    screen.contains(text) || Rendering::Screen.seen(screen).contains(&Rendering::Screen.seen(text))
}

impl TuiInput {
    fn new(step: &Tui, variables: &Variables) -> Result<Self, String> {
        let mut input = Vec::new();
        for key in &step.send_keys {
            input.push(TypedInput::Key(KeyChord::parse(&variables.fill(key))?));
        }
        input.extend(escape::apart(&variables.fill(&step.send_text)).into_iter().map(TypedInput::Text));
        if !step.paste.is_empty() {
            input.push(TypedInput::Paste(variables.fill(&step.paste).into_owned()));
        }
        Ok(Self {
            program: step.command.as_ref().map(|line| TerminalProgram {
                line: variables.fill(line).into_owned(),
                env: env(&step.env, variables),
                size: step.size.unwrap_or_default(),
            }),
            size: step.size,
            input,
            wait: step.wait_for.as_ref().map(|wait| ScreenWait::new(wait, variables)).transpose()?,
            wait_exit: step.wait_exit,
            settle: step.settle.0,
            styles: step.styles,
        })
    }

    /// Record of the input.
    fn sent(&self) -> SentRecord {
        let mut text = String::new();
        if let Some(program) = &self.program {
            let _ = writeln!(text, "$ {}", program.line);
            for (name, value) in program.env.iter().filter(|entry| !OURS.contains(&(entry.0, entry.1))) {
                let _ = writeln!(text, "env {name}={value}");
            }
        }
        if let Some(TerminalSize { columns, rows }) = self.size {
            let _ = writeln!(text, "size {columns} columns, {rows} rows");
        }
        let mut typed = String::new();
        for input in &self.input {
            let _ = match input {
                TypedInput::Key(chord) => writeln!(typed, "key {chord}"),
                TypedInput::Text(text) => writeln!(typed, "text {text}"),
                TypedInput::Paste(text) => writeln!(typed, "paste {text}"),
            };
        }
        text.push_str(&typed);
        SentRecord {
            text: Excerpt::visible(&text, SENT).text,
            command: self.program.as_ref().map(|program| program.line.clone()),
            stdin: (!typed.is_empty()).then(|| Excerpt::of_text(&typed, SENT).text),
            ..SentRecord::default()
        }
    }
}

/// Default environment variables that describe the terminal.
const OURS: [(&str, &str); 2] = [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];

fn env(written: &IndexMap<String, String>, variables: &Variables) -> IndexMap<String, String> {
    let filled = written.iter().map(|(name, value)| (name.clone(), variables.fill(value).into_owned()));
    OURS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(filled).collect()
}
