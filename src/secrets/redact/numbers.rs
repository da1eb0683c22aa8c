//! Bytes that are written as numbers, with one rule for all formats: the numbers of a text in one base,
//! with anything between them, are bytes or words of bytes in one of two byte orders; every number counts,
//! or every second one. Bytes that occur in no secret separate lists.

use super::decoded::DecodedText;

/// Fewest digits in a text with a secret.
const FEWEST: usize = 6;

/// Fewest bytes of a part of a secret, also at a cut.
const LEAST: usize = 3;

/// Most bytes between two numbers of a list.
pub(super) const GAP: usize = 100;

/// Ways to read numbers: whether words are little-endian, the step between numbers that count, and the
/// index of the first.
const READINGS: [(bool, usize, usize); 6] =
    [(false, 1, 0), (false, 2, 0), (false, 2, 1), (true, 1, 0), (true, 2, 0), (true, 2, 1)];

/// Fewest numbers of a list in which only every second one counts.
const ALTERNATING: usize = 2 * LEAST;

/// Longest suffix of a hexadecimal number: `74h`, `0x74u8`.
const LONGEST_SUFFIX: usize = 3;

/// Most digits of a number that certainly fits in every base.
const SHORT: usize = 16;

/// Bytes that occur in secrets.
pub(super) type SecretBytes = [bool; 256];

impl DecodedText {
    /// The texts that its numbers encode as bytes. `letters` are the bytes of secrets.
    pub(super) fn numbers(&self, letters: &SecretBytes) -> Vec<Self> {
        let digits = self.bytes.iter().filter(|byte| byte.is_ascii_digit()).take(FEWEST).count();
        let has_numbers = digits == FEWEST;
        // A dump of characters may have no numbers.
        if !has_numbers
            && (self.bytes.first() != Some(&b' ') && !self.bytes.windows(2).any(|pair| pair == b"\n "))
        {
            return Vec::new();
        }
        let mut views = if has_numbers { self.lists(letters) } else { Vec::new() };
        self.dumps(letters, &mut views);
        views
    }

    /// The texts of its numbers in each base. A digit between quotes may be a number, or the character of
    /// the number next to it, as in debuggers.
    pub(super) fn lists(&self, letters: &SecretBytes) -> Vec<Self> {
        let mut lists = self.lists_with(letters, false);
        if self.bytes.windows(3).any(|three| matches!(three, [b'\'', b'0'..=b'9', b'\''])) {
            lists.extend(self.lists_with(letters, true));
        }
        lists
    }

    fn lists_with(&self, letters: &SecretBytes, without_quoted: bool) -> Vec<Self> {
        let [mut decimal, mut octal, mut binary] = std::array::from_fn(|_| NumberList::new(self, letters));
        let [mut hex, mut single, mut double] = std::array::from_fn(|_| NumberList::new(self, letters));
        for (from, to) in self.words(u8::is_ascii_digit) {
            if without_quoted && self.is_quoted(from, to) {
                continue;
            }
            let digits = &self.bytes[from..to];
            let sign = usize::from(self.has_sign(from));
            decimal.add(from - sign, to, value(digits, 10).map(|number| signed(number, sign)), (10, 3));
            octal.add(from, to, value(digits, 8), (8, 3));
            binary.add(from, to, value(digits, 2), (2, 8));
            let Some(number) = self.float(from, to) else { continue };
            single.add(from, to, number.parse::<f32>().ok().map(|float| u64::from(float.to_bits())), (0, 0));
            double.add(from, to, number.parse::<f64>().ok().map(f64::to_bits), (0, 0));
        }
        for (from, to) in self.words(u8::is_ascii_alphanumeric) {
            if let Some((from, to)) =
                self.hexadecimal(from, to).filter(|_| !(without_quoted && self.is_quoted(from, to)))
            {
                hex.add(from, to, value(&self.bytes[from..to], 16), (16, 2));
            }
        }
        let lists = [decimal, octal, binary, hex, single, double];
        lists.into_iter().flat_map(NumberList::read).filter(|view| !view.bytes.is_empty()).collect()
    }

