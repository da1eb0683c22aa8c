use crate::value::Digest;

const DIGITS: usize = 64;

/// Calls `each` for every digest in `text`: every run of exactly 64 hexadecimal digits.
pub(super) fn each_digest(text: &[u8], mut each: impl FnMut(Digest)) {
    for word in text.split(|byte| !byte.is_ascii_hexdigit()) {
        if word.len() == DIGITS
            && let Some(digest) = std::str::from_utf8(word).ok().and_then(Digest::parse)
        {
            each(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_are_written() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let mut found = Vec::new();
        each_digest(format!("{{\"x\":\"{a}\",\"y\":[\"{b}\"],\"z\":\"{a}0\"}}").as_bytes(), |d| {
            found.push(d);
        });
        assert_eq!(found, [a, b]);
    }
}
