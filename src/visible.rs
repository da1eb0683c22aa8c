//! Escapes text from others so that it cannot deceive: characters that control a terminal, change the
//! reading direction or are invisible become escapes. All output uses this, also output for models.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// Whether the effect of `c` is invisible to a reader.
fn is_hidden(c: char) -> bool {
    matches!(c,
        // Control characters, including C1.
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        // Characters without width or glyph.
        | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
        // Unusual line breaks, and directional formatting.
        | '\u{2028}'..='\u{202E}'
        // Tags and variation selectors, which can hide text.
        | '\u{E0000}'..='\u{E0FFF}')
        || is_noncharacter(c)
}

/// Whether `c` is one of the 66 noncharacters, two of which cannot be written in XML.
fn is_noncharacter(c: char) -> bool {
    matches!(u32::from(c), 0xFDD0..=0xFDEF) || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Whether `text` is empty or has only white space and hidden characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_hidden(c))
}

/// Pattern for the user name and password of a URL, also without a scheme if it is certainly a URL.
static USERINFO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let part = r#"[^\s/?\#"'`<>\\]"#;
    let whole = format!(r#"(?i)((?:\b[a-z][a-z0-9+.-]*:|^|[\s"'`=(])//)({part}+)@"#);
    let in_a_path = format!(r"(//)({part}*:{part}+)@");
    Regex::new(&format!("{whole}|{in_a_path}")).ok()
});

/// The user info of the URLs in `text`.
pub fn userinfo(text: &str) -> impl Iterator<Item = &str> {
    let found = USERINFO.iter().flat_map(move |urls| urls.captures_iter(text));
    found.filter_map(|url| url.get(2).or_else(|| url.get(4))).map(|part| part.as_str())
}

/// `text` with `***` in place of the user names and passwords of URLs.
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    match USERINFO.as_ref().filter(|_| text.contains('@')) {
        Some(urls) => urls.replace_all(text, "${1}${3}***@"),
        None => Cow::Borrowed(text),
    }
}

fn put(shown: &mut String, c: char) {
    let _ = match c {
        '\n' => write!(shown, "\\n"),
        '\r' => write!(shown, "\\r"),
        '\t' => write!(shown, "\\t"),
        c => write!(shown, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// `text` with hidden characters as escapes: `\u{1b}`. Line breaks and tabs stay.
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

/// The inverse of [`escape`].
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

/// `text` in one line of at most `width` characters, shortened with `…`. White space and line breaks become
/// spaces.
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

/// Like [`escape`], but every line except the first begins with `before` and a bar, so that foreign text
/// cannot imitate the surrounding text.
pub fn hanging(text: &str, before: &str) -> String {
    escape(text.trim_end()).replace('\n', &format!("\n{before}│ "))
}

/// Escapes everything that is written to a terminal or to the log of a CI system: hidden characters except
/// line breaks, tabs and, if `styled`, colours; and commands for CI systems (`::error::…`, `##[…]`).
pub fn terminal(text: &str, styled: bool) -> Cow<'_, str> {
    let suspect = |c: char| (is_hidden(c) && c != '\n' && c != '\t') || c == ':' || c == '#';
    if !text.contains(suspect) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let body = line.trim_start();
        shown.push_str(&line[..line.len() - body.len()]);
        if is_command(body) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(':'));
            put_line(&mut shown, &body[1..], styled);
        } else {
            put_line(&mut shown, body, styled);
        }
    }
    Cow::Owned(shown)
}

