//! `atoll cost RUN`: the spending of a run, by model, role, step and round.

use serde_json::{Value, json};

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::stored_run::StoredRun;
use crate::report::ledger;
use crate::view::Ledger;

/// `atoll cost`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Shows.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let stored = StoredRun::find(app, &args.run)?;
    let mut costs = Ledger::new();
    stored.read(|_, record| costs.apply_record(&record))?;
    let json = || {
        let mut object = ledger::json(&costs);
        object.insert("version".to_owned(), json!(1));
        object.insert("run".to_owned(), json!(stored.run()));
        Value::Object(object)
    };
    args.format.print(app.terminal, json, || ledger::text(&costs, app.terminal.out))?;
    Ok(ExitStatus::REACHED)
}
