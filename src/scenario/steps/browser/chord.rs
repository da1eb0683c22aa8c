use serde_json::json;

use crate::value::Value;

/// A key with the modifiers that are held while it is pressed.
#[derive(Debug, PartialEq)]
pub struct PageChord {
    /// The key as the page sees it.
    key: String,
    code: String,
    /// Key code, which editing commands use.
    number: u32,
    /// The text that it types, if any.
    types: Option<String>,
    modifiers: u32,
}

/// Keys by name, with the key code and the text that they type.
const KEYS: [(&str, u32, Option<&str>); 15] = [
    ("Enter", 13, Some("\r")),
    ("Tab", 9, None),
    ("Backspace", 8, None),
    ("Delete", 46, None),
    ("Insert", 45, None),
    ("Escape", 27, None),
    ("Space", 32, Some(" ")),
    ("ArrowUp", 38, None),
    ("ArrowDown", 40, None),
    ("ArrowLeft", 37, None),
    ("ArrowRight", 39, None),
    ("Home", 36, None),
    ("End", 35, None),
    ("PageUp", 33, None),
    ("PageDown", 34, None),
];

const MODIFIERS: [(&str, u32); 5] = [("Alt", 1), ("Control", 2), ("Ctrl", 2), ("Meta", 4), ("Shift", 8)];

/// Parses a chord such as `Control+A`, `Enter` or `?`.
pub fn parse(text: &str) -> Result<PageChord, String> {
    let text = if text == " " { "Space" } else { text.trim() };
    let (held, key) = match text.strip_suffix('+') {
        // The plus itself is a key.
        Some(held) => (held.strip_suffix('+').unwrap_or(held), "+"),
        None => text.rsplit_once('+').unwrap_or(("", text)),
    };
    let mut modifiers = 0;
    for word in held.split('+').filter(|word| !word.is_empty()) {
        let known = MODIFIERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        modifiers |=
            known.ok_or_else(|| format!("`{word}` is not a modifier key: Control, Shift, Alt or Meta"))?.1;
    }
    single(key, modifiers).ok_or_else(|| {
        let names = KEYS.map(|(name, ..)| name).join(", ");
        format!("`{key}` is not a key: one character, F1 to F12, or {names}")
    })
}

fn single(name: &str, modifiers: u32) -> Option<PageChord> {
    let silent = modifiers & 7 != 0;
    let chord = |key: &str, code: &str, number, types: Option<String>| PageChord {
        key: key.to_owned(),
        code: code.to_owned(),
        number,
        types: types.filter(|_| !silent),
        modifiers,
    };
    if let Some((known, number, types)) = KEYS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
        let key = if *known == "Space" { " " } else { known };
        return Some(chord(key, known, *number, types.map(str::to_owned)));
    }
    if let Some(n) = name.strip_prefix(['F', 'f']).and_then(|n| n.parse::<u32>().ok()) {
        let name = format!("F{n}");
        return (1..=12).contains(&n).then(|| chord(&name, &name, 111 + n, None));
    }
    let mut characters = name.chars();
    let (character, None) = (characters.next()?, characters.next()) else { return None };
    // With Control, Alt or Meta the case of a letter has no meaning; with Shift it is a capital.
    let character = match (silent, modifiers & 8 != 0) {
        (true, false) => character.to_ascii_lowercase(),
        (_, true) => character.to_ascii_uppercase(),
        _ => character,
    };
    let capital = character.to_ascii_uppercase();
    let (code, number) = match capital {
        'A'..='Z' => (format!("Key{capital}"), u32::from(capital)),
        '0'..='9' => (format!("Digit{capital}"), u32::from(capital)),
        _ => (String::new(), 0),
    };
    let key = character.to_string();
    Some(chord(&key, &code, number, Some(key.clone())))
}

impl PageChord {
    /// The events for the page: key down and key up.
    pub fn events(&self) -> [Value; 2] {
        let event = |kind: &str| {
            json!({
                "type": kind, "key": self.key, "code": self.code, "modifiers": self.modifiers,
                "windowsVirtualKeyCode": self.number, "nativeVirtualKeyCode": self.number,
            })
        };
        let mut down = event(if self.types.is_some() { "keyDown" } else { "rawKeyDown" });
        if let Some(text) = &self.types {
            (down["text"], down["unmodifiedText"]) = (text.as_str().into(), text.as_str().into());
        }
        [down, event("keyUp")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chords_are_read() {
        let all = parse("control+A").unwrap();
        assert_eq!((all.key.as_str(), all.code.as_str(), all.number, all.modifiers), ("a", "KeyA", 65, 2));
        assert_eq!(all.types, None);
        assert_eq!(all.events()[0]["type"], "rawKeyDown");
        let enter = parse("Enter").unwrap().events();
        assert_eq!((&enter[0]["text"], &enter[1]["type"]), (&json!("\r"), &json!("keyUp")));
        assert_eq!(parse("Shift+b").unwrap().types.as_deref(), Some("B"));
        assert_eq!(parse("Control+Shift+ArrowLeft").unwrap().modifiers, 10);
        for (text, key) in
            [("+", "+"), ("Control++", "+"), ("?", "?"), ("ä", "ä"), ("F5", "F5"), ("space", " ")]
        {
            assert_eq!(parse(text).unwrap().key, key, "{text}");
        }
        for bad in ["", "Hyper+A", "Entr", "F13", "ab"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
