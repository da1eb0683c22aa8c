//! Bytes that are written as numbers: lists such as `163 153 055` or `[115, 107, 45]`, and the lines of `od`, `hexdump` and
//! `xxd`, which begin with an offset.

use super::escape::escape;
use super::view::View;

/// Texts with fewer digits say no secret.
const FEWEST: usize = 6;

/// How a list writes each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// Three octal digits.
    Octal,
    /// One to three decimal digits.
    Decimal,
    /// Eight binary digits.
    Binary,
}

/// How the line of a dump writes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// Two hexadecimal digits.
    Hex,
    /// Three octal digits.
    Octal,
    /// One to three decimal digits.
    Decimal,
    /// Eight binary digits.
    Binary,
    /// Words of hexadecimal digits, the first byte first.
    Words,
    /// The same, the last byte first.
    Turned,
    /// Words of octal digits, the last byte first.
    OctalWords,
    /// Characters and escapes, each in four columns.
    Characters,
}

const NOTATIONS: [Notation; 8] = [
    Notation::Hex,
    Notation::Octal,
    Notation::Decimal,
    Notation::Binary,
    Notation::Words,
    Notation::Turned,
    Notation::OctalWords,
    Notation::Characters,
];

impl View {
    /// What it says if its numbers are bytes.
    pub(super) fn numbers(&self) -> Vec<Self> {
        if self.bytes.iter().filter(|byte| byte.is_ascii_digit()).take(FEWEST).count() < FEWEST {
            return Vec::new();
        }
        let lists = [Base::Octal, Base::Decimal, Base::Binary].into_iter().filter_map(|base| self.list(base));
        lists.chain(self.dumps()).collect()
    }

    /// The bytes that are written as numbers with separators between them; anything else is a zero byte.
    fn list(&self, base: Base) -> Option<Self> {
        let mut view = Self::empty(self.bytes.len() / 4);
        let mut at = 0;
        while at < self.bytes.len() {
            let word = self.bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            if word == 0 {
                if !is_separator(self.bytes[at]) {
                    view.stop(self.place(at, at + 1));
                }
                at += 1;
                continue;
            }
            match base.byte(&self.bytes[at..at + word]) {
                Some(byte) => view.push(&[byte], self.place(at, at + word)),
                None => view.stop(self.place(at, at + word)),
            }
            at += word;
        }
        view.bytes.iter().any(|byte| *byte != 0).then_some(view)
    }

    /// The bytes of the lines of a dump, each in the place of its line, because that may show them once more as
    /// characters.
    fn dumps(&self) -> Vec<Self> {
        let lines: Vec<_> = self.lines().collect();
        if !lines.iter().any(|(from, to)| offset(&self.bytes[*from..*to]).is_some()) {
            return Vec::new();
        }
        let views = NOTATIONS.into_iter().map(|notation| {
            let mut view = Self::empty(self.bytes.len() / 4);
            for (from, to) in lines.iter().filter(|(from, to)| from < to) {
                let place = self.place(*from, *to);
                let line = &self.bytes[*from..*to];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                match notation.line(line) {
                    Some(bytes) => view.push(&bytes, place),
                    None => view.stop(place),
                }
            }
            view
        });
        views.filter(|view| view.bytes.iter().any(|byte| *byte != 0)).collect()
    }

    /// Where its lines begin and end.
    fn lines(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        ends.chain([self.bytes.len()]).scan(0, |next, end| Some((std::mem::replace(next, end + 1), end)))
    }

    /// Marks that what comes next does not belong to what was before.
    fn stop(&mut self, place: (u32, u32)) {
        if self.bytes.last().is_some_and(|last| *last != 0) {
            self.push(&[0], place);
        }
    }
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b",;:[](){}\\'\"".contains(&byte)
}

impl Base {
    fn byte(self, word: &[u8]) -> Option<u8> {
        match self {
            Self::Octal => octal(word),
            Self::Decimal => decimal(word),
            Self::Binary => binary(word),
        }
    }
}