    /// Spans of the runs of bytes for which `are` returns true.
    fn words<'v>(&'v self, are: impl Fn(&u8) -> bool + 'v) -> impl Iterator<Item = (usize, usize)> + 'v {
        let mut at = 0;
        std::iter::from_fn(move || {
            let from = at + self.bytes[at..].iter().position(&are)?;
            let length = self.bytes[from..].iter().position(|byte| !are(byte));
            at = length.map_or(self.bytes.len(), |length| from + length);
            Some((from, at))
        })
    }

    /// Whether the span is one character between quotes.
    fn is_quoted(&self, from: usize, to: usize) -> bool {
        let before = from.checked_sub(1).map(|before| self.bytes[before]);
        to == from + 1 && matches!((before, self.bytes.get(to)), (Some(b'\''), Some(b'\'')))
    }

    /// Whether the number at `from` has a minus sign, not a hyphen.
    fn has_sign(&self, from: usize) -> bool {
        match &self.bytes[..from] {
            [.., before, b'-'] => !before.is_ascii_alphanumeric(),
            before => before == b"-",
        }
    }

    /// The floating-point number that begins with the digits from `from` to `to`, if it has a point or an
    /// exponent.
    fn float(&self, from: usize, to: usize) -> Option<&str> {
        let is_part = || matches!(&self.bytes[..from], [.., b'.'] | [.., b'e', b'-' | b'+']);
        if !matches!(self.bytes.get(to), Some(b'.' | b'e')) || is_part() {
            return None;
        }
        let digits = |at: usize| self.bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut end = to;
        if self.bytes.get(end) == Some(&b'.') {
            end += 1 + digits(end + 1);
        }
        if let (Some(b'e'), Some(b'+' | b'-')) = (self.bytes.get(end), self.bytes.get(end + 1)) {
            end += 2 + digits(end + 2);
        }
        std::str::from_utf8(&self.bytes[from..end]).ok().filter(|_| end > to + 2)
    }

    /// The hexadecimal digits of a word, without prefix and suffix.
    fn hexadecimal(&self, from: usize, to: usize) -> Option<(usize, usize)> {
        // The `n` of an escaped line break does not belong to the number.
        let is_escaped = from > 0 && self.bytes[from - 1] == b'\\' && b"nrt".contains(&self.bytes[from]);
        let from = from + usize::from(is_escaped && to > from + 1);
        let mark = match &self.bytes[from..to] {
            [b'0', b'x' | b'X', _, ..] => 2,
            [b'x' | b'X' | b'u' | b'U' | b'h' | b'H', _, ..] => 1,
            _ => 0,
        };
        let from = from + mark;
        let digits = self.bytes[from..to].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let suffix = to - from - digits;
        // The word `byte` is not a number.
        let may_have_suffix = self.bytes[from].is_ascii_digit() && suffix <= LONGEST_SUFFIX;
        // A single letter is a character.
        let is_letter = mark == 0 && digits == 1 && !self.bytes[from].is_ascii_digit();
        (digits > 0 && !is_letter && (suffix == 0 || may_have_suffix)).then_some((from, from + digits))
    }
}

/// The value of `digits`; `None` if they are not a number or too large.
fn value(digits: &[u8], radix: u32) -> Option<u64> {
    let digit = |digit: &u8| char::from(*digit).to_digit(radix).map(u64::from);
    let radix = u64::from(radix);
    let mut all = digits.iter();
    if digits.len() <= SHORT {
        return all.try_fold(0, |sum, next| Some(sum * radix + digit(next)?));
    }
    all.try_fold(0_u64, |sum, next| sum.checked_mul(radix)?.checked_add(digit(next)?))
}

/// `number`, negated if there is a `sign`.
fn signed(number: u64, sign: usize) -> u64 {
    if sign > 0 { number.wrapping_neg() } else { number }
}

