//! The command line: from arguments to a typed request, one file per command, and back to an exit code. It
//! must not depend on how a pipeline is resolved or a run is executed; it joins the parts. Start with
//! `commands/mod.rs`, the list of commands, then `wiring/mod.rs` for how the parts are joined.

mod app;
mod cache_key;
mod command_line;
mod commands;
mod dynamic_args;
mod error;
mod evidence;
mod execution;
mod exit;
mod format;
mod loading;
mod permissions;
mod project;
mod stored_run;
mod terminal;
mod wiring;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use app::App;
use exit::ExitStatus;
use project::settings::Settings;
use terminal::{Color, Terminal};

/// Runs the command in the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let exit = catch_unwind(AssertUnwindSafe(|| run(arguments))).unwrap_or_else(|_| {
        Terminal::find(Color::Auto, false)
            .say("this is a bug in Atoll: please report it with the lines above");
        ExitStatus::BUG
    });
    exit.into()
}

fn run(arguments: Vec<OsString>) -> ExitStatus {
    let (global, command) = match command_line::parse(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return command_line::report_usage(&error),
    };
    let terminal = Terminal::find(global.color, global.quiet);
    let settings = Settings::find(global.data_dir.as_deref());
    let result = settings.and_then(|settings| command.run(&App { settings, terminal, arguments }));
    result.unwrap_or_else(|error| {
        terminal.complain(&error);
        error.exit
    })
}
