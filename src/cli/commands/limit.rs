//! `atoll limit RUN UNIT=N`: sets spending limits of a run, even if another process is executing it.

use indexmap::IndexMap;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::execution::flags::limit;
use crate::cli::execution::send_signal::{send, signal};
use crate::cli::stored_run::StoredRun;
use crate::id::Address;
use crate::meter::Unit;

/// `atoll limit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Spending limit for a unit: `usd=10`
    #[arg(value_name = "UNIT=N", value_parser = limit, required = true)]
    limits: Vec<(Unit, f64)>,
}

/// Sets limits of a run.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let stored = StoredRun::find(app, &args.run)?;
    let caps: IndexMap<Unit, f64> = args.limits.iter().copied().collect();
    if stored.head.finished_at.is_some() {
        return Err(CommandError::usage(format!("run {} has ended", stored.run())));
    }
    let signal = signal(stored.run(), Address::root(), None, ("limit", json!(caps)));
    let words: Vec<String> = args.limits.iter().map(|(unit, cap)| format!("{unit}={cap}")).collect();
    send(app, stored.owner()?.is_some(), &signal, &format!("limits set: {}", words.join(", ")))
}
