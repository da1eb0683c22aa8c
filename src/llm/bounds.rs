//! Token limits in error messages: the maximum output of a model, or the room in its context.

/// A number in a text, with the text before it up to the previous number.
struct Figure<'a> {
    before: &'a str,
    value: u64,
}

/// Words before a number that is the maximum.
const BOUNDS: [&str; 16] = [
    "less than or equal to",
    "at most",
    "<=",
    "≤",
    "not exceed",
    "cannot exceed",
    "no more than",
    "not be more than",
    "up to",
    "maximum of",
    "maximum is",
    "maximum value is",
    "limit is",
    "limit of",
    "is greater than",
    "smaller than",
];

/// Smallest useful limit.
const LEAST: u64 = 16;

/// The maximum output of a model according to `text`, in lower case, for a request with the limit `asked`.
pub(super) fn most(text: &str, asked: u64) -> Option<u64> {
    let figures = figures(text);
    let fits = |value: &u64| (LEAST..asked).contains(value);
    let bound = figures.iter().find(|figure| {
        let before = figure.before.trim_end_matches(|c: char| !c.is_alphanumeric() && !"<=≤".contains(c));
        BOUNDS.iter().any(|words| before.ends_with(words)) && fits(&figure.value)
    });
    let most = match bound {
        Some(figure) => Some(figure.value),
        // Other numbers are about the request.
        None if speaks_of_the_request(text) => None,
        None => figures.iter().map(|figure| figure.value).filter(fits).max(),
    };
    // "1 (inclusive) to 65537 (exclusive)"
    let excluded = most.is_some_and(|most| text.contains(&format!("{most} (exclusive)")));
    most.map(|most| most - u64::from(excluded))
}

/// The room in the context according to `text`, in lower case, for a request with the limit `asked`: `200 >
/// 150 - 20`,
/// `198000 + 8192 > 200000`, or "context length is 8192 … requested 9000 tokens (800 in the messages, 8200
/// in the completion)".
pub(super) fn room(text: &str, asked: u64) -> Option<u64> {
    if !text.contains("context") {
        return None;
    }
    let figures = figures(text);
    let sign = |at: usize| figures.get(at).map_or("", |figure| figure.before.trim());
    let three = figures.windows(3).enumerate().find_map(|(at, three)| {
        let (first, second, third) = (three[0].value, three[1].value, three[2].value);
        match (sign(at + 1), sign(at + 2)) {
            (">", "-") if first == asked => second.checked_sub(third),
            ("+", ">") if first == asked || second == asked => {
                third.checked_sub(if second == asked { first } else { second })
            }
            _ => None,
        }
    });
    let value = |figure: &Figure<'_>| figure.value;
    let sum = || {
        let has_asked = figures.iter().any(|figure| figure.value == asked);
        let read = |sum: u64| sum.checked_sub(asked).filter(|read| figures.iter().any(|f| f.value == *read));
        let (sum, read) = figures.iter().map(value).filter(|_| has_asked).find_map(|sum| {
            let read = read(sum)?;
            (read > 0).then_some((sum, read))
        })?;
        let context = figures
            .iter()
            .map(value)
            .find(|context| (read..sum).contains(context) && *context != asked && *context != read)?;
        context.checked_sub(read)
    };
    three.or_else(sum).filter(|room| (LEAST..asked).contains(room))
}

/// Whether an error message is about input and output together.
pub(super) fn speaks_of_the_request(text: &str) -> bool {
    ["context", "input", "prompt", "messages"].iter().any(|word| text.contains(word))
}

/// The numbers in `text` that are not parts of names or fractions.
fn figures(text: &str) -> Vec<Figure<'_>> {
    let mut figures = Vec::new();
    let (mut at, mut after) = (0, 0);
    while let Some(start) = text[at..].find(|c: char| c.is_ascii_digit()).map(|start| at + start) {
        let end = end_of_number(text, start);
        at = end;
        let (before, behind) = (&text[..start], &text[end..]);
        let in_name = |c: char| c.is_alphanumeric() || c == '_';
        let named = before.ends_with(in_name) || behind.starts_with(in_name);
        // `gpt-4`, `2026-11-20`, `1.5`
        let joined = |c: char| matches!(c, '-' | '.' | '/');
        let tail = before.strip_suffix(joined).is_some_and(|before| before.ends_with(in_name));
        let head = behind.strip_prefix(joined).is_some_and(|behind| behind.starts_with(in_name));
        if named || tail || head {
            continue;
        }
        if let Ok(value) = text[start..end].replace([',', '_'], "").parse() {
            figures.push(Figure { before: &text[after..start], value });
            after = end;
        }
    }
    figures
}

/// The end of the number that begins at `start`; groups of three digits may be separated by commas.
fn end_of_number(text: &str, start: usize) -> usize {
    let digits = |at: usize| text[at..].chars().take_while(char::is_ascii_digit).count();
    let mut end = start + digits(start);
    while text[end..].starts_with(',') && digits(end + 1) == 3 {
        end += 4;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_a_model_writes_is_found_among_other_numbers() {
        for (text, found) in [
            ("max_tokens is too large: 9000. this model supports at most 4096 completion tokens", Some(4096)),
            ("max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens", Some(8192)),
            (
                "max_tokens must be less than or equal to `100`, the maximum value for `max_tokens` is less than the \
                 `context_window` for this model",
                Some(100),
            ),
            ("invalid max_tokens value, the valid range of max_tokens is [1, 8192]", Some(8192)),
            ("range of max_tokens should be [1,8192]", Some(8192)),
            ("max_tokens cannot exceed 8,192 for llama-3.1-8b (error 400.7)", Some(8192)),
            (
                "it has a maxoutputtokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive).",
                Some(8192),
            ),
            ("max_tokens is too large for gpt-4-8000", None),
            ("max_tokens is too large: the prompt has 500 tokens", None),
            ("max_tokens is too large", None),
        ] {
            assert_eq!(most(text, 9000), found, "{text}");
        }
    }

    #[test]
    fn the_room_in_a_context_is_what_the_request_leaves() {
        for (text, asked, found) in [
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 200. this model's maximum context length is 150 \
                 tokens and your request has 20 input tokens (200 > 150 - 20). (parameter=max_tokens, value=200)",
                200,
                Some(130),
            ),
            (
                "input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000, decrease",
                8192,
                Some(2000),
            ),
            (
                "input length and `max_tokens` exceed context limit: 250000 + 8192 > 200000, decrease",
                8192,
                None,
            ),
            (
                "this model's maximum context length is 8192 tokens. however, you requested 9000 tokens (800 in the \
                 messages, 8200 in the completion).",
                8200,
                Some(7392),
            ),
            (
                "maximum context length is 131072 tokens. however, you requested about 140000 tokens (10000 of text \
                 input, 130000 in the output)",
                130_000,
                Some(121_072),
            ),
            ("this model's maximum context length is 8192 tokens, your messages have 9000", 200, None),
            ("200 > 150 - 20", 200, None),
        ] {
            assert_eq!(room(text, asked), found, "{text}");
        }
    }
}
