//! `atoll completions SHELL`: prints a completion script.

use clap_complete::Shell;

use crate::cli::app::App;
use crate::cli::command_line;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;

/// `atoll completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line::command(), "atoll", &mut script);
    app.terminal.print_raw(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::REACHED)
}