/// Whether a line is a command for a CI system: `::name …::…`.
fn is_command(line: &str) -> bool {
    let name = line.strip_prefix("::").and_then(|rest| rest.split_once("::"));
    name.is_some_and(|(name, _)| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn put_line(shown: &mut String, line: &str, styled: bool) {
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let style = if styled { style(rest) } else { 0 };
        if style > 0 {
            shown.push_str(&rest[..style]);
            rest = &rest[style..];
            continue;
        }
        let opens = COMMANDS.iter().any(|command| rest.starts_with(command));
        let stays = matches!(c, '\n' | '\t') || c == '\r' && rest.starts_with("\r\n");
        if opens || (is_hidden(c) && !stays) {
            put(shown, c);
        } else {
            shown.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
}

/// Prefixes of commands for CI systems anywhere in a line.
const COMMANDS: [&str; 3] = ["##[", "##vso[", "##teamcity["];

/// Length of an escape sequence for colours, underlines or weights at the beginning of `text`, in bytes.
/// None of them hides text.
fn style(text: &str) -> usize {
    let Some((codes, _)) = text.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m')) else {
        return 0;
    };
    let is_known = |code: &str| {
        code.is_empty()
            || code.parse().is_ok_and(|code: u8| matches!(code, 0..=4 | 22..=24 | 31..=37 | 39 | 91..=97))
    };
    if codes.len() <= 16 && codes.split(';').all(is_known) { codes.len() + 3 } else { 0 }
}

/// JSON text of the same value, with hidden characters as JSON escapes.
pub fn json(text: String) -> String {
    if !text.chars().any(|c| is_hidden(c) && c != '\n') {
        return guarded(text);
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
    guarded(shown)
}

/// JSON text without commands for CI systems in its strings.
fn guarded(text: String) -> String {
    let guard = |text: String, command: &&str| {
        if text.contains(*command) {
            text.replace(*command, &format!("\\u0023{}", &command[1..]))
        } else {
            text
        }
    };
    COMMANDS.iter().fold(text, guard)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const TRICKS: [&str; 13] = [
        "\u{1b}[2J",
        "\0",
        "\u{9b}31m",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "\u{e0041}",
        "\u{2066}",
        "\u{7f}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{fdd0}",
        "\u{1fffe}",
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
    fn what_leaves_for_a_terminal_cannot_steer_it() {
        for trick in TRICKS {
            let shown = terminal(trick, true).into_owned();
            assert!(shown.starts_with('\\') && !shown.chars().any(is_hidden), "{shown:?}");
        }
        let painted = "\u{1b}[31mred\u{1b}[0m \u{1b}[1;94mblue\u{1b}[m a: #1\n\tb\r\n";
        assert_eq!(terminal(painted, true), painted);
        assert_eq!(terminal("\u{1b}[31mred", false), "\\u{1b}[31mred");
        for sly in ["\u{1b}[8m", "\u{1b}[30m", "\u{1b}[38;5;0m", "\u{1b}[2J", "\u{1b}]0;x\u{7}", "\u{1b}[31"]
        {
            assert!(terminal(sly, true).starts_with("\\u{1b}"), "{sly:?}");
        }
        assert_eq!(terminal("a\n \u{a0}::error file=x::no\n", false), "a\n \u{a0}\\u{3a}:error file=x::no\n");
        assert_eq!(
            terminal("see ##[error]x ##vso[task] ##teamcity[a]", false),
            "see \\u{23}#[error]x \\u{23}#vso[task] \\u{23}#teamcity[a]"
        );
        for plain in ["a::b::c", "## heading", "::1", ":: a ::"] {
            assert_eq!(terminal(plain, false), plain);
        }
    }

    #[test]
    fn later_lines_hang_behind_a_bar() {
        assert_eq!(hanging("a\n::error::b\n\u{1b}\n", "  "), "a\n  │ ::error::b\n  │ \\u{1b}");
    }

    #[test]
    fn lines_are_one_and_short() {
        assert_eq!(line("grün\nzwei", 20), "grün zwei");
        assert_eq!([line("grünzwei", 5), line("grün", 4), line("", 4)], ["grün…", "grün", ""]);
        assert_eq!(line("a\u{202e}b", 20), "a\\u{202e}b");
        assert_eq!(line("\u{1b}\u{1b}\u{1b}", 8), "\\u{1b}\\…");
    }

    #[test]
    fn the_password_of_a_url_is_found_also_without_a_scheme() {
        for (text, shown) in [
            ("ws://me:pw@h/feed", "ws://***@h/feed"),
            ("//me:pw@h/feed", "//***@h/feed"),
            ("connect //token@h/feed", "connect //***@h/feed"),
            ("GET http://h:1//me:p:w@h/feed HTTP/1.1", "GET http://h:1//***@h/feed HTTP/1.1"),
            ("http://h:80/a//b@1.2", "http://h:80/a//b@1.2"),
            ("http://h:80/a@b:c", "http://h:80/a@b:c"),
            ("// mail me@example.org", "// mail me@example.org"),
        ] {
            assert_eq!(without_userinfo(text), shown);
            assert_eq!(userinfo(text).count(), usize::from(text != shown), "{text}");
        }
    }

    #[test]
    fn json_means_the_same() {
        for trick in TRICKS {
            let text = serde_json::to_string_pretty(&[trick, "x"]).unwrap();
            let shown = json(text);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [trick, "x"]);
        }
        let command = serde_json::to_string(&["a ##[error]b", "##vso[c]"]).unwrap();
        let shown = json(command.clone());
        assert!(!shown.contains("##"), "{shown}");
        assert_eq!(
            serde_json::from_str::<Value>(&shown).unwrap(),
            serde_json::from_str::<Value>(&command).unwrap()
        );
    }
}
