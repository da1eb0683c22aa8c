//! Output of any length in bounded memory: the beginning and the end are kept, the middle is only counted.

use std::collections::VecDeque;

/// Output of which the first and the last bytes are kept.
#[derive(Debug)]
pub struct BoundedOutput {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    head_most: usize,
    tail_most: usize,
}

/// Shortened output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elided {
    /// The bytes, with a note if some are missing.
    pub bytes: Vec<u8>,
    /// Number of missing bytes.
    pub missing: u64,
}

impl BoundedOutput {
    /// Empty output that keeps the first `head` and the last `tail` bytes.
    pub fn new(head: usize, tail: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), total: 0, head_most: head, tail_most: tail }
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (self.head_most - self.head.len()).min(bytes.len());
        let (first, rest) = bytes.split_at(room);
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.tail_most)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_most);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// Total number of bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The kept output.
    pub fn all(&self) -> Elided {
        self.since(0)
    }

    /// The kept output after the first `mark` bytes.
    pub fn since(&self, mark: u64) -> Elided {
        let head_end = self.head.len() as u64;
        let tail_start = self.total - self.tail.len() as u64;
        let from = usize::try_from(mark.min(head_end)).unwrap_or(usize::MAX);
        let mut bytes = self.head[from.min(self.head.len())..].to_vec();
        let missing = tail_start.saturating_sub(mark.max(head_end));
        if missing > 0 {
            bytes.extend_from_slice(format!("\n[… {missing} bytes left out …]\n").as_bytes());
        }
        let skip = usize::try_from(mark.saturating_sub(tail_start)).unwrap_or(usize::MAX);
        bytes.extend(self.tail.iter().skip(skip));
        Elided { bytes, missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(elided: &Elided) -> String {
        String::from_utf8(elided.bytes.clone()).unwrap()
    }

    #[test]
    fn the_beginning_and_the_end_are_kept_and_the_middle_is_counted() {
        let mut log = BoundedOutput::new(4, 6);
        log.push(b"abc");
        assert_eq!(text(&log.all()), "abc");
        log.push(b"defghijklmnop");
        assert_eq!(text(&log.all()), "abcd\n[… 6 bytes left out …]\nklmnop");
        assert_eq!(log.all().missing, 6);
        assert_eq!(log.total(), 16);
    }

    #[test]
    fn a_mark_cuts_what_was_there_before() {
        let mut log = BoundedOutput::new(4, 6);
        log.push(b"abcdef");
        let mark = log.total();
        assert_eq!(text(&log.since(mark)), "");
        log.push(b"ghi");
        assert_eq!(text(&log.since(mark)), "ghi");
        assert_eq!(text(&log.since(2)), "cdefghi");
        log.push(b"0123456789");
        assert_eq!(text(&log.since(mark)), "\n[… 7 bytes left out …]\n456789");
        assert_eq!(text(&log.since(100)), "");
    }
}
