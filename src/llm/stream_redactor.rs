//! Masks secrets in an answer that is passed on in pieces.

use std::sync::{Mutex, PoisonError};

use crate::verb::Secrets;

/// Most buffered bytes, unless a longer secret may have started before them.
const HELD: usize = 4 << 10;

/// Passes text on without secrets, even if they are split into pieces. A word is buffered until it is
/// complete, together with earlier words that could be the beginning of a secret.
pub(super) struct StreamRedactor<'a> {
    secrets: &'a dyn Secrets,
    pass_on: &'a (dyn Fn(&str) + Send + Sync),
    held: Mutex<String>,
}

impl<'a> StreamRedactor<'a> {
    pub(super) fn new(secrets: &'a dyn Secrets, pass_on: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { secrets, pass_on, held: Mutex::default() }
    }

    /// Adds a piece.
    pub(super) fn take(&self, piece: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push_str(piece);
        let space = held.char_indices().rev().find(|(_, c)| c.is_whitespace());
        let whole = space.map_or(0, |(at, c)| at + c.len_utf8());
        let whole = if whole > 0 { self.secrets.cut(&held, whole) } else { 0 };
        if whole > 0 {
            let rest = held.split_off(whole);
            let words = std::mem::replace(&mut *held, rest);
            self.say(&words);
        }
        if held.len() > 2 * HELD {
            *held = self.secrets.redact(&held);
            let most = self.secrets.cut(&held, held.len().saturating_sub(HELD));
            let cut = (0..=most).rev().find(|at| held.is_char_boundary(*at)).unwrap_or(0);
            let rest = held.split_off(cut);
            (self.pass_on)(&std::mem::replace(&mut *held, rest));
        }
    }

    /// Passes on the buffered rest at the end.
    pub(super) fn end(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        if !held.is_empty() {
            self.say(&held);
        }
    }

    fn say(&self, text: &str) {
        (self.pass_on)(&self.secrets.redact(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::EnvSecrets;

    const KEY: &str = "sk-live-0123456789";

    fn heard(pieces: impl IntoIterator<Item = String>) -> String {
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), KEY.to_owned())]);
        let heard = Mutex::new(String::new());
        let pass_on = |text: &str| heard.lock().unwrap().push_str(text);
        let hush = StreamRedactor::new(&secrets, &pass_on);
        pieces.into_iter().for_each(|piece| hush.take(&piece));
        hush.end();
        heard.into_inner().unwrap()
    }

    #[test]
    fn a_secret_of_several_words_is_not_heard_word_by_word() {
        let phrase = "correct horse battery staple";
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), phrase.to_owned())]);
        let heard = Mutex::new(String::new());
        let pass_on = |text: &str| heard.lock().unwrap().push_str(text);
        let hush = StreamRedactor::new(&secrets, &pass_on);
        let hex: Vec<String> = phrase.bytes().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("It is {phrase}, or {}; correct horses run.", hex.join(" "));
        for piece in text.split_inclusive(' ') {
            hush.take(piece);
        }
        hush.end();
        assert_eq!(*heard.lock().unwrap(), "It is ***, or ***; correct horses run.");
        // The last word may be complete without white space after it.
        for text in [phrase.to_owned(), format!("({phrase}), and"), format!("{phrase:?}")] {
            for size in 1..9 {
                heard.lock().unwrap().clear();
                text.as_bytes().chunks(size).for_each(|piece| hush.take(std::str::from_utf8(piece).unwrap()));
                hush.end();
                assert_eq!(*heard.lock().unwrap(), text.replace(phrase, "***"), "in pieces of {size}");
            }
        }
    }

    #[test]
    fn no_piece_has_a_part_of_a_secret() {
        for secret in [
            "密码-très-secret-ключ-9f8e",
            "postgres://app:hunter2-%24hunter2@db.example:5432/shop",
            "pa's\"w\\ord ünd $HOME `x` 4711",
        ] {
            let secrets = EnvSecrets::from_values([("KEY".to_owned(), secret.to_owned())]);
            let heard = Mutex::new(String::new());
            let pass_on = |text: &str| heard.lock().unwrap().push_str(text);
            let json = serde_json::to_string(secret).unwrap();
            let text = format!("The secret is {secret} and {json}, and {} end", json.replace('\\', "\\\\"));
            for size in 1..12 {
                let hush = StreamRedactor::new(&secrets, &pass_on);
                let letters: Vec<char> = text.chars().collect();
                letters.chunks(size).for_each(|piece| hush.take(&piece.iter().collect::<String>()));
                hush.end();
                let said = std::mem::take(&mut *heard.lock().unwrap());
                for part in ["secret-", "9f8e", "hunter", "5432", "shop", "HOME", "4711", "ord"] {
                    assert!(!said.contains(part), "{size}: {said}");
                }
            }
        }
    }

    #[test]
    fn a_secret_that_is_longer_than_what_is_held_back_is_not_heard() {
        let long = (0..3_000).map(|n| format!("{n:x}-")).collect::<Vec<_>>().concat();
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), long.clone())]);
        let heard = Mutex::new(String::new());
        let pass_on = |text: &str| heard.lock().unwrap().push_str(text);
        let hush = StreamRedactor::new(&secrets, &pass_on);
        let text = format!("it-is-{long}.");
        text.as_bytes().chunks(1_000).for_each(|piece| hush.take(std::str::from_utf8(piece).unwrap()));
        hush.end();
        assert_eq!(*heard.lock().unwrap(), "it-is-***.");
    }

    #[test]
    fn a_secret_is_not_heard_however_it_is_cut() {
        let text = format!("é key={KEY}, and ({KEY}) {}{KEY}{}", "x".repeat(9_000), "y".repeat(9_000));
        let wanted = text.replace(KEY, "***");
        for size in [1, 2, 3, 7, 64, 5_000] {
            let letters: Vec<char> = text.chars().collect();
            assert_eq!(
                heard(letters.chunks(size).map(|piece| piece.iter().collect())),
                wanted,
                "in pieces of {size}"
            );
        }
    }
}
