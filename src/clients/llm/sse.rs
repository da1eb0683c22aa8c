//! Events out of a stream of bytes: server-sent ones, or JSON Lines.

/// Most bytes that one event may have.
const LIMIT: usize = 16 << 20;

/// Bytes that have come in and are not a whole event yet.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: String,
    after_cr: bool,
    /// Every line is an event.
    plain: bool,
}

/// An event that grew beyond [`LIMIT`].
#[derive(Debug)]
pub(super) struct TooLong;

impl Events {
    /// Events of JSON Lines.
    pub(super) fn of_lines() -> Self {
        Self { plain: true, ..Self::default() }
    }

    /// Takes in `bytes`; the data of every event they complete is returned. Lines may end in LF, CR or CRLF.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
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

    /// The event that the end of the stream completes, for servers that leave out the last blank line.
    pub(super) fn end(&mut self) -> Option<String> {
        self.end_of_line().or_else(|| self.end_of_line())
    }

    fn end_of_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if self.plain {
            return Some(String::from_utf8_lossy(&line).into_owned()).filter(|line| !line.trim().is_empty());
        }
        if line.is_empty() {
            return Some(std::mem::take(&mut self.data)).filter(|data| !data.is_empty());
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            let data = String::from_utf8_lossy(data.strip_prefix(b" ").unwrap_or(data));
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(&data);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let wire = ": hi\r\nevent: x\r\ndata: {\"a\":\r\ndata:  \"é\"}\r\n\r\ndata:two\n\ndata: three\r\rdata: [DONE]";
        for size in 1..wire.len() {
            let mut events = Events::default();
            let mut seen = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                seen.extend(events.take(piece).unwrap());
            }
            seen.extend(events.end());
            assert_eq!(seen, ["{\"a\":\n \"é\"}", "two", "three", "[DONE]"], "in pieces of {size}");
        }
    }

    #[test]
    fn lines_are_events_however_they_are_cut() {
        let wire = "{\"a\": \"é\"}\n\r\n{}\r\n[1]";
        for size in 1..wire.len() {
            let mut events = Events::of_lines();
            let mut seen = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                seen.extend(events.take(piece).unwrap());
            }
            seen.extend(events.end());
            assert_eq!(seen, ["{\"a\": \"é\"}", "{}", "[1]"], "in pieces of {size}");
        }
    }
}
