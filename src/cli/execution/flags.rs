//! Options of every command that executes a run.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::format::Format;
use crate::cli::permissions::PermissionFlags;
use crate::cli::wiring::{self, RunAccess};
use crate::diag::nearest;
use crate::driver::Runtime;
use crate::duration;
use crate::llm::CassetteMode;
use crate::meter::Unit;
use crate::plan::Limit;
use crate::store::Durability;

/// Options that control how a run is executed and shown.
#[derive(Clone, Debug, clap::Args)]
pub struct RunFlags {
    /// Format of the result on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub execution: ExecutionFlags,
}

/// Options that control how a run is executed.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecutionFlags {
    /// Write each event as one line of JSON to this file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Do not prompt: a question takes its default, or the run pauses
    #[arg(long)]
    pub no_input: bool,
    /// Maximum number of concurrent attempts in a lane
    #[arg(long, value_name = "NAME=N", value_parser = lane)]
    pub lane: Vec<(String, usize)>,
    /// Spending limit for a unit, which replaces the limit in the pipeline: `usd=10`
    #[arg(long, value_name = "UNIT=N", value_parser = limit)]
    limit: Vec<(Unit, f64)>,
    /// What a recorded fact survives: a power cut (`full`), or only a crash (`normal`)
    #[arg(long, value_name = "HOW", default_value = "full")]
    pub durability: DurabilityFlag,
    /// How long running steps may continue after Ctrl-C or SIGTERM before they are stopped: `90s`, `5m`
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span)]
    grace: Duration,
    #[command(flatten)]
    pub access: AccessFlags,
}

/// Options for cassettes, the sandbox and permissions.
#[derive(Clone, Debug, clap::Args)]
pub struct AccessFlags {
    /// Record all model answers in this file
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub record: Option<PathBuf>,
    /// Replay model answers from this file, and fail if an answer is missing
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub replay: Option<PathBuf>,
    /// Replay model answers from this file; if one is missing, call the model and record its answer
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub replay_fill: Option<PathBuf>,
    /// With `--record`, record when each piece of an answer arrives; with `--replay`, replay at that speed
    #[arg(long, requires = "cassette")]
    pub timing: bool,
    /// Run services and the commands of agents without a sandbox if none is available
    #[arg(long)]
    pub allow_host: bool,
    #[command(flatten)]
    pub allow: PermissionFlags,
}

impl AccessFlags {
    fn cassette(&self) -> CassetteMode {
        match (&self.record, &self.replay, &self.replay_fill) {
            (Some(path), _, _) => CassetteMode::Record(path.clone()),
            (_, Some(path), _) => CassetteMode::Replay(path.clone()),
            (_, _, Some(path)) => CassetteMode::Fill(path.clone()),
            (None, None, None) => CassetteMode::Off,
        }
    }
}

/// The durability of recorded facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityFlag {
    /// Survives a power cut.
    Full,
    /// Survives a crash of the process.
    Normal,
}

impl ExecutionFlags {
    /// The runtime that executes the run.
    pub fn runtime(&self, app: &App) -> Result<Runtime, CommandError> {
        let durability = match self.durability {
            DurabilityFlag::Full => Durability::Full,
            DurabilityFlag::Normal => Durability::Normal,
        };
        let AccessFlags { timing, allow_host, .. } = self.access;
        let allow = self.access.allow.clone();
        let access = RunAccess { durability, cassette: self.access.cassette(), timing, allow_host, allow };
        let mut runtime = wiring::runtime(&app.settings, &access)?;
        runtime.lanes.extend(self.lane.iter().cloned());
        runtime.caps.extend(self.limit.iter().copied());
        runtime.grace = self.grace;
        Ok(runtime)
    }
}

/// A limit of a unit: `usd=10`.
pub fn limit(text: &str) -> Result<(Unit, f64), String> {
    let wrong = || "write a limit as UNIT=N, e.g. usd=10, tokens=200000, calls=50 or wall=2h".to_owned();
    let (unit, n) = text.split_once('=').ok_or_else(wrong)?;
    let Some(known) = Unit::parse(unit).filter(|unit| Limit::UNITS.contains(unit)) else {
        let near = nearest(unit, Limit::unit_names()).map(|near| format!(": did you mean `{near}`?"));
        return Err(format!(
            "unknown unit `{unit}`{}",
            near.unwrap_or_else(|| format!(", units: {}", Limit::unit_names().join(", ")))
        ));
    };
    let span = || duration::parse(n).ok().filter(|_| known == Unit::Wall).map(|span| span.as_secs_f64());
    let cap = n.parse().ok().or_else(span).filter(|n: &f64| n.is_finite() && *n >= 0.0);
    Ok((known, cap.ok_or_else(wrong)?))
}

fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text)
}

fn lane(text: &str) -> Result<(String, usize), String> {
    let limit = text.split_once('=').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
    limit.filter(|(_, n)| *n > 0).ok_or_else(|| "write a lane as NAME=N, with N of at least 1".to_owned())
}
