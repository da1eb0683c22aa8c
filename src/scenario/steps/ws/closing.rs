//! Reads the close frame of a peer as it was sent, because the library replaces unknown codes.

use std::sync::{Arc, OnceLock};

use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

/// Code and reason of the close frame, once received.
pub type CloseSent = Arc<OnceLock<(u16, String)>>;

/// The opcode of a close frame.
const CLOSE: u8 = 8;

/// A stream whose bytes are inspected as they are read.
pub type WatchedStream<S> = InspectReader<S, Box<dyn FnMut(&[u8]) + Send>>;

/// Wraps `stream`, which is at the beginning of a frame. The second value will have the content of its
/// first close frame.
pub fn watched<S>(stream: S) -> (WatchedStream<S>, CloseSent)
where
    S: AsyncRead,
{
    let mut frames = Frames::default();
    let said = frames.said.clone();
    (InspectReader::new(stream, Box::new(move |bytes: &[u8]| frames.pass(bytes))), said)
}

/// State of the frame parser.
#[derive(Default)]
struct Frames {
    /// Received part of the head of a frame.
    head: Vec<u8>,
    /// Remaining payload of a frame with a complete head, in bytes.
    left: u64,
    /// Payload of a close frame.
    close: Option<Vec<u8>>,
    said: CloseSent,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.said.get().is_none() {
            if self.left == 0 {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                self.begin();
                continue;
            }
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(length);
            bytes = rest;
            self.left -= length as u64;
            if let Some(close) = &mut self.close {
                close.extend_from_slice(piece);
            }
            self.end();
        }
    }

    /// Starts the payload if the head is complete: two bytes, an extended length, and the mask.
    fn begin(&mut self) {
        let (&[first, second], more) = self.head.split_at(2.min(self.head.len())) else { return };
        let wide = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if more.len() < wide + mask {
            return;
        }
        let length = more[..wide].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        self.left = if wide == 0 { u64::from(second & 0x7f) } else { length };
        self.head.clear();
        self.close = (first & 0x0f == CLOSE && self.left <= 125).then(Vec::new);
        self.end();
    }

    /// Saves the content of a close frame once its payload is complete.
    fn end(&mut self) {
        if self.left > 0 {
            return;
        }
        if let Some([high, low, reason @ ..]) = self.close.take().as_deref() {
            let reason = String::from_utf8_lossy(reason).into_owned();
            self.said.set((u16::from_be_bytes([*high, *low]), reason)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_is_found_however_the_bytes_are_cut() {
        let mut bytes = vec![0x81, 3, b'a', 0x88, b'b', 0x82, 126, 1, 0];
        bytes.extend([0x88; 256]);
        bytes.extend([0x89, 0, 0x82, 127, 0, 0, 0, 0, 0, 0, 0, 2, 0x88, 0x88]);
        bytes.extend([0x88, 4, 0x03, 0xe7, b'n', b'o', 0x88, 2, 0x03, 0xe8]);
        for size in [1, 2, 3, 7, 1000] {
            let mut frames = Frames::default();
            bytes.chunks(size).for_each(|piece| frames.pass(piece));
            assert_eq!(frames.said.get(), Some(&(999, "no".to_owned())), "{size} bytes at once");
        }
        let mut empty = Frames::default();
        empty.pass(&[0x88, 0, 0x81, 1, b'a']);
        assert_eq!(empty.said.get(), None);
    }
}
