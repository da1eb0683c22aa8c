//! The destinations of output: results go to standard output, everything else to standard error. Only this
//! module accesses the terminal.
#![expect(clippy::disallowed_methods, reason = "the door to the terminal and its settings")]

pub mod keyboard;
pub mod password_input;
pub mod prompt;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::cli::error::CommandError;
use crate::report::Paint;
use crate::value::Value;
use crate::visible;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The terminal and the pipes of this process.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Colours of standard output.
    pub out: Paint,
    /// Colours of standard error.
    pub err: Paint,
    /// Whether progress can be drawn in place.
    pub live: bool,
    /// Whether a person can answer.
    pub person: bool,
    /// Whether progress is displayed at all.
    pub quiet: bool,
}

impl Terminal {
    /// Detects the connections of the process.
    pub fn find(color: Color, quiet: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let plain = set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let paint = |terminal: bool| match color {
            Color::Auto => Paint::new(terminal && !plain),
            Color::Always => Paint::new(true),
            Color::Never => Paint::PLAIN,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false" && ci != "0");
        Self {
            out: paint(out),
            err: paint(err),
            live: err && !ci && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            person: err && io::stdin().is_terminal() && !ci,
            quiet,
        }
    }

    /// Writes a text for people to standard output. Escapes in it cannot control a terminal or a CI system.
    pub fn print(self, text: &str) -> Result<(), CommandError> {
        self.print_raw(&visible::terminal(text, self.out.is_on()))
    }

    /// Writes output for machines unchanged to standard output: it is already escaped. A reader that has gone
    /// away is not an error.
    #[expect(clippy::unused_self, reason = "only a terminal writes")]
    pub fn print_raw(self, text: &str) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CommandError::failed(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes a result and a line break, unless the text ends in one.
    pub fn print_line(self, text: &str) -> Result<(), CommandError> {
        self.print(&ended(text))
    }

    /// The same for output for machines.
    pub fn print_raw_line(self, text: &str) -> Result<(), CommandError> {
        self.print_raw(&ended(text))
    }

    /// Writes a result as JSON, indented, with a line break.
    pub fn print_json(self, value: &Value) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value).map_err(CommandError::failed)?;
        self.print_raw(&visible::json(text + "\n"))
    }

    /// Prints a text on standard error.
    pub fn say(self, text: &str) {
        // If the reader is gone, nothing can be done.
        let _ = writeln!(io::stderr().lock(), "{}", visible::terminal(text.trim_end(), self.err.is_on()));
    }

    /// Prints why a command ended early.
    pub fn complain(self, stop: &CommandError) {
        let Some(message) = &stop.message else { return };
        self.say(&format!("{} {}", self.err.bad("error:"), visible::hanging(message, "  ")));
        if let Some(hint) = &stop.hint {
            self.say(&format!("  {}", visible::hanging(hint, "  ")));
        }
    }
}

fn ended(text: &str) -> String {
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    format!("{text}{end}")
}
