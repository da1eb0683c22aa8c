//! `atoll cost RUN`: what a run has spent, by model, role, step and round.

use clap::Args;
use serde_json::{Value, json};

use super::args::Format;
use super::past::Past;
use super::{Desk, Done, Exit};
use crate::report::ledger;
use crate::view::Ledger;

/// `atoll cost`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Shows.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let past = Past::find(desk, &ask.run)?;
    let mut costs = Ledger::new();
    past.read(|_, record| costs.apply_record(&record))?;
    match ask.format {
        Format::Json => {
            let mut object = ledger::json(&costs);
            object.insert("version".to_owned(), json!(1));
            object.insert("run".to_owned(), json!(past.run()));
            desk.face.print_json(&Value::Object(object))?;
        }
        Format::Text => desk.face.print(&ledger::text(&costs, desk.face.out))?,
    }
    Ok(Exit::REACHED)
}
