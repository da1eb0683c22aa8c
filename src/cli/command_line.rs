//! The command line as clap reads it: global options, the command, and messages about wrong usage.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::cli::commands::Command;
use crate::cli::exit::ExitStatus;
use crate::cli::terminal::{Color, Terminal};

/// Run pipelines: TOML files that declare steps and their inputs.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = ExitStatus::table(), after_long_help = ExitStatus::table())]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct GlobalArgs {
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

/// The whole command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments. The words after the name of a pipeline in `run` and `plan` are parsed once the pipeline is
/// loaded.
pub fn parse(arguments: &[OsString]) -> Result<(GlobalArgs, Command), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli.global, cli.command))
}

/// Prints what is wrong with the arguments, or the help that was requested.
pub fn report_usage(error: &clap::Error) -> ExitStatus {
    let terminal = Terminal::find(Color::Auto, false);
    let to_out = !error.use_stderr();
    let text = error.render();
    let colored = if to_out { terminal.out } else { terminal.err }.is_on();
    let text = if colored { text.ansi().to_string() } else { text.to_string() };
    if !to_out {
        terminal.say(&text);
        return ExitStatus::USAGE;
    }
    if let Err(unwritable) = terminal.print_line(&text) {
        terminal.complain(&unwritable);
        return ExitStatus::FAILED;
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitStatus::REACHED,
        _ => ExitStatus::USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
        let help = command().render_help().to_string();
        assert!(help.contains("Exit codes:") && help.contains("70  a bug in Atoll"), "{help}");
    }
}
