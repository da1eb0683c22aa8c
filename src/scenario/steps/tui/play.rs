use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use regex::Regex;

use super::chord::Chord;
use super::escape;
use super::session::{Limit, Session, Work};
use super::{Tui, WaitFor};
use crate::clock::Clock;
use crate::scenario::answer::Answer;
use crate::scenario::answer::Outcome;
use crate::scenario::answer::Sent;
use crate::scenario::checks::assert::Sight;
use crate::scenario::ports::{Program, Shell, TerminalSize};
use crate::scenario::steps::{Settings, Stage, StepRunner};
use crate::scenario::values::{Excerpt, Variables};

/// Longest text in a record of what was sent, in bytes.
const SENT: usize = 8 << 10;

/// What the `tui` steps of one scenario share: the program that was started last.
#[derive(Default)]
pub struct TuiRunner {
    session: Option<Session>,
}

impl StepRunner for TuiRunner {
    fn new(_: &Settings) -> Self {
        Self::default()
    }

    /// Ends the program, and waits until it is gone.
    fn end(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(session) = self.session {
                session.end().await;
            }
        })
    }
}

impl TuiRunner {
    /// Plays one step, for at most `left` where a retry limits it.
    pub async fn play(
        &mut self,
        step: &Tui,
        stage: &Stage<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> (Option<Sent>, Outcome) {
        let Some(shell) = stage.shell else {
            return (None, Outcome::error("there is no service to run it in"));
        };
        let act = match Act::new(step, variables) {
            Ok(act) => act,
            Err(reason) => return (None, Outcome::error(reason)),
        };
        let span = left.map_or(step.timeout.0, |left| left.min(step.timeout.0));
        let mut limit = Limit::new(span, stage.clock);
        (Some(act.sent()), self.perform(act, shell, stage.clock, &mut limit).await)
    }

    async fn perform(
        &mut self,
        act: Act,
        shell: &dyn Shell,
        clock: &dyn Clock,
        limit: &mut Limit,
    ) -> Outcome {
        let begins = act.program.is_some();
        if let Some(program) = act.program.clone() {
            if let Some(session) = self.session.take() {
                session.end().await;
            }
            match Session::open(program, shell, limit).await {
                Ok(session) => self.session = Some(session),
                Err(reason) => return Outcome::error(reason),
            }
        }
        let Some(session) = &mut self.session else {
            return Outcome::error(
                "no program has been started: give a `command` in this step or an earlier one",
            );
        };
        let work = Work { act: &act, clock, limit, shell };
        let (told, error) = session.work(begins, work).await;
        Outcome { answer: Some(Answer::Told(Box::new(told))), error }
    }
}

/// What a step does, variables filled in.
pub struct Act {
    /// What is started.
    pub program: Option<Program>,
    /// The size of the terminal from now on.
    pub size: Option<TerminalSize>,
    /// What is typed, in order.
    pub input: Vec<Input>,
    /// What has to be seen.
    pub wait: Option<Wait>,
    /// Whether the program has to end.
    pub wait_exit: bool,
    /// For how long nothing may come.
    pub settle: Duration,
    /// Whether colours and attributes are told.
    pub styles: bool,
}

/// One thing that is typed.
pub enum Input {
    /// A key.
    Key(Chord),
    /// Text as it is.
    Text(String),
    /// Text from elsewhere.
    Paste(String),
}

/// What has to be seen on the screen.
pub enum Wait {
    /// This text.
    Text(String),
    /// Something that this finds.
    Matches(Regex),
    /// This text no longer.
    Gone(String),
}

impl Wait {
    fn new(wait: &WaitFor, variables: &Variables) -> Result<Self, String> {
        Ok(match wait {
            WaitFor::Text(text) => Self::Text(variables.fill(text).into_owned()),
            WaitFor::Gone(text) => Self::Gone(variables.fill(text).into_owned()),
            WaitFor::Matches(pattern) => {
                let pattern = variables.fill_pattern(pattern);
                Self::Matches(Regex::new(&pattern).map_err(|e| format!("no pattern: {e}"))?)
            }
        })
    }

    /// Whether the screen shows it.
    pub fn is_met(&self, screen: &str) -> bool {
        match self {
            Self::Text(text) => shows(screen, text),
            Self::Matches(pattern) => pattern.is_match(screen),
            Self::Gone(text) => !shows(screen, text),
        }
    }
}

/// Whether a person who looks at the screen sees this text.
fn shows(screen: &str, text: &str) -> bool {
    screen.contains(text) || Sight::Screen.seen(screen).contains(&Sight::Screen.seen(text))
}

impl Act {
    fn new(step: &Tui, variables: &Variables) -> Result<Self, String> {
        let mut input = Vec::new();
        for key in &step.send_keys {
            input.push(Input::Key(Chord::parse(&variables.fill(key))?));
        }
        input.extend(escape::apart(&variables.fill(&step.send_text)).into_iter().map(Input::Text));
        if !step.paste.is_empty() {
            input.push(Input::Paste(variables.fill(&step.paste).into_owned()));
        }
        Ok(Self {
            program: step.command.as_ref().map(|line| Program {
                line: variables.fill(line).into_owned(),
                env: env(&step.env, variables),
                size: step.size.unwrap_or_default(),
            }),
            size: step.size,
            input,
            wait: step.wait_for.as_ref().map(|wait| Wait::new(wait, variables)).transpose()?,
            wait_exit: step.wait_exit,
            settle: step.settle.0,
            styles: step.styles,
        })
    }

    /// What is recorded of it.
    fn sent(&self) -> Sent {
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
                Input::Key(chord) => writeln!(typed, "key {chord}"),
                Input::Text(text) => writeln!(typed, "text {text}"),
                Input::Paste(text) => writeln!(typed, "paste {text}"),
            };
        }
        text.push_str(&typed);
        Sent {
            text: Excerpt::visible(&text, SENT).text,
            command: self.program.as_ref().map(|program| program.line.clone()),
            stdin: (!typed.is_empty()).then(|| Excerpt::of_text(&typed, SENT).text),
            ..Sent::default()
        }
    }
}

/// What programs are told about the terminal unless the step says otherwise.
const OURS: [(&str, &str); 2] = [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];

fn env(written: &IndexMap<String, String>, variables: &Variables) -> IndexMap<String, String> {
    let filled = written.iter().map(|(name, value)| (name.clone(), variables.fill(value).into_owned()));
    OURS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(filled).collect()
}
