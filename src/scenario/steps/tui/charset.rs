//! Line drawing: programs for old terminals switch letters to lines and corners. The emulator does not
//! support that, so it receives the line characters instead.

/// Characters for the bytes from `_` to `~` in line drawing mode.
const LINES: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽',
    '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

/// First byte that [`LINES`] has a character for.
const FIRST: u8 = b'_';

/// Parser state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CharsetSlot {
    /// In text.
    #[default]
    Text,
    /// After an escape.
    Escape,
    /// After `ESC (` or `ESC )`: the name of the first or second character set follows.
    Set(usize),
    /// In a sequence that ends with a letter.
    Sequence,
    /// In a text for the terminal itself, such as a title.
    Command,
}

/// Active character sets of a terminal.
#[derive(Clone, Debug, Default)]
pub struct Charset {
    place: CharsetSlot,
    /// Whether the first and the second set draw lines.
    draws: [bool; 2],
    /// Index of the active set.
    used: usize,
    /// State that is restored with a saved cursor.
    saved: ([bool; 2], usize),
}

impl Charset {
    /// `bytes`, with letters replaced by lines in line drawing mode.
    pub fn translate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let drawn = usize::from(byte.wrapping_sub(FIRST));
            let draws = self.place == CharsetSlot::Text && self.draws[self.used];
            if let Some(line) = LINES.get(drawn).filter(|_| draws) {
                out.extend_from_slice(line.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                self.step(*byte);
                out.push(*byte);
            }
        }
        out
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (_, 0x18 | 0x1a) | (CharsetSlot::Command, 0x07) | (CharsetSlot::Sequence, 0x40..=0x7e) => {
                CharsetSlot::Text
            }
            (_, 0x1b) | (CharsetSlot::Escape, 0x20..=0x27 | 0x2a..=0x2f) => CharsetSlot::Escape,
            (CharsetSlot::Text, 0x0e | 0x0f) => {
                self.used = usize::from(byte == 0x0e);
                CharsetSlot::Text
            }
            (CharsetSlot::Escape, b'(') => CharsetSlot::Set(0),
            (CharsetSlot::Escape, b')') => CharsetSlot::Set(1),
            (CharsetSlot::Escape, b'[') => CharsetSlot::Sequence,
            (CharsetSlot::Escape, b']' | b'P' | b'X' | b'^' | b'_') => CharsetSlot::Command,
            (CharsetSlot::Escape, _) => {
                self.escape(byte);
                CharsetSlot::Text
            }
            (CharsetSlot::Set(at), _) => {
                self.draws[at] = matches!(byte, b'0' | b'2');
                CharsetSlot::Text
            }
            (place, _) => place,
        };
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'7' => self.saved = (self.draws, self.used),
            b'8' => (self.draws, self.used) = self.saved,
            b'c' => *self = Self::default(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Charset;

    fn shown(text: &str, size: usize) -> String {
        let mut charset = Charset::default();
        let all = text.as_bytes().chunks(size).flat_map(|piece| charset.translate(piece)).collect();
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn letters_become_lines_where_they_are_switched() {
        for size in [1, 2, 3, 100] {
            assert_eq!(shown("q\x1b(0lqk\x1b(Bq", size), "q\x1b(0┌─┐\x1b(Bq");
            assert_eq!(shown("\x1b)0x\x0ex\x0fx", size), "\x1b)0x\x0e│\x0fx");
            assert_eq!(shown("\x1b(0\x1b[1mm\x1b]2;title\x07j", size), "\x1b(0\x1b[1m└\x1b]2;title\x07┘");
            assert_eq!(shown("\x1b(0\x1b7\x1b(Bq\x1b8q\x1bcq", size), "\x1b(0\x1b7\x1b(Bq\x1b8─\x1bcq");
            assert_eq!(shown("\x1b(0A1 ä", size), "\x1b(0A1 ä", "other characters are unchanged");
        }
    }
}
