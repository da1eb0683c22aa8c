use std::fmt;

/// A key with modifiers, and the bytes that a terminal sends for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChord {
    written: String,
    key: Key,
    shift: bool,
    alt: bool,
    ctrl: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// A character.
    Char(char),
    /// A key with one byte.
    Byte(u8),
    /// `ESC [ letter`; in the application mode of the cursor keys `ESC O letter`.
    Cursor(char),
    /// `ESC O letter`, F1 to F4.
    Function(char),
    /// `ESC [ number ~`.
    Number(u8),
}

const TAB: u8 = 9;
const ENTER: u8 = 13;
const ESCAPE: u8 = 27;
const SPACE: u8 = 32;
const BACKSPACE: u8 = 127;

const NAMED: [(&str, Key); 33] = [
    ("enter", Key::Byte(ENTER)),
    ("return", Key::Byte(ENTER)),
    ("escape", Key::Byte(ESCAPE)),
    ("esc", Key::Byte(ESCAPE)),
    ("tab", Key::Byte(TAB)),
    ("backspace", Key::Byte(BACKSPACE)),
    ("space", Key::Byte(SPACE)),
    ("up", Key::Cursor('A')),
    ("down", Key::Cursor('B')),
    ("right", Key::Cursor('C')),
    ("left", Key::Cursor('D')),
    ("home", Key::Cursor('H')),
    ("end", Key::Cursor('F')),
    ("insert", Key::Number(2)),
    ("delete", Key::Number(3)),
    ("pageup", Key::Number(5)),
    ("pagedown", Key::Number(6)),
    ("f1", Key::Function('P')),
    ("f2", Key::Function('Q')),
    ("f3", Key::Function('R')),
    ("f4", Key::Function('S')),
    ("f5", Key::Number(15)),
    ("f6", Key::Number(17)),
    ("f7", Key::Number(18)),
    ("f8", Key::Number(19)),
    ("f9", Key::Number(20)),
    ("f10", Key::Number(21)),
    ("f11", Key::Number(23)),
    ("f12", Key::Number(24)),
    ("pgup", Key::Number(5)),
    ("pgdn", Key::Number(6)),
    ("ins", Key::Number(2)),
    ("del", Key::Number(3)),
];

/// Names of all keys, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|(name, _)| *name)
}

impl KeyChord {
    /// Parses a key such as `enter`, `x`, `ctrl+c` or `alt+shift+left`.
    pub fn parse(written: &str) -> Result<Self, String> {
        let mut rest = written;
        let (mut shift, mut alt, mut ctrl) = (false, false, false);
        while let Some((held, key)) = rest.split_once('+').filter(|(_, key)| !key.is_empty()) {
            match held.trim().to_lowercase().as_str() {
                "shift" => shift = true,
                "alt" | "meta" => alt = true,
                "ctrl" | "control" => ctrl = true,
                _ => break,
            }
            rest = key;
        }
        let name = rest.trim().to_lowercase();
        let mut letters = rest.chars();
        let key = match (letters.next(), letters.next()) {
            (Some(' '), None) => Key::Byte(SPACE),
            (Some(letter), None) if !letter.is_control() => Key::Char(letter),
            _ => match NAMED.iter().find(|(known, _)| *known == name) {
                Some((_, key)) => *key,
                None => return Err(format!("`{written}` is not a key")),
            },
        };
        let chord = Self { written: written.to_owned(), key, shift, alt, ctrl };
        match chord.plain() {
            Some(_) => Ok(chord),
            None => Err(format!("a terminal has no code for `{written}`")),
        }
    }

    /// Whether programs may read the bytes as the beginning of a longer code if more input follows at once:
    /// Escape, also as `ctrl+[`, and the beginning of a code of several bytes, such as `alt+[`.
    pub fn is_open(&self) -> bool {
        let bytes = self.plain().unwrap_or_default();
        bytes.ends_with(&[ESCAPE]) || matches!(bytes.as_slice(), [.., ESCAPE, b'[' | b'O'])
    }

    /// The bytes to send. In `application` mode, cursor keys have other codes.
    pub fn bytes(&self, application: bool) -> Vec<u8> {
        match self.key {
            Key::Cursor(letter) if application && self.modifiers() == 1 => {
                format!("\x1bO{letter}").into_bytes()
            }
            _ => self.plain().unwrap_or_default(),
        }
    }