fn octal(word: &[u8]) -> Option<u8> {
    if let Some(digits) = word.strip_prefix(b"0o") {
        return number(digits, 8).and_then(|byte| u8::try_from(byte).ok());
    }
    let digits = word.strip_prefix(b"0").filter(|rest| rest.len() == 3).unwrap_or(word);
    number(digits, 8).filter(|_| digits.len() == 3).and_then(|byte| u8::try_from(byte).ok())
}

fn decimal(word: &[u8]) -> Option<u8> {
    number(word, 10).filter(|_| word.len() <= 3).and_then(|byte| u8::try_from(byte).ok())
}

fn binary(word: &[u8]) -> Option<u8> {
    number(word, 2).filter(|_| word.len() == 8).and_then(|byte| u8::try_from(byte).ok())
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, radix).ok()
}

/// The offset with which the line of a dump begins: its length, and whether it is one of `xxd`.
fn offset(line: &[u8]) -> Option<(usize, bool)> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_xxd = line.get(digits) == Some(&b':');
    let length = digits + usize::from(is_xxd);
    ((6..=16).contains(&digits) && line.get(length) == Some(&b' ')).then_some((length, is_xxd))
}

impl Notation {
    /// The bytes that a line says, `None` if it is not written so.
    fn line(self, line: &[u8]) -> Option<Vec<u8>> {
        let (length, is_xxd) = offset(line)?;
        let rest = &line[length..];
        if self == Self::Characters {
            return characters(rest);
        }
        // Behind the numbers, the bytes may be there once more as characters.
        let end = rest.iter().position(|byte| matches!(byte, b'|' | b'>')).unwrap_or(rest.len());
        let rest = rest[..end].trim_ascii();
        let gap = rest.windows(2).position(|pair| pair == b"  ").filter(|_| is_xxd);
        let rest = &rest[..gap.unwrap_or(rest.len())];
        let groups: Vec<&[u8]> = rest.split(|byte| *byte == b' ').filter(|group| !group.is_empty()).collect();
        self.bytes(&groups)
    }

    fn bytes(self, groups: &[&[u8]]) -> Option<Vec<u8>> {
        let width = groups.first()?.len();
        let mut bytes = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            // The last word may be shorter.
            let fits = group.len() == width || at + 1 == groups.len() && group.len() < width;
            match self {
                Self::Hex if group.len() == 2 => bytes.extend(word(group)?),
                Self::Words if fits => bytes.extend(word(group)?),
                Self::Turned if fits => bytes.extend(word(group)?.into_iter().rev()),
                Self::Octal if group.len() == 3 => bytes.push(octal(group)?),
                Self::Decimal => bytes.push(decimal(group)?),
                Self::Binary => bytes.push(binary(group)?),
                Self::OctalWords => bytes.extend(octal_word(group)?),
                _ => return None,
            }
        }
        Some(bytes)
    }
}

/// The bytes of a word of hexadecimal digits.
fn word(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.len() % 2 == 1 || digits.len() > 16 {
        return None;
    }
    digits.chunks(2).map(|pair| number(pair, 16).and_then(|byte| u8::try_from(byte).ok())).collect()
}

/// The bytes of a word of two, four or eight bytes in octal digits.
fn octal_word(digits: &[u8]) -> Option<Vec<u8>> {
    let length = match digits.len() {
        6 => 2,
        11 => 4,
        22 => 8,
        _ => return None,
    };
    Some(number(digits, 8)?.to_le_bytes()[..length].to_vec())
}

/// What four columns for each byte say: a character, an escape or octal digits. A blank is a space.
fn characters(rest: &[u8]) -> Option<Vec<u8>> {
    let cell = |cell: &[u8]| match cell {
        [b' ', b' ', b' ', byte] => Some(*byte),
        [b' ', b' ', b'\\', b'0'] => Some(0),
        [b' ', b' ', escaped @ ..] => Some(*escape(escaped).filter(|(_, length)| *length == 2)?.0.first()?),
        [b' ', digits @ ..] => octal(digits),
        _ => None,
    };
    let cells = rest.chunks(4).filter(|cell| cell.len() == 4);
    let bytes: Vec<u8> = cells.map(cell).collect::<Option<_>>()?;
    (!bytes.is_empty()).then_some(bytes)
}