/// A number with its span in the text.
struct Number {
    value: u64,
    place: (u32, u32),
}

/// The numbers of a text in one base.
struct NumberList<'v> {
    text: &'v DecodedText,
    letters: &'v SecretBytes,
    /// Numbers of the current list.
    numbers: Vec<Number>,
    /// End of the last number.
    end: usize,
    views: [DecodedText; READINGS.len()],
}

impl<'v> NumberList<'v> {
    fn new(text: &'v DecodedText, letters: &'v SecretBytes) -> Self {
        let views = std::array::from_fn(|_| DecodedText::empty(0));
        Self { text, letters, numbers: Vec::new(), end: 0, views }
    }

    /// Adds the number from `from` to `to`. `bytes` are the base and the number of digits per byte if bytes
    /// are written without separators.
    fn add(&mut self, from: usize, to: usize, number: Option<u64>, bytes: (u32, usize)) {
        let between = &self.text.bytes[self.end.min(from)..from];
        if between.len() > GAP || between.contains(&0) {
            self.finish();
        }
        self.end = to;
        let place = self.text.place(from, to);
        if let Some(value) = number {
            return self.numbers.push(Number { value, place });
        }
        let (radix, width) = bytes;
        let digits = &self.text.bytes[from..to];
        if width == 0 || !digits.len().is_multiple_of(width) || value(&digits[..width], radix).is_none() {
            return self.finish();
        }
        for (at, byte) in (from..).step_by(width).zip(digits.chunks(width)) {
            let value = value(byte, radix).filter(|value| *value < 256).unwrap_or_default();
            self.numbers.push(Number { value, place: self.text.place(at, at + width) });
        }
    }

    /// Ends the current list.
    fn finish(&mut self) {
        let Some(place) = self.numbers.last().map(|number| number.place) else { return };
        let are_words = self.numbers.iter().any(|number| number.value > 255);
        for (view, (first_is_last, step, first)) in self.views.iter_mut().zip(READINGS) {
            if first_is_last && !are_words || step > 1 && self.numbers.len() < ALTERNATING {
                continue;
            }
            let mut bytes = NumberBytes { whole: view.bytes.len(), view, letters: self.letters };
            for number in self.numbers.iter().skip(first).step_by(step) {
                bytes.add(number, first_is_last);
            }
            bytes.stop(place);
        }
        self.numbers.clear();
    }

    fn read(mut self) -> [DecodedText; READINGS.len()] {
        self.finish();
        self.views
    }
}

/// The bytes of numbers.
struct NumberBytes<'v> {
    view: &'v mut DecodedText,
    letters: &'v SecretBytes,
    /// Number of bytes of finished runs.
    whole: usize,
}

impl NumberBytes<'_> {
    /// Adds the bytes of `number`. Zeros of wide characters and words are skipped, and so is the sign
    /// extension of negative numbers: UTF-8 text has no such bytes.
    fn add(&mut self, number: &Number, first_is_last: bool) {
        if let Ok(byte) = u8::try_from(number.value) {
            return self.add_byte(byte, number.place);
        }
        let bytes = if first_is_last { number.value.to_be_bytes() } else { number.value.to_le_bytes() };
        bytes.into_iter().for_each(|byte| self.add_byte(byte, number.place));
    }

    fn add_byte(&mut self, byte: u8, place: (u32, u32)) {
        if self.letters[usize::from(byte)] {
            self.view.push_byte(byte, place);
        } else if !matches!(byte, 0 | 0xFF) {
            self.stop(place);
        }
    }

    /// Separates the next bytes from the previous ones.
    fn stop(&mut self, place: (u32, u32)) {
        match self.view.bytes.len() - self.whole {
            0 => return,
            few @ 1..LEAST => self.view.shorten(few),
            _ => self.view.push_byte(0, place),
        }
        self.whole = self.view.bytes.len();
    }
}
