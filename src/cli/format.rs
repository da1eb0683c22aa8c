//! Output formats. A new format is added here: its name on the command line, and how it writes a result.
//! Commands pass their result to it and are independent of the formats.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::error::CommandError;
use crate::cli::terminal::Terminal;
use crate::diag::{Diagnostic, SourceMap};
use crate::plan::Plan;
use crate::report::outcome::RunEnding;
use crate::report::units::rfc3339;
use crate::report::validation::{self, Validation};
use crate::report::{Paint, diagnostics, graph};
use crate::value::Value;
use crate::visible;

/// Format of the result of most commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    /// Whether it is for people. Other formats are for programs, which need every part of a result.
    pub fn is_text(self) -> bool {
        self == Self::Text
    }

    /// Writes a result to standard output: `json` is its object, `text` is for people.
    pub fn print(
        self,
        terminal: Terminal,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match self {
            Self::Text => terminal.print(&text()),
            Self::Json => terminal.print_json(&json()),
        }
    }
}

/// Format of diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiagnosticsFormat {
    /// Text with the source lines, the wrong part underlined.
    Text,
    /// One JSON object: `{version, diagnostics[]}`.
    Json,
    /// SARIF, for code scanners.
    Sarif,
    /// GitHub Actions annotations.
    Github,
}

impl DiagnosticsFormat {
    /// Writes the diagnostics about `what` to standard output.
    pub fn print(
        self,
        terminal: Terminal,
        what: &str,
        found: &[Diagnostic],
        sources: &SourceMap,
    ) -> Result<(), CommandError> {
        if found.is_empty() {
            terminal.say(&format!("{what}: no mistakes found"));
        }
        match self {
            Self::Text if found.is_empty() => Ok(()),
            Self::Text => {
                terminal.print_line(&diagnostics::render_text(found, sources, terminal.out.is_on()))
            }
            Self::Json => terminal.print_raw_line(&diagnostics::render_json(found, sources)),
            Self::Sarif => terminal.print_raw_line(&diagnostics::render_sarif(found, sources)),
            Self::Github => terminal.print_raw_line(&diagnostics::render_github(found, sources)),
        }
    }
}

/// Format of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, for Markdown.
    Mermaid,
    /// Graphviz.
    Dot,
    /// Steps and edges as a JSON object.
    Json,
}

impl GraphFormat {
    /// Writes the graph of `plan` to standard output.
    pub fn print(self, terminal: Terminal, plan: &Plan) -> Result<(), CommandError> {
        match self {
            Self::Mermaid => terminal.print_line(&graph::mermaid(plan)),
            Self::Dot => terminal.print_line(&graph::dot(plan)),
            Self::Json => terminal.print_json(&graph::json(plan)),
        }
    }
}

/// Format of the report of a validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Text for people.
    Text,
    /// One JSON object.
    Json,
    /// JUnit XML, for the test reports of CI systems.
    Junit,
    /// GitHub Actions annotations.
    Github,
}

impl ReportFormat {
    /// Parses `FORMAT=FILE`.
    pub fn with_file(text: &str) -> Result<(Self, PathBuf), String> {
        let (format, file) = text.split_once('=').ok_or("write FORMAT=FILE, for example junit=report.xml")?;
        let format = Self::from_str(format, false)
            .map_err(|_| format!("unknown format `{format}`: text, json, junit or github"))?;
        if file.is_empty() { Err("the file is missing".to_owned()) } else { Ok((format, file.into())) }
    }

    /// Whether it is for people.
    pub fn is_text(self) -> bool {
        self == Self::Text
    }

    /// The report as text; `None` if this format has none for a run without results.
    pub fn render(
        self,
        found: Option<&Validation>,
        ending: &RunEnding<'_>,
        paint: Paint,
    ) -> Result<Option<String>, CommandError> {
        let text = match (self, found) {
            (Self::Json, _) => {
                let text = serde_json::to_string_pretty(&validation::render_json(ending));
                visible::json(text.map_err(|e| CommandError::failed(e.to_string()))?)
            }
            (_, None) => return Ok(None),
            (Self::Text, Some(found)) => validation::render_text(found, paint),
            (Self::Junit, Some(found)) => {
                let at = ending.board.started_at.map(rfc3339);
                validation::render_junit(found, at.as_deref()).map_err(CommandError::failed)?
            }
            (Self::Github, Some(found)) => validation::render_github(found),
        };
        Ok(Some(text))
    }

    /// Writes a rendered report to standard output.
    pub fn print(self, terminal: Terminal, report: &str) -> Result<(), CommandError> {
        match self {
            Self::Text | Self::Junit => terminal.print_line(report),
            Self::Json | Self::Github => terminal.print_raw_line(report),
        }
    }

    /// Writes errors in the inputs to standard output, if this format can. Returns the format in which they
    /// are reported as well.
    pub fn print_mistakes(
        self,
        terminal: Terminal,
        found: &[Diagnostic],
        sources: &SourceMap,
    ) -> Result<Format, CommandError> {
        match self {
            Self::Json => Ok(Format::Json),
            Self::Text | Self::Junit => Ok(Format::Text),
            Self::Github => {
                terminal.print_raw(&diagnostics::render_github(found, sources))?;
                Ok(Format::Text)
            }
        }
    }
}
