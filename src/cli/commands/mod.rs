//! The commands, a file for each with its `Args` and `run`. A new command is a file here and three lines below: its
//! module, its entry in [`Command`], and its line in [`Command::run`].

mod answer;
mod cassette;
mod check;
mod completions;
mod configure;
mod cost;
mod eject;
mod explain;
mod fmt;
mod gc;
mod graph;
mod kill;
mod limit;
mod lint;
mod log;
mod models;
mod pause;
mod plan;
mod resume;
mod run;
mod runs;
mod show;
mod trust;
mod validate;
mod verbs;
mod which;

use clap::Subcommand;

use crate::cli::app::App;
use crate::cli::error::CommandResult;

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline
    Run(run::Args),
    /// Check which scenarios a program satisfies
    #[command(disable_help_flag = true)]
    Validate(validate::Args),
    /// Check a pipeline for mistakes
    Check(check::Args),
    /// Check scenarios and a specification for errors and likely problems
    Lint(lint::Args),
    /// Format TOML files: one entry a line, aligned, no long inline tables
    Fmt(fmt::Args),
    /// Show what a run would do, without running it
    Plan(plan::Args),
    /// Resume a stopped, interrupted or waiting run
    Resume(resume::Args),
    /// List runs, newest first
    Runs(runs::Args),
    /// Show a run or one of its steps
    Show(show::Args),
    /// Show the cost of a run by model, role and step
    Cost(cost::Args),
    /// Print the journal of a run
    Log(log::Args),
    /// Print the graph of a pipeline
    Graph(graph::Args),
    /// Copy a pipeline with its prompts and schemas, for editing
    Eject(eject::Args),
    /// Show which file a name resolves to, and which files it overrides
    Which(which::Args),
    /// List the verbs: what a step can do
    Verbs(verbs::Args),
    /// List models with their limits and prices
    Models(models::Args),
    /// Show what project files request (secrets, hosts, keys), and allow it
    Trust(trust::Args),
    /// Store the API key of a model provider
    Configure(configure::Args),
    /// Inspect and prune recorded model answers
    Cassette(cassette::Args),
    /// Explain a diagnostic code, a verb, a filter or a cached step
    Explain(explain::Args),
    /// Delete old runs and unreferenced data
    Gc(gc::Args),
    /// Answer a question of a run, and resume the run unless another process is running it
    Answer(answer::Args),
    /// Pause a run in another process after its running steps have finished
    Pause(pause::Args),
    /// Stop a run in another process immediately
    Kill(kill::Args),
    /// Set spending limits of a run, even if another process is running it
    Limit(limit::Args),
    /// Print a shell completion script
    Completions(completions::Args),
}

impl Command {
    /// Runs the command.
    pub fn run(&self, app: &App) -> CommandResult {
        match self {
            Self::Run(args) => run::run(app, args),
            Self::Validate(args) => validate::run(app, args),
            Self::Check(args) => check::run(app, args),
            Self::Lint(args) => lint::run(app, args),
            Self::Fmt(args) => fmt::run(app, args),
            Self::Plan(args) => plan::run(app, args),
            Self::Resume(args) => resume::run(app, args),
            Self::Runs(args) => runs::run(app, args),
            Self::Show(args) => show::run(app, args),
            Self::Cost(args) => cost::run(app, args),
            Self::Log(args) => log::run(app, args),
            Self::Graph(args) => graph::run(app, args),
            Self::Eject(args) => eject::run(app, args),
            Self::Which(args) => which::run(app, args),
            Self::Verbs(args) => verbs::run(app, args),
            Self::Models(args) => models::run(app, args),
            Self::Trust(args) => trust::run(app, args),
            Self::Configure(args) => configure::run(app, args),
            Self::Cassette(args) => cassette::run(app, args),
            Self::Explain(args) => explain::run(app, args),
            Self::Gc(args) => gc::run(app, args),
            Self::Answer(args) => answer::run(app, args),
            Self::Pause(args) => pause::run(app, args),
            Self::Kill(args) => kill::run(app, args),
            Self::Limit(args) => limit::run(app, args),
            Self::Completions(args) => completions::run(app, args),
        }
    }
}
