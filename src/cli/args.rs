//! What there is to type.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::face::{Color, Face};
use super::{
    Exit, answer, cassette, check, completions, configure, cost, eject, explain, gc, graph, lint, log,
    models, plan, resume, run, runs, show, signal, trust, validate, verbs, which,
};

/// Run pipelines: TOML files that declare steps and their inputs.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = Exit::table(), after_long_help = Exit::table())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    ask: Ask,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Directory of the runs [default: .atoll next to atoll.toml, or in the current directory]
    #[arg(long, global = true, value_name = "DIR", env = "ATOLL_DATA", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Print only results and the last line, no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// Output format of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Run a pipeline
    Run(run::Ask),
    /// Check which scenarios a program satisfies
    #[command(disable_help_flag = true)]
    Validate(validate::Ask),
    /// Check a pipeline for mistakes
    Check(check::Ask),
    /// Check scenarios and a specification for errors and likely problems
    Lint(lint::Ask),
    /// Show what a run would do, without running it
    Plan(plan::Ask),
    /// Resume a stopped, interrupted or waiting run
    Resume(resume::Ask),
    /// List runs, newest first
    Runs(runs::Ask),
    /// Show a run or one of its steps
    Show(show::Ask),
    /// Show the cost of a run by model, role and step
    Cost(cost::Ask),
    /// Print the journal of a run
    Log(log::Ask),
    /// Print the graph of a pipeline
    Graph(graph::Ask),
    /// Copy a pipeline with its prompts and schemas, for editing
    Eject(eject::Ask),
    /// Show which file a name resolves to, and which files it overrides
    Which(which::Ask),
    /// List the verbs: what a step can do
    Verbs(verbs::Ask),
    /// List models with their limits and prices
    Models(models::Ask),
    /// Show what project files request (secrets, hosts, keys), and allow it
    Trust(trust::Request),
    /// Store the API key of a model provider
    Configure(configure::Ask),
    /// Inspect and prune recorded model answers
    Cassette(cassette::Ask),
    /// Explain a diagnostic code, a verb, a filter or a cached step
    Explain(explain::Ask),
    /// Delete old runs and unreferenced data
    Gc(gc::Ask),
    /// Answer a question of a run, and resume the run unless another process is running it
    Answer(answer::Ask),
    /// Pause a run in another process after its running steps have finished
    Pause(signal::PauseAsk),
    /// Stop a run in another process immediately
    Kill(signal::KillAsk),
    /// Set spending limits of a run, even if another process is running it
    Limit(signal::LimitAsk),
    /// Print a shell completion script
    Completions(completions::Ask),
}

/// The whole command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the arguments. What stands behind the name of a pipeline in `run` and `plan` is looked at only once the
/// pipeline is known.
pub fn parse(arguments: &[OsString]) -> Result<(Common, Ask), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli.common, cli.ask))
}

/// Tells what is wrong with the arguments, or the help that was asked for.
pub fn tell(error: &clap::Error) -> Exit {
    let face = Face::find(Color::Auto, false);
    let to_out = !error.use_stderr();
    let text = error.render();
    let colored = if to_out { face.out } else { face.err }.is_on();
    let text = if colored { text.ansi().to_string() } else { text.to_string() };
    if !to_out {
        face.say(&text);
        return Exit::USAGE;
    }
    if let Err(stop) = face.print_line(&text) {
        face.complain(&stop);
        return Exit::FAILED;
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::REACHED,
        _ => Exit::USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
        let help = command().render_help().to_string();
        assert!(help.contains("Exit codes:") && help.contains("70  a fault of Atoll"), "{help}");
    }
}
