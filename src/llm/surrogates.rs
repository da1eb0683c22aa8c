//! Split surrogate pairs: JSON writes a character beyond the first 65,536 as a pair (`\ud83d\ude00`), and
//! some servers end a piece of an answer between the two, which is not valid JSON. A single surrogate is
//! kept as an unused private character until the other one arrives.

/// First of 2,048 characters at the end of the last private plane that represent single surrogates.
const HOME: u32 = 0x0010_F800;
const HALVES: std::ops::RangeInclusive<u32> = 0xD800..=0xDFFF;

/// `json` with each unpaired surrogate replaced by its private character; `None` if there is none.
pub(super) fn kept(json: &str) -> Option<String> {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (half(rest), rest.get(6..).and_then(half)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => {
                text.push_str(&rest[..12]);
                12
            }
            (Some(alone), _) => {
                found = true;
                text.extend(char::from_u32(HOME + (alone - 0xD800)));
                6
            }
            (None, _) => {
                let escaped = rest[1..].chars().next().map_or(0, char::len_utf8);
                text.push_str(&rest[..=escaped]);
                1 + escaped
            }
        };
        rest = &rest[length..];
    }
    text.push_str(rest);
    found.then_some(text)
}

/// The surrogate that `text` begins with.
fn half(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(hex, 16).ok().filter(|code| HALVES.contains(code))
}

fn kept_half(c: char) -> Option<u32> {
    u32::from(c).checked_sub(HOME).map(|half| half + 0xD800)
}

/// Whether `text` contains such characters.
pub(super) fn are_in(text: &str) -> bool {
    text.chars().any(|c| kept_half(c).is_some())
}

/// `text` with adjacent surrogates joined. Others are replaced.
pub(super) fn joined(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let low = chars.peek().copied().and_then(kept_half);
        match (kept_half(c), low) {
            (None, _) => whole.push(c),
            (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                chars.next();
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                whole.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (Some(_), _) => whole.push(char::REPLACEMENT_CHARACTER),
        }
    }
    whole
}

/// Passes on pieces of a text with surrogate pairs joined.
#[derive(Default)]
pub(super) struct SurrogateJoiner {
    held: Option<char>,
}

impl SurrogateJoiner {
    /// Adds `piece`; returns the text that can be passed on.
    pub(super) fn pass(&mut self, piece: &str) -> String {
        let mut text: String = self.held.take().into_iter().collect();
        text.push_str(piece);
        if let Some(last) =
            text.chars().next_back().filter(|c| matches!(kept_half(*c), Some(0xD800..=0xDBFF)))
        {
            text.truncate(text.len() - last.len_utf8());
            self.held = Some(last);
        }
        joined(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_that_meet_are_one_character() {
        let read = |json: &str| {
            let json = kept(json).unwrap_or_else(|| json.to_owned());
            serde_json::from_str::<String>(&json).unwrap()
        };
        assert_eq!(kept(r#""\ud83d\ude00 \\ud83d \n""#), None);
        let (high, low) = (read(r#""ok \ud83d""#), read(r#""\ude00!""#));
        assert!(are_in(&high) && !are_in("ok 😀"));
        assert_eq!(joined(&format!("{high}{low}")), "ok 😀!");
        assert_eq!(joined(&format!("{low}{high}")), "\u{fffd}!ok \u{fffd}");
        let mut pieces = SurrogateJoiner::default();
        assert_eq!([pieces.pass(&high), pieces.pass(&low), pieces.pass("x")], ["ok ", "😀!", "x"]);
    }
}
