//! `atoll log RUN`: the journal of a run.

use std::fmt::Write as _;

use clap::Args;

use super::args::Format;
use super::past::Past;
use super::{Desk, Done, Exit, Stop};
use crate::engine::Record;
use crate::report::jsonl;
use crate::report::units::{moment, one_line};

const WIDTH: usize = 160;
const CHUNK: usize = 64 * 1024;

/// `atoll log`.
#[derive(Debug, Args)]
pub struct Ask {
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
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let past = Past::find(desk, &ask.run)?;
    let mut text = Vec::new();
    let mut printed = Ok(());
    past.read(|seq, record| {
        if printed.is_err()
            || !ask.address.as_ref().is_none_or(|at| is_at_or_inside(record.address.as_str(), at))
        {
            return;
        }
        match ask.format {
            // Writing to memory does not fail.
            Format::Json => drop(jsonl::write_record(&mut text, past.run(), seq, &record)),
            Format::Text => text.extend(line(seq, &record).into_bytes()),
        }
        if text.len() > CHUNK {
            printed = write(desk, ask.format, &text);
            text.clear();
        }
    })?;
    printed?;
    write(desk, ask.format, &text)?;
    Ok(Exit::REACHED)
}

fn write(desk: &Desk, format: Format, text: &[u8]) -> Result<(), Stop> {
    let text = String::from_utf8_lossy(text);
    match format {
        Format::Json => desk.face.print_raw(&text),
        Format::Text => desk.face.print(&text),
    }
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
