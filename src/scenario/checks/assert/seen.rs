//! Text as a person sees it: any white space is a space, and characters without width are ignored.

use super::Subject;

/// Characters without any width.
const INVISIBLE: [char; 7] =
    ['\u{AD}', '\u{200B}', '\u{200C}', '\u{200D}', '\u{2060}', '\u{FEFF}', '\u{180E}'];

/// How a reader sees a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// As it is: the reader is a program.
    Exact,
    /// On a page, which collapses line breaks and spaces.
    Page,
    /// On a screen, on which every character has a position.
    Screen,
}

impl Rendering {
    /// The rendering of `subject`.
    pub fn of(subject: Subject) -> Self {
        match subject {
            Subject::Text | Subject::Title | Subject::Tree | Subject::Dialogs => Self::Page,
            Subject::Screen => Self::Screen,
            _ => Self::Exact,
        }
    }

    /// `text` as a reader sees it.
    pub fn seen(self, text: &str) -> String {
        let shown = text.chars().filter(|c| !INVISIBLE.contains(c));
        match self {
            Self::Exact => text.to_owned(),
            Self::Screen => shown.map(|c| if c.is_whitespace() && c != '\n' { ' ' } else { c }).collect(),
            Self::Page => {
                let shown: String = shown.collect();
                shown.split_whitespace().collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// The code points of the characters in `text` that look like a space or are invisible.
pub fn unseen(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .chars()
        .filter(|c| INVISIBLE.contains(c) || c.is_whitespace() && !matches!(c, ' ' | '\n'))
        .map(|c| format!("U+{:04X}", u32::from(c)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_what_a_person_sees() {
        let text = "  Hello\n   big\u{A0}wor\u{AD}ld\u{200B} ";
        assert_eq!(Rendering::Page.seen(text), "Hello big world");
        assert_eq!(Rendering::Screen.seen("a\u{A0} b\nc"), "a  b\nc");
        assert_eq!(Rendering::Exact.seen(text), text);
        assert_eq!(unseen("a\u{A0}b\tc\u{200B} \n"), ["U+0009", "U+00A0", "U+200B"]);
    }
}