    fn modifiers(&self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.ctrl)
    }

    fn plain(&self) -> Option<Vec<u8>> {
        let held = self.modifiers();
        let code = match self.key {
            Key::Cursor(letter) if held == 1 => format!("\x1b[{letter}"),
            Key::Function(letter) if held == 1 => format!("\x1bO{letter}"),
            Key::Number(number) if held == 1 => format!("\x1b[{number}~"),
            Key::Cursor(letter) | Key::Function(letter) => format!("\x1b[1;{held}{letter}"),
            Key::Number(number) => format!("\x1b[{number};{held}~"),
            Key::Byte(TAB) if self.shift && !self.ctrl => "\x1b[Z".to_owned(),
            Key::Byte(byte) => char::from(self.byte(byte)?).to_string(),
            Key::Char(letter) if self.ctrl => char::from(control(letter)?).to_string(),
            Key::Char(letter) if self.shift => letter.to_uppercase().to_string(),
            Key::Char(letter) => letter.to_string(),
        };
        let prefixed = self.alt && matches!(self.key, Key::Byte(_) | Key::Char(_));
        Some(if prefixed { format!("\x1b{code}") } else { code }.into_bytes())
    }

    fn byte(&self, byte: u8) -> Option<u8> {
        match (byte, self.ctrl, self.shift) {
            (SPACE, true, _) => Some(0),
            (BACKSPACE, true, false) => Some(8),
            (SPACE, false, _) | (_, false, false) => Some(byte),
            _ => None,
        }
    }
}

/// The byte for a letter with ctrl.
fn control(letter: char) -> Option<u8> {
    match letter {
        'a'..='z' | 'A'..='Z' | '@' | '[' | '\\' | ']' | '^' | '_' => {
            u8::try_from(letter.to_ascii_uppercase()).ok().map(|byte| byte & 0x1f)
        }
        '/' => Some(0x1f),
        '?' => Some(BACKSPACE),
        _ => None,
    }
}

impl fmt::Display for KeyChord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_send_what_a_terminal_sends() {
        for (key, bytes) in [
            ("enter", "\r"),
            ("Escape", "\x1b"),
            ("tab", "\t"),
            ("backspace", "\x7f"),
            ("space", " "),
            ("UP", "\x1b[A"),
            ("home", "\x1b[H"),
            ("end", "\x1b[F"),
            ("pageup", "\x1b[5~"),
            ("delete", "\x1b[3~"),
            ("ctrl+c", "\x03"),
            ("Ctrl+X", "\x18"),
            ("q", "q"),
            ("Q", "Q"),
            ("+", "+"),
            ("ctrl+_", "\x1f"),
            ("ctrl+space", "\0"),
            ("alt+x", "\x1bx"),
            ("alt+enter", "\x1b\r"),
            ("shift+tab", "\x1b[Z"),
            ("f1", "\x1bOP"),
            ("f12", "\x1b[24~"),
            ("shift+f1", "\x1b[1;2P"),
            ("ctrl+left", "\x1b[1;5D"),
            ("alt+shift+right", "\x1b[1;4C"),
            ("ctrl+delete", "\x1b[3;5~"),
            ("ä", "ä"),
        ] {
            let chord = KeyChord::parse(key).unwrap();
            assert_eq!(String::from_utf8(chord.bytes(false)).unwrap(), bytes, "{key}");
        }
        assert_eq!(KeyChord::parse("down").unwrap().bytes(true), b"\x1bOB");
        assert_eq!(KeyChord::parse("ctrl+down").unwrap().bytes(true), b"\x1b[1;5B");
    }

    #[test]
    fn what_begins_a_longer_code_is_known_whatever_it_is_called() {
        for key in
            ["escape", "ESC", "ctrl+[", "Control+[", "alt+escape", "alt+ctrl+[", "alt+[", "alt+shift+o"]
        {
            assert!(KeyChord::parse(key).unwrap().is_open(), "{key}");
        }
        for key in ["[", "O", "up", "f1", "alt+x", "ctrl+]", "delete"] {
            assert!(!KeyChord::parse(key).unwrap().is_open(), "{key}");
        }
    }

    #[test]
    fn what_is_no_key_says_so() {
        assert_eq!(KeyChord::parse("entre").unwrap_err(), "`entre` is not a key");
        assert_eq!(KeyChord::parse("ctrl+").unwrap_err(), "`ctrl+` is not a key");
        assert_eq!(KeyChord::parse("ctrl+enter").unwrap_err(), "a terminal has no code for `ctrl+enter`");
        assert!(
            KeyChord::parse("").is_err()
                && KeyChord::parse("ctrl+5").is_err()
                && KeyChord::parse("hyper+x").is_err()
        );
    }
}
