//! `atoll log RUN`: the journal of a run.

use std::fmt::Write as _;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::stored_run::StoredRun;
use crate::engine::Record;
use crate::report::jsonl;
use crate::report::units::{moment, one_line};

const WIDTH: usize = 160;
const CHUNK: usize = 64 * 1024;

/// `atoll log`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Print only facts at and inside this address
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Format of the facts: one line of text or one JSON object per fact
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Prints the journal.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let stored = StoredRun::find(app, &args.run)?;
    let mut text = Vec::new();
    let mut printed = Ok(());
    stored.read(|seq, record| {
        if printed.is_err()
            || !args.address.as_ref().is_none_or(|at| is_at_or_inside(record.address.as_str(), at))
        {
            return;
        }
        if args.format.is_text() {
            text.extend(line(seq, &record).into_bytes());
        } else {
            // Writing to memory does not fail.
            drop(jsonl::write_record(&mut text, stored.run(), seq, &record));
        }
        if text.len() > CHUNK {
            printed = write(app, args.format, &text);
            text.clear();
        }
    })?;
    printed?;
    write(app, args.format, &text)?;
    Ok(ExitStatus::REACHED)
}

fn write(app: &App, format: Format, text: &[u8]) -> Result<(), CommandError> {
    let text = String::from_utf8_lossy(text);
    if format.is_text() { app.terminal.print(&text) } else { app.terminal.print_raw(&text) }
}

fn is_at_or_inside(address: &str, place: &str) -> bool {
    let place = place.trim_end_matches('/');
    address.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '#', '[']))
}

fn line(seq: u64, record: &Record) -> String {
    let mut body = serde_json::to_value(&record.fact).unwrap_or_default();
    if let Some(table) = body.as_object_mut() {
        table.shift_remove("fact");
    }
    let body = if body.as_object().is_some_and(serde_json::Map::is_empty) {
        String::new()
    } else {
        body.to_string()
    };
    let address = if record.address.as_str().is_empty() { "." } else { record.address.as_str() };
    let attempt = if record.attempt > 0 { format!(" ({})", record.attempt) } else { String::new() };
    let mut text = String::new();
    let head = format!("{seq:>6}  {}  {address}{attempt}  {}  ", moment(record.at), record.fact.word());
    let _ = writeln!(text, "{}", (head + &one_line(&body, WIDTH)).trim_end());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_in_its_rounds_and_steps_but_no_namesakes() {
        assert!(is_at_or_inside("converge#3/judge[7]", "converge"));
        assert!(is_at_or_inside("converge#3/judge[7]", "converge#3/"));
        assert!(is_at_or_inside("converge", "converge"));
        assert!(!is_at_or_inside("converged", "converge"));
        assert!(!is_at_or_inside("converge#31/x", "converge#3"));
    }
}
