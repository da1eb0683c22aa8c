//! Escapes of URLs, JSON, HTML, shells and programming languages.

/// Letters that are a control character after a backslash.
const LETTERS: [(u8, u8); 8] =
    [(b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'a', 7), (b'b', 8), (b'v', 11), (b'f', 12), (b'e', 27)];

/// The value of the escape at the beginning of `rest`, and its length.
pub(super) fn escape(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    match rest {
        [b'%', high, low, ..] => Some((vec![byte_of(&[*high, *low])?], 3)),
        [b'\\', b'x', high, low, ..] => Some((vec![byte_of(&[*high, *low])?], 4)),
        [b'\\', b'u', b'{', ..] => braced(rest),
        [b'\\', b'u', ..] => unicode(rest),
        [b'\\', b'U', ..] => scalar(rest.get(2..10)?).map(|bytes| (bytes, 10)),
        // As `echo -e` reads it.
        [b'\\', b'0', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => Some((octal(*a, *b, *c), 5)),
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => Some((octal(*a, *b, *c), 4)),
        [b'\\', letter, ..] if letter.is_ascii_alphabetic() => {
            let (_, byte) = LETTERS.iter().find(|(known, _)| known == letter)?;
            Some((vec![*byte], 2))
        }
        [b'\\', other, ..] if other.is_ascii_punctuation() || *other == b' ' => Some((vec![*other], 2)),
        [b'&', ..] => entity(rest),
        _ => None,
    }
}

fn octal(a: u8, b: u8, c: u8) -> Vec<u8> {
    vec![(a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')]
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `\u0041`, or a surrogate pair for a character outside the basic plane.
fn unicode(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = unit(rest)?;
    let both = rest.get(6..).and_then(unit).map(|second| [first, second]);
    let decoded =
        |units: &[u16]| String::from_utf16(units).ok().map(|text| (text.into_bytes(), units.len() * 6));
    decoded(&[first]).or_else(|| decoded(&both?))
}

/// `\u{1f600}`, as JavaScript and Rust write it.
fn braced(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b'}')?;
    scalar(&rest[3..end]).map(|bytes| (bytes, end + 1))
}

/// The character with the hexadecimal number `digits`.
fn scalar(digits: &[u8]) -> Option<Vec<u8>> {
    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    char::from_u32(code).map(|c| c.to_string().into_bytes())
}

/// `&amp;`, `&#43;` or `&#x2b;`.
fn entity(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&rest[1..end]).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((c.to_string().into_bytes(), end + 1))
}
