//! `atoll completions SHELL`: prints a completion script.

use clap::Args;
use clap_complete::Shell;

use super::{Desk, Done, Exit, args};

/// `atoll completions`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(ask.shell, &mut args::command(), "atoll", &mut script);
    desk.face.print_raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::REACHED)
}
