//! The event stream as JSON lines: facts as `{run, seq, at, address, attempt, fact, …}`, and progress
//! messages of steps as `{run, address, attempt, note, …}`. `at` is in milliseconds since the Unix epoch.

use std::io::{self, Write};

use serde::Serialize;

use crate::clock::Millis;
use crate::driver::Event;
use crate::engine::{Fact, Record};
use crate::id::{Address, RunId};
use crate::verb::Note;
use crate::visible;

#[derive(Serialize)]
struct FactLine<'a> {
    run: &'a RunId,
    seq: u64,
    at: Millis,
    address: &'a Address,
    attempt: u32,
    #[serde(flatten)]
    fact: &'a Fact,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    run: &'a RunId,
    address: &'a Address,
    attempt: u32,
    #[serde(flatten)]
    note: &'a Note,
}

/// Writes one event and a line break.
pub fn write(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    match event {
        Event::Fact { run, seq, record } => write_record(out, run, *seq, record),
        Event::Past { .. } => Ok(()),
        Event::Note { run, address, attempt, note } => {
            line(out, &NoteLine { run, address, attempt: *attempt, note })
        }
    }
}

/// Writes one line of a journal and a line break.
pub fn write_record(out: &mut dyn Write, run: &RunId, seq: u64, record: &Record) -> io::Result<()> {
    let Record { at, address, attempt, fact } = record;
    line(out, &FactLine { run, seq, at: *at, address, attempt: *attempt, fact })
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let text = visible::json(serde_json::to_string(value)? + "\n");
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Payload;
    use crate::meter::Meter;

    fn text(event: &Event) -> String {
        let mut out = Vec::new();
        write(&mut out, event).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_flat() {
        let run = RunId::new("01run");
        let address = Address::new("a");
        let fact = Fact::Succeeded { output: Payload::value(3.into()), spent: Meter::new(), cached: false };
        let record = Arc::new(Record { at: 7, address: address.clone(), attempt: 2, fact });
        assert_eq!(
            text(&Event::Fact { run: run.clone(), seq: 5, record }),
            r#"{"run":"01run","seq":5,"at":7,"address":"a","attempt":2,"fact":"succeeded","output":{"value":3}}"#
                .to_owned()
                + "\n"
        );
        let record = Arc::new(Record { at: 7, address: address.clone(), attempt: 0, fact: Fact::Resumed });
        assert!(text(&Event::Fact { run: run.clone(), seq: 6, record }).contains(r#""fact":"resumed"}"#));
        let note = Note::Line { text: "hi".into() };
        assert_eq!(
            text(&Event::Note { run, address, attempt: 1, note }),
            "{\"run\":\"01run\",\"address\":\"a\",\"attempt\":1,\"note\":\"line\",\"text\":\"hi\"}\n"
        );
    }
}
