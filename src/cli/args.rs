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

/// Runs pipelines: TOML files that say which steps there are and what each one reads.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = Exit::table(), after_long_help = Exit::table())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    ask: Ask,
}

/// What may be said with every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Where runs are kept [default: .atoll beside atoll.toml, or here]
    #[arg(long, global = true, value_name = "DIR", env = "ATOLL_DATA", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// No progress, only results and the last line
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object for machines.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Run a pipeline
    Run(run::Ask),
    /// Say which scenarios a program satisfies
    #[command(disable_help_flag = true)]
    Validate(validate::Ask),
    /// Look for mistakes in a pipeline
    Check(check::Ask),
    /// Say what is wrong with scenarios and a specification, or will be
    Lint(lint::Ask),
    /// Show what a run would do, without doing it
    Plan(plan::Ask),
    /// Go on with a run that was stopped, cut off, or waits
    Resume(resume::Ask),
    /// List runs, newest first
    Runs(runs::Ask),
    /// Show a run, or one step of it
    Show(show::Ask),
    /// Say what a run has spent, on what
    Cost(cost::Ask),
    /// Print the journal of a run
    Log(log::Ask),
    /// Draw a pipeline
    Graph(graph::Ask),
    /// Copy a pipeline with its prompts and schemas, for editing
    Eject(eject::Ask),
    /// Say which file wins for a name, and which it hides
    Which(which::Ask),
    /// List what a step can do
    Verbs(verbs::Ask),
    /// List models with their limits and prices
    Models(models::Ask),
    /// Show what files of a project ask for, and allow it
    Trust(trust::Request),
    /// Keep the key of a model provider
    Configure(configure::Ask),
    /// Look at recorded answers of models
    Cassette(cassette::Ask),
    /// Explain a diagnostic code, a verb or a filter
    Explain(explain::Ask),
    /// Remove old runs and what nothing refers to any more
    Gc(gc::Ask),
    /// Answer a question of a run, and continue the run unless another process does
    Answer(answer::Ask),
    /// Pause a run in another process once its running steps have finished
    Pause(signal::PauseAsk),
    /// Stop a run in another process at once
    Kill(signal::KillAsk),
    /// Set limits of a run, also of one in another process
    Limit(signal::LimitAsk),
    /// Print a completion script
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
