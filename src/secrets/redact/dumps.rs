//! Output of `od`, `hexdump`, `xxd` and debuggers: lines with an offset that show the same bytes in one or
//! several formats. Each format is read separately, as a list of numbers or as characters.

use super::decoded::DecodedText;
use super::escape::escape;
use super::numbers::SecretBytes;

/// Most lines that show the same bytes.
const WAYS: usize = 4;

/// Most lines that show the same bytes in a dump without offsets.
const WAYS_WITHOUT_OFFSET: usize = 3;

/// Fewest numbers in a line of a dump without offsets and with several formats.
const LEAST_CELLS: usize = 4;

/// Columns of a character.
const WIDTHS: [Option<usize>; 3] = [Some(4), Some(5), None];

/// Most characters of a number in a line.
const LONGEST: usize = 26;

/// Control characters in `od -a` and `hexdump` that a secret may have.
const NAMES: [(&[u8], u8); 5] =
    [(b"sp", b' '), (b"nl", b'\n'), (b"lf", b'\n'), (b"ht", b'\t'), (b"cr", b'\r')];

/// A line of a dump.
struct DumpLine<'t> {
    /// The text after the offset.
    rest: &'t [u8],
    /// Whether it is a line of `xxd`, which separates the characters only by blanks.
    is_xxd: bool,
    /// Index of its format.
    way: usize,
    /// Span of the lines with the same bytes.
    place: (u32, u32),
    /// Whether there are other lines between it and the previous line.
    is_first: bool,
}

impl DecodedText {
    /// Adds the decoded dumps to `views`. The position of each byte is the span of its lines, because they
    /// may show it several times.
    pub(super) fn dumps(&self, letters: &SecretBytes, views: &mut Vec<Self>) {
        let lines: Vec<_> = self.lines().collect();
        let mut dump = self.with_offsets(&lines);
        if !dump.is_empty() {
            return read(&dump, WAYS, letters, views);
        }
        let are_cells = |line: &(usize, usize)| is_cells(&self.bytes[line.0..line.1]);
        let blocks: Vec<_> = lines
            .chunk_by(|a, b| are_cells(a) && are_cells(b))
            .filter(|block| are_cells(&block[0]))
            .collect();
        for ways in 1..=WAYS_WITHOUT_OFFSET {
            dump.clear();
            // A list of numbers in all lines has already been found.
            let may_have = |block: &&&[(usize, usize)]| {
                ways == 1 || block.iter().take(2).any(|line| is_row(&self.bytes[line.0..line.1]))
            };
            for block in blocks.iter().filter(may_have) {
                for (n, group) in block.chunks(ways).enumerate() {
                    let place = self.place(group[0].0, group[group.len() - 1].1);
                    let line = |(way, (from, to)): (usize, &(usize, usize))| {
                        let rest = &self.bytes[*from..*to];
                        DumpLine { rest, is_xxd: false, way, place, is_first: n == 0 }
                    };
                    dump.extend(group.iter().enumerate().map(line));
                }
            }
            if ways == 1 {
                characters(&dump, ways, views);
            } else {
                read(&dump, ways, letters, views);
            }
        }
    }

    /// The lines that begin with an offset, and those after them that show the same bytes.
    fn with_offsets(&self, lines: &[(usize, usize)]) -> Vec<DumpLine<'_>> {
        let mut dump: Vec<DumpLine<'_>> = Vec::new();
        let (mut length, mut ways, mut is_first) = (0, 0, true);
        let is_blank = |text: &[u8]| text.iter().all(|byte| *byte == b' ');
        for (from, to) in lines.iter().filter(|(from, to)| from < to) {
            let text = &self.bytes[*from..*to];
            let place = self.place(*from, *to);
            if let Some((offset, is_xxd)) = offset(text) {
                is_first &= ways == 0;
                dump.push(DumpLine { rest: &text[offset..], is_xxd, way: 0, place, is_first });
                (length, ways) = (offset, 1);
            } else if (1..WAYS).contains(&ways)
                && text.len() > length
                && is_blank(&text[..length.saturating_sub(1)])
            {
                dump.push(DumpLine { rest: &text[length..], is_xxd: false, way: ways, place, is_first });
                ways += 1;
                // All of them have the same span.
                let start = dump[dump.len() - ways].place.0;
                dump.iter_mut().rev().take(ways).for_each(|line| line.place = (start, place.1));
            } else {
                (ways, is_first) = (0, true);
            }
        }
        dump
    }

    /// Spans of its lines.
    fn lines(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let lines =
            ends.chain([self.bytes.len()]).scan(0, |next, end| Some((std::mem::replace(next, end + 1), end)));
        lines.map(|(from, to)| {
            let is_return = from < to && self.bytes[to - 1] == b'\r';
            (from, to - usize::from(is_return))
        })
    }
}

