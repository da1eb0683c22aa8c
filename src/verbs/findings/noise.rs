//! Values that change from run to run without a meaning: times, memory addresses, client ports, identifiers.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// A kind of noise, and its replacement.
type Noise = (Regex, &'static str);

fn noise(pattern: &str, instead: &'static str) -> Option<Noise> {
    Some((Regex::new(pattern).ok()?, instead))
}

static TIME_NOISE: LazyLock<Vec<Noise>> = LazyLock::new(|| {
    let day = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
    let kinds = [
        noise("0x[0-9a-f]{6,}", "0x…"),
        noise("[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]+Z?", "(time)"),
        noise("[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}[ :][0-9:]+", "(time)"),
        noise(&format!("{day}, [0-9]{{2}} [A-Z][a-z]{{2}} [0-9]{{4}} [0-9:]{{8}} GMT"), "(time)"),
    ];
    kinds.into_iter().flatten().collect()
});

static NAME_NOISE: LazyLock<Vec<Noise>> = LazyLock::new(|| {
    let kinds = [
        noise("(127[.]0[.]0[.]1[^0-9]{1,4})[0-9]{4,5}", "${1}(port)"),
        noise(r"((?:localhost|\[::1\]):)[0-9]{4,5}", "${1}(port)"),
        noise("(?i)\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b", "(uuid)"),
    ];
    kinds.into_iter().flatten().collect()
});

/// `text` without any noise.
pub(super) fn without_noise(text: &str) -> String {
    without(text, TIME_NOISE.iter().chain(NAME_NOISE.iter()))
}

/// `text` without ports and identifiers. Times stay: in a request they are part of the test.
pub(super) fn without_names(text: &str) -> String {
    without(text, NAME_NOISE.iter())
}

fn without<'n>(text: &str, kinds: impl Iterator<Item = &'n Noise>) -> String {
    kinds.fold(text.to_owned(), |text, (pattern, instead)| {
        let changed = match pattern.replace_all(&text, *instead) {
            Cow::Borrowed(_) => None,
            Cow::Owned(changed) => Some(changed),
        };
        changed.unwrap_or(text)
    })
}

/// The end of a text, without the number of removed bytes, which is different in each run.
pub(super) fn without_count(text: &str) -> String {
    static COUNT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^… [0-9]+ bytes cut …").ok());
    COUNT.as_ref().map_or_else(|| text.to_owned(), |count| count.replace(text, "…").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_taken_out_and_nothing_else() {
        for (text, quiet) in [
            ("at 0xdeadbeef1", "at 0x…"),
            ("2024-02-29T00:00:00Z and 2024-02-29 10:11:12,123", "(time) and (time)"),
            (
                "127.0.0.1 - - [30/Nov/2026 22:50:41] \"GET / HTTP/1.1\" 200 -",
                "127.0.0.1 - - [(time)] \"GET / HTTP/1.1\" 200 -",
            ),
            ("date: Mon, 30 Nov 2026 22:50:41 GMT", "date: (time)"),
            (
                "('127.0.0.1', 54321) to localhost:8080 or [::1]:50051",
                "('127.0.0.1', (port)) to localhost:(port) or [::1]:(port)",
            ),
            ("id 3F2504E0-4F89-41D3-9A0C-0305E82C3301.", "id (uuid)."),
            (
                "2024-02-29 is a day, 12345 a number, 0x1f a byte",
                "2024-02-29 is a day, 12345 a number, 0x1f a byte",
            ),
        ] {
            assert_eq!(without_noise(text), quiet);
        }
        assert_eq!(
            without_names("at 2024-02-29T00:00:00Z on localhost:8080"),
            "at 2024-02-29T00:00:00Z on localhost:(port)"
        );
        assert_eq!(without_count("… 812 bytes cut …\nend"), "…\nend");
    }
}
