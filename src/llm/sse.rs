//! Parser for server-sent events and JSON Lines.

/// Most bytes of one event.
const LIMIT: usize = 16 << 20;

/// Byte order mark, which some servers send.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Received bytes of an incomplete event.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of what came in")]
#[derive(Default)]
pub(super) struct EventBuffer {
    line: Vec<u8>,
    data: String,
    /// Whether the event has the name `error`.
    failed: bool,
    begun: bool,
    after_cr: bool,
    /// Whether every line is an event.
    plain: bool,
}

/// A complete event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerEvent {
    /// Data.
    pub(super) data: String,
    /// Whether it has the name `error`.
    pub(super) failed: bool,
}

/// An event that grew beyond [`LIMIT`].
#[derive(Debug)]
pub(super) struct TooLong;

impl EventBuffer {
    /// A buffer for JSON Lines.
    pub(super) fn of_lines() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// Adds `bytes`; returns completed events. Lines may end in LF, CR or CRLF.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let lf_of_crlf = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            match byte {
                _ if lf_of_crlf => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => self.line.push(byte),
            }
        }
        if self.line.len() + self.data.len() > LIMIT { Err(TooLong) } else { Ok(events) }
    }

    /// The event that is completed by the end of the stream, for servers that omit the last blank line.
    pub(super) fn end(&mut self) -> Option<ServerEvent> {
        self.end_of_line().or_else(|| self.end_of_line())
    }

    fn end_of_line(&mut self) -> Option<ServerEvent> {
        let line = std::mem::take(&mut self.line);
        let begun = std::mem::replace(&mut self.begun, true);
        let line = line.strip_prefix(BOM).filter(|_| !begun).unwrap_or(&line);
        if self.plain {
            let data =
                Some(String::from_utf8_lossy(line).into_owned()).filter(|line| !line.trim().is_empty());
            return data.map(|data| ServerEvent { data, failed: false });
        }
        if line.is_empty() {
            let (data, failed) = (std::mem::take(&mut self.data), std::mem::take(&mut self.failed));
            return Some(ServerEvent { data, failed }).filter(|event| !event.data.is_empty());
        }
        let value =
            |name: &[u8]| line.strip_prefix(name).map(|value| value.strip_prefix(b" ").unwrap_or(value));
        if let Some(data) = value(b"data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(&String::from_utf8_lossy(data));
        } else if let Some(name) = value(b"event:") {
            self.failed = name == b"error";
        } else if let Some(error) = value(b"error:").or(Some(line).filter(|line| is_error(line))) {
            // Some servers send an error as a line without a field name.
            self.data = String::from_utf8_lossy(error).into_owned();
            self.failed = true;
        }
        None
    }
}

/// Whether a line without a field name is a JSON error.
fn is_error(line: &[u8]) -> bool {
    line.starts_with(b"{")
        && serde_json::from_slice::<serde_json::Value>(line)
            .is_ok_and(|value| value.get("error").is_some_and(|error| !error.is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let data = |event: ServerEvent| event.data;
        let wire = "\u{feff}: hi\r\nevent: x\r\ndata: {\"a\":\r\ndata:  \"é\"}\r\n\r\ndata:two\n\ndata: three\r\rdata: [DONE]";
        for size in 1..wire.len() {
            let mut events = EventBuffer::default();
            let mut seen = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                seen.extend(events.take(piece).unwrap().into_iter().map(data));
            }
            seen.extend(events.end().map(data));
            assert_eq!(seen, ["{\"a\":\n \"é\"}", "two", "three", "[DONE]"], "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_that_is_called_an_error_is_one() {
        let mut events = EventBuffer::default();
        let seen = events.take(b"event: error\ndata: {}\n\ndata: {}\n\n").unwrap();
        assert_eq!(seen.iter().map(|event| event.failed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn an_error_in_place_of_a_field_is_an_event() {
        for line in ["error: {\"code\": 500}", "error:{\"code\": 500}", "{\"error\": \"boom\"}"] {
            let mut events = EventBuffer::default();
            let seen = events.take(format!("{line}\n\ndata: {{}}\n\n").as_bytes()).unwrap();
            let seen: Vec<_> = seen
                .iter()
                .map(|event| (event.data.contains('5') || event.data.contains("boom"), event.failed))
                .collect();
            assert_eq!(seen, [(true, true), (false, false)], "{line}");
        }
        let seen = EventBuffer::default().take(b"{\"error\": null}\n\n: {\"error\": 1}\n\nx\n\n").unwrap();
        assert_eq!(seen, []);
    }

    #[test]
    fn lines_are_events_however_they_are_cut() {
        let wire = "{\"a\": \"é\"}\n\r\n{}\r\n[1]";
        for size in 1..wire.len() {
            let mut events = EventBuffer::of_lines();
            let mut seen = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                seen.extend(events.take(piece).unwrap().into_iter().map(|event| event.data));
            }
            seen.extend(events.end().map(|event| event.data));
            assert_eq!(seen, ["{\"a\": \"é\"}", "{}", "[1]"], "in pieces of {size}");
        }
    }
}