/// Adds each format of `dump` to `views`.
fn read(dump: &[DumpLine<'_>], ways: usize, letters: &SecretBytes, views: &mut Vec<DecodedText>) {
    for way in 0..ways {
        let mut text = DecodedText::empty(0);
        for line in dump.iter().filter(|line| line.way == way) {
            text.push(if line.is_first { b"\0" } else { b"\n" }, line.place);
            text.push(numbers(line), line.place);
        }
        views.extend(text.lists(letters));
    }
    characters(dump, ways, views);
}

/// Adds the bytes that `dump` shows as characters to `views`.
fn characters(dump: &[DumpLine<'_>], ways: usize, views: &mut Vec<DecodedText>) {
    for way in 0..ways {
        for width in WIDTHS {
            let mut view = DecodedText::empty(0);
            for line in dump.iter().filter(|line| line.way == way) {
                match cells(line.rest, width) {
                    Some(bytes) => view.push(&bytes, line.place),
                    None => view.push_byte(0, line.place),
                }
            }
            views.extend(Some(view).filter(|view| view.bytes.iter().any(|byte| *byte != 0)));
        }
    }
}

/// The part of a line with numbers, after which the bytes may be repeated as characters.
fn numbers<'t>(line: &DumpLine<'t>) -> &'t [u8] {
    let rest = line.rest.trim_ascii();
    let rest = rest.strip_prefix("│".as_bytes()).unwrap_or(rest);
    let is_column = |byte: &u8| matches!(byte, b'|' | b'>') || *byte == "│".as_bytes()[0];
    let end = rest.iter().position(is_column).unwrap_or(rest.len());
    let rest = &rest[..end];
    let gap = rest.windows(2).position(|pair| pair == b"  ").filter(|_| line.is_xxd);
    &rest[..gap.unwrap_or(rest.len())]
}

/// The offset at the beginning of a dump line: its length, and whether it is of `xxd`.
fn offset(line: &[u8]) -> Option<(usize, bool)> {
    let start = if line.starts_with("│".as_bytes()) { "│".len() } else { 0 };
    let start = start + if line[start..].starts_with(b"0x") { 2 } else { 0 };
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let end = start + digits;
    let is_xxd = line.get(end) == Some(&b':');
    let length = end + usize::from(is_xxd);
    let is_separated =
        matches!(line.get(length), Some(b' ' | b'\t')) || line[length..].starts_with("│".as_bytes());
    ((6..=16).contains(&digits) && is_separated).then_some((length, is_xxd))
}

/// Whether a line without an offset has only numbers or characters between blanks.
fn is_cells(line: &[u8]) -> bool {
    let words = || line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let is_number = |word: &[u8]| {
        word.len() <= LONGEST
            && word.iter().all(|byte| byte.is_ascii_hexdigit() || b"+-.".contains(byte))
            && word.iter().any(u8::is_ascii_digit)
    };
    line.first() == Some(&b' ')
        && words().all(|word| word.len() <= 3 || is_number(word))
        && words().nth(1).is_some()
}

/// Whether a line has numbers in cells of one width.
fn is_row(line: &[u8]) -> bool {
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count();
    words >= LEAST_CELLS && line.len().is_multiple_of(words)
}

/// The bytes of the cells of a line, each with a character, its name, an escape or octal digits. Without a
/// width, blanks only separate them. `None` if there is anything else.
fn cells(rest: &[u8], width: Option<usize>) -> Option<Vec<u8>> {
    let Some(width) = width else {
        return rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).map(cell).collect();
    };
    let cells = rest.chunks_exact(width).map(|text| match text.trim_ascii_start() {
        [] => Some(b' '),
        word if text.ends_with(word) => cell(word),
        _ => None,
    });
    cells.collect()
}

fn cell(word: &[u8]) -> Option<u8> {
    match word {
        [byte] => Some(*byte),
        [b'\\', b'0'] => Some(0),
        [b'\\', _] => escape(word).filter(|(_, length)| *length == 2)?.0.first().copied(),
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
        }
        [a, ..]
            if a.is_ascii_alphabetic() && word.len() <= 3 && word.iter().all(u8::is_ascii_alphanumeric) =>
        {
            Some(NAMES.iter().find(|(name, _)| *name == word).map_or(0, |(_, byte)| *byte))
        }
        _ => None,
    }
}
