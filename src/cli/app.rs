//! The context of a command.

use std::ffi::OsString;

use crate::cli::project::settings::Settings;
use crate::cli::terminal::Terminal;

/// One start of the program: what every command receives.
pub struct App {
    /// The project and its settings.
    pub settings: Settings,
    /// Standard output, standard error, and the keyboard.
    pub terminal: Terminal,
    /// Arguments of the command line, the name of the program first.
    pub arguments: Vec<OsString>,
}
