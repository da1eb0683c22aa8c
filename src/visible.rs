//! Text that others wrote, shown so that it cannot deceive: characters that steer a terminal, turn the reading direction
//! or are not seen at all are written as escapes. Every face uses this, those for models included.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a person who reads `c` does not see what it does.
fn is_hidden(c: char) -> bool {
    matches!(c,
        // Control characters, those of C1 among them.
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        // Without width, or not drawn at all.
        | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
        // Line breaks that few programs take for one, and directions.
        | '\u{2028}'..='\u{202E}'
        // Tags and variants that carry text unseen.
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Whether nothing of `text` is seen: it has only white space and hidden characters, or nothing at all.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_hidden(c))
}

fn put(shown: &mut String, c: char) {
    let _ = match c {
        '\n' => write!(shown, "\\n"),
        '\r' => write!(shown, "\\r"),
        '\t' => write!(shown, "\\t"),
        c => write!(shown, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// `text` with what is hidden as escapes: `\u{1b}`. Line breaks and tabs stay.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let stays = matches!(c, '\n' | '\t') || c == '\r' && rest.peek() == Some(&'\n');
        if is_hidden(c) && !stays { put(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// `text` with the escapes that [`escape`] writes for what is hidden as the characters themselves.
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u{") {
        let (before, escape) = rest.split_at(at);
        let hidden = escape[3..].split_once('}').and_then(|(digits, behind)| {
            let c = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            c.filter(|c| is_hidden(*c)).map(|c| (c, behind))
        });
        plain.push_str(before);
        rest = if let Some((c, behind)) = hidden {
            plain.push(c);
            behind
        } else {
            plain.push_str(&escape[..3]);
            &escape[3..]
        };
    }
    plain.push_str(rest);
    plain
}

/// `text` in one line of at most `width` characters, cut at its end with `…`. White space and line breaks are spaces.
pub fn line(text: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for c in text.chars() {
        let before = shown.len();
        match c {
            '\n' | '\r' | '\t' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            c if is_hidden(c) => put(&mut shown, c),
            c => shown.push(c),
        }
        length += shown[before..].chars().count();
        if length > width {
            let cut = shown.char_indices().nth(width.saturating_sub(1)).map_or(shown.len(), |(at, _)| at);
            shown.truncate(cut);
            shown.push('…');
            break;
        }
    }
    shown
}

/// JSON text with what is hidden as escapes of JSON: the same value, and nothing in it deceives.
pub fn json(text: String) -> String {
    if !text.chars().any(|c| is_hidden(c) && c != '\n') {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKS: [&str; 9] = [
        "\u{1b}[2J",
        "\0",
        "\u{9b}31m",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "\u{e0041}",
        "\u{2066}",
        "\u{7f}",
    ];

    #[test]
    fn what_is_hidden_is_shown() {
        assert_eq!(escape("a\u{1b}[31mb\n\tc\r\nd\re"), "a\\u{1b}[31mb\n\tc\r\nd\\re");
        for plain in ["grün\n\tzwei\r\n", "a\u{a0}b", "👍🏽", "日本語", "مرحبا"] {
            assert_eq!(escape(plain), plain);
        }
        for trick in TRICKS {
            let shown = escape(trick).into_owned();
            assert!(shown.starts_with('\\') && !shown.chars().any(is_hidden), "{shown:?}");
        }
    }

    #[test]
    fn escapes_of_what_is_hidden_are_read_back() {
        for text in ["a\u{200b}b\u{202e}", "\u{1b}[31m", "\\u{41} \\u{zz} \\u{200b"] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(unescape("x\\u{200b}y"), "x\u{200b}y");
    }

    #[test]
    fn lines_are_one_and_short() {
        assert_eq!(line("grün\nzwei", 20), "grün zwei");
        assert_eq!([line("grünzwei", 5), line("grün", 4), line("", 4)], ["grün…", "grün", ""]);
        assert_eq!(line("a\u{202e}b", 20), "a\\u{202e}b");
        assert_eq!(line("\u{1b}\u{1b}\u{1b}", 8), "\\u{1b}\\…");
    }

    #[test]
    fn json_means_the_same() {
        for trick in TRICKS {
            let text = serde_json::to_string_pretty(&[trick, "x"]).unwrap();
            let shown = json(text);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [trick, "x"]);
        }
    }
}
