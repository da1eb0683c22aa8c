/// The maximum number of candidates that are examined, and of those with a similar length.
const SCANNED: usize = 20_000;
const SIMILAR: usize = 1_000;

/// The maximum number of candidates that are compared letter by letter.
const COMPARED: usize = 64;

/// The maximum number of words in a message.
const LISTED: usize = 24;

/// The length limit of compared words: the work grows with the square of the length.
const LONGEST: usize = 200;

/// The word of `known` that `word` was probably meant to be, if one is near enough. The work is bounded for
/// any number of words.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(word);
    if word.len() > LONGEST {
        return None;
    }
    let letters = LetterCounts::of(&word);
    let alike = |candidate: &&str| letters.least_by_length(candidate) <= most(candidate, &word);
    let similar = known.into_iter().take(SCANNED).filter(alike).take(SIMILAR).enumerate();
    let mut similar: Vec<(usize, usize, &str)> = similar
        .map(|(place, candidate)| (letters.least(candidate), place, candidate))
        .filter(|(least, _, candidate)| *least <= most(candidate, &word))
        .collect();
    similar.sort_unstable();
    similar.truncate(COMPARED);
    similar
        .into_iter()
        .map(|(_, place, candidate)| {
            (strsim::damerau_levenshtein(&word, &plain(candidate)), place, candidate)
        })
        .filter(|(distance, _, candidate)| *distance <= most(candidate, &word))
        .min()
        .map(|(_, _, candidate)| candidate)
}

/// `words`, separated by commas; of many only the first, and the number of the others.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words = words.into_iter();
    let first = words.by_ref().take(LISTED).collect::<Vec<_>>().join(", ");
    match words.count() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn plain(text: &str) -> String {
    text.to_lowercase().replace('-', "_")
}

/// The maximum distance of `candidate` from `word`.
fn most(candidate: &str, word: &str) -> usize {
    (candidate.len().max(word.len()) / 3).max(1)
}

/// The letters of a word, in 32 classes: enough to exclude most distant words at once.
struct LetterCounts {
    length: usize,
    is_ascii: bool,
    counts: [u8; 32],
}

impl LetterCounts {
    fn of(word: &str) -> Self {
        let mut counts = [0_u8; 32];
        for byte in word.bytes() {
            let count = &mut counts[class(byte)];
            *count = count.saturating_add(1);
        }
        Self { length: word.len(), is_ascii: word.is_ascii(), counts }
    }

    /// A lower bound of the distance of `other`, from its length. A letter has up to four bytes.
    fn least_by_length(&self, other: &str) -> usize {
        self.length.abs_diff(other.len()) / if self.is_ascii { 1 } else { 4 }
    }

    /// A lower bound of the distance of `other`, from its letters. Other characters than ASCII are ignored.
    fn least(&self, other: &str) -> usize {
        if !self.is_ascii || !other.is_ascii() {
            return 0;
        }
        let mut left = self.counts;
        let mut common = 0;
        for byte in other.bytes() {
            let count = &mut left[class(byte)];
            common += usize::from(*count > 0);
            *count = count.saturating_sub(1);
        }
        self.length.max(other.len()) - common
    }
}

fn class(byte: u8) -> usize {
    usize::from(if byte == b'-' { b'_' } else { byte } & 31)
}

#[cfg(test)]
mod tests {
    use super::{listed, nearest};

    #[test]
    fn of_many_words_the_first_are_listed() {
        assert_eq!(listed(["a", "b"]), "a, b");
        assert!(listed(std::iter::repeat_n("a", 5_000)).ends_with("a, a and 4976 more"));
    }

    #[test]
    fn only_near_words_are_offered() {
        let known = ["retry", "timeout", "tolerates", "max_tokens"];
        assert_eq!(nearest("retyr", known), Some("retry"));
        assert_eq!(nearest("max-token", known), Some("max_tokens"));
        assert_eq!(nearest("MAX_TOKENS", known), Some("max_tokens"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("größen", ["groessen", "größe"]), Some("größe"));
        assert_eq!(nearest("a", ["b"]), Some("b"));
    }

    #[test]
    fn many_words_and_long_words_take_no_time() {
        let known: Vec<String> = (0..100_000).map(|n| format!("value_{n:06}")).collect();
        let many = || known.iter().map(String::as_str);
        for _ in 0..20 {
            assert_eq!(nearest("value_000l42", many()), Some("value_000042"));
            assert_eq!(nearest("something else", many()), None);
        }
        let long = "x".repeat(1 << 20);
        assert_eq!(nearest(&long, [long.as_str()]), None);
        assert_eq!(nearest("x", [long.as_str()]), None);
    }
}
