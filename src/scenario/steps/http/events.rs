//! Parser for server-sent events, by the rules of the HTML standard. Memory is bounded: long events are cut.

use regex::Regex;
use serde_json::json;

use crate::scenario::values::json as written;
use crate::value::Value;

/// Most bytes of one line or event.
const LONGEST: usize = 256 << 10;

/// Most events that are kept, and most bytes of their data; later ones are counted.
const MOST: usize = 1_000;
const BYTES: usize = 768 << 10;

/// Parses bytes into events.
#[derive(Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_return: bool,
    begun: bool,
    event: String,
    data: String,
    id: String,
    has_data: bool,
    events: Vec<Value>,
    bytes: usize,
    count: u64,
}

impl SseParser {
    /// Adds bytes. Returns true when `until` matches the data of an event, or when there are `most` events.
    pub fn push(&mut self, bytes: &[u8], most: Option<u64>, until: Option<&Regex>) -> bool {
        for byte in bytes {
            let whole = match byte {
                b'\n' if self.after_return => false,
                b'\n' | b'\r' => true,
                byte => {
                    if self.line.len() < LONGEST {
                        self.line.push(*byte);
                    }
                    false
                }
            };
            self.after_return = *byte == b'\r';
            if whole && self.end_of_line(until) || most.is_some_and(|most| self.count >= most) {
                return true;
            }
        }
        false
    }

    /// Number of events.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The kept events: `{event, id, data}`.
    pub fn into_events(self) -> Vec<Value> {
        self.events
    }

    /// Ends a line. Returns whether it completed an event that `until` matches.
    fn end_of_line(&mut self, until: Option<&Regex>) -> bool {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let line = if self.begun { line.as_str() } else { line.trim_start_matches('\u{FEFF}') };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch(until);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "data" => {
                if self.has_data && self.data.len() < LONGEST {
                    self.data.push('\n');
                }
                self.has_data = true;
                if self.data.len() < LONGEST {
                    self.data.push_str(value);
                }
            }
            _ => {}
        }
        false
    }

    fn dispatch(&mut self, until: Option<&Regex>) -> bool {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return false;
        }
        self.count += 1;
        let found = until.is_some_and(|until| until.is_match(&data));
        let fits = self.bytes + data.len() <= BYTES || self.events.is_empty();
        if fits && self.events.len() < MOST {
            self.bytes += data.len();
            let data = written::parse_part(&data).unwrap_or(Value::String(data));
            let event = if event.is_empty() { "message" } else { &event };
            let id = (!self.id.is_empty()).then_some(&self.id);
            self.events.push(json!({ "event": event, "id": id, "data": data }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let wire = "\u{FEFF}: hello\r\nevent: tick\r\nid: 7\r\ndata: {\"n\": 1}\r\n\r\ndata:a\rdata: b\n\nevent: empty\n\ndata: end";
        for size in [1, 2, 3, 100] {
            let mut stream = SseParser::default();
            for piece in wire.as_bytes().chunks(size) {
                assert!(!stream.push(piece, None, None));
            }
            assert_eq!(
                stream.into_events(),
                [
                    json!({"event": "tick", "id": "7", "data": {"n": 1}}),
                    json!({"event": "message", "id": "7", "data": "a\nb"})
                ]
            );
        }
    }

    #[test]
    fn enough_is_enough_and_a_flood_is_bounded() {
        let wire = "data: 1\n\n".repeat(5_000);
        let mut stream = SseParser::default();
        assert!(stream.push(wire.as_bytes(), Some(3), None));
        assert_eq!(stream.count(), 3);
        let mut stream = SseParser::default();
        assert!(stream.push(b"data: x\n\ndata: done\n\n", None, Some(&Regex::new("^done").unwrap())));
        let mut stream = SseParser::default();
        assert!(!stream.push(wire.as_bytes(), None, None));
        stream.push(&vec![b'x'; 10 << 20], None, None);
        assert_eq!((stream.count(), stream.line.len()), (5_000, LONGEST));
        assert_eq!(stream.into_events().len(), MOST);
    }
}
